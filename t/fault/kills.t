#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Backends and postmasters killed outright, one after the other; then a network
# that fails in another way every moment, under questions and changes at random.
# EMAILING_LONG=1 kills 50 times, EMAILING_DECISIONS=1000000 asks as many
# questions. The case P18.
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

sub policyd_backends {
    return split ' ', $db->sql(q{SELECT pid FROM pg_stat_activity
        WHERE usename = 'emailing_policyd'});
}

# Something that lasts less than half a second.
sub some_fault {
    my $which = int rand 12;
    if ($which == 0) {
        kill TERM => policyd_backends();
    } elsif ($which == 1) {
        kill HUP => $d->pid;
    } elsif ($which < 4) {
        my @pids = $which == 2 ? $d->pid : policyd_backends();
        kill STOP => @pids;
        sleep rand 0.4;
        kill CONT => @pids;
    } else {
        $proxy->mode($modes[rand @modes], rand() < 0.3 ? 'listen' : 'all');
        sleep rand 0.4;
        $proxy->mode('pass');
    }
    sleep rand 0.4;
    return;
}

# So many questions that are answered, each by what was so at some moment of the
# time before it; while the database is away what is known may answer for
# longer, if stale records may: here it hardly is there for long.
sub under_faults {
    my ($count, $window, $max_stale) = @_;
    $d->reload(max_stale => $max_stale);
    ok $d->ready, 'changes are followed';
    my %env = %{ $db->owner_env };
    my $out = "$d->{dir}/decisions$max_stale";
    my $seed = int rand 1e9;
    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        @ENV{ keys %env } = values %env;
        open STDOUT, '>', $out;
        open STDERR, '>&', \*STDOUT;
        exec build() . '/t/policyd/decisions', $d->socket_path('policy'),
            $count, $window, 1, $seed or POSIX::_exit(127);
    }
    # What is not as decisions sets it up has been forgotten by then.
    sleep 1;
    my $faults = 0;
    until (waitpid $pid, WNOHANG) {
        some_fault();
        $faults++;
    }
    my $status = $?;
    open my $file, '<', $out or die $!;
    my $text = do { local $/; <$file> };
    is $status, 0, 'decisions ends well' or diag "seed $seed: $text";
    my %n = $text =~ /(asked|changed|deferred|wrong) (\d+)/g;
    is $n{wrong}, 0, "max_stale $max_stale: of $n{asked} answers,"
        . " $n{deferred} deferred, under $faults faults and $n{changed}"
        . ' changes none was wrong';
    cmp_ok $n{asked} - $n{deferred}, '>=', $count, 'many were not deferred';
    cmp_ok $faults, '>', 3, 'there were faults';
    return;
}

my $count = $ENV{EMAILING_DECISIONS} || 40_000;
under_faults($count, 5000, 0);
under_faults($count, 60_000, 300);
$proxy->mode('pass');
ok $d->ready, 'followed again';
is $d->stop, 0, 'the same policyd from first to last';

done_testing;
