#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# The sample files hold every option there is, with its default and whether
# SIGHUP changes it, and nothing else; and the programs take them.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use File::Temp ();
use Test::More;

use Emailing qw(build run top);

sub slurp {
    my ($path) = @_;
    open my $file, '<', $path or die "$path: $!";
    local $/;
    return scalar <$file>;
}

# The table of lib/conf.c: name, default, reloadable, for which program.
my %table;
my $code = slurp(top() . '/lib/conf.c');
while ($code =~ /^ +[A-Z]+\("(\w+)",\s*"([^"]*)",\s*(\w+),\s*(true|false),/mg) {
    $table{$1} = { default => $2, reload => $4 eq 'true',
                   policyd => $3 ne 'CONF_MAILADMIN',
                   mailadmin => $3 ne 'CONF_POLICYD' };
}
cmp_ok keys %table, '>', 20, 'the table is read';

# name => [default, tag]; the first assignment after a paragraph is the default
sub sample {
    my ($path) = @_;
    my (%options, $tag);
    for (split /\n/, slurp($path)) {
        $tag = $1 if /\[(reload|restart)\]/;
        next if !/^#?(\w+) = (.*)$/;
        my ($name, $value) = ($1, $2);
        $value =~ s/\A"(.*)"\z/$1/;
        $options{$name} ||= [$value, $tag // 'none'];
    }
    return \%options;
}

for my $program (qw(policyd mailadmin)) {
    my $file = $program eq 'policyd' ? 'emailing.conf' : 'mailadmin.conf';
    my $path = top() . "/conf/$file";
    my $found = sample($path);
    my %wanted = map {
        $_ => [$table{$_}{default}, $program eq 'mailadmin' ? 'none'
               : $table{$_}{reload} ? 'reload' : 'restart']
    } grep { $table{$_}{$program} } keys %table;
    is_deeply $found, \%wanted, "$file has all options, with their defaults";
    unlike slurp($path), qr/^[^#\n]/m, '... commented out';
}

my $policyd = build() . '/policyd/emailing-policyd';
my $text = slurp(top() . '/conf/emailing.conf');
is +(run([$policyd, '-t', '-c', top() . '/conf/emailing.conf']))[0], 0,
    'policyd takes the sample';
# Each option's own line in force, the examples left out.
my %seen;
$text =~ s/^#(\w+)( = )/$seen{$1}++ ? "#$1$2" : "$1$2"/gme;
my $file = File::Temp->new;
print $file $text;
$file->flush;
is_deeply [run([$policyd, '-t', '-c', "$file"])], [0, '', ''],
    'and with every option in force';
print $file "no_such_option = 1\n";
$file->flush;
my $line = ($text =~ tr/\n//) + 1;
my ($status, $out, $err) = run([$policyd, '-t', '-c', "$file"]);
is $status, 78, 'an unknown option: exit status 78';
like $err, qr/\Q$file\E:$line: /, '... and its place';

done_testing;
