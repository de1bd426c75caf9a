# SPDX-License-Identifier: MIT
package Emailing::Proxy;

# A faulty network between policyd and PostgreSQL: a process that listens on
# a free port of loopback and passes bytes on to the server's unix socket, in
# one of these modes, which may be switched at any time and hold for what is
# connected already as well:
#
#   pass, delay (0.3 s each way), dribble (a byte at a time)
#   hole (nothing passes), hole-down (nothing passes to the client)
#   refuse (nobody listens; what was connected is closed)
#   reset (what is connected, and what connects, is reset)
#   truncate (the next answer is cut short and the connection closed)
#   half-open (the server's side is closed and the client not told)
#   garble (bytes of answers change)
#   spoil (each client is sent, once, what no server sends; then as pass)
#
#   my $proxy = Emailing::Proxy->new("$dir/.s.PGSQL.5432");
#   $proxy->mode('hole');             # for all connections
#   $proxy->mode('hole', 'listen');   # for those that said LISTEN, and the
#                                     # others pass
#   my $n = $proxy->accepted;         # connections made so far

use strict;
use warnings;

use Carp qw(croak);
use IO::Select ();
use IO::Socket::INET ();
use IO::Socket::UNIX ();
use POSIX ();
use Socket qw(AF_UNIX PF_UNSPEC SOCK_STREAM SOL_SOCKET SO_LINGER);
use Time::HiRes qw(time);

my @live;

sub new {
    my ($class, $server) = @_;
    my $listener = _listen(0);
    my $self = bless { parent => $$, port => $listener->sockport }, $class;
    socketpair $self->{control}, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC
        or croak "socketpair: $!";
    $self->{pid} = fork // croak "fork: $!";
    if ($self->{pid} == 0) {
        close $self->{control};
        local $SIG{PIPE} = 'IGNORE';
        @SIG{qw(INT TERM HUP)} = ('DEFAULT') x 3;
        eval { _serve($listener, $theirs, $server); 1 } or print STDERR $@;
        POSIX::_exit(0);
    }
    close $theirs;
    push @live, $self;
    return $self;
}

sub port { return $_[0]{port} }

sub _command {
    my ($self, $line) = @_;
    syswrite $self->{control}, "$line\n" or croak "proxy: $!";
    sysread $self->{control}, my $reply, 100 or croak 'proxy: gone';
    return $reply + 0;
}

