#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# As many smtpd sessions as Postfix has processes, all logging in and sending at
# once: policyd never has more connections to the database than it may.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;

use Emailing;

my ($sessions, $children, $most) = (100, 10, 4);
my $s = Emailing->up(conf => { database_connections => $most });
my $password = 'secret';
$s->make_session($password);

# Each child holds its share of the sessions open, waits until all the others
# do, and then logs in and sends over each.
sub child {
    my ($ready, $go) = @_;
    my @open = map { $s->smtp->starttls } 1 .. $sessions / $children;
    close $ready;
    sysread $go, my $nothing, 1;
    my $accepted = 0;
    for my $smtp (@open) {
        next if $smtp->auth_plain('test1', $password) !~ /^235 /;
        $accepted++ if $smtp->send('user@test1.com') =~ /^250 /;
        $accepted++ if $smtp->send('user@demo.com') =~ /^553 /;
    }
    return $accepted;
}

pipe my $ready_r, my $ready_w or die;
pipe my $go_r, my $go_w or die;
pipe my $sum_r, my $sum_w or die;
my @pids;
for (1 .. $children) {
    my $pid = fork // die;
    if ($pid == 0) {
        close $go_w;
        my $accepted = eval { child($ready_w, $go_r) } // warn $@;
        syswrite $sum_w, "$accepted\n";
        require POSIX;
        POSIX::_exit(0);
    }
    push @pids, $pid;
}
close $_ for $ready_w, $sum_w, $go_r;
sysread $ready_r, my $nothing, 1; # end of file: every child is ready
my $smtpd = grep { /smtpd/ } qx(ps -e -o args=);
cmp_ok $smtpd, '>=', $sessions, "$sessions smtpd processes";
close $go_w;

my ($seen, $samples) = (0, 0);
my $count = q(SELECT count(*) FROM pg_stat_activity )
    . q(WHERE usename = 'emailing_policyd');
my $done = '';
vec(my $bits = '', fileno $sum_r, 1) = 1;
my $sums = '';
while (1) {
    my $n = $s->sql($count);
    $seen = $n if $n > $seen;
    $samples++;
    next if !select my $found = $bits, undef, undef, 0.05;
    last if !sysread $sum_r, $sums, 4096, length $sums;
}
waitpid $_, 0 for @pids;

my $accepted = 0;
$accepted += $_ for split ' ', $sums;
is $accepted, 2 * $sessions, 'every session got its two answers';
cmp_ok $seen, '<=', $most + 1, "never over $most + 1 connections"
    or diag "$seen connections";
cmp_ok $seen, '>=', 1, "and some ($samples looks)";
is scalar $s->sink_messages($sessions), $sessions, 'each message arrived';

done_testing;
