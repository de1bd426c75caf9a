#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# check, JSON, and generated passwords.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";
use EmailingPg;
use JSON::PP;
use Test::More;

my $pg = EmailingPg->new;
is $pg->mailadmin(qw(schema init))->{status}, 0, 'schema init';
my %as = (user => 'emailing_mailadmin');
$pg->psql(<<'END');
INSERT INTO emailing_users (name, passwd) VALUES ('test1', 'x'), ('off', 'x'),
    ('heavy', 'x');
UPDATE emailing_users SET enabled = false WHERE name = 'off';
INSERT INTO emailing_addresses (address) VALUES ('one@a.com'), ('old@a.com'),
    ('plus@a.com');
INSERT INTO emailing_domains (domain) VALUES ('b.com'), ('c.com'), ('o.com');
INSERT INTO emailing_users_addresses
    SELECT u.id, a.id, CASE WHEN address = 'old@a.com'
        THEN timestamptz '2020-01-01' END
    FROM emailing_users u, emailing_addresses a;
INSERT INTO emailing_users_domains
    SELECT u.id, d.id, domain = 'c.com', CASE WHEN domain = 'o.com'
        THEN timestamptz '2020-01-01' END
    FROM emailing_users u, emailing_domains d;
INSERT INTO emailing_addresses (address)
    SELECT 'h' || i || '@x.com' FROM generate_series(1, 10001) i;
INSERT INTO emailing_users_addresses SELECT u.id, a.id
    FROM emailing_users u, emailing_addresses a
    WHERE u.name = 'heavy' AND a.address LIKE 'h%';
END

my $plain = $pg->conf('');
my $plus = $pg->conf("recipient_delimiter = \"+\"\nnull_sender = permit\n");
for my $user (qw(test1 heavy)) {
    for my $case (
        [$plain, 'one@a.com', 0, 'permitted: address one@a.com'],
        [$plain, 'ONE@A.com.', 0, 'permitted: address one@a.com'],
        [$plain, 'two@a.com', 1, "refused: not granted to user $user"],
        [$plain, 'x@b.com', 0, 'permitted: domain b.com'],
        [$plain, 'x@y.b.com', 1, "refused: not granted to user $user"],
        [$plain, 'x@z.y.c.com', 0, 'permitted: domain c.com with subdomains'],
        [$plain, 'x@c.com', 0, qr/^permitted: domain c\.com/],
        [$plain, 'x@evilc.com', 1, "refused: not granted to user $user"],
        [$plain, 'x%y@b.com', 1, qr/^refused: not granted/],
        [$plain, 'old@a.com', 1, qr/^refused: not granted/],
        [$plain, 'x@o.com', 1, qr/^refused: not granted/],
        [$plain, 'nothing', 1, qr/^refused: not an address/],
        [$plain, "a\e[1m\@b.com", 1, qr/^refused: not an address/],
        [$plain, '', 1, qr/^refused: null sender not granted/],
        [$plain, '<>', 1, qr/^refused: null sender not granted/],
        [$plain, 'plus+x@a.com', 1, "refused: not granted to user $user"],
        [$plus, 'plus+x@a.com', 0, 'permitted: address plus@a.com'],
        [$plus, '<>', 0, 'permitted: null sender'],
    ) {
        my ($conf, $sender, $status, $text) = @$case;
        my $r = $pg->mailadmin({%as, conf => $conf}, 'check', $user, $sender);
        is $r->{status}, $status, "$user: " . ($sender =~ s/\e/?/r);
        $r->{out} =~ s/\n.*//s;
        ref $text ? like $r->{out}, $text, 'says why'
            : is $r->{out}, $text, 'says why';
    }
}
my $r = $pg->mailadmin(\%as, qw(check heavy h10001@x.com));
is $r->{out}, "permitted: address h10001\@x.com\n", 'one of 10,000 grants';
$r = $pg->mailadmin(\%as, qw(check off one@a.com));
is_deeply [@$r{qw(status out)}], [1, <<'END'], 'a disabled user';
refused: user off may not send
  sender: one@a.com
  nearest: user off is disabled
  to permit: mailadmin enable user off
END

# JSON: one object a line.
sub json {
    my ($stdin, @words) = @_;
    my $result = $pg->mailadmin({%as, stdin => $stdin}, '-f', 'json', @words);
    like $result->{out}, qr/\A[\x20-\x7e]+\n\z/, "@words: one line of ASCII";
    return decode_json($result->{out});
}
is_deeply json('', qw(check test1 x@y.c.com)),
    {user => 'test1', sender => 'x@y.c.com', permitted => JSON::PP::true,
        reason => 'subdomain', text => 'domain c.com with subdomains',
        grant => {domain => 'c.com', subdomains => JSON::PP::true,
            expires => undef}, nearest => undef, commands => []},
    'check';
is_deeply json('', qw(list domains)), {domains => [qw(b.com c.com o.com)]},
    'list';
is_deeply json('', qw(show domain c.com)), {domain => 'c.com', users => [
    map { {user => $_, subdomains => JSON::PP::true, expires => undef} }
        qw(heavy off test1)]}, 'show domain';
is_deeply json('', qw(show address old@a.com))->{users}[0],
    {user => 'heavy', expires => '2020-01-01T00:00:00Z'}, 'show address';
my $user = json('', qw(show user off));
is_deeply [@$user{qw(user enabled)}], ['off', JSON::PP::false], 'show user';
is_deeply $user->{addresses}[1], {address => 'one@a.com', expires => undef},
    'its addresses';
like $user->{created}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, 'a time';
is_deeply json('', qw(grant domain b.com to test1)),
    {command => 'grant domain', changed => JSON::PP::false}, 'no change';
is_deeply json('', qw(revoke domain b.com from test1)),
    {command => 'revoke domain', changed => JSON::PP::true}, 'a change';
cmp_ok scalar @{json('', 'help')->{commands}}, '>', 28, 'help';
my ($latest) = map { m{/0*(\d+)-[^/]*\z} }
    reverse sort glob EmailingPg::source() . '/sql/[0-9]*.sql';
is_deeply json('', qw(schema status)), {version => $latest,
    wanted => $latest, roles => {emailing_policyd => JSON::PP::true,
        emailing_mailadmin => JSON::PP::true}}, 'schema status';

# Generated passwords are shown once and are what was stored.
for my $words ([qw(add user gen --generate)], [qw(passwd --generate gen)]) {
    $r = $pg->mailadmin(\%as, @$words);
    like $r->{out}, qr/\A\S{24}\n\z/, "@$words";
    chomp(my $password = $r->{out});
    my $stored = $pg->psql("SELECT passwd FROM emailing_users
        WHERE name = 'gen'");
    is crypt($password, $stored), $stored, 'it is the password';
}
my $first = json('', qw(passwd gen --generate))->{password};
isnt $first, json('', qw(passwd gen --generate))->{password}, 'not the same';
$r = $pg->mailadmin({%as, stdin => "pass\n", conf =>
    $pg->conf("password_scheme = scram-sha-256\nscram_iterations = 4096\n")},
    qw(passwd gen));
is $r->{status}, 0, 'password_scheme';
like $pg->psql("SELECT passwd FROM emailing_users WHERE name = 'gen'"),
    qr/^SCRAM-SHA-256\$4096:/, 'is what is stored';

done_testing;
