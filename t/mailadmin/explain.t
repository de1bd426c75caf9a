#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# check explains: the nearest miss, and commands that really permit, from a
# user and a sender, from a line of a log, and from a reference.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";
use EmailingPg;
use JSON::PP;
use Test::More;

my $pg = EmailingPg->new;
is $pg->mailadmin(qw(schema init))->{status}, 0, 'schema init';
my %as = (user => 'emailing_mailadmin');
my $setup = <<'END';
TRUNCATE emailing_users, emailing_addresses, emailing_domains CASCADE;
INSERT INTO emailing_users (name, passwd, enabled) VALUES
    ('test1', 'x', true), ('test2', 'x', true), ('off', 'x', false),
    ('off2', 'x', false);
INSERT INTO emailing_addresses (address) VALUES ('user@test1.com'),
    ('old@a.com'), ('plus@a.com');
INSERT INTO emailing_domains (domain) VALUES ('b.com'), ('c.com'), ('o.com'),
    ('t2.com');
INSERT INTO emailing_users_addresses SELECT u.id, a.id,
    CASE WHEN address = 'old@a.com' THEN timestamptz '2026-10-01 UTC' END
    FROM emailing_users u, emailing_addresses a
    WHERE (name, address) IN (('test2', 'user@test1.com'),
        ('test1', 'old@a.com'), ('test1', 'plus@a.com'));
INSERT INTO emailing_users_domains SELECT u.id, d.id, domain = 'c.com',
    CASE WHEN domain = 'o.com' THEN timestamptz '2026-10-01 UTC' END
    FROM emailing_users u, emailing_domains d
    WHERE (name, domain) IN (('test1', 'b.com'), ('test1', 'c.com'),
        ('test1', 'o.com'), ('test2', 't2.com'), ('off2', 'b.com'));
END
$pg->psql($setup);

sub check {
    my (@words) = @_;
    my $options = ref $words[0] ? shift @words : {};
    return $pg->mailadmin({%as, %$options}, 'check', @words);
}

# What is refused, the nearest miss, and how many commands permit it.
for my $case (
    [test1 => 'user@test1.com',
        'address user@test1.com is granted to test2, not test1', 1],
    [test1 => 'User@Test1.COM.',
        'address user@test1.com is granted to test2, not test1', 1],
    [test1 => 'x@t2.com', 'domain t2.com is granted to test2, not test1', 2],
    [test1 => 'x@sub.b.com', 'domain b.com is granted, without subdomains',
        1],
    [test1 => 'x%y@sub.b.com',
        'domain b.com is granted, without subdomains', 2],
    [test1 => 'old@a.com',
        'the grant of address old@a.com ended on 2026-10-01T00:00:00Z', 1],
    [test1 => 'x@o.com',
        'the grant of domain o.com ended on 2026-10-01T00:00:00Z', 1],
    [test1 => 'plus+x@a.com', 'address plus@a.com is granted; plus addresses '
        . 'need recipient_delimiter in emailing.conf', 2],
    [test1 => 'a%b@b.com', 'domain b.com is granted, but a domain does not '
        . 'cover % ! @ or quotes in front of the @', 2],
    [test1 => "o'b r\@nowhere.org", undef, 2],
    [off => 'x@nowhere.org', 'user off is disabled', 3],
    [off2 => 'x@b.com', 'user off2 is disabled', 1],
    [test1 => '', 'the null sender needs null_sender = permit in '
        . 'emailing.conf', 0],
    [test1 => 'nonsense', 'the sender is no address: it has to have an @ and '
        . 'something on both sides of it, no control characters, and 254 '
        . 'bytes at most', 0],
) {
    my ($user, $sender, $nearest, $count) = @$case;
    $pg->psql($setup);
    my $r = $pg->mailadmin(\%as, '-f', 'json', 'check', $user, $sender);
    is $r->{status}, 1, "$user $sender: refused";
    my $answer = decode_json($r->{out});
    is $answer->{nearest}, $nearest, 'the nearest miss';
    is scalar @{$answer->{commands}}, $count, 'the commands'
        or diag explain $answer;
    my $text = check($user, $sender)->{out};
    like $text, qr/^  nearest: \Q$nearest\E$/m, 'in text' if defined $nearest;
    like $text, qr/: \Q$_\E$/m, 'a command in text'
        for @{$answer->{commands}};
    next if !$count;
    # They are for a shell, and do what they promise.
    for my $command (@{$answer->{commands}}) {
        my $env = $pg->env(%as);
        $env->{MAILADMIN_CONF} = $pg->conf('');
        my $program = EmailingPg::program();
        $r = EmailingPg::run('', $env, 'sh', '-c',
            $command =~ s/^mailadmin/$program/r);
        is_deeply [@$r{qw(status err)}], [0, ''], $command;
    }
    is check($user, $sender)->{status}, 0, 'permitted then';
}
$pg->psql($setup);

