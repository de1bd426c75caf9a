# SPDX-License-Identifier: MIT
package bench::System;

# What is measured: a relay of conf/quickstart, databases of users beside its
# own, policyds with other options and the echo, each with a socket of its own.
# All of it goes with the object.

use strict;
use warnings;

use Carp qw(croak);
use HTTP::Tiny ();
use POSIX ();
use Time::HiRes qw(sleep time);

use Emailing qw(build run top within);

my $ticks = POSIX::sysconf(POSIX::_SC_CLK_TCK());

# A folder in memory, if there is one that is large enough: what the disk does
# is not what is measured.
sub _in_memory {
    my @stat = split ' ', (qx(df -Pk /dev/shm 2>/dev/null))[1] // '';
    return @stat && $stat[0] eq 'tmpfs' && $stat[3] > 4 * 1024 * 1024;
}

sub up {
    my ($class) = @_;
    local $ENV{TMPDIR} = $ENV{TMPDIR} // (_in_memory() ? '/dev/shm' : '/tmp');
    my $self = bless { pid => $$, servers => {} }, $class;
    $self->{relay} = Emailing->up;
    $self->{dir} = $self->{relay}->home . '/bench';
    mkdir $self->{dir} or croak "$self->{dir}: $!";
    # A database that is in use cannot be copied.
    $self->{relay}->service('stop', $_) for qw(postfix policyd);
    return $self;
}

sub DESTROY {
    my ($self) = @_;
    return if $self->{pid} != $$;
    local ($?, $@, $!);
    $self->stop($_) for keys %{ $self->{servers} };
    system 'rm', '-rf', $self->{dir} if $self->{dir};
    return;
}

sub relay { return $_[0]{relay} }
sub dir { return $_[0]{dir} }
sub program { return build() . "/t/bench/$_[1]" }

# -- databases ----------------------------------------------------------------

