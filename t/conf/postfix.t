#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# The fragments for main.cf and master.cf, on the real Postfix: it takes them
# without a warning, they hold when policyd is away, and they leave no way
# around the login.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;

use Emailing qw(run);

my $s = Emailing->up;
my $password = 'secret';
my $etc = $s->home . '/postfix/etc';
$s->make_session($password);

for my $words ('-n', '-P', '-M') {
    my ($status, $out, $err) = run(['postconf', '-c', $etc, $words]);
    is_deeply [$status, $err], [0, ''], "postconf $words: no warning";
}
is +(run(['postfix', '-c', $etc, 'check']))[0], 0, 'postfix check';

# -- nothing more than the service is for -------------------------------------

my $smtp = $s->logged_in('test1', $password);
like $smtp->command('VRFY user@test1.com'), qr/^502 /, 'VRFY';
like $smtp->command('ETRN test1.com'), qr/^554 /, 'ETRN';
$smtp->mail('user@test1.com');
$smtp->rcpt('someone@example.com');
like $s->smtp->starttls->command('BDAT 0 LAST'), qr/^5\d\d /, 'BDAT';
unlike $smtp->ehlo, qr/XCLIENT|XFORWARD/, 'XCLIENT is not offered';

# A host that lets its proxies set the login name for another service.
system('postconf', '-c', $etc, '-e', 'smtpd_authorized_xclient_hosts=127.0.0.1',
       'mynetworks=127.0.0.0/8',
       'smtpd_sender_restrictions=permit_mynetworks',
       'smtpd_client_restrictions=permit_mynetworks',
       'smtpd_sasl_local_domain=realm.example') == 0 or die;
$s->service(stop => 'postfix');
$s->service(start => 'postfix');
unlike $s->smtp->starttls->ehlo, qr/XCLIENT/,
    'XCLIENT allowed elsewhere is not offered here';
like $s->smtp->starttls->send('user@test1.com'), qr/^553 /,
    'a client in mynetworks is refused without a login';
$smtp = $s->logged_in('test1', $password);
like $smtp->send('user@test1.com'), qr/^250 /, 'a login needs no realm';
like $smtp->send('ceo@demo.com'), qr/^553 /, 'and is held to its grants';

# A message within a message: the second one's sender nobody was asked about.
$smtp->mail('user@test1.com');
$smtp->rcpt('someone@example.com');
like $smtp->command('DATA'), qr/^354 /, 'DATA';
$smtp->put("Subject: one\r\n\r\nbody\n.\nMAIL FROM:<ceo\@demo.com>\r\n"
    . "RCPT TO:<someone\@example.com>\r\nDATA\r\nSubject: two\r\n\r\n.\r\n");
my $reply = $smtp->reply;
$s->sink_messages(1);
unlike $s->log('maillog'), qr/qmgr\[\d+\]: \w+: from=<ceo\@demo\.com>/,
    "a bare newline ends no message ($reply)";

# -- policyd away -------------------------------------------------------------

my $before = $s->logged_in('test1', $password);
$s->service(stop => 'policyd');
is $before->send('user@test1.com'), '451 4.3.0 <user@test1.com>: Sender '
    . 'address rejected: permission lookup failed, try again later',
    'policyd stopped: 451, in our words';
is $before->send('user@test1.com', to => 'postmaster'), '451 4.3.0 <DATA>: '
    . 'Data command rejected: permission lookup failed, try again later',
    '... at DATA too';
like $s->smtp->starttls->auth_plain('test1', $password), qr/^454 /,
    '... and logins get 454';
$s->service(start => 'policyd');
like $before->send('user@test1.com'), qr/^250 /,
    'policyd started: the same session goes on';

kill STOP => $s->pid('policyd');
my $hung = $before->send('user@test1.com');
kill CONT => $s->pid('policyd');
like $hung, qr/^451 4\.3\.0 /, 'policyd hung: 451';

done_testing;
