#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# Audit, counter and notifications, whoever changes what and how.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";
use EmailingPg;
use Test::More;

my $pg = EmailingPg->new;
is $pg->mailadmin(qw(schema init))->{status}, 0, 'schema init';

# Runs SQL on a listening connection. Returns by how much the counter went up,
# what was notified, sorted, without the counter, and the new audit rows.
sub effect {
    my ($sql, %options) = @_;
    my $before = $pg->psql('SELECT emailing_counter()');
    my $last = $pg->psql('SELECT coalesce(max(id), 0) FROM emailing_audit');
    my $out = $pg->psql("LISTEN emailing;\n$sql;\nSELECT 'done';\n");
    my $after = $pg->psql('SELECT emailing_counter()');
    my @names;
    while ($out =~ /notification "emailing" with payload "(\d+) ([^"]*)"/g) {
        push @names, $2;
        is $1, $after, "notified with the counter: $2";
    }
    my $rows = $pg->psql("SELECT object, operation, coalesce(name, ''),
        coalesce(address, domain, '') FROM emailing_audit WHERE id > $last
        ORDER BY id");
    return ($after - $before, join(' ', sort @names),
        join ' ', split /\n/, $rows);
}

sub effect_is {
    my ($sql, @expected) = @_;
    my $name = pop @expected;
    is_deeply [effect($sql)], \@expected, $name;
}

effect_is "INSERT INTO emailing_users (name, passwd) VALUES ('a','x'),('b','x')",
    1, 'a b', 'user|insert|a| user|insert|b|', 'two users, one statement';
effect_is "INSERT INTO emailing_addresses (address) VALUES ('x\@a.com');
    INSERT INTO emailing_domains (domain) VALUES ('a.com')",
    0, '', 'address|insert||x@a.com domain|insert||a.com',
    'what nobody has concerns nobody, but is audited';
effect_is "INSERT INTO emailing_users_addresses VALUES (1, 1)",
    1, 'a', 'user_address|insert|a|x@a.com', 'a grant';
effect_is "BEGIN; INSERT INTO emailing_users_domains VALUES (1, 1);
    INSERT INTO emailing_users_domains VALUES (2, 1);
    UPDATE emailing_users SET enabled = false WHERE name = 'b'; COMMIT",
    1, 'a b', 'user_domain|insert|a|a.com user_domain|insert|b|a.com '
    . 'user|update|b|', 'several statements bump once';
effect_is "UPDATE emailing_users SET enabled = false WHERE name = 'b'",
    0, '', '', 'an update that changes nothing';
effect_is "BEGIN; SAVEPOINT s; UPDATE emailing_users SET enabled = true;
    ROLLBACK TO s; COMMIT", 0, '', '', 'rolled back to a savepoint';
effect_is "BEGIN; SAVEPOINT s; SET CONSTRAINTS ALL IMMEDIATE;
    UPDATE emailing_users SET enabled = true WHERE name = 'b'; ROLLBACK TO s;
    UPDATE emailing_users SET enabled = true WHERE name = 'b'; COMMIT",
    1, 'b', 'user|update|b|', 'bumped again after a rollback of the bump';
effect_is "BEGIN; UPDATE emailing_users SET enabled = false; ROLLBACK",
    0, '', '', 'rolled back';
effect_is "UPDATE emailing_users_domains SET subdomains = true
    WHERE id_user = 1", 1, 'a', 'user_domain|update|a|a.com', 'a changed grant';
effect_is "UPDATE emailing_users SET name = 'c' WHERE name = 'b'",
    1, 'b c', 'user|update|c|', 'a rename concerns both names';
effect_is "UPDATE emailing_addresses SET address = 'y\@a.com'",
    1, 'a', 'address|update||y@a.com', 'an address renamed concerns its users';
effect_is "DELETE FROM emailing_domains", 1, 'a c',
    'domain|delete||a.com user_domain|delete|a| user_domain|delete|c|',
    'a deletion that cascades';
effect_is "SET session_replication_role = replica;
    UPDATE emailing_users SET passwd = 'z' WHERE name = 'a'",
    1, 'a', 'user|update|a|', 'with triggers disabled for replication';
effect_is "DELETE FROM emailing_users WHERE name = 'a'", 1, 'a',
    'user|delete|a| user_address|delete||y@a.com', 'a user deleted';

