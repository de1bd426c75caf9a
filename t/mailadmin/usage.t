#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# What learn, unused and impact make of what was recorded, row by row.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use JSON::PP qw(decode_json);
use Test::More;

use EmailingPg;

my $pg = EmailingPg->new;
is $pg->mailadmin(qw(schema init))->{status}, 0, 'schema init';
my $conf = $pg->conf(qq(recipient_delimiter = "+"\n));

sub mailadmin {
    my (@words) = @_;
    my $r = $pg->mailadmin({ user => 'emailing_mailadmin', conf => $conf },
        @words);
    return @$r{qw(status out err)};
}

sub ok_mailadmin {
    my ($status, $out, $err) = mailadmin(@_);
    is $status, 0, "@_" or diag $err;
    return;
}

sub json {
    my (@words) = @_;
    my ($status, $out, $err) = mailadmin('-f', 'json', @words);
    my $object = eval { decode_json($out) };
    ok $object, "JSON: @words" or diag $err;
    return ($object, $status);
}

# seen USER, SENDER, MESSAGES, form, kind and text of the grant: as policyd
# records it
sub seen {
    my ($user, $sender, $messages, %more) = @_;
    my $now = time - ($more{ago} // 0);
    my $line = join "\t", $pg->psql("SELECT id FROM emailing_users
        WHERE name = '$user'"), $more{form} // 'address', $messages, 0, $now,
        $now, $more{kind} // '-', $more{grant} // '', $sender;
    $pg->psql("SELECT emailing_record_usage(\$b\$$line\$b\$)",
        user => 'emailing_policyd');
    return;
}

sub forget {
    $pg->psql('DELETE FROM emailing_observed; DELETE FROM emailing_used');
    return;
}

# [user and object, why or nothing]
sub proposals {
    my ($learnt, $which) = @_;
    return [map { join ' ', $_->{user}, $_->{domain} // $_->{address},
                  $_->{why} // (), $_->{like} // () } @{ $learnt->{$which} }];
}

ok_mailadmin(qw(add user --no-password), $_) for qw(app1 app2 off);
ok_mailadmin(qw(add domain acme.com));
ok_mailadmin(qw(add domain mailer.org));
ok_mailadmin(qw(add address info@acme.com));
ok_mailadmin(qw(add address boss@boss.example));
ok_mailadmin(qw(grant domain acme.com to app1));
ok_mailadmin(qw(grant domain mailer.org to app2 with subdomains));
ok_mailadmin(qw(grant address info@acme.com to app2));
ok_mailadmin(qw(grant address info@acme.com to app1));
ok_mailadmin(qw(grant address boss@boss.example to app2 until 2020-01-01));
ok_mailadmin(qw(disable user off));

# -- learn ------------------------------------------------------------------------

seen('app1', "x$_\@acme.com", 10) for 1 .. 9;        # granted
seen('app1', 'x@sub.acme.com', 2);                   # one address
seen('app1', "a$_\@many.example", 1) for 1 .. 5;      # a domain
seen('app1', "a$_\@few.example", 1) for 1 .. 4;       # four addresses
seen('app1', "list+$_\@plus.example", 1) for 1 .. 20; # one, without extension
seen('app1', 'x@once.example', 1);                   # a one-off domain
seen('app1', 'x@acne.com', 3);                       # of a granted domain
seen('app1', 'a%b@acme.com', 2);                     # granted, in that form not
seen('app1', 'x@a..b', 2);                           # no domain to be granted
seen('app1', '', 4, form => 'null');
seen('app1', 'nobody', 5, form => 'malformed');
seen('app1', '*', 6, form => 'more');
seen('app2', '*@crowd.example', 400, form => 'more');
seen('app2', 'boss@boss.example', 2);                # it has ended
seen('app2', 'old@times.example', 9, ago => 8 * 86400);
seen('off', 'x@off.example', 3);                     # disabled meanwhile

my ($learnt) = json('learn');
is_deeply proposals($learnt, 'grants'), [
    (map { "app1 a$_\@few.example" } 1 .. 4), 'app1 many.example',
    'app1 list@plus.example', 'app1 x@sub.acme.com', 'app2 crowd.example'],
    'what is proposed';
is_deeply proposals($learnt, 'suspicious'), [
    'app1 x@a..b ungrantable', 'app1 a%b@acme.com local-part',
    'app1 x@acne.com look-alike acme.com', 'app1 x@once.example one-off',
    'app2 boss@boss.example ended'], 'what is suspicious, and why';
is_deeply [map { "$_->{user} $_->{form} $_->{sender} $_->{messages}" }
           @{ $learnt->{others} }],
    ['app1 null  4', 'app1 more * 6', 'app1 malformed nobody 5'],
    'what is no matter of grants';
my ($plus) = grep { ($_->{address} // '') eq 'list@plus.example' }
    @{ $learnt->{grants} };
is $plus->{messages}, 20, 'extensions are one address';
like $plus->{last}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, '... and when';

($learnt) = json(qw(learn --since 30d --domain-threshold 4));
is_deeply proposals($learnt, 'grants'), ['app1 few.example',
    'app1 many.example', 'app1 list@plus.example', 'app1 x@sub.acme.com',
    'app2 crowd.example', 'app2 old@times.example'],
    'a lower threshold, a longer time';
for (['--since', '7 d'], ['--since', '7x'], ['--since', '0d'],
     ['--domain-threshold', '1'], ['--domain-threshold', 'x']) {
    my ($status, $out, $err) = mailadmin('learn', @$_);
    is $status, 65, "refused: @$_";
}
my ($status, $out, $err) = mailadmin(qw(learn --since 2020-01-01));
is $status, 0, 'a date';
like $err, qr/^mailadmin: usage is recorded since \S+ only$/m,
    'it is said that this is not all';

# The text is a script for a shell.
seen('app1', 'o\'neil & sons@quoted.example', 2);
($status, $out, $err) = mailadmin('learn');
like $out, qr/^# app1: no address: nobody: 5 messages, last /m, 'malformed';
like $out, qr/^# app1: the null sender, .*: 4 messages, last /m, 'null sender';
my $script = join '', map { "$_\n" } grep { /quoted|many/ && !/^#/ }
    split /\n/, $out;
$script =~ s/^mailadmin/"\$PROGRAM" -c "\$CONF"/mg;
my $r = EmailingPg::run($script, { %{ $pg->env(user => 'emailing_mailadmin') },
    PROGRAM => EmailingPg::program(), CONF => $conf }, 'sh', '-e');
is $r->{status}, 0, 'it runs' or diag $script, $r->{err};
is((mailadmin(qw(check app1), $_))[0], 0, "... and grants $_")
    for 'o\'neil & sons@quoted.example', 'anything@many.example';

# One transaction: nothing of it when one part fails.
($learnt) = json('learn');
my $grants = 'SELECT (SELECT count(*) FROM emailing_users_addresses)'
    . ' + (SELECT count(*) FROM emailing_users_domains)';
my $before = $pg->psql($grants);
$pg->psql('REVOKE INSERT ON emailing_users_domains FROM emailing_mailadmin');
is +(mailadmin(qw(learn --apply)))[0], 77, '--apply without the right';
is $pg->psql($grants), $before, '... does nothing';
$pg->psql('GRANT INSERT ON emailing_users_domains TO emailing_mailadmin');
ok_mailadmin(qw(learn --apply));
is $pg->psql($grants), $before + @{ $learnt->{grants} }, '--apply';
is +(mailadmin(qw(check app1 x@once.example)))[0], 1,
    '... without what is suspicious';
my ($all) = json(qw(learn --apply --suspicious));
is_deeply [grep { !$_->{proposed} } @{ $all->{suspicious} }],
    [grep { $_->{why} eq 'ungrantable' } @{ $all->{suspicious} }],
    '--suspicious takes in all that can be granted';
is +(mailadmin('check', @$_))[0], 0, "... @$_" for [qw(app1 x@once.example)],
    [qw(app1 a%b@acme.com)], [qw(app2 boss@boss.example)];

# -- look-alikes ---------------------------------------------------------------------

# [what it looks like or nothing, candidate]; acme.com, mailer.org and others
# are granted.
ok_mailadmin('add', 'domain', $_), ok_mailadmin('grant', 'domain', $_, 'to',
    'app2') for qw(paypal.com mail1.host.net example.co.uk modern.net
                   longestname.example);
forget();
my @looks = (
    ['paypal.com', 'x@paypa1.com'], ['paypal.com', 'x@paypai.com'],
    ['paypal.com', 'x@payppal.com'], ['paypal.com', 'x@papyal.com'],
    ['paypal.com', 'x@news.paypa1.com'],
    ['paypal.com', "x\@xn--pypal-4ve.com"],   # a Cyrillic a
    ['modern.net', 'x@rnodern.net'], ['modern.net', 'x@modem.net'],
    ['example.co.uk', 'x@exarnple.co.uk'],
    ['longestname.example', 'x@longestnam.example'],
    ['longestname.example', 'x@longstnam.example'],
    ['', 'x@paypal.org.example'], ['', 'x@other.com'],
    ['', 'x@mail2.host.net'], ['', 'x@mail.host.net'],
    ['', 'x@news.paypal.com'], ['', 'x@bbc.co.uk'],
    ['', 'x@longername.net']);
seen('app1', $_->[1], 2) for @looks;
($learnt) = json('learn');
my %like = map { ($_->{address} => $_->{like} // 'nothing') }
    @{ $learnt->{suspicious} };
is $like{ $_->[1] } // '', $_->[0], "$_->[1] looks like "
    . ($_->[0] || 'none') for @looks;

# Of addresses of one domain: one that is granted or ten times as frequent.
ok_mailadmin(qw(add address jon.doe@firm.example));
ok_mailadmin(qw(grant address jon.doe@firm.example to app2));
forget();
seen('app2', 'reports@firm.example', 50);
seen('app1', $_, 5) for qw(j0n.doe@firm.example rep0rts@firm.example
    jon.does@firm.example);
seen('app1', 'invoice@firm.example', 6);
($learnt) = json('learn');
is_deeply proposals($learnt, 'suspicious'), [
    'app1 j0n.doe@firm.example look-alike jon.doe@firm.example',
    'app1 jon.does@firm.example look-alike jon.doe@firm.example',
    'app1 rep0rts@firm.example look-alike reports@firm.example'],
    'look-alikes within a domain';

# -- unused -----------------------------------------------------------------------

forget();
$pg->psql(q{DELETE FROM emailing_audit;
    DELETE FROM emailing_users_addresses; DELETE FROM emailing_users_domains;
    DELETE FROM emailing_audit});
ok_mailadmin(qw(grant address info@acme.com to app1));
ok_mailadmin(qw(grant domain acme.com to app1 with subdomains));
ok_mailadmin(qw(grant address boss@boss.example to app2));
ok_mailadmin(qw(grant domain mailer.org to app2 until 2020-01-01));
$pg->psql("UPDATE emailing_audit SET at = now() - interval '200 days'
    WHERE address = 'info\@acme.com' OR domain = 'acme.com'");
seen('app1', 'info@acme.com', 1, kind => 'a', grant => 'info@acme.com',
    ago => 100 * 86400);
$pg->psql("UPDATE emailing_usage SET since = now() - interval '1 year'");
($status, $out, $err) = mailadmin('unused');
my ($day) = $pg->psql("SELECT ((now() - interval '100 days') AT TIME ZONE
    'UTC')::date");
is $out =~ s/granted only \S+Z/granted only T/r, <<"END", 'unused';
--- unused grants ---
    - app1 address info\@acme.com (last used $day)
    - app1 domain acme.com (with subdomains) (never used)
    - app2 address boss\@boss.example (never used, granted only T)
END
is $err, '', '... with nothing to say';
($status, $out) = mailadmin(qw(unused --since 120d));
unlike $out, qr/info/, 'used within that time';
seen('app1', 'y@x.acme.com', 1, kind => 'd', grant => 'acme.com');
my ($unused) = json('unused');
is_deeply [map { $_->{address} // $_->{domain} } @{ $unused->{unused} }],
    ['info@acme.com', 'boss@boss.example'], 'as JSON';
is $unused->{unused}[0]{last_used}, $day, '... the day';
ok !defined $unused->{unused}[0]{granted}, '... granted long ago';
ok defined $unused->{unused}[1]{granted}, '... or not';
$pg->psql("UPDATE emailing_usage SET since = now() - interval '9 days'");
($status, $out, $err) = mailadmin('unused');
like $err, qr/^mailadmin: usage is recorded since \S+ only$/,
    'recorded for less than that';
$pg->psql('UPDATE emailing_usage SET since = NULL');
($status, $out, $err) = mailadmin('unused');
like $err, qr/^mailadmin: usage was never recorded \(see record_usage in /,
    'never recorded';
$pg->psql("UPDATE emailing_usage SET since = now() - interval '1 year'");

# -- impact -------------------------------------------------------------------------

forget();
seen('app1', 'info@acme.com', 7);
seen('app1', 'x@acme.com', 3);
seen('app1', 'x@y.acme.com', 2);
seen('app1', 'z@other.com', 9);        # not granted anyway
seen('app1', 'info+tag@acme.com', 1);
seen('app1', '', 1, form => 'null');
seen('app2', 'boss@boss.example', 4);
seen('app2', '*', 8, form => 'more');

sub impact {
    my (@words) = @_;
    my ($impact, $status) = json('impact', @words);
    my @list = map { "$_->{user} $_->{sender} $_->{messages}" }
        @{ $impact->{refused} };
    is $status, @list ? 1 : 0, '... and its status';
    is $impact->{change}, "$words[0] $words[1]", '... and the change';
    return \@list;
}

is_deeply impact(qw(revoke domain acme.com from app1)),
    ['app1 x@acme.com 3', 'app1 x@y.acme.com 2'],
    'a domain: what its address does not permit by itself';
is_deeply impact(qw(revoke address info@acme.com from app1)), [],
    'an address: the domain permits it';
is_deeply impact(qw(del address info@acme.com)), [], '... for everybody';
is_deeply impact(qw(del domain acme.com)),
    ['app1 x@acme.com 3', 'app1 x@y.acme.com 2'], 'del domain';
is_deeply impact(qw(revoke address boss@boss.example from app2)),
    ['app2 boss@boss.example 4'], 'an address that is used';
my $own = ['app1 info+tag@acme.com 1', 'app1 info@acme.com 7',
           'app1 x@acme.com 3', 'app1 x@y.acme.com 2'];
is_deeply impact(qw(disable user app1)), $own, 'disable user';
is_deeply impact(qw(del user app1)), $own, 'del user';
is_deeply impact(qw(revoke address boss@boss.example from app1)), [],
    'what is not granted';
ok_mailadmin(qw(revoke domain acme.com from app1));
is_deeply impact(qw(revoke address info@acme.com from app1)),
    ['app1 info+tag@acme.com 1', 'app1 info@acme.com 7'],
    'an address and its extensions';
($status, $out, $err) = mailadmin(qw(impact revoke address boss@boss.example
    from app2 --since 1h));
is $status, 1, 'as text';
like $out, qr/\A--- would be refused ---\n    - app2 boss\@boss\.example \(4 messages, last \S+Z\)\n\z/,
    '... what would be refused';
like $err, qr/8 messages had senders that were not recorded one by one/,
    '... and what is not known';
($status, $out, $err) = mailadmin(qw(impact revoke domain acme.com from app1));
like $err, qr/domain acme\.com is not granted to app1/, 'not granted: said';
for ([67, qw(revoke address info@acme.com from nobody)],
     [67, qw(revoke domain no.example from app1)], [67, qw(del user nobody)],
     [65, qw(del domain a..b)], [65, qw(revoke address x from app1)]) {
    my ($wanted, @words) = @$_;
    ($status, $out, $err) = mailadmin('impact', @words);
    is $status, $wanted, "status $wanted: @words";
}
like +(mailadmin(qw(impact disable user apq1)))[2], qr/closest: app1/,
    'the closest user is told';

done_testing;
