#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# The auth socket: every form of stored secret, what is refused without
# hashing, what is remembered and for how long, SCRAM verifiers, and who may
# connect at all.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Digest::MD5 qw(md5_hex);
use Digest::SHA ();
use MIME::Base64 qw(encode_base64 decode_base64);
use Test::More;

use Emailing qw(run within);
use Emailing::Policyd ();

my $s = Emailing->up(conf => { cache_ttl => 3600 });
my $password = "p\xc3\xa4ss: word=";
my $client = 1;

sub reload { return Emailing::Policyd::reload($s, @_) }
sub counts { return Emailing::Policyd::counts($s, @_) }

# Each from an address of its own, so that no limit is met here.
sub login {
    my ($user, $given) = @_;
    $client++;
    return $s->auth($user, $given, client => join '.', 198, 51,
                    $client >> 8, $client & 255);
}

sub quoted {
    my ($text) = @_;
    return 'NULL' if !defined $text;
    return q(') . $text =~ s/'/''/gr . q(');
}

# A user with this secret as it stands in the table, or a new secret.
sub set_secret {
    my ($user, $secret) = @_;
    my $value = quoted($secret);
    $s->sql("INSERT INTO emailing_users (name, passwd) VALUES ('$user', $value)"
        . ' ON CONFLICT (name) DO UPDATE SET passwd = EXCLUDED.passwd');
    return;
}

sub stored { return $s->sql("SELECT passwd FROM emailing_users WHERE name = '$_[0]'") }

# RFC 5803, made here and not by the code under test.
sub scram_secret {
    my ($given, $iterations) = @_;
    my $salt = '0123456789abcdef';
    my $u = Digest::SHA::hmac_sha256($salt . pack('N', 1), $given);
    my $salted = $u;
    for (2 .. $iterations) {
        $u = Digest::SHA::hmac_sha256($u, $given);
        $salted ^= $u;
    }
    return "SCRAM-SHA-256\$$iterations:" . encode_base64($salt, '') . '$'
        . encode_base64(Digest::SHA::sha256(Digest::SHA::hmac_sha256(
            'Client Key', $salted)), '') . ':'
        . encode_base64(Digest::SHA::hmac_sha256('Server Key', $salted), '');
}

# -- forms -------------------------------------------------------------------------

my %forms = (
    md5crypt => crypt($password, '$1$saltsalt$'),
    sha256crypt => crypt($password, '$5$rounds=1000$saltsalt$'),
    sha512crypt => crypt($password, '$6$rounds=1000$saltsalt$'),
    bcrypt => crypt($password, '$2b$04$abcdefghijklmnopqrstuu'),
    yescrypt => crypt($password, '$y$j75$saltsaltsaltsalt$'),
    scram => scram_secret($password, 4096),
);
for my $form (sort keys %forms) {
    set_secret($form, $forms{$form});
    is login($form, $password), 'ok', "$form: right";
    is login($form, "$password "), 'denied', "$form: wrong";
    is login($form, $password), 'ok', "$form: right again";
    is login(uc $form, $password), 'ok', "$form: name in capitals";
    is stored($form), $forms{$form}, "$form: untouched";
}

my %corrupt = (
    empty => '', star => '*', locked => "!$forms{sha512crypt}", y => '$y$',
    yj9t => '$y$j9T$', noend => substr($forms{yescrypt}, 0, -1),
    hex31 => 'a' x 31, hex33 => 'a' x 33, unknown => '$9$x$y',
    error0 => '*0', error1 => '*1', null => undef, plain => $password,
    scram0 => 'SCRAM-SHA-256$0:', scramcut => substr($forms{scram}, 0, -1),
    scramfew => $forms{scram} =~ s/4096/4095/r,
    scramhuge => $forms{scram} =~ s/4096/4294967296/r,
    scramsalt => $forms{scram} =~ s/:[^\$]*/:!!!!/r,
    long => '$6$' . 'a' x 4000,
);
my @refused;
for my $name (sort keys %corrupt) {
    # What the table itself does not take cannot be met here.
    eval { set_secret("bad-$name", $corrupt{$name}); 1 } or next;
    push @refused, $name;
    is login("bad-$name", $_ // ''), 'denied', "corrupt ($name): denied"
        for $password, $corrupt{$name} || 'x';
}
cmp_ok @refused, '>=', 10, 'the table takes many of them';
for my $name (@refused) {
    ok within(5, sub {
        $s->log('policyd') =~ /auth: denied: user=bad-\Q$name\E client=\S+ service=smtp reason=unusable-secret us=\d+$/m;
    }), "corrupt ($name): the log says so";
}

# -- names and passwords ----------------------------------------------------------------

my ($hashes) = counts('hashes_total');
is login('yescrypt', $_->[1]), 'denied', "a password of $_->[0]"
    for ['no bytes', ''], ['512 bytes', 'x' x 512], ['1,024', 'x' x 1024],
    ['5,000', 'x' x 5000], ['a NUL', "a\0b"], ['only a NUL', "\0"],
    ['a NUL behind it', "$password\0"];
my $socket = $s->auth_socket;
for my $raw ('!!!!', 'YQ', 'YQ=', '=', '====', 'YQ==YQ==', ' YQ==', '') {
    $socket->send("request=auth\nuser=yescrypt\npassword=$raw\n\n");
    is $socket->auth_reply->{status}, 'denied', qq(not base64: "$raw");
}
$socket->send("request=auth\nuser=yescrypt\n\n");
is $socket->auth_reply->{status}, 'denied', 'no password at all';
is login($_, $password), 'denied', 'a name that is none'
    for '', "it's", '%', 'a b', "\xff\xfe", "a\tb", 'x' x 129, 'a;b', "\\x41";
is((counts('hashes_total'))[0], $hashes, 'none of these cost a hash');
set_secret('n' x 128, crypt('y' x 511, '$6$rounds=1000$saltsalt$'));
is login('n' x 128, 'y' x 511), 'ok', 'the longest name and password';
is login('n' x 128, 'y' x 510), 'denied', 'and one byte less';

# Who does not exist costs what others do; wrong secrets no less.
for my $user (qw(nobody bad-star yescrypt md5crypt)) {
    my ($before) = counts('hashes_total');
    is login($user, 'wrong'), 'denied', "$user: denied";
    is((counts('hashes_total'))[0], $before + 1, "$user: at the cost of a hash");
}
$s->mailadmin_ok([qw(disable user yescrypt)]);
ok within(5, sub { login('yescrypt', $password) eq 'denied' }),
    'disabled, also for a remembered password';

ok $s->wait_log('policyd', qr/reason=disabled us=/), 'the line for a disabled user';
my $log = $s->log('policyd');
like $log, qr/ emailing-policyd\[\d+\]: auth: denied: user=nobody client=198\.51\.\d+\.\d+ service=smtp reason=unknown-user us=\d+$/m,
    'the line for an unknown user';
like $log, qr/user=yescrypt client=\S+ service=smtp reason=wrong-password us=/,
    'for a wrong password';
like $log, qr/user=\\xff\\xfe client=\S+ service=smtp reason=malformed-user us=/,
    'for a name that is none: escaped';
unlike $log, qr/\Q$password\E|@{[quotemeta encode_base64($password, '')]}/,
    'no password is in the log';
unlike $log, qr/auth: ok/, 'good logins have no line';

# -- the original's MD5 -----------------------------------------------------------------------

my $md5 = md5_hex($password);
set_secret('legacy', $md5);
is login('legacy', 'wrong'), 'denied', 'upgrade: wrong password';
is stored('legacy'), $md5, 'is left alone';
is login('legacy', $md5), 'denied', 'the digest is no password';
is login('legacy', $password), 'ok', 'upgrade: right password';
ok within(5, sub { stored('legacy') =~ /^\$y\$j9T\$/ }), 'is replaced';
is login('legacy', $password), 'ok', 'and still right';
ok $s->wait_log('policyd', qr/the MD5 secret of user "legacy" was replaced/),
    'and the log says so';
set_secret('capitals', uc $md5);
is login('capitals', $password), 'ok', 'digits in capitals';

reload(legacy_md5 => 'verify');
set_secret('legacy', $md5);
is login('legacy', $password), 'ok', 'verify: right password';
is login('legacy', $password), 'ok', 'verify: again';
is login('legacy', 'wrong'), 'denied', 'verify: wrong password';
is stored('legacy'), $md5, 'verify: untouched';
reload(legacy_md5 => 'refuse');
is login('legacy', $password), 'denied',
    'refuse: right password';
is stored('legacy'), $md5, 'refuse: untouched';

reload(legacy_md5 => 'upgrade', password_scheme => 'scram-sha-256',
       scram_iterations => 5000);
is login('legacy', $password), 'ok', 'upgrade to SCRAM';
ok within(5, sub { stored('legacy') =~ /^SCRAM-SHA-256\$5000:/ }),
    'with the iterations of the configuration';
is login('legacy', $password), 'ok', 'is right, too';

# A secret that cannot be written does not fail the login.
$s->sql('ALTER FUNCTION emailing_upgrade_secret(text, text, text) RENAME TO gone');
set_secret('legacy', $md5);
is login('legacy', $password), 'ok', 'no function to write with: still ok';
ok $s->wait_log('policyd', qr/warning: .*"legacy" could not be replaced; it still works/),
    'with a warning';
$s->sql('ALTER FUNCTION gone(text, text, text) RENAME TO emailing_upgrade_secret');
is stored('legacy'), $md5, 'and the row as it was';
is login('legacy', $password), 'ok', 'remembered now';
reload(legacy_md5 => 'refuse');
is login('legacy', $password), 'denied', 'refuse: not even when remembered';
reload(legacy_md5 => 'upgrade');

# -- remembered --------------------------------------------------------------------------------

set_secret('keeper', $forms{sha512crypt});
is login('keeper', $password), 'ok', 'a first login';
($hashes) = counts('hashes_total');
is login('keeper', $password), 'ok', 'a second one' for 1 .. 20;
is((counts('hashes_total'))[0], $hashes, 'computes no hash');
$s->mailadmin_ok([qw(add domain keeper.example)]);
$s->mailadmin_ok([qw(grant domain keeper.example to keeper)]);
ok within(5, sub {
    $s->policy({ sasl_username => 'keeper', sender => 'a@keeper.example' })
        eq 'DUNNO';
}), 'a grant arrives';
is login('keeper', $password), 'ok', 'a login after it';
is((counts('hashes_total'))[0], $hashes, 'computes none either');
is login('keeper', "$password!"), 'denied', 'another password is not it';
my ($again) = counts('hashes_total');
is $again, $hashes + 1, 'and is computed';
$s->mailadmin_ok([qw(passwd keeper)], "new secret\n");
ok within(5, sub { login('keeper', $password) eq 'denied' }),
    'gone with a new password';
is login('keeper', 'new secret'), 'ok', 'which is right';

# -- the same at the same time -------------------------------------------------------------------

reload(password_scheme => 'yescrypt');
set_secret('together', crypt($password, '$6$rounds=400000$saltsalt$'));
is login('together', 'wrong'), 'denied', '(the record is loaded)';
my ($before, $shared) = counts('hashes_total', 'hashes_shared_total');
my @sockets = map { $s->auth_socket } 1 .. 20;
my $request = "request=auth\nuser=together\npassword="
    . encode_base64($password, '') . "\nclient=203.0.113.%d\nservice=smtp\n\n";
$sockets[$_]->send(sprintf $request, $_) for 0 .. $#sockets;
is_deeply [map { $_->auth_reply->{status} } @sockets], [('ok') x 20],
    '20 equal logins at once';
my ($after, $joined) = counts('hashes_total', 'hashes_shared_total');
is $after - $before, 1, 'are computed once';
is $joined - $shared, 19, 'and the rest counted as shared';

# Clients that leave do not disturb.
set_secret('together', crypt($password, '$6$rounds=300000$otherone$'));
within(5, sub { login('together', 'wrong') eq 'denied' });
@sockets = map { $s->auth_socket } 1 .. 4;
$_->send(sprintf $request, 77) for @sockets;
undef $sockets[0];
undef $sockets[2];
is_deeply [map { $_->auth_reply->{status} } @sockets[1, 3]], [('ok') x 2],
    'those who stay are answered when others leave';

# More than can wait: told so at once, and not denied.
@sockets = map { $s->auth_socket } 1 .. 400;
for my $i (0 .. $#sockets) {
    $sockets[$i]->send("request=auth\nuser=crowd$i\npassword=eA==\n"
        . 'client=10.' . ($i >> 8) . '.' . ($i & 255) . ".1\nservice=smtp\n\n");
}
my %answers;
$answers{ $_->auth_reply->{status} }++ for @sockets;
is $answers{ok}, undef, 'overload: nobody is let in';
cmp_ok $answers{unavailable} // 0, '>=', 200, 'most are told to come again';
cmp_ok $answers{denied} // 0, '>=', 100, 'those who fit are checked';
ok $s->wait_log('policyd', qr/auth: unavailable: user=crowd\d+ .*reason=overload/),
    'and the log says so';

# One client gets a part of the queue only. These names differ, as a guesser's.
@sockets = map { $s->auth_socket } 1 .. 120;
for my $i (0 .. $#sockets) {
    $sockets[$i]->send("request=auth\nuser=guess$i\npassword=eA==\n"
        . "client=10.99.0.1\nservice=smtp\n\n");
}
is login('keeper', 'new secret'), 'ok', 'others log in meanwhile';
$_->auth_reply for @sockets;

# -- verifiers ------------------------------------------------------------------------------------

is_deeply $s->auth_socket->verifier('scram'), { status => 'unavailable' },
    'scram = no: no verifier';
reload(scram => 'yes', scram_iterations => 4096);
is_deeply $s->auth_socket->verifier('scram'),
    { status => 'ok', verifier => $forms{scram} }, 'the verifier of a user';
my %made;
for my $user (qw(nobody md5crypt yescrypt bad-star)) {
    my $reply = $s->auth_socket->verifier($user);
    is $reply->{status}, 'ok', "$user: a made-up one";
    my ($salt, $keys) = ($reply->{verifier} // '')
        =~ /\ASCRAM-SHA-256\$4096:([^\$]+)\$(.+)\z/;
    is length decode_base64($salt // ''), 16, 'with a salt of the usual length';
    like $keys, qr{\A[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=\z}, 'and both keys';
    $made{$user} = $reply->{verifier};
    is $s->auth_socket->verifier(uc $user)->{verifier}, $made{$user},
        'the same when asked again';
}
my %different = reverse %made;
is keys %different, 4, 'each user has his own';
$s->mailadmin_ok([qw(disable user scram)]);
ok within(5, sub {
    my $reply = $s->auth_socket->verifier('scram');
    return $reply->{status} eq 'ok' && $reply->{verifier} ne $forms{scram};
}), 'a disabled user has a made-up one';
is_deeply $s->auth_socket->verifier(q(it's)), { status => 'denied' },
    'a name that is none has none';
$s->service(stop => 'policyd');
$s->service(start => 'policyd');
ok within(5, sub {
    ($s->auth_socket->verifier('nobody')->{verifier} // '') eq $made{nobody};
}), 'they are the same after a restart';

# -- who may ask --------------------------------------------------------------------------------------

my $auth = $s->env('EMAILING_AUTH');
my @ask = ('perl', '-MIO::Socket::UNIX', '-e', 'alarm 10;
    my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or exit 2;
    syswrite $s, "request=verifier\nuser=x\n\n"; sysread $s, my $r, 100;
    print $r', $auth);
is((run(['setpriv', '--reuid=nobody', '--regid=postfix', '--clear-groups',
         @ask]))[1], '', 'another user is shut out');
ok $s->wait_log('policyd', qr/auth: connection closed: this user may not connect/),
    'and the log says so';
like((run(['setpriv', '--reuid=postfix', '--regid=postfix', '--clear-groups',
           @ask]))[1], qr/^status=ok$/m, 'Postfix may');
for my $bad ("request=smtpd_access_policy\n\n", "user=x\n\n", "\n",
             "request=auth\nuser=a\nuser=b\n\n",
             "request=auth\npassword=eA==\npassword=eA==\n\n") {
    my $socket = $s->auth_socket;
    $socket->send($bad);
    ok $socket->closed, 'closed: ' . $bad =~ s/\n/ /gr;
}

# -- what stays in memory ------------------------------------------------------------------------------

my $canary = 'Canary-' . join '', map { chr 97 + rand 26 } 1 .. 24;
my $coded = encode_base64("x$canary", ''); # a whole number of groups
set_secret('canary', crypt("x$canary", '$6$rounds=1000$saltsalt$'));
is login('canary', "x$canary"), 'ok', 'a login to be forgotten';
is login('canary', "x$canary"), 'ok', 'and one that is remembered';
is login('canary', "x$canary-"), 'denied', 'and a wrong one';
my $pid = $s->pid('policyd');
my $scanned = 0;

sub found_in_memory {
    my $found = 0;
    $scanned = 0;
    open my $maps, '<', "/proc/$pid/maps" or die $!;
    open my $mem, '<:raw', "/proc/$pid/mem" or die $!;
    while (<$maps>) {
        my ($from, $to) = /^([0-9a-f]+)-([0-9a-f]+) rw/ or next;
        no warnings 'portable';
        # A sanitizer has terabytes of its own, of which most are not there.
        next if hex($to) - hex($from) > 1 << 28;
        sysseek $mem, hex $from, 0 or next;
        sysread $mem, my $bytes, hex($to) - hex($from) or next;
        $scanned += length $bytes;
        $found++ if $bytes =~ /\Q$canary\E|\Q@{[substr $coded, 4, 28]}\E/;
    }
    return $found;
}

# The reply leaves a moment before what it was made from is wiped.
my $gone = within(5, sub { !found_in_memory() });
cmp_ok $scanned, '>', 100_000, '(its memory can be read)';
ok $gone, 'no trace of the password in its memory';

done_testing;
