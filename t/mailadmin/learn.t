#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# learn, of a day of 100,000 messages that a policyd with enforce = no has
# seen: exactly the grants that the messages were drawn from, and none of the
# senders that were made to be taken for them. Then applied, and enforced.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use JSON::PP qw(decode_json);
use List::Util qw(shuffle);
use Test::More;
use Time::HiRes qw(time);

use Emailing qw(within);
use Emailing::Daemon::Database;

my $messages = 100_000;
my $seed = $ENV{EMAILING_SEED} // time ^ $$;
srand $seed;
note "EMAILING_SEED=$seed draws the same day again";

my $db = Emailing::Daemon::Database->new;

sub mailadmin {
    my (@words) = @_;
    my $r = $db->pg->mailadmin({ user => 'emailing_mailadmin' }, @words);
    return @$r{qw(status out err)};
}

sub learn {
    my (@words) = @_;
    my ($status, $out, $err) = mailadmin('-f', 'json', 'learn', @words);
    is $status, 0, "learn @words" or diag $err;
    return decode_json($out);
}

# user object, sorted
sub names {
    my ($list) = @_;
    return [sort map { "$_->{user} " . ($_->{domain} // $_->{address}) } @$list];
}

# -- nothing yet ----------------------------------------------------------------

my ($status, $out, $err) = mailadmin('learn');
is $status, 0, 'nothing observed: no failure';
like $err, qr/usage was never recorded/, '... but said';
like $out, qr/^# to grant: 0$/m, '... nothing to grant';

# -- the day ----------------------------------------------------------------------

sub word {
    my ($len) = @_;
    return join '', map { chr 97 + int rand 26 } 1 .. $len;
}

my %taken;
sub new_domain {
    my $domain;
    do { $domain = word(8 + int rand 5) . '.' . (qw(com net example))[rand 3] }
        while $taken{$domain}++;
    return $domain;
}

# What is granted: some addresses of a few domains, or whole domains that many
# addresses are drawn from, or both; some domains are several users'.
my @shared = map { new_domain() } 1 .. 20;
my @draws; # [user, code for a sender], a domain more often
my %granted;
my @users = map { sprintf 'app%03d', $_ } 0 .. 149;
for my $user (@users) {
    my $kind = int rand 3;
    if ($kind != 0) {
        for (1 .. 1 + int rand 2) {
            my $domain = rand() < 0.3 ? $shared[rand @shared] : new_domain();
            for (1 .. 1 + int rand 4) {
                my $address = word(6 + int rand 6) . "\@$domain";
                $granted{"$user $address"}++ and next;
                push @draws, [$user, sub { $address }];
            }
        }
    }
    if ($kind == 0 && rand() < 0.6 || $user eq 'app000') {
        my $domain = rand() < 0.3 ? $shared[rand @shared] : new_domain();
        $granted{"$user $domain"} = 1;
        my @locals = map { 'bounce-' . word(8) } 1 .. 120;
        push @draws, map { [$user, sub { $locals[rand @locals] . "\@$domain" }] }
            1 .. 10;
    }
}
# Many addresses of a shared domain are one grant, of the domain.
for my $key (grep { /\@/ } sort keys %granted) {
    my ($user, $domain) = $key =~ /^(\S+) .*\@(.*)$/;
    my @same = grep { /^\Q$user\E .*\@\Q$domain\E$/ } keys %granted;
    next if @same < 5 && !$granted{"$user $domain"};
    delete @granted{@same};
    $granted{"$user $domain"} = 1;
}
my @sends = map { my $draw = $draws[rand @draws]; [$draw->[0], $draw->[1]->()] }
    1 .. $messages;

# What somebody else sent with a stolen password: a look-alike of an address or
# a domain that is much used, or just some domain, once.
my %uses;
$uses{"$_->[0] $_->[1]"}++ for @sends;
my @often = grep { $uses{$_} >= 20 } keys %uses;
my %noise;
while (keys %noise < 60) {
    my ($user, $local, $domain) = $often[rand @often] =~ /^(\S+) (.*)\@(.*)$/;
    my ($name, $tld) = $domain =~ /^(.*)(\.\w+)$/;
    my $at = 1 + int rand(length($name) - 2);
    my $mutant = $name;
    my $how = int rand 6;
    if ($how == 0) {
        $mutant =~ s/o/0/ || $mutant =~ s/l/1/ || $mutant =~ s/m/rn/ or next;
    } elsif ($how == 1) {
        substr $mutant, $at, 1, '';
    } elsif ($how == 2) {
        substr $mutant, $at, 1, (substr $mutant, $at, 1) x 2;
    } elsif ($how == 3) {
        next if substr($mutant, $at, 1) eq substr $mutant, $at + 1, 1;
        substr $mutant, $at, 2, reverse substr $mutant, $at, 2;
    } elsif ($how == 4) {
        $mutant = word(14); # no look-alike at all
    } else {
        # Of the address, in its own domain.
        next if $granted{"$user $domain"} || $local !~ /[ol]/;
        $local =~ tr/ol/01/;
    }
    $domain = "$mutant$tld" if $how < 5;
    next if $how < 5 && $taken{$domain}++;
    $noise{"$user $local\@$domain"} = 1;
}
push @sends, map { [split / /] } keys %noise;
@sends = shuffle @sends;
note scalar(keys %granted) . ' grants, ' . scalar(keys %uses) . ' senders';

$db->sql(join '', map { "INSERT INTO emailing_users (name) VALUES ('$_');" }
    @users);
my $d = $db->policyd(conf => { enforce => 'no', record_usage => 'yes' });
ok $d->ready, 'a policyd that observes';
my ($socket, $passed, $start) = ($d->policy_socket, 0, time);
my $number = 0;
while (my @some = splice @sends, 0, 100) {
    $socket->send(join '', map { "request=smtpd_access_policy\n"
        . "protocol_state=RCPT\nsender=$_->[1]\nsasl_method=PLAIN\n"
        . "sasl_username=$_->[0]\ninstance=1.2." . sprintf('%08x', $number++)
        . "\n\n" } @some) or die 'closed';
    $passed += ($socket->action // '') eq 'DUNNO' for @some;
}
is $passed, $messages + keys %noise, 'every message passed';
note sprintf '%.1f s', time - $start;
ok within(60, sub { $d->metric('usage_waiting') == 0 }), '... is handed over';
$d->stop;
is $db->sql('SELECT sum(messages) FROM emailing_observed'),
    $messages + keys %noise, '... and was recorded';

# -- what is learnt ------------------------------------------------------------------

$start = time;
my $learnt = learn();
note sprintf 'learnt in %.1f s', time - $start;
is_deeply names($learnt->{grants}), [sort keys %granted],
    'exactly the grants that it was drawn from';
is_deeply names($learnt->{suspicious}), [sort keys %noise],
    'exactly the others are suspicious';
is_deeply $learnt->{others}, [], 'and nothing else';
is $learnt->{applied}, JSON::PP::false, 'nothing was done';
is $db->sql('SELECT count(*) FROM emailing_users_domains'), 0, '... indeed';
my %sum;
$sum{all} += $_->{messages} for @{ $learnt->{grants} };
is $sum{all}, $messages, 'for so many messages';
is_deeply [grep { $_->{why} eq 'look-alike' && !defined $_->{like} }
           @{ $learnt->{suspicious} }], [], 'a look-alike of something';

($status, $out, $err) = mailadmin('learn');
is $err =~ s/mailadmin: usage is recorded since \S+ only\n//r, '',
    'as text: how long it was recorded';
my @lines = $out =~ /^mailadmin (grant .*?)  #/mg;
is_deeply [sort map { /^grant \S+ (\S+) to (\S+)$/ ? "$2 $1" : $_ } @lines],
    [sort keys %granted], '... and commands';
is scalar(() = $out =~ /^mailadmin /mg), 2 * @lines, '... each with its add';
is scalar(() = $out =~ /^# mailadmin grant /mg), keys %noise,
    '... the suspicious behind a #';

# -- applied, and enforced -------------------------------------------------------------

my $counter = 'SELECT counter FROM emailing_changes';
my $before = $db->sql($counter);
is_deeply names(learn('--apply')->{grants}), [sort keys %granted], 'applied';
is $db->sql($counter), $before + 1, '... in one transaction';
is_deeply [split /\n/, $db->sql(q{SELECT name || ' ' || address
    FROM emailing_users u JOIN emailing_users_addresses ON id_user = u.id
    JOIN emailing_addresses a ON a.id = id_address UNION ALL
    SELECT name || ' ' || domain
    FROM emailing_users u JOIN emailing_users_domains ON id_user = u.id
    JOIN emailing_domains d ON d.id = id_domain ORDER BY 1})],
    [sort keys %granted], '... those and no others';
my $again = learn();
is_deeply $again->{grants}, [], 'nothing is left to grant';
is_deeply names($again->{suspicious}), [sort keys %noise],
    'what is suspicious still is';

$d->{options}{enforce} = 'yes';
$d->start;
ok $d->ready, 'enforced';
my @permitted = grep { $d->decide(split / /) eq 'DUNNO' } sort keys %uses;
is scalar @permitted, scalar keys %uses, 'every sender that was observed passes';
my @refused = grep { $d->decide(split / /) =~ /^553 5\.7\.1 not granted/ }
    sort keys %noise;
is scalar @refused, scalar keys %noise, '... but for the suspicious';
$d->stop;

done_testing;
