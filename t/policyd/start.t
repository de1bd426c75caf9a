#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# policyd without a database: how it starts, and what keeps it from it; where
# it makes its sockets, and what it leaves alone; signals.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Cwd ();
use Fcntl qw(F_SETFD S_IMODE);
use File::Temp ();
use IO::Socket::INET ();
use IO::Socket::UNIX ();
use Socket qw(SOCK_DGRAM SOCK_STREAM);
use Test::More;
use Time::HiRes qw(sleep);

use Emailing qw(run within);
use Emailing::Policyd ();
use Emailing::Socket ();

my $connect = "request=smtpd_access_policy\nprotocol_state=CONNECT\n\n";

sub prepare { return Emailing::Policyd->prepare(conf => {@_}) }

# What it says and its status, when it is to fail.
sub failing {
    my ($p, %args) = @_;
    $p->launch(%args);
    my $status = $p->ended;
    return ($status, $p->log) if defined $status;
    return ('it runs', $p->log);
}

sub fails {
    my ($name, $p, $status, $text, %args) = @_;
    my ($got, $log) = failing($p, %args);
    is $got, $status, "$name: exit $status";
    like $log, $text, "$name: says so";
    return;
}

# -- the command line -----------------------------------------------------------

my $program = Emailing::Policyd::program();
my $good = prepare();
is_deeply [run([$program, '-t', '-c', $good->conf_path])], [0, '', ''],
    '-t: a good file';
ok !-e $good->socket_path('policy'), 'and nothing else is done';
my ($status, $out, $err) = run([$program, '-t', '-c', '/nonexistent/conf']);
is $status, 78, '-t: no file';
like $err, qr{^emailing-policyd: .*/nonexistent/conf.*: }, 'is named';
is((run([$program, @$_]))[0], 64, "@$_: usage")
    for ['-x'], ['more'], ['-c'];
($status, $out) = run([$program, '--version']);
like $out, qr/^emailing-policyd \d+\.\d+/, '--version';
($status, $out) = run([$program, '--help']);
like $out, qr/^usage: /, '--help';

my %bad = (
    'unknown option' => ['no_such_option', 1, qr/:\d+: .*no_such_option/],
    'bad number' => ['max_stale', 'soon', qr/:\d+: max_stale: /],
    'out of range' => ['hash_threads', 0, qr/:\d+: hash_threads: /],
    'bad word' => ['legacy_md5', 'maybe', qr/:\d+: legacy_md5: /],
    'auth over TCP' => ['auth_listen', 'inet:127.0.0.1:1234', qr/auth_listen/],
    'bad mode' => ['socket_mode', '0999', qr/:\d+: socket_mode/],
    'a path of over 107 bytes' =>
        ['policy_listen', 'unix:' . 'x' x 108, qr/107 bytes/],
    'a long queue directory' =>
        ['queue_directory', '/tmp/' . 'q' x 100, qr/at most 107/],
    'a path that names no socket' =>
        ['auth_listen', 'unix:emailing/', qr/names no socket/],
    'bad conninfo' => ['conninfo', 'no_such_word=1', qr/no_such_word/],
    'no such user' => ['user', 'no-such-user', qr/user: .*"no-such-user"/],
    'no such group' => ['socket_group', 'no-such-group',
                        qr/socket_group: .*"no-such-group"/],
    'no such client' => ['auth_clients', 'root no-such-user',
                         qr/auth_clients: .*"no-such-user"/],
    'more clients than it can know' => ['auth_clients', 'root ' x 33,
                                        qr/auth_clients: more than 32/],
);
for my $name (sort keys %bad) {
    my ($option, $value, $text) = @{ $bad{$name} };
    my $p = prepare($option => $value);
    my $path = $p->conf_path;
    ($status, $out, $err) = run([$program, '-t', '-c', $path]);
    is $status, 78, "-t, $name: exit 78";
    like $err, qr/^emailing-policyd: \Q$path\E: ?/, "$name: the file is named";
    like $err, $text, "$name: and what is wrong";
    fails($name, $p, 78, $text);
}

