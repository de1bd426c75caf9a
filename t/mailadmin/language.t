#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# Grammar, help, completion and manual page say the same, and no more.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";
use EmailingPg;
use JSON::PP;
use Test::More;

my $source = EmailingPg::source();
my $program = EmailingPg::program();

sub slurp {
    open my $file, '<', $_[0] or die "$_[0]: $!";
    local $/;
    return scalar <$file>;
}

sub run {
    my (@words) = @_;
    return EmailingPg::run('', {MAILADMIN_CONF => '/dev/null',
        PGHOST => '/nowhere'}, $program, @words);
}

# The grammar, as the table in the program has it.
my ($table) = slurp("$source/mailadmin/commands.c")
    =~ /^static const struct command commands\[\] = \{\n(.*?)^\};/ms;
my @patterns = $table =~ /^    \{"([^"]+)"/mg;
cmp_ok scalar @patterns, '>', 25, 'commands';

my $help = decode_json(run(qw(-f json help))->{out})->{commands};
is_deeply [map { $_->{usage} } @$help], \@patterns, 'help has them all';
like $_->{help}, qr/^[a-z].{5,}[^.]$/, "... and explains: $_->{usage}"
    for @$help;

my $page = "$source/conf/man/mailadmin.1";
my $text = slurp($page);
my ($commands) = $text =~ /^\.Sh COMMANDS$(.*?)^\.Sh /ms;
is_deeply [$commands =~ /^\.It Ic (.*)$/mg], \@patterns,
    'the manual page has them all, in that order';
my $lint = EmailingPg::run('', {}, 'mandoc', '-Tlint', '-Wwarning', $page);
is_deeply [@$lint{qw(status out)}], [0, ''], 'mandoc finds nothing';
like $text, qr/^\.Sh $_$/m, "it has $_" for 'EXAMPLES', 'EXIT STATUS',
    'ENVIRONMENT', 'FILES';

# Exit statuses: those of the program, in the page and in help.
my @statuses = slurp("$source/mailadmin/status.h") =~ /STATUS_\w+ = (\d+)/g;
my ($exit) = $text =~ /^\.Sh EXIT STATUS$(.*?)^\.Sh /ms;
is_deeply [$exit =~ /^\.It (\d+)$/mg], \@statuses, 'exit statuses';
my $shown = run('help')->{out};
like $shown, qr/\b$_\b/, "help says $_" for @statuses;

# Every example in the page is a command of the grammar.
my ($examples) = $text =~ /^\.Sh EXAMPLES$(.*?)^\.Sh /ms;
for my $example ($examples =~ /^\$ (?:.*\| )?mailadmin ([a-z].*)$/mg) {
    my @words = split / /, $example =~ s/"\$\(.*\)"/x/r
        =~ s/ [|>].*//r;
    isnt run(@words)->{status}, 64, "example: $example";
}

# Completion knows each word of each command.
sub completes {
    my (@words) = @_;
    return split /\n/, run('--complete', @words)->{out};
}
my %first = map { (split / /)[0] => 1 } @patterns;
is_deeply [completes('')], [sort keys %first], 'the first words';
for my $pattern (@patterns) {
    my @words;
    for my $token (split / /, $pattern) {
        my ($optional, $word) = $token =~ /^(\[?)([^\]]*)/;
        my $argument = $word =~ /^[A-Z]/;
        if (!$argument) {
            ok((grep { $_ eq $word } completes(@words, '')),
                "completed: @words -> $word");
            is_deeply [grep { $_ eq $word } completes(@words,
                substr $word, 0, length($word) - 1)], [$word], '... cut';
        }
        push @words, $argument ? 'x' : $word;
    }
}
is_deeply [completes(qw(nonsense x), '')], [], 'nothing behind nonsense';

my $bash = EmailingPg::run('', {}, 'shellcheck', '-s', 'bash',
    "$source/conf/completion/mailadmin");
is $bash->{status}, 0, 'shellcheck' or diag $bash->{out};

done_testing;
