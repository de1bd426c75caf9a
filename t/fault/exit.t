#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# Every failure: its exit status, one message, nothing half done; hostile
# arguments; a database that hangs. The cases M2, M3 and M6.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";
use Emailing::Case qw(case);
use EmailingPg;
use IO::Handle;
use Socket;
use Test::More;
use Time::HiRes qw(time);

my $pg = EmailingPg->new;
my %as = (user => 'emailing_mailadmin');

sub fails {
    my ($status, $message, @words) = @_;
    my $options = ref $words[0] ? shift @words : {};
    my $name = join ' ', map { substr(s/[^!-~]/?/gr, 0, 40) } @words;
    my $r = $pg->mailadmin({%as, %$options}, @words);
    is $r->{status}, $status, "$status: $name" or diag $r->{err};
    is $r->{out}, '', 'nothing on standard output';
    like $r->{err}, $message, 'its message';
    like $r->{err}, qr/\Amailadmin: [\x20-\x7e]+\n\z/, 'one printable line';
    return $r;
}

# Before there is a schema.
case 'M3';
%as = ();
fails(78, qr/schema status/, qw(list users));
fails(78, qr/schema init/, qw(schema upgrade));
is $pg->mailadmin(qw(schema init))->{status}, 0, 'schema init';
%as = (user => 'emailing_mailadmin');
is $pg->mailadmin({%as, stdin => "pw\n"}, qw(add user test1))->{status}, 0;
is $pg->mailadmin(\%as, qw(add address a@test1.com))->{status}, 0;
is $pg->mailadmin(\%as, qw(add domain test1.com))->{status}, 0;
sub checksum {
    return join '', map { $pg->psql("SELECT * FROM emailing_$_ ORDER BY 1") }
        qw(users addresses domains users_addresses users_domains);
}
my $before = checksum();

# 64
fails(64, qr/usage: add user USER\.\.\. .* \| add address/, 'add');
fails(64, qr/usage: grant domain DOMAIN\.\.\. to USER/, qw(grant domain x for y));
fails(64, qr/usage: list users \[PATTERN\]/, qw(list users extra more));
fails(64, qr/unknown command/, 'frobnicate');
fails(64, qr/unknown command/, 'list users');
fails(64, qr/usage: mailadmin/, '-f', 'xml', 'list', 'users');
fails(64, qr/usage: mailadmin/, '-x');
fails(64, qr/unknown command/, ('x') x 100);
fails(64, qr/usage: grant domain/, qw(grant domain a.b to c with));
fails(64, qr/no such command/, qw(help nonsense));

# 65: the rule and the character.
case 'M2';
fails(65, qr/'a'b': .* ''' at byte 2/, qw(add user), "a'b");
fails(65, qr/'\\x1b' at byte 2/, qw(add user), "a\e[31mb");
fails(65, qr/'\\x20' at byte 2/, qw(add user), 'a b');
fails(65, qr/'\*' at byte 1/, qw(add user *));
fails(65, qr/'\\x0a' at byte 2/, qw(add address), "a\n\@b.c");
fails(65, qr/empty name/, qw(del user), '');
fails(65, qr/longer than 128/, qw(show user), 'x' x 129);
fails(65, qr/too long|longer than/, qw(add domain), 'x' x 10_240);
fails(65, qr/no '\@'/, qw(add address), 'x' x 200);
fails(65, qr/longer than 254/, qw(add address), ('x' x 10_240) . '@a.b');
fails(65, qr/'\*' at byte 1/, qw(add domain *.test1.com));
fails(65, qr/has no '\@'/, qw(add domain a@b.c));
fails(65, qr/bad user name/, qw(grant domain test1.com to), "x';--");
fails(65, qr/bad domain/, qw(revoke domain a..b from test1));
fails(65, qr/bad user name/, qw(check a/b a@b.c));
fails(65, qr/1 to 511 bytes/, {stdin => "\n"}, qw(passwd test1));
fails(65, qr/1 to 511 bytes/, {stdin => 'x' x 512}, qw(passwd test1));
fails(65, qr/1 to 511 bytes/, {stdin => "a\0b\n"}, qw(passwd test1));
fails(65, qr/no password/, qw(passwd test1));

is checksum(), $before, 'nothing was stored';

