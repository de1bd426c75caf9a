#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Notifications that do not arrive: a change is obeyed within five seconds all
# the same, whatever became of the connection that should have told of it.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;
use Time::HiRes qw(sleep time);

use Emailing qw(within);
use Emailing::Daemon::Database ();

my $db = Emailing::Daemon::Database->new;
my $proxy = $db->proxy;
my $d = $db->policyd(proxy => $proxy, conf => { cache_ttl => 3600 });
ok $d->ready, 'changes are followed';

# after MODE, PAUSE: grants, breaks the listening connection, revokes
sub revoked_behind {
    my ($mode, $pause) = @_;
    my $name = "$mode, change after $pause s";
    $db->user('test1', 'd.example');
    ok within(5, sub { $d->decide('test1', 'a@d.example') eq 'DUNNO' }),
        "$name: permitted";
    my $beats = $d->metric('database_connects_total');
    $proxy->mode($mode, 'listen');
    sleep $pause;
    $db->revoke('test1');
    my $start = time;
    my $refused = within(8, sub {
        $d->decide('test1', 'a@d.example') =~ /^553 /;
    });
    ok $refused, "$name: refused";
    cmp_ok time - $start, '<', 5, '... within five seconds';
    $proxy->mode('pass');
    ok within(10, sub { $d->ready && $d->metric('database_connects_total')
                        >= $beats }), "$name: followed again";
    return;
}

# The change comes at each part of the second between two heartbeats.
revoked_behind('hole', $_) for 0, 0.6;
revoked_behind('hole-down', 0.5);
revoked_behind($_, 0) for qw(reset truncate half-open garble);
revoked_behind('dribble', 0);

# -- a notification that was never sent --------------------------------------------

$db->user('test2', 'd.example');
ok within(5, sub { $d->decide('test2', 'a@d.example') eq 'DUNNO' }),
    'permitted';
my $resets = $d->metric('cache_resets_total');
$db->sql(q{
    BEGIN;
    ALTER TABLE emailing_users_domains DISABLE TRIGGER USER;
    DELETE FROM emailing_users_domains;
    ALTER TABLE emailing_users_domains ENABLE TRIGGER USER;
    UPDATE emailing_changes SET counter = counter + 1;
    COMMIT;
});
ok within(5, sub { $d->decide('test2', 'a@d.example') =~ /^553 / }),
    'a counter ahead of the notifications drops everything';
cmp_ok $d->metric('cache_resets_total'), '>', $resets, '... and is counted';

$db->user('test2', 'd.example');
ok within(5, sub { $d->decide('test2', 'a@d.example') eq 'DUNNO' }),
    'permitted';
$db->sql(q{
    BEGIN;
    ALTER TABLE emailing_users_domains DISABLE TRIGGER USER;
    DELETE FROM emailing_users_domains;
    ALTER TABLE emailing_users_domains ENABLE TRIGGER USER;
    UPDATE emailing_changes SET counter = counter - 5;
    COMMIT;
});
ok within(5, sub { $d->decide('test2', 'a@d.example') =~ /^553 / }),
    'a counter behind them, too: the database is not the one it was';
ok within(5, sub { $d->metric('following') }), 'and goes on following';

# -- a process that stands still --------------------------------------------------

# As one that is frozen, or whose machine sleeps: seven seconds before it looks at
# its sockets again, where it finds the question before it finds the time.
$db->user('test4', 'd.example');
ok within(5, sub { $d->decide('test4', 'a@d.example') eq 'DUNNO' }),
    'permitted';
$proxy->mode('hole-down', 'listen');
my $strace = fork // die $!;
if ($strace == 0) {
    exec 'strace', '-qq', '-o', '/dev/null', '-p', $d->pid, '-e',
        'inject=epoll_wait,epoll_pwait:delay_enter=7000000:when=1' or exit 127;
}
ok within(10, sub {
    open my $status, '<', '/proc/' . $d->pid . '/status' or die $!;
    return scalar grep { /^TracerPid:\t[1-9]/ } <$status>;
}), 'policyd stands still';
sleep 0.3;
$db->revoke('test4');
sleep 5.5;
unlike $d->decide('test4', 'a@d.example'), qr/^DUNNO/,
    '... and goes on: what it knew before is not used';
kill TERM => $strace;
waitpid $strace, 0;
$proxy->mode('pass');
ok $d->ready, '... followed again';

# -- a counter that cannot be read ---------------------------------------------------

$db->user('test3', 'd.example');
ok within(5, sub { $d->decide('test3', 'a@d.example') eq 'DUNNO' }),
    'permitted';
$db->sql('REVOKE EXECUTE ON FUNCTION emailing_counter() FROM emailing_policyd');
ok within(5, sub { !$d->metric('following') }),
    'without the counter nothing is followed';
ok within(5, sub { $d->count('changes: not following') }), '... says the log';
$db->revoke('test3');
like $d->decide('test3', 'a@d.example'), qr/^553 /,
    '... and each question goes to the database';
my $lines = $d->count('\n');
sleep 3;
cmp_ok $d->count('\n') - $lines, '<=', 1, '... without a line for each try';
$db->sql('GRANT EXECUTE ON FUNCTION emailing_counter() TO emailing_policyd');
ok $d->ready, 'followed again';
is $d->stop, 0, 'policyd ends as asked';

done_testing;
