#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Memory that is out and calls that do less than they were asked for, in
# policyd and in mailadmin: no crash, no wrong permit, nothing half done.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;

use Emailing qw(build run top within);

# Without a cache each question needs memory, and the database.
my $s = Emailing->up(conf => { cache_bytes => 0 });
my $library = $s->home . '/bin/preload.so';
my ($status, undef, $err) = run([qw(cc -shared -fPIC -O1 -Wall -Wextra
    -Werror -o), $library, top() . '/t/fault/preload.c', '-ldl']);
is $status, 0, 'the library is compiled' or diag $err;
my $password = 'secret';
$s->make_session($password);

# -- mailadmin ------------------------------------------------------------------

# As the everyday user; the status, and what it said.
sub faulty {
    my ($every, $seed, $kind, @words) = @_;
    local %ENV = (%ENV, LD_PRELOAD => $library, FAULT_EVERY => $every,
        FAULT_SEED => $seed, FAULT_KIND => $kind);
    return $s->mailadmin(\@words, "$password\n");
}

my %documented = map { $_ => 1 } 0, 1, 64, 65, 67, 71, 73, 75, 77, 78;
my (%seen, @bad);
for my $kind (qw(alloc io both)) {
    for my $round (1 .. 15) {
        my $name = "$kind$round";
        my ($status, $out, $err) = faulty(1 + $round % 30, $round, $kind,
            'add', 'user', $name);
        $seen{$status}++;
        push @bad, "$name: exit $status: $err" if !$documented{$status}
            || ($status != 0 && $err !~ /\Amailadmin: \S/);
        my $there = $s->sql(
            "SELECT count(*) FROM emailing_users WHERE name = '$name'");
        push @bad, "$name: exit $status, and there are $there" if $there
            != ($status == 0 ? 1 : 0) && $status != 75;
        ($status, $out) = faulty(1 + $round % 30, $round, $kind, 'check',
            'test1', 'ceo@demo.com');
        push @bad, "check: permitted: $out" if $status == 0;
    }
}
is_deeply \@bad, [], 'mailadmin: documented statuses, nothing half done';
cmp_ok $seen{0} // 0, '>', 5, '... it did succeed at times';
cmp_ok 45 - ($seen{0} // 0), '>', 5, '... and fail at others';

# A file is applied as a whole or not at all, and exported whole.
sub faulty_file {
    my ($text, $every, $seed, @words) = @_;
    local %ENV = (%ENV, LD_PRELOAD => $library, FAULT_EVERY => $every,
        FAULT_SEED => $seed, FAULT_KIND => $seed % 3 ? 'alloc' : 'both');
    return $s->mailadmin(\@words, $text);
}

sub export { return ($s->mailadmin(['export']))[1] }

%seen = @bad = ();
for my $round (1 .. 60) {
    my $every = 1 + $round * 7 % 150;
    my $before = export();
    my $text = $before . join '', map { "user f$round-$_\n"
        . "grant domain test1.com to f$round-$_\n" } 1 .. 5;
    my ($status, undef, $err) = faulty_file($text, $every, $round, 'apply',
        '-');
    my $after = export();
    my $there = () = $after =~ /f$round-/g;
    $seen{$status ? 'failed' : 'done'}++;
    push @bad, "apply $round: exit $status: $err" if !$documented{$status}
        || ($status != 0 && $err !~ /\Amailadmin: \S/);
    push @bad, "apply $round: exit $status, and $there lines are there"
        if $there != ($status == 0 ? 10 : 0)
        && !($status == 75 && $there == 10); # lost while it committed
    ($status, my $out) = faulty_file('', $every, $round, 'export');
    push @bad, "export $round: cut" if $status == 0 && $out ne $after;
    ($status, $out, $err) = faulty_file($after, $every, $round, 'plan', '-');
    push @bad, "plan $round: exit $status: $out$err"
        if !$documented{$status} || $status == 1;
    ($status, $out) = faulty_file("test1 may ceo\@demo.com\n", $every, $round,
        'test', '-');
    push @bad, "test $round: exit $status: $out" if $status == 0;
}
is_deeply \@bad, [], 'files: whole or not at all';
# The address sanitizer's malloc is its own, and does not fail.
cmp_ok $seen{$_} // 0, '>', 5, "... $_ at times"
    for 'done', $ENV{EMAILING_SANITIZED} ? () : 'failed';

# -- policyd ------------------------------------------------------------------------

# In place of the program, what runs it with the library.
my $program = $s->home . '/bin/program';
my $build = $s->home . '/bin/build';
is +(run(['cp', build() . '/policyd/emailing-policyd', $program]))[0], 0,
    'a copy of the program';
mkdir $_ or die $! for $build, "$build/policyd";
$s->{environment}{EMAILING_BUILD} = $build;

# With a fault in every so many calls, from when it serves on.
sub hammer {
    my ($kind, $every, $seed) = @_;
    $s->service(stop => 'policyd');
    open my $file, '>', "$build/policyd/emailing-policyd" or die $!;
    print $file "#!/bin/sh\nexport LD_PRELOAD=$library FAULT_KIND=$kind",
        " FAULT_EVERY=$every FAULT_SEED=$seed FAULT_AFTER=2000\n",
        qq(exec $program "\$@"\n);
    close $file or die $!;
    chmod 0755, "$build/policyd/emailing-policyd";
    $s->service(start => 'policyd');
    my $pid = $s->pid('policyd');
    my (%count, @wrong);
    for my $n (1 .. 800) {
        my ($user, $sender, $may) = @{ ([test1 => 'user@test1.com', 1],
            [test2 => 'x@test1.com', 1], [test1 => 'ceo@demo.com', 0],
            [nobody => 'user@test1.com', 0])[$n % 4] };
        my $action = eval { $s->policy({ sasl_username => $user,
            sender => $sender }) } // ($@ ? "error: $@" : 'closed');
        my $kind = $action =~ /^(DUNNO|451|553|closed|error)/ ? $1 : 'odd';
        $count{$kind}++;
        push @wrong, "$user $sender: $action" if $kind eq 'odd'
            || $action =~ /refused/ || ($kind eq 'DUNNO' && !$may) || ($kind eq '553' && $may);
        next if $n % 25;
        my $right = $n % 50;
        my $status = eval { $s->auth('test1', $right ? $password : 'wrong',
            client => "192.0.2.$n") } // 'closed';
        push @wrong, "auth: $status" if $status eq 'ok' && !$right
            || $status eq 'denied' && $right;
    }
    is_deeply \@wrong, [], "policyd, $kind, one in $every: no wrong answer";
    cmp_ok $count{DUNNO} // 0, '>', 0, '... permits';
    cmp_ok $count{553} // 0, '>', 0, '... refusals';
    is $s->pid('policyd'), $pid, '... the same process';
    ok kill(0, $pid), '... alive';
    note join ', ', map { "$_: $count{$_}" } sort keys %count;
    return;
}

hammer(alloc => 5, 1);
hammer(alloc => 40, 2);
hammer(io => 3, 3);
hammer(both => 20, 4);

done_testing;
