#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# Eight administrators at once: everything takes effect or is reported, and
# nobody sees a deadlock. The case M5.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";
use Emailing::Case qw(case);
use EmailingPg;
use Test::More;

use constant {PROCESSES => 8, EACH => 100};

case 'M5';
my $pg = EmailingPg->new;
is $pg->mailadmin(qw(schema init))->{status}, 0, 'schema init';
my $conf = $pg->conf("database_timeout = 30\n");

# Runs a session in each of eight processes; returns what they said.
sub at_once {
    my ($lines) = @_;
    my (@pids, @said);
    for my $process (1 .. PROCESSES) {
        my $file = "$pg->{dir}/said$process";
        my $pid = fork // die "fork: $!";
        if ($pid == 0) {
            my $r = $pg->mailadmin(
                {user => 'emailing_mailadmin', conf => $conf,
                    stdin => join '', map { "$_\n" } $lines->($process)});
            open my $out, '>', $file or die $!;
            print {$out} $r->{err};
            close $out;
            exit $r->{status};
        }
        push @pids, $pid;
    }
    for my $process (1 .. PROCESSES) {
        waitpid $pids[$process - 1], 0;
        is $?, 0, "process $process";
        open my $in, '<', "$pg->{dir}/said$process" or die $!;
        push @said, [<$in>];
    }
    return @said;
}

# All add the same things; each is there once, and all others are told.
my @said = at_once(sub {
    map { ("add address a$_\@x.com", "add domain d$_.com") } 1 .. EACH;
});
my $told = grep { /exists already$/ } map { @$_ } @said;
is $told, EACH * 2 * (PROCESSES - 1), 'all but the first are told';
is scalar(map { @$_ } @said), $told, 'nothing else is said';
is $pg->psql('SELECT count(*) FROM emailing_domains'), EACH, 'each once';

# Different users granted the same things, and the same users different ones.
$pg->psql("INSERT INTO emailing_users (name, passwd)
    SELECT 'u' || i, 'x' FROM generate_series(1, ${\ PROCESSES}) i");
my $counter = $pg->psql('SELECT emailing_counter()');
@said = at_once(sub {
    my ($p) = @_;
    map {
        my $u = ($_ + $p) % PROCESSES + 1;
        ("grant address a$_\@x.com to u$p", "grant domain d$_.com to u$u",
            "grant domain d$_.com to u$u with subdomains");
    } 1 .. EACH;
});
is_deeply [map { @$_ } @said], [], 'no message';
is $pg->psql('SELECT count(*) FROM emailing_users_addresses'),
    EACH * PROCESSES, 'no address lost';
is $pg->psql('SELECT count(*), bool_and(subdomains) '
    . 'FROM emailing_users_domains'), EACH * PROCESSES . '|t',
    'no domain lost';
is $pg->psql('SELECT emailing_counter()') - $counter, EACH * PROCESSES * 3,
    'one bump for each';

# What is granted goes away at the same time.
@said = at_once(sub {
    my ($p) = @_;
    return map { ("del address a$_\@x.com", "add address a$_\@x.com") }
        1 .. EACH if $p % 4 == 0;
    return map { ("grant address a$_\@x.com to u$p",
        "revoke address a$_\@x.com from u$p") } 1 .. EACH if $p % 4 == 1;
    return map { ("del user u$p", "add user u$p", 'secret',
        "grant address a$_\@x.com to u$p") } 1 .. EACH / 10 if $p % 4 == 2;
    return map { ("disable user u1", "grant domain d$_.com to u2",
        "enable user u1", "del domain d$_.com") } 1 .. EACH;
});
my @odd = grep { !/: no such |exists already$|already$|is not granted to/ }
    map { @$_ } @said;
is_deeply \@odd, [], 'nothing but what another had done' or diag @odd;
is $pg->psql('SELECT count(*) FROM emailing_domains'), 0, 'deletions done';

# Two set the password of one user: one of them is typing while the other is
# done, and is told so.
$pg->psql("INSERT INTO emailing_users (name) VALUES ('typed')");
my $env = $pg->env(user => 'emailing_mailadmin');
my $typist = do {
    local %ENV = (%ENV, map { $_ => $env->{$_} // '' } keys %$env);
    delete @ENV{grep { !defined $env->{$_} } keys %$env};
    $ENV{MAILADMIN_CONF} = $conf;
    open my $typing, '|-', EmailingPg::program() . ' passwd typed 2>'
        . "$pg->{dir}/typist" or die $!;
    $typing;
};
my $asked = 0;
for (1 .. 200) {
    $asked = $pg->psql("SELECT count(*) FROM pg_stat_activity
        WHERE usename = 'emailing_mailadmin' AND state = 'idle'");
    last if $asked;
    select undef, undef, undef, 0.05;
}
is $asked, 1, 'nobody holds a transaction open while he types';
is $pg->mailadmin({user => 'emailing_mailadmin', conf => $conf,
        stdin => "faster\n"}, qw(passwd typed))->{status}, 0, 'one is faster';
my $fast = $pg->psql("SELECT passwd FROM emailing_users WHERE name = 'typed'");
print {$typist} "slower\n";
close $typist;
is $? >> 8, 75, 'the other is told to try again';
open my $typed, '<', "$pg->{dir}/typist" or die $!;
like join('', <$typed>),
    qr/^mailadmin: user typed was changed meanwhile, at \d.*; nothing done$/m,
    'and why';
is $pg->psql("SELECT passwd FROM emailing_users WHERE name = 'typed'"), $fast,
    'the first password stands';

open my $log, '<', "$pg->{dir}/log" or die $!;
my @deadlocks = grep { /deadlock/ } <$log>;
diag scalar @deadlocks, ' deadlocks, repeated' if @deadlocks;
is scalar @deadlocks, 0, 'the server saw no deadlock';

done_testing;
