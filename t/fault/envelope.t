#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Odd envelope senders through the real Postfix. Postfix asks before it
# rewrites an address, so what counts is the sender in the queue: whatever is
# accepted must be covered there by a grant.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;

use Emailing;
use Emailing::Case qw(case);

case 'P13';
my $s = Emailing->up;
my $password = 'secret';
$s->make_session($password);
$s->mailadmin_ok([split]) for 'add domain wild.example',
    'grant domain wild.example to test1 with subdomains',
    'add domain xn--bcher-kva.example',
    'grant domain xn--bcher-kva.example to test1',
    'add address ceo@single.example',
    'grant address ceo@single.example to test1';

# Written from the grants above, not from the code under test.
sub covered {
    my ($address) = @_;
    my ($local, $domain) = $address =~ /\A(.*)\@([^\@]*)\z/s or return 0;
    $domain = lc $domain;
    $domain = 'xn--bcher-kva.example' if $domain eq "b\xc3\xbccher.example";
    return 1 if lc $local eq 'ceo' && $domain eq 'single.example';
    # The quotes around a local part are Postfix's.
    $local =~ s/\A"(.*)"\z/$1/s;
    return 0 if $local eq '' || $local =~ /[%!\@"]/;
    return $domain =~ /\A(?:test1\.com|xn--bcher-kva\.example)\z/
        || $domain =~ /\A(?:.+\.)?wild\.example\z/;
}

# In a session of its own, for Postfix closes one after many errors.
sub try {
    my ($sender) = @_;
    my $smtp = $s->logged_in('test1', $password);
    return $smtp->send($sender,
        parameters => $sender =~ /[^\x00-\x7f]/ ? ' SMTPUTF8' : '');
}

sub queued_sender {
    my ($reply) = @_;
    my ($id) = $reply =~ /queued as (\w+)/ or return;
    $s->wait_log('maillog', qr/qmgr\[\d+\]: $id: from=<.*?>, size=/);
    return ($s->log('maillog') =~ /qmgr\[\d+\]: $id: from=<(.*?)>, size=/)[0];
}

for my $sender ('user@test1.com', 'USER@Test1.COM', 'anything@test1.com',
                'user@test1.com.', 'user+tag@test1.com', '"a b"@test1.com',
                'x@wild.example', 'x@a.wild.example', 'x@a.b.WILD.example',
                'ceo@single.example', 'CEO@single.example.',
                '@demo.com:user@test1.com', "x\@b\xc3\xbccher.example",
                'o\'neil@test1.com', 'a=b@test1.com', 'x' x 64 . '@test1.com')
{
    my $reply = try($sender);
    like $reply, qr/^250 /, "$sender is permitted";
    my $queued = queued_sender($reply);
    ok defined $queued && covered($queued), '... and covered when queued'
        or diag $queued // 'not queued';
}

for my $sender ('ceo@demo.com', 'x@sub.test1.com', 'x@eviltest1.com',
                'x@test1.com.evil.example', 'x@xwild.example',
                'x@wild.example.evil.example', 'other@single.example',
                'ceo@sub.single.example', 'ceo+tag@single.example',
                'ceo%demo.com@test1.com', 'demo.com!ceo@test1.com',
                '"ceo@demo.com"@test1.com', '"ceo%demo.com"@a.wild.example',
                '"a\"b"@test1.com', 'user', 'ceo%test1.com', 'test1.com!ceo',
                '@test1.com', '""@test1.com', 'user@test1.com@',
                'ceo@test1.com@evil.example', 'ceo@evil.example@test1.com',
                'MAILER-DAEMON', 'postmaster', 'user@', '',
                '@test1.com:ceo@demo.com', 'user@[127.0.0.1]',
                'user@test1.com..', 'user@.test1.com', "x\x01\@test1.com",
                "x\@\xef\xbd\x94est1.com", "x\@test1\xe3\x80\x82com",
                "x\@wild.example\xe3\x80\x82demo.com",
                "x\@b\xc3\xbcch\xc3\xa9r.example", 'x' x 250 . '@test1.com',
                "x\@test1.com' OR '1'='1", 'x@test1.com%s%n', '%s@demo.com',
                '*@demo.com', 'user@test_.com', 'user@test1%com')
{
    my $reply = try($sender);
    my $name = $sender =~ s/([^\x20-\x7e])/sprintf '\x%02x', ord $1/ger;
    # 501 and 550 are Postfix's own, for what it takes for no address.
    like $reply, qr/^5\d\d /, "<$name> is refused" or do {
        my $queued = queued_sender($reply);
        diag 'queued as ' . ($queued // 'nothing');
    };
}

# Nothing was queued that no grant covers, bounces of Postfix's own aside.
my @wrong = grep { $_ ne '' && !covered($_) }
    $s->log('maillog') =~ /qmgr\[\d+\]: \w+: from=<(.*?)>, size=/g;
is_deeply \@wrong, [], 'no other sender was ever queued';

done_testing;
