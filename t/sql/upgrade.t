#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# The tables of secure_emailing, brought up to date in place or refused.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";
use EmailingPg;
use Test::More;

my $pg = EmailingPg->new(encoding => 'UTF8', locale => 'C.UTF-8');
my $demo_md5 = 'fe01ce2a7fbac8fafaed7c982a04e229';
my $n = 0;

# A database as the program before left it; its name.
sub original {
    my ($more) = @_;
    my $name = 'original' . ++$n;
    $pg->database($name);
    $pg->psql(<<"END", db => $name, user => 'owner');
CREATE TABLE emailing_users (id numeric(10), name varchar(200),
    passwd varchar(200), PRIMARY KEY (id), CONSTRAINT ck_name UNIQUE (name),
    CONSTRAINT auto_id_notnull CHECK (id IS NOT NULL),
    CONSTRAINT auto_name_notnull CHECK (name IS NOT NULL),
    CONSTRAINT auto_passwd_notnull CHECK (passwd IS NOT NULL));
CREATE TABLE emailing_addresses (id numeric(10), address varchar(200),
    PRIMARY KEY (id), CONSTRAINT ck_address UNIQUE (address),
    CONSTRAINT auto_address_notnull CHECK (address IS NOT NULL));
CREATE TABLE emailing_domains (id numeric(10), domain varchar(200),
    PRIMARY KEY (id), CONSTRAINT ck_domain UNIQUE (domain),
    CONSTRAINT auto_domain_notnull CHECK (domain IS NOT NULL));
CREATE TABLE emailing_users_addresses (
    id_user numeric(10) REFERENCES emailing_users (id),
    id_address numeric(10), PRIMARY KEY (id_user, id_address),
    CONSTRAINT odd_name FOREIGN KEY (id_address)
        REFERENCES emailing_addresses (id));
CREATE TABLE emailing_users_domains (
    id_user numeric(10) REFERENCES emailing_users (id),
    id_domain numeric(10) REFERENCES emailing_domains (id),
    PRIMARY KEY (id_user, id_domain));
INSERT INTO emailing_users VALUES (1, 'demo', '$demo_md5');
INSERT INTO emailing_addresses VALUES (1, 'demo\@test.com');
INSERT INTO emailing_domains VALUES (1, 'demo.com');
INSERT INTO emailing_users_addresses VALUES (1, 1);
INSERT INTO emailing_users_domains VALUES (1, 1);
$more;
END
    return $name;
}

sub shape {
    my ($db) = @_;
    return join "\n", map { $pg->psql($_, db => $db) } (
        q{SELECT table_name, column_name, data_type, is_nullable,
            column_default, is_identity, collation_name
            FROM information_schema.columns WHERE table_name LIKE 'emailing%'
            ORDER BY 1, ordinal_position},
        q{SELECT conrelid::regclass, conname, pg_get_constraintdef(oid)
            FROM pg_constraint WHERE conrelid::regclass::text
            LIKE 'emailing%' AND contype <> 't' ORDER BY 1, 3, 2},
        q{SELECT indexdef FROM pg_indexes WHERE tablename LIKE 'emailing%'
            ORDER BY 1},
        q{SELECT tgrelid::regclass, tgname, tgenabled FROM pg_trigger
            WHERE NOT tgisinternal ORDER BY 1, 2});
}

my $db = original('');
my $r = $pg->mailadmin({db => $db}, qw(schema status));
like $r->{out}, qr/^schema version: 1 \(secure_emailing\)$/m, 'status';
$r = $pg->mailadmin({db => $db}, qw(schema init));
is $r->{status}, 73, 'init refuses';
like $r->{err}, qr/schema upgrade/, 'and names the upgrade';
$r = $pg->mailadmin({db => $db}, qw(show user demo));
is $r->{status}, 78, 'other commands need the upgrade';
like $r->{err}, qr/schema status/, 'and say so';
$r = $pg->mailadmin({db => $db}, qw(schema upgrade));
is_deeply [@$r{qw(status out err)}], [0, '', ''], 'upgrade';
$pg->database('fresh');
is $pg->mailadmin({db => 'fresh'}, qw(schema init))->{status}, 0, 'init';
is shape($db), shape('fresh'), 'the same shape as from nothing';
is $pg->psql('SELECT name, passwd, enabled FROM emailing_users', db => $db),
    "demo|$demo_md5|t", 'rows are kept';
