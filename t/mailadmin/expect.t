#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# Tests of permissions: against the database, against an export without any,
# and with the answer that policyd would give in each case.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";
use EmailingPg;
use File::Temp qw(tempdir);
use JSON::PP;
use Test::More;

my $pg = EmailingPg->new;
my %as = (user => 'emailing_mailadmin');
my $dir = tempdir(CLEANUP => 1);
is $pg->mailadmin(qw(schema init))->{status}, 0, 'schema init';
my $r = $pg->mailadmin({%as, stdin => <<'END'}, '--strict');
add user test1 test2 off --no-password
add address user@test1.com ceo@x.com "a\b"@x.com
add domain test1.com x.com
grant address user@test1.com to test1
grant address user@test1.com ceo@x.com to test2 until 2030-01-01
grant domain test1.com to test1 with subdomains
grant domain x.com to test2
grant domain x.com to off
disable user off
END
is $r->{status}, 0, 'grants' or diag $r->{err};
$pg->psql("INSERT INTO emailing_addresses (address) VALUES ('a b\@q.com');
    INSERT INTO emailing_users_addresses (id_user, id_address) SELECT u.id, a.id
        FROM emailing_users u, emailing_addresses a
        WHERE u.name = 'test1' AND a.address = 'a b\@q.com'");

sub file {
    my ($name, $text) = @_;
    open my $out, '>', "$dir/$name" or die $!;
    print {$out} $text;
    close $out or die $!;
    return "$dir/$name";
}
my $export = file('export', $pg->mailadmin(\%as, 'export')->{out});

# Without configuration and without a way to a database.
sub offline {
    my ($stdin, @words) = @_;
    my %env = map { $_ => undef } qw(MAILADMIN_CONF PGHOST PGPORT PGDATABASE
        PGUSER PGSERVICE PGHOSTADDR PGPASSWORD);
    return EmailingPg::run($stdin, \%env, EmailingPg::program(), @words);
}

# The same lines both ways; what they print.
sub both {
    my ($lines, $status, $name) = @_;
    my $file = file('tests', $lines);
    my $live = $pg->mailadmin(\%as, 'test', $file);
    is $live->{status}, $status, $name or diag $live->{out}, $live->{err};
    is_deeply offline('', 'test', $file, '--on', $export), $live,
        '... and the same without a database';
    return $live;
}

my $good = <<'END';
# Who may what
test1 may user@test1.com
Test1 MAY User@Test1.Com.
test1 may anyone@test1.com       # the domain
test1 may a@deep.below.test1.com
test1 may not a@nottest1.com
test1 may a\x20b@q.com
test2 may ceo@x.com
test2 may not ceo@test1.com
test2 may not user@test1.com on 2030-01-01
test2 may user@test1.com on 2029-12-31T23:59:59Z

test2 may not a%b@x.com
test2 may not nonsense
test2 may not <>
off may not ceo@x.com
END
$r = both($good, 0, 'all hold');
is_deeply [@$r{qw(out err)}], ["14 tests, 0 failed\n", ''], 'and it says so';
is $pg->mailadmin({%as, stdin => $good}, qw(test -))->{out}, $r->{out},
    'from standard input';
is offline($pg->mailadmin(\%as, 'export')->{out}, 'test',
    file('tests', $good), qw(--on -))->{out}, $r->{out}, 'the export, too';

# Each turned into its opposite fails, at its line and with its reason.
my $bad = $good =~ s/ MAY / may /r =~ s/ may not / MAY /gr =~ s/ may / may not /gr
    =~ s/ MAY / may /gr;
$r = both($bad, 1, 'none holds');
my $file = "$dir/tests";
my %why = (
    2 => 'test1 may not user@test1.com: is permitted: address user@test1.com',
    4 => 'test1 may not anyone@test1.com: is permitted: domain test1.com with '
        . 'subdomains',
    6 => 'test1 may a@nottest1.com: is refused: not granted to user test1',
    10 => 'test2 may user@test1.com: is refused: not granted to user test2 '
        . '(the grant of address user@test1.com ended on '
        . '2030-01-01T00:00:00Z)',
    13 => 'test2 may a%b@x.com: is refused: not granted to user test2 (domain '
        . 'x.com is granted, but a domain does not cover % ! @ or quotes in '
        . 'front of the @)',
    14 => 'test2 may nonsense: is refused: not an address this relay can '
        . 'permit (the sender is no address: it has to have an @ and '
        . 'something on both sides of it, no control characters, and 254 '
        . 'bytes at most)',
    15 => 'test2 may <>: is refused: null sender not granted to user test2 '
        . '(the null sender needs null_sender = permit in emailing.conf)',
    16 => 'off may ceo@x.com: is refused: user off may not send (user off is '
        . 'disabled)',
);
my %said = $r->{out} =~ /^\Q$file\E:(\d+): (.*)$/mg;
is $said{$_}, $why{$_}, "line $_" for sort { $a <=> $b } keys %why;
is scalar(keys %said), 14, 'all of them';
like $r->{out}, qr/^14 tests, 14 failed\n\z/m, 'in sum';

# JSON, of what was refused and what was permitted.
my $object = decode_json(offline('', qw(-f json test), $file, '--on', $export)
    ->{out});
is_deeply [@$object{qw(tests failed)}], [14, 14], 'JSON: figures';
my ($first) = grep { $_->{line} == 6 } @{$object->{failures}};
is_deeply $first, {line => 6, user => 'test1', sender => 'a@nottest1.com',
    expected => JSON::PP::true, permitted => JSON::PP::false,
    reason => 'not-granted', text => 'not granted to user test1',
    nearest => undef}, 'JSON: a failure';
is decode_json($pg->mailadmin({%as, stdin => "test1 may \\xff\@x.com\n"},
    qw(-f json test -))->{out})->{failures}[0]{sender}, '\xff@x.com',
    'JSON: what is no text';

# A misspelt name would make a test that cannot fail.
$r = both("ghost may not a\@x.com\ntest1 may not a\@x.com\n", 0,
    'who is not there may not');
like $r->{err}, qr/^mailadmin: \Q$file\E:1: there is no user ghost\n\z/,
    'but that is told';
like both("ghost may a\@x.com\n", 1, 'nor may he')->{out},
    qr/: is refused: user ghost may not send \(there is no such user\)$/m,
    'with the reason';

# The options are those of mailadmin.conf.
my $conf = $pg->conf("recipient_delimiter = \"+\"\nnull_sender = permit\n");
$file = file('tests', "test1 may <>\ntest2 may user+tag\@test1.com\n");
is $pg->mailadmin({%as, conf => $conf}, 'test', $file)->{status}, 0,
    'recipient_delimiter, null_sender';
is offline('', '-c', $conf, 'test', $file, '--on', $export)->{status}, 0,
    '... without a database';
is offline('', '-c', "$dir/none", 'test', $file, '--on', $export)->{status},
    78, 'a configuration that was asked for has to be there';
is offline('', 'test', $file)->{status}, 78, 'a database, too, if it is asked';

# The answer is that of check, which is that of policyd: for each user and many
# senders.
my (%check, @lines);
for my $user (qw(test1 test2 off)) {
    for my $sender ('user@test1.com', 'x@x.com', 'ceo@x.com', 'a@b.test1.com',
        'a@b_c.test1.com', '"q"@x.com', 'a!b@test1.com', 'x@y', '@x.com', 'x@',
        "\xc3\xa4\@test1.com", 'ceo@x.com.', 'a+b@x.com', 'CEO@X.COM') {
        my $status = $pg->mailadmin(\%as, 'check', $user, $sender)->{status};
        push @lines, "$user may " . ($status == 0 ? '' : 'not ') . $sender;
    }
}
both(join("\n", @lines), 0, scalar(@lines) . ' answers of check');

# -- what emailing(7) says of git -------------------------------------------------

open my $page, '<', EmailingPg::source() . '/conf/man/emailing.7' or die $!;
my ($section) = do { local $/; <$page> }
    =~ /^\.Sh GRANTS IN GIT$(.*?)^\.Sh /ms;
my @blocks = $section =~ /^\.Bd -literal\n(.*?)^\.Ed/msg;
is @blocks, 4, 'its four pieces';
$pg->database('other');
is $pg->mailadmin({db => 'other'}, qw(schema init))->{status}, 0, 'elsewhere';
file('mailadmin.conf', '');
file('other.conf', "conninfo = \"dbname=other\"\n");
$pg->mailadmin({%as, stdin => <<'END'}, '--strict');
add user app1 --no-password
add address billing@example.com
grant address billing@example.com to app1
END
# Between the first piece and the job somebody proposes a change.
$blocks[0] =~ s/^git add .*\n//m or fail 'git is used';
$blocks[0] .= "echo 'user app2' >>grants\n";
my $script = join '', "set -e\ncd $dir\nPATH="
    . EmailingPg::program() =~ s{/mailadmin\z}{}r . ":\$PATH\n", @blocks;
$r = EmailingPg::run($script, {%{$pg->env(%as)}, PGDATABASE => undef,
    MAILADMIN_CONF => $pg->conf("conninfo = \"dbname=mail\"\n")}, 'sh');
is $r->{status}, 0, 'they run' or diag $r->{out}, $r->{err};
like $r->{out}, qr/^2 tests, 0 failed\n\+ user app2 .*\nusers: 1 to add/m,
    'the job tests, and shows the plan';
is $pg->psql("SELECT count(*) FROM emailing_users WHERE name = 'app2'"), 1,
    'which is applied';
is $pg->mailadmin({%as, db => 'other'}, 'export')->{out},
    $pg->mailadmin(\%as, 'export')->{out}, 'and moved to another database';

# A user with more grants than policyd holds.
$pg->psql("INSERT INTO emailing_addresses (address)
    SELECT 'h' || i || '\@heavy.com' FROM generate_series(1, 11000) i;
    INSERT INTO emailing_users (name) VALUES ('heavy');
    INSERT INTO emailing_users_addresses (id_user, id_address) SELECT u.id, a.id
    FROM emailing_users u, emailing_addresses a
    WHERE u.name = 'heavy' AND a.address LIKE '%\@heavy.com'");
is $pg->mailadmin({%as, stdin => "heavy may h11000\@heavy.com\n"
    . "heavy may not h11001\@heavy.com\n"}, qw(test -))->{out},
    "2 tests, 0 failed\n", 'a user with 11,000 grants';

done_testing;
