#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# t/harness counts what failed, whatever way it failed in.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use File::Temp ();
use Test::More;

use Emailing qw(run top);

my $dir = File::Temp->newdir;

sub harness {
    my (%files) = @_;
    unlink glob "$dir/*";
    for my $name (keys %files) {
        open my $file, '>', "$dir/$name.t" or die $!;
        print $file "use Test::More; $files{$name}\n";
        close $file;
    }
    local @ENV{qw(HARNESS_ACTIVE HARNESS_SUM)};
    my ($status, $out) = run([top() . '/t/harness',
                              map { "$dir/$_.t" } sort keys %files]);
    return ($status, (split /\n/, $out)[-1]);
}

my $good = 'ok 1; ok 1; done_testing;';

is_deeply [harness(a => $good, b => $good)], [0, '4 passed, 0 failed'], 'good';
is_deeply [harness(a => $good, b => 'ok 0; ok 1; done_testing;')],
    [1, '3 passed, 1 failed'], 'a test that fails';
is_deeply [harness(a => $good, b => 'ok 1; die "early"; done_testing;')],
    [1, '3 passed, 1 failed'], 'a file that dies';
is_deeply [harness(a => $good, b => 'plan tests => 2; ok 1;')],
    [1, '3 passed, 1 failed'], 'fewer tests than planned';
is_deeply [harness(a => $good, b => 'ok 1; done_testing; exit 3;')],
    [1, '3 passed, 1 failed'], 'a bad exit status';
is_deeply [harness(a => $good, b => 'exit 0;')],
    [1, '2 passed, 1 failed'], 'a file without tests';
is +(harness())[0], 64, 'no tests: usage';

done_testing;
