#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Guessing: how many tries are computed, by the count of hashes, and who is
# still let in. The arithmetic of hours is in the unit test.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;
use Time::HiRes qw(sleep);

use Emailing qw(within);
use Emailing::Policyd ();

my $s = Emailing->up(conf => { cache_ttl => 1 });
my $password = 'right one';

sub counts { return Emailing::Policyd::counts($s, @_) }

# Users whose check is cheap, though a wrong password never is.
sub add_user {
    my ($user) = @_;
    my $secret = crypt $password, '$6$rounds=1000$saltsalt$';
    $s->sql("INSERT INTO emailing_users (name, passwd) VALUES ('$user', '$secret')");
    return;
}

sub try { return $s->auth($_[0], $_[1], client => $_[2]) }

sub restart {
    $s->service($_ => 'policyd') for qw(stop start);
    within(10, sub {
        return $s->policy({ sasl_username => 'none', sender => 'a@b.c' })
            =~ /^553/;
    }) or die 'policyd has no database';
    return;
}

# So many wrong tries, one after the other: how many of each answer.
sub wrong {
    my ($user, $count, $client) = @_;
    my %answers = (denied => 0, unavailable => 0, ok => 0);
    $answers{ try($user, "wrong $_", $client->($_)) }++ for 1 .. $count;
    return \%answers;
}

add_user($_) for qw(home victim shared pair other);

# -- per user -------------------------------------------------------------------

is try('victim', $password, '192.0.2.1'), 'ok', 'the user, from where he works';
my ($hashes) = counts('hashes_total');
is_deeply wrong('victim', 130, sub { "10.0.$_[0].1" }),
    { denied => 100, unavailable => 30, ok => 0 },
    '130 wrong tries from as many places: 100 are computed in an hour';
my ($after, $held) = counts('hashes_total', 'logins_held_total{by="user"}');
is $after - $hashes, 100, 'by the count of hashes';
is $held, 30, 'and of those held';
is try('victim', 'wrong', '10.9.9.9'), 'unavailable', 'held from anywhere';
is try('victim', $password, '192.0.2.1'), 'ok',
    'the right password is remembered, and good';
is try('victim', $password, '10.9.9.9'), 'ok', 'from anywhere';
is((counts('hashes_total'))[0], $after, 'without computing');
is try('home', $password, '192.0.2.1'), 'ok', 'others are as ever';
ok $s->wait_log('policyd', qr/auth: unavailable: user=victim client=10\.9\.9\.9 service=smtp reason=held us=\d+/),
    'the log says that it was held';

# A new password is not remembered: then only those good of late may try.
$s->mailadmin_ok([qw(passwd victim)], "$password 2\n");
ok within(5, sub { try('victim', $password, '10.9.9.8') eq 'unavailable' }),
    'a new password arrives';
is try('victim', "$password 2", '10.9.9.7'), 'unavailable',
    'it is held from elsewhere';
is try('victim', "$password 2", '192.0.2.1'), 'ok',
    'but not from where the user was right of late';
is try('victim', "$password 2", '10.9.9.7'), 'ok',
    'and remembered, then, for elsewhere';

# Right by memory counts as right of late, too.
is try('victim', "$password 2", '192.0.2.77'), 'ok', 'remembered, somewhere new';
$s->mailadmin_ok([qw(passwd victim)], "$password 3\n");
ok within(5, sub { try('victim', "$password 2", '10.9.9.8') eq 'unavailable' }),
    'another new password';
is try('victim', "$password 3", '192.0.2.77'), 'ok', 'is no lock-out there';

# Who is unknown is treated no other way.
is_deeply wrong('nobody', 110, sub { "10.1.$_[0].1" }),
    { denied => 100, unavailable => 10, ok => 0 }, 'an unknown user: the same';

# -- per pair ----------------------------------------------------------------------

my $pair = wrong('pair', 40, sub { '192.0.2.9' });
cmp_ok $pair->{denied}, '>=', 11, 'one client and user: the first few are computed';
cmp_ok $pair->{denied}, '<=', 16, 'then there are pauses';
is $pair->{denied} + $pair->{unavailable}, 40, 'and nothing else';
cmp_ok((counts('logins_held_total{by="pair"}'))[0], '>=', 24,
       'counted as held by the pair');
is try('pair', $password, '192.0.2.10'), 'ok', 'the user comes from elsewhere';
is try('pair', $password, '192.0.2.9'), 'ok', 'and then, remembered, from there';

# -- per client ---------------------------------------------------------------------

my @sprayed = map { try("spray$_", 'x', '2001:db8::' . sprintf '%x', $_) }
    1 .. 80;
my $computed = grep { $_ eq 'denied' } @sprayed;
cmp_ok $computed, '>=', 51, 'one network, many names: some are computed';
cmp_ok $computed, '<', 70, 'then there are pauses';
cmp_ok((counts('logins_held_total{by="client"}'))[0], '>=', 10,
       'counted as held by the client');
is try('spray99', 'x', '2001:db8:0:1::1'), 'denied', 'the next /64 is another';

# -- while the database is away -------------------------------------------------------

is try('shared', $password, '192.0.2.50'), 'ok', 'the record is here';
$s->service(stop => 'postgres');
ok within(10, sub {
    $s->policy({ sasl_username => 'none', sender => 'a@b.c' }) =~ /^451/;
}), 'the database is away';
sleep 1.1; # the record is out of date
($hashes) = counts('hashes_total');
my $stale = wrong('shared', 60, sub { '192.0.2.51' });
is $stale->{unavailable}, 60, 'a wrong password is not known to be wrong';
cmp_ok((counts('hashes_total'))[0] - $hashes, '<=', 16,
       'but guesses are limited all the same');
is try('shared', $password, '192.0.2.52'), 'ok', 'the right one is good';
ok $s->wait_log('policyd', qr/auth: unavailable: user=shared .* reason=stale/),
    'the log says why';
is try('stranger', 'x', '192.0.2.52'), 'unavailable', 'who is not here waits';
$s->service(start => 'postgres');
ok within(10, sub {
    $s->policy({ sasl_username => 'none', sender => 'a@b.c' }) =~ /^553/;
}), 'the database is back';
is try('shared', 'wrong', '192.0.2.53'), 'denied', 'and wrong is wrong again';

restart();
is try('victim', 'wrong', '10.9.9.9'), 'denied', 'limits end with the process';

done_testing;
