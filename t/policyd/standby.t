#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# A hot standby, where LISTEN is refused: policyd says so and polls the change
# counter, and a change is obeyed a second or two later.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;

use Emailing qw(within);
use Emailing::Daemon::Database ();
use Emailing::Daemon::Standby ();

my $db = Emailing::Daemon::Database->new;
$db->user('test1', 'd.example');
$db->mailadmin_ok('add', 'user', 'login');
my $standby = Emailing::Daemon::Standby->new($db);
my $proxy = Emailing::Proxy->new($standby->server);
my $d = $db->policyd(proxy => $proxy);

sub answers {
    my ($pattern, $seconds) = @_;
    return within($seconds, sub { $d->decide('test1', 'a@d.example')
                                  =~ $pattern });
}

ok $d->ready, 'followed';
is $d->metric('polling'), 1, '... by polling';
is $d->count('LISTEN does not work'), 1, '... as the log says, once';
ok answers(qr/^DUNNO$/, 2), 'permitted';
my $queries = $d->metric('database_query_duration_seconds_count');
ok answers(qr/^DUNNO$/, 0), 'permitted' for 1 .. 10;
is $d->metric('database_query_duration_seconds_count'), $queries,
    '... from memory';
$db->revoke('test1');
ok answers(qr/^553 /, 5), 'a change is obeyed';
$db->user('test1', 'd.example');
ok answers(qr/^DUNNO$/, 5), 'another one, too';
is $d->auth('login', 'secret'), 'ok', 'a login';

# -- promoted, and found again over a connection made anew --------------------------

$db->stop;
$standby->promote;
$proxy->mode('reset');
ok within(5, sub { !$d->metric('following') }), 'the connections are lost';
$proxy->mode('pass');
ok $d->ready, 'followed';
ok within(5, sub { $d->metric('polling') == 0 }), '... by LISTEN now';
ok answers(qr/^DUNNO$/, 2), 'permitted';
is $d->stop, 0, 'policyd ends as asked';

done_testing;
