#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Whatever becomes of the way to the database: an answer within five seconds, never a
# permit for what is not granted, never a refusal for good of what is, and
# right answers two seconds after it is over.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;
use Time::HiRes qw(sleep);

use Emailing::Case qw(case);
use Emailing::Daemon::Database ();
use Emailing::Daemon::Outage ();

case 'P21';
my $db = Emailing::Daemon::Database->new;
my $proxy = $db->proxy;
# What is remembered would hide what is asked.
my $d = $db->policyd(proxy => $proxy, conf => { cache_bytes => 0, max_stale => 0 });
ok $d->ready, 'changes are followed';
my $outage = Emailing::Daemon::Outage->new($db, $d);
$outage->after('nothing');

for my $case ([hole => 0], ['hole-down' => 0], [refuse => 0], [reset => 0],
              [truncate => 0], ['half-open' => 0], [garble => 0],
              [delay => 2], [dribble => 2]) {
    my ($mode, $right) = @$case;
    $proxy->mode($mode);
    $outage->during($mode, 2.5, $right);
    $proxy->mode('pass');
    $outage->after($mode);
}

# What arrives while nothing was asked, and makes libpq close by itself: the
# number of its descriptor is then another's, at once.
my @wrong;
for my $round (1 .. 5) {
    ok $d->ready, 'changes are followed';
    $proxy->mode('spoil', 'listen');
    $proxy->mode('pass');
    for (1 .. 20) {
        my $action = eval { $d->policy_socket->policy({ sasl_username => 'test1',
            sender => 'a@d.example' }) } // "closed $@";
        push @wrong, $action if $action ne 'DUNNO';
        sleep 0.02;
    }
}
is_deeply \@wrong, [], 'spoilt while idle: those who connect are served';
$outage->after('spoilt while idle');

is $d->count('db: gone') - $d->count('db: back'), 0,
    'it was gone as often as it was back';
is $d->stop, 0, 'the same policyd from first to last';

done_testing;
