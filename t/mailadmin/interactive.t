#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# The interactive mode and bash completion, tried by keys in a real terminal.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";
use EmailingPg;
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use IO::Handle;
use Test::More;
use Time::HiRes qw(sleep time);

my $pg = EmailingPg->new;
is $pg->mailadmin(qw(schema init))->{status}, 0, 'schema init';
$pg->psql(<<'END');
INSERT INTO emailing_users (name, passwd) VALUES ('alpha', 'x'),
    ('alpine', 'x'), ('beta', 'x');
INSERT INTO emailing_addresses (address) VALUES ('one@a.com'), ('two@a.com');
INSERT INTO emailing_domains (domain) VALUES ('long-domain.example.com');
END

# A terminal of its own: a server on a socket of its own.
my $dir = tempdir('emailing-tmux-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my @tmux = ('tmux', '-S', "$dir/socket", '-f', '/dev/null');

sub tmux {
    my $r = EmailingPg::run('', {TMUX => undef, TERM => 'xterm',
        LC_ALL => 'C.UTF-8'}, @tmux, @_);
    die "tmux @_: $r->{err}" if $r->{status};
    return $r->{out};
}

sub screen {
    return tmux('capture-pane', '-p', '-t', 'x') =~ s/\n+\z/\n/r;
}

# Waits for the screen to match.
sub shows {
    my ($pattern, $name) = @_;
    my $until = time + 10;
    my $screen;
    do {
        $screen = screen();
        return pass $name if $screen =~ $pattern;
        sleep 0.05;
    } while time < $until;
    fail $name;
    diag $screen;
    return;
}

sub type {
    tmux('send-keys', '-t', 'x', '-l', '--', $_[0]);
}

sub key {
    tmux('send-keys', '-t', 'x', $_) for @_;
}

sub clear {
    key('C-l');
    shows(qr/\A\S*[>\$] ?\n?\z/, 'a clear screen');
}

my $env = $pg->env(user => 'emailing_mailadmin');
my $program = EmailingPg::program();
my $bin = dirname($program);
my $conf = $pg->conf('');
my $source = EmailingPg::source();
open my $rc, '>', "$dir/rc" or die $!;
print {$rc} "PS1='\$ '\nunset HISTFILE PGUSER PGOPTIONS\n",
    (map { "export $_='$env->{$_}'\n" } grep { defined $env->{$_} }
        sort keys %$env),
    "export MAILADMIN_CONF='$conf' MAILADMIN_HISTORY='$dir/history'\n",
    "export PATH='$bin':\$PATH\nbind 'set bell-style none'\n",
    "bind 'set show-all-if-ambiguous on'\n",
    ". '$source/conf/completion/mailadmin'\n";
close $rc;
tmux('new-session', '-d', '-s', 'x', '-x', '80', '-y', '24',
    "bash --noprofile --rcfile $dir/rc -i");
shows(qr/^\$ ?$/m, 'a shell');

# bash: keywords, names, options, and an address, which bash would break.
type('mailadmin sh');
key('Tab');
shows(qr/^\$ mailadmin show ?$/m, 'bash: a keyword');
type('us');
key('Tab');
type('al');
key('Tab');
shows(qr/^\$ mailadmin show user alp$/m, 'bash: what names have in common');
type('h');
key('Tab', 'Enter');
shows(qr/^--- Show alpha ---$/m, 'bash: a name of the database');
type('mailadmin check alpha one@');
key('Tab');
type('grant address one@');
key('C-u');
type('mailadmin grant address one@');
key('Tab');
shows(qr/^\$ mailadmin grant address one\@a\.com ?$/m, 'bash: an address');
type('to be');
key('Tab', 'Enter');
shows(qr/to beta ?\n\$ ?$/m, 'bash: and the command runs');
is $pg->psql("SELECT count(*) FROM emailing_users_addresses"), 1, 'it did';
type('clear');
key('Enter');
type('mailadmin list users --d');
key('Tab');
shows(qr/^\$ mailadmin list users --disabled ?$/m, 'bash: an option');
key('C-u');
mkdir "$dir/f" or die $!;
mkdir "$dir/f/grants" or die $!;
for my $name ('tests', 'grants/live') {
    open my $file, '>', "$dir/f/$name" or die $!;
    print {$file} "alpha may not a\@b.c\n";
}
type("cd $dir/f; clear");
key('Enter');
type('mailadmin test te');
key('Tab');
type('--o');
key('Tab');
type('gr');
key('Tab');
type('l');
key('Tab');
shows(qr{^\$ mailadmin test tests --on grants/live ?$}m,
    'bash: files, and folders that go on');
key('C-u');

# Interactive.
type('clear; mailadmin');
key('Enter');
shows(qr/\A> ?$/m, 'the prompt');
is $pg->psql("SELECT count(*) FROM pg_stat_activity WHERE state LIKE
    'idle in%'"), 0, 'no transaction is open at the prompt';
type('test te');
key('Tab');
type('--on gr');
key('Tab');
type('l');
key('Tab');
shows(qr{^> test tests --on grants/live ?$}m, 'files');
key('C-u');
type('test tests');
key('Enter');
shows(qr/^1 test, 0 failed$/m, 'and a test runs');
key('C-l');
type('gr');
key('Tab');
type('do');
key('Tab');
type('lo');
key('Tab');
type('to al');
key('Tab', 'Tab');
shows(qr/^alpha +alpine$/m, 'choices are shown');
shows(qr/^> grant domain long-domain\.example\.com to alp$/m,
    'what is certain is put in');
type('h');
key('Tab');
type('wi');
key('Tab', 'Tab', 'Enter');
shows(qr/to alpha with subdomains *\n> ?$/m, 'up to the end');
is $pg->psql("SELECT subdomains FROM emailing_users_domains"), 't', 'it ran';
is $pg->psql("SELECT count(*) FROM pg_stat_activity WHERE state LIKE
    'idle in%'"), 0, 'no transaction is open after a command';
clear();
type('show user nobody');
key('Enter');
shows(qr/^mailadmin: no such user: nobody$/m, 'a failure');
type('list usrs');
key('BSpace', 'BSpace', 'BSpace');
type('sers');
key('Enter');
shows(qr/^--- emailing_users ---$/m, 'a line is edited');
clear();
key('Up', 'Enter');
shows(qr/\A> list users\n--- emailing_users/, 'a line from the history');
type('show user be');
key('C-c');
shows(qr/show user be\^C\n> ?$/m, 'an interrupt empties the line');
type('passwd beta');
key('Enter');
shows(qr/^password: ?$/m, 'a prompt for a password');
type('hush-hush');
key('Enter');
shows(qr/^password: ?\n> ?$/m, 'the password does not show');
like $pg->psql("SELECT passwd FROM emailing_users WHERE name = 'beta'"),
    qr/^\$y\$/, 'it is stored';
type('not-a-command');
key('Enter');
shows(qr/unknown command/, 'what is no command');
type('list grants');
key('Enter');
shows(qr/^    - alpha domain  long-domain\.example\.com \(with subdomains\)$/m,
    'a table');
tmux('resize-window', '-t', 'x', '-x', '50', '-y', '24');
key('C-l');
type('list grants *long*');
key('Enter');
shows(qr/^    - alpha domain  [a-z.-]*\.\.\. \(with subdomains\)$/m,
    'a table fits the terminal') or diag screen();
unlike screen(), qr/^subdomains/m, 'no line is broken';
tmux('resize-window', '-t', 'x', '-x', '80', '-y', '24');
key('C-l');
type('check beta one@a.com');
key('Enter');
shows(qr/^permitted: address one\@a\.com$/m, 'check');
like tmux('capture-pane', '-p', '-e', '-t', 'x'),
    qr/\e\[32mpermitted\e\[(?:0|39)m/, 'in colour';
key('C-d');
shows(qr/^\$ ?$/m, 'end of file leaves');
open my $history, '<', "$dir/history" or die $!;
my $lines = do { local $/; <$history> };
like $lines, qr/^list\S+users$/m, 'the history is kept';
unlike $lines, qr/not-a-command|hush/, 'what is no command is not in it';
is((stat "$dir/history")[2] & 0777, 0600, 'nobody else reads it');

type('clear; NO_COLOR=1 mailadmin check beta one@a.com');
key('Enter');
shows(qr/^permitted: address one\@a\.com$/m, 'NO_COLOR');
unlike tmux('capture-pane', '-p', '-e', '-t', 'x'), qr/\e\[32m/,
    'no colour';

# A long script counts its lines, and takes the count away.
system('mkfifo', "$dir/script") == 0 or die;
type("clear; mailadmin <$dir/script; echo done");
key('Enter');
open my $feed, '>', "$dir/script" or die $!;
$feed->autoflush;
print {$feed} "add domain p1.com\n";
sleep 0.7;
print {$feed} "add domain p2.com\n";
shows(qr/^2 lines ?$/m, 'progress');
print {$feed} "add domain p2.com\n";
shows(qr/^mailadmin: line 3: domain p2\.com exists already$/m, 'a message');
close $feed;
shows(qr/^done$/m, 'the end');
unlike screen(), qr/^\d+ lines/m, 'the count is gone';

# An endless line does not stop it.
type('clear; mailadmin');
key('Enter');
shows(qr/\A> ?$/m, 'once more');
open my $long, '>', "$dir/long" or die $!;
print {$long} 'x' x 70_000;
close $long;
tmux('load-buffer', "$dir/long");
tmux('paste-buffer', '-t', 'x');
key('Enter');
shows(qr/mailadmin: line over 65536 bytes\n> ?$/m, 'a line without end');
type('list domains');
key('Enter');
shows(qr/^    - long-domain\.example\.com$/m, 'and then a good one');
type('exit');
key('Enter');
shows(qr/^Bye\n\$ ?$/m, 'exit');

END {
    my $status = $?;
    EmailingPg::run('', {TMUX => undef}, @tmux, 'kill-server') if @tmux;
    $? = $status;
}
done_testing;
