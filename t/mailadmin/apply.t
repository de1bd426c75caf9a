#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# Permissions as a text: export, plan and apply. What is written is read, what
# was planned is done in one transaction, and what has changed in between is
# refused.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";
use EmailingPg;
use JSON::PP;
use Test::More;

use Emailing::Daemon::Database ();

my $db = Emailing::Daemon::Database->new;
my $pg = $db->pg;
my %as = (user => 'emailing_mailadmin');

# Of mailadmin with a text for standard input.
sub run {
    my ($text, @words) = @_;
    my $options = ref $words[0] ? shift @words : {};
    return $pg->mailadmin({%as, %$options, stdin => $text}, @words);
}

sub ok_run {
    my $r = run(@_);
    is_deeply [@$r{qw(status err)}], [0, ''], "@_[grep { !ref $_[$_] } 1 .. $#_]";
    return $r->{out};
}

sub plan_id {
    my ($r) = @_;
    my ($id) = $r->{out} =~ /^plan: ([0-9a-f]{32}-[0-9a-f]{32})\n\z/m;
    ok $id, 'the last line is the ID of the plan';
    return $id // 'none';
}

sub checksum {
    my (%options) = @_;
    return join "\n", map { $pg->psql("SELECT * FROM emailing_$_ ORDER BY 1, 2",
        %options) } qw(users addresses domains users_addresses users_domains);
}

sub counter { return $pg->psql('SELECT emailing_counter()') }

# -- what export writes ---------------------------------------------------------

is run('', 'export')->{out}, <<'END', 'of an empty database';
# Who may send mail as whom. mailadmin(1) says how to change and apply this.
version 1
END

ok_run("first\n", qw(add user test1));
ok_run("second\n", qw(passwd test1 --overlap 24h));
ok_run(<<'END');
add user test2 demo --no-password
disable user demo
add address user@test1.com ceo@x.com jürgen@x.com
add domain test1.com x.com
grant address user@test1.com to test1
grant address user@test1.com to test2 until 2027-01-01
grant domain test1.com to test1 with subdomains until 2027-01-01T12:30
grant domain x.com to test2
END
# By hand: what a shell could not type, what a DATE cannot say.
$pg->psql(<<'END');
INSERT INTO emailing_addresses (address) VALUES ('"a b\c"@x.com'), ('#@x.com'),
    (U&'x\202Ey@x.com');
INSERT INTO emailing_users_addresses (id_user, id_address, expires)
    SELECT u.id, a.id, e FROM emailing_users u, emailing_addresses a,
        (VALUES ('#@x.com', '1969-12-31 23:59:59+00'::timestamptz),
            ('"a b\c"@x.com', '20000-01-01 00:00:00+00'),
            ('ceo@x.com', '2030-06-01 12:00:00.75+00')) w (t, e)
    WHERE u.name = 'test1' AND a.address = w.t;
INSERT INTO emailing_users (name, passwd) VALUES ('locked', ''), ('md5',
    '5f4dcc3b5aa765d61d8327deb882cf99'), ('odd', 'a b \ #c');
END
my $plain = ok_run('', 'export');
is $plain, <<'END', 'one thing a line, in order, as the commands have it';
# Who may send mail as whom. mailadmin(1) says how to change and apply this.
version 1

user demo disabled
user locked
user md5
user odd
user test1
user test2

address "a\x20b\x5cc"@x.com
address \x23@x.com
address ceo@x.com
address jürgen@x.com
address user@test1.com
address x\xe2\x80\xaey@x.com

domain test1.com
domain x.com

grant address "a\x20b\x5cc"@x.com to test1 until @568971820800
grant address \x23@x.com to test1 until @-1
grant address ceo@x.com to test1 until 2030-06-01T12:00:00Z
grant address user@test1.com to test1
grant domain test1.com to test1 with subdomains until 2027-01-01T12:30:00Z
grant address user@test1.com to test2 until 2027-01-01
grant domain x.com to test2
END
is run('', 'export')->{out}, $plain, 'the same again';
my $secret = run('', qw(export --with-secrets));
is_deeply [@$secret{qw(status err)}],
    [0, "mailadmin: this holds stored passwords: keep it secret\n"],
    'with secrets, and a warning';
