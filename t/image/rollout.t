#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Two pods, twenty clients that send all the time; one pod after the other is
# drained and replaced. Each message that was accepted arrives exactly once, or
# is in the queue; nobody is refused for another reason than the shutdown.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;
use Time::HiRes qw(sleep time);

use Emailing::Cluster qw(slurp spew within);

my $c = Emailing::Cluster->up;
my $k = $c->kubelet;
my $password = 'correct horse';
my $clients = 20;

# Sends until told to end. A line for each message: id and what came of it. It
# learns of a pod that ends some seconds late, as clients in a cluster do.
sub client {
    my ($number) = @_;
    my ($message, $learned, @addresses) = (0, 0);
    open my $log, '>', $c->dir . "/client.$number" or die $!;
    $log->autoflush(1);
    until (-e $c->dir . '/enough') {
        if (time - $learned > 3) {
            @addresses = split ' ', slurp($c->dir . '/endpoints/relay');
            $learned = time;
        }
        my $id = "id-$number-" . ++$message . '-end';
        my $reply = eval {
            my $pod = { ip => $addresses[rand @addresses] // die "nobody\n" };
            send_one($pod, $id);
        } // "error $@";
        print $log "$id $reply\n";
        sleep 1;
    }
    close $log;
    return;
}

sub send_one {
    my ($pod, $id) = @_;
    my $smtp = $c->smtp($pod, 9000);
    return $smtp->banner if $smtp->banner !~ /^220 /;
    my $reply = $smtp->starttls->auth_plain('test1', $password);
    $reply = $smtp->send('user@test1.com', body => $id) if $reply =~ /^235 /;
    $smtp->quit;
    return $reply;
}

sub outcomes {
    my %outcomes;
    for my $path (glob $c->dir . '/client.*') {
        for (split /\n/, slurp($path)) {
            my ($id, $reply) = /\A(id-\S+-end) (.*)\z/ or next;
            $outcomes{$id} = $reply;
        }
    }
    return %outcomes;
}

sub accepted {
    my %outcomes = outcomes();
    return grep { $outcomes{$_} =~ /^250 / } keys %outcomes;
}

$c->start_database;
$k->run_job('migrate');
my $admin = $k->start(Deployment => 'mailadmin');
my @pods = map { $k->start(StatefulSet => 'relay', $_) } 0, 1;
$c->start_provider;
$k->wait_ready($_, 20) for @pods;
$c->mailadmin($admin, [qw(add user test1)], "$password\n");
$c->mailadmin($admin, [qw(add address user@test1.com)]);
$c->mailadmin($admin, [qw(grant address user@test1.com to test1)]);

my %children;
for my $number (1 .. $clients) {
    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        client($number);
        require POSIX;
        POSIX::_exit(0);
    }
    $children{$pid} = 1;
}
ok within(60, sub { accepted() >= 40 }), 'the clients are sending';

my $killed = 0;
for my $ordinal (1, 0) {
    my $before = accepted();
    $killed += $k->stop($pods[$ordinal]);
    cmp_ok scalar(accepted()), '>', $before,
        "pod $ordinal drained, mail goes on meanwhile";
    $pods[$ordinal] = $k->start(StatefulSet => 'relay', $ordinal);
    $k->wait_ready($pods[$ordinal], 30);
}
is $killed, 0, 'no process had to be killed';
my $before = accepted();
ok within(60, sub { accepted() >= $before + 40 }),
    'the new pods take mail';
spew($c->dir . '/enough', '');
waitpid $_, 0 for keys %children;

my %outcomes = outcomes();
my @accepted = accepted();
my %others;
for my $reply (grep { !/^250 / } values %outcomes) {
    $others{$reply}++;
}
my %copies;
within(60, sub {
    %copies = ();
    for ($c->received(0)) {
        $copies{$1}++ if /^(id-\S+-end)$/m;
    }
    return !grep { !$copies{$_} } @accepted;
});
my @lost = grep { !$copies{$_} } @accepted;
my @twice = grep { $copies{$_} > 1 } keys %copies;
diag sprintf 'accepted %d, delivered %d, lost %d, duplicated %d, '
    . 'told to come back %d', scalar @accepted, scalar keys %copies,
    scalar @lost, scalar @twice, scalar(keys %outcomes) - @accepted;
is_deeply \@lost, [], 'no accepted message is lost';
is_deeply \@twice, [], 'and none arrives twice';
is_deeply [grep { !/^421 4\.3\.2 .*shutting down|: Connection refused/ }
           keys %others], [],
    'clients were only turned away by the shutdown';

done_testing;
