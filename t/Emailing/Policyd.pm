# SPDX-License-Identifier: MIT
package Emailing::Policyd;

# emailing-policyd as a process: one by itself, without a database, for what
# needs none (Emailing::Daemon has one); and functions for any: what /proc and
# its status page tell.
#
#   my $p = Emailing::Policyd->start(conf => { max_stale => 0 });
#   $p->policy_socket; $p->auth_socket; $p->log; $p->pid;
#   Emailing::Policyd::cpu($p->pid);                 # seconds so far
#   my $now = Emailing::Policyd::metrics($address);  # {'name{labels}' => value}
#
# It ends with the object. Core modules only.

use strict;
use warnings;

use Carp qw(croak);
use File::Temp ();
use IO::Socket::INET ();
use Time::HiRes qw(sleep time);

use Emailing qw(build within);
use Emailing::Socket ();

sub program { return build() . '/policyd/emailing-policyd' }

# A folder that the unprivileged daemon may bind in, and a configuration there;
# conf: options that are added, or that win.
sub prepare {
    my ($class, %args) = @_;
    my $self = bless { pid_of_maker => $$ }, $class;
    $self->{tmp} = File::Temp->newdir('policyd.XXXXXX', TMPDIR => 1);
    $self->{dir} = "$self->{tmp}";
    my $queue = "$self->{dir}/queue";
    mkdir $queue or die $!;
    chmod 0755, $self->{dir}, $queue;
    $self->{options} = {
        conninfo => "host=$self->{dir}/none dbname=none",
        queue_directory => $queue, user => 'nobody',
        socket_group => 'nogroup', auth_clients => 'root',
        log_to => 'stderr', %{ $args{conf} || {} },
    };
    $self->write_conf;
    return $self;
}

sub start {
    my ($class, %args) = @_;
    my $self = ref $class ? $class : $class->prepare(%args);
    $self->launch(%args);
    within(10, sub { $self->log =~ /: serving$/m })
        or croak 'policyd does not start: ' . $self->log;
    return $self;
}

sub write_conf {
    my ($self, %more) = @_;
    my $options = $self->{options};
    @$options{ keys %more } = values %more;
    my $path = $self->conf_path;
    open my $file, '>', $path or die "$path: $!";
    print $file map { qq($_ = "$options->{$_}"\n) } sort keys %$options;
    close $file or die $!;
    chmod 0644, $path;
    return;
}

# launch before => CODE, which the child runs first; wrap => [words] of a
# command that runs the command behind it; append => 1: to the log there is
sub launch {
    my ($self, %args) = @_;
    unlink "$self->{dir}/log" if !$args{append};
    my $pid = fork // die $!;
    if ($pid == 0) {
        open STDIN, '<', '/dev/null' or die $!;
        open STDOUT, '>>', "$self->{dir}/log" or die $!;
        open STDERR, '>&', \*STDOUT or die $!;
        $args{before}->() if $args{before};
        no warnings 'exec';
        my @command = (@{ $args{wrap} || [] }, program(), '-c',
                       $self->conf_path);
        exec { $command[0] } @command;
        require POSIX;
        POSIX::_exit(127);
    }
    $self->{pid} = $pid;
    return;
}

# Waits for its end; the exit status, or nothing if it goes on.
sub ended {
    my ($self, $seconds) = @_;
    require POSIX;
    my $status = within($seconds // 10, sub {
        return waitpid($self->{pid}, POSIX::WNOHANG()) == $self->{pid}
            ? 'ended ' . ($? & 127 ? 128 + ($? & 127) : $? >> 8) : undef;
    }) // return;
    delete $self->{pid};
    return $status =~ s/ended //r;
}

sub DESTROY {
    my ($self) = @_;
    return if !$self->{pid} || $self->{pid_of_maker} != $$;
    local ($?, $!);
    kill 'KILL', $self->{pid};
    waitpid $self->{pid}, 0;
    return;
}

