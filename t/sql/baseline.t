#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# Databases that had rows before their audit was chained, or before they had
# one: what was at a moment is right from the beginning of the audit on.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";
use EmailingPg;
use Test::More;

my $pg = EmailingPg->new;

sub slurp {
    open my $file, '<', EmailingPg::source() . "/sql/$_[0]" or die $!;
    local $/;
    return scalar <$file>;
}

sub admin {
    my ($db, @words) = @_;
    return $pg->mailadmin({db => $db}, map { split / / } @words);
}

sub moment {
    my ($db) = @_;
    return $pg->psql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC',
        'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')", db => $db);
}

my $rows = <<'END';
INSERT INTO emailing_users VALUES (1, 'a', 'x'), (2, 'b', 'x'), (3, 'c', 'x'),
    (4, 'gone', 'x'), (5, 'still', 'x');
INSERT INTO emailing_addresses VALUES (1, 'a@x.com'), (2, 'b@x.com'),
    (3, 'c@x.com');
INSERT INTO emailing_domains VALUES (1, 'x.com'), (2, 'y.com');
INSERT INTO emailing_users_addresses VALUES (1, 1), (2, 2), (4, 3), (5, 1);
INSERT INTO emailing_users_domains VALUES (1, 1), (2, 1), (3, 2), (5, 2);
END

# What all users have, as show says it, without what stands in the heading.
sub everything {
    my ($db, @at) = @_;
    my $names = '';
    return join '', map {
        my $r = admin($db, "show user $_", @at);
        $r->{out} =~ s/ at \S+ ---/ ---/;
        $r->{status} ? "$_: $r->{status}\n" : $r->{out};
    } qw(a b c gone still renamed new);
}

sub intact {
    my ($db) = @_;
    my $r = admin($db, 'audit verify');
    is $r->{status}, 0, "$db: intact" or diag $r->{out};
}

# -- from the original ---------------------------------------------------------

$pg->database('original');
$pg->psql(slurp('001-original.sql') . $rows, db => 'original',
    user => 'owner');
my $early = moment('original');
is admin('original', 'schema upgrade')->{status}, 0, 'the original upgraded';
intact('original');
my $late = moment('original');
my $was = everything('original');
like $was, qr/^--- Show gone ---\n  Domains:\n  Adress:\n    \* c\@x\.com$/m,
    'its rows are there';
is everything('original', "--at $late"), $was, 'and were then';
is admin('original', "show user a --at $early")->{status}, 66,
    'the time before is not kept';
admin('original', $_) for 'del user gone', 'rename user b to renamed',
    'revoke address a@x.com from a';
is everything('original', "--at $late"), $was, 'after changes';
is admin('original', 'audit user renamed')->{out} =~ s/^\S+ .*?: //mgr,
    "baseline user b\nbaseline grant address b\@x.com to b\n"
    . "baseline grant domain x.com to b\nrename user b to renamed\n",
    'its history begins with the baseline';
intact('original');

# -- from version 2, whose audit had no chain ----------------------------------

$pg->database('second');
$pg->psql('BEGIN;' . slurp('001-original.sql') . $rows
    . slurp('002-permissions.sql') . slurp('functions.sql') . <<'END'
CREATE FUNCTION public.emailing_notify() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text;
BEGIN
    UPDATE public.emailing_changes c
       SET counter = c.counter + 1, xact = pg_current_xact_id()
     WHERE c.one AND c.xact IS DISTINCT FROM pg_current_xact_id();
    FOREACH name IN ARRAY new.notify LOOP
        PERFORM pg_notify('emailing', (SELECT c.counter
            FROM public.emailing_changes c) || ' ' || name);
    END LOOP;
    RETURN NULL;
END $$;
END
    . slurp('triggers.sql') . 'COMMIT;', db => 'second', user => 'owner');
is_deeply [split /\n/, admin('second', 'schema status')->{out}],
    ['schema version: 2', 'wanted: 4', 'role emailing_policyd: yes',
        'role emailing_mailadmin: yes'], 'version 2';

