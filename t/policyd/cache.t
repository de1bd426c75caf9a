#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# How many queries questions cost: one for a user, however many ask and how
# often; and what the cache holds is bounded.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;
use Time::HiRes qw(sleep);

use Emailing qw(within);
use Emailing::Daemon::Database ();
use Emailing::Socket ();

my $db = Emailing::Daemon::Database->new;
my $d = $db->policyd;
ok $d->ready, 'changes are followed';
$db->user("user$_", 'd.example') for 1 .. 5;

sub queries {
    my ($policyd) = @_;
    return $policyd->metric('database_query_duration_seconds_count');
}

# Asks N times at once, over as many connections; the answers.
sub at_once {
    my ($policyd, $n, $user, $sender) = @_;
    my @sockets = map { $policyd->policy_socket } 1 .. $n;
    my $text = Emailing::Socket::request_text({ sasl_username => $user,
                                                sender => $sender });
    $_->send($text) for @sockets;
    return map { $_->action } @sockets;
}

my $before = queries($d);
is $d->decide('user1', 'a@d.example'), 'DUNNO', 'permitted' for 1 .. 20;
like $d->decide('user1', 'a@x.example'), qr/^553 /, 'refused' for 1 .. 20;
is queries($d) - $before, 1, '40 questions about one user: one query';

# Held up, so that all come while the first one's query is out.
my @backends = split ' ', $db->sql(q{SELECT pid FROM pg_stat_activity
    WHERE usename = 'emailing_policyd'});
$before = queries($d);
kill STOP => @backends;
my @sockets = map { $d->policy_socket } 1 .. 50;
$_->send(Emailing::Socket::request_text({ sasl_username => 'user2',
    sender => 'a@d.example' })) for @sockets;
ok within(2, sub { $d->metric('cache_shared_total') >= 49 }),
    '49 wait for the first one\'s query';
kill CONT => @backends;
is_deeply [map { $_->action } @sockets], [('DUNNO') x 50], '... are answered';
is queries($d) - $before, 1, '... by one query';

# -- names that nobody has ---------------------------------------------------------------

$before = queries($d);
like $d->decide('nobody', 'a@d.example'), qr/^553 /, 'unknown' for 1 .. 20;
is queries($d) - $before, 1, 'an unknown user: one query';
is $d->metric('cache_unknown_names'), 1, '... and one name remembered';
$db->user('nobody', 'd.example');
ok within(2, sub { $d->decide('nobody', 'a@d.example') eq 'DUNNO' }),
    'a user of that name is known at once';
is $d->metric('cache_unknown_names'), 0, '... and no unknown one any more';

# -- bounds ------------------------------------------------------------------------------------

my $small = $db->policyd(conf => { cache_bytes => 20_000 });
ok $small->ready, 'changes are followed';
$db->sql(q{INSERT INTO emailing_users (name, passwd)
    SELECT 'many' || i, '*' FROM generate_series(1, 500) i});
$small->decide("many$_", 'a@d.example') for 1 .. 500;
my $m = $small->metrics;
cmp_ok $m->{emailing_cache_bytes}, '<=', 20_000, 'the cache is bounded';
cmp_ok $m->{emailing_cache_records}, '>', 20, '... but holds something';
is $m->{emailing_cache_records} + $m->{emailing_cache_evictions_total}, 500,
    'what is not in it was removed';
$before = queries($small);
$small->decide("many$_", 'a@d.example') for 496 .. 500;
is queries($small) - $before, 0, 'the last ones used are there';
$small->decide('many1', 'a@d.example');
is queries($small) - $before, 1, 'the first ones are not';
$small->decide("stranger$_", 'a@d.example') for 1 .. 100;
$before = queries($small);
$small->decide('many500', 'a@d.example');
is queries($small) - $before, 0, 'unknown names push out no users';
cmp_ok $small->metric('cache_unknown_names'), '<', 20,
    '... and take a small part only';

# -- no cache ------------------------------------------------------------------------------------

my $none = $db->policyd(conf => { cache_bytes => 0 });
ok $none->ready, 'changes are followed';
$before = queries($none);
is $none->decide('user1', 'a@d.example'), 'DUNNO', 'without a cache'
    for 1 .. 10;
is queries($none) - $before, 10, '... each question is a query';
is_deeply [at_once($none, 20, 'user3', 'a@d.example')], [('DUNNO') x 20],
    'many at once are answered';
is $none->metric('cache_records'), 0, 'and nothing is kept';
is $none->metric('cache_bytes'), 0, '... at all';

# -- by age ---------------------------------------------------------------------------------------

my $short = $db->policyd(conf => { cache_ttl => 1 });
ok $short->ready, 'changes are followed';
$short->decide('user1', 'a@d.example');
$before = queries($short);
sleep 1.2;
is $short->decide('user1', 'a@d.example'), 'DUNNO', 'an old record';
is queries($short) - $before, 1, '... is loaded again';

cmp_ok $db->sql(q{SELECT count(*) FROM pg_stat_activity
    WHERE usename = 'emailing_policyd'}), '<=', 4 * 5,
    'database_connections and one more for each policyd';
is $_->stop, 0, 'policyd ends as asked' for $d, $small, $none, $short;

done_testing;
