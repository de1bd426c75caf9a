#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# Thousands of lines from standard input: many to a transaction, and with the
# outcome that each would have by itself. Says how long it took.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";
use EmailingPg;
use Test::More;
use Time::HiRes qw(time);

use constant {USERS => 10_000, EACH => 4};

my $pg = EmailingPg->new;
is $pg->mailadmin(qw(schema init))->{status}, 0, 'schema init';
my %as = (user => 'emailing_mailadmin');
my $counter = $pg->psql('SELECT emailing_counter()');

my $script = join '', (map { "add user u$_ --no-password\n" } 1 .. USERS),
    (map { "add address a$_\@example.com\n" } 1 .. USERS);
for my $user (1 .. USERS) {
    $script .= "grant address a" . (($user * 7 + $_ * 131) % USERS + 1)
        . "\@example.com to u$user\n" for 1 .. EACH;
}
my $start = time;
my $r = $pg->mailadmin({%as, stdin => $script}, '--strict');
my $seconds = time - $start;
is_deeply [@$r{qw(status out err)}], [0, '', ''], 'all of it';
note sprintf '%d users, %d addresses and %d grants in %.1f s', USERS, USERS,
    USERS * EACH, $seconds;
is $pg->psql('SELECT (SELECT count(*) FROM emailing_users),
    (SELECT count(*) FROM emailing_addresses),
    (SELECT count(*) FROM emailing_users_addresses)'),
    join('|', USERS, USERS, USERS * EACH), 'is there';
cmp_ok $pg->psql('SELECT emailing_counter()') - $counter, '<', 200,
    'in few transactions';
is $pg->psql("SELECT count(*) FROM emailing_audit
    WHERE object = 'user_address' AND operation = 'insert'"), USERS * EACH,
    'each is in the audit';

# Again: every line is told, the good ones in between are done.
$script = join '', map { "grant address a" . (($_ * 7 + 131) % USERS + 1)
    . "\@example.com to u$_\n" } 1 .. 600;
$script .= "add domain d$_.com\n" for 1 .. 300, 200, 301 .. 310;
$r = $pg->mailadmin({%as, stdin => $script});
my @told = split /\n/, $r->{err};
is scalar @told, 601, 'one message a line that changes nothing';
like $told[599], qr/line 600: address .* is granted to u600 already/,
    'with its number';
is $told[600], 'mailadmin: line 901: domain d200.com exists already',
    'and the failure';
is $pg->psql('SELECT count(*) FROM emailing_domains'), 310, 'the rest is done';

# A database that hangs does so once, not once a line.
my $fast = $pg->conf("database_timeout = 1\n");
my $pid = fork // die $!;
if ($pid == 0) {
    $pg->psql('BEGIN; LOCK emailing_domains; SELECT pg_sleep(60)',
        may_fail => 1);
    exit 0;
}
select undef, undef, undef, 0.1 until $pg->psql(
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
$start = time;
$r = $pg->mailadmin({%as, conf => $fast, stdin => join '',
    map { "add domain late$_.com\n" } 1 .. 400});
cmp_ok time - $start, '<', 60, 'ends in time';
like $r->{err}, qr/\Amailadmin: line 1: database: .*\n\z/, 'and says so once';
like $r->{err}, qr/this and the 399 lines after it/, 'for all lines';
$pg->psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE wait_event = 'PgSleep'");
waitpid $pid, 0;
is $pg->psql("SELECT count(*) FROM emailing_domains
    WHERE domain LIKE 'late%'"), 0, 'nothing is done late';

done_testing;