# A password is for nobody but who is to have it. One that is elsewhere is not in
# the file.
my $secret = prepare();
my $file = $secret->conf_path;
my $kept = "$secret->{dir}/kept";
open my $keep, '>', $kept or die;
print $keep "s3cret\n";
close $keep;
$ENV{EMAILING_TEST_SECRET} = 's3cret';
for my $case (['host=/x password=s3cret', 1], ["host=/x password='s3cret'", 1],
              ['postgresql://u:s3cret@h/d', 1], ['host=/x sslpassword=s3cret', 1],
              ['postgresql://h/d?user=u&password=s3cret', 1],
              ['host=/x password=s3${env:EMAILING_TEST_SECRET}', 1],
              ['host=/x', 0], ["host=/x password=''", 0],
              ['host=/x application_name=password', 0],
              ["host=/x password=\${file:$kept}", 0],
              ["password=\${file:$kept} host=/x", 0],
              ['postgresql://u:${env:EMAILING_TEST_SECRET}@h/d', 0]) {
    my ($conninfo, $held) = @$case;
    $secret->write_conf(conninfo => $conninfo);
    for my $mode (0604, 0644, 0640, 0600) {
        chmod $mode, $file;
        ($status, $out, $err) = run([$program, '-t', '-c', $file]);
        my $name = sprintf '%s, mode %o', $conninfo, $mode;
        if ($held && $mode & 4) {
            is $status, 78, "$name: exit 78";
            like $err, qr/^emailing-policyd: \Q$file\E: holds a password and others may read it: chmod o-r/,
                "$name: says what to do";
            unlike $err, qr/s3cret/, "$name: and not the password";
        }
        else {
            is_deeply [$status, $out, $err], [0, '', ''], "$name: is taken";
        }
    }
}

# What libpq does not understand, it quotes.
for my $conninfo ('s3cret', 'password=a s3cret', 'postgresql://u:s3cret@[h/d',
                  'postgresql://u:s3cret%zz@h/d', 'postgresql://h/d?s3cret') {
    $secret->write_conf(conninfo => $conninfo);
    chmod 0600, $file;
    ($status, $out, $err) = run([$program, '-t', '-c', $file]);
    is $status, 78, "$conninfo: exit 78";
    like $err, qr/conninfo: \S/, '... and why';
    unlike $err, qr/s3cret/, '... without the text itself';
}

# What is no file may end before it has begun.
unlink $file;
is((run(['mkfifo', $file]))[0], 0, 'a pipe in place of the file');
($status, $out, $err) = run([$program, '-t', '-c', $file]);
is $status, 78, '... is none';
like $err, qr/^emailing-policyd: \Q$file\E: not a regular file$/, '... and so it says';

my $longest = prepare();
my $room = 107 - length "$longest->{options}{queue_directory}/";
$longest->write_conf(policy_listen => 'unix:' . 'x' x $room,
                     user => 'root', socket_group => 'root');
is_deeply [run([$program, '-t', '-c', $longest->conf_path])], [0, '', ''],
    'a path of 107 bytes';

# -- sockets ----------------------------------------------------------------------

my $p = Emailing::Policyd->start;
my @folder = stat "$p->{options}{queue_directory}/emailing";
is sprintf('%o', S_IMODE($folder[2])), '2750', 'the folder has its mode';
is getpwuid $folder[4], 'nobody', 'and its owner';
is getgrgid $folder[5], 'nogroup', 'and its group';
for my $name (qw(policy auth)) {
    my @socket = stat $p->socket_path($name);
    is sprintf('%o', S_IMODE($socket[2])), '660', "socket $name: mode";
    is getpwuid $socket[4], 'nobody', "socket $name: owner";
    is getgrgid $socket[5], 'nogroup', "socket $name: group";
}
my @made = sort map { m{([^/]+)\z} }
    glob "$p->{options}{queue_directory}/emailing/{.[a-z]*,*}";
