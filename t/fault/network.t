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

is $d->count('db: gone') - $d->count('db: back'), 0,
    'it was gone as often as it was back';
is $d->stop, 0, 'the same policyd from first to last';

done_testing;
