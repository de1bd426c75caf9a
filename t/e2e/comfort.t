#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Two secrets at once while a password is changed, references of refusals that
# the client, the log and mailadmin share, and grants that end.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;

use Emailing qw(within);

my $system = Emailing->up(conf => { refusal_reference => 'yes' });
$system->make_session('secret');

# -- references ---------------------------------------------------------------

my $smtp = $system->logged_in('test1', 'secret');
$smtp->command('MAIL FROM:<user@demo.com>');
my $reply = $smtp->command('RCPT TO:<a@example.com>');
like $reply, qr/^553 5\.7\.1 <user\@demo\.com>: Sender address rejected: not granted to user test1 \(ref [A-Z2-9]{6}\)\r?\n?\z/,
    'a refusal ends in a reference';
my ($reference) = $reply =~ /\(ref (\w+)\)/;
ok $system->wait_log('policyd', qr/reason=not-granted us=\d+ ref=$reference$/m),
    'its line in the log has it, too';
my ($status, $out) = $system->mailadmin(
    [qw(check --ref), $reference], $system->log('policyd'));
is $status, 1, 'mailadmin finds it';
like $out, qr/^refused: not granted to user test1\n/, 'and explains it';
like $out, qr/^  sender: user\@demo\.com$/m, 'for its sender';
($status, $out) = $system->mailadmin([qw(check --ref), $reply =~ s/\s+\z//r]);
is $status, 1, 'from what the client was told alone, too';
my ($line) = grep { /Sender address rejected/ }
    split /\n/, $system->log('maillog');
($status, $out) = $system->mailadmin([qw(check --log), $line // 'none']);
is $status, 1, 'and from the log of Postfix';
like $out, qr/^  to permit: mailadmin add address user\@demo\.com$/m,
    'with what to do';
my @refs = map { ($system->policy({ sasl_username => 'test1',
    sender => "u$_\@demo.com" }) =~ /\(ref (\w+)\)/) } 1 .. 20;
my %different = map { $_ => 1 } @refs;
is scalar(keys %different), 20, 'each refusal has one of its own';
is $system->policy({ sasl_username => 'test1', sender => 'user@test1.com' }),
    'DUNNO', 'what is permitted has none';

# -- two secrets --------------------------------------------------------------

is $system->auth('test1', 'secret'), 'ok', 'the password before';
$system->mailadmin_ok([qw(passwd test1 --overlap 24h)], "second\n");
ok within(5, sub { ($system->auth('test1', 'second') // '') eq 'ok' }),
    'the new one';
is $system->auth('test1', 'secret'), 'ok', 'and the old one, meanwhile';
is $system->auth('test1', 'third'), 'denied', 'but no other';
$system->logged_in('test1', $_) for qw(secret second);
pass 'both through SMTP';
$system->sql("UPDATE emailing_users SET old_until = now() - interval '1 second'
    WHERE name = 'test1'");
ok within(5, sub { $system->auth('test1', 'secret') eq 'denied' }),
    'the old one is refused afterwards';
is $system->auth('test1', 'second'), 'ok', 'the new one stays';

# It ends by the clock, with no change of the database.
$system->mailadmin_ok([qw(passwd test1 --overlap 2s)], "third\n");
ok within(5, sub { $system->auth('test1', 'third') eq 'ok' }), 'once more';
ok within(10, sub { $system->auth('test1', 'second') eq 'denied' }),
    'the old one ends by itself';

# -- grants that end ----------------------------------------------------------

$system->mailadmin_ok([qw(add address soon@example.com)]);
my @now = gmtime(time + 3);
my $until = sprintf '%04d-%02d-%02dT%02d:%02d:%02d', $now[5] + 1900,
    $now[4] + 1, @now[3, 2, 1, 0];
$system->mailadmin_ok([qw(grant address soon@example.com to test1 until),
    $until]);
my $asked = { sasl_username => 'test1', sender => 'soon@example.com' };
ok within(5, sub { $system->policy($asked) eq 'DUNNO' }),
    'a grant that will end permits';
ok within(10, sub { $system->policy($asked) =~ /^553 5\.7\.1 not granted/ }),
    'and ends by itself';

done_testing;
