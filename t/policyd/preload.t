#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# All users loaded at the start, whatever happens meanwhile.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;
use Time::HiRes qw(sleep);

use Emailing qw(within);
use Emailing::Daemon::Database ();

my $users = 30_000;
my $db = Emailing::Daemon::Database->new;
my $proxy = $db->proxy;
$db->sql(qq{
    INSERT INTO emailing_domains (domain) VALUES ('d.example');
    INSERT INTO emailing_users (name, passwd)
    SELECT 'user' || i, '*' FROM generate_series(1, $users) i;
    INSERT INTO emailing_users_domains (id_user, id_domain)
    SELECT u.id, d.id FROM emailing_users u, emailing_domains d;
});
$db->sql('ANALYZE');

sub loaded {
    my ($d) = @_;
    return within(30, sub { $d->count('preload: ') });
}

my $d = $db->policyd(conf => { preload => 'yes' });
is $d->decide('user777', 'a@d.example'), 'DUNNO', 'answered meanwhile';
ok loaded($d), 'loaded';
is $d->metric('cache_records'), $users, 'all of them';
my $before = $d->metric('cache_misses_total');
is $d->decide("user$_", 'a@d.example'), 'DUNNO', 'from memory'
    for 1, 555, $users;
is $d->metric('cache_misses_total'), $before, '... without a query';
$db->revoke('user555');
ok within(2, sub { $d->decide('user555', 'a@d.example') =~ /^553 / }),
    'a change is obeyed';
is $d->stop, 0, 'policyd ends as asked';

# -- the cache full ----------------------------------------------------------------------------

my $small = $db->policyd(conf => { preload => 'yes', cache_bytes => 1_000_000 });
ok loaded($small), 'loaded';
like $small->log, qr/preload: \d+ users loaded; the cache is full/,
    '... up to the bound';
cmp_ok $small->metric('cache_bytes'), '<=', 1_000_000, '... which holds';
is $small->metric('cache_evictions_total'), 0, '... and nothing twice';
is $small->decide("user$_", 'a@d.example'), 'DUNNO', 'the rest is had'
    for 1, 9999;

# -- changes meanwhile -------------------------------------------------------------------------

my $busy = $db->policyd(proxy => $proxy, conf => { preload => 'yes' });
my @gone;
until ($busy->count('preload: ')) {
    my $n = 1000 + int rand 20_000;
    push @gone, "user$n";
    $db->revoke("user$n");
    last if @gone > 300;
}
ok loaded($busy), 'loaded while users changed';
cmp_ok @gone, '>', 2, '... some of them';
sleep 0.2;
my @wrong = grep { $busy->decide($_, 'a@d.example') !~ /^553 / } @gone;
is_deeply \@wrong, [], '... and all of those are refused';
cmp_ok $busy->metric('cache_records'), '>', $users * 0.9,
    'nearly all are loaded';
is $busy->stop, 0, 'policyd ends as asked';

# -- an outage meanwhile -----------------------------------------------------------------------

$proxy->mode('delay');
my $done = $busy->count('preload: ');
$busy->start;
ok within(20, sub { $busy->metric('cache_records') >= 1000 }), 'begun';
is $busy->count('preload: '), $done, '... and not done';
$proxy->mode('refuse');
ok within(5, sub { !$busy->metric('database_up') }), 'the database is gone';
$proxy->mode('pass');
ok within(20, sub { $busy->metric('cache_records') == $users }),
    'back: it goes on to the end';
is $busy->decide('user30000', 'a@d.example'), 'DUNNO', 'and answers';

# A query that fails is no outage, and is asked again.
is $busy->stop, 0, 'policyd ends as asked';
$db->sql('REVOKE EXECUTE ON FUNCTION emailing_load(text, integer)'
    . ' FROM emailing_policyd');
$busy->start;
ok $busy->ready, 'started where loading is refused';
is $busy->decide('user30000', 'a@d.example'), 'DUNNO', 'answers all the same';
$db->sql('GRANT EXECUTE ON FUNCTION emailing_load(text, integer)'
    . ' TO emailing_policyd');
ok within(20, sub { $busy->metric('cache_records') == $users }),
    'granted: it loads';
is $busy->stop, 0, 'policyd ends as asked';

done_testing;