sub pid { return $_[0]{pid} }
sub dir { return $_[0]{dir} }
sub conf_path { return "$_[0]{dir}/emailing.conf" }
sub socket_path { return "$_[0]{options}{queue_directory}/emailing/$_[1]" }
sub policy_socket { return Emailing::Socket->new($_[0]->socket_path('policy')) }
sub auth_socket { return Emailing::Socket->new($_[0]->socket_path('auth')) }

sub log {
    my ($self) = @_;
    open my $file, '<', "$self->{dir}/log" or return '';
    local $/;
    return <$file> // '';
}

# -- of any process ---------------------------------------------------------

# Seconds of processor time so far.
sub cpu {
    my ($pid) = @_;
    open my $file, '<', "/proc/$pid/stat" or croak "process $pid: $!";
    my @fields = split ' ', (split /\) /, scalar <$file>)[-1];
    require POSIX;
    return ($fields[11] + $fields[12]) / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

# Resident memory now, in KiB.
sub resident {
    my ($pid) = @_;
    open my $file, '<', "/proc/$pid/status" or croak "process $pid: $!";
    local $/;
    return (<$file> =~ /^VmRSS:\s+(\d+) kB/m)[0];
}

# How much of it, in KiB, is not a program's own: a sanitizer keeps what was
# freed.
sub slack { return $ENV{EMAILING_SANITIZED} ? 1024 * 1024 : 0 }

sub descriptors {
    my ($pid) = @_;
    opendir my $dir, "/proc/$pid/fd" or croak "process $pid: $!";
    return scalar grep { /^\d+$/ } readdir $dir;
}

# -- of one that conf/quickstart started ----------------------------------------

# reload RELAY, option => value...: options that SIGHUP changes, taken when
# this returns
sub reload {
    my ($relay, %options) = @_;
    my $path = $relay->env('EMAILING_CONF');
    open my $in, '<', $path or croak "$path: $!";
    my @lines = grep { !/^(\w+)/ || !exists $options{$1} } <$in>;
    open my $out, '>', $path or croak "$path: $!"; # owner and mode stay
    print $out @lines, map { qq($_ = "$options{$_}"\n) } sort keys %options;
    close $out or croak "$path: $!";
    my $before = () = $relay->log('policyd') =~ /configuration read again$/mg;
    kill 'HUP', $relay->pid('policyd');
    within(5, sub {
        return $before < (() = $relay->log('policyd')
                              =~ /configuration read again$/mg);
    }) or croak 'not reloaded: ' . $relay->log('policyd');
    return;
}

sub status_address {
    my ($relay) = @_;
    return '127.0.0.1:' . $relay->env('EMAILING_STATUS_PORT');
}

# counts RELAY, NAME...: what the metrics of these names, without the
# "emailing_" in front, are now
sub counts {
    my ($relay, @names) = @_;
    my $now = metrics(status_address($relay));
    return map { $now->{"emailing_$_"} // croak "no metric $_" } @names;
}

# -- the status page ----------------------------------------------------------

# (status code, body) of a GET from "address:port"
sub http {
    my ($address, $path, $method) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => $address, Timeout => 5)
        or croak "$address: $!";
    $method //= 'GET';
    print $socket "$method $path HTTP/1.1\r\nHost: localhost\r\n"
        . "Connection: close\r\n\r\n";
    $socket->flush;
    my ($text, $end) = ('', time + 10);
    while (time < $end) {
        vec(my $bits = '', fileno $socket, 1) = 1;
        select $bits, undef, undef, 1 or next;
        last if !sysread $socket, $text, 65536, length $text;
    }
    my ($code, $body) = $text =~ m{\AHTTP/1\.1 (\d+) .*?\r\n\r\n(.*)\z}s
        or croak "$address: no answer to $path";
    return ($code, $body);
}

# Every sample, by its name and labels as they are printed.
sub metrics {
    my ($address) = @_;
    my ($code, $body) = http($address, '/metrics');
    croak "$address: status $code of /metrics" if $code != 200;
    return { $body =~ /^([^#\s]\S*) (\S+)$/mg };
}

1;
