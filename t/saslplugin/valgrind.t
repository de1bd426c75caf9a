#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The tests of the plugin again, under valgrind: no error, no leak.
build=${EMAILING_BUILD:-$(cd "$(dirname "$0")/../.." && pwd)}
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
trap 'exit 1' HUP INT TERM
failed=0 count=0

echo 1..5
for test in client login options second trouble; do
    count=$((count + 1))
    if valgrind --quiet --error-exitcode=99 --leak-check=full \
        --errors-for-leak-kinds=definite,indirect,possible \
        --show-leak-kinds=definite,indirect,possible \
        "$build/t/saslplugin/$test.t" >"$log" 2>&1
    then
        echo "ok $count - $test"
    else
        echo "not ok $count - $test"
        sed 's/^/# /' "$log"
        failed=1
    fi
done
exit $failed
