#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Includes point one way: lib below, then policyd, saslplugin and mailadmin,
# which know nothing of each other. In lib, attr and addr know nothing of the
# rest; the plugin has attr and no more.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;

use Emailing qw(top);

my %below = (
    lib => [qw(lib)],
    policyd => [qw(lib policyd)],
    mailadmin => [qw(lib mailadmin)],
    saslplugin => [qw(lib/attr saslplugin)],
);
my %foundation = map { $_ => 1 } qw(lib/attr lib/addr);

# Why this file of that folder may not include this; nothing if it may.
sub objection {
    my ($file, $include) = @_;
    my ($folder) = $file =~ m{\A(\w+)/};
    return if $include eq 'config.h';
    return 'without its folder' if $include !~ m{/};
    return 'from another layer'
        if !grep { $include =~ m{\A\Q$_\E[./]} } @{ $below{$folder} };
    my $stem = $file =~ s/\.[ch]\z//r;
    return 'from above the foundation'
        if $foundation{$stem} && !$foundation{ $include =~ s/\.h\z//r };
    return;
}

is objection('policyd/x.c', 'mailadmin/y.h'), 'from another layer',
    'the rule is enforced: layers';
is objection('saslplugin/x.c', 'lib/conf.h'), 'from another layer',
    'the rule is enforced: the plugin';
is objection('lib/attr.c', 'lib/log.h'), 'from above the foundation',
    'the rule is enforced: the foundation';
is objection('lib/conf.c', 'log.h'), 'without its folder',
    'the rule is enforced: folders';
is objection('policyd/x.c', 'lib/log.h'), undef, 'downwards is allowed';

chdir top() or die;
my $looked = 0;
for my $file (sort glob '{lib,policyd,saslplugin,mailadmin}/*.[ch]') {
    open my $in, '<', $file or die "$file: $!";
    my @bad;
    my @includes;
    while (<$in>) {
        push @includes, $1 if /^\s*#\s*include\s*"([^"]+)"/;
    }
    push @bad, map { my $why = objection($file, $_);
                     $why ? "$_ $why" : () } @includes;
    push @bad, 'config.h is not the first'
        if $file =~ /\.c\z/ && ($includes[0] // '') ne 'config.h';
    is_deeply \@bad, [], $file;
    $looked++;
}
cmp_ok $looked, '>', 10, 'the sources were found';

done_testing;