is_deeply \@made, [qw(auth policy)], 'nothing else is left in it';
open my $proc, '<', '/proc/' . $p->pid . '/status' or die;
my $process = do { local $/; <$proc> };
my ($nobody, $nogroup) = (scalar getpwnam 'nobody', scalar getgrnam 'nogroup');
like $process, qr/^Uid:(\t$nobody){4}$/m, 'it is the user it should be';
like $process, qr/^CapEff:\t0+$/m, 'without a capability';
unlike $process, qr/^Groups:.*\b0\b/m, 'nor a group of root\'s';

# Another on the same sockets; then one after a crash.
my $second = prepare(queue_directory => $p->{options}{queue_directory});
fails('a socket that is served', $second, 73, qr/"policy".*another process/);
ok $p->policy_socket->policy({ protocol_state => 'CONNECT' }), 'goes on';
kill 'KILL', $p->pid;
$p->ended;
ok -S $p->socket_path('policy'), 'a crash leaves its sockets';
$p->start;
is $p->policy_socket->policy({ protocol_state => 'CONNECT' }), 'DUNNO',
    'and the next start takes them';

# What is not ours stays.
sub obstacle {
    my ($name, $make, $text) = @_;
    my $p = prepare(user => 'root', socket_group => 'root');
    mkdir "$p->{options}{queue_directory}/emailing" or die $!;
    my $path = $p->socket_path('policy');
    my $keep = $make->($path);
    my @before = lstat $path;
    fails($name, $p, 73, $text);
    is_deeply [(lstat $path)[0 .. 5]], [@before[0 .. 5]], "$name: is untouched";
    return;
}

my $precious = File::Temp->new;
obstacle('a file', sub { open my $f, '>', $_[0] or die; print $f 'x'; },
         qr/"policy" is there and is no socket/);
obstacle('a folder', sub { mkdir $_[0] or die }, qr/is no socket/);
obstacle('a symbolic link', sub { symlink "$precious", $_[0] or die },
         qr/is no socket/);
obstacle('a socket of another kind', sub {
    return IO::Socket::UNIX->new(Local => $_[0], Type => SOCK_DGRAM) || die;
}, qr/another process/);
obstacle('a socket of a full process', sub {
    my $full = IO::Socket::UNIX->new(Local => $_[0], Listen => 1) || die;
    my @waiting = map { IO::Socket::UNIX->new(Peer => $_[0]) } 1 .. 2;
    return [$full, @waiting];
}, qr/another process/);

# The name that a socket is bound under at first, and renamed from.
my $draft = prepare(user => 'root', socket_group => 'root');
my $folder = "$draft->{options}{queue_directory}/emailing";
mkdir $folder or die $!;
fails('a file in the way', $draft, 73, qr/cannot bind "policy"/,
      wrap => ['sh', '-c', 'echo x >"$0/.policy.$$"; exec "$@"', $folder]);
my @left = glob "$folder/.policy.*";
is scalar @left, 1, 'a file in the way: is there still';
is -s $left[0], 2, '... with what it holds';

my $linked = prepare(user => 'root', socket_group => 'root');
my $elsewhere = File::Temp->newdir;
symlink "$elsewhere", "$linked->{options}{queue_directory}/emailing" or die;
fails('a folder that is a link', $linked, 73, qr/folder of "emailing\/policy"/);
is_deeply [glob "$elsewhere/{.[a-z]*,*}"], [], 'nothing is made behind it';

fails('no queue directory', prepare(queue_directory => '/nonexistent/queue'),
      73, qr{cannot open "/nonexistent/queue"});
my $taken = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die;
my $port = $taken->sockport;
fails('a port that is taken', prepare(policy_listen => "inet:127.0.0.1:$port"),
      73, qr/cannot bind "127.0.0.1:$port": Address already in use/);
