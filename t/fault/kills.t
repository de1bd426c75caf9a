#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Backends and postmasters killed outright, one after the other; then a network
# that fails in another way every moment, under questions and changes at random.
# EMAILING_LONG=1 kills 50 times and asks 100,000 questions.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use POSIX qw(WNOHANG);
use Test::More;
use Time::HiRes qw(sleep);

use Emailing qw(build within);
use Emailing::Case qw(case);
use Emailing::Daemon::Database ();
use Emailing::Daemon::Outage ();

case 'P18';
my $long = $ENV{EMAILING_LONG};
my $db = Emailing::Daemon::Database->new;
my $proxy = $db->proxy;
my $d = $db->policyd(proxy => $proxy,
                     conf => { cache_ttl => 1, max_stale => 0 });
ok $d->ready, 'changes are followed';
my $outage = Emailing::Daemon::Outage->new($db, $d);

sub kill_backend {
    my @pids = split ' ', $db->sql(q{SELECT pid FROM pg_stat_activity
        WHERE usename = 'emailing_policyd' ORDER BY random() LIMIT 1});
    kill KILL => @pids;
    $outage->during('a backend killed', 0.1, 1);
    return;
}

sub kill_postmaster {
    my $pid = $db->pg->postmaster;
    my @all = $db->processes;
    kill KILL => $pid;
    within(10, sub { !grep { kill 0, $_ } @all }) or die 'they live on';
    $outage->during('the postmaster killed', 0.1, 1);
    $db->start;
    return;
}

for my $round (1 .. ($long ? 25 : 4)) {
    kill_backend();
    $outage->after("kill $round of a backend");
    kill_postmaster();
    $outage->after("kill $round of a postmaster");
}
is $d->count('db: gone') - $d->count('db: back'), 0,
    'it was gone as often as it was back';

# -- all faults at random ----------------------------------------------------------------

my @modes = qw(pass delay hole hole-down refuse reset truncate half-open garble);
my %env = %{ $db->owner_env };
my $out = "$d->{dir}/decisions";
my $pid = fork // die "fork: $!";
if ($pid == 0) {
    @ENV{ keys %env } = values %env;
    open STDOUT, '>', $out;
    open STDERR, '>&', \*STDOUT;
    exec build() . '/t/policyd/decisions', "$d->{dir}/emailing/policy",
        $long ? 100_000 : 8_000, 5000, 1, int rand 1e9
        or POSIX::_exit(127);
}
my ($switched, $status) = 0;
until (waitpid $pid, WNOHANG) {
    $proxy->mode($modes[rand @modes], rand() < 0.3 ? 'listen' : 'all');
    sleep rand 0.4;
    $proxy->mode('pass');
    sleep rand 0.4;
    $switched++;
}
$status = $?;
open my $file, '<', $out or die $!;
my $text = do { local $/; <$file> };
is $status, 0, 'decisions ends well' or diag $text;
my %n = $text =~ /(asked|changed|deferred|wrong) (\d+)/g;
is $n{wrong}, 0, "of $n{asked} answers under $switched faults none was wrong";
cmp_ok $n{asked} - $n{deferred}, '>', 1000, 'many were not deferred';
$proxy->mode('pass');
ok $d->ready, 'followed again';
is $d->stop, 0, 'the same policyd from first to last';

done_testing;
