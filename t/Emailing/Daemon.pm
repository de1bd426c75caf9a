# SPDX-License-Identifier: MIT
package Emailing::Daemon;

# An emailing-policyd with a database, beside any number of others.
#
#   my $d = Emailing::Daemon->new(conninfo => $pg->{conninfo},
#                                  conf => { cache_ttl => 5 });
#   $d->ready;                        # follows changes
#   my $action = $d->decide('test1', 'a@b.c');
#   my $m = $d->metrics;              # { emailing_cache_hits_total => 3, ... }
#   $d->log; $d->reload(cache_bytes => 0); $d->stop;
#
# It ends with the object. EMAILING_WRAP: a command that runs it.

use strict;
use warnings;

use parent 'Emailing::Policyd';

use Carp qw(croak);
use POSIX ();

use Emailing qw(within);

sub new {
    my ($class, %args) = @_;
    my ($port) = Emailing::free_ports();
    my $self = $class->prepare(conf => {
        conninfo => $args{conninfo} // '', status_listen => "127.0.0.1:$port",
        %{ $args{conf} || {} } });
    $self->{port} = $port;
    $self->{env} = $args{env} || {};
    return $self->start;
}

# Also again: the log goes on.
sub start {
    my ($self) = @_;
    delete $self->{policy};
    $self->write_conf;
    $self->launch(append => 1, wrap => [split ' ', $ENV{EMAILING_WRAP} // ''],
        before => sub {
            my $env = $self->{env};
            $ENV{$_} = $env->{$_} for keys %$env;
            POSIX::setsid();
        });
    within(20, sub { -S $self->socket_path('policy') && $self->metrics })
        or croak 'policyd does not start: ' . $self->log;
    return $self;
}

# Ends it; its exit status, 128 and more for a signal.
sub stop {
    my ($self, $signal) = @_;
    my $pid = $self->{pid} or return;
    kill CONT => $pid;
    kill $signal || 'TERM', $pid;
    my $status = $self->ended(20);
    if (!defined $status) {
        kill KILL => $pid;
        $self->ended;
    }
    return $status // 255;
}

# Writes other options and has them read.
sub reload {
    my ($self, %conf) = @_;
    my $before = $self->count(qr/configuration/i);
    $self->write_conf(%conf);
    kill HUP => $self->{pid};
    return within(10, sub { $self->count(qr/configuration/i) > $before });
}

# count PATTERN: how often it is in the log
sub count {
    my ($self, $pattern) = @_;
    my $count = () = $self->log =~ /$pattern/g;
    return $count;
}

# The status page's figures by name (and labels); nothing when there is none.
sub metrics {
    my ($self) = @_;
    return eval { Emailing::Policyd::metrics("127.0.0.1:$self->{port}") };
}

sub metric { return ($_[0]->metrics || {})->{"emailing_$_[1]"} }

# Waits until changes are followed.
sub ready {
    my ($self, $seconds) = @_;
    return within($seconds // 10, sub { $self->metric('following') });
}

# decide USER, SENDER: the action, over a connection that is kept
sub decide {
    my ($self, $user, $sender) = @_;
    $self->{policy} ||= $self->policy_socket;
    return $self->{policy}->policy({ sasl_username => $user,
                                     sender => $sender });
}

sub auth {
    my ($self, $user, $password) = @_;
    my $reply = $self->auth_socket->auth($user, $password) or return;
    return $reply->{status};
}

sub DESTROY {
    my ($self) = @_;
    return if $self->{pid_of_maker} != $$;
    local ($?, $@, $!);
    $self->stop;
    return;
}

1;
