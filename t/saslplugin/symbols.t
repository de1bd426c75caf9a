#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What the plugin brings into smtpd: one symbol, and nothing but the C library.
build=${EMAILING_BUILD:-$(cd "$(dirname "$0")/../.." && pwd)}
plugin=$build/saslplugin/.libs/libemailing.so
count=0 failed=0

# is TEXT EXPECTED NAME
is() {
    count=$((count + 1))
    if [ "$1" = "$2" ]; then
        echo "ok $count - $3"
    else
        echo "not ok $count - $3"
        echo "# got '$1', expected '$2'"
        failed=1
    fi
}

is "$(nm -D --defined-only "$plugin" | awk '{ print $NF }')" \
    sasl_auxprop_plug_init 'one symbol is exported'
is "$(objdump -p "$plugin" | awk '$1 == "NEEDED" { print $2 }' |
    grep -Ev '^(libc\.so|ld-linux)')" '' 'the C library is all that is needed'
is "$(ldd "$plugin" | grep -Ec 'libc\.so')" 1 'it is found'
is "$(ldd -r "$plugin" 2>&1 | grep -E 'not found|undefined symbol')" '' \
    'with all that the plugin calls'
is "$(ldd "$plugin" | grep -E 'libpq|libcrypto|libssl|libuv|libsasl')" '' \
    'and brings no other library along'
is "$(nm -D --undefined-only "$plugin" |
    grep -Ew '_?exit|abort|__assert_fail|sasl_[a-z0-9_]*')" '' \
    'nothing ends the host, nothing is bound to its libsasl'
is "$(objdump -p "$plugin" | grep -Ec 'RPATH|RUNPATH|TEXTREL')" 0 \
    'no path and no text relocation is built in'
echo "1..$count"
exit $failed
