#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# What holds for every file that is written by hand: its licence, its line
# ends, and no word that only means something on one machine.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use File::Find ();
use Test::More;

use Emailing qw(top);

# Folders that are under this project's roof; what builds leave in them is
# known by its name.
my @folders = qw(lib policyd saslplugin mailadmin sql conf t .ci);
my $built = qr{(?:\.(?:o|lo|la|so|log|trs)|/\.dirstamp|~|/schema_sql\.c)\z};

# A note for later belongs to the tracker; the word is split for this file.
my $later = join '|', map { "\\b$_\\b" } 'TO' . 'DO', 'FIX' . 'ME', 'X' . 'XX';

sub complaints {
    my ($path, $text) = @_;
    my @bad;
    push @bad, 'no licence line'
        if $text !~ /\A(?:[^\n]*\n){0,2}[^\n]*SPDX-License-Identifier: MIT/
        && $path !~ /README|\.json\z/;
    push @bad, 'white space at a line end' if $text =~ /[ \t]$/m;
    push @bad, 'no newline at the end' if $text !~ /\n\z/;
    push @bad, "a line to be done later: $1" if $text =~ /($later)/;
    push @bad, "a path of one machine: $1"
        if $text =~ m{(?<![\w.])(/(?:home|root|work|mnt)/\w+)};
    push @bad, 'a tab' if $path =~ /\.[ch]\z/ && $text =~ /\t/;
    push @bad, 'a private key' if $text =~ /BEGIN [A-Z ]*PRIVATE KEY/;
    return @bad;
}

is_deeply [complaints('x.c', "int x;\n")], ['no licence line'], 'licence';
is_deeply [complaints('x.c', "/* SPDX-License-Identifier: MIT */\nint x; \n")],
    ['white space at a line end'], 'white space';

chdir top() or die;
my @files;
File::Find::find({ no_chdir => 1, wanted => sub {
    $File::Find::prune = 1 if m{/(?:\.deps|\.libs|seeds|corpus)\z};
    push @files, $_ if -f && -T && !/$built/;
} }, grep { -d } @folders);
cmp_ok @files, '>', 30, 'files were found';
for my $path (sort @files) {
    open my $file, '<', $path or die "$path: $!";
    my $text = do { local $/; <$file> } // '';
    is_deeply [complaints($path, $text)], [], $path;
}

done_testing;