# The grant that permits.
my $r = $pg->mailadmin(\%as, qw(grant domain b.com to test2 with subdomains
    until 2099-01-01));
is check(qw(test2 X@y.b.com))->{out}, "permitted: domain b.com with "
    . "subdomains until 2099-01-01T00:00:00Z\n  sender: x\@y.b.com\n",
    'with its end';
is_deeply decode_json($pg->mailadmin(\%as, qw(-f json check test2 x@y.b.com))
    ->{out})->{grant}, {domain => 'b.com', subdomains => JSON::PP::true,
        expires => '2099-01-01T00:00:00Z'}, 'in JSON';

# Lines of logs.
my $postfix = 'Nov 22 10:00:00 mx postfix/submission/smtpd[77]: NOQUEUE: '
    . 'reject: RCPT from unknown[10.0.0.1]: 553 5.7.1 <User@Test1.com>: '
    . 'Sender address rejected: not granted to user test1; '
    . 'from=<User@Test1.com> to=<a@b.org> proto=ESMTP helo=<x>';
my $policyd = 'Nov 22 10:00:00 mx emailing-policyd[5]: policy: reject: '
    . 'user=test1 sender=user@test1.com recipient=a@b.org client=10.0.0.1 '
    . 'queue_id= reason=not-granted us=85';
for my $line ($postfix, $policyd, "$policyd ref=K7Q3M9",
    $postfix =~ s/test1;/test1 (ref K7Q3M9);/r,
    '553 5.7.1 <user@test1.com>: Sender address rejected: not granted to '
    . 'user test1') {
    for my $words ([$line], [split / /, $line]) {
        $r = check('--log', @$words);
        is $r->{status}, 1, 'a line of a log';
        like $r->{out}, qr/^refused: not granted to user test1$/m, 'refused';
        like $r->{out}, qr/^  the log says: .*not.granted/m, 'as it was then';
        like $r->{out}, qr/nearest: address user\@test1\.com is granted to /,
            'and explained';
    }
}
is check('--log', $policyd =~ s/user\@test1/plus\@a/r =~ s/test1\.com/com/r)
    ->{status}, 0, 'what was permitted since';
$r = check('--log', $policyd =~ s/user\@test1.com/\\x22a\\x20b\\x22\@b.com/r);
like $r->{out}, qr/^  sender: "a b"\@b\.com$/m, 'escapes are undone';
for my $case (
    ['auth: denied: user=off client=10.0.0.1 service=smtp '
        . 'reason=disabled us=7', 0, qr/user off is disabled/],
    ['postfix/smtpd[7]: warning: u[1.2.3.4]: SASL PLAIN authentication '
        . 'failed: authentication failure, sasl_username=test1', 0,
        qr/user test1 is enabled/],
    ['postfix/smtpd[7]: warning: u[1.2.3.4]: SASL PLAIN authentication '
        . 'failed: authentication failure, sasl_username=tset1', 67, qr/\A\z/],
    ['policy: reject: user=test1 sender=' . ('x' x 300) . '... reason=x', 65,
        qr/\A\z/],
    ['connect from unknown[10.0.0.1]', 65, qr/\A\z/],
    ["policy: reject: user=a\e[1m sender=x\@y reason=z", 65, qr/\A\z/],
    ['553 5.7.1 <>: Sender address rejected: authentication required', 65,
        qr/\A\z/],
) {
    my ($line, $status, $out) = @$case;
    $r = check('--log', $line);
    is $r->{status}, $status, substr $line =~ s/\e/?/r, 0, 60;
    like $r->{out}, $out, 'what it says';
    unlike $r->{out} . $r->{err}, qr/[^\n -~]/, 'and is printable';
}

# References.
my $log = "noise\n$policyd ref=ABCDEF\n"
    . ($policyd =~ s/test1 /test2 /r) . " ref=K7Q3M9\nnoise\n";
$r = check({stdin => $log}, qw(--ref k7q3m9));
is_deeply [$r->{status}, $r->{out} =~ /^permitted: /], [0, 1],
    'a reference alone, and a log';
$r = check({stdin => $log}, '--ref', '(ref ABCDEF)');
is $r->{status}, 1, 'as a client shows it';
is check('--ref', $postfix =~ s/test1;/test1 (ref K7Q3M9);/r)->{status}, 1,
    'a whole line needs no log';
is check({stdin => $log}, qw(--ref ZZZZZZ))->{status}, 67, 'not in the log';
is check(qw(--ref nonsense))->{status}, 65, 'no reference';

done_testing;
