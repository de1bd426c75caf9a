#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# The framing of the policy socket, byte by byte: what is answered, what closes
# the connection, and what a bad client costs. Needs no database: a request
# that does gets 451. The cases P1, P2, P5 to P7, P11 and P12.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;
use Time::HiRes qw(sleep);

use Emailing qw(within);
use Emailing::Case qw(case);
use Emailing::Policyd ();
use Emailing::Socket ();

my $p = Emailing::Policyd->start;
my $slack = Emailing::Policyd::slack();
my $connect = "request=smtpd_access_policy\nprotocol_state=CONNECT\n\n";
my $rcpt = Emailing::Socket::request_text(
    { sasl_username => 'test1', sender => 'user@test1.com' });
my $later = '451 4.3.0 permission lookup failed, try again later';

# What a client gets that sends this, and no more, in these pieces.
sub answers {
    my @pieces = @_;
    my $socket = $p->policy_socket;
    for my $piece (@pieces) {
        $socket->send($piece) or last;
    }
    $socket->shut;
    my @actions;
    while (defined(my $action = $socket->action)) {
        push @actions, $action;
    }
    return \@actions;
}

# -- good requests ------------------------------------------------------------

case 'P11';
is_deeply answers($connect), ['DUNNO'], 'a request';
is_deeply answers($rcpt), [$later], 'a request that needs the database';
is_deeply answers($rcpt . $connect . $rcpt), [$later, 'DUNNO', $later],
    'three in one write, answered in order';
is_deeply answers(map { $connect } 1 .. 3), [('DUNNO') x 3], 'three writes';

my @wrong;
my $two = $connect . $rcpt;
for my $cut (1 .. length($two) - 1) {
    my $actions = answers(substr($two, 0, $cut), substr($two, $cut));
    push @wrong, $cut if "@$actions" ne "DUNNO $later";
}
is_deeply \@wrong, [], 'two requests cut in two, at each place';
for my $size (1 .. 7) {
    is_deeply answers($two =~ /(.{1,$size})/sg), ['DUNNO', $later],
        "in pieces of $size";
}

my $thousand = answers(join '', map { $_ % 2 ? $connect : $rcpt } 1 .. 1000);
is_deeply $thousand, [('DUNNO', $later) x 500], '1,000 in one write, in order';

my $socket = $p->policy_socket;
$socket->send($connect);
is $socket->action, 'DUNNO', 'a connection stays open';
$socket->send("${connect}request=smtpd_access");
is $socket->action, 'DUNNO', 'also with a request begun';
$socket->send("_policy\nprotocol_state=CONNECT\n\n");
is $socket->action, 'DUNNO', 'which is answered once it is whole';
$socket->shut;
ok $socket->closed, 'and closed once the client has said all';

# -- limits, to the byte --------------------------------------------------------

case 'P7';

sub line { my ($bytes) = @_; return 'x=' . 'y' x ($bytes - 2) . "\n" }

sub block {
    my ($bytes) = @_;
    my $text = "request=smtpd_access_policy\nprotocol_state=CONNECT\n";
    my $rest = $bytes - length($text) - 1;
    while ($rest > 0) {
        my $n = $rest > 4000 ? 4000 : $rest;
        $text .= line($n - 1);
        $rest -= $n;
    }
    return "$text\n";
}

my $head = substr $connect, 0, -1;
is_deeply answers($head . line(8192) . "\n"), ['DUNNO'], 'a line of 8,192 bytes';
is_deeply answers($head . line(8193) . "\n"), [], 'and of one more';
is length block(65536), 65536, '(the block is as long as it should be)';
is_deeply answers(block(65536)), ['DUNNO'], 'a request of 65,536 bytes';
is_deeply answers(block(65537)), [], 'and of one more';
is_deeply answers(block(65535) =~ /(.{1,1000})/sg, $connect),
    [('DUNNO') x 2], 'a long one in pieces, and another behind it';
is_deeply answers(block(65536) x 3), [('DUNNO') x 3], 'three long ones at once';

# -- what is not the protocol -----------------------------------------------------

my %bad = (
    P1 => {
        'NUL in a value' =>
            "request=smtpd_access_policy\nsender=a\0b\@c.d\n\n",
        'NUL at the end of a value' =>
            "request=smtpd_access_policy\nsender=a\@c.d\0\n\n",
        'NUL in a name nobody reads' =>
            "request=smtpd_access_policy\nx\0=1\n\n",
        'NUL for a newline' => "request=smtpd_access_policy\0\n",
    },
    P2 => {
        'CRLF line ends' => "request=smtpd_access_policy\r\n\r\n",
        'CRLF at the last line only' => "request=smtpd_access_policy\n\r\n",
        'a CR behind the sender' =>
            "request=smtpd_access_policy\nsender=a\@b.c\r\n\n",
        'a CR within the user' =>
            "request=smtpd_access_policy\nsasl_username=te\rst1\n\n",
    },
    P5 => {
        'empty request' => "\n",
        'empty request behind a good one' => "$connect\n",
        'no request=' => "protocol_state=CONNECT\n\n",
        'empty request=' => "request=\n\n",
        'wrong request=' => "request=smtpd_access_policy2\n\n",
        'prefix of request=' => "request=smtpd_access_polic\n\n",
        'request= in capitals' => "REQUEST=smtpd_access_policy\n\n",
        'request=auth' => "request=auth\nuser=x\npassword=eA==\n\n",
        'line without =' => "request=smtpd_access_policy\nsender\n\n",
        'line without a name' => "request=smtpd_access_policy\n=x\n\n",
        'random bytes' =>
            join('', map { chr(($_ * 37 + 11) % 256) } 0 .. 999),
        'a TLS greeting' =>
            "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" x 20,
        'HTTP' => "GET / HTTP/1.0\r\n\r\n",
    },
    P6 => {
        map {
            my $name = $_;
            my %orders = (twice => ['a', 'b'], 'the first empty' => ['', 'b'],
                          'the second empty' => ['a', ''],
                          'the same' => ['a', 'a']);
            map { ("$name, $_" => "request=smtpd_access_policy\n"
                   . "$name=$orders{$_}[0]\nx=y\n$name=$orders{$_}[1]\n\n") }
                keys %orders;
        } qw(request sender sasl_username sasl_method protocol_state),
    },
);
my $closed = 0;

