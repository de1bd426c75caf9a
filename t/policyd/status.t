#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# The status page: alive, ready, metrics that Prometheus takes, and what it
# does with other requests.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use IO::Socket::INET ();
use Test::More;

use Emailing qw(run within);
use Emailing::Policyd ();

sub http { return Emailing::Policyd::http(@_) }

# -- without a database --------------------------------------------------------------

my ($port) = Emailing::free_ports();
my $address = "127.0.0.1:$port";
my $p = Emailing::Policyd->start(conf => { status_listen => $address });
is_deeply [http($address, '/healthz')], [200, "ok\n"], '/healthz: alive';
is_deeply [http($address, '/readyz')], [503, "waiting for the database\n"],
    '/readyz: not yet';
my $metrics = Emailing::Policyd::metrics($address);
is $metrics->{emailing_database_up}, 0, 'metrics: no database';
is((http($address, $_))[0], 404, "$_: 404") for qw(/ /metricss /healthz/ /..);
is((http($address, '/healthz', $_))[0], 405, "$_: 405")
    for qw(POST PUT DELETE OPTIONS);
is_deeply [http($address, '/healthz', 'HEAD')], [200, ''], 'HEAD: no body';

# Odd clients: none of them harms the daemon.
sub send_raw {
    my ($text) = @_;
    local $SIG{PIPE} = 'IGNORE';
    my $socket = IO::Socket::INET->new(PeerAddr => $address) or return;
    syswrite $socket, $text;
    return $socket;
}
my @kept = map { send_raw($_) } "\0" x 1000, 'GET /' . 'x' x 100_000,
    "GET / HTTP/1.1\r\n" . "X: y\r\n" x 20_000,
    "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\nabc",
    (map { "GET /metrics HTTP/1.1\r\nHost:" } 1 .. 100);
my $socket = $p->policy_socket;
is $socket->policy({ protocol_state => 'HELO' }), 'DUNNO',
    'policy is answered beside them';
# All go at once: what is left then must not be deaf.
kill 'STOP', $p->pid;
@kept = ();
kill 'CONT', $p->pid;
ok within(20, sub {
    return "@{[eval { http($address, '/healthz') }]}" eq "200 ok\n";
}), 'and so is the page, when they have gone';

# Keep-alive: one request after the other on one connection.
my $alive = send_raw('');
my $answered = 0;
for (1 .. 3) {
    syswrite $alive, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    vec(my $bits = '', fileno $alive, 1) = 1;
    select $bits, undef, undef, 20 or last;
    sysread $alive, my $text, 4096;
    $answered++ if $text =~ m{\AHTTP/1\.1 200 .*\r\n\r\nok\n\z}s;
}
is $answered, 3, 'three requests on one connection';

# -- with one ------------------------------------------------------------------------------

my $s = Emailing->up;
$address = Emailing::Policyd::status_address($s);
is_deeply [http($address, '/readyz')], [200, "ready\n"], '/readyz: ready';
$s->make_session('secret');
$s->policy({ sasl_username => 'test1', sender => $_ }) for
    'user@test1.com', 'user@test1.com', 'a@test1.com', 'a@b.c', '';
$s->auth('test1', $_) for 'secret', 'wrong';
$s->policy_socket->send("junk\n\n");

my (undef, $body) = http($address, '/metrics');
my ($status, $out, $err) = run([qw(promtool check metrics)], $body);
is $status, 0, 'promtool check metrics' or diag "$out$err";
is "$out$err", '', 'has nothing to say';
my %seen;
my @twice = grep { $seen{$_}++ } $body =~ /^([^#\s]\S*) /mg;
is_deeply \@twice, [], 'no sample is there twice';

$metrics = Emailing::Policyd::metrics($address);
my %expected = (
    'decisions_total{verdict="permit",reason="address"}' => 2,
    'decisions_total{verdict="permit",reason="domain"}' => 1,
    'decisions_total{verdict="reject",reason="not-granted"}' => 1,
    'decisions_total{verdict="reject",reason="null-sender"}' => 1,
    'logins_total{result="ok"}' => 1, 'logins_total{result="denied"}' => 1,
    'hashes_total' => 2, 'hashes_running' => 0, 'hashes_waiting' => 0,
    'database_up' => 1, 'following' => 1, 'polling' => 0,
    'cache_records' => 1, 'connections_refused_total{socket="policy"}' => 1,
    'connections{socket="policy"}' => 0, 'connections{socket="auth"}' => 0,
);
is $metrics->{"emailing_$_"}, $expected{$_}, "metrics: $_"
    for sort keys %expected;
cmp_ok $metrics->{"emailing_$_"} // 0, '>', 0, "metrics: $_" for
    qw(cache_hits_total cache_misses_total cache_bytes notifications_total
       database_connects_total database_query_duration_seconds_count);

# Ready it stays: an answer of 451 serves clients better than a closed port.
$s->service(stop => 'postgres');
ok within(10, sub {
    Emailing::Policyd::metrics($address)->{emailing_database_up} == 0;
}), 'the database is away';
is_deeply [http($address, '/readyz')], [200, "ready\n"], '/readyz: still ready';
is_deeply [http($address, '/healthz')], [200, "ok\n"], '/healthz: alive';

done_testing;
