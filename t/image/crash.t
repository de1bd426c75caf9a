#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Nodes die while twenty clients send: each pod is killed at once, and starts
# again on its volume. The provider takes nothing meanwhile, so that no delivery
# can be cut off in the middle, which nobody could tell from one that failed;
# then each message that was accepted arrives exactly once.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;

use Emailing::Cluster qw(figure within);
use Emailing::Senders ();

my $c = Emailing::Cluster->up;
my $k = $c->kubelet;
my @pods = $c->start_all;
$c->refuse_mail(1);
my $senders = Emailing::Senders->start($c, 20, 'test1', $c->password);
for my $ordinal (1, 0) {
    ok $senders->wait_accepted(40), 'the clients are sending';
    $k->kill_pod($pods[$ordinal]);
    ok $senders->wait_accepted(20), "pod $ordinal is dead, the other takes mail";
    $pods[$ordinal] = $k->start(StatefulSet => 'relay', $ordinal);
    $k->wait_ready($pods[$ordinal], 60);
}
ok $senders->wait_accepted(40), 'both take mail again';
$senders->stop;
is $c->received_count, 0, 'nothing was delivered yet';
cmp_ok scalar($c->queued), '>=', $senders->accepted,
    'what was accepted is on the volumes';

$c->refuse_mail(0);
my $accepted = $senders->accepted;
$k->podman('exec', "$_->{id}-postfix", 'postqueue', '-f') for @pods;
within(120, sub { $c->received_count >= $accepted && !$c->queued });
$k->stop($_) for @pods;
my $sum = $senders->sum;
figure('pods killed: ' . Emailing::Senders::text($sum));
is_deeply $sum->{lost}, [], 'no accepted message is lost';
is_deeply $sum->{twice}, [], 'and none arrives twice';
is_deeply [grep { /^5\d\d / } keys %{ $sum->{others} }], [],
    'nobody was refused for good';

done_testing;
