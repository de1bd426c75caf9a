#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Sixty-four who guess passwords at the same time, each from an address of his
# own, and beside them people who log in and Postfix that asks. The case A9.
# Takes EMAILING_GUESSING seconds, 12 unless told; it is full at 60.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

use Emailing::Case qw(case);
use Emailing::Daemon::Database ();
use Emailing::Policyd ();

use constant GUESSERS => 64;

my $seconds = $ENV{EMAILING_GUESSING} || 12;
my $db = Emailing::Daemon::Database->new;
my $d = $db->policyd(conf => { auth_clients => 'root' });
ok $d->ready, 'changes are followed';
$db->user('test1', 'd.example');
my $password = 'right one';
my $secret = crypt $password, '$y$j9T$saltsaltsaltsalt$';
$db->sql("INSERT INTO emailing_users (name, passwd)
          SELECT 'user' || i, '$secret' FROM generate_series(1, 5000) i");
my $end = time + $seconds;

sub resident {
    open my $file, '<', '/proc/' . $d->pid . '/status' or die $!;
    local $/;
    return (<$file> =~ /^VmRSS:\s+(\d+) kB/m)[0];
}

# Runs CODE in a process until the end; it returns fields of a line each time.
my @children;
sub actor {
    my ($name, $code) = @_;
    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        alarm $seconds + 60;
        open my $out, '>', "$d->{dir}/$name" or die $!;
        for (my $n = 0; time < $end; $n++) {
            my $start = time;
            my @fields = eval { $code->($n) } or die "$name: $@";
            printf $out "%.6f %s\n", time - $start, "@fields";
        }
        close $out or die $!;
        POSIX::_exit(0);
    }
    push @children, [$name, $pid];
    return;
}

# Known and unknown names; a right guess is not among them. Each address fails
# more often than is free, so some are held, which is as it should be.
for my $guesser (1 .. GUESSERS) {
    my $socket;
    actor("guess$guesser", sub {
        my ($n) = @_;
        $socket ||= $d->auth_socket;
        my $user = $n % 4 ? 'user' . (1 + int rand 5000) : "nobody$n";
        return $socket->auth($user, "guess $n", client => '10.'
            . int(rand 200) . ".$guesser." . $n % 200)->{status};
    });
}
# Somebody each time new, whose password nobody remembers yet; so only the queue
# of passwords to be checked bears on him.
actor(login => sub {
    my ($n) = @_;
    sleep 0.1;
    return $d->auth_socket->auth('user' . (1 + $n), $password,
        client => '192.0.2.' . $n % 250)->{status};
});
my $policy;
actor(policy => sub {
    sleep 0.005;
    $policy ||= $d->policy_socket;
    my $action = $policy->policy({ sasl_username => 'test1',
                                   sender => 'a@d.example' });
    return $action eq 'DUNNO' ? 'DUNNO' : 'other';
});

my @memory;
while (time < $end) {
    push @memory, resident();
    sleep 0.2;
}
case 'A9';
for my $child (@children) {
    waitpid $child->[1], 0;
    is $?, 0, "$child->[0] ends well" if $? != 0;
}

# The statuses that an actor had, and the seconds it took, in order.
sub seen {
    my ($pattern) = @_;
    my (%status, @took);
    for my $name (grep { /$pattern/ } map { $_->[0] } @children) {
        open my $in, '<', "$d->{dir}/$name" or die $!;
        while (<$in>) {
            my ($took, $status) = split;
            $status{$status}++;
            push @took, $took;
        }
    }
    @took = sort { $a <=> $b } @took;
    return (\%status, \@took);
}

sub p99 { my ($took) = @_; return 1000 * $took->[0.99 * @$took] }

my ($guesses) = seen(qr/^guess/);
is $guesses->{ok}, undef, 'no guess is right';
cmp_ok $guesses->{denied} // 0, '>', 10 * $seconds, 'many are checked';
my ($logins, $login_took) = seen(qr/^login/);
is_deeply [sort keys %$logins], ['ok'], 'who knows his password logs in';
cmp_ok $logins->{ok} // 0, '>', 2, '... several do';
my ($policies, $policy_took) = seen(qr/^policy/);
is_deeply [sort keys %$policies], ['DUNNO'], 'policy has its right answers';
cmp_ok $policies->{DUNNO}, '>', 20 * $seconds, '... many of them';
note sprintf 'A9: %d guesses in %d s; p99 of %d good logins %.0f ms, of %d '
    . 'policy answers %.1f ms', $guesses->{denied} + ($guesses->{unavailable}
    // 0), $seconds, $logins->{ok}, p99($login_took), $policies->{DUNNO},
    p99($policy_took);

# Two hashes at a time take 16 MiB each; the tables of failures are bounded.
cmp_ok +(sort { $b <=> $a } @memory)[0], '<',
    128 * 1024 + Emailing::Policyd::slack(), 'in no more than 128 MiB';
is $d->stop, 0, 'policyd ends as asked';

done_testing;
