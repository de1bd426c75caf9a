#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# What stands in the attributes of a request: missing, empty, in every mixture
# of cases, meant for SQL, LDAP, a shell or printf(3), long, not ASCII. The
# cases P3, P4 and P14 to P16. Every reply is held against the grammar by
# Emailing::Socket.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;

use Emailing qw(within);
use Emailing::Case qw(case);
use Emailing::Daemon::Database ();
use Emailing::Socket ();

my $db = Emailing::Daemon::Database->new;
$db->sql(q{ALTER SYSTEM SET log_statement = 'all'; SELECT pg_reload_conf()});
my $d = $db->policyd;
ok $d->ready, 'changes are followed';
$db->user('test1', 'ab@cd.ex', 'test1.com');
my $refused = '553 5.7.1 not granted to user test1';
my $nobody = '553 5.7.1 authentication required';
my $null = '553 5.7.1 null sender not granted to user test1';
my $socket = $d->policy_socket;

# The request with these attributes; one whose value is undef is left out.
sub ask {
    my %attributes = @_;
    my $text = Emailing::Socket::request_text({
        map { ($_ => $attributes{$_} // '') } keys %attributes });
    for my $name (grep { !defined $attributes{$_} } keys %attributes) {
        $text =~ s/^$name=\n//m or die;
    }
    $socket->send($text);
    return $socket->action // 'closed';
}

# -- without a login, without a sender --------------------------------------------

for my $answer ('DUNNO', $nobody) {
    case 'P3';
    my $option = $answer eq 'DUNNO' ? 'dunno' : 'reject';
    ok $d->reload(unauthenticated => $option), "unauthenticated = $option";
    for my $state (qw(MAIL RCPT DATA END-OF-MESSAGE)) {
        my @who = (['no user' => undef], ['an empty one' => ''],
                   ['ANONYMOUS' => 'test1', 'ANONYMOUS'],
                   ['Anonymous' => 'anonymous', 'Anonymous']);
        for my $who (@who) {
            my ($name, $user, $method) = @$who;
            is ask(protocol_state => $state, sasl_username => $user,
                   sasl_method => $method // '', sender => 'ab@cd.ex'), $answer,
                "$option, $state: $name";
        }
    }
}
for my $answer ($null, 'DUNNO') {
    case 'P4';
    my $option = $answer eq 'DUNNO' ? 'permit' : 'reject';
    ok $d->reload(null_sender => $option), "null_sender = $option";
    for my $state (qw(MAIL RCPT DATA END-OF-MESSAGE)) {
        is ask(protocol_state => $state, sasl_username => 'test1',
               sender => $_->[1]), $answer, "$option, $state: $_->[0]"
            for ['no sender' => undef], ['an empty one' => ''];
    }
    is ask(sasl_username => 'none', sender => ''),
        '553 5.7.1 user none may not send', "$option: an unknown user";
}
$d->reload(null_sender => 'reject');

# -- cases ---------------------------------------------------------------------------

case 'P14';

# The word with every choice of capitals.
sub spellings {
    my ($word) = @_;
    my @all = ('');
    for my $char (split //, $word) {
        my %seen;
        @all = map { my $one = $_; map { "$one$_" }
                     grep { !$seen{"$one$_"}++ } lc $char, uc $char } @all;
    }
    return @all;
}

my (%answers, $asked);
for my $user (spellings('test1')) {
    $answers{ ask(sasl_username => $user, sender => $_) }++
        for spellings('ab@cd.ex');
    $answers{ ask(sasl_username => $user, sender => $_) =~ s/user \K\S+/test1/ri
                  . ', refused' }++ for spellings('a@d.ex');
}
is_deeply \%answers, { DUNNO => 16 * 64, "$refused, refused" => 16 * 16 },
    'each spelling of user and sender has the same answer';

# -- characters that mean something to someone ---------------------------------------

case 'P15';
my $canary = 'xyzzy';
my @attacks = map { s/C/$canary/gr } "' OR '1'='1' -- C", "C'; DROP TABLE "
    . 'emailing_users; --', "C\\' OR 1=1 --", 'C" OR ""="', "E'C\\x27'",
    '$1 C', '$$C$$', "C'||pg_sleep(9)||'", "\xbf' OR C=C --", '*)(uid=*))(|(C=*',
    'C*', 'cn=C,dc=x', '%s%s%n%C', '%2$sC', '${env:C}', '${file:/C}', '$(C)',
    '`C`', '; C', '| C', '../../C', '{{C}}', "C\tC", "C\x1b]0;C\x07", "C\x7f";
my @names = map { /^(\w+)=/ } split /\n/, Emailing::Socket::request_text({});
my (@wrong, $tried);
for my $attack (@attacks) {
    for my $name (@names) {
        my %request = (sasl_username => 'test1', sender => 'ceo@demo.com',
                       $name => $attack);
        my $action = eval { ask(%request) } // "no reply: $@";
        push @wrong, "$name=$attack: $action" if $name eq 'request'
            ? $action ne 'closed' : $action !~ /^553 /;
        $socket = $d->policy_socket if $name eq 'request';
        $tried++;
    }
    for my $sender ($attack, "$attack\@demo.com", "a\@$attack",
                    "ab\@cd.ex$attack", "$attack\@test1.com\@demo.com") {
        my $action = ask(sasl_username => 'test1', sender => $sender);
        push @wrong, "sender=$sender: $action" if $action !~ /^553 /;
    }
    my $action = ask(sasl_username => "test1$attack", sender => 'ab@cd.ex');
    push @wrong, "user test1$attack: $action" if $action !~ /^553 /;
}
is_deeply \@wrong, [], "$tried requests are refused";
is ask(sasl_username => 'test1', sender => 'ab@cd.ex'), 'DUNNO',
    'all is as before';

sub server_log {
    open my $file, '<', $db->dir . '/log' or die $!;
    local $/;
    return <$file>;
}
my %statements = map { $_ => 1 }
    server_log() =~ /LOG:  execute (?:<unnamed>|[a-z_.0-9]+): ([^\n]*(?:\n\t[^\n]*)*)/g;
cmp_ok scalar keys %statements, '>', 1, 'the server has logged what it ran';
is_deeply [grep { /\Q$canary\E|ceo|cd\.ex/i } keys %statements], [],
    '... constant text, whatever was asked';
cmp_ok scalar(grep { /emailing_/ } keys %statements), '<=', 8,
    '... few statements';
is_deeply [grep { /[^\x20-\x7e]/ } split /\n/, $d->log], [],
    "policyd's log has no odd byte";

# -- what a reply may hold --------------------------------------------------------------

case 'P16';
my @odd = ('%s' x 200, '%n' x 200, "%s%n\@test1.net", 'x' x 4096,
    'x' x 4096 . '@test1.com', 'a@' . 'b' x 4096, "\xff" x 4096,
    "\xc3\xa4" x 2000 . '@test1.com', '@' x 4096, '.' x 4096, '\\' x 4096,
    (map { "a" . chr($_) . "b\@demo.com" } grep { $_ != 10 && $_ != 13 }
        1 .. 255),
    map { join '', map { chr 14 + int rand 242 } 1 .. rand 600 } 1 .. 500);
@wrong = ();
for my $value (@odd) {
    for my $where ('sender', 'sasl_username', 'recipient', 'queue_id') {
        my %request = (sasl_username => 'test1', sender => 'ceo@demo.com',
                       $where => $value);
        my $action = eval { ask(%request) } // "no reply: $@";
        push @wrong, "$where: $action" if $action !~ /^553 5\.7\.1 /;
    }
}
is_deeply \@wrong, [], scalar(@odd) . ' odd values in four places: each reply'
    . ' is of the grammar, printable and no more than 512 bytes';
is_deeply [grep { length > 2400 || /[^\x20-\x7e]/ } split /\n/, $d->log], [],
    '... and each line of the log is printable and not very long';
is ask(sasl_username => 'test1', sender => 'ab@cd.ex'), 'DUNNO',
    'all is as before';
is $d->stop, 0, 'policyd ends as asked';

done_testing;
