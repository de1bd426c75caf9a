#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# The database away under users that are known: what was permitted goes on
# until max_stale, nothing else does, nobody is refused for good, and it is
# looked for about once a second.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;
use Time::HiRes qw(sleep time);

use Emailing qw(within);
use Emailing::Daemon::Database ();

my $deferred = '451 4.3.0 permission lookup failed, try again later';
my $db = Emailing::Daemon::Database->new;
my $proxy = $db->proxy;
my $d = $db->policyd(proxy => $proxy, conf => { max_stale => 8 });
my $never = $db->policyd(proxy => $proxy, conf => { max_stale => 0 });
ok $_->ready, 'changes are followed' for $d, $never;
$db->user("user$_", 'd.example') for 1 .. 3;
$db->mailadmin_ok('add', 'user', 'login');

for my $policyd ($d, $never) {
    is $policyd->decide('user1', 'a@d.example'), 'DUNNO', 'permitted';
    is $policyd->decide('user2', 'a@d.example'), 'DUNNO', 'permitted';
    like $policyd->decide('user1', 'a@other.example'), qr/^553 /, 'refused';
    like $policyd->decide('nobody', 'a@d.example'), qr/^553 /, 'unknown';
    is $policyd->auth('login', 'secret'), 'ok', 'a login';
}

# -- away ---------------------------------------------------------------------------------

my $start = time;
$proxy->mode('refuse');
for my $policyd ($d, $never) {
    ok within(3, sub { !$policyd->metric('database_up') }),
        'the database is gone';
}
my $connects = $d->metric('database_connects_total');
is $never->decide('user1', 'a@d.example'), $deferred,
    'max_stale = 0: nothing goes on';
is $never->auth('login', 'secret'), 'unavailable', '... no login either';
my ($asked, @bad) = 0;
while (time - $start < 6) {
    push @bad, map { $d->decide(@$_) eq 'DUNNO' ? () : "@$_" }
        ['user1', 'a@d.example'], ['user2', 'b@d.example'];
    push @bad, map { $d->decide(@$_) eq $deferred ? () : "@$_" }
        ['user1', 'a@other.example'], ['user3', 'a@d.example'],
        ['nobody', 'a@d.example'], ['stranger', 'a@d.example'];
    push @bad, 'login' if $d->auth('login', 'secret') ne 'ok';
    push @bad, 'wrong login' if $d->auth('login', 'wrong') ne 'unavailable';
    $asked++;
    sleep 0.05;
}
is_deeply \@bad, [], "$asked times: permits go on, all else is deferred";
cmp_ok $d->metric('database_connects_total') - $connects, '<=',
    2 + time - $start, 'it was looked for once a second';
is $d->count('db: gone'), 1, 'the log says once that it is gone';
cmp_ok $d->metric('cache_stale_answers_total'), '>=', 2 * $asked,
    'answers from stale records are counted';

# -- for too long ---------------------------------------------------------------------------

ok within(8, sub { $d->decide('user1', 'a@d.example') eq $deferred }),
    'after max_stale nothing is permitted';
cmp_ok time - $start, '>', 6, '... not much before';
is $d->auth('login', 'secret'), 'unavailable', '... no login either';

# -- back -------------------------------------------------------------------------------------

$proxy->mode('pass');
my $back = time;
ok within(5, sub { $d->decide('user3', 'a@d.example') eq 'DUNNO' }),
    'back: a user that was not known';
ok within(5, sub { $d->metric('following') }), '... changes are followed';
cmp_ok time - $back, '<', 2.5, '... within two seconds';
is $d->decide('user1', 'a@d.example'), 'DUNNO', 'one that was known';
like $d->decide('user1', 'a@other.example'), qr/^553 /, '... refused again';
like $d->decide('nobody', 'a@d.example'), qr/^553 /, 'an unknown one';
is $d->count('db: back'), 1, 'the log says once that it is back';

# -- changed, then away --------------------------------------------------------------------------

is $d->decide('user2', 'a@d.example'), 'DUNNO', 'permitted';
my $dropped = $d->metric('cache_drops_total');
$db->revoke('user2');
ok within(2, sub { $d->metric('cache_drops_total') > $dropped }),
    'a change was heard of';
$proxy->mode('reset');
is $d->decide('user2', 'a@d.example'), $deferred,
    'what is known to have changed does not answer';
ok within(5, sub { $d->decide('user1', 'a@d.example') eq 'DUNNO' }),
    'what has not changed does';
$proxy->mode('pass');
ok $d->ready, 'back';
like $d->decide('user2', 'a@d.example'), qr/^553 /, 'refused';

# -- changed while away: the last that was known is what counts, until it is back ------------

is $d->decide('user1', 'a@d.example'), 'DUNNO', 'permitted';
$proxy->mode('refuse');
ok within(3, sub { !$d->metric('database_up') }), 'gone';
$db->revoke('user1');
is $d->decide('user1', 'a@d.example'), 'DUNNO', 'still permitted';
$proxy->mode('pass');
ok within(4, sub { $d->decide('user1', 'a@d.example') =~ /^553 / }),
    'back: refused';

# -- lookups refused while changes are followed -------------------------------------------------

$db->user('user4', 'd.example');
ok $d->ready, 'changes are followed';
ok $d->reload(cache_ttl => 1, max_stale => 3), 'records are soon old';
ok within(3, sub { $d->decide('user4', 'a@d.example') eq 'DUNNO' }),
    'permitted';
$db->sql('REVOKE EXECUTE ON FUNCTION emailing_lookup(text)'
    . ' FROM emailing_policyd');
sleep 1.5;
is $d->decide('user4', 'a@d.example'), 'DUNNO', 'goes on';
ok within(8, sub { $d->decide('user4', 'a@d.example') eq $deferred }),
    '... until max_stale';
is $_->stop, 0, 'policyd ends as asked' for $d, $never;

done_testing;
