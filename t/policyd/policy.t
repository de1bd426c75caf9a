#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# The policy socket's answers, row by row of the table of decisions, with each
# option; and the line that the log has for each.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;

use Emailing qw(within);
use Emailing::Policyd ();

my $s = Emailing->up(conf => { unauthenticated => 'dunno',
                               recipient_delimiter => '' });
my $denied = '553 5.7.1 not granted to user test1';
my $malformed = '553 5.7.1 not an address this relay can permit';
my $null = '553 5.7.1 null sender not granted to user test1';
my $login = '553 5.7.1 authentication required';

$s->mailadmin_ok(@$_) for
    [[qw(add user test1)], "secret\n"], [[qw(add user bare)], "secret\n"],
    [[qw(add user off)], "secret\n"], [[qw(disable user off)]],
    map { [[split]] } 'add address user@test1.com', 'add domain granted.com',
    'add domain deep.example', 'add address plain@box.example',
    'add address odd%local@box.example',
    map { "grant $_ to test1" } 'address user@test1.com', 'domain granted.com',
    'address plain@box.example', 'address odd%local@box.example';
$s->mailadmin_ok([split ' ', 'grant domain deep.example to test1 with subdomains']);

my $socket = $s->policy_socket;
sub ask { my %attributes = @_; return $socket->policy(\%attributes) }
sub from { return ask(sasl_username => 'test1', sender => @_) }
sub reload { return Emailing::Policyd::reload($s, @_) }

# -- before there is a sender, and without a login -------------------------------

