#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# What policyd reads, against what the tables hold.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";
use EmailingPg;
use Test::More;

my $pg = EmailingPg->new;
is $pg->mailadmin(qw(schema init))->{status}, 0, 'schema init';
$pg->psql(<<'END');
INSERT INTO emailing_users (name, passwd, enabled, old_passwd, old_until)
    VALUES ('a', 'secret', true, 'older', 'epoch'::timestamptz + '99.5 s'),
    ('b', NULL, false, NULL, NULL), ('z', '', true, NULL, NULL);
INSERT INTO emailing_addresses (address) VALUES ('x@a.com'), ('b@a.com');
INSERT INTO emailing_domains (domain)
    VALUES ('a.com'), ('sub.b.com'), ('b.com'), ('com');
INSERT INTO emailing_users_addresses
    VALUES (1, 1, 'epoch'::timestamptz + '1000000000.9 s'), (1, 2, NULL);
INSERT INTO emailing_users_domains
    VALUES (1, 1, false), (1, 2, false), (1, 3, true), (1, 4, false);
INSERT INTO emailing_users (name, passwd)
    SELECT 'u' || i, 'x' FROM generate_series(1, 500) i;
INSERT INTO emailing_users (name, passwd) VALUES ('limit', 'x'), ('over', 'x');
INSERT INTO emailing_addresses (address)
    SELECT 'n' || i || '@n.com' FROM generate_series(1, 10001) i;
INSERT INTO emailing_users_addresses SELECT u.id, a.id
    FROM emailing_users u, emailing_addresses a WHERE address LIKE 'n%'
    AND (u.name = 'over' OR u.name = 'limit' AND address <> 'n1@n.com');
END
sub ask {
    my ($sql, %options) = @_;
    my $out = $pg->psql($sql, user => 'emailing_policyd', %options);
    return $out =~ s/\n/,/gr;
}
my $columns = 'id, enabled, passwd, old_passwd, old_until, heavy, '
    . q{(SELECT string_agg(line, E'\n' ORDER BY line)
           FROM regexp_split_to_table(grants, E'\n') line)};
my $counter = ask('SELECT emailing_counter()');
is ask("SELECT counter FROM emailing_lookup('a')"), $counter, 'the counter';
is ask("SELECT $columns FROM emailing_lookup('a')"),
    '1|t|secret|older|99|f|a - b@a.com,a 1000000000 x@a.com,d - a.com,'
    . 'd - com,d - sub.b.com,s - b.com', 'a user';
is ask("SELECT $columns FROM emailing_lookup('b')"), '2|f||||f|',
    'without grants or secret';
is ask("SELECT count(*), min(counter), count(id)
    FROM emailing_lookup('A')"), "1|$counter|0", 'names as they come';
is ask("SELECT heavy, grants IS NULL FROM emailing_lookup('over')"), 't|t',
    'more than 10,000 grants';
is ask("SELECT heavy, length(grants) > 100000
    FROM emailing_lookup('limit')"), 'f|t', '10,000 are not too many';

sub sender {
    my ($name, $address, $stripped, $domain) = @_;
    my @values = map { defined ? "'$_'" : 'NULL' } @_;
    local $" = ', ';
    return ask("SELECT heavy, grants FROM emailing_lookup_sender(@values)");
}
is sender('a', 'x@a.com', undef, 'a.com'),
    't|a 1000000000 x@a.com,d - a.com', 'address and domain';
is sender('a', 'b+x@a.com', 'b@a.com', 'a.com'), 't|a - b@a.com,d - a.com',
    'without its extension';
is sender('a', 'q@sub.b.com', undef, 'sub.b.com'),
    't|d - sub.b.com,s - b.com', 'a parent with subdomains';
is sender('a', 'q@b.com', undef, 'b.com'), 't|s - b.com', 'its own';
is sender('a', 'q@x.sub.b.com', undef, 'x.sub.b.com'), 't|s - b.com',
    'no parent without subdomains';
is sender('a', 'q@evilb.com', undef, 'evilb.com'), 't|', 'no look-alike';
is sender('b', 'x@a.com', undef, 'a.com'), 't|', 'another user';
is sender('over', 'n9999@n.com', 'n9999@n.com', 'n.com'),
    't|a - n9999@n.com', 'among many';
is ask("SELECT count(*), count(id) FROM emailing_lookup_sender('nobody',
    'x\@a.com', NULL, 'a.com')"), '1|0', 'nobody';
is sender('a', undef, undef, undef), 't|', 'no sender';

# Loading gives what looking up gives, each user once, in order.
is ask("SELECT count(*) FROM emailing_load(NULL, 100000)"), 505, 'all';
is ask("SELECT count(*) FROM emailing_load(NULL, 7)"), 7, 'some';
is ask("SELECT count(*) FROM emailing_load(NULL, -1)"), 0, 'none';
is ask("SELECT string_agg(name, ' ') FROM emailing_load('u98', 3)"),
    'u99 z', 'after a name';
sub sorted { # the grants come in any order
    return "(SELECT array_agg(line ORDER BY line)
               FROM regexp_split_to_table($_[0], '\n') line)";
}
my ($loaded, $looked_up) = map { sorted("$_.grants") } qw(l o);
is ask("SELECT count(*) FROM emailing_load('a', 1000) l
    CROSS JOIN LATERAL emailing_lookup(l.name) o
    WHERE (l.counter, l.id, l.enabled, l.passwd, l.heavy, $loaded)
    IS NOT DISTINCT FROM (o.counter, o.id, o.enabled, o.passwd, o.heavy,
    $looked_up)"), 504, 'as looked up';

# A change in one transaction is seen whole, with its counter.
is $pg->psql("BEGIN; INSERT INTO emailing_users_domains VALUES (2, 1);
    SELECT counter - $counter, grants FROM emailing_lookup('b'); COMMIT;
    SELECT counter - $counter, grants FROM emailing_lookup('b')"),
    "0|d - a.com\n1|d - a.com", 'the counter is bumped with the commit';

is length ask('SELECT emailing_mock_key()'), 66, 'the key';
$pg->database('other');
is $pg->mailadmin({db => 'other'}, qw(schema init))->{status}, 0, 'another';
isnt ask('SELECT emailing_mock_key()'),
    ask('SELECT emailing_mock_key()', db => 'other'),
    'is another in another database';

# A row that is held does not hold a login up.
my $pid = fork // die $!;
if ($pid == 0) {
    $pg->psql("BEGIN; UPDATE emailing_users SET passwd = passwd
        WHERE name = 'md5'; SELECT pg_sleep(30)", may_fail => 1)
        if $pg->psql("INSERT INTO emailing_users (name, passwd)
            VALUES ('md5', repeat('a', 32)) RETURNING true");
    exit 0;
}
select undef, undef, undef, 0.1 until $pg->psql("SELECT count(*)
    FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
my $r = $pg->psql("SELECT emailing_upgrade_secret('md5', repeat('a', 32),
    '\$y\$x')", user => 'emailing_policyd', may_fail => 1);
like $r->{err}, qr/lock timeout/, 'upgrade does not wait for a lock';
$pg->psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE wait_event = 'PgSleep'");
waitpid $pid, 0;

done_testing;
