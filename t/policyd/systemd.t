#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# policyd under a supervisor: it takes inherited sockets, also blocking ones,
# and tells by sd_notify(3) how it is; and the units are good.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Fcntl qw(F_DUPFD);
use File::Temp ();
use IO::Select ();
use IO::Socket::UNIX ();
use POSIX ();
use Socket qw(SOCK_DGRAM SOCK_STREAM);
use Test::More;

use Emailing qw(build run top within);
use Emailing::Socket ();

my $tmp = File::Temp->newdir('emailing.XXXXXX', TMPDIR => 1);
chmod 0755, "$tmp";

sub spew {
    my ($path, $text) = @_;
    open my $file, '>', $path or die "$path: $!";
    print $file $text;
    close $file or die;
    return;
}

# No database: policyd starts without one.
my $conf = qq(conninfo = "host=$tmp dbname=none"\nqueue_directory = "$tmp"\n)
    . qq(user = nobody\nsocket_group = nogroup\nlog_to = stderr\n)
    . qq(auth_clients = root\n);
spew("$tmp/emailing.conf", $conf);
my $program = "$tmp/emailing-policyd";
run(['cp', build() . '/policyd/emailing-policyd', $program]);

my $notify = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => "$tmp/notify")
    or die;
my %socket = map {
    $_ => (IO::Socket::UNIX->new(Type => SOCK_STREAM, Listen => 64,
                                 Local => "$tmp/$_") or die)
} qw(auth policy);

sub start {
    my $pid = fork // die;
    return $pid if $pid;
    open STDERR, '>>', "$tmp/log" or die;
    my @high = map { fcntl $socket{$_}, F_DUPFD, 40 } qw(auth policy);
    POSIX::dup2($high[$_], 3 + $_) for 0, 1;
    @ENV{qw(LISTEN_PID LISTEN_FDS LISTEN_FDNAMES)} = ($$, 2, 'auth:policy');
    @ENV{qw(NOTIFY_SOCKET WATCHDOG_USEC)} = ("$tmp/notify", 400_000);
    exec $program, '-c', "$tmp/emailing.conf" or POSIX::_exit(127);
}

# What it tells next, signs of life aside.
sub told {
    for (1 .. 200) {
        IO::Select->new($notify)->can_read(10) or return 'nothing';
        $notify->recv(my $text, 1000);
        return $text if $text ne 'WATCHDOG=1';
    }
    return 'signs of life only';
}

sub answer {
    my ($client) = @_;
    return $client->policy({ protocol_state => 'RCPT', sender => 'a@b.c',
                             sasl_username => 'test1' });
}

my $pid = start();
is told(), 'READY=1', 'ready';
like answer(Emailing::Socket->new("$tmp/policy")), qr/^451 /,
    'it serves the inherited policy socket';
is(Emailing::Socket->new("$tmp/auth")->auth('test1', 'x')->{status},
   'unavailable', '... and the inherited auth socket, by its name');
ok !-e "$tmp/emailing", '... and binds none itself';
IO::Select->new($notify)->can_read(10);
$notify->recv(my $life, 1000);
is $life, 'WATCHDOG=1', 'signs of life';

kill HUP => $pid;
like told(), qr/\ARELOADING=1\nMONOTONIC_USEC=\d+\z/, 'SIGHUP: reloading';
is told(), 'READY=1', '... and ready';
spew("$tmp/emailing.conf", "no_such_option = 1\n");
kill HUP => $pid;
like told(), qr/\ARELOADING=1/, 'SIGHUP with a bad file: reloading';
is told(), 'READY=1', '... and ready with the old one';
spew("$tmp/emailing.conf", $conf);

# A hung loop shows no life, so that the supervisor restarts it.
kill STOP => $pid;
my $late = 0;
while ($late < 50 && IO::Select->new($notify)->can_read(1)) {
    $notify->recv(my $text, 1000);
    $late++;
}
cmp_ok $late, '<', 50, 'no sign of life from a process that hangs';
kill CONT => $pid;

# -- a restart ----------------------------------------------------------------

kill TERM => $pid;
is told(), 'STOPPING=1', 'SIGTERM: stopping';
waitpid $pid, 0;
is $?, 0, 'it ends well';
my $waiting = Emailing::Socket->new("$tmp/policy");
$pid = start();
is told(), 'READY=1', 'started again';
like answer($waiting), qr/^451 /,
    'who connected while nobody ran is served';
kill TERM => $pid;
waitpid $pid, 0;

# -- the units ----------------------------------------------------------------

# verify wants the programs and the other units to be there.
my $units = "$tmp/units";
mkdir $units;
my @names = qw(emailing-policyd.service emailing-policyd.socket
    emailing-policyd-auth.socket);
for my $name (@names) {
    my $path = $name =~ /service/ ? build() : top();
    open my $file, '<', "$path/conf/systemd/$name" or die "$path/$name: $!";
    my $text = do { local $/; <$file> };
    unlike $text, qr/\@\w+\@/, "$name: every place is filled in"
        if $name =~ /service/;
    $text =~ s{^ExecStart=\S+}{ExecStart=$program}m;
    spew("$units/$name", $text);
}
my ($status, $out, $err) = run(['env', "SYSTEMD_UNIT_PATH=$units:",
    'systemd-analyze', 'verify', '--man=no', map { "$units/$_" } @names]);
is join('', grep { /emailing/ } split /^/m, $out . $err), '',
    'systemd-analyze verify has no complaint';
($status, $out, $err) = run(['systemd-analyze', 'security', '--offline=true',
    '--threshold=20', "$units/emailing-policyd.service"]);
is $status, 0, 'systemd-analyze security: 2.0 at most'
    or diag $out =~ /^(.*Overall.*)$/m, $err;

# -- the files for users and folders ------------------------------------------

my $root = "$tmp/root";
mkdir $_ for $root, "$root/etc", "$root/var", "$root/var/spool",
    "$root/var/spool/postfix";
spew("$root/etc/group", "root:x:0:\npostfix:x:4711:\n");
spew("$root/etc/passwd", "root:x:0:0::/:/bin/sh\n");
($status, $out, $err) = run(['systemd-sysusers', "--root=$root",
    top() . '/conf/systemd/emailing.sysusers']);
is $status, 0, 'systemd-sysusers' or diag $err;
open my $passwd, '<', "$root/etc/passwd" or die;
my ($uid) = map { /^emailing:x:(\d+):/ } <$passwd>;
ok $uid, '... makes the user';
($status, $out, $err) = run(['systemd-tmpfiles', "--root=$root", '--create',
    build() . '/conf/systemd/emailing.tmpfiles']);
is $status, 0, 'systemd-tmpfiles' or diag $err;
is_deeply [map { sprintf '%o %d %d', @$_[2, 4, 5] }
           [stat "$root/var/spool/postfix/emailing"]],
    ["42750 $uid 4711"], '... makes the folder of the sockets';

done_testing;
