#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Each fuzz target over its seeds, and a few thousand inputs made from them;
# t/fuzz/run does it for as long as one likes.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use File::Temp ();
use Test::More;

use Emailing qw(build run top);

# Executions beyond the seeds: by what one costs.
my %runs = (addr => 20_000, auth => 1_000, conf => 3_000, decide => 20_000,
    line => 2_000, policy => 1_000, record => 20_000, reply => 3_000,
    secret => 10_000, state => 10_000);

my $dir = File::Temp->newdir;
{
    local $ENV{EMAILING_BUILD} = build();
    my ($status, $out, $err) = run([top() . '/t/fuzz/build', "$dir"]);
    is $status, 0, 'the targets are built' or diag $out, $err;
}

my @targets = map { m{([^/]+)\z} } glob top() . '/t/fuzz/seeds/*';
is_deeply \@targets, [sort keys %runs], 'there are seeds for each target';

$ENV{ASAN_OPTIONS} = 'quarantine_size_mb=32';
for my $target (sort keys %runs) {
    my $seeds = top() . "/t/fuzz/seeds/$target";
    my @seeds = glob "$seeds/*";
    cmp_ok @seeds, '>=', 5, "$target: seeds";
    # New inputs go into the first folder. What is found now is found again:
    # the same random numbers each time.
    mkdir "$dir/new-$target" or die $!;
    my ($status, $out, $err) = run(["$dir/$target", "-runs=$runs{$target}",
        '-seed=1', '-max_len=4096', '-timeout=20', '-max_total_time=20',
        '-rss_limit_mb=512', '-print_final_stats=1', "-artifact_prefix=$dir/", "$dir/new-$target",
        $seeds]);
    is $status, 0, "$target: nothing found" or diag substr $err, -4000;
    my ($done) = $err =~ /number_of_executed_units: (\d+)/;
    cmp_ok $done // 0, '>=', @seeds, "$target: " . ($done // 0)
        . ' executions';
}

done_testing;
