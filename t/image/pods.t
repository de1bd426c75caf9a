#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# The pods of the rendered manifests: the session, a provider that refuses and
# comes back, a database that dies, a node that dies, a drain.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use JSON::PP ();
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

use Emailing::Cluster qw(figure slurp spew within);

my $c = Emailing::Cluster->up;
my $k = $c->kubelet;
my $password = $c->password;

sub queue {
    my ($pod) = @_;
    my $out = $k->podman('exec', "$pod->{id}-postfix", 'postqueue', '-j');
    return grep { length } split /\n/, $out;
}

sub subject { return grep { /^Subject: \Q$_[0]\E$/m } $c->received(0) }

# -- start order is free ------------------------------------------------------

my $began = time;
my $relay = $k->start(StatefulSet => 'relay', 0);
my $first = time - $began;
figure(sprintf 'pod start to first 220: %.1f s', $first);
cmp_ok $first, '<', 30, 'the relay serves without a database';
$c->start_provider;
ok !$k->ready($relay), '... but is not ready for clients';
ok $k->alive($relay), '... and alive';
like $c->smtp($relay, 9000)->starttls->auth_plain('test1', $password),
    qr/^454 /, '... a login is to try again later';

my $database = $c->start_database;
my $second = fork // die "fork: $!";
if ($second == 0) {
    $k->{next_ip} = 90;
    my $done = eval { $k->run_job('migrate', as => 'migrate-2') } // $@;
    spew($c->dir . '/second', $done);
    POSIX::_exit(0);
}
like $k->run_job('migrate'), qr/^schema version: [2-9]/m, 'the schema is made';
waitpid $second, 0;
like slurp($c->dir . '/second'), qr/^schema version: [2-9]/m,
    '... by two Jobs at once';
like $k->run_job('migrate'), qr/^schema version: [2-9]/m, '... and again';
$k->wait_ready($relay, 20);
pass 'the relay is ready';
my $admin = $k->start(Deployment => 'mailadmin');

# -- the session --------------------------------------------------------------

for my $user (qw(test1 test2)) {
    is_deeply [$c->mailadmin($admin, [qw(add user), $user], "$password\n")],
        [0, ''], "add user $user" for 1;
}
is_deeply [$c->mailadmin($admin, [split ' '])], [0, ''], $_
    for 'add address user@test1.com', 'add domain test1.com',
        'grant address user@test1.com to test2',
        'grant domain test1.com to test1';
is +($c->mailadmin($admin, [qw(check test1 user@demo.com)]))[0], 1,
    'mailadmin check';
is_deeply [$c->mailadmin($admin, ['--strict'], "add user app2\n$password\n"
    . "add address app2\@test1.com\ngrant address app2\@test1.com to app2\n")],
    [0, ''], 'mailadmin with commands from standard input';
$k->run_job('commands', kind => 'CronJob') for 1, 2;
like +($c->mailadmin($admin, [qw(show user app1)]))[1], qr/\* example\.com\n/,
    'the Job has carried out the commands of a file, twice';

for my $port (9000, 587) {
    my $plain = $c->smtp($relay, $port);
    unlike $plain->ehlo, qr/AUTH/, "port $port: no login without TLS";
    like $plain->send('user@test1.com'), qr/^5\d\d /, '... and no mail';
    my $anyone = $c->smtp($relay, $port)->starttls;
    like $anyone->send('user@test1.com'), qr/^553 5\.7\.1 /,
        '... without a login: refused';
    like $c->smtp($relay, $port)->starttls->auth_plain('test1', 'wrong'),
        qr/^535 /, '... wrong password';
    my $smtp = $c->login($relay, $port, 'test1', $password);
    like $smtp->send('anything@test1.com', body => "Port $port"), qr/^250 /,
        '... a granted sender';
    is $smtp->send('user@demo.com'), '553 5.7.1 <user@demo.com>: Sender '
        . 'address rejected: not granted to user test1',
        '... one that is not';
}
my @mail = $c->received(2);
is scalar(@mail), 2, 'both messages reach the provider';
like $mail[0],
    qr/\AX-From: anything\@test1\.com\nX-To: someone\@example\.com\n/,
    '... with their envelopes';
my $logins = slurp($c->dir . '/provider/logins');
like $logins, qr/\Arelay\n/, '... by a login over TLS';

# -- rights -------------------------------------------------------------------

