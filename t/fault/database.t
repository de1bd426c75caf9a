#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Whatever becomes of the database: an answer within five seconds, never a
# permit for what is not granted, never a refusal for good of what is, and
# right answers two seconds after it is over. The cases P17, P19, P20 and P22.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;

use Emailing qw(within);
use Emailing::Case qw(case);
use Emailing::Daemon::Database ();
use Emailing::Daemon::Outage ();

my $db = Emailing::Daemon::Database->new;
# What is remembered would hide what is asked.
my $d = $db->policyd(conf => { cache_bytes => 0, max_stale => 0 });
ok $d->ready, 'changes are followed';
my $outage = Emailing::Daemon::Outage->new($db, $d);
$outage->after('nothing');

# Hung, the postmaster as well.
case 'P19';
my @processes = $db->processes;
kill STOP => @processes;
$outage->during('hung', 3, 0);
kill CONT => @processes;
$outage->after('hung');

# Only the backends: new ones may be had.
my @backends = split ' ', $db->sql(q{SELECT pid FROM pg_stat_activity
    WHERE usename = 'emailing_policyd'});
kill STOP => @backends;
$outage->during('backends hung', 2.5, 1);
kill CONT => @backends;
$outage->after('backends hung');

$db->sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE usename = 'emailing_policyd'});
$outage->during('backends ended', 0.5, 1);
is $d->count(qr/^FATAL/m), 0, 'what a server says is not on standard error';
ok $d->count('not following: FATAL: +terminating connection'),
    '... but in the log';
$outage->after('backends ended');

# The user's row and the tables locked.
case 'P20';
open my $psql, '|-', "$db->{pg}{bin}/psql", '-XqAt', '-h', $db->dir, '-U',
    'postgres', 'mail' or die;
$psql->autoflush;
print $psql "BEGIN; LOCK TABLE emailing_users IN ACCESS EXCLUSIVE MODE;\n";
within(5, sub { $db->sql(q{SELECT count(*) FROM pg_locks
    WHERE mode = 'AccessExclusiveLock' AND relation =
    'emailing_users'::regclass}) }) or die 'no lock';
$outage->during('table locked', 5, 0);
{
    open my $log, '<', $db->dir . '/log' or die $!;
    ok scalar(grep { /canceling statement due to statement timeout/ } <$log>),
        '... and the server has cancelled the query';
}
print $psql "ROLLBACK;\n";
$outage->after('table locked');
close $psql;

# -- what the database refuses ----------------------------------------------------------

case 'P22';

sub refused {
    my ($name, $break, $mend, $seconds) = @_;
    my $lines = $d->count('\n');
    $db->sql($break);
    $outage->during($name, $seconds // 2, 0);
    cmp_ok $d->count('\n') - $lines, '>', 0, '... and the log says why';
    # A line for each refused mail is right; others are not to come with it.
    my @others = grep { !/policy: / }
        (split /^/, $d->log)[$lines .. $d->count('\n') - 1];
    cmp_ok @others, '<=', 3, '... once' or diag @others;
    $db->sql($mend);
    $outage->after($name);
    return;
}

refused('privilege revoked',
    'REVOKE EXECUTE ON FUNCTION emailing_lookup(text) FROM emailing_policyd',
    'GRANT EXECUTE ON FUNCTION emailing_lookup(text) TO emailing_policyd');
refused('function missing',
    'ALTER FUNCTION emailing_lookup(text) RENAME TO emailing_lost',
    'ALTER FUNCTION emailing_lost(text) RENAME TO emailing_lookup');
refused('too many connections',
    q{ALTER ROLE emailing_policyd CONNECTION LIMIT 0;
      SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE usename = 'emailing_policyd';},
    'ALTER ROLE emailing_policyd CONNECTION LIMIT -1');


# A function that is not ours in place of the one that is.
my $columns = 'counter bigint, id bigint, enabled boolean, passwd text,'
    . ' old_passwd text, old_until bigint, heavy boolean, grants text';
sub answers_oddly {
    my ($name, $select, $types) = @_;
    $types = $columns =~ s/\K (?:bigint|boolean)\b/ text/gr if $types;
    refused($name, 'ALTER FUNCTION emailing_lookup(text) RENAME TO kept;'
        . ' CREATE FUNCTION emailing_lookup(name text)'
        . ' RETURNS TABLE (' . ($types // $columns) . ') LANGUAGE sql SECURITY DEFINER AS $$ '
        . $select . ' $$; GRANT EXECUTE ON FUNCTION emailing_lookup(text)'
        . ' TO emailing_policyd', 'DROP FUNCTION emailing_lookup(text);'
        . ' ALTER FUNCTION kept(text) RENAME TO emailing_lookup', 0.5);
    return;
}
my $counter = '(SELECT e.counter FROM public.emailing_changes e)';
my $record = "SELECT $counter, 1::bigint, true, '*', NULL, NULL::bigint,"
    . q( false, 'd - d.example');
answers_oddly('no row', "$record WHERE false");
answers_oddly('two rows', "$record UNION ALL $record");
answers_oddly('nothing but NULL', 'SELECT NULL::bigint, NULL::bigint,'
    . ' NULL::boolean, NULL, NULL, NULL::bigint, NULL::boolean, NULL');
answers_oddly('a user neither enabled nor not', $record =~ s/true/NULL::boolean/r);
answers_oddly('grants nobody knows', $record =~ s/d - d/q ? d/r);
answers_oddly('a grant without an end', $record =~ s/d - d/d x d/r);
answers_oddly('a grant that is too long',
    $record =~ s/'d - d\.example'/'d - d.example' || repeat('e', 70000)/r);
answers_oddly('numbers that are none', q{SELECT 'x', 'y', 't', '*', NULL,}
    . q{ NULL, 'f', 'd - d.example'}, 'text');
answers_oddly('truth in other words', "SELECT $counter" . q{::text, '1', 'yes',}
    . q{ '*', NULL, NULL, 'no', 'd - d.example'}, 'text');

is $d->count('db: gone') - $d->count('db: back'), 0,
    'it was gone as often as it was back';
is $d->stop, 0, 'the same policyd from first to last';

case 'P17';
# -- started without a database ------------------------------------------------------------

$db->stop;
$d->start;
$outage->during('not there yet', 1, 0);
$db->start;
$outage->after('not there yet');
is $d->stop, 0, 'policyd ends as asked';

done_testing;
