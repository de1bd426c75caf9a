#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# The image: what is in it and what is not, and what its entrypoint says to
# settings that are missing or contradict each other.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use File::Temp ();
use JSON::PP ();
use Test::More;

use Emailing::Cluster qw(figure spew);

my $image = 'localhost/secure-emailing:ci';
my $dir = File::Temp->newdir('image.XXXXXX', TMPDIR => 1);
my $password = 'not to be seen';

sub output {
    my @words = @_;
    open my $pipe, '-|', 'sh', '-c', 'exec "$@" 2>&1 </dev/null', 'sh', @words
        or die "sh: $!";
    my $out = do { local $/; <$pipe> } // '';
    close $pipe;
    return ($? >> 8, $out);
}

sub in_image {
    return (output(qw(podman run --rm --network none --entrypoint sh),
        $image, '-c', @_))[1];
}

# -- what is in it ------------------------------------------------------------

sub size {
    my ($status, $out) = output(qw(podman inspect --type image), @_);
    return JSON::PP::decode_json($out)->[0]{Size};
}

my $own = size($image) - size('docker.io/library/debian:bookworm-slim');
figure(sprintf 'image: %d MB beyond its base', $own / 1e6);
cmp_ok $own, '<', 200e6, 'at most 200 MB beyond the base';
my $set_id = in_image('find / -xdev -type f -perm /6000 | sort');
is $set_id, "/usr/sbin/postdrop\n/usr/sbin/postqueue\n",
    'set-uid and set-gid';
figure('set-uid or set-gid: ' . join ' ', split ' ', $set_id);
is in_image('command -v gcc cc make autoconf ld; true'), '', 'no compiler';
is in_image('for p in /usr/sbin/emailing-policyd /usr/bin/mailadmin '
    . '/usr/bin/psql /usr/lib/*/sasl2/libemailing.so; do '
    . 'ldd $p | grep "not found"; done; true'), '', 'each library is there';
is in_image('id -u emailing; id -u postfix; id -u mailadmin'),
    "950\n951\n953\n", 'users';
is in_image('find / -xdev \( -name "*.pem" -o -name "*.key" \) '
    . '-path "*private*" -type f'), '', 'no private key';
like in_image('postconf -d mail_version'), qr/= 3\./, 'Postfix';

# -- what it refuses ----------------------------------------------------------

for my $name (qw(one two)) {
    system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
        . " -nodes -days 2 -subj /CN=$name -keyout $dir/$name.key"
        . " -out $dir/$name.crt 2>/dev/null") == 0 or die;
}
spew("$dir/secret", "$password\n");
spew("$dir/empty", '');

my %tls = (TLS_CERT_FILE => '/d/one.crt', TLS_KEY_FILE => '/d/one.key');
my %relay = (%tls, RELAYHOST => '[smtp.example.com]:2525',
             DATABASE_URL => 'postgresql://u@127.0.0.1/d');

# refused ROLE, { VARIABLES }, TEXT
sub refused {
    my ($role, $env, $text, @flags) = @_;
    my ($status, $out) = output(qw(podman run --rm --network none -v),
        "$dir:/d:ro", @flags,
        (map { ('-e', "$_=$env->{$_}") } sort keys %$env),
        $image, split ' ', $role);
    is $status, 78, "$role: $text";
    like $out, qr/^entrypoint: error: .*\Q$text\E/m, '... it says why';
    unlike $out, qr/\Q$password\E/, '... and no secret';
    return;
}

refused('serve', {}, 'what to do is one of');
refused('postfix', { %tls }, 'RELAYHOST is not set');
refused('postfix', { %relay, RELAYHOST => 'smtp.example.com' },
    'RELAYHOST must be [HOST]:PORT');
refused('postfix', { %relay, RELAYHOST => $_ }, 'RELAYHOST must be [HOST]:PORT')
    for '[smtp.example.com:2525', 'smtp.example.com]:2525', '[a]:0', 'a b:25';
refused('postfix', { %relay, TLS_KEY_FILE => '' },
    'TLS_KEY_FILE: there is no file /tls/tls.key');
refused('postfix', { %relay, TLS_CERT_FILE => '' },
    'TLS_CERT_FILE: there is no file /tls/tls.crt');
refused('postfix', { %relay, RELAYHOST_TLS => 'may' },
    'RELAYHOST_TLS must be secure or encrypt');
refused('postfix', { %relay, RELAYHOST_USERNAME => 'u' },
    'RELAYHOST_USERNAME is given without RELAYHOST_PASSWORD');
refused('postfix', { %relay, RELAYHOST_PASSWORD => $password },
    'RELAYHOST_PASSWORD is given without RELAYHOST_USERNAME');
refused('postfix', { %relay, RELAYHOST_USERNAME => 'u',
    RELAYHOST_PASSWORD => $password, RELAYHOST_PASSWORD_FILE => '/d/secret' },
    'RELAYHOST_PASSWORD and RELAYHOST_PASSWORD_FILE are both set');
