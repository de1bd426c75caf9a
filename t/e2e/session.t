#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# The documented session, byte for byte, then mail through the real Postfix.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;
use Time::HiRes qw(sleep);

use Emailing;

my $s = Emailing->up;
my $password = 'a-Secret of test1';

sub output_is {
    my ($words, $expected) = @_;
    my ($status, $out, $err) = $s->mailadmin([split ' ', $words]);
    is_deeply [$status, $out, $err], [0, $expected, ''], $words;
    return;
}

# -- mailadmin ----------------------------------------------------------------

output_is("list $_", "--- emailing_$_ ---\n")
    for qw(users addresses domains);
for my $user (qw(test1 test2)) {
    is_deeply [$s->mailadmin([qw(add user), $user], "$password\n")],
        [0, '', ''], "add user $user";
}
output_is($_, '') for 'add address user@test1.com', 'add domain test1.com',
    'grant address user@test1.com to test1',
    'grant address user@test1.com to test2',
    'grant domain test1.com to test1', 'grant domain test1.com to test2';
output_is('list users', <<'END');
--- emailing_users ---
    - test1
    - test2
END
output_is('list addresses', <<'END');
--- emailing_addresses ---
    - user@test1.com
END
output_is('list domains', <<'END');
--- emailing_domains ---
    - test1.com
END
output_is('show user test1', <<'END');
--- Show test1 ---
  Domains:
    * test1.com
  Adress:
    * user@test1.com
END
output_is('show address user@test1.com', <<'END');
--- Show user@test1.com ---
  Users:
    * test1
    * test2
END
output_is('show domain test1.com', <<'END');
--- Show test1.com ---
  Users:
    * test1
    * test2
END

# -- SMTP ---------------------------------------------------------------------

unlike $s->smtp->ehlo, qr/AUTH/, 'no AUTH offered without TLS';
my $smtp = $s->smtp->starttls;
like $smtp->ehlo, qr/^250-AUTH PLAIN LOGIN$/m, 'AUTH offered with TLS';
unlike $smtp->ehlo, qr/CHUNKING|ETRN|VRFY/, 'nothing more than needed';
like $smtp->auth_plain('test1', 'wrong'), qr/^535 /, 'wrong password: 535';
like $smtp->auth_plain('test1', $password), qr/^235 /, 'AUTH PLAIN';

for my $sender (qw(user@test1.com anything@test1.com)) {
    $s->sink_clear;
    like $smtp->send($sender, body => "from $sender"), qr/^250 .*queued/,
        "$sender is accepted";
    my ($message) = $s->sink_messages(1);
    is $message->{from}, $sender, '... and arrives with this envelope sender';
    is_deeply $message->{to}, ['someone@example.com'], '... and recipient';
    like $message->{body}, qr/^from \Q$sender\E$/m, '... and body';
}
is $smtp->send('user@demo.com'), '553 5.7.1 <user@demo.com>: '
    . 'Sender address rejected: not granted to user test1',
    'a sender that is not granted';
is $smtp->send(''), '553 5.7.1 <>: Sender address rejected: '
    . 'null sender not granted to user test1', 'the null sender';
is $smtp->send('user@demo.com', to => 'postmaster'),
    '553 5.7.1 <DATA>: Data command rejected: not granted to user test1',
    'a bare recipient postmaster is no way around';
like $smtp->send('user@test1.com', to => 'postmaster'), qr/^250 /,
    'a granted sender may write to it';

like $s->smtp->starttls->send('user@test1.com'), qr/^553 5\.7\.1 .*authentic/,
    'no login: refused';
like $s->smtp->starttls->send('user@test1.com', to => 'postmaster'),
    qr/^553 5\.7\.1 .*authentic/, 'no login, bare postmaster: refused';
like $s->smtp->send('user@test1.com'), qr/^530 /, 'no TLS: refused';

# -- a change -----------------------------------------------------------------

output_is('revoke domain test1.com from test1', '');
# The notification travels beside the message, and on a busy machine comes
# second; t/policyd/live.t measures it, t/policyd/lost.t does without.
my $answer;
for (1 .. 50) {
    $answer = $smtp->send('anything@test1.com');
    last if $answer !~ /^250 /;
    sleep 0.1;
}
is $answer, '553 5.7.1 <anything@test1.com>: '
    . 'Sender address rejected: not granted to user test1',
    'revoked: refused in the same session';
like $smtp->send('user@test1.com'), qr/^250 /, 'the address is still granted';
is $s->mailadmin_ok([qw(show user test1)]),
    "--- Show test1 ---\n  Domains:\n  Adress:\n    * user\@test1.com\n",
    'and shown so';
my $other = $s->logged_in('test2', $password);
like $other->send('anything@test1.com'), qr/^250 /, 'test2 keeps the domain';

# -- the logs -----------------------------------------------------------------

like $s->log('policyd'), qr/policy: reject: user=test1 sender=user\@demo\.com/,
    'policyd logs a refusal';
unlike $s->log('policyd') . $s->log('maillog') . $s->log('postgres'),
    qr/\Q$password\E/, 'no log has the password';

done_testing;
