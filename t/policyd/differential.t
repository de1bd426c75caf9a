#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Random questions while everything changes at random: each answer right for
# some moment between 100 ms before the question and the answer.
# EMAILING_LONG=1 asks 1,000,000.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;

use Emailing qw(build run);
use Emailing::Daemon ();
use Emailing::Daemon::Database ();

my $db = Emailing::Daemon::Database->new;
my $d = $db->policyd;
ok $d->ready, 'changes are followed';

my $count = $ENV{EMAILING_LONG} ? 1_000_000 : 100_000;
my $seed = int rand 1e9;
local %ENV = (%ENV, %{ $db->owner_env });
my ($status, $out, $err) = run([build() . '/t/policyd/decisions',
    $d->socket_path('policy'), $count, 100, 0, $seed]);
diag "seed $seed: $out$err" if $status != 0 || $ENV{EMAILING_LONG};
my %n = $out =~ /(asked|changed|deferred|wrong) (\d+)/g;
cmp_ok $n{asked} // 0, '>=', $count, 'all were asked';
is $n{wrong}, 0, '... and none answered wrong';
is $n{deferred}, 0, '... and none deferred';
cmp_ok $n{changed} // 0, '>', 100, 'while much changed';
is $status, 0, 'nothing else went wrong';
cmp_ok $d->metric('cache_hits_total'), '>', $count / 4,
    'many answers were from memory';
is $d->stop, 0, 'policyd ends as asked';

done_testing;
