#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Every shell script passes shellcheck, every Perl file compiles.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use File::Find ();
use Test::More;

use Emailing qw(run top);

chdir top() or die;
my (@shell, @perl);
File::Find::find({ no_chdir => 1, wanted => sub {
    $File::Find::prune = 1
        if m{/(?:\.git|_build|_inst|build-aux|autom4te\.cache|\.libs|\.deps)\z};
    return if !-f || m{\A\./(?:configure~?|config\.status|libtool)\z};
    return push @perl, $_ if /\.pm\z/;
    open my $file, '<', $_ or return;
    my $line = <$file> // '';
    push @shell, $_ if $line =~ m{\A#!.*/(?:env )?(?:ba|da)?sh\b};
    push @perl, $_ if $line =~ m{\A#!.*\bperl\b};
} }, '.');

cmp_ok @shell, '>', 3, 'shell scripts were found';
for my $file (sort @shell) {
    my ($status, $out) = run(['shellcheck', '-x', $file]);
    is $status, 0, "shellcheck $file" or diag $out;
}
cmp_ok @perl, '>', 10, 'Perl files were found';
for my $file (sort @perl) {
    my ($status, $out, $err) = run([$^X, '-It', '-c', $file]);
    like $err, qr/\A\S+ syntax OK\n\z/, "perl -c $file";
}

done_testing;
