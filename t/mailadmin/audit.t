#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# What mailadmin tells from the audit: who changed what and when, what was at
# a moment, and what is kept.
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
my $me = getpwuid($>);

sub admin {
    my (@words) = @_;
    my $options = ref $words[0] ? shift @words : {};
    @words = split / /, $words[0] if @words == 1;
    return $pg->mailadmin({%as, %$options}, @words);
}

sub done {
    my (@words) = @_;
    my $r = admin(@words);
    is $r->{status}, 0, ref $words[0] ? "@words[1 .. $#words]" : "@words"
        or diag $r->{err};
    return $r;
}

sub json { return decode_json(admin('-f', 'json', @_)->{out}) }

# A moment between the transaction before and the next one.
sub moment {
    return $pg->psql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC',
        'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')");
}

# The lines that are new since the last call, without times.
my $seen = 0;
sub lines {
    my @lines = split /\n/, admin('audit')->{out};
    my @new = @lines[$seen .. $#lines];
    $seen = @lines;
    like $_, qr/\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z /, 'a time' for @new;
    return join "\n", map { s/\A\S+ //r } @new;
}

sub said {
    my ($name, @expected) = @_;
    is lines(), join("\n", map { "db_user=emailing_mailadmin os_user=$me "
        . "client=-: $_" } @expected), $name;
}

is lines(), 'db_user=owner os_user=- client=-: audit begin', 'the beginning';
my $start = moment();

# Each change in the words of the command that makes it.
done({stdin => "secret\n"}, qw(add user test1));
done('add user test2 --no-password');
done('add address user@test1.com');
done('add domain test1.com');
said('added', 'add user test1', 'add user test2',
    'add address user@test1.com', 'add domain test1.com');
done('grant address user@test1.com to test1 until 2199-01-01');
done('grant domain test1.com to test1 with subdomains');
done('grant domain test1.com to test1');
done('grant address user@test1.com to test1');
said('granted',
    'grant address user@test1.com to test1 until 2199-01-01T00:00:00Z',
    'grant domain test1.com to test1 with subdomains',
    'grant domain test1.com to test1 (before: with subdomains)',
    'grant address user@test1.com to test1 '
    . '(before: until 2199-01-01T00:00:00Z)');
my $granted = moment();
done('rename user test1 to renamed');
done({stdin => "next\n"}, qw(passwd renamed));
done('disable user renamed');
said('a user changed', 'rename user test1 to renamed', 'passwd renamed',
    'disable user renamed');
my $renamed = moment();
done('enable user renamed');
done('revoke domain test1.com from renamed');
done('del address user@test1.com');
said('taken away', 'enable user renamed',
    'revoke domain test1.com from renamed',
    'revoke address user@test1.com from renamed',
    'del address user@test1.com');
my $revoked = moment();
done('del user renamed');
done({stdin => "secret\n"}, qw(add user test1));
said('and added again', 'del user renamed', 'add user test1');

# Raw SQL, by somebody else, who claims to be another.
$pg->psql("SET emailing.os_user = E'eve os_user=root\\n';
    BEGIN; UPDATE emailing_users SET name = 'x', enabled = false,
        passwd = 'y' WHERE name = 'test2';
    UPDATE emailing_domains SET domain = 'test2.com'; COMMIT;
    DELETE FROM emailing_users WHERE name = 'x';
    TRUNCATE emailing_users_domains");
is lines(), join("\n", map { "db_user=postgres "
    . "os_user=eve?os_user=root? client=-: $_" }
    'rename user test2 to x, disable user x, passwd x',
    'rename domain test1.com to test2.com', 'del user x (disabled)',
    'truncate emailing_users_domains'), 'raw SQL';
my $hostile = "a b' to root\@evil.com";
is admin('add', 'address', $hostile)->{status}, 0, 'a hostile address';
said('in one word', "add address a\\x20b'\\x20to\\x20root\@evil.com");
done('audit', '--until', $start);
done('audit', '--since', '1h');

# By object, under any name it had.
my @history = ('add user test1',
    'grant address user@test1.com to test1 until 2199-01-01T00:00:00Z',
    'grant domain test1.com to test1 with subdomains',
    'grant domain test1.com to test1 (before: with subdomains)',
    'grant address user@test1.com to test1 '
    . '(before: until 2199-01-01T00:00:00Z)',
    'rename user test1 to renamed', 'passwd renamed',
    'disable user renamed', 'enable user renamed',
    'revoke domain test1.com from renamed',
    'revoke address user@test1.com from renamed', 'del user renamed');
sub texts { return [map { $_->{text} } @{ json('audit', @_)->{audit} }] }
is_deeply texts(qw(user renamed)), \@history, 'a user under his last name';
is_deeply texts(qw(user test1)), [@history, 'add user test1'],
    'under the first one, and who has it now';
is_deeply texts('user', 'TEST1', '--since', $granted, '--until', $renamed),
    [@history[5 .. 7]], 'a part of it';
is_deeply texts(qw(domain test1.com)), texts(qw(domain test2.com)),
    'a domain that was renamed';
is_deeply texts('address', 'user@test1.com', '--since', $revoked), [],
    'nothing more of an address';
my ($rename) = grep { $_->{text} =~ /^rename user test2/ }
    @{ json('audit')->{audit} };
is_deeply {map { $_ => $rename->{$_} } qw(db_user os_user client object
        operation user enabled password_changed)},
    {db_user => 'postgres', os_user => 'eve?os_user=root?', client => undef,
        object => 'user', operation => 'update', user => 'x',
        enabled => JSON::PP::false, password_changed => JSON::PP::true},
    'JSON: who and what';
is $rename->{was}{user}, 'test2', 'and what was before';
for (['audit user nobody', 67], ['audit user a,b', 65], ['audit nonsense', 64],
    ['audit --since yesterday', 65], ['audit domain x.y', 67],
    ['audit verify --head 1', 65], ['audit prune', 64],
    ['audit prune --before yesterday', 65]) {
    my ($words, $status) = @$_;
    is admin($words)->{status}, $status, "$status: $words";
}

# What was at a moment.
sub gives {
    my ($status, $out, $err, @words) = @_;
    my $r = admin(@words);
    is_deeply [@$r{qw(status out err)}],
        [$status, $out, $err && "mailadmin: $err\n"], "@words";
}
gives(0, "--- Show test1 at $granted ---\n  Domains:\n    * test1.com\n"
    . "  Adress:\n    * user\@test1.com\n", '',
    qw(show user test1 --at), $granted);
gives(0, "--- Show renamed at $renamed ---\n  Disabled\n  Domains:\n"
    . "    * test1.com\n  Adress:\n    * user\@test1.com\n", '',
    qw(show user renamed --at), $renamed);
gives(67, '', "no such user at $renamed: test1",
    qw(show user test1 --at), $renamed);
gives(0, "--- Show user\@test1.com at $renamed ---\n  Users:\n"
    . "    * renamed (disabled)\n  By domain:\n"
    . "    * renamed (domain test1.com) (disabled)\n", '',
    qw(show address user@test1.com --at), $renamed);
gives(0, "--- Show never\@test1.com at $granted ---\n  Users:\n"
    . "  By domain:\n    * test1 (domain test1.com)\n", '',
    qw(show address never@test1.com --at), $granted);
gives(67, '', "no such address at $granted: a%b\@test1.com",
    qw(show address a%b@test1.com --at), $granted);
gives(67, '', "no such address at $granted: a\@sub.test1.com",
    qw(show address a@sub.test1.com --at), $granted);
gives(67, '', "no such address at $revoked: user\@test1.com",
    qw(show address user@test1.com --at), $revoked);
gives(0, "--- Show test1.com at $renamed ---\n  Users:\n"
    . "    * renamed (disabled)\n", '',
    qw(show domain test1.com --at), $renamed);
gives(0, "permitted: domain test1.com\n  at: $granted\n", '',
    qw(check test1 any@test1.com --at), $granted);
gives(1, "refused: user renamed may not send\n  at: $renamed\n"
    . "  sender: any\@test1.com\n  nearest: user renamed is disabled\n", '',
    qw(check renamed any@test1.com --at), $renamed);
gives(67, '', "no such user at $start: test1",
    qw(check test1 any@test1.com --at), $start);
my $then = json(qw(show user test1 --at), $granted);
like delete $then->{$_}, qr/^\d{4}-.*Z$/, "JSON: $_" for qw(created changed);
is_deeply $then, {user => 'test1', at => $granted, enabled => JSON::PP::true,
    old_password_until => undef,
    addresses => [{address => 'user@test1.com', expires => undef}],
    domains => [{domain => 'test1.com', subdomains => JSON::PP::false,
        expires => undef}]}, 'JSON: the same, and the moment';
is json(qw(check test1 any@test1.com --at), $granted)->{at}, $granted,
    'JSON: check';
(my $blank = $granted) =~ tr/T/ /;
is admin(qw(show user test1 --at), $blank)->{status}, 0, 'a blank for the T';
like admin(qw(show user test1 --at 2020-01-01))->{err},
    qr/^mailadmin: the audit does not reach back to 2020-01-01T00:00:00Z: it begins at /,
    'before the beginning';
is admin(qw(show user test1 --at 2020-01-01))->{status}, 66, 'has its status';
gives(65, '', '2199-01-01T00:00:00Z has not come yet',
    qw(show domain test1.com --at 2199-01-01));

# A grant that ends is shown as it was: not ended yet, then ended.
$pg->psql("INSERT INTO emailing_users_domains (id_user, id_domain, expires)
    SELECT u.id, d.id, clock_timestamp() + '1.2 s'
      FROM emailing_users u, emailing_domains d WHERE u.name = 'test1'");
my $before_end = moment();
is admin(qw(check test1 a@test2.com --at), $before_end)->{status}, 0,
    'permitted before its end';
select undef, undef, undef, 2.2;
my $after_end = moment();
like admin(qw(show domain test2.com --at), $after_end)->{out},
    qr/\* test1 \(ended /, 'ended after it';
like admin(qw(show domain test2.com --at), $before_end)->{out},
    qr/\* test1 \(until /, 'and not before';
is admin(qw(check test1 a@test2.com --at), $after_end)->{status}, 1,
    'and no longer permitted';

# A change counts from the end of its transaction on.
$pg->psql("INSERT INTO emailing_users (name) VALUES ('slow'), ('quick')");
my $pid = fork // die $!;
if ($pid == 0) {
    $pg->psql("BEGIN; UPDATE emailing_users SET enabled = false
        WHERE name = 'slow'; SELECT pg_sleep(3); COMMIT");
    exit 0;
}
select undef, undef, undef, 0.05 until $pg->psql("SELECT count(*)
    FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
$pg->psql("UPDATE emailing_users SET enabled = false WHERE name = 'quick'");
my $between = moment();
waitpid $pid, 0;
my $after = moment();
is_deeply [map { my $at = $_; map { json('show', 'user', $_, '--at', $at)
        ->{enabled} ? 1 : 0 } qw(slow quick) } $between, $after],
    [1, 0, 0, 0], 'in the order of commits';

# What is forgotten, and by whom.
my $head = json(qw(audit verify))->{head};
gives(77, '', 'database: permission denied for function '
    . 'emailing_audit_prune', qw(audit prune --before), $renamed);
%as = ();
my @whole = map { json(qw(show user), $_->[0], '--at', $_->[1]) }
    ['renamed', $renamed], ['slow', $between];
my $r = admin('-f', 'json', qw(audit prune --before), $renamed);
cmp_ok decode_json($r->{out})->{rows}, '>', 10, 'rows are forgotten';
gives(0, '', "nothing is older than $renamed",
    qw(audit prune --before), $renamed);
is_deeply [map { my $user = json(qw(show user), $_->[0], '--at', $_->[1]);
        $user->{created} //= $whole[0]{created} if $_->[0] eq 'renamed';
        $user->{changed} //= $whole[0]{changed}; $user }
    ['renamed', $renamed], ['slow', $between]], \@whole, 'the rest is kept';
gives(66, '', "the audit does not reach back to $granted: it begins at "
    . $renamed, qw(show user test1 --at), $granted);
is_deeply [@{ texts(qw(user renamed)) }[0 .. 2]], ['baseline user renamed '
    . '(disabled)', 'baseline grant address user@test1.com to renamed',
    'baseline grant domain test1.com to renamed'], 'its baseline';
like admin('audit')->{out},
    qr/ db_user=owner os_user=\Q$me\E client=-: audit prune --before \Q$renamed\E$/m,
    'that it was is in the audit';
gives(65, '', 'database: the moment has not come yet',
    qw(audit prune --before 2199-01-01));
$r = admin(qw(audit verify --head), $head);
is $r->{status}, 0, 'a head that was noted before is still in it';
is_deeply [map { $pg->psql("SELECT emailing_audit_prune($_)", may_fail => 1)
    ->{err} =~ /has not come yet/ ? 1 : 0 } "'infinity'", 'NULL',
    "now() + '1 s'"], [1, 1, 1], 'what is to come is not forgotten';

# A function that the owner lets an auditor call is enough to prune.
$pg->psql('GRANT EXECUTE ON FUNCTION emailing_audit_prune(timestamptz)
    TO stranger');
is $pg->psql("SELECT emailing_audit_prune('$revoked') > 0",
    user => 'stranger'), 't', 'a role that may';
is $pg->psql("SELECT db_user FROM emailing_audit WHERE operation = 'prune'
    ORDER BY id DESC LIMIT 1"), 'stranger', 'is named';
$r = admin(qw(audit verify --head), $head);
is $r->{status}, 0, 'intact';
$r = admin(qw(audit verify --head), '1:' . '0' x 64);
is $r->{status}, 66, 'a head from before the beginning';
like $r->{err}, qr/link 1 was pruned: the audit begins after link \d+/,
    'cannot be told';

# The role of an auditor, as emailing(7) has it.
open my $file, '<', EmailingPg::source() . '/conf/man/emailing.7' or die $!;
my ($sql) = do { local $/; <$file> }
    =~ /^(CREATE ROLE auditor.*?)^\.Ed$/ms;
$pg->psql($sql);
%as = (user => 'auditor');
is admin(qw(audit verify))->{status}, 0, 'an auditor: verify';
is admin(qw(audit))->{status}, 0, 'audit';
is admin(qw(show user slow --at), $between)->{status}, 0, 'show --at';
is admin(qw(check slow a@x.com --at), $between)->{status}, 1, 'check --at';
is admin(qw(disable user slow))->{status}, 77, 'and no change';
is admin(qw(passwd slow --generate))->{status}, 77, 'nor a password';
isnt $pg->psql('SELECT passwd FROM emailing_users', user => 'auditor',
    may_fail => 1)->{status}, 0, 'nor any look at one';
%as = ();

# More than a page, in text and JSON.
$pg->psql("INSERT INTO emailing_domains (domain)
    SELECT 'd' || i || '.com' FROM generate_series(1, 2500) i");
is scalar(() = admin('audit', '--since', $after)->{out} =~ /add domain/g),
    2500, 'pages of text';
is scalar(@{ json('audit', '--since', $after)->{audit} }), 2502,
    'pages of JSON';

done_testing;