# 67, 73
case 'M3';
for my $words ('del user nobody', 'del address n@o.b', 'del domain no.body',
    'show user nobody', 'show address n@o.b', 'show domain no.body',
    'grant address a@test1.com to nobody', 'grant address n@o.b to test1',
    'grant domain no.body to test1', 'grant domain test1.com to nobody',
    'revoke domain no.body from test1', 'revoke domain test1.com from nobody',
    'revoke address n@o.b from test1', 'enable user nobody',
    'disable user nobody', 'check nobody a@b.c') {
    fails(67, qr/no such (user|address|domain): /, split / /, $words);
}
fails(67, qr/no such user: nobody/, {stdin => "x\n"}, qw(passwd nobody));
fails(73, qr/user test1 exists already/, {stdin => "x\n"},
    qw(add user Test1));
fails(73, qr/address a\@test1.com exists already/,
    qw(add address A@TEST1.com.));
fails(73, qr/domain test1.com exists already/, qw(add domain Test1.Com.));
fails(73, qr/schema already/, {user => 'owner'}, qw(schema init));

# 77
fails(77, qr/permission denied/, {user => 'stranger'}, qw(list users));
fails(77, qr/permission denied/, {user => 'stranger'},
    qw(add domain other.com));
fails(77, qr/permission denied/, {user => 'emailing_policyd'},
    qw(show user test1));
is checksum(), $before, 'nothing was changed by any of them';

# 0, with a note.
for my $case (['grant domain test1.com to test1', ''],
    ['grant domain test1.com to test1', 'domain test1.com is granted to '
        . 'test1 already'],
    ['grant domain test1.com to test1 with subdomains', ''],
    ['revoke domain test1.com from test1', ''],
    ['revoke domain test1.com from test1',
        'domain test1.com is not granted to test1'],
    ['disable user test1', ''],
    ['disable user test1', 'user test1 is disabled already'],
    ['enable user test1', '']) {
    my $r = $pg->mailadmin(\%as, split / /, $case->[0]);
    is_deeply [@$r{qw(status out err)}],
        [0, '', $case->[1] && "mailadmin: $case->[1]\n"], $case->[0];
}

# 78
fails(78, qr/nowhere/, {conf => '/nowhere'}, qw(list users));
fails(78, qr/:1: /, {conf => $pg->conf("nonsense = 1\n")}, qw(list users));
my $secret = $pg->conf("conninfo = \"host=$pg->{dir} password=s3cret\"\n");
chmod 0644, $secret;
unlike fails(78, qr/holds a password and others may read it: chmod o-r/,
    {conf => $secret}, qw(list users))->{err}, qr/s3cret/, 'but not which';
chmod 0640, $secret;
is $pg->mailadmin({%as, conf => $secret}, qw(list users))->{status}, 0,
    'a password that others cannot read';
my $help = EmailingPg::run('', {MAILADMIN_CONF => '/nowhere'},
    EmailingPg::program(), 'help');
is $help->{status}, 0, 'help needs no configuration';
like EmailingPg::run('', {}, EmailingPg::program(), '--version')->{out},
    qr/^mailadmin .*\d+\.\d+\.\d+$/, '--version';

# No disk for the output.
if (-w '/dev/full') {
    open my $full, '>', '/dev/full' or die $!;
    my $pid = fork // die $!;
    if ($pid == 0) {
        my $env = $pg->env(%as);
        $ENV{$_} = $env->{$_} for grep { defined $env->{$_} } keys %$env;
        open STDOUT, '>&', $full or die $!;
        open STDERR, '>', '/dev/null' or die $!;
        exec EmailingPg::program(), '-c', $pg->{conf}, 'list', 'users';
    }
    waitpid $pid, 0;
    is $? >> 8, 71, 'output that cannot be written is an error';
}

# 75: no server, one that does not answer, one that stops.
case 'M6';
my $fast = $pg->conf("database_timeout = 1\n");
fails(75, qr/database: /, {env => {PGHOST => '/nowhere'}}, qw(list users));
socket my $silent, PF_INET, SOCK_STREAM, 0 or die $!;
bind $silent, sockaddr_in(0, INADDR_LOOPBACK) or die $!;
listen $silent, 5 or die $!;
my $port = (sockaddr_in(getsockname $silent))[0];
my $start = time;
fails(75, qr/no connection within 5 s/,
    {env => {PGHOST => '127.0.0.1', PGPORT => $port}}, qw(list users));