is $pg->mailadmin({db => $db}, qw(show user demo))->{out}, <<'END', 'grants';
--- Show demo ---
  Domains:
    * demo.com
  Adress:
    * demo@test.com
END
is $pg->mailadmin({db => $db, stdin => "x\n"}, qw(add user new))->{status}, 0,
    'ids go on';
is $pg->psql("SELECT id FROM emailing_users WHERE name = 'new'", db => $db),
    2, 'after the last one';
is $pg->mailadmin({db => $db}, qw(schema upgrade))->{status}, 0, 'again';
is $pg->psql("SELECT count(*) FROM emailing_audit
    WHERE object = 'schema'
      AND version = (SELECT max(version) FROM emailing_schema)", db => $db),
    1, 'audited, once';

# Any MD5 still there is replaced once, and only by something better.
sub upgrade_secret {
    my ($name, $old, $new) = @_;
    return $pg->psql("SELECT emailing_upgrade_secret('$name', '$old', '$new')",
        db => $db, user => 'emailing_policyd');
}
is upgrade_secret('demo', 'a' x 32, '$y$new'), 'f', 'not another one';
is upgrade_secret('demo', $demo_md5, 'b' x 32), 'f', 'not to an MD5';
is upgrade_secret('demo', $demo_md5, 'plain'), 'f', 'not to nonsense';
is upgrade_secret('demo', $demo_md5, ''), 'f', 'not to nothing';
is $pg->psql("SELECT emailing_upgrade_secret('demo', '$demo_md5', NULL)",
    db => $db), 'f', 'nor to null';
is upgrade_secret('demo', $demo_md5, '$y$new'), 't', 'to a crypt form';
is upgrade_secret('demo', $demo_md5, '$y$newer'), 'f', 'only once';
is $pg->psql("SELECT passwd FROM emailing_users WHERE name = 'demo'",
    db => $db), '$y$new', 'stored';
is $pg->psql("SELECT db_user, secret_changed FROM emailing_audit
    ORDER BY id DESC LIMIT 1", db => $db), 'emailing_policyd|t', 'audited';

# What needs no more than its normal form.
$db = original(<<'END');
INSERT INTO emailing_users VALUES (7, 'Test.User', 'x');
INSERT INTO emailing_addresses VALUES (5, 'Info@Example.COM.'),
    (6, 'back\slash@example.com'), (8, 'a@Bücher.example');
INSERT INTO emailing_domains VALUES (3, 'Example.COM.'), (9, 'bücher.example');
INSERT INTO emailing_users_addresses VALUES (7, 5)
END
$r = $pg->mailadmin({db => $db}, qw(schema upgrade));
is_deeply [@$r{qw(status err)}], [0, ''], 'normalising';
is $pg->psql('SELECT name FROM emailing_users ORDER BY id', db => $db),
    "demo\ntest.user", 'names';
is $pg->psql('SELECT address FROM emailing_addresses ORDER BY id',
    db => $db), "demo\@test.com\ninfo\@example.com\nback\\slash\@example.com\n"
    . 'a@xn--bcher-kva.example', 'addresses';
is $pg->psql('SELECT domain FROM emailing_domains ORDER BY id', db => $db),
    "demo.com\nexample.com\nxn--bcher-kva.example", 'domains';
is $pg->mailadmin({db => $db}, qw(check test.user info@example.com))->{out},
    "permitted: address info\@example.com\n", 'its grant is kept';

# What stops it: all of it is listed, and nothing is changed.
sub refused {
    my ($name, $sql, @expected) = @_;
    my $bad = original($sql);
    my $was = shape($bad);
    my $rows = $pg->psql('SELECT * FROM emailing_users ORDER BY id',
        db => $bad);
    my $result = $pg->mailadmin({db => $bad}, qw(schema upgrade));
    is $result->{status}, 65, $name;
    like $result->{err}, $_, $name for @expected,
        qr/: nothing was changed\n\z/;
    unlike $result->{err}, qr/[^\x20-\x7e\n]/, 'printable';
    is shape($bad), $was, 'the tables are as they were';
    is $pg->psql('SELECT * FROM emailing_users ORDER BY id', db => $bad),
        $rows, 'the rows are';
}
refused('collisions', <<'END', qr/user 'demo': .*DEMO, demo/,
INSERT INTO emailing_users VALUES (2, 'DEMO', 'x');
INSERT INTO emailing_domains VALUES (2, 'a.com'), (3, 'A.com.'), (4, 'a.COM')
END
    qr/domain 'a.com': .*a\.com/, qr/^mailadmin: 2 rows to correct/m);
refused('bad forms', <<'END', qr/user 'a b': a name is/,
INSERT INTO emailing_users VALUES (2, 'a b', 'x'), (3, E'e\x1bvil', 'x');
INSERT INTO emailing_addresses VALUES (2, 'notanaddress'), (3, '@at.com');
INSERT INTO emailing_domains VALUES (2, '*.wild.com')
END
    qr/user 'e\\x1bvil': /, qr/address 'notanaddress': no '\@'/,
    qr/address '\@at.com': /, qr/domain '\*\.wild\.com': /,
    qr/^mailadmin: 5 rows to correct/m);
refused('views', 'CREATE VIEW mine AS SELECT name FROM emailing_users',
    qr/view 'mine': depends on a table/);
$db = original('DROP TABLE emailing_users_domains');
$r = $pg->mailadmin({db => $db}, qw(schema upgrade));
is $r->{status}, 65, 'tables missing';
like $r->{err}, qr/4 of the five tables/, 'says so';

# 100,000 rows, and two upgrades at once.
$db = original(<<'END');
INSERT INTO emailing_users SELECT i, 'User' || i, md5(i::text)
    FROM generate_series(2, 100000) i;
INSERT INTO emailing_domains SELECT i, 'd' || i || '.com'
    FROM generate_series(2, 1000) i;
INSERT INTO emailing_users_domains SELECT i, i % 1000 + 1
    FROM generate_series(2, 100000) i
END
my @pids = map {
    my $pid = fork // die $!;
    exit $pg->mailadmin({db => $db}, qw(schema upgrade))->{status}
        if $pid == 0;
    $pid;
} 1 .. 2;
waitpid($_, 0), is $?, 0, 'one of two upgrades at once' for @pids;
is $pg->psql("SELECT count(*), count(*) FILTER (WHERE name ~ '^user')
    FROM emailing_users", db => $db), '100000|99999', '100,000 users';
is $pg->psql('SELECT count(*) FROM emailing_users_domains', db => $db),
    100_000, 'their grants';
is $pg->psql('SELECT max(version) - count(*) FROM emailing_schema',
    db => $db), 1, 'once';

# A later version is left alone.
$pg->psql('INSERT INTO emailing_schema VALUES (99)', db => $db);
$r = $pg->mailadmin({db => $db}, qw(schema upgrade));
is $r->{status}, 78, 'a version from the future';
like $r->{err}, qr/newer mailadmin/, 'says so';

# A server set up without an encoding.
my $ascii = EmailingPg->new(encoding => 'SQL_ASCII');
is $ascii->mailadmin(qw(schema init))->{status}, 0, 'SQL_ASCII';
is $ascii->mailadmin(qw(add address), "\x{c3}\x{bc}\@b.c")->{status}, 0,
    'a UTF-8 local part';
isnt $ascii->psql("INSERT INTO emailing_addresses (address)
    VALUES ('a\x{c2}\x{85}\@b.c')", may_fail => 1)->{status}, 0,
    'a C1 control character is refused';

done_testing;