fails('a status port that is taken', prepare(status_listen => "127.0.0.1:$port"),
      73, qr/cannot bind "127.0.0.1:$port": Address already in use/);
fails('a name for an address', prepare(status_listen => 'localhost:1'), 73,
      qr/not ADDRESS:PORT/);

# -- without root, as in a container -------------------------------------------------

my $plain = prepare(user => 'no-such-user', socket_group => 'nogroup');
chown $nobody, $nogroup, $plain->{options}{queue_directory};
$plain->start(wrap => ['setpriv', "--reuid=$nobody", "--regid=$nogroup",
                       '--clear-groups']);
is $plain->policy_socket->policy({ protocol_state => 'CONNECT' }), 'DUNNO',
    'not started as root: it stays who it is';
is $plain->auth_socket->auth('test1', 'x')->{status}, 'unavailable',
    'and serves both sockets';
undef $plain;

# -- sockets that systemd made ---------------------------------------------------------

sub inherited {
    my ($names, %more) = @_;
    my $p = prepare(%more);
    my @listening = map {
        my $path = "$p->{dir}/$_";
        IO::Socket::UNIX->new(Local => $path, Listen => 10) || die $!;
    } split /:/, $names;
    chmod 0666, glob "$p->{dir}/{policy,auth}";
    $p->start(before => sub {
        require POSIX;
        # Out of the way first: the passed ones are 3 and up.
        my @high = map { POSIX::dup2(fileno $_, fileno($_) + 50);
                         fileno($_) + 50 } @listening;
        POSIX::dup2($high[$_], 3 + $_) for 0 .. $#high;
        @ENV{qw(LISTEN_PID LISTEN_FDS LISTEN_FDNAMES)} =
            ($$, scalar @listening, $names);
    });
    return $p;
}

$p = inherited('auth:other:policy');
is(Emailing::Socket->new("$p->{dir}/policy")->policy(
    { protocol_state => 'CONNECT' }), 'DUNNO', 'inherited: policy, by name');
is(Emailing::Socket->new("$p->{dir}/auth")->auth('x', 'y')->{status},
   'unavailable', 'inherited: auth, by name');
ok !-e "$p->{options}{queue_directory}/emailing", 'none are made then';
$p = inherited('policy');
is(Emailing::Socket->new("$p->{dir}/policy")->policy(
    { protocol_state => 'CONNECT' }), 'DUNNO', 'inherited: only one');
is $p->auth_socket->auth('x', 'y')->{status}, 'unavailable', 'the other is made';

# -- TCP ---------------------------------------------------------------------------------

my ($free) = Emailing::free_ports();
$p = Emailing::Policyd->start(
    conf => { policy_listen => "inet:127.0.0.1:$free" });
my $tcp = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$free") or die $!;
syswrite $tcp, $connect;
sysread $tcp, my $reply, 100;
is $reply, "action=DUNNO\n\n", 'the policy socket over TCP';

# -- signals ----------------------------------------------------------------------------

$p = Emailing::Policyd->start;
my $known = $p->policy_socket;
$p->write_conf(unauthenticated => 'reject');
is $known->policy({ sender => 'a@b.c' }), 'DUNNO', 'before SIGHUP';
kill 'HUP', $p->pid;
ok within(5, sub { $p->log =~ /configuration read again/ }), 'SIGHUP is logged';
is $known->policy({ sender => 'a@b.c' }), '553 5.7.1 authentication required',
    'a new value is in force, on an old connection';

$p->write_conf(unauthenticated => 'sometimes', max_stale => 7);
kill 'HUP', $p->pid;
my $path = $p->conf_path;
ok within(5, sub {
    $p->log =~ /error: \Q$path\E:\d+: .*; the old configuration stays in force/;
}), 'a bad file is logged, with its line';
is $known->policy({ sender => 'a@b.c' }), '553 5.7.1 authentication required',
    'and changes nothing';
