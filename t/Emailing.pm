# SPDX-License-Identifier: MIT
package Emailing;

# A whole relay for black-box tests: conf/quickstart in a home and on ports of
# its own, taken down when the object goes, when the test ends, dies or is
# signalled. Core modules only; SMTP with TLS is in Emailing::SMTP, the raw
# sockets of policyd are in Emailing::Socket.
#
#   my $s = Emailing->up(conf => { log_permits => 'yes' });
#   $s->mailadmin_ok([qw(add user test1)], "secret\n");
#   my ($status, $out, $err) = $s->mailadmin([qw(list users)]);
#   my $action = $s->policy({ sasl_username => 'test1', sender => 'a@b.c' });
#   my $reply = $s->auth('test1', 'secret');            # ok, denied, ...
#   my $smtp = $s->smtp;                                # Emailing::SMTP
#   my @messages = $s->sink_messages(2);                # waits for 2

use strict;
use warnings;

use Carp qw(croak);
use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename qw(dirname);
use File::Temp ();
use IO::Socket::INET ();
use Scalar::Util ();
use Time::HiRes qw(sleep time);

use Emailing::SMTP ();
use Emailing::Socket ();

our @EXPORT_OK = qw(run top build within);

my $top = abs_path(dirname(__FILE__) . '/..');
my %live;

sub top { return $ENV{srcdir} ? abs_path($ENV{srcdir}) : $top }

# Where the programs under test are; the source tree unless told otherwise.
sub build { return $ENV{EMAILING_BUILD} || $ENV{builddir} || top() }

# within SECONDS, CODE: its first true value, or nothing when time is up
sub within {
    my ($seconds, $code) = @_;
    my $end = time + $seconds;
    while (1) {
        my $value = $code->();
        return $value if $value;
        return if time > $end;
        sleep 0.05;
    }
}

