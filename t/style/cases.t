#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Every case of faults and hostile input is in a test, and every such test is
# one that "make check" runs.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;

use Emailing qw(run top);

chdir top() or die;
open my $makefile, '<', 'Makefile.am' or die;
my $known = do { local $/; <$makefile> };

my ($status, $out) = run(['t/fault/cases', '--list']);
is $status, 0, 'each case is in a test' or diag $out;
my @lines = split /\n/, $out;
is @lines, 23 + 9 + 6, 'there are as many as there should be';
for my $line (@lines) {
    my ($case, @files) = split ' ', $line;
    is_deeply [grep { $known !~ /^\t(?:.* )?\Q$_\E(?: |$)/m } @files], [],
        "$case: is run by make check";
}
like $known, qr/^\t(?:.* )?\Q$_\E(?: |$)/m, "$_ is run by make check"
    for sort glob 't/fault/*.t';

done_testing;