# What the tables hold, as everything() will say it: the program of today
# refuses none of these commands.
my @moments;
sub then_sql {
    my ($sql) = @_;
    $pg->psql($sql, db => 'second');
    push @moments, [moment('second'), everything('second')];
}
push @moments, [moment('second'), everything('second')];
then_sql("UPDATE emailing_users SET enabled = false WHERE name = 'a'");
then_sql("DELETE FROM emailing_users WHERE name = 'gone'");
then_sql("UPDATE emailing_users SET name = 'renamed' WHERE name = 'b';
    UPDATE emailing_domains SET domain = 'z.com' WHERE domain = 'y.com'");
then_sql("UPDATE emailing_users_domains SET subdomains = true,
    expires = '2100-01-01 UTC' WHERE id_domain = 1");
then_sql("DELETE FROM emailing_users_addresses WHERE id_user = 1;
    INSERT INTO emailing_users (name) VALUES ('new');
    INSERT INTO emailing_users_domains
        SELECT id, 2 FROM emailing_users WHERE name = 'new'");
then_sql("UPDATE emailing_users_domains SET id_domain = 2
    WHERE id_user = 1");
then_sql('TRUNCATE emailing_users_addresses');
then_sql("BEGIN; INSERT INTO emailing_users_addresses VALUES (2, 3);
    UPDATE emailing_users SET id = 44 WHERE name = 'gone'; ROLLBACK;
    DELETE FROM emailing_addresses");
# Two at once: the one that began first ended last.
my $pid = fork // die $!;
if ($pid == 0) {
    $pg->psql("BEGIN; DELETE FROM emailing_users_domains WHERE id_user = 3;
        SELECT pg_sleep(2); UPDATE emailing_users SET enabled = false
        WHERE id = 3; COMMIT", db => 'second');
    exit 0;
}
select undef, undef, undef, 0.05 until $pg->psql("SELECT count(*)
    FROM pg_stat_activity WHERE wait_event = 'PgSleep'", db => 'second');
then_sql("UPDATE emailing_users SET enabled = true WHERE name = 'a'");
waitpid $pid, 0;
push @moments, [moment('second'), everything('second')];

# From version 3, which came in between.
$pg->psql('CREATE DATABASE third TEMPLATE second', db => 'postgres');
$pg->psql('BEGIN;' . slurp('003-usage.sql') . slurp('usage.sql') . 'COMMIT;',
    db => 'third', user => 'owner');
is admin('third', 'schema upgrade')->{status}, 0, 'version 3 upgraded';
intact('third');
is everything('third', "--at $moments[3][0]") =~ s/^  Disabled\n//mgr,
    $moments[3][1], 'and what was before';

my $audit = $pg->psql('SELECT count(*) FROM emailing_audit', db => 'second');
my $r = admin('second', 'schema upgrade');
is_deeply [@$r{qw(status err)}], [0, ''], 'version 2 upgraded';
intact('second');
is $pg->psql("SELECT count(*) FROM emailing_audit
    WHERE operation NOT IN ('baseline', 'begin', 'upgrade')",
    db => 'second'), $audit, 'no row of the audit is lost';

# show of today says of a disabled user nothing, of then that he was.
for my $i (0 .. $#moments) {
    my ($at, $then) = @{ $moments[$i] };
    my $got = everything('second', "--at $at") =~ s/^  Disabled\n//mgr;
    is $got, $then, "what was after change $i";
}
like admin('second', "show user a --at $moments[1][0]")->{out},
    qr/^  Disabled$/m, 'a user disabled before the upgrade';
unlike admin('second', "show user a --at $moments[0][0]")->{out},
    qr/^  Disabled$/m, 'and enabled before that';
admin('second', "audit prune --before $moments[4][0]");
intact('second');
for my $i (4 .. $#moments) {
    my ($at, $then) = @{ $moments[$i] };
    is everything('second', "--at $at") =~ s/^  Disabled\n//mgr, $then,
        "what was after change $i, pruned";
}

# An upgrade of what is up to date leaves the chain as it is.
my $links = $pg->psql('SELECT max(number) FROM emailing_audit_chain',
    db => 'second');
is admin('second', 'schema upgrade')->{status}, 0, 'upgraded again';
is $pg->psql('SELECT max(number) FROM emailing_audit_chain', db => 'second'),
    $links, 'nothing is written';

done_testing;