sub mode {
    my ($self, $mode, $which) = @_;
    return $self->_command("$mode " . ($which // 'all'));
}

sub accepted { return $_[0]->_command('count all') }

sub stop {
    my ($self) = @_;
    my $pid = delete $self->{pid} or return;
    kill KILL => $pid;
    waitpid $pid, 0;
    return;
}

END {
    my $status = $?;
    $_->{parent} == $$ && $_->stop for @live;
    $? = $status;
}

# -- the process ---------------------------------------------------------------

my %state; # mode, which, listener, port, server, count, pairs
my $select;

sub _listen {
    my ($port) = @_;
    return IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port,
        Listen => 128, ReuseAddr => 1) || croak "listen: $!";
}

sub _serve {
    my ($listener, $control, $server) = @_;
    %state = (mode => 'pass', which => 'all', listener => $listener,
        port => $listener->sockport, server => $server, count => 0,
        pairs => {});
    $select = IO::Select->new($listener, $control);
    while (1) {
        for my $handle ($select->can_read(_pause())) {
            if ($handle == $control) {
                sysread $control, my $line, 100 or return;
                syswrite $control, _obey(split ' ', $line) . "\n";
            } elsif ($state{listener} && $handle == $state{listener}) {
                _accept();
            } elsif (my $pair = $state{pairs}{ fileno($handle) // -1 }) {
                _read($pair, $handle);
            }
        }
        _write_due();
    }
}

# Until the next byte that is held back is due.
sub _pause {
    my $soonest = time + 1;
    for my $pair (values %{ $state{pairs} }) {
        for my $side (qw(up down)) {
            my $due = $pair->{$side}[0] or next;
            $soonest = $due->[0] if $due->[0] < $soonest;
        }
    }
    my $pause = $soonest - time;
    return $pause > 0 ? $pause : 0;
}

sub _obey {
    my ($mode, $which) = @_;
    return $state{count} if $mode eq 'count';
    @state{qw(mode which)} = ($mode, $which);
    _close_listener() if $mode eq 'refuse';
    if ($mode ne 'refuse' && !$state{listener}) {
        $state{listener} = _listen($state{port});
        $select->add($state{listener});
    }
    my %seen;
    for my $pair (grep { !$seen{$_}++ } values %{ $state{pairs} }) {
        my $now = _mode($pair);
        _end($pair, $now eq 'reset') if $now eq 'reset' || $now eq 'refuse';
        _close_server($pair) if $now eq 'half-open';
        _spoil($pair) if $now eq 'spoil';
        # What was lost in the hole stays lost; the stream is of no use.
        _end($pair) if $pair->{lost} && $now !~ /^(?:hole|hole-down)$/;
    }
    return 0;
}

# A message that cannot be, as if from the server, for one that asked nothing.
sub _spoil {
    my ($pair) = @_;
    push @{ $pair->{down} }, [0, pack 'a N', 'A', 2] if $pair->{client};
    return;
}

sub _close_listener {
    return if !$state{listener};
    $select->remove($state{listener});
    close delete $state{listener};
    return;
}

sub _mode {
    my ($pair) = @_;
    return $state{which} eq 'all' || $pair->{listens} ? $state{mode} : 'pass';
}

sub _accept {
    my $client = $state{listener}->accept or return;
    $state{count}++;
    if ($state{mode} eq 'reset' && $state{which} eq 'all') {
        _reset($client);
        return;
    }
    my $server = IO::Socket::UNIX->new(Peer => $state{server});
    if (!$server) {
        _reset($client);
        return;
    }
    $_->blocking(0) for $client, $server;
    my $pair = { client => $client, server => $server, up => [], down => [],
                 listens => 0 };
    $state{pairs}{ fileno $_ } = $pair for $client, $server;
    $select->add($client, $server);
    _close_server($pair) if _mode($pair) eq 'half-open';
    return;
}

sub _reset {
    my ($handle) = @_;
    setsockopt $handle, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
    close $handle;
    return;
}

sub _close_server {
    my ($pair) = @_;
    my $server = delete $pair->{server} or return;
    delete $state{pairs}{ fileno $server };
    $select->remove($server);
    close $server;
    $pair->{lost} = 1;
    return;
}

sub _end {
    my ($pair, $reset) = @_;
    _close_server($pair);
    my $client = delete $pair->{client} or return;
    delete $state{pairs}{ fileno $client };
    $select->remove($client);
    $reset ? _reset($client) : close $client;
    return;
}

sub _read {
    my ($pair, $handle) = @_;
    my $up = $pair->{client} && $handle == $pair->{client};
    my $n = sysread $handle, my $bytes, 65536;
    return if !defined $n && $!{EAGAIN};
    if (!$n) {
        my $mode = _mode($pair);
        return _end($pair) if $up || $mode !~ /^(?:hole|hole-down|half-open)$/;
        return _close_server($pair);
    }
    $pair->{listens} = 1 if $up && $bytes =~ /LISTEN emailing/;
    _pass($pair, $up ? 'up' : 'down', $bytes);
    return;
}

sub _pass {
    my ($pair, $side, $bytes) = @_;
    my $mode = _mode($pair);
    my $queue = $pair->{$side};
    if ($mode eq 'hole' || $mode eq 'half-open'
        || $mode eq 'hole-down' && $side eq 'down') {
        $pair->{lost} = 1;
        return;
    }
    if ($mode eq 'truncate' && $side eq 'down') {
        push @$queue, [0, substr($bytes, 0, length($bytes) / 2), 'end'];
        return;
    }
    if ($mode eq 'garble' && $side eq 'down') {
        substr($bytes, $_, 1) ^= "\x55"
            for map { int rand length $bytes } 1 .. 1 + length($bytes) / 20;
    }
    my $now = time;
    # In the order they came, whatever the mode was then.
    my $least = @$queue ? $queue->[-1][0] : 0;
    if ($mode eq 'dribble') {
        push @$queue, map { [$now > $least ? $now : $least, $_] }
            split //, $bytes;
        return;
    }
    my $due = $mode eq 'delay' ? $now + 0.3 : 0;
    push @$queue, [$due > $least ? $due : $least, $bytes];
    return;
}

sub _write_due {
    my %seen;
    for my $pair (grep { !$seen{$_}++ } values %{ $state{pairs} }) {
        _write($pair, 'up', 'server');
        _write($pair, 'down', 'client');
    }
    return;
}

sub _write {
    my ($pair, $side, $to) = @_;
    my $queue = $pair->{$side};
    my $bytes = 0;
    while (@$queue && $queue->[0][0] <= time && $pair->{$to}) {
        my $n = syswrite $pair->{$to}, $queue->[0][1];
        if (!defined $n) {
            _end($pair) if !$!{EAGAIN};
            return;
        }
        substr($queue->[0][1], 0, $n) = '';
        next if length $queue->[0][1];
        my $item = shift @$queue;
        return _end($pair) if $item->[2];
    }
    return;
}

1;
