# SPDX-License-Identifier: MIT
package Emailing::Soak;

# The model that t/soak holds answers against: who was granted what, from when
# to when, as far as can be known, and when the database could not be had.

use strict;
use warnings;

my $before = 5; # s that a change may take to be seen
my $after = 5;  # s that it may take until all is well behind a fault

sub new {
    my ($class, %args) = @_;
    return bless { faults => $args{faults}, changes => {}, accepted => [],
        complaints => [], sum => { map { $_ => 0 } qw(answers permits refusals
            deferrals deferrals_outside wrong_permits wrong_refusals
            not_replies) } }, $class;
}

sub _lines {
    my ($path) = @_;
    open my $file, '<', $path or die "$path: $!";
    return map { chomp; [split /\t/, $_, -1] } <$file>;
}

# What a grant is set to, and from when to when that may have happened. One
# that failed may have happened at any time until the next that did not, or
# not at all: both then are possible.
sub read_changes {
    my ($self, $path) = @_;
    for my $line (_lines($path)) {
        my (undef, $begun, $ended, $user, $domain, $granted, $sure) = @$line;
        push @{ $self->{changes}{"$user x\@$domain"} },
            { begun => $begun, ended => $ended, granted => $granted,
              sure => $sure };
    }
    return;
}

# Whether the grant may have been so at some moment from FROM to TO.
sub possible {
    my ($self, $key, $granted, $from, $to) = @_;
    my $now = 0; # nobody is granted anything at the start
    my $unsure = 0;
    my $known = 0; # since when
    for my $change (@{ $self->{changes}{$key} || [] }) {
        last if $change->{begun} > $to;
        # As it was, until this one had ended.
        return 1 if $change->{ended} >= $from && ($unsure || $now == $granted);
        return 1 if $change->{ended} >= $from
            && $change->{granted} == $granted;
        if ($change->{sure}) {
            ($now, $unsure) = ($change->{granted}, 0);
        } elsif ($change->{granted} != $now) {
            $unsure = 1;
        }
    }
    return $unsure || $now == $granted;
}

# The fault that may bear on an answer asked and given then.
sub _fault {
    my ($self, $from, $to) = @_;
    my @bear = grep { $_->[0] - 1 <= $to && $_->[1] + $after >= $from }
        @{ $self->{faults} };
    return $bear[0];
}

sub _judge {
    my ($self, $kind, $asked, $given, $user, $sender, $answer) = @_;
    my $sum = $self->{sum};
    my $fault = $self->_fault($asked, $given);
    my $from = $asked - $before;
    # Nothing newer than when the database was last had can be asked for.
    $from = $fault->[0] - $before if $fault && $fault->[0] - $before < $from;
    $sum->{answers}++;
    if ($kind eq 'permit') {
        $sum->{permits}++;
        return if $self->possible("$user $sender", 1, $from, $given);
        $sum->{wrong_permits}++;
    } elsif ($kind eq 'refusal') {
        $sum->{refusals}++;
        return if $self->possible("$user $sender", 0, $from, $given);
        $sum->{wrong_refusals}++;
    } else {
        $sum->{deferrals}++;
        $sum->{deferrals_outside}++ if !$fault;
        return;
    }
    push @{ $self->{complaints} }, sprintf 'wrong %s at %.3f: %s as %s: %s',
        $kind, $given, $user, $sender, $answer;
    return;
}

sub _wrong {
    my ($self, $which, $text) = @_;
    $self->{sum}{$which}++;
    push @{ $self->{complaints} }, "$which: $text";
    return;
}

sub _auth {
    my ($self, $asked, $given, $user, $right, $reply) = @_;
    $self->{sum}{answers}++;
    if ($reply =~ /^235/) {
        $self->{sum}{permits}++;
        $self->_wrong(wrong_permits => "login with a wrong password as $user")
            if !$right;
    } elsif ($reply =~ /^535/) {
        $self->{sum}{refusals}++;
        $self->_wrong(wrong_refusals => sprintf 'login of %s at %.3f: %s',
            $user, $given, $reply) if $right;
    } else {
        $self->{sum}{deferrals}++;
        $self->{sum}{deferrals_outside}++
            if $right && !$self->_fault($asked, $given);
    }
    return;
}

sub read_answers {
    my ($self, $path) = @_;
    for my $line (_lines($path)) {
        my ($what, $asked, $given, @rest) = @$line;
        if ($what eq 'auth') {
            $self->_auth($asked, $given, @rest);
        } elsif ($what eq 'bad') {
            $self->_wrong(not_replies => "@rest");
        } elsif ($what eq 'ask' || $what eq 'mail') {
            my ($user, $sender, $answer, $id) = @rest;
            my $kind = $answer =~ /^(?:DUNNO|250 )/ ? 'permit'
                : $answer =~ /^5/ ? 'refusal' : 'deferral';
            $self->_judge($kind, $asked, $given, $user, $sender, $answer);
            push @{ $self->{accepted} }, $id
                if $what eq 'mail' && $kind eq 'permit';
        }
    }
    return;
}

sub sum { return %{ $_[0]{sum} } }
sub accepted { return @{ $_[0]{accepted} } }
sub complaints { return @{ $_[0]{complaints} } }

1;
