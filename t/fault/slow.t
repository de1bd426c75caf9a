#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Clients that take their time: a thousand that send a byte now and then, and
# some that send and do not read. The cases P8 and P12. Needs no database.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use IO::Socket::INET ();
use IO::Socket::UNIX ();
use Socket qw(SOL_SOCKET SO_RCVBUF);
use Test::More;
use Time::HiRes qw(sleep time);

use Emailing qw(within);
use Emailing::Case qw(case);
use Emailing::Policyd ();
use Emailing::Socket ();

# For the descriptors of this process.
system('prlimit', "--pid=$$", '--nofile=4096:') == 0 or die 'prlimit';

my $connect = "request=smtpd_access_policy\nprotocol_state=CONNECT\n\n";
my $rcpt = Emailing::Socket::request_text(
    { sasl_username => 'test1', sender => 'user@test1.com' });
my $later = '451 4.3.0 permission lookup failed, try again later';

sub raw {
    my ($p) = @_;
    my $socket = IO::Socket::UNIX->new(Peer => $p->socket_path('policy'))
        or die $!;
    $socket->blocking(0);
    return $socket;
}

# Sends without waiting; how much was taken.
sub push_bytes {
    my ($socket, $bytes) = @_;
    my ($done, $stuck) = (0, 0);
    while ($done < length $bytes && $stuck < 20) {
        my $n = syswrite $socket, $bytes, length($bytes) - $done, $done;
        $stuck = $n ? 0 : $stuck + 1;
        $done += $n // 0;
        sleep 0.002 if !$n;
    }
    return $done;
}

# -- a reply that comes while the ones before it do not leave ---------------------

# Bytes that a client may read.
sub readable {
    my ($client) = @_;
    my $count = pack 'i', 0;
    ioctl $client->{socket}, 0x541b, $count or die "FIONREAD: $!"; # on Linux
    return unpack 'i', $count;
}

# Asks, one by one, until no more replies leave, or so many have; the number.
sub fill {
    my ($client, $most) = @_;
    my $count = 0;
    while ($count < $most) {
        $client->send($connect);
        last if !within(0.5, sub {
            return readable($client) > $count * length "action=DUNNO\n\n";
        });
        $count++;
    }
    return $count;
}

case 'P12';
{
    # It accepts, by the kernel, and says nothing: a question waits for it.
    my $silent = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        Listen => 128) or die $!;
    my $p = Emailing::Policyd->start(conf => { database_timeout => 10,
        conninfo => 'host=127.0.0.1 dbname=x user=x port='
            . $silent->sockport });
    my $most = fill($p->policy_socket, 1e9);
    cmp_ok $most, '>', 10, 'replies leave until a client has enough';
    my $client = $p->policy_socket;
    is fill($client, $most), $most, 'as many for another one';
    # One more that waits to leave, and one that is not known yet.
    $client->send($connect . $rcpt . $connect);
    ok within(20, sub { $p->log =~ /reason=unavailable/ }),
        'the last question is answered while nothing leaves';
    is_deeply [map { eval { $client->action } // $@ } 1 .. $most + 3],
        [('DUNNO') x ($most + 1), $later, 'DUNNO'],
        'each reply comes whole and in order';
    $client->send($connect);
    is $client->action, 'DUNNO', '... and the connection goes on';
    kill TERM => $p->pid;
    is $p->ended, 0, '... and it ends as it should';
}

# -- slow ones: begun first, looked at last ----------------------------------------

my $p = Emailing::Policyd->start;
my $memory = Emailing::Policyd::resident($p->pid);
my $normal = $p->policy_socket;
my $idle = $p->policy_socket;
my $began = time;
my @slow = map { { socket => raw($p) } } 1 .. 1000;
for my $slow (@slow) {
    $slow->{since} = time;
    syswrite $slow->{socket}, 'r';
}
my $begun = $p->policy_socket;
$begun->send("${connect}request=smtpd_access_policy\n");

# A client that sends and never reads.
my $deaf = raw($p);
setsockopt $deaf, SOL_SOCKET, SO_RCVBUF, 4096;
my $pushed = push_bytes($deaf, $connect x 100_000);

# Meanwhile a normal client asks; each slow one sends a byte every five seconds.
my (@took, @wrong, $open);
for (my $next = $began + 5; time < $began + 34;) {
    my $start = time;
    my $action = $normal->policy({ protocol_state => 'CONNECT' }) // 'closed';
    push @took, time - $start;
    push @wrong, $action if $action ne 'DUNNO';
    sleep 0.01;
    next if time < $next;
    for my $slow (grep { !$_->{closed} } @slow) {
        local $SIG{PIPE} = 'IGNORE';
        my $n = sysread $slow->{socket}, my $byte, 1;
        $slow->{closed} = time - $slow->{since}
            if defined $n || !syswrite $slow->{socket}, 'r';
    }
    $open = grep { !$_->{closed} } @slow if time < $began + 29;
    # Often towards the end, to see when they are closed.
    $next += time > $began + 24 ? 0.5 : 5;
}

case 'P8';
is $open, 1000, 'a request may take its time';
is scalar(grep { !$_->{closed} } @slow), 0, 'but not more than half a minute';
cmp_ok +(sort { $a <=> $b } map { $_->{closed} // 0 } @slow)[0], '>=', 29,
    'and no less';
is_deeply \@wrong, [], 'a normal client has all his answers meanwhile';
cmp_ok scalar @took, '>', 500, '... many of them';
@took = sort { $a <=> $b } @took;
note sprintf 'P8: p99 of a normal client: %.1f ms of %d answers, %.1f at most',
    1000 * $took[int(0.99 * @took)], scalar @took, 1000 * $took[-1];
is $begun->action, 'DUNNO', 'one who begins a second request has his first';
ok $begun->closed(1), '... and no more time for the second';
is scalar(() = $p->log =~ /closed: request not finished in time/g), @slow + 1,
    'each has its line';
cmp_ok Emailing::Policyd::resident($p->pid) - $memory, '<',
    8 * 1024 + Emailing::Policyd::slack(), 'in no more than 8 MiB';
$idle->send($connect);
is $idle->action, 'DUNNO', 'who is idle is not closed';

case 'P12';
cmp_ok $pushed, '<', 2e6, 'who does not read is not read from';
ok within(5, sub { $p->log =~ /closed: reply not read in time/ }),
    'who does not read a reply is closed';

done_testing;
