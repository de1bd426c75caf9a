#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# A name server that never answers, in a network and mount namespace of its
# own, and a database known by its host name: policyd answers all the same.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use File::Copy qw(copy);
use File::Temp ();
use Test::More;
use Time::HiRes qw(time);

use Emailing qw(build within);
use Emailing::Socket;

my $dir = File::Temp->newdir('emailing.XXXXXX', TMPDIR => 1);
chmod 0755, "$dir";
mkdir "$dir/queue";
mkdir "$dir/queue/emailing";
chown +(getpwnam 'nobody')[2, 3], "$dir/queue/emailing";
copy(build() . '/policyd/emailing-policyd', "$dir/policyd") or die $!;
chmod 0755, "$dir/policyd";

sub put {
    my ($name, $text) = @_;
    open my $file, '>', "$dir/$name" or die $!;
    print $file $text;
    close $file or die $!;
    return;
}

put('resolv.conf', "nameserver 127.0.0.1\noptions timeout:30 attempts:5\n");
put('nsswitch.conf', "passwd: files\ngroup: files\nhosts: dns\n");
put('policyd.conf', <<"END");
conninfo = "host=database.example.com dbname=emailing user=emailing_policyd"
queue_directory = "$dir/queue"
user = "nobody"
socket_group = "nogroup"
log_to = stderr
END
# Takes each question and says nothing; notes that one came.
put('silent', <<'END');
use IO::Socket::INET;
my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 53,
                              Proto => 'udp') or die "$!";
while (1) {
    $s->recv(my $question, 512);
    open my $f, '>>', $ARGV[0] or die;
    print $f "asked\n";
    close $f;
}
END

my $pid = fork // die;
if ($pid == 0) {
    open STDOUT, '>', "$dir/log";
    open STDERR, '>&', \*STDOUT;
    exec 'unshare', '--mount', '--net', '--pid', '--fork', '--kill-child',
        'sh', '-ec', <<"END";
mount --bind $dir/resolv.conf /etc/resolv.conf
mount --bind $dir/nsswitch.conf /etc/nsswitch.conf
ip link set lo up
$^X $dir/silent $dir/asked &
setpriv --reuid nobody --regid nogroup --clear-groups \\
    $dir/policyd -c $dir/policyd.conf &
policyd=\$!
echo \$policyd >$dir/pid
wait \$policyd
echo \$? >$dir/status
END
    die "unshare: $!";
}

my $socket = "$dir/queue/emailing/policy";
ok within(10, sub { -S $socket }), 'policyd listens'
    or diag qx(cat $dir/log);
ok within(10, sub { -s "$dir/asked" }), 'the name server was asked';

for my $n (1 .. 5) {
    my $start = time;
    my $action = Emailing::Socket->new($socket)->policy(
        { sasl_username => "user$n", sender => 'a@test1.com' });
    is $action, '451 4.3.0 permission lookup failed, try again later',
        "question $n: 451";
    cmp_ok time - $start, '<', 5, '... in less than 5 s';
}
my $start = time;
is(Emailing::Socket->new($socket)->policy({ sender => 'a@test1.com' }), 'DUNNO',
   'a question that needs no database');
is(Emailing::Socket->new("$dir/queue/emailing/auth")->auth('user9', 'secret')
   ->{status}, 'unavailable', 'a login');
cmp_ok time - $start, '<', 5, '... in less than 5 s';

# Its pid out here: the child of the shell, which is unshare's only child.
my ($shell) = split ' ', qx(ps -o pid= --ppid $pid);
my ($policyd) = map { /^\s*(\d+)\s+policyd/ ? $1 : () }
    qx(ps -o pid=,comm= --ppid $shell);
kill TERM => $policyd;
ok within(10, sub { -s "$dir/status" }), 'it ends when told to';
END {
    my $status = $?;
    if ($pid) {
        kill KILL => $pid;
        waitpid $pid, 0;
    }
    $? = $status;
}

done_testing;
