#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# What a decision costs, counted and not timed: from memory no allocation, one
# query per user however many questions, and one write for all the replies to
# what one read brought; from the database no call to watch or to stop watching.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin";

use Test::More;
use Time::HiRes qw(sleep);

use Emailing qw(build within);
use Emailing::Socket ();
use bench::System ();

my $users = 50;
my $system = bench::System->up;
my $database = $system->database($users);
my %conf = (preload => 'yes', cache_ttl => 86400);

# -- allocations ------------------------------------------------------------------

sub count_of {
    my ($path) = @_;
    open my $file, '<:raw', $path or die "$path: $!";
    read $file, my $bytes, 8;
    return unpack 'Q', $bytes;
}

# Allocations while that many requests are answered, of which one in $refuse
# is refused.
sub allocations {
    my ($server, $page, $requests, $refuse) = @_;
    my $before = count_of($page);
    my $figures = $system->generate('load', ['-s', $server->{socket}, '-c', 8,
        '-u', $users, '-n', $requests, '-r', $refuse]);
    is $figures->{requests}, $requests, "$requests requests answered";
    return count_of($page) - $before;
}

my $page = $system->dir . '/allocations';
my $counted = $system->start_policyd('counted', $database, \%conf,
    LD_PRELOAD => build() . '/t/bench/.libs/malloccount.so',
    MALLOC_COUNT => $page);
bench::System::preloaded($counted, $users);
cmp_ok count_of($page), '>', $users, 'allocations are counted';

# Connections are allocated, and the heartbeat of each second allocates in
# libpq: some hundreds at the most, where one for each request would be tens of
# thousands.
for my $refuse (0, 10) {
    my $what = $refuse ? ', some of them refused and logged' : '';
    allocations($counted, $page, 1000, $refuse);
    for my $requests (20_000, 40_000) {
        cmp_ok allocations($counted, $page, $requests, $refuse), '<',
            $requests / 40, "none for $requests requests$what";
    }
}
$system->stop('counted');

# -- queries ------------------------------------------------------------------------

my $lazy = $system->start_policyd('lazy', $database,
    { %conf, preload => 'no' });
$system->generate('load', ['-s', $lazy->{socket}, '-c', 8, '-u', $users,
    '-n', 20_000]);
my ($hits, $misses, $shared) = map {
    bench::System::metric($lazy, "emailing_cache_${_}_total")
} qw(hits misses shared);
is $hits + $misses, 20_000, 'each request is a hit or a miss';
is $misses - $shared, $users, 'one query for each user';
$system->stop('lazy');

# -- writes -------------------------------------------------------------------------

# Runs CODE while strace writes down the system calls of policyd.
sub traced {
    my ($server, $calls, $code) = @_;
    my $trace = $system->dir . "/trace-$server->{name}";
    my $tracer = fork // die;
    if ($tracer == 0) {
        open STDERR, '>', '/dev/null';
        exec 'strace', '-f', '-s', '64', '-e', "trace=$calls,epoll_wait",
            '-o', $trace, '-p', $server->{pid} or do {
                require POSIX;
                POSIX::_exit(127);
            };
    }
    # Once it is attached it sees the loop turn, at the latest at the next
    # heartbeat.
    ok within(10, sub { -s $trace }), 'strace is attached';
    $code->();
    kill INT => $tracer;
    waitpid $tracer, 0;
    open my $file, '<', $trace or die "$trace: $!";
    return <$file>;
}

# The calls on the connection that a trace shows: pieces read and written.
sub calls {
    my (%read, %written);
    for (@_) {
        $read{$1}++ if /\bread\((\d+),.*= [1-9]\d*$/;
        $written{$1}++ if /\bwritev?\((\d+), .*action=.*= [1-9]\d*$/;
    }
    my ($fd) = keys %written;
    is scalar keys %written, 1, 'replies went to one connection'
        or diag join ' ', %written;
    return ($read{$fd}, $written{$fd});
}

my $traced = $system->start_policyd('traced', $database, \%conf);
bench::System::preloaded($traced, $users);
my ($requests, $batch) = (1000, 125);
my $request = Emailing::Socket::request_text({
    sasl_username => 'u0000007', sender => 'u0000007@mail.example' });
my $right = 0;
my @lines = traced($traced, 'read,write,writev', sub {
    my $socket = Emailing::Socket->new($traced->{socket});
    for (1 .. $requests / $batch) {
        # All of a batch is there before policyd looks.
        kill STOP => $traced->{pid};
        my $sent = $socket->send($request x $batch);
        kill CONT => $traced->{pid};
        $sent or die 'not sent';
        $right += grep { ($socket->action // '') eq 'DUNNO' } 1 .. $batch;
    }
});
is $right, $requests, "$requests pipelined requests have their replies";
my ($reads, $writes) = calls(@lines);
cmp_ok $writes, '<=', $reads, "one write a read ($writes, $reads)";
cmp_ok $writes, '<=', $requests / 5, 'and several requests in each';
ok kill(0 => $traced->{pid}), 'policyd goes on';
$system->stop('traced');

# -- watching ---------------------------------------------------------------------

# A connection is watched all the time, also while it waits for the database.
my $asking = $system->start_policyd('asking', $database, { cache_bytes => 0 });
@lines = traced($asking, 'epoll_ctl,write', sub {
    $system->generate('load', ['-s', $asking->{socket}, '-c', 4, '-u', $users,
        '-n', 400]);
});
my $answers = grep { /\bwrite\(\d+, "action=/ } @lines;
is $answers, 400, 'all are answered, by the database';
cmp_ok scalar(grep { /\bepoll_ctl\(/ } @lines), '<', 100,
    'and what is watched changes with connections only';

done_testing;
