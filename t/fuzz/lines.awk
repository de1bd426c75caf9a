# SPDX-License-Identifier: MIT
#
# From llvm-cov's lcov export of one file: its name, lines of code, lines
# reached, percent. A name FILE:FIRST:NEXT counts the functions from FIRST to
# before NEXT only.
BEGIN {
    parts = split(name, part, ":")
    from = 0
    to = 1e9
}

/^FN:/ {
    split(substr($0, 4), f, ",")
    sub(/.*:/, "", f[2])
    if (parts > 1 && f[2] == part[2])
        from = f[1]
    if (parts > 1 && f[2] == part[3])
        to = f[1] - 1
}

/^DA:/ {
    split(substr($0, 4), d, ",")
    line[d[1]] = d[2]
}

END {
    for (n in line)
        if (n + 0 >= from && n + 0 < to) {
            lines++
            if (line[n] > 0)
                reached++
        }
    printf "%-38s %6d %8d %6.1f\n", part[1], lines, reached,
        lines ? 100 * reached / lines : 0
}
