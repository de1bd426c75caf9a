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

use Emailing::Cluster qw(spew);

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
diag sprintf 'image: %d MB beyond its base', $own / 1e6;
cmp_ok $own, '<', 200e6, 'at most 200 MB beyond the base';
is in_image('find / -xdev -type f -perm /6000 | sort'),
    "/usr/sbin/postdrop\n/usr/sbin/postqueue\n", 'set-uid and set-gid';
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

my ($status, $out) = output(qw(podman run --rm --network none --user 950:951
    -e DATABASE_URL=postgresql://u@h/d -e POLICYD_cache_byte=1), $image,
    'policyd');
is $status, 78, 'an unknown option of policyd';
like $out, qr/cache_byte/, '... is named';

done_testing;
