#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# PostgreSQL killed under twenty clients who log in and send all the time: who
# is in the cache is neither refused nor deferred, nothing that was accepted is
# lost, everybody else is told to try again, and PostgreSQL is looked for once a
# second. It is gone for ten seconds; EMAILING_LONG=1: for a minute.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

use Emailing qw(within);
use Emailing::Policyd ();

my ($clients, $away) = (20, $ENV{EMAILING_LONG} ? 60 : 10);
my $password = 'secret';
my $deferred = '451 4.3.0 permission lookup failed, try again later';
my $s = Emailing->up;
my @strangers = map { "stranger$_" } 1 .. 4;
$s->mailadmin_ok([qw(add domain test1.com)]);
for my $user ((map { "user$_" } 1 .. $clients), @strangers) {
    $s->mailadmin_ok([qw(add user), $user], "$password\n");
    $s->mailadmin_ok([split ' ', "grant domain test1.com to $user"]);
}

sub metric { return (Emailing::Policyd::counts($s, $_[0]))[0] }

# Logs in and sends, five messages a session, until it is told to end; says
# each answer, and how many were good.
sub client {
    my ($user, $end, $out) = @_;
    my ($logins, $accepted) = (0, 0);
    vec(my $bits = '', fileno $end, 1) = 1;
    until (select my $found = $bits, undef, undef, 0.2) {
        my $smtp = $s->smtp->starttls;
        my $reply = $smtp->auth_plain($user, $password);
        $reply =~ /^235 / ? $logins++ : syswrite $out, "bad $reply\n";
        for (1 .. 5) {
            $reply = $smtp->send("$user\@test1.com");
            $reply =~ /^250 / ? $accepted++ : syswrite $out, "bad $reply\n";
        }
        $smtp->quit;
    }
    syswrite $out, "sum $logins $accepted\n";
    return;
}

# All at once would be more guesses than are hashed at one time.
like $s->logged_in("user$_", $password)->send("user$_\@test1.com"), qr/^250 /,
    "user$_ logs in and sends" for 1 .. $clients;

pipe my $end_r, my $end_w or die;
pipe my $out_r, my $out_w or die;
my @pids;
for my $n (1 .. $clients) {
    my $pid = fork // die;
    if ($pid == 0) {
        close $end_w;
        eval { client("user$n", $end_r, $out_w); 1 }
            or syswrite $out_w, "bad $@";
        POSIX::_exit(0);
    }
    push @pids, $pid;
}
close $_ for $end_r, $out_w;
sleep 2;

# -- away ---------------------------------------------------------------------

my $begin = time;
my $postmaster = $s->pid('postgres');
kill KILL => $postmaster;
ok within(5, sub { !metric('database_up') }), 'policyd notices';
my $connects = metric('database_connects_total');
my $known = time;
my (@bad, @took);
while (time < $begin + $away) {
    for my $user (@strangers, 'nobody') {
        my $asked = time;
        my $action = $s->policy({ sasl_username => $user,
                                  sender => 'a@test1.com' });
        push @took, time - $asked;
        push @bad, "$user: $action" if $action ne $deferred;
        my $login = $s->auth($user, $password);
        push @bad, "$user: $login" if $login ne 'unavailable';
    }
    sleep 0.5;
}
is_deeply \@bad, [], 'who is in no cache: 451 and 454, and nothing else';
@took = sort { $a <=> $b } @took;
diag sprintf '%d answers, median %.1f ms, the slowest %.1f ms', scalar @took,
    1000 * $took[@took / 2], 1000 * $took[-1];
cmp_ok metric('database_connects_total') - $connects, '<=',
    2 + time - $known, 'looked for once a second';
ok metric('cache_stale_answers_total') > 0, 'the cache answered';

# -- back ---------------------------------------------------------------------

ok within(10, sub { !kill 0, $postmaster }), 'PostgreSQL is gone';
my $policyd = $s->pid('policyd');
$s->service(start => 'postgres');
ok within(3, sub {
    $s->policy({ sasl_username => $strangers[0],
                 sender => 'a@test1.com' }) eq 'DUNNO' }), 'back: permitted';
is $s->auth($strangers[1], $password), 'ok', '... and logged in';
is $s->pid('policyd'), $policyd, 'by the same policyd';
sleep 1;

close $end_w;
my $said = do { local $/; <$out_r> };
waitpid $_, 0 for @pids;
my ($logins, $accepted) = (0, $clients);
for ($said =~ /^sum (.*)$/mg) {
    my @sum = split;
    $logins += $sum[0];
    $accepted += $sum[1];
}
is join("\n", $said =~ /^bad (.*)$/mg), '', 'nobody refused, nobody deferred';
is scalar(() = $said =~ /^sum /mg), $clients, 'all clients ended by themselves';
cmp_ok $accepted, '>', 5 * $clients, "$logins logins, $accepted messages";
is scalar $s->sink_messages($accepted, 60), $accepted,
    'each arrived, and once';

done_testing;
