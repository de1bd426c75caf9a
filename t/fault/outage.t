#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# The database goes and comes back: temporary answers while it is gone, right
# ones soon after, and nobody is started again by hand. Each phase has users
# that policyd has not seen before, for those it has may be remembered. The case
# A2.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;
use Time::HiRes qw(time);

use Emailing qw(within);
use Emailing::Case qw(case);

case 'A2';
my $s = Emailing->up;
my $password = 'secret';
my $count = 0;
$s->mailadmin_ok([split]) for 'add domain test1.com';
for my $user (map { "user$_" } 1 .. 40) {
    $s->mailadmin_ok([qw(add user), $user], "$password\n");
    $s->mailadmin_ok([split ' ', "grant domain test1.com to $user"]);
}

sub fresh_user { return 'user' . ++$count }

sub policy {
    my ($user) = @_;
    return $s->policy({ sasl_username => $user, sender => 'a@test1.com' });
}

sub in_time {
    my ($seconds, $name, $code) = @_;
    my $start = time;
    my $value = $code->();
    cmp_ok time - $start, '<', $seconds, "$name: in less than $seconds s";
    return $value;
}

sub is_down {
    my ($name) = @_;
    my ($one, $two) = (fresh_user(), fresh_user());
    my $smtp = $s->smtp->starttls;
    like in_time(5, "$name: AUTH", sub { $smtp->auth_plain($one, $password) }),
        qr/^454 /, "$name: AUTH is answered 454";
    like $smtp->command('NOOP'), qr/^250 /, "$name: the session goes on";
    is in_time(5, "$name: policy", sub { policy($two) }),
        '451 4.3.0 permission lookup failed, try again later',
        "$name: policy is answered 451";
    is $s->auth($two, 'wrong'), 'unavailable',
        "$name: nor is a wrong password called wrong";
    return;
}

sub is_up {
    my ($name) = @_;
    my ($one, $two) = (fresh_user(), fresh_user());
    ok within(2, sub { policy($one) eq 'DUNNO' }), "$name: policy permits";
    ok within(2, sub { $s->auth($two, $password) eq 'ok' }),
        "$name: a login succeeds";
    like $s->logged_in($two, $password)->send('a@test1.com'), qr/^250 /,
        "$name: mail is accepted";
    is $s->auth($two, 'wrong'), 'denied', "$name: a wrong password is denied";
    like policy('nobody'), qr/^553 /, "$name: an unknown user is refused";
    return;
}

my @pids = map { $s->pid($_) } qw(policyd postfix);

is_up('before');

$s->service(stop => 'postgres');
is_down('stopped');
$s->service(start => 'postgres');
is_up('started again');

# Stopped but not gone: connections stay open and nothing answers.
my $postmaster = $s->pid('postgres');
my @group = ($postmaster, split ' ', qx(ps -o pid= --ppid $postmaster));
kill STOP => @group;
is_down('hung');
kill CONT => @group;
is_up('going on');

# Killed: the next start recovers.
kill KILL => $postmaster;
within(10, sub { !kill 0, $postmaster });
is_down('killed');
$s->service(start => 'postgres');
is_up('after recovery');

is_deeply [map { $s->pid($_) } qw(policyd postfix)], \@pids,
    'policyd and postfix are those of the beginning';
ok kill(0, $_), "process $_ lives" for @pids;

# -- policyd itself gone, or hung ----------------------------------------------------

sub no_policyd {
    my ($name) = @_;
    my $smtp = $s->smtp->starttls;
    like in_time(12, "$name: AUTH", sub {
        $smtp->auth_plain('user1', $password) }), qr/^454 /,
        "$name: AUTH is answered 454";
    like $smtp->command('NOOP'), qr/^250 /, "$name: the session goes on";
    return;
}
my $policyd = $s->pid('policyd');
kill STOP => $policyd;
no_policyd('policyd hung');
kill CONT => $policyd;
is_up('policyd going on');
$s->service(stop => 'policyd');
no_policyd('policyd stopped');
$s->service(start => 'policyd');
ok within(5, sub { policy('nobody') =~ /^553 / }), 'policyd is back';
is_up('policyd started');

# -- policyd first, then the database ---------------------------------------------

$s->service(stop => 'policyd');
$s->service(stop => 'postgres');
$s->service(start => 'policyd');
is policy('user1'), '451 4.3.0 permission lookup failed, try again later',
    'started without a database: 451';
$s->service(start => 'postgres');
ok within(2, sub { policy('user1') eq 'DUNNO' }), 'then it comes: permitted';

done_testing;
