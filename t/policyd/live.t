#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Every change is obeyed at once, by three policyds on one database, whether
# mailadmin makes it or SQL typed by hand.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;

use Emailing qw(within);
use Emailing::Daemon::Database ();

my $db = Emailing::Daemon::Database->new;
my @d = map { $db->policyd } 1 .. 3;
ok $_->ready, 'changes are followed' for @d;

# is_now ANSWER, USER, SENDER, NAME: everywhere, soon, and from memory
sub is_now {
    my ($pattern, $user, $sender, $name) = @_;
    for my $d (@d) {
        ok within(2, sub { $d->decide($user, $sender) =~ $pattern }), $name
            or diag "$user $sender: " . $d->decide($user, $sender);
    }
    return;
}

my ($yes, $no, $nobody) = (qr/^DUNNO$/, qr/^553 5\.7\.1 not granted to user/,
                           qr/^553 5\.7\.1 user \S+ may not send$/);

is_now($nobody, 'test1', 'a@one.example', 'unknown');
for my $step (
    ['add user test1', $no], ['add address a@one.example', $no],
    ['grant address a@one.example to test1', $yes],
    ['revoke address a@one.example from test1', $no],
    ['add domain one.example', $no],
    ['grant domain one.example to test1', $yes],
    ['disable user test1', $nobody], ['enable user test1', $yes],
    ['del domain one.example', $no],
    ['add domain one.example', $no],
    ['grant domain one.example to test1', $yes],
    ['del user test1', $nobody], ['add user test1', $no],
    ['grant address a@one.example to test1', $yes],
    ['del address a@one.example', $no]) {
    my ($command, $answer) = @$step;
    $db->mailadmin_ok(split ' ', $command);
    is_now($answer, 'test1', 'a@one.example', $command);
}
$db->mailadmin_ok(split ' ', 'grant domain one.example to test1');
is_now($no, 'test1', 'a@sub.one.example', 'a domain without those below it');
$db->mailadmin_ok(split ' ', 'grant domain one.example to test1 with subdomains');
is_now($yes, 'test1', 'a@sub.one.example', 'and with them');

# -- SQL -------------------------------------------------------------------------------

$db->sql(q{UPDATE emailing_users SET name = 'renamed' WHERE name = 'test1'});
is_now($nobody, 'test1', 'a@one.example', 'a name that was changed');
is_now($yes, 'renamed', 'a@one.example', '... and the new one');
$db->sql(q{UPDATE emailing_domains SET domain = 'two.example'});
is_now($no, 'renamed', 'a@one.example', 'a domain that was changed');
is_now($yes, 'renamed', 'a@two.example', '... and the new one');

$db->sql(q{BEGIN; DELETE FROM emailing_users_domains; ROLLBACK});
is_now($yes, 'renamed', 'a@two.example', 'rolled back: nothing changed');

$db->user("many$_", 'many.example') for 1 .. 3;
is_now($yes, "many$_", 'a@many.example', 'several users') for 1 .. 3;
$db->sql(q{DELETE FROM emailing_users_domains WHERE id_user IN
    (SELECT id FROM emailing_users WHERE name LIKE 'many%')});
is_now($no, "many$_", 'a@many.example', 'revoked in one statement') for 1 .. 3;

is_now($yes, 'renamed', 'a@two.example', 'others are not touched');
$db->sql('TRUNCATE emailing_users_domains');
is_now($no, 'renamed', 'a@two.example', 'TRUNCATE of grants');
$db->user('renamed', 'two.example');
is_now($yes, 'renamed', 'a@two.example', 'granted');
$db->sql('TRUNCATE emailing_users CASCADE');
is_now($nobody, 'renamed', 'a@two.example', 'TRUNCATE of users');

# -- passwords -------------------------------------------------------------------------

$db->mailadmin_ok('add', 'user', 'login');
is $_->auth('login', 'secret'), 'ok', 'a login' for @d;
my @hashes = map { $_->metric('hashes_total') } @d;
is $_->auth('login', 'secret'), 'ok', 'again' for @d;
is_deeply [map { $_->metric('hashes_total') } @d], \@hashes,
    '... without a hash';
$db->user('login', 'x.example');
is_now($yes, 'login', 'a@x.example', 'a grant');
is $_->auth('login', 'secret'), 'ok', 'a login' for @d;
is_deeply [map { $_->metric('hashes_total') } @d], \@hashes,
    'a change that leaves the secret alone leaves the password known';
$db->sql(q{UPDATE emailing_users SET passwd = '*'});
for my $d (@d) {
    ok within(2, sub { $d->auth('login', 'secret') eq 'denied' }),
        'another secret: the password of before is denied';
}

is $_->metric('cache_resets_total'), 1, 'nothing but the start dropped all'
    for @d;
is $_->stop, 0, 'policyd ends as asked' for @d;

done_testing;
