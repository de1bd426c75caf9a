#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# The unit tests of lib again, under valgrind: no error, no leak.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Test::More;

use Emailing qw(build run top);

# By the sources, so that one that was not built is missed.
my @tests = map { m{([^/]+)\.c\z} ? $1 : () } sort glob top() . '/t/lib/*.c';
@tests = grep { $_ ne 'decide_cli' } @tests;
cmp_ok @tests, '>=', 7, 'the unit tests were found';

my $kinds = 'definite,indirect,possible';
my @valgrind = (qw(valgrind --quiet --error-exitcode=99 --leak-check=full),
    "--errors-for-leak-kinds=$kinds", "--show-leak-kinds=$kinds");
for my $test (@tests) {
    my $program = build() . "/t/lib/$test.t";
    my ($status, $out, $err) = run([@valgrind, $program]);
    my ($planned) = $out =~ /^1\.\.(\d+)$/m;
    my $passed = () = $out =~ /^ok \d+/mg;
    ok $status == 0 && $planned && $passed == $planned, $test
        or diag "status $status\n$out$err";
}

done_testing;