# run ARGV, stdin: (exit status, standard output, standard error)
sub run {
    my ($argv, $stdin) = @_;
    my $in = File::Temp->new;
    my ($out, $err) = (File::Temp->new, File::Temp->new);
    print $in $stdin if defined $stdin;
    $in->flush;
    seek $in, 0, 0;
    my $pid = fork // croak "fork: $!";
    if ($pid == 0) {
        open STDIN, '<&', $in or die;
        open STDOUT, '>&', $out or die;
        open STDERR, '>&', $err or die;
        no warnings 'exec';
        exec {$argv->[0]} @$argv or do {
            print STDERR "$argv->[0]: $!\n";
            require POSIX;
            POSIX::_exit(127);
        };
    }
    waitpid $pid, 0;
    my $status = $? & 127 ? 128 + ($? & 127) : $? >> 8;
    return ($status, map { seek $_, 0, 0; local $/; scalar <$_> // '' }
            $out, $err);
}

# -- up and down --------------------------------------------------------------

# Below the range that the system gives to outgoing connections, so that
# nothing takes a port between this and its use.
sub free_ports {
    my %ports;
    while (keys %ports < 4) {
        my $port = 12000 + int rand 20000;
        my $socket = IO::Socket::INET->new(
            LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 1,
            ReuseAddr => 1) or next;
        $ports{$port} = 1;
    }
    return keys %ports;
}

sub _try_up {
    my ($self) = @_;
    my @names = map { "EMAILING_${_}_PORT" } qw(SMTP SINK PG STATUS);
    @{ $self->{environment} }{@names} = free_ports();
    my ($status, $out, $err) = $self->quickstart('up');
    return if $status == 0;
    $self->quickstart('down');
    return $err =~ /port \d+ .* is taken/ ? $err : croak "up: $err";
}

sub up {
    my ($class, %args) = @_;
    my $self = bless { pid => $$ }, $class;
    # DIR is the home of postgres, emailing and postfix as well.
    $self->{tmp} = File::Temp->newdir('emailing.XXXXXX', TMPDIR => 1);
    my $home = "$self->{tmp}";
    chmod 0711, $home;
    $self->{home} = "$home/h";
    $self->{environment} = {
        EMAILING_HOME => "$home/h",
        (-x build() . '/mailadmin/mailadmin'
            ? (EMAILING_BUILD => build()) : ()),
        EMAILING_CONF_EXTRA => "$home/extra",
    };
    $self->{extra} = { %{ $args{conf} || {} } };
    $self->_write_extra;
    $live{$self} = $self;
    Scalar::Util::weaken($live{$self});
    for (1 .. 3) {
        my $taken = $self->_try_up or last;
        croak $taken if $_ == 3;
    }
    my ($status, $out) = $self->quickstart('env');
    while ($out =~ /^export (\w+)=(.*)$/mg) {
        $self->{env}{$1} = $2 if $1 ne 'PATH';
    }
    return $self;
}

sub _write_extra {
    my ($self) = @_;
    my $extra = $self->{extra};
    open my $file, '>', $self->{environment}{EMAILING_CONF_EXTRA} or die $!;
    print $file qq($_ = "$extra->{$_}"\n) for sort keys %$extra;
    close $file or die $!;
    return;
}

sub quickstart {
    my ($self, @verb) = @_;
    local %ENV = (%ENV, %{ $self->{environment} });
    return run([top() . '/conf/quickstart', @verb]);
}

# service stop|start, NAME
sub service {
    my ($self, $verb, $name) = @_;
    my ($status, $out, $err) = $self->quickstart($verb, $name);
    croak "$verb $name: $err" if $status != 0;
    return;
}

sub down {
    my ($self) = @_;
    return if $self->{down} || $self->{pid} != $$;
    $self->{down} = 1;
    my ($status, $out, $err) = $self->quickstart('down');
    warn "down: $err" if $status != 0;
    return;
}

sub DESTROY {
    my ($self) = @_;
    local ($?, $@, $!);
    $self->down;
    delete $live{$self};
    return;
}

END {
    my $status = $?;
    $_ && $_->down for values %live;
    $? = $status;
}

for my $signal (qw(HUP INT TERM)) {
    $SIG{$signal} = sub { exit 1 };
}

# -- what is in it ------------------------------------------------------------

sub env { return $_[0]{env}{ $_[1] } // croak "env does not print $_[1]" }
sub home { return $_[0]{home} }

# The pid of postgres, postfix, policyd or sink.
sub pid {
    my ($self, $name) = @_;
    open my $file, '<', "$self->{home}/run/$name" or return;
    my ($pid) = <$file> =~ /^(\d+)/;
    return $pid;
}

# mailadmin WORDS, stdin, user => ROLE: as the everyday role unless told
sub mailadmin {
    my ($self, $words, $stdin, %args) = @_;
    local %ENV = (%ENV, %{ $self->{env} });
    $ENV{PGUSER} = $args{user} || 'emailing_mailadmin';
    return run([build() . '/mailadmin/mailadmin', @$words], $stdin);
}

# Dies unless it succeeds; its standard output.
sub mailadmin_ok {
    my ($self, @args) = @_;
    my ($status, $out, $err) = $self->mailadmin(@args);
    croak "mailadmin @{ $args[0] }: exit $status: $err" if $status != 0;
    return $out;
}

# The documented session's objects: users test1 and test2, and their grants.
sub make_session {
    my ($self, $password) = @_;
    $self->mailadmin_ok([qw(add user), $_], "$password\n") for qw(test1 test2);
    $self->mailadmin_ok([split]) for 'add address user@test1.com',
        'add domain test1.com',
        map { ("grant address user\@test1.com to $_",
               "grant domain test1.com to $_") } qw(test1 test2);
    return;
}

# sql TEXT, user => ROLE, database => NAME: the rows, unaligned; dies on errors
sub sql {
    my ($self, $text, %args) = @_;
    my ($status, $out, $err) = $self->psql($text, %args);
    croak "psql: $err" if $status != 0;
    chomp $out;
    return $out;
}

sub psql {
    my ($self, $text, %args) = @_;
    local %ENV = (%ENV, %{ $self->{env} });
    $ENV{PGUSER} = $args{user} if $args{user};
    $ENV{PGDATABASE} = $args{database} if $args{database};
    return run([qw(psql -X -q -A -t -v ON_ERROR_STOP=1 -f -)], $text);
}

# log NAME: policyd, maillog, postgres ...
sub log {
    my ($self, $name) = @_;
    open my $file, '<', "$self->{home}/log/$name" or return '';
    local $/;
    return <$file> // '';
}

sub wait_log {
    my ($self, $name, $pattern, $seconds) = @_;
    return within($seconds // 10, sub { $self->log($name) =~ $pattern });
}

# -- policyd's sockets --------------------------------------------------------

sub policy_socket { return Emailing::Socket->new($_[0]->env('EMAILING_POLICY')) }
sub auth_socket { return Emailing::Socket->new($_[0]->env('EMAILING_AUTH')) }

# One policy request over a connection of its own: the action, or nothing when
# the connection was closed instead.
sub policy {
    my ($self, $attributes) = @_;
    return $self->policy_socket->policy($attributes);
}

# auth USER, PASSWORD: the status
sub auth {
    my ($self, $user, $password, %more) = @_;
    my $reply = $self->auth_socket->auth($user, $password, %more) or return;
    return $reply->{status};
}

# -- SMTP ---------------------------------------------------------------------

sub smtp {
    my ($self, %args) = @_;
    return Emailing::SMTP->new(address => $self->env('EMAILING_SMTP'),
                               ca => $self->env('EMAILING_CA'), %args);
}

# A session that has logged in; dies when it cannot.
sub logged_in {
    my ($self, $user, $password) = @_;
    my $smtp = $self->smtp;
    $smtp->starttls;
    my $reply = $smtp->auth_plain($user, $password);
    croak "AUTH $user: $reply" if $reply !~ /^235 /;
    return $smtp;
}

# What the sink has received, once there are that many: hashes of from, to
# (list) and body, oldest first.
sub sink_messages {
    my ($self, $count, $seconds) = @_;
    my @messages;
    within($seconds // 20, sub {
        @messages = $self->_read_sink;
        return @messages >= $count;
    }) or croak 'sink: ' . @messages . " messages, not $count";
    return @messages;
}

# A file is whole when it ends in the empty line that the sink adds.
sub _read_sink {
    my ($self) = @_;
    my @messages;
    for my $path (sort { -M $b <=> -M $a } glob "$self->{home}/sink/*") {
        open my $file, '<:raw', $path or next;
        my $text = do { local $/; <$file> // '' };
        next if $text !~ /\n\n\z/;
        my ($head, $body) = split /\n\n/, $text, 2;
        my ($from) = $head =~ /^X-Mail-Args: <([^\n]*?)>(?:\s[^\n]*)?\r?$/m;
        my @to = $head =~ /^X-Rcpt-Args: <([^\n]*?)>(?:\s[^\n]*)?\r?$/mg;
        push @messages, { from => $from, to => \@to, head => $head,
                          body => $body, path => $path };
    }
    return @messages;
}

sub sink_clear {
    my ($self) = @_;
    unlink glob "$self->{home}/sink/*";
    return;
}

1;
