# SPDX-License-Identifier: MIT
package Emailing::Daemon;

# One emailing-policyd on a queue directory of its own, beside any number of
# others. Gone when the object goes, and at the end, whatever the end.
#
#   my $d = Emailing::Daemon->new(conninfo => $pg->{conninfo},
#                                  conf => { cache_ttl => 5 });
#   $d->ready;                        # follows changes
#   my $action = $d->decide(user => 'a@b.c');
#   my $m = $d->metrics;              # { emailing_cache_hits_total => 3, ... }
#   $d->log; $d->reload(cache_bytes => 0); $d->stop;

use strict;
use warnings;

use Carp qw(croak);
use File::Temp ();
use IO::Socket::INET ();
use POSIX ();
use Scalar::Util ();
use Time::HiRes qw(sleep);

use Emailing qw(build within);
use Emailing::Socket ();

my %live;

sub new {
    my ($class, %args) = @_;
    my $self = bless { parent => $$, env => $args{env} || {} }, $class;
    $self->{tmp} = File::Temp->newdir('policyd.XXXXXX', TMPDIR => 1);
    my $dir = $self->{dir} = "$self->{tmp}";
    chmod 0711, $dir;
    my ($uid, $gid) = (getpwnam 'nobody')[2, 3];
    mkdir "$dir/emailing" or croak "$dir: $!";
    chown $uid, $gid, "$dir/emailing";
    $self->{port} = (Emailing::free_ports())[0];
    $self->{conf} = {
        conninfo => $args{conninfo} // '', user => 'nobody', log_to => 'stderr',
        queue_directory => $dir, socket_group => 'root',
        status_listen => "127.0.0.1:$self->{port}", %{ $args{conf} || {} },
    };
    $live{$self} = $self;
    Scalar::Util::weaken($live{$self});
    $self->start;
    return $self;
}

sub _write {
    my ($self) = @_;
    open my $file, '>', "$self->{dir}/conf" or croak $!;
    print $file qq($_ = "$self->{conf}{$_}"\n) for sort keys %{ $self->{conf} };
    close $file or croak $!;
    return;
}

sub start {
    my ($self) = @_;
    delete $self->{policy};
    $self->_write;
    my @program = ($ENV{EMAILING_WRAP} ? split(' ', $ENV{EMAILING_WRAP}) : (),
        build() . '/policyd/emailing-policyd', '-c', "$self->{dir}/conf");
    $self->{pid} = fork // croak "fork: $!";
    if ($self->{pid} == 0) {
        my $env = $self->{env};
        $ENV{$_} = $env->{$_} for keys %$env;
        POSIX::setsid();
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', "$self->{dir}/log";
        open STDERR, '>>', "$self->{dir}/log";
        exec { $program[0] } @program or POSIX::_exit(127);
    }
    within(20, sub { -S "$self->{dir}/emailing/policy" && $self->metrics })
        or croak 'policyd does not start: ' . $self->log;
    return $self;
}

# Ends it; its exit status, 128 and more for a signal.
sub stop {
    my ($self, $signal) = @_;
    my $pid = delete $self->{pid} or return;
    kill CONT => $pid;
    kill $signal || 'TERM', $pid;
    within(20, sub { waitpid($pid, POSIX::WNOHANG()) == $pid }) or do {
        kill KILL => $pid;
        waitpid $pid, 0;
        return 255;
    };
    return $? & 127 ? 128 + ($? & 127) : $? >> 8;
}

# Writes other options and has them read.
sub reload {
    my ($self, %conf) = @_;
    my $before = () = $self->log =~ /configuration/gi;
    @{ $self->{conf} }{ keys %conf } = values %conf;
    $self->_write;
    kill HUP => $self->{pid};
    return within(10, sub {
        my $now = () = $self->log =~ /configuration/gi;
        return $now > $before;
    });
}

sub pid { return $_[0]{pid} }

sub log {
    my ($self) = @_;
    open my $file, '<', "$self->{dir}/log" or return '';
    local $/;
    return <$file> // '';
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
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $self->{port}, Timeout => 5) or return;
    print $socket "GET /metrics HTTP/1.0\r\n\r\n";
    my $text = do { local $/; <$socket> } // return;
    return if $text !~ m{\AHTTP/1\.\d 200 };
    return { $text =~ /^([a-z]\w*(?:\{[^}]*\})?) (\S+)\r?$/mg };
}

sub metric { return ($_[0]->metrics || {})->{"emailing_$_[1]"} }

# Waits until changes are followed.
sub ready {
    my ($self, $seconds) = @_;
    return within($seconds // 10, sub { $self->metric('following') });
}

sub socket {
    my ($self, $which) = @_;
    return Emailing::Socket->new("$self->{dir}/emailing/" . ($which
                                                             // 'policy'));
}

# decide USER, SENDER: the action, over a connection that is kept
sub decide {
    my ($self, $user, $sender) = @_;
    $self->{policy} ||= $self->socket;
    return $self->{policy}->policy({ sasl_username => $user,
                                     sender => $sender });
}

sub auth {
    my ($self, $user, $password) = @_;
    my $reply = $self->socket('auth')->auth($user, $password) or return;
    return $reply->{status};
}

sub DESTROY {
    my ($self) = @_;
    return if $self->{parent} != $$;
    local ($?, $@, $!);
    $self->stop;
    delete $live{$self};
    return;
}

END {
    my $status = $?;
    $_ && $_->{parent} == $$ && $_->stop for values %live;
    $? = $status;
}

1;
