#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# Several objects a command, --if-exists, patterns, ends of grants, renaming,
# rotation, scripts: what makes daily work quick and safe.
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

# run [STATUS, OUT, ERR], WORDS: a string of words, or the words
sub gives {
    my ($expected, @words) = @_;
    my $options = ref $words[0] ? shift @words : {};
    @words = split / /, $words[0] if @words == 1;
    my $r = $pg->mailadmin({%as, %$options}, @words);
    $expected->[2] = "mailadmin: $expected->[2]\n" if $expected->[2];
    is_deeply [@$r{qw(status out err)}],
        [$expected->[0], $expected->[1] // '', $expected->[2] // ''],
        "@words";
    return $r;
}

sub json {
    my (@words) = @_;
    return decode_json($pg->mailadmin(\%as, '-f', 'json', @words)->{out});
}

sub sql { return $pg->psql(@_) }

# Several objects, all or none.
gives([0], 'add address a@x.com b@x.com A@X.com c@x.com');
gives([73, '', 'address c@x.com exists already'],
    'add address d@x.com c@x.com');
is sql('SELECT count(*) FROM emailing_addresses'), 3, 'nothing half done';
gives([0], 'add address d@x.com C@x.com --if-not-exists');
gives([0], 'add domain x.com to --if-not-exists');
gives([67, '', 'no such address: nobody@y.org'],
    'del address a@x.com nobody@y.org');
gives([0], 'del address --if-exists d@x.com nobody@y.org');
is sql('SELECT count(*) FROM emailing_addresses'), 3, 'and three are left';
gives([0], {stdin => "pass1\npass2\n"}, 'add user u1 u2');
for (1, 2) {
    my $stored = sql("SELECT passwd FROM emailing_users WHERE name = 'u$_'");
    is crypt("pass$_", $stored), $stored, "the password of u$_";
}
gives([0], 'add user later --no-password');
is sql("SELECT passwd IS NULL FROM emailing_users WHERE name = 'later'"), 't',
    'no password';
gives([64, '', '--generate or --no-password, not both'],
    'add user x --no-password --generate');
my $r = $pg->mailadmin(\%as, qw(add user g1 g2 u1 --generate
    --if-not-exists));
like $r->{out}, qr/\Ag1 \S{24}\ng2 \S{24}\n\z/,
    'passwords of those that were not there';
my ($made) = $r->{out} =~ /^g2 (\S+)/m;
my $stored = sql("SELECT passwd FROM emailing_users WHERE name = 'g2'");
is crypt($made, $stored), $stored, 'it is the password';
my $made_json = json(qw(add user j1 j2 --generate));
is_deeply [sort keys %{$made_json->{passwords}}], [qw(j1 j2)], 'in JSON';
gives([0], 'del user g1 g2 j1 j2');
gives([0], 'grant address a@x.com b@x.com to u1');
gives([0, '', 'address b@x.com is granted to u1 already'],
    'grant address b@x.com c@x.com to u1');
gives([0], 'grant domain to x.com to u2');
gives([0, '--- Show u2 ---
  Domains:
    * to
    * x.com
  Adress:
'], 'show user u2');
gives([0], 'revoke domain to x.com from u2');
gives([67, '', 'no such user: nobody'], 'revoke domain x.com from nobody');
gives([0, '', 'domain x.com is not granted to nobody'],
    'revoke domain x.com from nobody --if-exists');
gives([0], 'disable user u1 later');
gives([0, '', 'user u1 is disabled already; user later is disabled already'],
    'disable user u1 later');

# Lists.
gives([0, "--- emailing_users ---\n    - later\n    - u1\n"],
    'list users --disabled');
gives([0, "--- emailing_users ---\n    - u1\n"], 'list users --disabled U?');
gives([0, "--- emailing_addresses ---\n    - b\@x.com\n"],
    'list', 'addresses', 'b*');
gives([0, "--- emailing_addresses ---\n"], 'list', 'addresses', '%');
gives([0], 'enable user u1 later');
sql("INSERT INTO emailing_users (name, passwd) VALUES
    ('md5', 'fe01ce2a7fbac8fafaed7c982a04e229'),
    ('six', '\$6\$salt\$hash'), ('odd', 'x')");
gives([0, '--- emailing_users ---
    - md5 (md5)
    - odd (other)
    - six (sha512crypt)
'], 'list users --legacy');
is_deeply json(qw(list users m* --legacy)),
    {users => [{user => 'md5', form => 'md5'}]}, 'in JSON';
gives([0], 'del user md5 six odd');

# Grants that end.
gives([0], 'grant address a@x.com to u2 until 2099-12-31');
gives([0, "--- Show a\@x.com ---\n  Users:\n    * u1\n    * u2 (until "
    . "2099-12-31T00:00:00Z)\n"], 'show address a@x.com');
gives([0, '', 'this has ended already'],
    'grant domain x.com to u2 with subdomains until 2020-02-29T10:30');
for my $bad (qw(2021-02-29 2020-13-01 tomorrow 20200101 2020-01-01T25:00)) {
    is $pg->mailadmin(\%as, qw(grant domain x.com to u2 until), $bad)
        ->{status}, 65, "until $bad";
}
gives([0, "--- emailing_grants ---\n    - u2 domain x.com (with subdomains) "
    . "(ended 2020-02-29T10:30:00Z)\n"], 'list grants --expired');
is_deeply json(qw(list grants u2))->{grants}, [
    {user => 'u2', address => 'a@x.com', expires => '2099-12-31T00:00:00Z',
        expired => JSON::PP::false},
    {user => 'u2', domain => 'x.com', expires => '2020-02-29T10:30:00Z',
        expired => JSON::PP::true, subdomains => JSON::PP::true}],
    'grants in JSON';
is $pg->mailadmin(\%as, qw(check u2 y@x.com))->{status}, 1,
    'what has ended does not permit';
is $pg->mailadmin(\%as, qw(check u2 a@x.com))->{status}, 0,
    'what has not does';
gives([0], 'grant domain x.com to u2');
is $pg->mailadmin(\%as, qw(check u2 y@x.com))->{status}, 0,
    'a second grant has no end';

# Renaming.
gives([73, '', 'user u1 exists already'], 'rename user u2 to u1');
gives([67, '', 'no such user: nobody'], 'rename user nobody to x');
gives([0], 'rename user u2 to U3');
is $pg->mailadmin(\%as, qw(check u3 a@x.com))->{status}, 0, 'keeps grants';

# Rotation.
$stored = sql("SELECT passwd FROM emailing_users WHERE name = 'u1'");
$r = $pg->mailadmin(\%as, qw(passwd u1 --generate --overlap 24h));
like $r->{out}, qr/\A\S{24}\n\z/, 'a new password, once';
is sql("SELECT old_passwd FROM emailing_users WHERE name = 'u1'"), $stored,
    'the old one is kept';
is sql("SELECT old_until - now() BETWEEN '23h' AND '24h' FROM emailing_users
    WHERE name = 'u1'"), 't', 'for a day';
like json(qw(show user u1))->{old_password_until},
    qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, 'until when';
like $pg->mailadmin(\%as, qw(show user u1))->{out},
    qr/^  Old password:\n    \* until \d/m, 'in text';
gives([0], {stdin => "next\n"}, 'passwd u1');
is json(qw(show user u1))->{old_password_until}, undef,
    'without --overlap it goes';
for my $bad (qw(24 h 0h 1y 24hours 99999d)) {
    is $pg->mailadmin({%as, stdin => "x\n"}, qw(passwd u1 --overlap), $bad)
        ->{status}, 65, "--overlap $bad";
}

# Closest names.
sql("INSERT INTO emailing_users (name, passwd) VALUES ('production', 'x'),
    ('production2', 'x')");
gives([67, '', 'no such user: prodution (closest: production, production2)'],
    'show user prodution');
gives([67, '', 'no such user: porduction (closest: production, production2)'],
    'check porduction a@x.com');
gives([67, '', 'no such domain: x.cmo (closest: x.com)'],
    'grant domain x.cmo to u1');
gives([67, '', 'no such user: zebra'], 'del user zebra');

# Scripts.
my $script = "# a comment\n\n  # another\nadd domain s1.com\n"
    . "add domain s1.com\nadd domain s2.com\n";
$r = $pg->mailadmin({%as, stdin => $script});
is_deeply [@$r{qw(status err)}],
    [0, "mailadmin: line 5: domain s1.com exists already\n"],
    'a failure does not end a script';
is sql("SELECT count(*) FROM emailing_domains WHERE domain ~ '^s'"), 2,
    'the rest is done';
gives([0], 'del domain s1.com s2.com');
$r = $pg->mailadmin({%as, stdin => $script}, '--strict');
is_deeply [@$r{qw(status err)}],
    [73, "mailadmin: line 5: domain s1.com exists already\n"], '--strict';
is sql("SELECT count(*) FROM emailing_domains WHERE domain ~ '^s'"), 1,
    'the rest is not done';
$r = $pg->mailadmin({%as, stdin => "add domain s3.com\nnonsense\n"
    . "add domain s4.com\n"}, '--strict');
is $r->{status}, 64, '--strict: what is no command';
like $r->{err}, qr/\Amailadmin: line 2: unknown command/, 'its line';
is sql("SELECT string_agg(domain, ' ') FROM emailing_domains
    WHERE domain ~ '^s[34]'"), 's3.com', 'up to there';
$r = $pg->mailadmin({%as, stdin => join '', map { "$_\n" }
    'add address m1@x.com', 'add address m2@x.com', 'add address bad',
    'add address m1@x.com', 'add address m3@x.com',
    'grant address m1@x.com to u1', 'grant address m2@x.com to nobody',
    'grant address m1@x.com to u1', 'grant address m3@x.com to u1',
    'list addresses m*', 'del address m1@x.com', 'del address m1@x.com'});
is $r->{out}, "--- emailing_addresses ---\n    - m1\@x.com\n    - m2\@x.com\n"
    . "    - m3\@x.com\n", 'in order';
is $r->{err}, <<'END', 'each line has its own outcome';
mailadmin: line 3: bad address 'bad': no '@'
mailadmin: line 4: address m1@x.com exists already
mailadmin: line 7: no such user: nobody
mailadmin: line 8: address m1@x.com is granted to u1 already
mailadmin: line 12: no such address: m1@x.com (closest: m2@x.com, m3@x.com, a@x.com)
END
$r = $pg->mailadmin({%as, stdin => "add domain j1.com\nadd domain j2.com\n"
    . "add domain j2.com --if-not-exists\n"}, '-f', 'json');
is_deeply [map { decode_json($_)->{changed} } split /\n/, $r->{out}],
    [JSON::PP::true, JSON::PP::true, JSON::PP::false], 'JSON a line';

done_testing;
