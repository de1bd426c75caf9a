#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# The bench measures what it says: its generator finds wrong answers, its
# figures are all there, and it leaves nothing behind.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin";

use File::Temp ();
use JSON::PP ();
use Test::More;

use Emailing qw(build run top within);

my $dir = File::Temp->newdir;
my $load = build() . '/t/bench/load';

# -- the generator --------------------------------------------------------------

# An echo is right for requests that are granted, and wrong for the others.
my $pid = fork // die;
if ($pid == 0) {
    open STDOUT, '>', "$dir/ready";
    exec build() . '/t/bench/echo', "$dir/echo" or exit 127;
}
ok within(10, sub { -s "$dir/ready" }), 'the echo listens';
my @all = ($load, '-s', "$dir/echo", '-u', 100, '-n', 5000);
for my $connections (1, 7, 64) {
    my ($status, $out) = run([@all, '-c', $connections]);
    is $status, 0, "$connections connections: answers are right";
    like $out, qr/^requests=5000\nrefused=0\nwrong=0\n/, '... all of them';
    like $out, qr/^p50_us=[\d.]+\np99_us=[\d.]+\n/m, '... with latencies';
}
my ($status, $out, $err) = run([@all, '-c', 4, '-r', 10]);
is $status, 1, 'permitted where it should be refused: that is noticed';
my %figures = $out =~ /^(\w+)=(\S+)$/mg;
cmp_ok $figures{refused}, '>', 100, '... a tenth of the senders';
is $figures{wrong}, $figures{refused}, '... each of them';
like $err, qr/should be "action=553 5\.7\.1 not granted to user u\d{7}"/,
    '... and said';
($status) = run([@all, '-c', 4, '-r', 10, '-e']);
is $status, 0, 'but an echo may be one';
($status, $out) = run([@all, '-c', 4, '-p', $pid]);
($out =~ /^cpu_us=([\d.]+)$/m) or fail 'CPU time';
cmp_ok $1, '>', 0, 'CPU time of the server';
kill TERM => $pid;
waitpid $pid, 0;
($status, $out, $err) = run([@all, '-c', 1]);
is $status, 1, 'no server: that is said';
like $err, qr{\Q$dir\E/echo: Connection refused}, '... with its name';

# -- the whole of it ---------------------------------------------------------------

mkdir "$dir/tmp" or die;
chmod 0711, $dir or die;
{
    local $ENV{TMPDIR} = "$dir/tmp";
    ($status, $out, $err) = run([top() . '/t/bench/run', '--tiny', '--json',
        "$dir/json"]);
}
is $status, 0, 'a tiny run' or diag $err;
my @rows = ('echo +2', 'cached 40 +2', 'cached 40, recording +2',
    'cached 40, log all +2',
    'uncached 40 +2', 'no login, no check +2 +2', 'secure-emailing +2 +2',
    'Cyrus sql, Postfix maps +2 +2');
like $out, qr/^$_ +\d/m, "a row: $_" for @rows;
like $out, qr/^\d+ answers, none of them wrong$/m, 'every answer was checked';
like $out, qr/^40 users with 4 grants each: loaded in /m, 'loading';
like $out, qr/^20 idle connections, 2 busy: /m, 'idle connections';
like $out, qr/^4 changes by $_, obeyed by 3 policyds: /m, "changes by $_"
    for qw(SQL mailadmin);
open my $file, '<', "$dir/json" or die "$dir/json: $!";
my $result = JSON::PP->new->decode(do { local $/; <$file> });
is_deeply [map { "$_->{server} $_->{connections}" } @{ $result->{policy} }],
    ['echo 2', 'cached 40 2', 'cached 40, recording 2', 'cached 40, log all 2',
     'uncached 40 2'],
    'decisions as JSON';
is_deeply [map { $_->{service} } @{ $result->{mail} }],
    [qw(floor ours maps)], 'mail as JSON';
cmp_ok $_->{accepted}[0], '>', 0, "mail was accepted: $_->{service}"
    for @{ $result->{mail} };
cmp_ok scalar @{ $result->{aims} }, '>=', 7, 'aims as JSON';
is_deeply [grep { !defined $_->{value} || !defined $_->{met} }
           @{ $result->{aims} }], [], '... each with its value';
is_deeply [glob "$dir/tmp/*"], [], 'nothing is left behind';

($status, $out, $err) = run([top() . '/t/bench/run', '--fast']);
is $status, 64, 'an unknown option is refused';
like $err, qr/^usage: run/m, '... with the usage';

done_testing;
