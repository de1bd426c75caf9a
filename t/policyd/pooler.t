#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# PgBouncer in between. In transaction mode neither LISTEN nor prepared
# statements work: policyd says so, does without, and polls.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

use Emailing qw(within);
use Emailing::Daemon::Database ();

my $db = Emailing::Daemon::Database->new;
my $dir = File::Temp->newdir('pooler.XXXXXX', TMPDIR => 1);
my $port = (Emailing::free_ports())[0];
my $pid;

sub start_pooler {
    my ($mode, $more) = @_;
    open my $file, '>', "$dir/ini" or die $!;
    print $file "[databases]\nmail = host=", $db->dir, " port=5432 user=emailing_policyd\n",
        "[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = $port\n",
        "unix_socket_dir =\nauth_type = any\npool_mode = $mode\n",
        "default_pool_size = 3\n", $more // '';
    close $file;
    chmod 0755, $dir;
    my ($uid, $gid) = (getpwnam 'nobody')[2, 3];
    $pid = fork // die "fork: $!";
    return if $pid;
    POSIX::setgid($gid);
    POSIX::setuid($uid);
    open STDIN, '<', '/dev/null';
    open STDOUT, '>', '/dev/null';
    open STDERR, '>', '/dev/null';
    exec '/usr/sbin/pgbouncer', '-q', "$dir/ini" or POSIX::_exit(127);
}

sub stop_pooler {
    return if !$pid;
    kill KILL => $pid;
    waitpid $pid, 0;
    undef $pid;
    return;
}

END { my $status = $?; stop_pooler(); $? = $status }

my ($yes, $no) = (qr/^DUNNO$/, qr/^553 5\.7\.1 not granted/);

sub answers {
    my ($d, $pattern, $seconds) = @_;
    return within($seconds, sub { $d->decide('test1', 'a@d.example')
                                  =~ $pattern });
}

sub conninfo {
    return $db->conninfo(host => '127.0.0.1', port => $port);
}

$db->sql(q{ALTER DATABASE mail SET client_min_messages = warning});
$db->user('test1', 'd.example');
for my $mode (qw(transaction session)) {
    start_pooler($mode, "ignore_startup_parameters = options\n");
    my $d = Emailing::Daemon->new(conninfo => conninfo());
    ok $d->ready, "$mode: followed";
    is $d->metric('polling'), $mode eq 'transaction' ? 1 : 0,
        '... ' . ($mode eq 'transaction' ? 'by polling' : 'by LISTEN');
    is $d->count('LISTEN does not work'), $d->metric('polling'),
        '... as the log says';
    ok answers($d, $yes, 2), 'permitted';
    my $before = $d->metric('database_query_duration_seconds_count');
    $d->decide('test1', 'a@d.example') for 1 .. 20;
    is $d->metric('database_query_duration_seconds_count'), $before,
        '... and then from memory';
    $db->revoke('test1');
    ok answers($d, $no, 5), 'a change is obeyed';
    $db->user('test1', 'd.example');
    ok answers($d, $yes, 5), 'another, too';
    # Over several server connections, in no order.
    my @sockets = map { $d->policy_socket } 1 .. 30;
    for my $i (0 .. $#sockets) {
        $sockets[$i]->send(Emailing::Socket::request_text({
            sasl_username => "nobody$i", sender => 'a@d.example' }));
    }
    is_deeply [map { $_->action =~ s/nobody\d+/NAME/r } @sockets],
        [('553 5.7.1 user NAME may not send') x 30],
        'many at once are answered right';
    is $d->count('error: '), 0, 'without an error in the log';

    # The server behind the pooler away: the pooler still takes connections.
    $db->stop;
    my $start = time;
    is answers($d, qr/^(?:DUNNO|451 )/, 0.1), 1, 'the server away';
    ok within(6, sub { $d->decide('stranger', 'a@d.example') =~ /^451 /
                       && !$d->metric('database_up') }), '... is noticed';
    my $lines = $d->count('db: back');
    sleep 2.5;
    is $d->count('db: back'), $lines, '... and stays so';
    ok answers($d, $yes, 0.1), '... what is known goes on';
    like $d->decide('test2', 'a@d.example'), qr/^451 /,
        '... what is not is deferred';
    $db->start;
    ok within(20, sub { $d->decide('test3', 'a@d.example') =~ /^553 / }),
        'back';
    ok $d->ready, '... and followed';
    is $d->stop, 0, 'policyd ends as asked';
    stop_pooler();
}

# -- one that knows no start-up options ---------------------------------------------

start_pooler('transaction');
my $d = Emailing::Daemon->new(conninfo => conninfo());
ok $d->ready, 'without start-up options: followed';
ok answers($d, $yes, 2), 'permitted';
is $d->count('start-up options'), 1, '... as the log says, once';
is $d->stop, 0, 'policyd ends as asked';

done_testing;