refused('postfix', { %relay, RELAYHOST_USERNAME => 'u',
    RELAYHOST_PASSWORD_FILE => '/d/none' }, 'there is no file /d/none');
refused('postfix', { %relay, RELAYHOST_USERNAME => 'u',
    RELAYHOST_PASSWORD_FILE => '/d/empty' }, '/d/empty is empty');
refused('postfix', { %relay, TLS_KEY_FILE => '/d/two.key' },
    'the key /d/two.key is not that of /d/one.crt');
refused('postfix', { %relay, TLS_CERT_FILE => '/d/secret' },
    '/d/secret is no certificate');
refused('postfix', { %relay, POSTFIX_no_such_thing => '1' },
    'Postfix has no parameter no_such_thing');
refused('postfix', { %relay, POSTFIX_emailing_check => '' },
    "POSTFIX_emailing_check: this is the image's own");
refused('postfix', { %relay, POSTFIX_smtp_tls_security_level => 'none' },
    'use RELAYHOST_TLS');
refused('postfix', { %relay, LOG_FORMAT => 'xml' },
    'LOG_FORMAT must be plain or json');
refused('postfix', \%relay, 'Postfix must start as user 0', '--user', '950');
refused('policyd', {}, 'DATABASE_URL is not set', '--user', '950:951');
refused('policyd', { DATABASE_URL => 'host=x' },
    'must begin with postgresql://', '--user', '950:951');
refused('policyd', \%relay, 'policyd needs no root');
refused('policyd', { %relay, POLICYD_unauthenticated => 'dunno' },
    "this option is the image's own", '--user', '950:951');
refused('mailadmin list users', {}, 'DATABASE_URL is not set');

# Each secret, in each role that takes it.
my %url = (DATABASE_URL => 'postgresql://u@127.0.0.1/d');
my @own = ('--user', '953');
for (['policyd', '--user', '950:951'], ['all'], ['migrate', @own],
     ['idle', @own], ['mailadmin list users', @own]) {
    my ($role, @user) = @$_;
    my %env = $role eq 'all' ? %relay : %url;
    for my $name (qw(DATABASE_URL DATABASE_PASSWORD),
        $role eq 'migrate' ? qw(DATABASE_POLICYD_PASSWORD
                                DATABASE_MAILADMIN_PASSWORD) : ()) {
        my $one = $name eq 'DATABASE_URL' ? $env{$name} : $password;
        refused($role, { %env, $name => $one, "${name}_FILE" => '/d/secret' },
            "$name and ${name}_FILE are both set", @user);
    }
}
refused('policyd', { DATABASE_PASSWORD => $password,
    DATABASE_URL => 'postgresql://u:of-its-own@127.0.0.1/d' },
    'DATABASE_URL has a password, and there is another', '--user', '950:951');
refused('migrate', { DATABASE_URL =>
    'postgresql://u@127.0.0.1/d?password=a&sslmode=require&password=b' },
    'DATABASE_URL has a password, and there is another', @own);

# What would open the relay, or the way to the provider, or the log. In one
# container: there are many.
my @openings = qw(
    mynetworks=0.0.0.0/0 smtpd_relay_restrictions=permit
    smtpd_recipient_restrictions=permit smtpd_sender_restrictions=permit
    smtpd_client_restrictions=permit smtpd_helo_restrictions=permit
    smtpd_data_restrictions=permit smtpd_delay_reject=no
    smtpd_sasl_auth_enable=no smtpd_sasl_type=dovecot smtpd_sasl_path=private/x
    smtpd_sasl_security_options= smtpd_sasl_tls_security_options=
    smtpd_sasl_exceptions_networks=0.0.0.0/0 smtpd_tls_auth_only=no
    smtpd_tls_security_level=may smtpd_authorized_xclient_hosts=0.0.0.0/0
    cyrus_sasl_config_path=/d smtpd_policy_service_default_action=DUNNO
    smtpd_proxy_filter=127.0.0.1:25 emailing_login=permit emailing_check=
    emailing_drain=permit mydestination=example.com local_transport=local
    relayhost=[a]:25 smtp_tls_security_level=may smtp_tls_wrappermode=no
    smtp_tls_policy_maps=static:none smtp_tls_secure_cert_match=hostname
    smtp_tls_CAfile=/d/one.crt smtp_sasl_security_options=
    smtp_sasl_tls_security_options= debug_peer_list=0.0.0.0/0
    smtpd_tls_loglevel=4 smtp_tls_loglevel=4 daemon_directory=/d
    maillog_file=/d/log import_environment=A compatibility_level=2);
spew("$dir/try", <<'END');
while read -r line; do
    env "POSTFIX_$line" WAIT_SECONDS=0 /usr/lib/secure-emailing/entrypoint \
        postfix >/tmp/said 2>&1 </dev/null
    echo "$? $line $(grep -c "^entrypoint: error: POSTFIX_${line%%=*}: " \
        /tmp/said)"