my %rights = (
    postfix => ['0 0', '00000000000004eb'],
    policyd => ['950 951', '0000000000000000'],
);
for my $name (sort keys %rights) {
    my $container = "$relay->{id}-$name";
    my $status = $k->podman('exec', $container, 'cat', '/proc/1/status');
    my ($uid) = $status =~ /^Uid:\s+(\d+)/m;
    my ($gid) = $status =~ /^Gid:\s+(\d+)/m;
    my ($bounds) = $status =~ /^CapBnd:\s+(\w+)/m;
    is_deeply ["$uid $gid", $bounds], $rights{$name},
        "$name: user and capabilities";
    like $status, qr/^NoNewPrivs:\s+1$/m, '... and no new ones';
    isnt +($k->try_podman('exec', $container, 'touch', '/usr/x'))[0], 0,
        '... its root is read-only';
}
isnt +($k->try_podman('exec', "$relay->{id}-policyd", 'sh', '-c',
    'grep -l of-a-toy /proc/1/environ'))[0], 0,
    'no password in an environment';

# -- the provider refuses and comes back --------------------------------------

$c->refuse_mail(1);
like $c->login($relay, 9000, 'test1', $password)->send('user@test1.com',
    body => 'Deferred'), qr/^250 /, 'the provider refuses: mail is accepted';
ok within(20, sub { grep { /"deferred"/ } queue($relay) }),
    '... and waits in the queue';
is scalar($c->received(3, 0)), 2, '... for nothing was delivered';

# A new password, both sides, while the pod runs.
spew($c->dir . '/relay.password', 'another');
spew("$relay->{volumes}{relay}/password", 'another');
ok within(60, sub { $k->logs($relay, 'postfix') =~ /reload -- version/ }),
    'a new password for the provider is seen';
$c->refuse_mail(0);
$k->podman('exec', "$relay->{id}-postfix", 'postqueue', '-f');
is scalar($c->received(3)), 3, 'the provider is back: mail arrives';

# -- the database dies --------------------------------------------------------

like $c->login($relay, 9000, 'test1', $password)->send('user@test1.com'),
    qr/^250 /, 'test1 is known to policyd';
$k->kill_pod($database);
like $c->login($relay, 9000, 'test1', $password)->send('user@test1.com'),
    qr/^250 /, 'without a database: who is known goes on';
like $c->smtp($relay, 9000)->starttls->auth_plain('nobody', $password),
    qr/^454 /, '... who is not is to try again later';
ok $k->alive($relay), '... the pod is not restarted';
ok $k->ready($relay), '... and not taken away from its clients';
$database = $c->start_database;
my @revoke = qw(revoke domain test1.com from test1);
my ($status, $out);
within(20, sub {
    ($status, $out) = $c->mailadmin($admin, \@revoke);
    return $status == 0;
});
is_deeply [$status, $out], [0, ''],
    'the database is back on its volume: a revoke';
ok within(10, sub {
    $c->login($relay, 9000, 'test1', $password)->send('any@test1.com')
        =~ /^553 / }), '... is obeyed';
is scalar($c->received(5)), 5, 'nothing was lost';

# -- the node dies ------------------------------------------------------------

$c->refuse_mail(1);
like $c->login($relay, 9000, 'test2', $password)->send('user@test1.com'),
    qr/^250 /, 'a message in the queue';
# Its secrets are those of the manifests again.
spew($c->dir . '/relay.password', 'provider-of-a-toy');
$k->kill_pod($relay);
$c->refuse_mail(0);
$relay = $k->start(StatefulSet => 'relay', 0);
$k->wait_ready($relay, 30);
$k->podman('exec', "$relay->{id}-postfix", 'postqueue', '-f');
is scalar($c->received(6)), 6, 'a pod on the same volume delivers it';

# -- a drain ------------------------------------------------------------------

my $open = $c->login($relay, 9000, 'test2', $password);
my $child = fork // die;
if ($child == 0) {
    my $killed = $k->stop($relay);
    spew($c->dir . '/stopped', $k->{pods}{$relay->{name}} ? 1
        : "$killed\n$relay->{log}{postfix}$relay->{log}{policyd}");
    POSIX::_exit(0);
}
my $late;
ok within(20, sub {
    $late = eval { $c->smtp($relay, 9000)->banner } // 'refused';
    return $late !~ /^220 /;
}), 'a pod that ends takes no new session';
like $late, qr/^421 4\.3\.2 .*shutting down/, '... and says so';
like $open->send('user@test1.com'), qr/^250 /, '... an open one goes on';
$open->quit;
waitpid $child, 0;
is $?, 0, 'the pod ended';
my ($killed, @log) = split /\n/, slurp($c->dir . '/stopped');
is $killed, 0, '... within its grace period';
is scalar($c->received(7)), 7, '... with nothing left in its queue';
my @bad = grep { !eval { JSON::PP::decode_json($_)->{severity} } } @log;
is_deeply \@bad, [], 'each line of its logs is an object with a severity';
cmp_ok scalar(grep { /"queue_id":"\w+"/ } @log), '>', 2,
    '... with the queue id';
is scalar(grep { /of-a-toy|correct horse/ } @log), 0,
    '... and without a password';

done_testing;
