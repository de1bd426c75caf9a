# SPDX-License-Identifier: MIT
# Makes a C array of the SQL files given: name, version, text.
# A file that begins with a number is the migration to that version.

BEGIN {
    print "/* Made of sql/ by sql/embed.awk. */"
    print "#include \"config.h\""
    print ""
    print "#include \"mailadmin/schema_sql.h\""
    print ""
    print "#include <stddef.h>"
    print ""
    print "const struct schema_file schema_files[] = {"
}

FNR == 1 {
    if (NR > 1)
        print "    },"
    name = FILENAME
    sub(/^.*\//, "", name)
    printf "    {\"%s\", %d,\n", name, name + 0
}

{
    gsub(/\\/, "&&")
    gsub(/"/, "\\\\&")
    print "     \"" $0 "\\n\""
}

END {
    print "    },"
    print "    {NULL, 0, NULL},"
    print "};"
}
