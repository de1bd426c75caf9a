# SPDX-License-Identifier: MIT
package Emailing::Daemon::Outage;

# What must hold while something is wrong with the database, and after. One
# user has the domain d.example granted, another one has not; both are asked
# about all the time.
#
#   my $outage = Emailing::Daemon::Outage->new($db, $policyd);
#   $outage->during('hung', 3, 0);    # seconds; 1: right answers are fine
#   $outage->after('hung');           # right again within two seconds

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep time);

use Emailing qw(within);

my $deferred = '451 4.3.0 permission lookup failed, try again later';

sub new {
    my ($class, $db, $policyd) = @_;
    $db->user('test1', 'd.example');
    $db->user('test2', 'other.example');
    return bless { policyd => $policyd }, $class;
}

sub answers {
    my ($self) = @_;
    my $start = time;
    my @answers = map { $self->{policyd}->decide($_, 'a@d.example') // 'closed' }
        qw(test1 test2);
    return (time - $start, @answers);
}

sub right {
    my ($self) = @_;
    my (undef, $granted, $other) = $self->answers;
    return $granted eq 'DUNNO' && $other =~ /^553 5\.7\.1 not granted/;
}

# during NAME, SECONDS, RIGHT: answers meanwhile; right ones are fine when
# RIGHT is set, and the only ones when it is 2
sub during {
    my ($self, $name, $seconds, $right) = @_;
    my ($end, $slowest, $count, @bad) = (time + $seconds, 0, 0);
    while ($count < 3 || time < $end) {
        my ($took, $granted, $other) = $self->answers;
        $slowest = $took / 2 if $took / 2 > $slowest;
        $count++;
        push @bad, "granted: $granted" if !($granted eq $deferred && $right < 2)
            && !($granted eq 'DUNNO' && $right);
        push @bad, "not granted: $other"
            if !($other eq $deferred && $right < 2)
            && !($other =~ /^553 5\.7\.1 not granted/ && $right);
        sleep 0.05;
    }
    is_deeply \@bad, [], "$name: $count times nothing wrong";
    cmp_ok $slowest, '<', 5, '... each in less than five seconds';
    return;
}

sub after {
    my ($self, $name) = @_;
    my $start = time;
    ok within(10, sub { $self->right }), "$name is over: right again";
    cmp_ok time - $start, '<', 2.5, '... within two seconds';
    return;
}

1;
