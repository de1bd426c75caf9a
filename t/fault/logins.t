#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# What a client sees of each kind of login, in a chrooted smtpd and not. The
# cases A1 and A3.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use MIME::Base64 qw(encode_base64);
use Test::More;

use Emailing qw(run);
use Emailing::Case qw(case);

my $s = Emailing->up(conf => { scram => 'yes' });
my $password = "p\xc3\xa4ss word";
my $refused = '535 5.7.8 Error: authentication failed: authentication failure';
my $etc = $s->home . '/postfix/etc';

$s->make_session($password);
$s->mailadmin_ok([qw(add user disabled)], "$password\n");
$s->mailadmin_ok([qw(disable user disabled)]);
$s->sql(q(UPDATE emailing_users SET passwd = ') . $_->[1]
    . q(' WHERE name = ') . $_->[0] . q('))
    for ['test2', scram_secret()];

# The form of RFC 5803, made here and not by the code under test.
sub scram_secret {
    require Digest::SHA;
    my ($salt, $iterations) = ('0123456789abcdef', 4096);
    my $u = Digest::SHA::hmac_sha256($salt . pack('N', 1), $password);
    my $salted = $u;
    for (2 .. $iterations) {
        $u = Digest::SHA::hmac_sha256($u, $password);
        $salted ^= $u;
    }
    my $stored = Digest::SHA::sha256(
        Digest::SHA::hmac_sha256('Client Key', $salted));
    my $server = Digest::SHA::hmac_sha256('Server Key', $salted);
    return "SCRAM-SHA-256\$$iterations:" . encode_base64($salt, '') . '$'
        . encode_base64($stored, '') . ':' . encode_base64($server, '');
}

sub set_mechanisms {
    my ($mechanisms) = @_;
    my $path = "$etc/sasl/smtpd.conf";
    open my $in, '<', $path or die;
    my $text = do { local $/; <$in> };
    $text =~ s/^mech_list: .*/mech_list: $mechanisms/m;
    open my $out, '>', $path or die;
    print $out $text;
    close $out or die;
    return;
}

# Each in a session of its own: an attempt must not lean on the one before.
sub try {
    my ($how, @args) = @_;
    my $smtp = $s->smtp->starttls;
    my $method = "auth_$how";
    return $smtp->$method(@args);
}

sub logins {
    my ($where) = @_;
    case 'A1';
    for my $how (qw(plain login)) {
        my $name = "$where, \U$how";
        like try($how, 'test1', $password), qr/^235 /, "$name: right";
        like try($how, 'TEST1', $password), qr/^235 /, "$name: other case";
        like try($how, 'test2', $password), qr/^235 /, "$name: SCRAM secret";
        is try($how, @$_[0, 1]), $refused, "$name: $_->[2]"
            for ['test1', 'wrong', 'wrong password'],
            ['test2', 'wrong', 'wrong password, SCRAM secret'],
            ['nobody', $password, 'unknown user'],
            ['disabled', $password, 'disabled user'],
            ['test1', 'x' x 600, 'a password that is too long'],
            ["te'st1", $password, 'a name that is none'];
    }
    case 'A3';
    like try('plain', 'test1', $password, 'test1'), qr/^235 /,
        "$where: authzid the same";
    like try('plain', 'test1', $password, $_), qr/^535 /,
        "$where: authzid $_" for qw(test2 TEST1 disabled nobody root *);
    case '';
    return;
}

logins('chrooted');

system('postconf', '-c', $etc, '-F',
       '127.0.0.1:' . $s->env('EMAILING_SMTP_PORT') . '/inet/chroot=n') == 0
    or die 'postconf';
set_mechanisms('PLAIN LOGIN SCRAM-SHA-256');
$s->service(stop => 'postfix');
$s->service(start => 'postfix');
logins('unchrooted');

# -- SCRAM, by a client that is not ours ----------------------------------------

sub gsasl {
    my ($user, $secret) = @_;
    my ($address, $port) = split /:/, $s->env('EMAILING_SMTP');
    # The command line of gsasl has no other place for a password.
    my ($status, $out, $err) = run(['timeout', '30', 'gsasl', '--client',
        '--smtp', '--no-cb', '--quiet', "--x509-ca-file=" . $s->env('EMAILING_CA'),
        '--hostname=localhost', '--mechanism=SCRAM-SHA-256',
        "--authentication-id=$user", "--password=$secret",
        "--connect=localhost:$port"], '');
    return "$out$err";
}

like gsasl('test2', $password), qr/^235 /m, 'SCRAM-SHA-256: right';
like gsasl('test2', 'wrong'), qr/^535 /m, 'SCRAM-SHA-256: wrong password';
like gsasl($_, $password), qr/^535 /m, "SCRAM-SHA-256: $_"
    for qw(nobody test1 disabled);

unlike $s->log('policyd') . $s->log('maillog'), qr/\Q$password\E/,
    'no log has the password';
my @failures = $s->log('policyd') =~ /auth: .*user=nobody/g;
is scalar @failures, 4, 'one line for each failed PLAIN and LOGIN';

done_testing;
