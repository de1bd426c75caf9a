#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Random policy requests, decided by lib/decide.c (through t/lib/decide_cli)
# and by the reference in this file, which was written from the rules and
# shares no code with it. EMAILING_SEED repeats a run, EMAILING_CASES sets how
# many there are.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Encode qw(decode FB_CROAK);
use Test::More;

use Emailing qw(build run);

my $seed = $ENV{EMAILING_SEED} // int rand 2**31;
my $cases = $ENV{EMAILING_CASES} // 20_000;
srand $seed;
note "EMAILING_SEED=$seed";

my $NOW = 1_000_000;

# -- the world ----------------------------------------------------------------

# U-labels with their A-labels, and labels that are none.
my %a_label = ("b\xc3\xbccher" => 'xn--bcher-kva', "\xc3\xa9" => 'xn--9ca',
    "bu\xcc\x88cher" => 'xn--bcher-kva',
    "\xe4\xbe\x8b\xe5\xad\x90" => 'xn--fsqu00a');
my @no_label = ("\xe2\x84\xaa", "te\xe2\x84\xaa", "\xef\xbd\x81",
    "test1\xe3\x80\x82com", "\xc3\x89", "\xc3\xa9\xe2\x84\xaa",
    "a\xe2\x80\x8b");
my @domains = qw(test1.com sub.test1.com a.sub.test1.com eviltest1.com com
    test1.com.evil.example evil.example localhost ab--cd.com 10.0.0.1
    xn--bcher-kva.example xn--9ca.xn--bcher-kva.example example [10.0.0.1]);
my @locals = ('user', 'ceo', 'a.b', 'user+ext', 'user-ext', 'a+b-c', 'a%b',
    'a!b', '"q"', 'x@y', '@r:u', 'a b', '+lead', '-lead', 'user+', "\xc3\xa4",
    "o'x", '%s%n', 'a=b', 'a+b%c', 'user+e@x', '*');
my @users = ('test1', 'Test1', 'TEST1', 'a.b+c@d-e_f', 'n' x 128);
my @no_users = ('a b', "a\x01", "\xc3\xa4", '%', "x'--", 'n' x 129, "\n" x 60,
    'a/b', "a\0b", '\\', '*');

sub pick { return $_[rand @_] }
sub chance { return rand() < $_[0] }