$secret = $secret->{out};
like $secret, qr/^version 1 with secrets$/m, 'which its version says';
like $secret, qr/^user test1 secret \$y\$\S+ old \$y\$\S+ until 20\S+Z$/m,
    'both of an overlap';
like $secret, qr/^user odd secret a\\x20b\\x20\\x5c\\x20#c$/m, 'escaped';
like $secret, qr/^user locked$/m, 'an empty one is none';
is run('', qw(export --with-secrets))->{out}, $secret, 'the same again';
my $object = decode_json(ok_run('', qw(-f json export)));
is_deeply [map { $_->{user} } @{$object->{users}}],
    [qw(demo locked md5 odd test1 test2)], 'JSON: users';
is_deeply $object->{grants}[4], {user => 'test1', domain => 'test1.com',
    subdomains => JSON::PP::true, expires => '2027-01-01T12:30:00Z'},
    'JSON: a grant';
ok !grep({ exists $_->{secret} } @{$object->{users}}), 'JSON: no secret';
like run('', qw(-f json export --with-secrets))->{out},
    qr/"old_secret": "\$y\$/, 'JSON: secrets when asked for';
is run('', {user => 'emailing_policyd'}, 'export')->{status}, 77,
    'not for everybody';

# -- back into an empty database --------------------------------------------------

for my $name (qw(plain secret)) {
    $pg->database($name);
    is $pg->mailadmin({db => $name}, qw(schema init))->{status}, 0, $name;
}
my %plain = (db => 'plain');
my $r = run($plain, \%plain, qw(plan -));
is $r->{status}, 1, 'all of it is to be done';
is scalar(() = $r->{out} =~ /^\+ /mg), 21, '... line by line';
like $r->{out}, qr/^users: 6 to add, 0 to change, 0 to delete
addresses: 6 to add, 0 to change, 0 to delete
domains: 2 to add, 0 to change, 0 to delete
grants: 7 to add, 0 to change, 0 to delete
plan: /m, 'in sum';
my $last = $pg->psql('SELECT coalesce(max(id), 0) FROM emailing_audit',
    %plain);
$r = run($plain, \%plain, qw(apply -));
is_deeply [@$r{qw(status out err)}], [0, '', 'mailadmin: no password was set '
    . "for demo, locked, md5, odd, test1, test2: no login until passwd does\n"],
    'applied, and what is left to do is said';
is run('', \%plain, 'export')->{out}, $plain, 'the same bytes';
is $pg->psql('SELECT count(*) FROM emailing_users WHERE passwd IS NOT NULL',
    %plain), 0, 'nobody can log in';
