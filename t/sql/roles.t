#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# Every right of every role, each tried.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";
use EmailingPg;
use Test::More;

my $pg = EmailingPg->new;
is $pg->mailadmin(qw(schema init --demo))->{status}, 0, 'schema init';

my @permissions = qw(emailing_users emailing_addresses emailing_domains
    emailing_users_addresses emailing_users_domains);
my @usage = qw(emailing_usage emailing_observed emailing_used);
my $senders = 'emailing_observed_users';
my @other = (qw(emailing_audit emailing_changes emailing_mock
    emailing_schema), @usage, $senders);
my %functions = (
    emailing_lookup        => "'demo'",
    emailing_lookup_sender => "'demo', 'a\@demo.com', NULL, 'demo.com'",
    emailing_load          => 'NULL, 10',
    emailing_counter       => '',
    emailing_upgrade_secret =>
        "'demo', '0123456789abcdef0123456789abcdef', '\$y\$x'",
    emailing_mock_key => '',
    emailing_record_usage =>
        "E'1\\taddress\\t1\\t0\\t1\\t1\\t-\\t\\ta\@b.c'",
);
my @internal = ("emailing_notify_names('{a}')", 'emailing_os_user()',
    'emailing_sweep_usage(0)');

sub sql_ok {
    my ($user, $sql) = @_;
    my $r = $pg->psql($sql, user => $user, may_fail => 1);
    is $r->{status}, 0, "$user: $sql" or diag $r->{err};
}

sub sql_denied {
    my ($user, $sql) = @_;
    my $r = $pg->psql($sql, user => $user, may_fail => 1);
    like $r->{err}, qr/permission denied|must be owner/, "$user not: $sql";
}

for my $user (qw(stranger emailing_policyd)) {
    for my $table (@permissions, @other) {
        sql_denied($user, "SELECT * FROM $table");
        sql_denied($user, "DELETE FROM $table");
        sql_denied($user, "INSERT INTO $table DEFAULT VALUES");
        sql_denied($user, "TRUNCATE $table CASCADE");
    }
    sql_denied($user, "UPDATE emailing_users SET passwd = 'x'");
    sql_denied($user, "UPDATE emailing_users_domains SET subdomains = true");
    sql_denied($user, "SELECT $_") for @internal;
}
for my $function (sort keys %functions) {
    my $call = "SELECT * FROM public.$function($functions{$function})";
    sql_denied('stranger', $call);
    sql_ok('emailing_policyd', $call);
    my $may = $function =~ /lookup|counter/;
    $may ? sql_ok('emailing_mailadmin', $call)
        : sql_denied('emailing_mailadmin', $call);
}

my $user = 'emailing_mailadmin';
for my $table (@permissions) {
    sql_ok($user, "SELECT * FROM $table");
    sql_denied($user, "TRUNCATE $table CASCADE");
    sql_denied($user, "ALTER TABLE $table DISABLE TRIGGER ALL");
}
sql_ok($user, "INSERT INTO emailing_users (name, passwd) VALUES ('x', '*')");
sql_ok($user, "UPDATE emailing_users SET passwd = '!' WHERE name = 'x'");
sql_ok($user, "DELETE FROM emailing_users WHERE name = 'x'");
sql_ok($user, 'SELECT * FROM emailing_audit');
sql_denied($user, 'DELETE FROM emailing_audit');
sql_denied($user, 'UPDATE emailing_audit SET db_user = NULL');
sql_denied($user, "INSERT INTO emailing_audit (object, operation) "
    . "VALUES ('user', 'insert')");
for my $table (@usage) {
    sql_ok($user, "SELECT * FROM $table");
    sql_denied($user, "DELETE FROM $table");
    sql_denied($user, "INSERT INTO $table DEFAULT VALUES");
    sql_denied($user, "TRUNCATE $table");
}
sql_denied($user, "SELECT * FROM $senders");
sql_denied($user, "DELETE FROM $senders");
sql_denied($user, 'UPDATE emailing_usage SET since = now()');
sql_denied($user, 'UPDATE emailing_observed SET messages = 1');
sql_denied($user, 'UPDATE emailing_used SET last = now()');
sql_denied($user, "SELECT $_") for @internal;
sql_denied($user, 'UPDATE emailing_changes SET counter = 1');
sql_denied($user, 'SELECT * FROM emailing_mock');
sql_denied($user, 'DELETE FROM emailing_schema');

is $pg->psql(q{SELECT count(*) FROM pg_proc p, aclexplode(coalesce(p.proacl,
    acldefault('f', p.proowner))) a WHERE p.proname LIKE 'emailing%'
    AND a.grantee = 0}), 0, 'PUBLIC may call no function';
is $pg->psql(q{SELECT count(*) FROM pg_class c, aclexplode(c.relacl) a
    WHERE c.relname LIKE 'emailing%' AND a.grantee = 0}), 0,
    'PUBLIC has no table';
is $pg->psql(q{SELECT count(*) FROM pg_proc WHERE proname LIKE 'emailing%'
    AND prosecdef AND NOT coalesce(proconfig, '{}') @>
    '{"search_path=pg_catalog, pg_temp"}'}), 0,
    'a definer has a fixed search_path';
is $pg->psql(q{SELECT rolcanlogin, rolsuper, rolcreaterole, rolpassword IS NULL
    FROM pg_authid WHERE rolname LIKE 'emailing%' ORDER BY rolname}),
    "t|f|f|t\nt|f|f|t", 'roles without a password';

# A function of the same name does not come in between.
$pg->psql('GRANT CREATE ON SCHEMA public TO stranger');
$pg->psql(q{CREATE FUNCTION public.emailing_lookup(name varchar)
    RETURNS text LANGUAGE sql AS $$SELECT 'caught'$$}, user => 'stranger');
like $pg->psql(q{PREPARE q AS SELECT * FROM public.emailing_lookup($1);
    EXECUTE q('demo')}, user => 'emailing_policyd'), qr/demo\@test\.com/,
    'not caught by an overloaded function';

# An upgrade gives back what was taken away, and one without the right to make
# roles says what to do.
$pg->psql('REVOKE EXECUTE ON FUNCTION emailing_counter() '
    . 'FROM emailing_policyd; '
    . 'GRANT SELECT ON emailing_users TO emailing_policyd');
is $pg->mailadmin(qw(schema upgrade))->{status}, 0, 'schema upgrade';
sql_ok('emailing_policyd', 'SELECT emailing_counter()');
sql_denied('emailing_policyd', 'SELECT * FROM emailing_users');

my $new = EmailingPg->new;
$new->psql('ALTER ROLE owner NOCREATEROLE');
my $r = $new->mailadmin(qw(schema init));
is $r->{status}, 0, 'schema init without CREATEROLE';
like $r->{err}, qr{^mailadmin: .*superuser run .*/sql/roles\.sql},
    'says what to do';
is $new->psql(q{SELECT count(*) FROM pg_roles WHERE rolname LIKE 'emailing%'}),
    0, 'no roles yet';
like $new->mailadmin(qw(schema status))->{out},
    qr/^role emailing_policyd: missing$/m, 'status tells';
open my $file, '<', EmailingPg::source() . '/sql/roles.sql' or die $!;
my $roles = do { local $/; <$file> };
$new->psql($roles) for 1 .. 2;
is $new->psql('SELECT emailing_counter()', user => 'emailing_policyd'), 1,
    'roles.sql by hand, twice';

done_testing;