# Capital letters here and there.
sub sway { return join '', map { chance(0.3) ? uc : $_ } split //, $_[0] }

sub some_domain {
    my $domain = pick(@domains);
    my $r = rand;
    if ($r < 0.12) { $domain = pick(qw(a b.c x evil- _d)) . ".$domain" }
    elsif ($r < 0.16) { $domain = "evil$domain" }
    elsif ($r < 0.20) {
        $domain = pick('', '.', 'a.', 'evil.com>', 'evil.com ', 'e%', 'e!x',
            '(c)', 'a,b', '"', ':', '[1]', '\\') . ".$domain";
    }
    elsif ($r < 0.24) { $domain = pick(keys %a_label) . '.example' }
    elsif ($r < 0.26) { $domain = pick(keys %a_label) . '.'
        . pick(keys %a_label) . '.example' }
    elsif ($r < 0.29) { $domain = pick(@no_label) . '.com' }
    elsif ($r < 0.30) { $domain = 'test1.' . pick(@no_label) }
    elsif ($r < 0.31) { $domain = join '.', map { 'l' x 40 } 1 .. 6 }
    return $domain;
}

sub some_sender {
    return '' if chance(0.08);
    return pick(@locals, @domains) if chance(0.04);
    my $local = chance(0.02) ? 'l' x (220 + rand 40) : pick(@locals);
    $local = '' if chance(0.02);
    my $sender = $local . '@' . (chance(0.02) ? '' : some_domain());
    $sender = sway($sender) if chance(0.4);
    $sender .= pick('.', '.', '..') if chance(0.15);
    # What IDNA makes of odd U-labels is not for the reference to say.
    my $end = $sender =~ /\@[^\@]*[^\x00-\x7f]/ ? $-[0] : length $sender;
    substr $sender, rand(1 + $end), 0,
        pick("\x00", "\x01", "\x1f", "\x7f", "\xc2\x85", "\xff", "\xc3", "\r",
            '@', '%', '!', '"', ' ', '.', '+', '-', "\xed\xa0\x80")
        if chance(0.08);
    return $sender;
}

# [kind, end or undef, text]
sub some_grant {
    my $kind = pick(qw(a a d s));
    my $end = chance(0.7) ? undef
        : pick(0, 1, $NOW - 1, $NOW, $NOW + 1, $NOW * 2, -5);
    my $text = pick(@domains);
    $text = pick(@locals) . "\@$text" if $kind eq 'a';
    return [$kind, $end, $text];
}

sub some_case {
    my %case = (now => $NOW);
    $case{state} = pick(('RCPT') x 6, qw(MAIL DATA END-OF-MESSAGE CONNECT
        HELO EHLO VRFY ETRN ehlo BDAT), '');
    $case{user} = chance(0.05) ? '' : chance(0.08) ? pick(@no_users)
        : pick(@users);
    $case{method} = chance(0.05) ? pick(qw(ANONYMOUS anonymous)) :
        pick(qw(PLAIN LOGIN SCRAM-SHA-256), '');
    $case{sender} = some_sender();
    $case{delimiter} = pick('', '', '+', '+-', '-', '%');
    $case{facts} = pick(('record') x 12, qw(unknown cannot-ask not-asked));
    $case{$_} = chance(0.5)
        for qw(reject-unauthenticated permit-null-sender);
    $case{disabled} = chance(0.06);
    $case{stale} = chance(0.12);
    $case{observe} = chance(0.2);
    $case{grants} = [map { some_grant() } 1 .. int rand 9];
    # Half of them get a grant that bears on the sender.
    if (chance(0.5) && defined(my $address = address($case{sender}))) {
        my ($local, $domain) = @$address;
        my $stripped = strip($local, pick('+', '-'));
        my @parents = parents($domain);
        my $text = pick("a $local\@$domain", "d $domain", "s $domain",
            map({ "s $_" } @parents), map({ "d $_" } @parents),
            defined $stripped ? "a $stripped\@$domain" : ());
        my ($kind, $what) = split / /, $text, 2;
        push @{ $case{grants} },
            [$kind, chance(0.8) ? undef : pick($NOW - 1, $NOW, $NOW + 1),
             $what] if $what !~ /\n/ && length $what;
    }
    return \%case;
}

# -- the reference ------------------------------------------------------------

# The domain in normal form, or nothing.
sub domain {
    my ($domain) = @_;
    $domain =~ s/\.\z//;
    return if $domain eq '';
    $domain =~ tr/A-Z/a-z/;
    return $domain if $domain !~ /[^\x00-\x7f]/;
    my @labels = split /\./, $domain, -1;
    for my $label (@labels) {
        next if $label !~ /[^\x00-\x7f]/;
        $label = $a_label{$label} // return;
    }
    return join '.', @labels;
}

# [local part, domain] of an address, or nothing if it is none.
sub address {
    my ($text) = @_;
    my $characters = eval { decode('UTF-8', my $copy = $text, FB_CROAK) };
    return if !defined $characters;
    return if $characters =~ /[\x{00}-\x{1f}\x{7f}-\x{9f}]/;
    return if length $text =~ s/\.\z//r > 254;
    my $at = rindex $text, '@';
    return if $at < 1;
    my $local = substr $text, 0, $at;
    $local =~ tr/A-Z/a-z/;
    my $domain = domain(substr $text, $at + 1);
    return if !defined $domain || length("$local\@$domain") > 254;
    return [$local, $domain];
}

sub strip {
    my ($local, $delimiters) = @_;
    return if $delimiters eq '';
    return $local =~ /\A([^\Q$delimiters\E]+)[\Q$delimiters\E]/ ? $1 : undef;
}

# The domains above one, as long as what is in front of them is host names.
sub parents {
    my ($domain) = @_;
    my @parents;
    while ($domain =~ s/\A[a-z0-9_-]+\.//) {
        push @parents, $domain;
    }
    return @parents;
}

sub printable {
    my ($text) = @_;
    my @pieces = map { /[\x21-\x5b\x5d-\x7e]/ ? $_ : sprintf '\x%02x', ord }
        split //, $text;
    my $whole = join '', @pieces;
    return $whole if length $whole <= 128;
    pop @pieces while length(join '', @pieces) > 125;
    return join('', @pieces) . '...';
}

sub granted {
    my ($case, $kind, $text) = @_;
    return scalar grep { $_->[0] eq $kind && $_->[2] eq $text
        && (!defined $_->[1] || $_->[1] > $case->{now}) } @{ $case->{grants} };
}

# What an enabled user's record says of the sender: (permitted, reason).
sub sender_verdict {
    my ($case) = @_;
    return ($case->{'permit-null-sender'}, 'null-sender')
        if $case->{sender} eq '';
    my $address = address($case->{sender});
    return (0, 'malformed') if !$address;
    my ($local, $domain) = @$address;
    return (1, 'address') if granted($case, 'a', "$local\@$domain");
    # The forms that another relay may read as another address
    return (0, grep({ granted($case, $_, $domain) } qw(d s))
               || grep({ granted($case, 's', $_) } parents($domain))
                   ? 'routed-local-part' : 'not-granted')
        if $local =~ /[%!\@"]/;
    my $stripped = strip($local, $case->{delimiter});
    return (1, 'extension')
        if defined $stripped && granted($case, 'a', "$stripped\@$domain");
    return (1, 'domain')
        if granted($case, 'd', $domain) || granted($case, 's', $domain);
    return (1, 'subdomain')
        if grep { granted($case, 's', $_) } parents($domain);
    return (0, 'not-granted');
}

my %text = (
    unauthenticated => '553 5.7.1 authentication required',
    'unknown-user' => '553 5.7.1 user NAME may not send',
    disabled => '553 5.7.1 user NAME may not send',
    'null-sender' => '553 5.7.1 null sender not granted to user NAME',
    malformed => '553 5.7.1 not an address this relay can permit',
    'not-granted' => '553 5.7.1 not granted to user NAME',
    'routed-local-part' => '553 5.7.1 not granted to user NAME',
);

# (action, reason, reply)
sub reference {
    my ($case) = @_;
    my $refuse = sub {
        my ($reason) = @_;
        my $name = printable($case->{user});
        return ('reject', $reason, $text{$reason} =~ s/NAME/$name/r);
    };
    my $defer = sub {
        return ($_[0] eq 'none' ? 'ask' : 'defer', $_[0],
            '451 4.3.0 permission lookup failed, try again later');
    };
    return ('permit', 'no-sender-yet', 'DUNNO') if $case->{sender} eq ''
        && $case->{state} =~ /\A(?:CONNECT|HELO|EHLO|VRFY|ETRN)\z/i;
    if ($case->{user} eq '' || lc $case->{method} eq 'anonymous') {
        return $refuse->('unauthenticated')
            if $case->{'reject-unauthenticated'};
        return ('permit', 'unauthenticated', 'DUNNO');
    }
    return $refuse->('unknown-user')
        if $case->{user} !~ /\A[A-Za-z0-9._+\@-]{1,128}\z/;
    return $defer->('none') if $case->{facts} eq 'not-asked';
    return $defer->('unavailable') if $case->{facts} eq 'cannot-ask';
    my ($permitted, $reason) = $case->{facts} eq 'unknown'
        ? (0, 'unknown-user') : $case->{disabled} ? (0, 'disabled')
        : sender_verdict($case);
    return ('permit', $reason, 'DUNNO') if $permitted;
    return $defer->('stale') if $case->{stale};
    return ('observe', $reason, 'DUNNO')
        if $case->{observe} && $reason =~ /\A(?:null-sender|not-granted)\z/;
    return $refuse->($reason);
}

# -- both ---------------------------------------------------------------------

sub escape {
    my ($text) = @_;
    return $text =~ s/([^\x21-\x5b\x5d-\x7e])/sprintf '\x%02x', ord $1/ger;
}

sub wire {
    my ($case) = @_;
    my $wire = '';
    for my $name (qw(state user method sender delimiter now facts)) {
        $wire .= "$name " . escape($case->{$name}) . "\n"
            if $case->{$name} ne '';
    }
    $wire .= "$_\n" for grep { $case->{$_} }
        qw(reject-unauthenticated permit-null-sender disabled stale observe);
    $wire .= 'grant ' . escape("$_->[0] " . ($_->[1] // '-') . " $_->[2]")
        . "\n" for @{ $case->{grants} };
    return "$wire\n";
}

my @all = map { some_case() } 1 .. $cases;
my ($status, $out, $err) = run([build() . '/t/lib/decide_cli'],
    join '', map { wire($_) } @all);
is $status, 0, 'decide_cli read every case' or diag $err;
my @got = split /\n/, $out;
is @got, @all, "$cases cases, $cases verdicts"
    or do { done_testing; exit };

my (%seen, @differences);
for my $i (0 .. $#all) {
    my $want = join ' ', reference($all[$i]);
    my $got = $got[$i] // 'nothing';
    my ($action, $reason) = split / /, $got;
    $seen{"$action $reason"}++;
    # That it was granted once is for the log only.
    $got =~ s/\A(reject|observe) expired /$1 not-granted /;
    push @differences, wire($all[$i]) . "want: $want\ngot:  $got"
        if $got ne $want;
}
is @differences, 0, "no difference (EMAILING_SEED=$seed)"
    or diag join "\n\n", grep { defined } @differences[0 .. 4];

# Each way out was taken, or the cases show nothing.
for my $way ('permit no-sender-yet', 'permit unauthenticated',
    'reject unauthenticated', 'reject unknown-user', 'reject disabled',
    'defer unavailable', 'defer stale', 'ask none', 'permit null-sender',
    'reject null-sender', 'reject malformed', 'permit address',
    'permit extension', 'permit domain', 'permit subdomain',
    'reject routed-local-part', 'reject expired', 'reject not-granted',
    'observe null-sender', 'observe expired', 'observe not-granted')
{
    my $n = delete $seen{$way} // 0;
    cmp_ok $n, '>=', $cases / 5_000, "$way: $n";
}
is_deeply [keys %seen], [], 'and no other';

done_testing;
