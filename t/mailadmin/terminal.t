#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# What mailadmin does at a terminal: prompts, and passwords that do not show.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";
use EmailingPg;
use IO::Handle;
use Test::More;

my $pg = EmailingPg->new;
is $pg->mailadmin(qw(schema init))->{status}, 0, 'schema init';

# Runs mailadmin at a terminal of script(1)'s. Each step is what to wait for
# and what to type then. Returns all that was shown.
sub at_terminal {
    my ($words, @steps) = @_;
    pipe my $keys, my $type or die $!;
    pipe my $screen, my $show or die $!;
    my $pid = fork // die $!;
    if ($pid == 0) {
        my $env = $pg->env(user => 'emailing_mailadmin');
        defined $env->{$_} ? $ENV{$_} = $env->{$_} : delete $ENV{$_}
            for keys %$env;
        $ENV{MAILADMIN_CONF} = $pg->conf('');
        $ENV{TERM} = 'dumb';
        close $type;
        close $screen;
        open STDIN, '<&', $keys or die $!;
        open STDOUT, '>&', $show or die $!;
        my $program = EmailingPg::program();
        exec 'script', '-qec', "$program $words; stty -a | grep -o -- '.echo '",
            '/dev/null';
    }
    close $keys;
    close $show;
    $type->autoflush;
    my $shown = '';
    my $read = sub {
        my ($until) = @_;
        local $SIG{ALRM} = sub { die "never seen: $until in: $shown\n" };
        alarm 20;
        while ($shown !~ $until) {
            sysread $screen, $shown, 4096, length $shown or last;
        }
        alarm 0;
    };
    while (my ($until, $keys_typed) = splice @steps, 0, 2) {
        $read->($until);
        print {$type} $keys_typed;
    }
    $read->(qr/\z.\A/);
    close $type;
    waitpid $pid, 0;
    $shown =~ s/\r\n/\n/g;
    return $shown;
}

my $shown = at_terminal('add user test1', qr/password: \z/, "hush-hush\n");
like $shown, qr/\Apassword: \n/, 'prompt';
unlike $shown, qr/hush/, 'the password does not show';
unlike $shown, qr/-echo /, 'the terminal shows what is typed again';
my $stored = $pg->psql("SELECT passwd FROM emailing_users");
is crypt('hush-hush', $stored), $stored, 'stored';

$shown = at_terminal('', qr/> \z/, "list users\n", qr/test1\r\n> \z/,
    "del user nobody\n", qr/nobody\r\n> \z/, "passwd test1\n",
    qr/password: \z/, "other\n", qr/\n> \z/, "list domains\n",
    qr/domains ---\r\n> \z/, "exit\n");
like $shown, qr/^mailadmin: no such user: nobody$/m, 'a failure, no number';
like $shown, qr/^Bye$/m, 'exit';
unlike $shown, qr/other/, 'a password within a session does not show';
$stored = $pg->psql("SELECT passwd FROM emailing_users");
is crypt('other', $stored), $stored, 'stored';

$shown = at_terminal('', qr/> \z/, "list users\n", qr/test1\r\n> \z/, "\cD");
like $shown, qr/test1\n> \n/, 'end of file leaves';

$shown = at_terminal('passwd test1', qr/password: \z/, "\cC");
unlike $shown, qr/-echo /, 'shown again after an interrupt';
is $pg->psql("SELECT passwd FROM emailing_users"), $stored, 'nothing changed';

done_testing;