for my $state (qw(CONNECT HELO EHLO VRFY ETRN)) {
    is ask(protocol_state => $state), 'DUNNO', "$state: no sender yet";
    is ask(protocol_state => $state, sasl_username => 'nobody'), 'DUNNO',
        "$state: whoever it is";
    is ask(protocol_state => $state, sasl_username => 'test1',
           sender => 'a@other.com'), $denied, "$state with a sender: is checked";
}
my @strangers = (
    ['no login', sender => 'user@test1.com'],
    ['no login, no sender', sender => ''],
    ['ANONYMOUS', sasl_username => 'test1', sasl_method => 'ANONYMOUS',
     sender => 'user@test1.com'],
    ['anonymous', sasl_username => 'test1', sasl_method => 'anonymous',
     sender => 'user@test1.com'],
);
is ask(@$_[1 .. $#$_]), 'DUNNO', "unauthenticated = dunno: $_->[0]"
    for @strangers;
reload(unauthenticated => 'reject');
is ask(@$_[1 .. $#$_]), $login, "unauthenticated = reject: $_->[0]"
    for @strangers;
is ask(protocol_state => 'HELO'), 'DUNNO', 'but not before there is a sender';

# -- users ---------------------------------------------------------------------------

my $user = 'user@test1.com';
for my $name ('nobody', 'off', "te'st1", 'test1 ', ' test1', 'test1%', '*',
              'x' x 128) {
    is ask(sasl_username => $name, sender => $user),
        '553 5.7.1 user ' . $name =~ s/ /\\x20/gr . ' may not send',
        "user $name: no";
}
like ask(sasl_username => 'y' x 3000, sender => $user),
    qr/\A553 5\.7\.1 user y{100,}\.\.\. may not send\z/, 'a name of 3,000 bytes';
like ask(sasl_username => "\xff\xc3(\e[31m", sender => $user),
    qr/\A553 5\.7\.1 user \\xff\\xc3\(\\x1b\[31m may not send\z/,
    'a name of odd bytes';
is ask(sasl_username => $_, sender => $user), 'DUNNO', "user $_: yes"
    for qw(test1 TEST1 TesT1);
is ask(sasl_username => 'bare', sender => $user),
    '553 5.7.1 not granted to user bare', 'a user without a grant';

# -- senders -------------------------------------------------------------------------

for my $state (qw(MAIL RCPT DATA END-OF-MESSAGE)) {
    is ask(sasl_username => 'test1', protocol_state => $state), $null,
        "$state: the null sender";
    is ask(sasl_username => 'test1', protocol_state => $state,
           sender => $user), 'DUNNO', "$state: a granted one";
}
is from($_), $malformed, 'no address: ' . substr($_, 0, 60) for 'user', '@',
    'user@', '@test1.com', "user\@test1.com\t", "us\x01er\@test1.com", '""',
    "user\@test1.com\x7f", 'a' x 250 . '@b.cd', "\xff\@\xff";
my @answers = (
    [$user, 'DUNNO', 'address'], ['USER@TEST1.COM', 'DUNNO', 'address'],
    ['user@test1.com.', 'DUNNO', 'address'],
    ['user+x@test1.com', $denied, 'not-granted'],
    ['other@test1.com', $denied, 'not-granted'],
    ['user@sub.test1.com', $denied, 'not-granted'],
    ['user@eviltest1.com', $denied, 'not-granted'],
    ['anything@granted.com', 'DUNNO', 'domain'],
    ['anything@GRANTED.com.', 'DUNNO', 'domain'],
    ['a@b@granted.com', $denied, 'routed-local-part'],
    ['a@sub.granted.com', $denied, 'not-granted'],
    ['a@evilgranted.com', $denied, 'not-granted'],
    ['a@granted.com.evil.com', $denied, 'not-granted'],
    ['a@deep.example', 'DUNNO', 'domain'],
    ['a@x.deep.example', 'DUNNO', 'subdomain'],
    ['a@x.y.z.deep.example', 'DUNNO', 'subdomain'],
    ['a@notdeep.example', $denied, 'not-granted'],
    ['a@example', $denied, 'not-granted'],
    ['a%b@granted.com', $denied, 'routed-local-part'],
    ['b!a@granted.com', $denied, 'routed-local-part'],
    ['"a"@x.deep.example', $denied, 'routed-local-part'],
    ['odd%local@box.example', 'DUNNO', 'address'],
    ['%s%n%s@other.com', $denied, 'not-granted'],
    ['*@test1.com', $denied, 'not-granted'],
);
for my $case (@answers) {
    is from($case->[0]), $case->[1], "sender $case->[0]";
}
like from("' OR 1=1 --\@other.com"), qr/^553 /, 'SQL in a sender';
is from('x' x 4000 . '@granted.com'), $malformed, 'a sender of 4,000 bytes';

reload(null_sender => 'permit');
is from(''), 'DUNNO', 'null_sender = permit';
is ask(sasl_username => 'nobody', sender => ''),
    '553 5.7.1 user nobody may not send', 'but not for nobody';
is ask(sasl_username => 'off', sender => ''),
    '553 5.7.1 user off may not send', 'nor for a disabled user';

reload(recipient_delimiter => '+-');
is from($_->[0]), $_->[1], "recipient_delimiter: $_->[0]" for
    ['user+x@test1.com', 'DUNNO'], ['user-x+y@test1.com', 'DUNNO'],
    ['User+X@Test1.com', 'DUNNO'], ['use+r@test1.com', $denied],
    ['+x@test1.com', $denied], ['user+@test1.com', 'DUNNO'],
    ['plain+a%b@box.example', $denied], ['user=x@test1.com', $denied],
    ['a+b%c@granted.com', $denied];

# -- the log --------------------------------------------------------------------------

sub line {
    my ($pattern, $name) = @_;
    ok $s->wait_log('policyd', $pattern, 5), "log: $name"
        or diag $s->log('policyd') =~ s/\A.*(?=.{2000}\z)//sr;
    return;
}

my $stamp = qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z emailing-policyd\[\d+\]:/m;
for my $case (grep { $_->[1] ne 'DUNNO' } @answers) {
    line(qr/$stamp policy: reject: user=test1 sender=\Q$case->[0]\E recipient=someone\@example\.com client=192\.0\.2\.7 queue_id= reason=$case->[2] us=\d+$/m,
         "refusal of $case->[0]");
}
line(qr/ policy: reject: user= sender=user\@test1\.com .* reason=unauthenticated us=/,
     'no login');
line(qr/ policy: reject: user=off .* reason=disabled us=/, 'a disabled user');
line(qr/ policy: reject: user=nobody .* reason=unknown-user us=/, 'an unknown one');
line(qr/ policy: reject: user=test1 sender= .* reason=null-sender us=/,
     'the null sender');
line(qr/ sender='\\x20OR\\x201=1\\x20--\@other\.com recipient=/,
     'blanks do not make a field');
line(qr/ sender=us\\x01er\@test1\.com recipient=.* reason=malformed us=/,
     'control characters are escaped');
line(qr/ user=\\xff\\xc3\(\\x1b\[31m sender=/, 'odd names, too');
unlike $s->log('policyd'), qr/policy: permit:/, 'permits are not logged';
my @long = grep { length > 2300 } split /\n/, $s->log('policyd');
is @long, 0, 'no line is very long';

reload(log_permits => 'yes');
is from($_->[0]), $_->[1], "log_permits: $_->[0]"
    for grep { $_->[1] eq 'DUNNO' } @answers;
is ask(protocol_state => 'HELO'), 'DUNNO', 'log_permits: HELO';
is ask(sasl_username => 'test1', sender => $user, protocol_state => 'DATA',
       queue_id => '4XyZ1234'), 'DUNNO', 'log_permits: DATA';
for my $case (grep { $_->[1] eq 'DUNNO' } @answers) {
    line(qr/$stamp policy: permit: user=test1 sender=\Q$case->[0]\E recipient=\S+ client=192\.0\.2\.7 queue_id= reason=$case->[2] us=\d+$/m,
         "permit of $case->[0]");
}
line(qr/policy: permit: user= .* reason=no-sender-yet us=/, 'permit of HELO');
line(qr/policy: permit: user=test1 .* queue_id=4XyZ1234 reason=address us=/,
     'the queue id');

# -- what changes, and what cannot be asked -----------------------------------------------

reload(max_stale => 0, cache_ttl => 1, log_permits => 'no');
$s->mailadmin_ok([split ' ', 'revoke domain granted.com from test1']);
ok within(5, sub { from('a@granted.com') eq $denied }), 'a grant that is revoked';
my $later = '451 4.3.0 permission lookup failed, try again later';
$s->service(stop => 'postgres');
ok within(5, sub { from($user) eq $later }), 'the database is away';
is ask(sasl_username => 'nobody', sender => 'a@b.c'), $later, 'for all';
is ask(sasl_username => "it's", sender => 'a@b.c'),
    q(553 5.7.1 user it's may not send), 'but a name that nobody can have';
is ask(protocol_state => 'HELO'), 'DUNNO', 'and what needs no question';
is ask(sender => 'a@b.c'), $login, 'nor a login';
line(qr/policy: defer: user=nobody sender=a\@b\.c .* reason=unavailable us=\d+$/m,
     'a deferral');

# What Prometheus is told of all this.
my $metrics = Emailing::Policyd::metrics(Emailing::Policyd::status_address($s));
my $decisions = 'emailing_decisions_total';
cmp_ok $metrics->{qq($decisions\{verdict="$_->[0]",reason="$_->[1]"})} // 0,
    '>=', 1, "counted: $_->[0], $_->[1]" for
    (map { ['permit', $_] } qw(address domain subdomain extension null-sender
        no-sender-yet unauthenticated)),
    (map { ['reject', $_] } qw(not-granted routed-local-part malformed disabled
        unknown-user null-sender unauthenticated)), ['defer', 'unavailable'];
my $sum = 0;
/^$decisions\{/ and $sum += $metrics->{$_} for keys %$metrics;
is $metrics->{emailing_decision_duration_seconds_count}, $sum,
    'each once in the histogram';

done_testing;
