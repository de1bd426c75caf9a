#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# One container with everything, as "docker run" starts it: waits for policyd,
# lets nobody in without a login whatever its settings, sends to a provider
# whose certificate is right and to no other, keeps its password to itself,
# reaps, and ends when told to.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use JSON::PP ();
use Test::More;
use Time::HiRes qw(time);

use Emailing::Cluster qw(within);

my $c = Emailing::Cluster->up;
my $k = $c->kubelet;
my $image = 'localhost/secure-emailing:ci';
my $secret = 'policyd-of-a-toy';
my @capabilities = map { "--cap-add=$_" } qw(CHOWN DAC_OVERRIDE FOWNER KILL
    NET_BIND_SERVICE SETGID SETUID);

# container NAME, { VARIABLES }, ROLE: as conf/image/README says it can run
sub container {
    my ($name, $env, $role) = @_;
    my $ip = $c->address($name);
    $k->podman(qw(run -d --name), $name, '--network', $c->network, '--ip', $ip,
        (map { ('--add-host', $_) } $c->hosts),
        qw(--read-only --read-only-tmpfs=false --cap-drop=ALL), @capabilities,
        qw(--security-opt no-new-privileges --hostname relay),
        (map { "--tmpfs=$_:mode=1777" } qw(/run/secure-emailing /etc/postfix
            /var/spool/postfix /var/lib/postfix /tmp)),
        '-v', $c->dir . '/tls.crt:/tls/tls.crt:ro',
        '-v', $c->dir . '/tls.key:/tls/tls.key:ro',
        (map { ('-e', "$_=$env->{$_}") } sort keys %$env), $image, $role);
    return { ip => $ip, name => $name };
}

sub in_container {
    my ($container, @words) = @_;
    return $k->podman('exec', $container->{name}, @words);
}

sub logs { return $k->podman('logs', $_[0]{name}) }

# stopped CONTAINER: its status, and how long it took to end
sub stopped {
    my ($container) = @_;
    my $began = time;
    $k->podman(qw(stop -t 60), $container->{name});
    my $status = $k->podman('inspect', '--format', '{{.State.ExitCode}}',
                            $container->{name});
    return ($status, time - $began);
}

my %settings = (
    RELAYHOST => '[provider]:2525', RELAYHOST_USERNAME => 'relay',
    RELAYHOST_PASSWORD => 'provider-of-a-toy',
    RELAYHOST_CA_FILE => '/tls/tls.crt',
    DATABASE_URL => "postgresql://emailing_policyd:$secret\@postgres/emailing",
    DRAIN_SECONDS => 4, WATCH_SECONDS => 600, LOG_FORMAT => 'json',
    POSTFIX_smtp_host_lookup => 'native',
);
$c->start_database;
$k->run_job('migrate');
my $admin = $k->start(Deployment => 'mailadmin');
$c->start_provider;

# -- Postfix does not serve before policyd answers ----------------------------

my $alone = container('alone', \%settings, 'postfix');
ok within(20, sub { in_container($alone, 'sh', '-c',
    'cat /proc/[0-9]*/comm 2>/dev/null') =~ /^probe$/m }),
    'Postfix without policyd waits for it';
ok !eval { $c->smtp($alone, 9000) }, '... and answers nobody';
my ($status, $took) = stopped($alone);
is $status, 0, '... it ends when told to';
cmp_ok $took, '<', 30, '... without waiting for policyd any longer';

my $early = container('early', { %settings, WAIT_SECONDS => 1 }, 'postfix');
is $k->podman('wait', 'early'), 75, 'without policyd for too long: status 75';
like logs($early), qr/"error: policyd does not answer"/, '... it says why';

# -- everything, with parameters that might let somebody in -------------------

my $all = container('all', { %settings,
    POSTFIX_relay_domains => 'example.com',
    POSTFIX_mynetworks_style => 'subnet',
    POSTFIX_permit_mx_backup_networks => '0.0.0.0/0',
    POSTFIX_smtpd_end_of_data_restrictions => 'permit',
    POSTFIX_smtpd_authorized_xforward_hosts => '0.0.0.0/0',
    POSTFIX_smtpd_reject_unlisted_sender => 'no' }, 'all');
