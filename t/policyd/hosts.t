#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Where the database is, in all the ways that libpq has of saying it; and
# several hosts, some of which are of no use.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use File::Temp ();
use IO::Socket::INET ();
use Test::More;
use Time::HiRes qw(time);

use Emailing qw(build run within);
use Emailing::Daemon::Database ();
use Emailing::Daemon::Standby ();

my $db = Emailing::Daemon::Database->new;
$db->user('test1', 'd.example');
my ($dir, $proxy) = ($db->dir, $db->proxy);
my ($port, $tmp) = ($proxy->port, File::Temp->newdir(TMPDIR => 1));
chmod 0755, $tmp;
open my $service, '>', "$tmp/service" or die $!;
print $service "[mail]\nhost=$dir\nport=5432\ndbname=mail\n"
    . "user=emailing_policyd\n";
close $service;

sub permits {
    my ($d, $seconds) = @_;
    return within($seconds // 5, sub {
        $d->decide('test1', 'a@d.example') eq 'DUNNO' });
}

sub reaches {
    my ($name, $conninfo, $env) = @_;
    my $d = Emailing::Daemon->new(conninfo => $conninfo, env => $env);
    ok permits($d), $name or diag $d->log;
    is $d->metric('following') // $d->ready, 1, '... and is followed'
        if $d->ready;
    is $d->stop, 0, '... and ends as asked';
    return;
}

my $who = 'dbname=mail user=emailing_policyd';
my %pg = (PGHOST => $dir, PGPORT => 5432, PGDATABASE => 'mail',
          PGUSER => 'emailing_policyd');
reaches('a unix socket', "host=$dir $who");
reaches('an address', "host=127.0.0.1 port=$port $who");
reaches('a name', "host=localhost port=$port $who");
reaches('hostaddr', "hostaddr=127.0.0.1 port=$port $who");
reaches('a URI', "postgresql://emailing_policyd\@127.0.0.1:$port/mail");
reaches('a URI with a socket',
    'postgresql://emailing_policyd@' . $dir =~ s{/}{%2F}gr . '/mail');
reaches('the environment', '', \%pg);
reaches('a part of it', 'dbname=mail', { %pg, PGDATABASE => 'postgres' });
reaches('a service', 'service=mail', { PGSERVICEFILE => "$tmp/service" });
reaches('a service of the environment', '',
    { PGSERVICEFILE => "$tmp/service", PGSERVICE => 'mail' });
reaches('a service, but for the port', "service=mail host=127.0.0.1 port=$port",
    { PGSERVICEFILE => "$tmp/service" });

sub refused {
    my ($name, $conninfo, $pattern) = @_;
    open my $file, '>', "$tmp/conf" or die $!;
    print $file qq(conninfo = "$conninfo"\nuser = nobody\n),
        qq(queue_directory = "$tmp"\nsocket_group = root\nlog_to = stderr\n);
    close $file;
    mkdir "$tmp/emailing";
    my ($status, $out, $err) = run(['timeout', '10', build()
        . '/policyd/emailing-policyd', '-c', "$tmp/conf"]);
    is $status, 78, "$name: refused";
    like $err, $pattern, '... and says why';
    return;
}
refused('an unknown option', 'hst=x', qr/conninfo: .*"hst"/);

my $lost = Emailing::Daemon->new(conninfo => 'service=none',
    env => { PGSERVICEFILE => "$tmp/service" });
ok within(5, sub { $lost->count('db: gone: .*service "none" not found') }),
    'an unknown service: the log says so';
is $lost->stop, 0, '... and it ends as asked';

# -- several hosts ------------------------------------------------------------------------

# It accepts, by the kernel, and says nothing.
my $silent = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 128)
    or die $!;
my $nobody = (Emailing::free_ports())[0];
my $standby = Emailing::Daemon::Standby->new($db);
my $other = Emailing::Proxy->new($standby->server);

sub hosts {
    my ($name, $seconds, $attrs, @ports) = @_;
    my $conninfo = 'host=' . join(',', ('127.0.0.1') x @ports) . ' port='
        . join(',', @ports) . " $who"
        . ($attrs ? " target_session_attrs=$attrs" : '');
    my $d = Emailing::Daemon->new(conninfo => $conninfo);
    ok permits($d, $seconds), $name or diag $d->log;
    ok $d->ready(10), '... and followed';
    return $d;
}

is hosts('one that nobody listens on first', 2, '', $nobody, $port)->stop, 0,
    '... and ends as asked';
is hosts('one that never answers first', 8, '', $silent->sockport, $port)->stop,
    0, '... and ends as asked';
is hosts('one that never answers last', 2, '', $port,
    $silent->sockport)->stop, 0, '... and ends as asked';
my $d = hosts('a standby first, where one that can write is wanted', 4,
    'read-write', $other->port, $port);
is $d->metric('polling'), 0, '... and followed by LISTEN';
is $d->stop, 0, '... and ends as asked';
is hosts('a standby and one that never answers', 12, 'read-write',
    $other->port, $silent->sockport, $port)->stop, 0, '... and ends as asked';

# -- moving from one to another ------------------------------------------------------------

$d = hosts('two hosts', 2, 'read-write', $port, $other->port);
$db->stop;
$standby->promote;
ok permits($d, 10), 'the other one takes over';
ok $d->ready, '... and is followed';
is $d->metric('database_up'), 1, '... and is up';
is $d->stop, 0, 'policyd ends as asked';

done_testing;