sub are_closed {
    my ($requests) = @_;
    for my $name (sort keys %$requests) {
        my $good = $name =~ /behind a good/ ? 1 : 0;
        is_deeply answers($requests->{$name}), [('DUNNO') x $good],
            "closed: $name";
        $closed++;
    }
    is_deeply answers($connect), ['DUNNO'], 'others are served as before';
    return;
}

case 'P1';
are_closed($bad{P1});
case 'P2';
are_closed($bad{P2});
case 'P6';
are_closed($bad{P6});
is_deeply answers("request=smtpd_access_policy\nprotocol_state=CONNECT\n"
    . "x=1\nx=2\n\n"), ['DUNNO'], 'an attribute that nobody reads, twice';
case 'P5';
are_closed($bad{P5});
is_deeply answers($connect x 5 . $bad{P2}{'CRLF line ends'} . $connect),
    [('DUNNO') x 5], 'good ones before a bad one are answered, later ones not';
is_deeply answers("request=smtpd_access_policy\nprotocol_state=CONNECT"), [],
    'left in the middle';
is_deeply answers(''), [], 'left without a word';
case '';
ok within(5, sub {
    return $closed <= (() = $p->log =~ /warning: policy: connection closed: /g);
}), 'each has its line in the log';

# -- what bad clients cost ----------------------------------------------------------

sub cost(&) {
    my ($code) = @_;
    my ($cpu, $memory) = (Emailing::Policyd::cpu($p->pid),
                          Emailing::Policyd::resident($p->pid));
    $code->();
    return (Emailing::Policyd::cpu($p->pid) - $cpu,
            Emailing::Policyd::resident($p->pid) - $memory);
}

# Sends until the other side has had enough; how much it took.
sub flood {
    my ($chunk, $most) = @_;
    my $socket = $p->policy_socket;
    my $sent = 0;
    while ($sent < $most && $socket->send($chunk)) {
        $sent += length $chunk;
    }
    return $sent;
}

case 'P7';
my ($cpu, $memory) = cost {
    my $limit = 1024 * 1024; # what sockets hold by themselves
    cmp_ok flood('y' x 65536, 10e6), '<', $limit, 'no newline, 10 MB: closed';
    cmp_ok flood("x=1\n" x 10000, 10e6), '<', $limit, '10^5 attributes: closed';
    cmp_ok flood("\n" x 65536, 100e6), '<', $limit, '100 MB newlines: closed';
};
cmp_ok $cpu, '<', 1, 'at little cost';
cmp_ok $memory, '<', 1024 + $slack, 'and in little memory';

# Slowly enough that policyd sees each byte by itself.
($cpu, $memory) = cost {
    my @dribbles = map { $p->policy_socket } 1 .. 8;
    my @raw = map { $_->{socket} } @dribbles;
    my $text = block(65000);
    my $at = 60000;
    $_->send(substr $text, 0, $at) for @dribbles;
    for my $byte (split //, substr $text, $at) {
        syswrite $_, $byte for @raw;
        sleep 0.0002;
    }
    is_deeply [map { $_->action } @dribbles], [('DUNNO') x 8],
        'the ends of long requests byte by byte';
};
cmp_ok $cpu, '<', 0.6, 'at a cost that does not grow with what came before';
cmp_ok $memory, '<', 8 * 64 + 128 + $slack, 'nor memory beyond the requests';

case 'P12';

sub leave_early {
    for (1 .. $_[0]) {
        answers($connect) if $_ % 100 == 0; # so that it keeps up
        my $raw = IO::Socket::UNIX->new(Peer => $p->socket_path('policy'))
            or die $!;
        syswrite $raw, $rcpt;
    }
    return;
}

# The first ones make room for as many as come at once.
leave_early(1000);
my $fds = Emailing::Policyd::descriptors($p->pid);
my $pid = $p->pid;
($cpu, $memory) = cost {
    leave_early(100_000);
    is_deeply answers($connect), ['DUNNO'], 'after 100,000 that left early';
};
cmp_ok $memory, '<', 1024 + $slack, 'memory is what it was';
ok within(5, sub { Emailing::Policyd::descriptors($pid) <= $fds }),
    'and so are descriptors';
ok kill(0, $pid), 'the same process lives';

done_testing;