my ($bump, $names) = effect("INSERT INTO emailing_users (name, passwd)
    SELECT 'u' || i, 'x' FROM generate_series(1, 100) i");
is $bump, 1, '100 users';
is scalar(split / /, $names), 100, 'all are named';
($bump, $names) = effect("UPDATE emailing_users SET enabled = false");
is_deeply [$bump, $names], [1, '*'], 'more than 100 are everybody';
my $before = $pg->psql('SELECT count(*) FROM emailing_users');
($bump, $names, my $rows) = effect('TRUNCATE emailing_users CASCADE');
is_deeply [$bump, $names], [1, '*'], 'TRUNCATE';
is scalar(() = $rows =~ /user\|delete\|/g), $before,
    'the audit has what was truncated';
like $rows, qr/user\|truncate\|\|/, 'and that it was';

# Who did it.
$pg->psql("SET emailing.os_user = E'eve\\nroot';
    INSERT INTO emailing_users (name, passwd) VALUES ('d', 'verysecret')");
is $pg->psql("SELECT db_user, os_user, secret_changed FROM emailing_audit
    ORDER BY id DESC LIMIT 1"), 'postgres|eve?root|t', 'who, claimed and real';
$pg->mailadmin({user => 'emailing_mailadmin'}, qw(disable user d));
is $pg->psql("SELECT db_user, os_user, operation, enabled, was_enabled
    FROM emailing_audit ORDER BY id DESC LIMIT 1"),
    'emailing_mailadmin|' . getpwuid($>) . '|update|f|t', 'mailadmin likewise';
is $pg->psql("SELECT count(*) FROM emailing_audit a
    WHERE a::text LIKE '%verysecret%'"), 0, 'no secret in the audit';
ok $pg->psql("SELECT changed > created FROM emailing_users
    WHERE name = 'd'") eq 't', 'time of the last change';

# The one row of the counter stays the one.
for my $sql ("INSERT INTO emailing_changes (counter) VALUES (1)",
    "INSERT INTO emailing_changes (one, counter) VALUES (false, 1)",
    "INSERT INTO emailing_mock (key) VALUES ('x')") {
    isnt $pg->psql($sql, may_fail => 1)->{status}, 0, "not: $sql";
}
is $pg->psql('SELECT octet_length(emailing_mock_key())'), 32, 'a key';

# A disabled trigger is mended by an upgrade.
$pg->psql('ALTER TABLE emailing_users DISABLE TRIGGER ALL');
is $pg->mailadmin(qw(schema upgrade))->{status}, 0, 'schema upgrade';
($bump) = effect("UPDATE emailing_users SET enabled = true");
is $bump, 1, 'enabled again';

# Names, addresses and domains that are none.
my @bad = (
    map({ ['emailing_users', 'name', $_] } '', 'A', 'a b', "a\n", "'",
        'x' x 129, "\x{c3}\x{a4}"),
    map({ ['emailing_addresses', 'address', $_] } '', 'a', '@b', 'a@', 'A@b',
        "a\n\@b", 'a@b.', 'a@b..c', 'a@b c', "a\x{c2}\x{85}\@b",
        'a@' . ('b' x 64), 'a@' . ('b.' x 127) . 'c', "a\x{7f}\@b",
        ('a' x 250) . '@b.cd', 'a@[1-2]'),
    map({ ['emailing_domains', 'domain', $_] } '', 'A.b', '.', 'a.', '.a',
        'a..b', 'a b', "a\n", '*.a', 'a@b', 'b' x 64, "b\x{c3}\x{bc}.de"),
);
for my $bad (@bad) {
    my ($table, $column, $value) = @$bad;
    (my $quoted = $value) =~ s/'/''/g;
    like $pg->psql("INSERT INTO $table ($column) VALUES ('$quoted')",
        may_fail => 1)->{err}, qr/violates check constraint/,
        "$column '" . ($value =~ s/[^!-~]/?/gr) . "'";
}
for my $good (['emailing_users', 'name', 'a.b_c+d@e-1'],
    ['emailing_addresses', 'address', 'a@b@c.d'],
    ['emailing_addresses', 'address', '"a b"@[127.0.0.1]'],
    ['emailing_addresses', 'address', "\x{c3}\x{a4}\\302\\205\@b.c"],
    ['emailing_domains', 'domain', 'xn--bcher-kva.example_1.com']) {
    my ($table, $column, $value) = @$good;
    is $pg->psql("INSERT INTO $table ($column) VALUES ('$value')",
        may_fail => 1)->{status}, 0, "good $column";
}

done_testing;