cmp_ok time - $start, '<', 10, 'in time';

# One that answers with a byte now and then, and never comes to an end.
my $drip = fork // die $!;
if ($drip == 0) {
    $SIG{PIPE} = 'IGNORE';
    while (accept my $client, $silent) {
        sysread $client, my $startup, 10_000;
        # Logged in; ready for a query; a notice of 100,000 bytes.
        syswrite $client, pack('a N N', 'R', 8, 0) . pack('a N a', 'Z', 5, 'I');
        sysread $client, my $query, 10_000;
        syswrite $client, pack 'a N', 'N', 100_000;
        for (1 .. 100) {
            syswrite $client, 'x' or last;
            select undef, undef, undef, 0.3;
        }
    }
    exit;
}
$start = time;
fails(75, qr/no answer within 1000 ms/, {conf => $fast,
    env => {PGHOST => '127.0.0.1', PGPORT => $port, PGSSLMODE => 'disable',
        PGGSSENCMODE => 'disable'}}, qw(list users));
cmp_ok time - $start, '<', 15, 'a server that drips: in time';
kill TERM => $drip;
waitpid $drip, 0;
close $silent;

sub with_lock {
    my ($sql, $code) = @_;
    my $pid = fork // die $!;
    if ($pid == 0) {
        $pg->psql("BEGIN; $sql; SELECT pg_sleep(30)", may_fail => 1);
        exit 0;
    }
    select undef, undef, undef, 0.1 until $pg->psql(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%'
        AND pid <> pg_backend_pid() AND wait_event = 'PgSleep'");
    $code->();
    $pg->psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE wait_event = 'PgSleep'");
    waitpid $pid, 0;
}
with_lock('LOCK emailing_users', sub {
    fails(75, qr/no result within 1000 ms/, {conf => $fast},
        qw(list users));
});

$before = checksum();
my @stopped = ($pg->postmaster, split /\n/, $pg->psql(
    'SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()'));
kill STOP => @stopped;
$start = time;
fails(75, qr/no connection within 5 s/, qw(list users));
fails(75, qr/no connection within 5 s/, qw(add domain late.com));
cmp_ok time - $start, '<', 20, 'in time';
kill CONT => @stopped;
is $pg->mailadmin(\%as, qw(list domains))->{status}, 0, 'back again';
is checksum(), $before, 'nothing was done late';

# A backend stopped under a session, which then goes on.
pipe my $in, my $to or die $!;
pipe my $from, my $out or die $!;
my $pid = fork // die $!;
if ($pid == 0) {
    close $to;
    close $from;
    my $env = $pg->env(%as);
    defined $env->{$_} ? $ENV{$_} = $env->{$_} : delete $ENV{$_}
        for keys %$env;
    open STDIN, '<&', $in or die $!;
    open STDOUT, '>&', $out or die $!;
    open STDERR, '>&', $out or die $!;
    exec EmailingPg::program(), '-c', $fast;
}
close $in;
close $out;
$to->autoflush;
print {$to} "list domains\n";
is scalar <$from>, "--- emailing_domains ---\n", 'a session';
is scalar <$from>, "    - test1.com\n", 'its answer';
my $backend = $pg->psql("SELECT pid FROM pg_stat_activity
    WHERE application_name = 'mailadmin'");
is $pg->psql("SELECT state FROM pg_stat_activity WHERE pid = $backend"),
    'idle', 'no transaction is open at the prompt';
kill STOP => $backend;
$start = time;
print {$to} "list domains\n";
like scalar <$from>, qr/line 2: database: no answer within 1000 ms/,
    'a stopped backend';
cmp_ok time - $start, '<', 5, 'in time';
kill CONT => $backend;
print {$to} "list domains\n";
is scalar <$from>, "--- emailing_domains ---\n", 'the session goes on';
is scalar <$from>, "    - test1.com\n", 'with a new connection';
$pg->psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'mailadmin'");
print {$to} "list domains\n";
is scalar <$from>, "--- emailing_domains ---\n",
    'a connection lost in between is not noticed';
close $to;
waitpid $pid, 0;
is $? >> 8, 0, 'end of file: 0';

done_testing;