done </d/openings
END
spew("$dir/openings", join "\n", @openings, 'message_size_limit=1000',
    'smtp_destination_concurrency_limit=5', '');
my (undef, $tried) = output(qw(podman run --rm --network none -v), "$dir:/d:ro",
    (map { ('-e', "$_=$relay{$_}") } sort keys %relay),
    qw(--entrypoint sh), $image, '/d/try');
my %tried = map { /\A(\d+ )(\S+)( \d)\z/ ? ($2 => "$1$3") : () }
    split /\n/, $tried;
is $tried{$_}, '78  1', "POSTFIX_$_: refused" for @openings;
is $tried{$_}, '75  0', "POSTFIX_$_: taken"
    for 'message_size_limit=1000', 'smtp_destination_concurrency_limit=5';

# -- providers ----------------------------------------------------------------

my %host = (sendgrid => '[smtp.sendgrid.net]:2525',
            mailgun => '[smtp.mailgun.org]:2525',
            mailjet => '[in-v3.mailjet.com]:2525');
for my $name (sort keys %host) {
    my $file = "$FindBin::Bin/../../conf/image/relays/$name.env";
    my (undef, $out) = output(qw(podman run --rm --network none --env-file),
        $file, '-v', "$dir:/d:ro", qw(-e WAIT_SECONDS=0
        -e RELAYHOST_PASSWORD_FILE=/d/secret -e TLS_CERT_FILE=/d/one.crt
        -e TLS_KEY_FILE=/d/one.key --entrypoint sh), $image, '-c',
        '/usr/lib/secure-emailing/entrypoint postfix >/dev/null 2>&1; '
        . 'echo $?; postconf -h relayhost smtp_tls_security_level '
        . 'smtp_sasl_auth_enable; cat /etc/postfix/relay.password; '
        . 'stat -c "%a %U" /etc/postfix/relay.password');
    like $out, qr/\A75\n\Q$host{$name}\E\nsecure\nyes\n
        \Q$host{$name}\E\ [^:\s]+:\Q$password\E\n600\ root\n\z/x,
        "$name.env: its host, by TLS and a login";
}

# -- lines of log -------------------------------------------------------------

# json LINES: what Cloud Logging would see
sub json {
    spew("$dir/lines", join '', @_);
    open my $pipe, '-|', "podman run -i --rm --network none --entrypoint "
        . "/usr/lib/secure-emailing/json-log $image <$dir/lines" or die;
    my @lines = <$pipe>;
    close $pipe;
    return map { JSON::PP::decode_json($_) } @lines;
}

my @objects = json(
    "2026-01-02T03:04:05.6Z postfix/qmgr[12]: warning: 4dD1BB0Z1Vz3f: late\n",
    "Jan  2 03:04:05 relay postfix/smtp[7]: 4F3A0C1D2E: to=<a\@b>, ok\n",
    "policy: reject: user=\"a\\b\" queue_id=4F3A0C1D2E us=1\n",
    "\n", "fatal: \xff\x00\x1b\x7f \xed\xa0\x80 \xf4\x90\x80\x80\n",
    "\xc3\xa9\xf0\x9f\x98\x80\n", 'x' x 32767, "\xc3\xa9" x 40000, "\n",
    'entrypoint: error: without an end');
is_deeply [map { $_->{severity} } @objects[0 .. 4], $objects[-1]],
    [qw(WARNING INFO INFO CRITICAL INFO ERROR)], 'log: severity';
is_deeply [map { $_->{queue_id} } @objects[0 .. 3]],
    ['4dD1BB0Z1Vz3f', '4F3A0C1D2E', '4F3A0C1D2E', undef], '... queue id';
is_deeply [@{ $objects[0] }{qw(process pid time)}],
    ['postfix/qmgr', '12', '2026-01-02T03:04:05.6Z'], '... process and time';
is $objects[2]{message}, 'reject: user="a\\b" queue_id=4F3A0C1D2E us=1',
    '... quotes and backslashes';
is $objects[3]{message}, "fatal: \xff\x00\x1b\x7f \xed\xa0\x80 "
    . "\xf4\x90\x80\x80", '... bytes that are no text';
is $objects[4]{message}, "\x{e9}\x{1f600}", '... bytes that are';
my @pieces = map { $_->{message} } @objects[5 .. $#objects - 1];
is join('', @pieces), 'x' x 32767 . "\x{e9}" x 40000, '... a long line';
cmp_ok length $_, '<=', 32768, '... in pieces' for @pieces;

my ($status, $out) = output(qw(podman run --rm --network none --user 950:951
    -e DATABASE_URL=postgresql://u@h/d -e POLICYD_cache_byte=1), $image,
    'policyd');
is $status, 78, 'an unknown option of policyd';
like $out, qr/cache_byte/, '... is named';

done_testing;
