#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# The usage tables, by the one function that writes them: what adds up, what is
# bounded, what is swept, and that nothing else is touched or told.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";
use EmailingPg;
use Test::More;
use Time::HiRes qw(time);

my $pg = EmailingPg->new;
is $pg->mailadmin(qw(schema init))->{status}, 0, 'schema init';
$pg->psql(q{
    INSERT INTO emailing_users (id, name)
        VALUES (1, 'test1'), (2, 'test2'), (3, 'test3');
    INSERT INTO emailing_addresses (id, address)
        VALUES (1, 'user@test1.com'), (2, 'gone@test1.com');
    INSERT INTO emailing_domains (id, domain) VALUES (1, 'test1.com');
    INSERT INTO emailing_users_addresses (id_user, id_address) VALUES (1, 1);
    INSERT INTO emailing_users_domains (id_user, id_domain) VALUES (1, 1);
});
my $now = int time;
my $day = $pg->psql("SELECT (now() AT TIME ZONE 'UTC')::date");

# A line of a batch; more fields by name.
sub use_line {
    my ($user, $sender, %more) = @_;
    my %f = (form => 'address', messages => 1, refused => 0, first => $now,
             last => $now, kind => '-', grant => '', %more);
    return join("\t", $user, @f{qw(form messages refused first last kind
        grant)}, $sender) . "\n";
}

sub record {
    my (@lines) = @_;
    my $batch = join '', @lines;
    return $pg->psql("SELECT emailing_record_usage(\$b\$$batch\$b\$)",
        user => 'emailing_policyd');
}

sub rows {
    my ($where) = @_;
    return $pg->psql('SELECT form, sender, messages, refused FROM '
        . "emailing_observed WHERE $where ORDER BY 1, 2");
}

sub everything_else {
    return $pg->psql(join ';', map { "SELECT * FROM $_ ORDER BY 1, 2" }
        qw(emailing_users emailing_addresses emailing_domains
        emailing_users_addresses emailing_users_domains emailing_audit
        emailing_changes emailing_schema));
}
my $before = everything_else();

# -- what adds up -----------------------------------------------------------

is record(use_line(1, 'user@test1.com', messages => 3, kind => 'a',
                   grant => 'user@test1.com'),
          use_line(1, 'x@test1.com', kind => 'd', grant => 'test1.com'),
          use_line(2, 'x@test1.com', messages => 2, refused => 2),
          use_line(2, '', form => 'null', refused => 1),
          use_line(2, 'nobody', form => 'malformed', refused => 1),
          use_line(99, 'user@test1.com')), 5,
    'a batch; of a user that is not there nothing';
is rows('id_user = 1'), "address|user\@test1.com|3|0\naddress|x\@test1.com|1|0",
    'what was permitted';
is rows('id_user = 2'),
    "address|x\@test1.com|2|2\nmalformed|nobody|1|1\nnull||1|1",
    'what was not, the null sender, what is no address';
record(use_line(1, 'user@test1.com', messages => 4, first => $now - 50,
                last => $now - 40),
       use_line(1, 'user@test1.com', last => $now + 9));
