# SPDX-License-Identifier: MIT
package Emailing::Senders;

# Clients of a cluster's relay, each a process that sends all the time, and
# afterwards what became of each message: of the accepted ones each must have
# arrived once, or still be in the queue. A client learns of a pod that ends
# some seconds late, as in a cluster.
#
#   my $s = Emailing::Senders->start($cluster, 20, 'test1', $password);
#   ok $s->wait_accepted(40);
#   $s->stop;
#   my $sum = $s->sum;     # accepted delivered queued lost twice, and others:
#                          # what the rest were answered, with how often

use strict;
use warnings;

use Carp qw(croak);
use POSIX ();
use Time::HiRes qw(sleep time);

use Emailing::Cluster qw(slurp spew);

sub start {
    my ($class, $cluster, $count, $user, $password) = @_;
    my $self = bless { cluster => $cluster, dir => $cluster->dir . '/senders',
                       user => $user, password => $password }, $class;
    mkdir $self->{dir} or croak "$self->{dir}: $!";
    for my $number (1 .. $count) {
        my $pid = fork // croak "fork: $!";
        if ($pid == 0) {
            $self->client($number);
            POSIX::_exit(0);
        }
        push @{ $self->{pids} }, $pid;
    }
    return $self;
}

# A line for each message: id and what came of it.
sub client {
    my ($self, $number) = @_;
    my ($message, $learned, @addresses) = (0, 0);
    open my $log, '>', "$self->{dir}/$number" or die $!;
    $log->autoflush(1);
    until (-e "$self->{dir}/enough") {
        if (time - $learned > 3) {
            @addresses = split ' ', slurp($self->{cluster}->dir
                . '/endpoints/relay');
            $learned = time;
        }
        my $id = "id-$number-" . ++$message . '-end';
        my $reply = eval {
            my $pod = { ip => $addresses[rand @addresses] // die "nobody\n" };
            $self->send_one($pod, $id);
        } // "error $@";
        $reply =~ tr/\n/ /;
        print $log "$id $reply\n";
        sleep 1;
    }
    close $log;
    return;
}

sub send_one {
    my ($self, $pod, $id) = @_;
    my $smtp = $self->{cluster}->smtp($pod, 9000);
    return $smtp->banner if $smtp->banner !~ /^220 /;
    my $reply = $smtp->starttls->auth_plain($self->{user}, $self->{password});
    $reply = $smtp->send('user@test1.com', body => $id) if $reply =~ /^235 /;
    $smtp->quit;
    return $reply;
}

# outcomes: id => reply
sub outcomes {
    my ($self) = @_;
    return map { /\A(id-\S+-end) (.*)\z/ ? ($1, $2) : () }
        map { split /\n/, slurp($_) } glob "$self->{dir}/[0-9]*";
}

sub accepted {
    my ($self) = @_;
    my %outcomes = $self->outcomes;
    return scalar grep { /^250 / } values %outcomes;
}

# wait_accepted COUNT: so many more than now, within a minute
sub wait_accepted {
    my ($self, $count) = @_;
    my $end = time + 60;
    my $goal = $self->accepted + $count;
    while ($self->accepted < $goal) {
        return if time > $end;
        sleep 0.5;
    }
    return 1;
}

sub stop {
    my ($self) = @_;
    spew("$self->{dir}/enough", '');
    waitpid $_, 0 for @{ delete $self->{pids} };
    return;
}

# sum: of pods that run no more, for their volumes are read
sub sum {
    my ($self) = @_;
    my %outcomes = $self->outcomes;
    my %queued = map { $_ => 1 } $self->{cluster}->queued;
    my (%copies, %others, @accepted, @lost, @twice);
    for ($self->{cluster}->received(0)) {
        $copies{$1}++ if /^(id-\S+-end)$/m;
    }
    my $delivered = keys %copies;
    for my $id (keys %outcomes) {
        my $reply = $outcomes{$id};
        if ($reply !~ /^250 /) {
            $others{$reply}++;
            next;
        }
        push @accepted, $id;
        my ($name) = $reply =~ /queued as (\w+)/;
        $copies{$id}++ if $queued{ $name // '' };
        push @lost, $id if !$copies{$id};
    }
    @twice = grep { $copies{$_} > 1 } keys %copies;
    return { accepted => scalar @accepted, delivered => $delivered,
             queued => scalar keys %queued, lost => \@lost, twice => \@twice,
             others => \%others };
}

# text SUM: as a figure
sub text {
    my ($sum) = @_;
    my $others = 0;
    $others += $_ for values %{ $sum->{others} };
    return sprintf 'accepted %d, delivered %d, in the queue %d, lost %d, '
        . 'duplicated %d, not accepted %d', @$sum{qw(accepted delivered
        queued)}, scalar @{ $sum->{lost} }, scalar @{ $sum->{twice} }, $others;
}

1;
