#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Two pods, twenty clients that send all the time; one pod after the other is
# drained and replaced. Each message that was accepted arrives exactly once, or
# is in the queue; nobody is refused for another reason than the shutdown.
# EMAILING_CLIENTS is another number of clients: 200 of them, and the provider,
# are more than two cores can serve.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;

use Emailing::Cluster qw(figure within);
use Emailing::Senders ();

my $c = Emailing::Cluster->up;
my $k = $c->kubelet;
my $clients = $ENV{EMAILING_CLIENTS} || 20;
my @pods = $c->start_all;
my $senders = Emailing::Senders->start($c, $clients, 'test1', $c->password);
ok $senders->wait_accepted(40), 'the clients are sending';

my $killed = 0;
for my $ordinal (1, 0) {
    my $before = $senders->accepted;
    $killed += $k->stop($pods[$ordinal]);
    cmp_ok $senders->accepted, '>', $before,
        "pod $ordinal drained, mail goes on meanwhile";
    $pods[$ordinal] = $k->start(StatefulSet => 'relay', $ordinal);
    $k->wait_ready($pods[$ordinal], 60);
}
is $killed, 0, 'no process had to be killed';
ok $senders->wait_accepted(40), 'the new pods take mail';
$senders->stop;
my $accepted = $senders->accepted;
within(60, sub { $c->received_count >= $accepted });
$killed += $k->stop($_) for @pods;
is $killed, 0, 'they end by themselves, too';

my $sum = $senders->sum;
figure("roll-out, $clients clients: " . Emailing::Senders::text($sum));
is_deeply $sum->{lost}, [], 'no accepted message is lost';
is_deeply $sum->{twice}, [], 'and none arrives twice';
my $reason = qr/^421 4\.3\.2 .*shutting down/;
# Postfix waits for no client more than 10 seconds when all its processes serve.
$reason = qr/$reason|421 4\.4\.2 .*timeout exceeded/ if $clients > 20;
is_deeply [grep { !/$reason/ } keys %{ $sum->{others} }], [],
    'clients were only turned away by the shutdown';

done_testing;