is $pg->psql("SELECT messages, refused, extract(epoch FROM last - first)::int
    FROM emailing_observed WHERE id_user = 1 AND sender = 'user\@test1.com'"),
    '8|0|59', 'the next batch is added, in whatever order it comes';
my $used = 'SELECT id_user, kind, id_object, last FROM emailing_used '
    . 'ORDER BY 1, 2';
is $pg->psql($used), "1|a|1|$day\n1|d|1|$day", 'the grants that were used';
$pg->psql("UPDATE emailing_used SET last = '2020-01-01' WHERE kind = 'a'");
record(use_line(1, 'user@test1.com', kind => 'a', grant => 'user@test1.com'));
is $pg->psql($used), "1|a|1|$day\n1|d|1|$day", 'again on a later day';
record(use_line(1, 'user@test1.com', kind => 'a', grant => 'user@test1.com',
                last => $now - 90_000));
is $pg->psql($used), "1|a|1|$day\n1|d|1|$day", 'an earlier day changes nothing';

# A grant that went meanwhile, or never was.
is record(use_line(1, 'gone@test1.com', kind => 'a',
                   grant => 'gone@test1.com'),
          use_line(1, 'x@no.example', kind => 'd', grant => 'no.example')),
    2, 'a grant that is gone fails nothing';
is $pg->psql($used), "1|a|1|$day\n1|d|1|$day", '... and is not used';
is everything_else(), $before, 'no other table has changed: no audit either';
is $pg->psql("SELECT since IS NOT NULL AND latest >= since
    FROM emailing_usage"), 't', 'since when is known';
is record(), 0, 'an empty batch';

# One that is not in the form takes nothing in, and one that would write
# elsewhere is but text.
for my $bad ("x\n", use_line(1, 'a' x 300 . '@x.example'),
             use_line(1, 'a@x.example', form => 'other'),
             use_line(1, 'a@x.example', messages => 'many')) {
    my $r = $pg->psql("SELECT emailing_record_usage(\$b\$$bad\$b\$)",
        user => 'emailing_policyd', may_fail => 1);
    isnt $r->{status}, 0, 'refused: ' . substr $bad, 0, 30;
}
record(use_line(1, "'); DELETE FROM emailing_users; --\@x.example"));
is everything_else(), $before, 'still no other table has changed';

# -- notification ---------------------------------------------------------------

is $pg->psql("LISTEN emailing; SELECT emailing_record_usage('"
    . use_line(3, 'a@x.example') . "'); SELECT 1"), "1\n1", 'nobody is notified';

# -- bounds -----------------------------------------------------------------------

$pg->psql('DELETE FROM emailing_observed;
    DELETE FROM emailing_observed_users');
record(map { use_line(1, "a$_\@many.example") } 1 .. 130);
is $pg->psql('SELECT count(*) FROM emailing_observed WHERE form = \'address\''),
    100, 'a hundred addresses of one domain are kept';
is rows("form = 'more'"), 'more|*@many.example|30|0', '... the rest together';
record(map { use_line(1, "a$_\@many.example", refused => 1) } 1 .. 150);
is rows("form = 'more'"), 'more|*@many.example|' . (30 + 50) . '|50',
    'those that are kept go on being counted';
for my $i (1 .. 3) {
    record(map { use_line(1, "b\@d$_.example") } 500 * $i .. 500 * $i + 499);
}
is $pg->psql('SELECT count(*) FROM emailing_observed WHERE id_user = 1'), 1001,
    'a thousand senders of a user are kept';
is rows("form = 'more' AND sender = '*'"), 'more|*|601|0',
    '... and the rest together';
is $pg->psql('SELECT senders FROM emailing_observed_users WHERE id_user = 1'),
    1001, '... and counted';
record(use_line(2, 'b@d1.example'));
is rows('id_user = 2'), 'address|b@d1.example|1|0', 'others are not concerned';

# Batches of two at once come one after the other, and one that would wait
# long gives up.
my $held = fork // die;
if ($held == 0) {
    $pg->psql("BEGIN; SELECT 1 FROM emailing_usage FOR UPDATE; "
        . 'SELECT pg_sleep(2)');
    require POSIX;
    POSIX::_exit(0);
}
Time::HiRes::sleep(0.5);
my $start = time;
my $r = $pg->psql("SELECT emailing_record_usage('" . use_line(2, 'x@y.example')
    . "')", user => 'emailing_policyd', may_fail => 1);
like $r->{err}, qr/lock timeout/, 'a batch does not wait for a lock for long';
cmp_ok time - $start, '<', 1.5, '... but half a second';
waitpid $held, 0;

# -- sweeping ---------------------------------------------------------------------

$pg->psql(q{
    DELETE FROM emailing_observed;
    INSERT INTO emailing_observed (id_user, form, sender, messages, refused,
                                   first, last)
    SELECT id, 'address', sender, 1, 0, now() - age, now() - age
      FROM (VALUES (1, 'old@x.example', interval '401 days'),
                   (1, 'new@x.example', interval '399 days'),
                   (77, 'user.is@gone.example', interval '1 day'))
           v (id, sender, age);
    INSERT INTO emailing_used VALUES (1, 'a', 2, now()), (77, 'd', 1, now());
    UPDATE emailing_usage SET swept = now() - interval '2 hours';
});
record(use_line(3, 'a@x.example'));
is $pg->psql('SELECT id_user, sender FROM emailing_observed ORDER BY 1'),
    "1|new\@x.example\n3|a\@x.example",
    'what is old is swept, and what was of a user who is gone';
is $pg->psql($used), "1|a|1|$day\n1|d|1|$day", 'so are grants that are gone';
is $pg->psql('SELECT * FROM emailing_observed_users ORDER BY 1'), "1|1\n3|1",
    '... and all is counted anew';
is $pg->psql('SELECT after FROM emailing_usage'), 0, 'and from the start again';

# -- recording that paused ----------------------------------------------------------

$pg->psql("UPDATE emailing_usage SET since = '2020-01-01',
    latest = now() - interval '2 days'");
record();
is $pg->psql("SELECT since = '2020-01-01' AND latest > now() - interval '1 h'
    FROM emailing_usage"), 't', 'two days without a batch are no pause';
$pg->psql("UPDATE emailing_usage SET latest = now() - interval '4 days'");
record();
is $pg->psql("SELECT since > now() - interval '1 h' FROM emailing_usage"), 't',
    'four days are: recorded since now';

# The tables are in the way of nothing.
is $pg->psql('TRUNCATE emailing_users_addresses', may_fail => 1)->{status}, 0,
    'TRUNCATE of a table of grants';

# A thousand senders, new and known.
$start = time;
record(map { use_line(1 + $_ % 3, "c\@e$_.example", kind => 'd',
                      grant => 'test1.com') } 1 .. 1000) for 1 .. 2;
note sprintf '%.0f ms for a batch of a thousand', (time - $start) / 2 * 1000;

done_testing;
