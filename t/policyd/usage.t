#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# enforce = no: what is refused for want of a grant passes, is logged and
# counted. record_usage: what users send as, and the grants that uses, come to
# the database in batches; no mail waits for them, whatever becomes of them.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;
use Time::HiRes qw(sleep time);

use Emailing qw(within);
use Emailing::Daemon::Database;
use Emailing::Policyd ();

my $db = Emailing::Daemon::Database->new;
$db->user('test1', 'user@test1.com', 'test1.com', 'test2.com');
$db->user('off', 'user@test1.com');
$db->sql(q{UPDATE emailing_users_domains SET subdomains = true
             WHERE id_domain = (SELECT id FROM emailing_domains
                                 WHERE domain = 'test2.com');
           UPDATE emailing_users SET enabled = false WHERE name = 'off';
           INSERT INTO emailing_addresses (address) VALUES ('end@ended.com');
           INSERT INTO emailing_users_addresses (id_user, id_address, expires)
           SELECT u.id, a.id, now() - interval '1 day'
             FROM emailing_users u, emailing_addresses a
            WHERE u.name = 'test1' AND a.address = 'end@ended.com'});

sub observed {
    return $db->sql('SELECT u.name, o.form, o.sender, o.messages, o.refused
        FROM emailing_observed o JOIN emailing_users u ON u.id = o.id_user
        ORDER BY 1, 2, 3');
}

# -- enforce ----------------------------------------------------------------------

my $d = $db->policyd(conf => { enforce => 'no', record_usage => 'yes',
                               recipient_delimiter => '+' });
ok $d->ready, 'policyd follows';
is $d->count('enforce = no: what is not granted passes'), 1,
    'it says that it does not enforce';
is $d->metric('enforcing'), 0, '... in the metrics, too';
my $before = $db->sql('SELECT count(*) FROM emailing_audit');
my $instance = 0;

# Each a message of its own, unless told.
sub decide {
    my ($user, $sender, %more) = @_;
    $d->{policy} ||= $d->policy_socket;
    return $d->{policy}->policy({ sasl_username => $user, sender => $sender,
        instance => sprintf('1.%06x.0', ++$instance), %more });
}

for my $sender ('user@test1.com', 'x@test1.com', 'x@a.test2.com',
                'user+tag@test1.com', 'ceo@other.com', '', 'end@ended.com',
                'a%b@other.com') {
    is decide('test1', $sender), 'DUNNO', "observed: <$sender> passes";
}
for my $sender ('nobody', 'a%b@test1.com', "x\x01\@test1.com", '@test1.com') {
    like decide('test1', $sender), qr/^553 5\.7\.1 /,
        'but not ' . $sender =~ s/\x01/\\x01/r;
}
like decide('off', 'user@test1.com'), qr/^553 .* user off may not send$/,
    'nor a disabled user';
like decide('unknown', 'user@test1.com'), qr/^553 .* may not send$/,
    'nor an unknown one';
for my $reason ('sender=ceo@other.com .* reason=not-granted',
                'sender= .* reason=null-sender',
                'sender=end@ended.com .* reason=expired',
                'sender=a%b@other.com .* reason=not-granted') {
    ok within(10, sub {
        $d->count("policy: observe: user=test1 $reason us=") == 1;
    }), "logged: $reason";
}
is $d->count('policy: observe:'), 4, '... and no other line of that kind';
my $metrics = $d->metrics;
for (['observe', 'not-granted', 2], ['observe', 'null-sender', 1],
     ['observe', 'expired', 1], ['reject', 'malformed', 3],
     ['reject', 'routed-local-part', 1], ['reject', 'disabled', 1]) {
    my ($verdict, $reason, $count) = @$_;
    is $metrics->{"emailing_decisions_total{verdict=\"$verdict\","
                  . "reason=\"$reason\"}"}, $count, "counted: $verdict $reason";
}

ok $d->reload(enforce => 'yes'), 'SIGHUP';
like decide('test1', 'ceo@other.com'), qr/^553 .* not granted to user test1$/,
    'enforced since';
is decide('test1', 'user@test1.com'), 'DUNNO', '... and a grant is a grant';
is $d->metric('enforcing'), 1, '... and that is told';
ok $d->reload(enforce => 'no'), 'SIGHUP again';
is decide('test1', 'ceo@other.com'), 'DUNNO', 'observed again';

# -- recording --------------------------------------------------------------------

# One message of several recipients, asked for at RCPT and at DATA.
decide('test1', 'one@test1.com', instance => 'abc.def.1') for 1 .. 5;
is $d->stop, 0, 'SIGTERM';
my $all = <<'END';
test1|address|a%b@other.com|1|1
test1|address|a%b@test1.com|1|1
test1|address|ceo@other.com|3|3
test1|address|end@ended.com|1|1
test1|address|one@test1.com|1|0
test1|address|user+tag@test1.com|1|0
test1|address|user@test1.com|2|0
test1|address|x@a.test2.com|1|0
test1|address|x@test1.com|1|0
test1|malformed|@test1.com|1|1
test1|malformed|nobody|1|1
test1|malformed|x\x01@test1.com|1|1
test1|null||1|1
END
is observed() . "\n", $all, 'hands over all that was noted';
is $db->sql(q{SELECT g.kind, coalesce(a.address, d.domain)
    FROM emailing_used g
    LEFT JOIN emailing_addresses a ON g.kind = 'a' AND a.id = g.id_object
    LEFT JOIN emailing_domains d ON g.kind = 'd' AND d.id = g.id_object
    ORDER BY 1, 2}), "a|user\@test1.com\nd|test1.com\nd|test2.com",
    '... and the grants that permitted: not the one that ended';
is $db->sql('SELECT count(*) FROM emailing_audit'), $before, 'nothing audited';

$d->start;
ok $d->ready, 'again';
my $batches = sub { ($d->metric('usage_batches_total') // 0) };
ok within(15, sub { $batches->() == 1 }), 'a first batch says that it records';
decide('test1', 'user@test1.com') for 1 .. 3;
ok within(15, sub { observed() =~ /\|user\@test1\.com\|5\|0/ }),
    'a batch by itself, after seconds; it adds up';
is $batches->(), 2, '... one';
is $d->metric('usage_waiting'), 0, 'nothing waits';
sleep 6;
is $batches->(), 2, 'none when nothing happened';

# -- two of them ------------------------------------------------------------------

my $other = $db->policyd(conf => { enforce => 'no' });
ok $other->ready, 'a second policyd';
for my $daemon ($d, $other) {
    is $daemon->decide('test1', 'both@other.com'), 'DUNNO', 'asked';
}
$_->stop for $d, $other;
like observed(), qr/\|both\@other\.com\|2\|2/, 'they add up';

# -- off ---------------------------------------------------------------------------

$db->sql('DELETE FROM emailing_observed; DELETE FROM emailing_used');
$d->{options}{record_usage} = 'no';
$d->start;
ok $d->ready, 'record_usage = no';
is decide('test1', 'user@test1.com'), 'DUNNO', 'a decision';
ok $d->reload(record_usage => 'yes'), 'SIGHUP turns it on';
is decide('test1', 'x@test1.com'), 'DUNNO', 'a decision';
ok $d->reload(record_usage => 'no'), '... and off';
is decide('test1', 'user@test1.com'), 'DUNNO', 'a decision';
$d->stop;
is observed(), 'test1|address|x@test1.com|1|0', 'only what came meanwhile';

# -- bounds, and a database that is away ---------------------------------------------

$db->sql('DELETE FROM emailing_observed; DELETE FROM emailing_used');
$d->{options}{record_usage} = 'yes';
$d->{options}{max_stale} = 3600;
$d->start;
ok $d->ready, 'record_usage = yes';
is decide('test1', 'user@test1.com'), 'DUNNO', 'the record is there';
$db->stop;
ok within(10, sub { !$d->metric('database_up') }), 'the database is gone';
my $resident = Emailing::Policyd::resident($d->pid);
my $socket = $d->policy_socket;
# Every answer is by the record in memory, which permits what it granted.
my ($asked, $right) = (12_000, 0);
for (my $i = 0; $i < $asked; $i += 500) {
    $socket->send(join '', map { Emailing::Socket::request_text({
        sasl_username => 'test1', sender => "s$_\@test1.com" }) }
        $i .. $i + 499) or die;
    $right += ($socket->action // '') eq 'DUNNO' for 1 .. 500;
}
is $right, $asked, 'mail passes';
is $d->metric('usage_waiting'), 8192, 'so much waits';
is $d->metric('usage_dropped_total'), $asked + 1 - 8192, '... the rest is dropped';
cmp_ok Emailing::Policyd::resident($d->pid) - $resident, '<',
    8192 + Emailing::Policyd::slack(), '... in a few MiB';
is $d->metric('usage_lost_total'), 0, 'none is lost for that';
$db->start;
ok within(60, sub { $d->metric('usage_waiting') == 0 }),
    'handed over when the database is back';
is $d->metric('usage_recorded_total'), 8192, '... all of it';
is $db->sql('SELECT sum(messages) FROM emailing_observed'), 8192,
    '... and taken in once';
is decide('test1', 'user@test1.com'), 'DUNNO', 'mail passes';

# One that arrived, and whose answer got lost, is not sent again: it would
# count twice.
my $proxy = $db->proxy;
my $far = $db->policyd(proxy => $proxy, conf => { database_timeout => 30 });
ok $far->ready, 'a policyd behind a network that can be cut';
ok within(15, sub { $far->metric('usage_batches_total') == 1 }), 'it records';
$db->sql('DELETE FROM emailing_observed');
is $far->decide('test1', 'once@test1.com'), 'DUNNO', 'a decision';
$proxy->mode('hole-down');
ok within(15, sub { observed() eq 'test1|address|once@test1.com|1|0' }),
    'its batch arrives, but no answer';
$proxy->mode('pass'); # and with that the connection is closed
ok within(15, sub { $far->metric('usage_lost_total') == 1 }),
    'it counts as lost';
ok within(15, sub { $far->metric('database_up') }), 'the database is there';
is $far->decide('test1', 'once@test1.com'), 'DUNNO', 'another decision';
is $far->stop, 0, 'it ends';
is observed(), 'test1|address|once@test1.com|2|0', 'two messages in all';

# A batch that the database refuses is lost, and said; mail is not.
$db->sql('REVOKE EXECUTE ON FUNCTION emailing_record_usage '
    . 'FROM emailing_policyd');
is decide('test1', 'new@test1.com'), 'DUNNO', 'a decision';
ok within(15, sub { $d->metric('usage_lost_total') > 0 }),
    'a batch that is refused is lost';
is $d->count('statement "record_usage": 42501: '), 1, '... and logged';
is decide('test1', 'new@test1.com'), 'DUNNO', 'mail passes';
like decide('off', 'new@test1.com'), qr/^553 /, '... or not, as ever';
is $d->metric('database_up'), 1, 'the database is not thought to be gone';
is $d->stop, 0, 'and it ends in time';

done_testing;
