#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# The chain of the audit: every row is in it, whoever writes and how many at
# once; what is done to it afterwards is found.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";
use EmailingPg;
use Test::More;
use Time::HiRes qw(time);

my $pg = EmailingPg->new;
is $pg->mailadmin(qw(schema init))->{status}, 0, 'schema init';

sub verify {
    my (@words) = @_;
    my $options = ref $words[0] ? shift @words : {};
    return $pg->mailadmin({user => 'emailing_mailadmin', %$options},
        qw(audit verify), @words);
}

sub intact {
    my ($name, %options) = @_;
    my $r = verify(\%options);
    like $r->{out}, qr/\Aintact: \d+ rows in \d+ links/, "intact: $name"
        or diag $r->{out}, $r->{err};
    is $r->{status}, 0, 'and its status';
    my ($head) = $r->{out} =~ /^head: (.*)$/m;
    return $head;
}

sub links { return $pg->psql('SELECT max(number)
    FROM emailing_audit_chain') }

# How many links the SQL makes.
sub made {
    my ($sql) = @_;
    my $before = links();
    $pg->psql($sql);
    return links() - $before;
}

intact('at the beginning');
is made("INSERT INTO emailing_users (name) VALUES ('a'), ('b')"), 1,
    'one for a statement';
is made("INSERT INTO emailing_addresses (address) VALUES ('x\@a.com')"), 1,
    'one for what nobody is notified of';
is made("BEGIN; INSERT INTO emailing_domains (domain) VALUES ('a.com');
    INSERT INTO emailing_users_domains VALUES (1, 1);
    UPDATE emailing_users SET enabled = false; COMMIT"), 1,
    'one for a transaction';
is made('UPDATE emailing_users SET enabled = false'), 0, 'none for nothing';
is made('BEGIN; UPDATE emailing_users SET enabled = true; ROLLBACK'), 0,
    'none for what was rolled back';
is made('BEGIN; SET CONSTRAINTS ALL IMMEDIATE;
    UPDATE emailing_users SET enabled = true WHERE id = 1;
    UPDATE emailing_users SET enabled = true WHERE id = 2; COMMIT'), 2,
    'one for each statement when constraints are immediate';
is $pg->psql('SELECT count(DISTINCT at) FROM (SELECT at
    FROM emailing_audit_chain ORDER BY number DESC LIMIT 2) l'), 1,
    'of one moment all the same';
cmp_ok made("INSERT INTO emailing_addresses (address) VALUES ('y\@a.com');
    BEGIN; SET CONSTRAINTS ALL IMMEDIATE;
    TRUNCATE emailing_addresses CASCADE; COMMIT"), '>', 1,
    'a TRUNCATE, immediately';
is made('BEGIN; SAVEPOINT s; SET CONSTRAINTS ALL IMMEDIATE;
    UPDATE emailing_users SET enabled = false; ROLLBACK TO s;
    UPDATE emailing_users SET enabled = false WHERE id = 1; COMMIT'), 1,
    'what was chained is rolled back with its rows';
is made('SET session_replication_role = replica;
    DELETE FROM emailing_users WHERE id = 1'), 1,
    'with triggers off for replication';
is $pg->psql('SELECT count(*) FROM emailing_users_domains'), 1,
    'which leaves a grant of nobody';
is made('TRUNCATE emailing_users CASCADE'), 1, 'TRUNCATE';
is $pg->psql("SELECT count(*) FROM emailing_audit
    WHERE object = 'user_domain' AND operation = 'delete'"), 1,
    'takes it away, too';
is $pg->psql("SELECT string_agg(tgname || tgenabled::text, ' ') FROM pg_trigger
    WHERE tgrelid = 'emailing_audit'::regclass"), 'emailing_audit_notifyA',
    'the trigger is always enabled';
intact('after all that');

# Many writers at once.
$pg->psql("INSERT INTO emailing_users (name)
    SELECT 'u' || i FROM generate_series(1, 20) i");
use constant {PROCESSES => 8, EACH => 60};
my $before = links();
my $deadlocks = sub { $pg->psql("SELECT deadlocks FROM pg_stat_database
    WHERE datname = 'mail'") };
my $were = $deadlocks->();
my @pids;
for my $process (1 .. PROCESSES) {
    my $pid = fork // die $!;
    if ($pid == 0) {
        # Users in the order of their names, each in a transaction of many;
        # and what notifies nobody.
        my $sql = join '', map { my $n = $_; "BEGIN;\n"
            . join('', map { "UPDATE emailing_users SET enabled = NOT enabled
                WHERE name = 'u$_';\n" } sort($process, $process + 1, 9, 10))
            . "INSERT INTO emailing_domains (domain)
                VALUES ('p$process-$n.com');\nCOMMIT;\n"
            . "DELETE FROM emailing_domains
                WHERE domain = 'p$process-$n.com';\n" } 1 .. EACH;
        my $r = $pg->psql($sql, may_fail => 1);
        print STDERR $r->{err} if $r->{status};
        exit($r->{status} ? 1 : 0);
    }
    push @pids, $pid;
}
waitpid($_, 0), is $?, 0, 'a writer of eight' for @pids;
is $deadlocks->(), $were, 'no deadlock';
is $pg->psql("SELECT count(DISTINCT xact) FROM emailing_audit_chain
    WHERE number > $before"), PROCESSES * EACH * 2,
    'each transaction is chained once';
is $pg->psql('SELECT count(*) FROM (SELECT at, lag(at) OVER (ORDER BY number)
    AS before FROM emailing_audit_chain) c WHERE at < before'), 0,
    'in the order of their moments';
intact('after that');

# A TRUNCATE takes what its snapshot does not show, which nothing would audit.
my $late = fork // die $!;
if ($late == 0) {
    my $r = $pg->psql("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1;
        SELECT pg_sleep(2); TRUNCATE emailing_domains CASCADE; COMMIT",
        may_fail => 1);
    exit($r->{err} =~ /could not serialize/ ? 0 : 1);
}
select undef, undef, undef, 0.05 until $pg->psql("SELECT count(*)
    FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
$pg->psql("INSERT INTO emailing_domains (domain) VALUES ('unseen.com')");
waitpid $late, 0;
is $?, 0, 'a TRUNCATE of what it does not see is refused';
intact('and did nothing');

# While one is about to commit, others do not wait for it.
my $pid = fork // die $!;
if ($pid == 0) {
    $pg->psql("BEGIN; INSERT INTO emailing_domains (domain)
        VALUES ('open.com'); SELECT pg_sleep(30); COMMIT", may_fail => 1);
    exit 0;
}
select undef, undef, undef, 0.05 until $pg->psql("SELECT count(*)
    FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
is $pg->psql("SET lock_timeout = '5s'; INSERT INTO emailing_domains (domain)
    VALUES ('other.com')", may_fail => 1)->{status}, 0,
    'an open transaction holds nobody up';
$pg->psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE wait_event = 'PgSleep'");
waitpid $pid, 0;
my $head = intact('and leaves nothing');

# No setting of a session, and none of the database, changes what is hashed.
$pg->psql("SET TimeZone = 'Asia/Kathmandu'; SET DateStyle = 'SQL, DMY';
    SET bytea_output = escape; SET extra_float_digits = -15;
    SET IntervalStyle = iso_8601; SET standard_conforming_strings = off;
    UPDATE emailing_users_addresses SET expires = '2100-06-01 12:30:00.123456'
        WHERE id_user = (SELECT id FROM emailing_users WHERE name = 'u1');
    INSERT INTO emailing_addresses (address)
        VALUES (E'\"q\\\\\\\\\x{c3}\x{a4}{},\\'\"\@x.com')");
$pg->psql("ALTER DATABASE mail SET TimeZone = 'America/New_York';
    ALTER DATABASE mail SET DateStyle = 'German';
    ALTER DATABASE mail SET bytea_output = escape");
$head = intact('under other settings');
$pg->psql('ALTER DATABASE mail RESET ALL');

# A dump, restored into a database of another server's age. pg_dump knows no
# server that is newer than itself, which is so in t/compat/run only.
SKIP: {
    my ($own) = qx("$pg->{bin}/pg_dump" --version) =~ /(\d+)/;
    my $server = int($pg->psql('SHOW server_version_num') / 10000);
    skip "pg_dump $own dumps no PostgreSQL $server", 9 if $server > $own;
    my $dump = EmailingPg::run('', $pg->env(user => 'postgres'),
        "$pg->{bin}/pg_dump", '-Fc', 'mail');
    is $dump->{status}, 0, 'pg_dump' or diag $dump->{err};
    $pg->database('restored');
    my $restore = EmailingPg::run($dump->{out}, $pg->env(user => 'postgres'),
        "$pg->{bin}/pg_restore", '-d', 'restored');
    is $restore->{status}, 0, 'pg_restore' or diag $restore->{err};
    is intact('restored', db => 'restored'), $head, 'with the same head';
    is $pg->mailadmin({db => 'restored'}, qw(schema upgrade))->{status}, 0,
        'schema upgrade';
    # The numbers of transactions begin anew: one may come a second time.
    my $counter = $pg->psql('SELECT emailing_counter()', db => 'restored');
    $pg->psql("BEGIN; SET LOCAL session_replication_role = replica;
        UPDATE emailing_changes SET xact = pg_current_xact_id();
        SET LOCAL session_replication_role = origin;
        UPDATE emailing_users SET enabled = NOT enabled WHERE name = 'u5';
        COMMIT", db => 'restored');
    is $pg->psql('SELECT emailing_counter()', db => 'restored') - $counter, 1,
        'one that was there before does not keep the counter from its bump';
    intact('and goes on', db => 'restored');
}

# Many rows in one statement.
$pg->psql("INSERT INTO emailing_users (name)
    SELECT 'v' || i FROM generate_series(1, 10000) i;
    INSERT INTO emailing_addresses (address)
    SELECT 'a' || i || '\@x.com' FROM generate_series(1, 10000) i");
my $start = time;
my $made = made(q{INSERT INTO emailing_users_addresses
    SELECT u.id, a.id FROM generate_series(0, 39999) i
      JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS n
              FROM emailing_users WHERE name ~ '^v') u ON u.n = i % 10000
      JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS n
              FROM emailing_addresses) a ON a.n = (i + i / 10000) % 10000});
note sprintf '40,000 grants in %.2f s', time - $start;
is $pg->psql('SELECT count(*) FROM emailing_users_addresses'), 40_000,
    '40,000 grants in a statement';
cmp_ok $made, '<=', 6, "are $made links";
cmp_ok $pg->psql('SELECT max(cardinality(ids)) FROM emailing_audit_chain'),
    '<=', 8192, 'each of them bounded';
intact('in one piece');

# -- tampering -------------------------------------------------------------------

my $n = 0;

# Does that to a copy of the database; what verify says of it.
sub tampered {
    my ($name, $sql, $expected, @words) = @_;
    my $db = 'tampered' . ++$n;
    $pg->psql("CREATE DATABASE $db TEMPLATE mail", db => 'postgres');
    my $r = $pg->psql($sql, db => $db, may_fail => 1);
    is $r->{status}, 0, $name or diag $r->{err};
    $r = verify({db => $db}, @words);
    is $r->{status}, 1, "$name: found";
    like $r->{out}, $expected, "$name: named";
    like $r->{out}, qr/^not intact: /m, "$name: said";
    is $pg->mailadmin({db => $db}, qw(audit prune --before 1s))->{status}, 1,
        "$name: not pruned" if !@words;
    $pg->psql("DROP DATABASE $db", db => 'postgres');
}

$pg->database('small');
is $pg->mailadmin({db => 'small'}, qw(schema init))->{status}, 0, 'a small one';
$pg->psql('DROP DATABASE mail', db => 'postgres');
$pg->psql('ALTER DATABASE small RENAME TO mail', db => 'postgres');
for my $name (qw(a b c d e f)) {
    $pg->psql("INSERT INTO emailing_users (name) VALUES ('$name')");
    $pg->psql("UPDATE emailing_users SET enabled = false
        WHERE name = '$name'");
}
$pg->psql("INSERT INTO emailing_domains (domain)
    SELECT 'd' || i || '.com' FROM generate_series(1, 5) i");
$head = intact('to be tampered with');
my ($number) = $head =~ /^(\d+)/;
my $row = $pg->psql("SELECT id FROM emailing_audit WHERE name = 'c'
    AND operation = 'insert'");
my $link = $pg->psql("SELECT link FROM emailing_history WHERE id = $row");
my $next = $row + 1;

my %columns = (at => "at + interval '1 us'", xact => "'3'", db_user => "'eve'",
    os_user => "'eve'", client => "'10.0.0.1'", object => "'domain'",
    operation => "'delete'", id_user => 99, id_address => 99, id_domain => 99,
    name => "'x'", address => "''", domain => "''", enabled => 'false',
    subdomains => 'false', expires => "'2100-01-01'",
    old_until => "'-infinity'", secret_changed => 'NOT secret_changed',
    was_name => "''", was_address => "''", was_domain => "''",
    was_enabled => 'false', was_subdomains => 'false', was_expires => 'now()',
    was_old_until => 'now()', version => 0, notify => "'{x}'",
    since => 'now()', base => "''");
is_deeply [sort keys %columns], [sort split /\n/,
    $pg->psql("SELECT attname FROM pg_attribute WHERE attnum > 1
        AND attrelid = 'emailing_audit'::regclass AND NOT attisdropped")],
    'each column is tried';
my @columns = sort keys %columns;
$pg->psql('CREATE DATABASE columns TEMPLATE mail', db => 'postgres');
$pg->psql("INSERT INTO emailing_users (name, passwd)
    SELECT 'g' || i, 'x' FROM generate_series(1, 100) i", db => 'columns');
my @rows = split /\n/, $pg->psql("SELECT id FROM emailing_audit
    WHERE name ~ '^g' ORDER BY id", db => 'columns');
@rows = @rows[map { 3 * $_ + 1 } 0 .. $#columns];
$pg->psql(join('', map { "UPDATE emailing_audit SET $columns[$_] =
    $columns{$columns[$_]} WHERE id = $rows[$_];" } 0 .. $#columns),
    db => 'columns');
my %changed = map { $_ => 1 } verify({db => 'columns'})->{out}
    =~ /^link \d+: row (\d+) was changed$/mg;
ok delete $changed{$rows[$_]}, "$columns[$_] changed: found"
    for 0 .. $#columns;
is_deeply \%changed, {}, 'and no other row';
tampered('a row removed', "DELETE FROM emailing_audit WHERE id = $row",
    qr/^link $link: row $row is missing$/m);
tampered('a row added', "INSERT INTO emailing_audit (object, operation, id_user,
    name) VALUES ('user', 'delete', 1, 'a')", qr/^row \d+ is in no link$/m);
tampered('two rows swapped', "ALTER TABLE emailing_audit
        ALTER id DROP IDENTITY;
    UPDATE emailing_audit SET id = -id
        WHERE id IN ($row, $next);
    UPDATE emailing_audit SET id = $row + $next + id WHERE id < 0",
    qr/^link $link: row $row was changed\nlink \d+: row $next was changed$/m);
tampered('a row and its link removed', "DELETE FROM emailing_audit
        WHERE id = $row; DELETE FROM emailing_audit_chain
        WHERE number = $link", qr/^link $link is missing$/m);
tampered('several links removed', "DELETE FROM emailing_audit_chain
    WHERE number BETWEEN $link AND $link + 2",
    qr/^links $link to ${\ ($link + 2)} are missing$/m);
tampered('two links swapped', "UPDATE emailing_audit_chain
        SET number = -number WHERE number IN ($link, $link + 1);
    UPDATE emailing_audit_chain SET number = 2 * $link + 1 + number
        WHERE number IN (-$link, -$link - 1)",
    qr/^link $link \(rows \d+ to \d+\) does not follow from the one before/m);
tampered('a row and its hash changed', "UPDATE emailing_audit
        SET name = 'x' WHERE id = $row;
    UPDATE emailing_audit_chain c SET digests =
        ARRAY[emailing_audit_digest(a)] FROM emailing_audit a
        WHERE a.id = $row AND c.number = $link",
    qr/^link $link \(rows $row to $row\) does not follow from the one/m);
tampered('the time of a link changed', "UPDATE emailing_audit_chain
    SET at = at - interval '1 h' WHERE number = $link", qr/^link $link .*not follow/m);
for my $column (qw(first last)) {
    tampered("$column changed", "UPDATE emailing_audit_chain
        SET $column = $column + 1 WHERE number = $link",
        qr/^link $link .*not follow/m);
}
tampered('the beginning moved', "UPDATE emailing_audit_chain
    SET at = at + interval '1 us' WHERE first IS NULL", qr/^the baseline is another/m);
my $tail = "DELETE FROM emailing_audit a USING emailing_audit_chain c
        WHERE c.number >= $number - 1 AND c.xact = a.xact;
    DELETE FROM emailing_audit_chain WHERE number >= $number - 1;";
tampered('the end removed', $tail, qr/^the chain ends with link ${\
    ($number - 2)}, and was written up to link $number$/m);
my $hidden = "UPDATE emailing_changes e SET link = c.number, head = c.hash
    FROM (SELECT number, hash FROM emailing_audit_chain
           ORDER BY number DESC LIMIT 1) c;";
tampered('the end removed, the tables not', "$tail$hidden",
    qr/^domain d1.com: the audit does not have it$/m);
# The tables with it: without a head that was noted nothing would show it.
my $consistent = "$tail$hidden ALTER TABLE emailing_domains DISABLE TRIGGER ALL;
    DELETE FROM emailing_domains;
    ALTER TABLE emailing_users DISABLE TRIGGER ALL;
    UPDATE emailing_users SET enabled = true WHERE name = 'f';";
$pg->psql('CREATE DATABASE fooled TEMPLATE mail', db => 'postgres');
$pg->psql($consistent, db => 'fooled');
is verify({db => 'fooled'})->{status}, 0, 'an end removed with all traces';
tampered('is found by a head that was noted', $consistent,
    qr/^link $number was noted and is missing: the end was removed$/m,
    '--head', $head);
# The owner writes the chain anew, from the row that he changed on.
my $anew = "UPDATE emailing_audit SET db_user = 'eve' WHERE id = $row;
    DO \$\$ DECLARE c record; before bytea; BEGIN
    FOR c IN SELECT * FROM emailing_audit_chain ORDER BY number LOOP
        IF c.number >= $link THEN
            UPDATE emailing_audit_chain l SET digests = ARRAY(
                SELECT emailing_audit_digest(a) FROM unnest(l.ids)
                    WITH ORDINALITY r (id, i)
                  JOIN emailing_audit a ON a.id = r.id ORDER BY r.i)
                WHERE l.number = c.number;
            UPDATE emailing_audit_chain l SET hash = emailing_audit_link(
                before, l.number, l.at, l.xact, l.digests)
                WHERE l.number = c.number RETURNING l.hash INTO c.hash;
        END IF;
        before := c.hash;
    END LOOP; END \$\$; $hidden";
tampered('a chain written anew', $anew,
    qr/^link $number was noted with another hash: it was written anew$/m,
    '--head', $head);
# Functions of the owner's have no say.
tampered('the digest replaced', "UPDATE emailing_audit SET db_user = 'eve'
        WHERE id = $row;
    CREATE OR REPLACE FUNCTION emailing_audit_digest(a emailing_audit)
        RETURNS bytea LANGUAGE sql AS 'SELECT ''x''::bytea';
    CREATE FUNCTION public.sha256(bytea) RETURNS bytea LANGUAGE sql
        AS 'SELECT ''x''::bytea';
    ALTER DATABASE tampered" . ($n + 1)
    . ' SET search_path = public, pg_catalog',
    qr/^link $link: row $row was changed$/m);
# What was changed past the triggers.
tampered('triggers switched off', "ALTER TABLE emailing_users
        DISABLE TRIGGER ALL; ALTER TABLE emailing_domains DISABLE TRIGGER ALL;
    UPDATE emailing_users SET enabled = true WHERE name = 'a';
    DELETE FROM emailing_users WHERE name = 'b';
    INSERT INTO emailing_domains (domain) VALUES ('new.com')",
    qr/^domain\ new\.com:\ the\ audit\ does\ not\ have\ it\n
    user\ a:\ the\ tables\ and\ the\ audit\ differ\n
    user\ b:\ the\ tables\ do\ not\ have\ it$/mx);
tampered('a grant past the triggers', 'ALTER TABLE emailing_users_domains
        DISABLE TRIGGER ALL; INSERT INTO emailing_users_domains
        SELECT u.id, d.id FROM emailing_users u, emailing_domains d LIMIT 1',
    qr/^user_domain of user \d+ and domain \d+: the audit does not have it$/m);
# The baseline is as good as the rest.
is $pg->psql('SELECT emailing_audit_prune(clock_timestamp()) IS NOT NULL',
    may_fail => 1)->{err} =~ /not come yet/ ? 1 : 0, 1, 'not before now()';
$pg->psql('SELECT emailing_audit_prune(now())');
$head = intact('pruned');
$row = $pg->psql("SELECT id FROM emailing_audit WHERE operation = 'baseline'
    AND name = 'c'");
tampered('a row of the baseline changed', "UPDATE emailing_audit
    SET enabled = true WHERE id = $row", qr/: row $row was changed$/m);
tampered('a row of the baseline removed', "DELETE FROM emailing_audit
    WHERE id = $row", qr/: row $row is missing$/m);
tampered('the baseline removed', "DELETE FROM emailing_audit
    WHERE operation = 'baseline'; DELETE FROM emailing_audit_chain
    WHERE number < (SELECT number FROM emailing_audit_chain
        WHERE first IS NULL)", qr/^the baseline is another/m);
tampered('everything removed', 'TRUNCATE emailing_audit,
    emailing_audit_chain', qr/^the chain ends with link -, /m,
    '--head', $head);

done_testing;