sub load_users {
    my ($self, $database, $users, $secret) = @_;
    open my $file, '<', top() . '/t/bench/users.sql' or croak "users.sql: $!";
    my $text = do { local $/; <$file> };
    $self->{relay}->sql("\\set users $users\n\\set secret '"
        . ($secret // '') . "'\n$text", user => 'postgres',
        database => $database);
    return;
}

# The name of a database with that many users.
sub database {
    my ($self, $users) = @_;
    my $name = "bench_$users";
    return $name if $self->{databases}{$name}++;
    $self->{relay}->sql("CREATE DATABASE $name TEMPLATE emailing",
        user => 'postgres', database => 'postgres');
    $self->load_users($name, $users);
    return $name;
}

# CPU seconds of the processes that PostgreSQL has now.
sub database_cpu {
    my ($self) = @_;
    my $master = $self->{relay}->pid('postgres');
    my $sum = 0;
    for my $path (glob '/proc/[0-9]*/stat') {
        open my $file, '<', $path or next;
        my ($parent, @rest) = (<$file> // '') =~ /\) \S (\d+)((?: \S+){11})/
            or next;
        next if $parent != $master;
        my @fields = split ' ', $rest[0];
        $sum += $fields[9] + $fields[10];
    }
    return $sum / $ticks;
}

# -- servers ------------------------------------------------------------------

sub _launch {
    my ($self, $server, @argv) = @_;
    my $pid = fork // croak "fork: $!";
    if ($pid == 0) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', $server->{log};
        open STDERR, '>&', \*STDOUT;
        no warnings 'exec';
        exec 'sh', '-c', 'ulimit -n 16384; exec "$@"', 'sh', @argv
            or POSIX::_exit(127);
    }
    $server->{pid} = $pid;
    $self->{servers}{ $server->{name} } = $server;
    return;
}

sub start_echo {
    my ($self) = @_;
    my $server = { name => 'echo', log => "$self->{dir}/echo.log",
                   socket => "$self->{dir}/echo" };
    $self->_launch($server, $self->program('echo'), $server->{socket});
    within(10, sub { log_of($server) =~ /ready/ }) or croak 'echo: not ready';
    return $server;
}

# What systemd puts into policyd's environment.
sub unit_environment {
    my $path = top() . '/conf/systemd/emailing-policyd.service.in';
    open my $unit, '<', $path or croak "$path: $!";
    return map { /^Environment=(\w+)=(\S+)$/ } <$unit>;
}

# policyd NAME, DATABASE, options of emailing.conf; environment by env
sub start_policyd {
    my ($self, $name, $database, $options, %env) = @_;
    my ($relay, $queue) = ($self->{relay}, "$self->{dir}/$name");
    my ($port) = Emailing::free_ports();
    my %all = (
        conninfo => 'host=127.0.0.1 port=' . $relay->env('EMAILING_PG_PORT')
            . " dbname=$database user=emailing_policyd"
            . ' password=${file:' . $relay->home . '/etc/policyd.password}',
        queue_directory => $queue, status_listen => "127.0.0.1:$port",
        log_to => 'stderr', user => 'emailing', %$options);
    mkdir $_ or croak "$_: $!" for $queue, "$queue/emailing";
    system('chown', 'emailing:postfix', "$queue/emailing") == 0
        or croak 'chown';
    open my $conf, '>', "$queue/conf" or croak "$queue/conf: $!";
    print $conf qq($_ = "$all{$_}"\n) for sort keys %all;
    close $conf or croak "$queue/conf: $!";
    my $server = { name => $name, log => "$queue/log",
        socket => "$queue/emailing/policy", status => $port,
        started => time };
    local %ENV = (%ENV, unit_environment(), %env);
    $self->_launch($server, build() . '/policyd/emailing-policyd', '-c',
        "$queue/conf");
    # Until changes are followed nothing is kept in memory.
    within(20, sub { ready($server) && metric($server, 'emailing_following') })
        or croak "$name: not ready: " . log_of($server);
    return $server;
}

sub stop {
    my ($self, $name) = @_;
    my $server = delete $self->{servers}{$name} or return;
    kill TERM => $server->{pid};
    within(10, sub { waitpid($server->{pid}, POSIX::WNOHANG()) != 0 })
        or do { kill KILL => $server->{pid}; waitpid $server->{pid}, 0 };
    return;
}

sub ready {
    my ($server) = @_;
    return HTTP::Tiny->new(timeout => 5)
        ->get("http://127.0.0.1:$server->{status}/readyz")->{success};
}

sub log_of {
    my ($server) = @_;
    open my $file, '<', $server->{log} or return '';
    local $/;
    return <$file> // '';
}

# The seconds from the start until all users are in memory.
sub preloaded {
    my ($server, $users) = @_;
    within(120, sub { log_of($server) =~ /preload: (\d+) users loaded$/m })
        or croak "$server->{name}: " . log_of($server);
    my $seconds = time - $server->{started};
    my $records = metric($server, 'emailing_cache_records');
    croak "$server->{name}: $records of $users users" if $records != $users;
    return $seconds;
}

sub metric {
    my ($server, $name) = @_;
    my $page = HTTP::Tiny->new(timeout => 5)
        ->get("http://127.0.0.1:$server->{status}/metrics");
    my ($value) = $page->{content} =~ /^\Q$name\E (\S+)$/m
        or croak "$server->{name}: no $name in /metrics";
    return $value;
}

# kB of VmRSS or VmHWM (the most there ever was), as bytes.
sub memory {
    my ($server, $which) = @_;
    open my $file, '<', "/proc/$server->{pid}/status" or croak "status: $!";
    while (<$file>) {
        return $1 * 1024 if /^\Q$which\E:\s+(\d+) kB/;
    }
    croak "no $which";
}

# CPU seconds of the process.
sub cpu {
    my ($server) = @_;
    open my $file, '<', "/proc/$server->{pid}/stat" or croak "stat: $!";
    my @fields = split ' ', (<$file> // '') =~ s/.*\) //r;
    return ($fields[11] + $fields[12]) / $ticks;
}

# -- generators ---------------------------------------------------------------

# Runs one of them; its figures by name. Dies when an answer was wrong.
sub generate {
    my ($self, $program, $argv, $stdin) = @_;
    my ($status, $out, $err) =
        run(['sh', '-c', 'ulimit -n 16384; exec "$@"', 'sh',
             $self->program($program), @$argv], $stdin);
    croak "$program @$argv: $err$out" if $status != 0;
    return { $out =~ /^(\w+)=(\S+)$/mg };
}

1;