ok within(30, sub { eval { $c->smtp($all, 587)->banner =~ /^220 / } }),
    'role all serves' or diag logs($all);
for ("add user test1 --if-not-exists", 'add domain test1.com',
     'grant domain test1.com to test1') {
    is_deeply [$c->mailadmin($admin, [split ' '], $c->password . "\n")],
        [0, ''], $_;
}
for my $port (9000, 587) {
    my $anyone = $c->smtp($all, $port)->starttls;
    like $anyone->send('user@test1.com'), qr/^553 5\.7\.1 /,
        "port $port: nothing without a login";
    like $anyone->send('user@test1.com', to => 'postmaster'), qr/^553 5\.7\.1 /,
        '... to the postmaster neither';
    like $anyone->command('XCLIENT LOGIN=test1'), qr/^5\d\d /,
        '... by no XCLIENT';
    my $smtp = $c->login($all, $port, 'test1', $c->password);
    like $smtp->send('any@test1.com'), qr/^250 /, '... with a login';
    like $smtp->send('any@test2.com'), qr/^553 5\.7\.1 /,
        '... as nobody else';
}
is scalar($c->received(2)), 2,
    'the provider, whose certificate is right, takes it';

like in_container($all, 'cat', '/proc/1/status'),
    qr/^CapBnd:\s+00000000000004eb$/m, 'no more than seven capabilities';
my %user = split ' ', in_container($all, 'sh', '-c',
    'for p in /proc/[0-9]*; do echo $(cat $p/comm) $(stat -c %u $p); done');
is $user{'emailing-policy'}, 950, 'policyd is not root';
unlike in_container($all, 'sh', '-c', 'cat /proc/[0-9]*/cmdline | tr "\0" " "'),
    qr/of-a-toy|postgresql:/, 'no password, no URL in an argument';
unlike in_container($all, 'sh', '-c', 'for p in /proc/[0-9]*; do '
    . 'grep -q smtpd $p/comm && tr "\0" "\n" <$p/environ; done; true'),
    qr/of-a-toy/, '... nor in what Postfix inherits';
$k->podman(qw(kill -s HUP all));
ok within(10, sub { logs($all) =~ /reload -- version/ }),
    'SIGHUP reaches what it is for';
in_container($all, 'sh', '-c', '(sleep 0.2 &)');
ok within(10, sub { in_container($all, 'sh', '-c',
    'cat /proc/[0-9]*/stat 2>/dev/null') !~ /^\d+ \(.*?\) Z /m }),
    'orphans are reaped';
($status, $took) = stopped($all);
is $status, 0, 'it ends when told to';
cmp_ok $took, '<', 30, '... within its time';
my @lines = split /\n/, logs($all);
is scalar(grep { !eval { JSON::PP::decode_json($_)->{severity} } } @lines), 0,
    'each line of its log is an object with a severity';
is scalar(grep { /of-a-toy|correct horse|postgresql:/ } @lines), 0,
    '... and without a password';

# -- a provider that cannot prove who it is -----------------------------------

my $wary = container('wary', { %settings, RELAYHOST_CA_FILE => '' }, 'all');
ok within(30, sub { eval { $c->smtp($wary, 587)->banner =~ /^220 / } }),
    'a relay that does not know the authority';
like $c->login($wary, 9000, 'test1', $c->password)->send('any@test1.com'),
    qr/^250 /, '... takes mail';
ok within(20, sub { in_container($wary, qw(postqueue -j)) =~
    /"delay_reason": "Server certificate not (?:trusted|verified)"/ }),
    '... and hands none to the provider';
is $c->received_count, 2, '... none at all';

# -- a policyd that ends ------------------------------------------------------

in_container($wary, 'sh', '-c', 'for p in /proc/[0-9]*; do '
    . 'grep -q emailing-policy $p/comm && kill -KILL ${p#/proc/}; done; true');
is $k->podman('wait', 'wary'), 137, 'without policyd the container has failed';
like logs($wary), qr/error: a program ended by itself, status 137/,
    '... it says so';

done_testing;