is $pg->psql('SELECT emailing_counter()', %plain), 2, 'one transaction';
is $pg->psql("SELECT count(DISTINCT xact), count(*),
        string_agg(DISTINCT db_user, ' ') FROM emailing_audit
        WHERE id > $last", %plain), '1|21|emailing_mailadmin',
    'as the audit says';
is_deeply [@{run($plain, \%plain, qw(plan -))}{qw(status out)}],
    [0, run($plain, \%plain, qw(plan -))->{out}], 'nothing is left to do';

my %secret = (db => 'secret');
$r = run($secret, \%secret, qw(apply -));
is $r->{status}, 0, 'with secrets' or diag $r->{err};
is run('', \%secret, qw(export --with-secrets))->{out}, $secret,
    'the same bytes';
is run('', \%secret, 'export')->{out}, $plain, 'and without them';
my $policyd = Emailing::Daemon->new(conninfo => $db->conninfo(
    dbname => 'secret'), conf => {legacy_md5 => 'verify'});
ok $policyd->ready, 'policyd on the copy';
is $policyd->auth('test1', $_), 'ok', "login with $_" for qw(second first);
is $policyd->auth('test1', 'third'), 'denied', 'but no other';
is $policyd->auth('md5', 'password'), 'ok', 'an MD5 is as good as it was';
is $policyd->auth('test2', ''), 'denied', 'no password, no login';
is $policyd->decide('test1', 'user@test1.com'), 'DUNNO', 'grants, too';
like $policyd->decide('test2', 'a@test1.com'), qr/^553 /, 'and no more';
undef $policyd;

# -- plan ---------------------------------------------------------------------

my $wanted = $plain;
$wanted =~ s/^user (?:demo|locked|md5|odd).*\n//mg;
$wanted =~ s/^(user test2)$/$1 disabled # since today/m;
$wanted =~ s/^address jürgen.*\n//m;
$wanted =~ s/^(grant domain test1.com to test1) .*$/$1/m;
$wanted =~ s/^(grant .* to test2 until) .*$/$1 2028-01-01T00:01/m;
$wanted =~ s/^grant domain x.com to test2$/GRANT Domain X.COM. To New/m;
$wanted .= "domain Bücher.example\r\n\tuser  New\n";
my ($before, $count) = (checksum(), counter());
$r = run($wanted, qw(plan -));
is $r->{status}, 1, 'something to do';
my $id = plan_id($r);
is $r->{out}, <<"END", 'in words';
- user demo disabled
- user locked
- user md5
+ user new (without a password: no login)
- user odd
~ user test2 disabled (before: enabled)
- address jürgen\@x.com
+ domain xn--bcher-kva.example
+ grant domain x.com to new
~ grant domain test1.com to test1 (before: with subdomains, until 2027-01-01T12:30:00Z)
~ grant address user\@test1.com to test2 until 2028-01-01T00:01:00Z (before: until 2027-01-01)
- grant domain x.com to test2
users: 1 to add, 1 to change, 4 of 6 to delete
addresses: 0 to add, 0 to change, 1 of 6 to delete
domains: 1 to add, 0 to change, 0 to delete
grants: 1 to add, 2 to change, 1 of 7 to delete
plan: $id
END
is plan_id(run($wanted =~ s/#.*//gr, qw(plan -))), $id,
    'comments are not part of it';
$object = decode_json(run($wanted, qw(-f json plan -))->{out});
is $object->{plan}, $id, 'JSON: the same plan';
is_deeply $object->{changes}[5], {change => 'change', object => 'user',
    before => {user => 'test2', enabled => JSON::PP::true},
    after => {user => 'test2', enabled => JSON::PP::false},
    secret_changed => JSON::PP::false}, 'JSON: a change';
is_deeply [checksum(), counter()], [$before, $count], 'nothing was changed';

# -- apply ----------------------------------------------------------------------

$last = $pg->psql('SELECT max(id) FROM emailing_audit');
my $passwords = $pg->psql("SELECT passwd, old_passwd, old_until
    FROM emailing_users WHERE name = 'test1'");
$r = run($wanted, 'apply', '-', '--plan', $id);
is_deeply [@$r{qw(status out err)}], [0, '', 'mailadmin: no password was set '
    . "for new: no login until passwd does\n"], 'applied';
is counter(), $count + 1, 'in one transaction';
is $pg->psql("SELECT passwd, old_passwd, old_until
    FROM emailing_users WHERE name = 'test1'"), $passwords,
    'who is there keeps the passwords';
is $pg->psql("SELECT object, operation, name, address, domain, enabled,
    was_enabled, subdomains, was_subdomains, expires, was_expires
    FROM emailing_audit WHERE id > $last ORDER BY 1, 2, 3, 4, 5"), <<'END'
address|delete||jürgen@x.com|||||||
domain|insert|||xn--bcher-kva.example||||||
user|delete|demo|||f|||||
user|delete|locked|||t|||||
user|delete|md5|||t|||||
user|delete|odd|||t|||||
user|insert|new|||t|||||
user|update|test2|||f|t||||
user_address|update|test2|user@test1.com|||||||
user_domain|delete|test2||x.com|||f|||
user_domain|insert|new||x.com|||f|||
user_domain|update|test1||test1.com|||f|t||2027-01-01 12:30:00+00
END
    =~ s/\n\z//r =~ s/^(user_address.*)\|\|$/$1|2028-01-01 00:01:00+00|2027-01-01 00:00:00+00/mr,
    'each change is in the audit, once and with its names';
is $pg->psql("SELECT count(DISTINCT xact) FROM emailing_audit
    WHERE id > $last"), 1, 'all of one transaction';
$r = run($wanted, qw(apply -));
is_deeply [@$r{qw(status err)}], [0, "mailadmin: nothing to do\n"], 'again';
is counter(), $count + 1, 'which changed nothing';
is_deeply decode_json(run($wanted, qw(-f json apply -))->{out}),
    {command => 'apply', changed => JSON::PP::false}, 'JSON: the same';

# -- what came in between ---------------------------------------------------------

my $more = "$wanted\naddress sale\@x.com\ngrant address sale\@x.com to test1\n";
$id = plan_id(run($more, qw(plan -)));
my $grant = "INSERT INTO emailing_users_domains (id_user, id_domain)
    SELECT u.id, d.id FROM emailing_users u, emailing_domains d
    WHERE u.name = 'new' AND d.domain = 'test1.com'";
$pg->psql($grant);
$before = checksum();
$r = run($more, 'apply', '-', '--plan', $id);
is $r->{status}, 75, 'a grant in between: refused';
like $r->{err}, qr/^mailadmin: the database was changed since this plan was made: look at mailadmin plan - again; nothing done$/,
    'and what to do is said';
is checksum(), $before, 'nothing was changed';
$r = run("$more\nuser third", 'apply', '-', '--plan',
    plan_id(run($more, qw(plan -))));
is $r->{status}, 65, 'another file: refused';
like $r->{err}, qr/- is not what this plan was made of: .*nothing done$/,
    'with what is the matter';
is run($more, 'apply', '-', '--plan', $_)->{status}, 65, "no ID: $_"
    for '1234', $id . '0', uc $id, $id =~ tr/-/0/r, '';
is checksum(), $before, 'nothing was changed';

# A password is part of a plan only where passwords are.
$id = plan_id(run($more, qw(plan -)));
ok_run("third\n", qw(passwd test1));
is run($more, 'apply', '-', '--plan', $id)->{status}, 0,
    'a password in between is no conflict';
my $all = run('', qw(export --with-secrets))->{out};
$all =~ s/^(user test2) disabled$/$1 secret x/m;
$all =~ s/^(user test1) secret \S+$/$1/m;
$r = run($all, qw(plan -));
is $r->{status}, 1, 'a change of passwords';
like $r->{out}, qr/^~ user test1 \(before: with a password\)
~ user test2 \(before: disabled, without a password\)\n/, 'says so';
unlike $r->{out}, qr/\$y\$/, 'but not which';
ok_run("fourth\n", qw(passwd test1));
is run($all, 'apply', '-', '--plan', plan_id($r))->{status}, 75,
    '... and another one in between is a conflict';
is run($all, qw(apply -))->{status}, 0, 'without a plan';
is $pg->psql("SELECT name, enabled, passwd FROM emailing_users
    WHERE name ~ '^test' ORDER BY 1"), "test1|t|\ntest2|t|x",
    'the file has its way';

# Somebody in the middle of a change is waited for, and then it is no longer
# what was planned.
sub in_background {
    my ($sql) = @_;
    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        $pg->psql($sql, may_fail => 1);
        exit 0;
    }
    return $pid;
}

sub waits {
    my ($sql) = @_;
    for (1 .. 200) {
        return 1 if $pg->psql($sql);
        select undef, undef, undef, 0.05;
    }
    return 0;
}

$wanted = run('', 'export')->{out} . "user late\n";
$id = plan_id(run($wanted, qw(plan -)));
my $pid = in_background("BEGIN; DELETE FROM emailing_users_domains
    WHERE id_domain IN (SELECT id FROM emailing_domains
    WHERE domain = 'test1.com'); SELECT pg_sleep(600) /* until told */;
    COMMIT");
ok waits("SELECT count(*) FROM pg_stat_activity
    WHERE wait_event = 'PgSleep'"), 'a change that is not committed';
pipe my $reader, my $writer or die $!;
my $applying = fork // die "fork: $!";
if ($applying == 0) {
    my $r = run($wanted, 'apply', '-', '--plan', $id);
    print {$writer} "$r->{status} $r->{err}";
    close $writer;
    exit 0;
}
close $writer;
ok waits("SELECT count(*) FROM pg_locks WHERE NOT granted
    AND mode = 'ShareRowExclusiveLock'"), 'apply waits for it';
like $db->sql("SELECT count(*) FROM emailing_lookup('test1')"), qr/^1$/,
    'while policyd need not';
my $slow = $pg->psql("SELECT pid FROM pg_stat_activity
    WHERE wait_event = 'PgSleep'");
$pg->psql("SELECT pg_cancel_backend($slow)"); # rolls back
waitpid $pid, 0;
like join('', <$reader>), qr/^0 mailadmin: no password was set for late:/,
    'what was rolled back is no change';
waitpid $applying, 0;

$wanted = run('', 'export')->{out} . "user later\n";
$id = plan_id(run($wanted, qw(plan -)));
$pid = in_background("BEGIN; $grant ON CONFLICT DO NOTHING;
    UPDATE emailing_users SET enabled = false WHERE name = 'late';
    SELECT pg_sleep(2); COMMIT");
ok waits("SELECT count(*) FROM pg_stat_activity
    WHERE wait_event = 'PgSleep'"), 'one that will be';
$r = run($wanted, 'apply', '-', '--plan', $id);
waitpid $pid, 0;
is $r->{status}, 75, 'is seen once it is';
like $r->{err}, qr/changed since this plan/, 'and refused';
is $pg->psql("SELECT count(*) FROM emailing_users WHERE name = 'later'"), 0,
    'nothing was done';

$pid = in_background("BEGIN; UPDATE emailing_users SET enabled = true;
    SELECT pg_sleep(600); COMMIT");
ok waits("SELECT count(*) FROM pg_stat_activity
    WHERE wait_event = 'PgSleep'"), 'one that hangs';
$r = run($wanted, qw(apply -));
is $r->{status}, 75, 'is not waited for for ever';
like $r->{err}, qr/someone else has changed permissions and not committed/,
    'who it is';
$pg->psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE wait_event = 'PgSleep'");
waitpid $pid, 0;

# -- a file that is the wrong one -------------------------------------------------

$before = checksum();
$r = run("version 1\n", qw(apply -));
is $r->{status}, 77, 'no users: refused';
like $r->{err}, qr/^mailadmin: this would delete 4 of 4 users: look at mailadmin plan -, and name that plan by --plan; nothing done$/,
    'and why';
ok_run(join '', map { "add user many$_ --no-password\n" } 1 .. 20);
$more = run('', 'export')->{out};
is run($more =~ s/^user many\d\d\n//mgr, qw(apply -))->{status}, 0,
    'less than half of many are deleted';
is run($more =~ s/^user (?:many|late).*\n//mgr, qw(apply -))->{status}, 77,
    'not more';
$more =~ s/^user many.*\n//mg;
is run($more, 'apply', '-', '--plan', plan_id(run($more, qw(plan -))))
    ->{status}, 0, 'unless the plan was looked at';
is checksum(), $before, 'as before';

is $pg->mailadmin({%as, stdin => "plan -\n"}, '--strict')->{status}, 64,
    'in a script standard input is taken';

done_testing;
