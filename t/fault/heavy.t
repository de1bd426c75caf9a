#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# A user with 100,000 grants is asked about sender by sender, and obeys changes
# as others do; one with 10,000 of the longest is not. The case P23.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;
use Time::HiRes qw(time);

use Emailing qw(within);
use Emailing::Case qw(case);
use Emailing::Daemon::Database ();
use Emailing::Socket ();

case 'P23';
my $db = Emailing::Daemon::Database->new;
my $proxy = $db->proxy;
my $d = $db->policyd(proxy => $proxy);
ok $d->ready, 'changes are followed';
my $name = 'h' x 128;
$db->user($name);
$db->sql(qq{
    INSERT INTO emailing_addresses (address)
    SELECT 'a' || i || '\@d' || i % 100 || '.example'
      FROM generate_series(1, 99990) i;
    INSERT INTO emailing_users_addresses (id_user, id_address)
    SELECT u.id, a.id FROM emailing_users u, emailing_addresses a
     WHERE u.name = '$name';
});
$db->user($name, map { "granted$_.example" } 1 .. 10);
$db->sql(q{UPDATE emailing_users_domains SET subdomains = true WHERE id_domain
    = (SELECT id FROM emailing_domains WHERE domain = 'granted2.example')});
$db->sql('ANALYZE');

sub queries { return $d->metric('database_query_duration_seconds_count') }
sub is_permitted {
    my ($sender, $what) = @_;
    is $d->decide($name, $sender), 'DUNNO', "permitted: $what";
    return;
}
sub is_refused {
    my ($sender, $what) = @_;
    like $d->decide($name, $sender), qr/^553 5\.7\.1 not granted/,
        "refused: $what";
    return;
}

is_permitted('a1@d1.example', 'an address');
is_permitted('a99990@d90.example', 'another');
is_permitted('x@granted1.example', 'a domain');
is_permitted('x@a.b.granted2.example', 'below a domain');
is_refused('x@a.granted1.example', 'below another');
is_refused('a1@d2.example', 'no such address');
is_refused('x%y@granted1.example', 'an odd local part');

my $before = queries();
is_permitted('a2@d2.example', 'a sender') for 1 .. 10;
is queries() - $before, 1, 'one query for each sender';
my @sockets = map { $d->policy_socket } 1 .. 30;
$before = queries();
my $shared = $d->metric('cache_shared_total');
my @backends = split ' ', $db->sql(q{SELECT pid FROM pg_stat_activity
    WHERE usename = 'emailing_policyd'});
kill STOP => @backends;
$_->send(Emailing::Socket::request_text({ sasl_username => $name,
    sender => 'a3@d3.example' })) for @sockets;
ok within(1, sub { $d->metric('cache_shared_total') - $shared == 29 }),
    'those who ask the same wait for one query';
kill CONT => @backends;
is_deeply [map { $_->action } @sockets], [('DUNNO') x 30], '... are answered';
is queries() - $before, 1, '... by one';

# More senders than are remembered.
$before = queries();
is_permitted("a$_\@d" . $_ % 100 . '.example', "sender $_") for 100 .. 180;
is queries() - $before, 81, 'one query for each';
$before = queries();
is_permitted('a180@d80.example', 'the last one');
is queries() - $before, 0, '... is remembered';
is_permitted('a100@d0.example', 'the first one');
is queries() - $before, 1, '... is not';
cmp_ok $d->metric('cache_bytes'), '<', 100_000, 'and little is kept of him';

# What takes longest: a sender that was not asked about before.
my $slowest = 0;
for my $n (500 .. 700) {
    my $start = time;
    is_permitted("a$n\@d" . $n % 100 . '.example', "sender $n");
    $slowest = time - $start if time - $start > $slowest;
}
note sprintf 'P23: 200 senders asked for the first time: %.1f ms at most',
    1000 * $slowest;

# -- 10,000 of the longest addresses, in one record --------------------------------

$db->sql(q{
    INSERT INTO emailing_users (name, passwd) VALUES ('wide', '*');
    INSERT INTO emailing_addresses (address)
    SELECT rpad('w' || i, 64, 'x') || '@' || repeat('y', 60) || '.'
        || repeat('y', 60) || '.' || repeat('z', 59) || '.example'
      FROM generate_series(1, 10000) i;
    INSERT INTO emailing_users_addresses (id_user, id_address)
    SELECT u.id, a.id FROM emailing_users u, emailing_addresses a
     WHERE u.name = 'wide' AND a.address LIKE 'w%';
});
my @wide = split /\n/, $db->sql(q{SELECT address FROM emailing_addresses
    WHERE address LIKE 'w%' ORDER BY address});
is_deeply [scalar @wide, length $wide[0], $db->sql(q{SELECT count(*)
    FROM emailing_users_addresses g JOIN emailing_users u ON u.id = g.id_user
    WHERE u.name = 'wide'})], [10_000, 254, 10_000], 'a wide user';
my $start = time;
is $d->decide('wide', $wide[-1]), 'DUNNO', '... permitted';
note sprintf 'P23: a record of 10,000 addresses of 254 bytes: %.1f ms',
    1000 * (time - $start);
is_deeply [grep { $d->decide('wide', $_) ne 'DUNNO' }
           map { $wide[$_ * 100] } 0 .. 99], [], '... with each address';
like $d->decide('wide', "x$wide[0]"), qr/^553 /, '... and no other';
like $d->decide('wide', substr($wide[0], 1)), qr/^553 /, '... nor a part';

# -- changes ----------------------------------------------------------------------------------

$db->sql(q{DELETE FROM emailing_users_addresses WHERE id_address =
    (SELECT id FROM emailing_addresses WHERE address = 'a180@d80.example')});
ok within(2, sub { $d->decide($name, 'a180@d80.example') =~ /^553 / }),
    'a grant taken away';
$db->user($name, 'new@x.example');
ok within(2, sub { $d->decide($name, 'new@x.example') eq 'DUNNO' }),
    'a grant added';
$db->sql(qq{UPDATE emailing_users SET enabled = false});
ok within(2, sub { $d->decide($name, 'a1@d1.example') =~ /may not send/ }),
    'disabled';
$db->sql(qq{UPDATE emailing_users SET enabled = true});
ok within(2, sub { $d->decide($name, 'a1@d1.example') eq 'DUNNO' }),
    'enabled';

# -- the database away ---------------------------------------------------------------------------

is_refused('x@unknown.example', 'not granted');
$proxy->mode('refuse');
ok within(3, sub { !$d->metric('database_up') }), 'the database is gone';
is_permitted('a1@d1.example', 'what is remembered');
like $d->decide($name, 'a5@d5.example'), qr/^451 /, 'deferred: what is not';
like $d->decide($name, 'x@unknown.example'), qr/^451 /,
    'deferred: what was not granted';
$proxy->mode('pass');
ok within(3, sub { $d->decide($name, 'a5@d5.example') eq 'DUNNO' }), 'back';

# -- down to a number that is loaded whole ----------------------------------------------------------

$db->sql(q{DELETE FROM emailing_users_addresses WHERE id_address IN
    (SELECT id FROM emailing_addresses WHERE address NOT LIKE 'a1%')});
$db->sql(q{DELETE FROM emailing_users_addresses WHERE id_address IN
    (SELECT id FROM emailing_addresses WHERE address ~ '^a1[0-9]{4}@')});
ok within(3, sub { $d->decide($name, 'a5@d5.example') =~ /^553 / }),
    'most taken away';
is_permitted('a1@d1.example', 'of those left');
is_permitted('x@granted1.example', 'of those left');
is $d->stop, 0, 'policyd ends as asked';

done_testing;
