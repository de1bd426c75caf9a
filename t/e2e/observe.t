#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Switching on without fear: mail that nothing permits passes a real Postfix
# while policyd observes, is learnt, and passes again once grants are enforced,
# where other mail is refused then. A batch that is lost loses no mail.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use JSON::PP qw(decode_json);
use Test::More;

use Emailing qw(within);
use Emailing::Policyd ();

my $system = Emailing->up(conf => { enforce => 'no' });
$system->mailadmin_ok([qw(add user), $_], "secret\n") for qw(shop news off);
$system->mailadmin_ok([qw(disable user off)]);

# Each message in a session of its own, to two recipients.
sub send_as {
    my ($user, $sender) = @_;
    my $smtp = $system->logged_in($user, 'secret');
    my $reply = $smtp->mail($sender);
    for (qw(a b)) {
        $reply = $smtp->rcpt("$_\@example.net") if $reply =~ /^2/;
    }
    $reply = $smtp->command('DATA') if $reply =~ /^2/;
    return $reply if $reply !~ /^354 /;
    $smtp->put("From: <who\@header.example>\r\n\r\nbody\r\n.\r\n");
    return $smtp->reply;
}

my @shop = ('orders@shop.example', 'Billing@Shop.example');
my @news = map { "bounce-$_\@news.example" } 1 .. 6;
like send_as('shop', $_), qr/^250 /, "observed: shop sends as $_"
    for @shop, @shop;
like send_as('news', $_), qr/^250 /, "observed: news sends as $_" for @news;
like send_as('shop', ''), qr/^250 /, 'observed: the null sender';
like send_as('shop', 'x@sh0p.example'), qr/^250 /, 'observed: a look-alike';
like send_as('shop', 'shop'), qr/^5\d\d /, 'what is no address is refused';
is eval { send_as('off', 'orders@shop.example') }, undef,
    'a disabled user does not even log in';
my @sent = (@shop, @shop, @news, '', 'x@sh0p.example');
my %received;
$received{ lc $_->{from} }++ for $system->sink_messages(scalar @sent);
my %wanted;
$wanted{ lc $_ }++ for @sent;
is_deeply \%received, \%wanted, 'all of it has arrived';
like $system->log('policyd'), qr/policy: observe: user=shop sender=orders\@shop\.example recipient=a\@example\.net client=127\.0\.0\.1 .* reason=not-granted /,
    'the log says what would have been refused';
my ($observed) = Emailing::Policyd::counts($system,
    'decisions_total{verdict="observe",reason="null-sender"}');
cmp_ok $observed, '>=', 1, 'so do the metrics';

# -- learn, apply -------------------------------------------------------------

ok within(20, sub {
    $system->sql('SELECT coalesce(sum(messages), 0) FROM emailing_observed') == @sent + 1;
}), 'all of it is recorded, each message once, whatever its recipients';
is $system->sql(q{SELECT u.name, o.sender, o.messages
    FROM emailing_observed o JOIN emailing_users u ON u.id = o.id_user
    WHERE o.sender LIKE '%shop.example' ORDER BY 2}),
    "shop|billing\@shop.example|2\nshop|orders\@shop.example|2",
    '... in small letters';
my $learnt = decode_json($system->mailadmin_ok(
    [qw(-f json learn --apply)]));
is_deeply [sort map { "$_->{user} " . ($_->{domain} // $_->{address}) }
           @{ $learnt->{grants} }],
    ['news news.example', 'shop billing@shop.example',
     'shop orders@shop.example'], 'learnt and applied';
is_deeply [map { $_->{address} } @{ $learnt->{suspicious} }],
    ['x@sh0p.example'], '... but not the look-alike';

# -- enforce --------------------------------------------------------------------

Emailing::Policyd::reload($system, enforce => 'yes');
$system->sink_clear;
like send_as('shop', $_), qr/^250 /, "enforced: shop sends as $_" for @shop;
like send_as('news', $_), qr/^250 /, "enforced: news sends as $_"
    for $news[0], 'bounce-99@news.example';
for (['shop', 'x@sh0p.example'], ['shop', 'other@shop.example'],
     ['shop', ''], ['news', 'orders@shop.example']) {
    like send_as(@$_), qr/^553 5\.7\.1 /, "enforced: not $_->[0] as <$_->[1]>";
}
$system->sink_messages(4);
pass 'and that has arrived';
my ($status, $out) = $system->mailadmin(
    [qw(impact revoke domain news.example from news)]);
is $status, 1, 'impact';
is scalar(() = $out =~ /^    - news bounce-/mg), 6,
    '... of what was observed, batches come later';

# -- without the database -----------------------------------------------------------

my $lost = sub {
    return (Emailing::Policyd::counts($system, 'usage_lost_total'))[0];
};
$system->sink_clear;
$system->sql('DROP FUNCTION emailing_record_usage(text)', user => 'postgres');
like send_as('shop', $shop[0]), qr/^250 /, 'the batch will be lost';
ok within(20, sub { $lost->() > 0 }), '... and is';
$system->service('stop', 'postgres');
like send_as('shop', $shop[0]), qr/^250 /, 'the database is away';
$system->sink_messages(2);
pass 'no mail is lost with that';
$system->service('start', 'postgres');
ok within(10, sub { send_as('shop', $shop[1]) =~ /^250 / }),
    'the database is back';

done_testing;
