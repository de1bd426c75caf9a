#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Logins through a real Postfix with odd names, odd passwords, odd stored
# secrets and an odd plugin beside ours. The cases A4 to A8.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Digest::MD5 qw(md5_hex);
use MIME::Base64 qw(encode_base64);
use Test::More;

use Emailing qw(within);
use Emailing::Case qw(case);
use Emailing::Policyd ();

my $s = Emailing->up;
my $password = "p\xc3\xa4ss word";
my $refused = '535 5.7.8 Error: authentication failed: authentication failure';

sub counts { return Emailing::Policyd::counts($s, @_) }

# What has cost anything so far: queries and hashes.
sub costs {
    return join ' ', counts('database_query_duration_seconds_count',
                            'hashes_total');
}

# A user with this secret as it stands in the table.
sub set_secret {
    my ($user, $secret) = @_;
    my $value = defined $secret ? q(') . $secret =~ s/'/''/gr . q(') : 'NULL';
    $s->sql("INSERT INTO emailing_users (name, passwd) VALUES ('$user', $value)"
        . ' ON CONFLICT (name) DO UPDATE SET passwd = EXCLUDED.passwd');
    return;
}

sub stored {
    return $s->sql("SELECT passwd FROM emailing_users WHERE name = '$_[0]'");
}

sub cheap { return crypt $_[0], '$6$rounds=1000$saltsalt$' }

# In a session of its own; how: plain or login.
sub try {
    my ($how, @args) = @_;
    my $smtp = $s->smtp->starttls;
    my $method = "auth_$how";
    return $smtp->$method(@args);
}

# All clients here are one, whose failures would soon count as guessing; what
# was counted ends with the process.
sub begin {
    $s->service($_ => 'policyd') for qw(stop start);
    within(10, sub { $s->policy({ sasl_username => 'none',
        sender => 'a@b.c' }) =~ /^553 / }) or die 'policyd has no database';
    return;
}

set_secret('test1', cheap($password));
like try(plain => 'test1', $password), qr/^235 /, '(a good login)';

# -- names -------------------------------------------------------------------------

case 'A4';
my %names = (
    'NUL behind the name' => "test1\0x", 'NUL before it' => "\0test1",
    'a control character' => "test\x011", 'an escape' => "\e]0;x\atest1",
    'a newline' => "test1\nuser=test1", 'a carriage return' => "te\rst1",
    'a quote' => "te'st1", 'a percent sign' => 'test1%s%n',
    'bad UTF-8' => "test1\xff\xc3(", 'UTF-8' => "t\xc3\xa4st1",
    'a full-width letter' => "\xef\xbd\x94est1", '129 bytes' => 'x' x 129,
    '1,025 bytes' => 'x' x 1025, 'a space within' => 'te st1',
    'spaces only' => '   ', 'a tab' => "test1\tx", 'SQL' => "' OR 1=1 --",
    'a question mark' => 'test?', 'a backslash' => 'test\\1', 'empty' => '',
);
my $before = costs();
for my $name (sort keys %names) {
    like try(login => $names{$name}, $password), qr/^(?:535|454) /,
        "$name: LOGIN";
    # PLAIN has NUL between its parts.
    like try(plain => $names{$name}, $password), qr/^(?:535|454|501) /,
        "$name: PLAIN" if $names{$name} !~ /\0/;
}
is try(login => $names{$_}, $password), $refused,
    "$_: the same answer as to a wrong password"
    for 'a quote', 'a percent sign', '129 bytes', 'bad UTF-8';
is costs(), $before, 'nobody was looked for, nothing hashed';
is_deeply [grep { /[^\x20-\x7e]/ } split /\n/, $s->log('policyd')], [],
    "each line of policyd's log is printable";
# Postfix shows UTF-8 as it is.
is_deeply [grep { /[\x00-\x1f\x7f]/ } split /\n/, $s->log('maillog')], [],
    "... and of Postfix's";
is_deeply [grep { !/^(?:\w{3} [ \d]\d |\d{4}-)/ } split /\n/,
           $s->log('maillog')], [], '... and is one line';

# -- passwords -----------------------------------------------------------------------

case 'A5';
begin();
set_secret('one', cheap('x'));
set_secret('many', cheap('y' x 511));
for my $how (qw(plain login)) {
    like try($how, 'one', 'x'), qr/^235 /, "\U$how: 1 byte";
    like try($how, 'many', 'y' x 511), qr/^235 /, "\U$how: 511 bytes";
    like try($how, 'test1', $password), qr/^235 /, "\U$how: 8-bit";
    $before = costs();
    like try($how, 'many', $_), qr/^5\d\d /, "\U$how: " . length . ' bytes'
        for '', map { 'y' x $_ } 512, 1024, 1025, 8192;
    is costs(), $before, "\U$how: ... nothing hashed for them";
}

# The plugin's way around, in whose place anyone may be who can reach it.
my $socket = $s->auth_socket;
for my $length (0, 512, 1024, 1025, 5000) {
    is $socket->auth('many', 'y' x $length)->{status}, 'denied',
        "$length bytes to policyd itself";
}
is costs(), $before, '... nothing hashed';
$socket->send("request=auth\nuser=many\npassword=" . encode_base64('y' x 8192, '')
    . "\nclient=192.0.2.1\nservice=smtp\n\n");
ok $socket->closed, '8,192 bytes are over the length of a line';

# -- what the original stored --------------------------------------------------------

case 'A6';
begin();
my $md5 = md5_hex($password);
set_secret('legacy', $md5);
is try(plain => 'legacy', 'wrong'), $refused, 'a wrong password';
is stored('legacy'), $md5, '... leaves the row alone';
is try(plain => 'legacy', $md5), $refused, 'the digest is no password';
like try(plain => 'legacy', $password), qr/^235 /, 'the right one';
ok within(5, sub { stored('legacy') =~ /^\$y\$j9T\$/ }), '... replaces it';
like try(login => 'legacy', $password), qr/^235 /, '... and is right again';
is try(plain => 'legacy', 'wrong'), $refused, '... a wrong one wrong';

set_secret('readonly', $md5);
my $database = $s->sql('SELECT current_database()');
$s->sql("ALTER DATABASE $database SET default_transaction_read_only = on;
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE usename = 'emailing_policyd'", user => 'postgres');
ok within(5, sub { try(plain => 'readonly', $password) =~ /^235 / }),
    'the database read-only: the right password is right';
ok $s->wait_log('policyd', qr/warning: .*"readonly" could not be replaced/),
    '... with a warning';
is stored('readonly'), $md5, '... the row unchanged';
is try(plain => 'readonly', 'wrong'), $refused, '... a wrong one wrong';
$s->sql("SET default_transaction_read_only = off;
    ALTER DATABASE $database RESET default_transaction_read_only;
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE usename = 'emailing_policyd'", user => 'postgres');

# -- what nobody can log in with -----------------------------------------------------

case 'A7';
begin();
$s->sql('ALTER TABLE emailing_users DROP CONSTRAINT emailing_users_passwd');
my %corrupt = (
    'empty' => '', 'star' => '*', 'y' => '$y$', 'yj9t' => '$y$j9T$',
    'hex31' => substr($md5, 1), 'hex33' => "${md5}0", 'nine' => '$9$x',
    'scram0' => 'SCRAM-SHA-256$0:', 'null' => undef, 'star0' => '*0',
    'des' => 'ab', 'plain' => $password, 'locked' => '!' . cheap($password),
    'cut' => substr(cheap($password), 0, -1), 'long' => '$6$' . 'a' x 4000,
    'nonhex' => 'g' x 32, 'scram' => 'SCRAM-SHA-256$4096:c2FsdA==$x:y',
);
for my $name (sort keys %corrupt) {
    set_secret("bad-$name", $corrupt{$name});
    my %tried = map { $_ => 1 } $password, 'x',
        grep { length && length() < 512 } $corrupt{$name} // '';
    is try(plain => "bad-$name", $_), $refused, "$name: refused"
        for sort keys %tried;
    like try(plain => "bad-$name", ''), qr/^5\d\d /, "$name: an empty one, too";
    ok within(5, sub { $s->log('policyd')
        =~ /auth: denied: user=bad-\Q$name\E .*reason=unusable-secret/ }),
        "$name: the log says so";
}

# -- another plugin beside ours --------------------------------------------------------

case 'A8';
begin();
my $conf = $s->home . '/postfix/etc/sasl/smtpd.conf';
my $queue = $s->home . '/postfix/queue';

# The plugin for sasldb2 is where libsasl looks; its file cannot be read.
sub set_conf {
    my (%options) = @_;
    open my $in, '<', $conf or die $!;
    my @lines = grep { !/^(?:auxprop_plugin|sasldb_path):/ } <$in>;
    open my $out, '>', $conf or die $!;
    print $out @lines, map { "$_: $options{$_}\n" } sort keys %options;
    close $out or die $!;
    $s->service($_ => 'postfix') for qw(stop start);
    return;
}
open my $file, '>', "$queue/sasldb2" or die $!;
print $file "not a database\n";
close $file or die $!;
chmod 0600, "$queue/sasldb2";
set_conf(auxprop_plugin => 'emailing', sasldb_path => '/sasldb2');
for my $how (qw(plain login)) {
    like try($how, 'test1', $password), qr/^235 /, "\U$how: right";
    is try($how, 'test1', 'wrong'), $refused, "\U$how: wrong";
    is try($how, 'nobody', $password), $refused, "\U$how: an unknown user";
}
$s->service(stop => 'policyd');
like try(plain => 'test1', $password), qr/^454 /, 'without policyd: 454';
$s->service(start => 'policyd');
ok within(5, sub { try(plain => 'test1', $password) =~ /^235 / }), 'and with it';
# So it would be without the line that names ours alone.
set_conf(sasldb_path => '/sasldb2');
like try(plain => 'test1', $password), qr/^454 /,
    '(the other one is there: asked, too, it spoils every login)';

done_testing;