$p->write_conf(unauthenticated => 'dunno', auth_clients => 'no-such-user');
kill 'HUP', $p->pid;
ok within(5, sub { $p->log =~ /no-such-user.*; the old conf/ }),
    'so does a user who is none';
is $known->policy({ sender => 'a@b.c' }), '553 5.7.1 authentication required',
    'no part of such a file is taken';
$p->write_conf(auth_clients => 'root', socket_mode => '0600');
kill 'HUP', $p->pid;
ok within(5, sub { $p->log =~ /only with a restart: socket_mode$/m }),
    'what needs a restart is named';
is $known->policy({ sender => 'a@b.c' }), 'DUNNO', 'the rest is taken';

$p->write_conf(conninfo => 'host=/x password=s3cret', unauthenticated => 'reject');
kill 'HUP', $p->pid;
ok within(5, sub { $p->log =~ /holds a password .*; the old configuration stays/ }),
    'so does one that lets others read a password';
unlike $p->log, qr/s3cret/, '... which the log does not have';
unlink $p->conf_path;
is((run(['mkfifo', $p->conf_path]))[0], 0, 'a pipe in its place');
kill 'HUP', $p->pid;
ok within(5, sub { $p->log =~ /not a regular file; the old conf/ }),
    'so is a pipe, which would leave all to the defaults';
unlink $p->conf_path;
mkdir $p->conf_path or die;
kill 'HUP', $p->pid;
ok within(5, sub { 2 == (() = $p->log =~ /not a regular file; the old/g) }),
    'and a folder';
is $known->policy({ sender => 'a@b.c' }), 'DUNNO', 'all is as it was';

# What was sent before the signal is answered, whatever is seen first.
my $fresh = $p->policy_socket;
kill 'STOP', $p->pid;
my $late = $p->policy_socket;
$_->send($connect x 3) for $known, $fresh, $late;
my $silent = $p->policy_socket;
my $half = $p->policy_socket;
$half->send('request=');
my ($new, $rest) = map { $p->policy_socket } 1 .. 2;
$rest->send(substr $connect, 0, 20);
kill 'TERM', $p->pid;
kill 'CONT', $p->pid;
for (['known', $known], ['new', $fresh], ['not yet accepted', $late]) {
    my ($name, $socket) = @$_;
    is_deeply [map { eval { $socket->action } } 1 .. 3], [('DUNNO') x 3],
        "SIGTERM: a $name connection has its answers";
    ok $socket->closed, "SIGTERM: a $name connection is closed";
}
# The last try of an smtpd whose connection has just ended.
sleep 0.3;
$new->send($connect);
is eval { $new->action }, 'DUNNO', 'SIGTERM: one that had just come asks yet';
ok $new->closed, '... and is closed';
$rest->send(substr $connect, 20);
is eval { $rest->action }, 'DUNNO', 'SIGTERM: one that had begun goes on';
ok $rest->closed, '... and is closed';
ok $silent->closed, 'SIGTERM: so is one that asked nothing';
ok $half->closed, 'SIGTERM: and one that did not finish';
is $p->ended, 0, 'SIGTERM: exit 0';
like $p->log, qr/ended$/m, 'SIGTERM: the log says so';

$p = Emailing::Policyd->start;
kill 'INT', $p->pid;
is $p->ended, 0, 'SIGINT: the same';

# A signal as soon as there is a sign of it.
my $lost = 0;
for my $round (1 .. 10) {
    my $early = prepare();
    my $folder = "$early->{options}{queue_directory}/emailing";
    $early->launch;
    1 while !-e $folder && kill 0, $early->pid;
    for (1 .. 200) {
        kill 'HUP', $early->pid;
    }
    $lost++ if !within(5, sub { $early->log =~ /: serving$/m })
        || !eval { $early->policy_socket->send($connect) };
}
is $lost, 0, 'SIGHUP while it starts';

done_testing;
