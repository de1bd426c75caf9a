#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# Files that plan, apply and test refuse: all that is wrong with them is said,
# where it is, and nothing is done; and what is as large as may be.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";
use EmailingPg;
use File::Temp qw(tempdir);
use POSIX qw(mkfifo);
use Test::More;

my $pg = EmailingPg->new;
my %as = (user => 'emailing_mailadmin');
is $pg->mailadmin(qw(schema init))->{status}, 0, 'schema init';
is $pg->mailadmin(\%as, qw(add user kept --no-password))->{status}, 0, 'a user';
my $dir = tempdir(CLEANUP => 1);
my $file = "$dir/grants";

sub rewrite {
    my ($text) = @_;
    open my $out, '>', $file or die $!;
    print {$out} $text;
    close $out or die $!;
    return;
}

# What a text comes to: the messages of its lines, "LINE: what".
sub refused {
    my ($text, $errors, $name, @command) = @_;
    rewrite($text);
    @command = qw(plan) if !@command;
    my $r = $pg->mailadmin(\%as, @command, $file);
    is_deeply [@$r{qw(status out)}], [65, ''], "refused: $name";
    unlike $r->{err}, qr/[^\x20-\x7e\n]/, 'printable';
    my @lines = split /\n/, $r->{err};
    my $last = pop @lines;
    is_deeply [map { s/^mailadmin: \Q$file\E://r } @lines], $errors,
        'each by its line';
    my $count = @$errors == 1 ? '1 error' : @$errors . ' errors';
    is $last, "mailadmin: $file: $count; nothing done", 'and their number';
    return;
}

my $v = "version 1\n";
my $user = 'user USER [disabled] [secret SECRET] [old SECRET] [until DATE]';
my $address = 'grant address ADDRESS to USER [until DATE]';
my $domain = 'grant domain DOMAIN to USER [with subdomains] [until DATE]';
my $any = "expected: version NUMBER [with secrets] | $user | address ADDRESS"
    . " | domain DOMAIN | $address | $domain";
my $begin = 'the file has to begin with "version 1"';

refused('', ["1: the file is empty: it has to begin with \"version 1\""],
    'nothing');
refused(" \t\n# only a comment\n",
    ["1: the file is empty: it has to begin with \"version 1\""], 'next to it');
refused("user a\nuser b\n", ["1: $begin"], 'no version');
refused("version 2\nsomething new\n", ['1: this program reads version 1'],
    'another version');
refused("\xef\xbb\xbfversion 1\n", ["1: $begin", "1: $any"],
    'a byte order mark');
refused("{\"version\": 1}\n", ["1: $begin", "1: $any"], 'JSON');
refused(<<'END' . "user nul\0\n\\x41\\x00\nuser \\\n" . <<'END', [
version 1
user a
user A
user b c
user -- d
user user with much
address none
grant
grant address a@b.c to a
grant domain b.c to nobody
grant domain b.c to a until tomorrow
domain b.c
domain B.C.
grant domain b.c to a
unknown
grant address a@b.c b@b.c to a
until 2020-01-01
END
user c secret x
user d until 2020-01-01
user d disabled disabled
version 1
END
    '3: line 2 is about the same', "4: expected: $user", "5: expected: $user",
    "6: expected: $user",
    q(7: bad address 'none': no '@'), "8: expected: $address | $domain",
    '9: no line has "address a@b.c"', '10: no line has "user nobody"',
    '11: bad date: neither YYYY-MM-DD nor YYYY-MM-DDTHH:MM:SSZ',
    '13: line 12 is about the same', '14: line 11 is about the same',
    "15: $any", "16: expected: $address", "17: $any",
    '18: a NUL byte', '19: a \ that begins no \xNN',
    '20: a \ that begins no \xNN', '21: secrets need "version 1 with secrets"',
    '22: "old" and "until" belong together', "23: expected: $user",
    '24: a second version'], 'all of this');
refused("$v$_\n", ["2: $any"], "the word $_") for "\x1b[31m", "\xff", "us er";
refused("${v}user a\\x1b\n", [q(2: bad user name 'a\x1b': a name is letters, )
    . q(digits and . _ + @ -: '\x1b' at byte 2)], 'an escape');
refused("${v}address a\\xff\@x.com\n",
    [q(2: bad address 'a\xff@x.com': not UTF-8)], 'what is not UTF-8');
refused("${v}user a\nuser b\ndomain x.com\ngrant domain x.com to a until $_\n",
    ['5: bad date: neither YYYY-MM-DD nor YYYY-MM-DDTHH:MM:SSZ'], "until $_")
    for '2027-02-30', '2027-01-01T25:00', '@', '@1x', '@9224318016000',
        '@-210866803201', '@99999999999999999999', '@+1', '@0x10', 'until';
refused("version 1 with secrets\nuser a secret " . 'x' x 1001 . "\n",
    ['2: a secret over 1000 bytes'], 'a long secret');
refused("version 1 with secrets\nuser a secrte hush\nuser b secret\n",
    ["2: expected: $user", "3: expected: $user"], 'a secret is not repeated');
refused($v . 'x ' x 2000 . "\n", ['2: too many words'], 'many words');

# More than are kept.
rewrite($v . "nonsense\n" x 1500);
my $r = $pg->mailadmin(\%as, 'plan', $file);
is scalar(() = $r->{err} =~ /^mailadmin: \Q$file\E:\d+: /mg), 1000,
    'a thousand errors are shown';
like $r->{err}, qr/: 1500 errors, of which 500 are not shown; nothing done\n\z/,
    'and all are counted';

# apply and test refuse the same way.
refused("${v}user a\nuser a\n", ['3: line 2 is about the same'], 'apply',
    'apply');
my $may = 'expected: USER may [not] SENDER [on DATE]';
refused("a may b\@c.d\n" . <<'END', [
a may
a may not
a may not b@c.d on yesterday
a can b@c.d
may b@c.d
a may b@c.d c@c.d
A/B may b@c.d
END
    "2: $may", "3: $may",
    '4: bad date: neither YYYY-MM-DD nor YYYY-MM-DDTHH:MM', "5: $may",
    "6: $may", "7: $may", q(8: bad user name 'A/B': a name is letters, digits )
        . q(and . _ + @ -: '/' at byte 2)], 'tests', 'test');
refused("# nothing\n", ["1: the file has no test; $may"], 'no test', 'test');

# -- how large they may be ----------------------------------------------------------

rewrite("$v#" . 'x' x 65535 . "\nuser kept\n");
is $pg->mailadmin(\%as, 'plan', $file)->{status}, 0, 'a line of 64 KiB';
rewrite("$v#" . 'x' x 65536 . "\nuser kept\n");
$r = $pg->mailadmin(\%as, 'plan', $file);
is_deeply [@$r{qw(status err)}],
    [65, "mailadmin: $file:2: line over 65536 bytes\n"], 'one byte more';
$r = $pg->mailadmin(\%as, qw(plan /dev/zero));
is_deeply [@$r{qw(status err)}],
    [65, "mailadmin: /dev/zero:1: line over 65536 bytes\n"], 'no end at all';

# What comes in pieces, and does not end: only as much as is allowed is read.
sub through_pipe {
    my ($name, $write, @command) = @_;
    my $fifo = "$dir/$name";
    mkfifo($fifo, 0600) or die $!;
    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        local $SIG{PIPE} = 'DEFAULT';
        open my $out, '>', $fifo or die $!;
        $out->autoflush;
        $write->($out);
        close $out;
        exit 0;
    }
    my $r = $pg->mailadmin(\%as, @command, $fifo);
    waitpid $pid, 0;
    return $r;
}
$r = through_pipe('pieces', sub {
    my ($out) = @_;
    print {$out} $_ for split //, "${v}user kept\nuser two";
}, 'plan');
is $r->{status}, 1, 'byte by byte';
like $r->{out}, qr/^\+ user two /m, 'and the last line needs no end';
$r = through_pipe('lines', sub {
    my ($out) = @_;
    my $block = ('#' . 'x' x 1022 . "\n") x 1024;
    print {$out} $block while 1;
}, 'plan');
is $r->{status}, 65, 'lines without end';
like $r->{err}, qr/: file over 256 MiB$/, 'are too many';

# -- what is no file -----------------------------------------------------------------

for my $case (["$dir/none", 'No such file or directory'],
    [$dir, 'Is a directory'], ["$dir/\x1b", 'No such file or directory']) {
    for my $command (['plan'], ['apply'], ['test'], ['test', $file, '--on']) {
        rewrite("a may not b\@c.d\n");
        my $r = $pg->mailadmin(\%as, @$command, $case->[0]);
        is $r->{status}, 71, "$command->[0]: $case->[1]";
        like $r->{err}, qr/\Amailadmin: [ -~]*: $case->[1]\n\z/, 'is said';
    }
}
is $pg->mailadmin(\%as, qw(test - --on -))->{status}, 64,
    'standard input is one file';

is $pg->psql('SELECT string_agg(name, $$ $$) FROM emailing_users'), 'kept',
    'nothing was done by any of them';

done_testing;
