#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# Ten thousand users planned and applied: one transaction, and as many
# statements as for ten. Says how long it took.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";
use EmailingPg;
use File::Temp qw(tempdir);
use Test::More;
use Time::HiRes qw(time);

use constant {USERS => 10_000, EACH => 3};

my $pg = EmailingPg->new;
is $pg->mailadmin(qw(schema init))->{status}, 0, 'schema init';
# The server tells how many statements come.
$pg->psql('ALTER ROLE emailing_mailadmin SET log_statement = $$all$$');
my %as = (user => 'emailing_mailadmin');
my $dir = tempdir(CLEANUP => 1);
my $file = "$dir/grants";

sub rewrite {
    my ($text) = @_;
    open my $out, '>', $file or die $!;
    print {$out} $text;
    close $out or die $!;
    return;
}

sub counter { return $pg->psql('SELECT emailing_counter()') }

sub statements {
    open my $log, '<', "$pg->{dir}/log" or die $!;
    return scalar grep { /LOG:  (?:statement|execute)/ } <$log>;
}

# Plans and applies what is in the file: one transaction. Returns the counts
# that plan printed, and the number of statements.
sub make_so {
    my ($name) = @_;
    my $start = time;
    my $plan = $pg->mailadmin(\%as, 'plan', $file);
    my $planned = time;
    my ($id) = $plan->{out} =~ /^plan: (\S+)\n\z/m;
    my ($counter, $before) = (counter(), statements());
    my $apply = $pg->mailadmin(\%as, 'apply', $file, '--plan', $id // 'none');
    my $applied = time;
    is_deeply [$plan->{status}, $apply->{status}], [1, 0], $name
        or diag $plan->{err}, $apply->{err};
    diag sprintf '%s: plan %.1f s, apply %.1f s', $name, $planned - $start,
        $applied - $planned;
    is counter(), $counter + 1, '... in one transaction';
    return ([$plan->{out} =~ /^(\w+: \d+ to add.*)$/mg],
        statements() - $before);
}

my $text = "version 1\n" . join '', (map { "user u$_\n" } 1 .. USERS),
    (map { "address a$_\@example.com\n" } 1 .. USERS),
    (map { "domain d$_.com\n" } 1 .. USERS);
for my $user (1 .. USERS) {
    $text .= 'grant address a' . (($user * 7 + $_ * 131) % USERS + 1)
        . "\@example.com to u$user\n" for 1 .. EACH;
    $text .= "grant domain d$user.com to u$user with subdomains\n";
}
rewrite($text);
my ($counts, $statements) = make_so('10,000 users and 40,000 grants');
is_deeply $counts, ['users: 10000 to add, 0 to change, 0 to delete',
    'addresses: 10000 to add, 0 to change, 0 to delete',
    'domains: 10000 to add, 0 to change, 0 to delete',
    'grants: 40000 to add, 0 to change, 0 to delete'], 'that many';
cmp_ok $statements, '<', 30, "$statements statements";
is $pg->psql('SELECT (SELECT count(*) FROM emailing_users),
    (SELECT count(*) FROM emailing_addresses),
    (SELECT count(*) FROM emailing_users_addresses),
    (SELECT count(*) FROM emailing_users_domains WHERE subdomains)'),
    join('|', USERS, USERS, USERS * EACH, USERS), 'is there';
is $pg->psql("SELECT object, count(*), count(DISTINCT xact)
    FROM emailing_audit WHERE operation = 'insert' GROUP BY 1 ORDER BY 1"),
    "address|10000|1\ndomain|10000|1\nuser|10000|1\n"
    . "user_address|30000|1\nuser_domain|10000|1", 'each is in the audit';

my $start = time;
my $r = $pg->mailadmin(\%as, 'plan', $file);
note sprintf 'nothing to do: plan %.1f s', time - $start;
is $r->{status}, 0, 'nothing is left to do';

# Half of the users disabled, a tenth deleted with all that is theirs, every
# grant of a domain another.
$text =~ s/^(user u\d*[02468])$/$1 disabled/mg;
$text =~ s/^user u\d*9( disabled)?\n//mg;
$text =~ s/^grant .* to u\d*9(?: with subdomains)?\n//mg;
$text =~ s/^(grant domain \S+ to \S+) with subdomains$/$1 until 2040-01-01/mg;
rewrite($text);
($counts, $statements) = make_so('5,000 disabled, 1,000 deleted, 9,000 grants '
    . 'changed');
is_deeply $counts, ['users: 0 to add, 5000 to change, 1000 of 10000 to delete',
    'grants: 0 to add, 9000 to change, 4000 of 40000 to delete'], 'that many';
cmp_ok $statements, '<', 30, "$statements statements";
is $pg->psql("SELECT object, operation, count(*) FROM emailing_audit
    WHERE operation <> 'insert' AND coalesce(name, address, domain) IS NOT NULL
    GROUP BY 1, 2 ORDER BY 1, 2"),
    "user|delete|1000\nuser|update|5000\nuser_address|delete|3000\n"
    . "user_domain|delete|1000\nuser_domain|update|9000",
    'each is in the audit, with its name';

done_testing;
