#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Many connections, and more than there are descriptors for. The cases P9 and P10.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use IO::Socket::INET ();
use IO::Socket::UNIX ();
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

use Emailing qw(within);
use Emailing::Case qw(case);
use Emailing::Policyd ();
use Emailing::Socket ();

my $connect = "request=smtpd_access_policy\nprotocol_state=CONNECT\n\n";
my $dunno = "action=DUNNO\n\n";

sub raw {
    my ($p, $name) = @_;
    return IO::Socket::UNIX->new(Peer => $p->socket_path($name // 'policy'));
}

sub ask {
    my ($socket) = @_;
    local $SIG{PIPE} = 'IGNORE';
    syswrite $socket, $connect or return '';
    vec(my $bits = '', fileno $socket, 1) = 1;
    select $bits, undef, undef, 5 or return 'no answer';
    sysread $socket, my $reply, 1000;
    return $reply // '';
}

# -- 5,000 that idle, in children, for this process has few descriptors -----------

case 'P9';
my $p = Emailing::Policyd->start(wrap => ['prlimit', '--nofile=8192:8192']);
is ask(raw($p)), $dunno, 'a first request';
my $before = Emailing::Policyd::resident($p->pid);
my @children;
for my $child (1 .. 10) {
    pipe my $go_r, my $go_w or die;
    pipe my $sum_r, my $sum_w or die;
    my $pid = fork // die;
    if ($pid == 0) {
        alarm 60;
        my @idle = map { raw($p) } 1 .. 500;
        ask($_) for @idle[0 .. 249]; # half have asked, half never did
        syswrite $sum_w, "ready\n";
        sysread $go_r, my $nothing, 1;
        syswrite $sum_w, scalar(grep { ask($_) eq $dunno } @idle) . "\n";
        require POSIX;
        POSIX::_exit(0);
    }
    push @children, { pid => $pid, go => $go_w, sum => $sum_r };
}
my $ready = grep { readline($_->{sum}) eq "ready\n" } @children;
is $ready, 10, '5,000 connections';
cmp_ok Emailing::Policyd::descriptors($p->pid), '>', 5000, 'are there at once';
my $cpu = Emailing::Policyd::cpu($p->pid);
sleep 2;
cmp_ok Emailing::Policyd::cpu($p->pid) - $cpu, '<', 0.2, 'cost nothing';
cmp_ok Emailing::Policyd::resident($p->pid) - $before, '<',
    64 * 1024 + Emailing::Policyd::slack(),
    'in no more than 64 MiB';
is ask(raw($p)), $dunno, 'others are served';
my $answered = 0;
for my $child (@children) {
    syswrite $child->{go}, 'x';
    $answered += readline $child->{sum};
    waitpid $child->{pid}, 0;
}
is $answered, 5000, 'and each is answered in the end';
ok within(5, sub { Emailing::Policyd::descriptors($p->pid) < 100 }),
    'their descriptors are closed';

# -- fewer descriptors than connections ---------------------------------------------

case 'P10';
my ($port) = Emailing::free_ports();
$p = Emailing::Policyd->start(
    conf => { status_listen => "127.0.0.1:$port" },
    wrap => ['prlimit', '--nofile=300:300']);
my @open = map { raw($p) } 1 .. 150;
my @auth = map { raw($p, 'auth') } 1 .. 150;
$cpu = Emailing::Policyd::cpu($p->pid);
my $good = grep { ask($_) eq $dunno } @open;
cmp_ok $good, '>=', 100, 'many are served';
cmp_ok Emailing::Policyd::descriptors($p->pid), '<', 230,
    'both sockets together leave descriptors for the rest';
is((Emailing::Policyd::http("127.0.0.1:$port", '/healthz'))[0], 200,
   'the status page is there');
ok within(5, sub { $p->log =~ /too many connections/ }), 'the log says so';
my $lines = () = $p->log =~ /too many connections/g;
cmp_ok $lines, '<=', 6, 'not for each of them';
@open = @auth = ();
ok within(5, sub { ask(raw($p)) eq $dunno }), 'and it recovers';

# -- none left at all -----------------------------------------------------------------

# It starts with most of its descriptors taken, more than it can know of.
($port) = Emailing::free_ports();
$p = Emailing::Policyd->start(
    conf => { status_listen => "127.0.0.1:$port" },
    before => sub { POSIX::dup(0) for 1 .. 70 },
    wrap => ['prlimit', '--nofile=120:120']);
my $kept = raw($p);
is ask($kept), $dunno, 'a connection from before';
my @more = map { raw($p) } 1 .. 55;
ok within(5, sub { Emailing::Policyd::descriptors($p->pid) >= 119 }),
    'no descriptor is left';
my $scrape = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port");
syswrite $scrape, "GET /healthz HTTP/1.0\r\n\r\n" if $scrape;
$cpu = Emailing::Policyd::cpu($p->pid);
my $end = time + 3;
my $refused = 0;
while (time < $end) {
    my $socket = raw($p);
    $refused++ if !$socket || ask($socket) eq '';
    sleep 0.02;
}
cmp_ok $refused, '>', 50, 'nobody else gets in';
cmp_ok Emailing::Policyd::cpu($p->pid) - $cpu, '<', 0.3, 'it does not spin';
is ask($kept), $dunno, 'who is in is served';
$lines = () = $p->log =~ /\n/g;
cmp_ok $lines, '<=', 10, 'the log has no line for each of them';
@more = ();
ok within(5, sub { ask(raw($p)) eq $dunno }), 'and so does the service';
ok within(5, sub {
    (Emailing::Policyd::http("127.0.0.1:$port", '/healthz'))[0] == 200;
}), 'and the status page';

# -- none left in the whole system -----------------------------------------------------

# What the kernel says then, said by strace(1) in its place until it lets go.
$kept = raw($p);
is ask($kept), $dunno, 'a connection from before';
my $strace = fork // die $!;
if ($strace == 0) {
    exec 'strace', '-qq', '-f', '-o', '/dev/null', '-p', $p->pid, '-e',
        'inject=accept,accept4:error=ENFILE' or POSIX::_exit(127);
}
sub traced {
    open my $status, '<', '/proc/' . $p->pid . '/status' or die $!;
    return scalar grep { /^TracerPid:\t[1-9]/ } <$status>;
}
ok within(10, \&traced), 'nobody can be let in';
$cpu = Emailing::Policyd::cpu($p->pid);
$lines = () = $p->log =~ /\n/g;
@more = map { raw($p) } 1 .. 5;
sleep 3;
is ask($kept), $dunno, 'who is in is served';
cmp_ok Emailing::Policyd::cpu($p->pid) - $cpu, '<', 0.15, 'it does not spin';
cmp_ok scalar(() = $p->log =~ /\n/g) - $lines, '<=', 4,
    'the log has a line a second at most';
kill 'TERM', $strace;
waitpid $strace, 0;
ok within(5, sub { ask(raw($p)) eq $dunno }), 'and it recovers';
kill 'TERM', $p->pid;
is $p->ended, 0, 'it ends as it should';

done_testing;
