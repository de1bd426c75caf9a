#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Each header compiles alone, and twice, with gcc and with clang, and says what
# it is.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;

use Emailing qw(build run top);

my @compilers = qw(gcc clang);
my @packages = qw(libconfuse libuv libpq libidn2 jansson libcrypto libsasl2
    libmicrohttpd libedit);
my @flags = (split(' ', qx(pkg-config --cflags @packages)),
    qw(-std=gnu11 -Wall -Wextra -Werror -fsyntax-only -x c -),
    '-I' . top(), '-I' . build());

chdir top() or die;
my @headers = sort glob '{lib,policyd,saslplugin,mailadmin}/*.h';
cmp_ok @headers, '>', 5, 'the headers were found';
for my $header (@headers) {
    for my $cc (@compilers) {
        my ($status, $out, $err) = run([$cc, @flags],
            qq(#include "config.h"\n) . qq(#include "$header"\n) x 2);
        is $status, 0, "$cc compiles $header alone" or diag $err;
    }
    open my $in, '<', $header or die;
    my $text = do { local $/; <$in> };
    my $guard = uc $header =~ s/\W/_/gr;
    like $text, qr{\A/\* SPDX[^\n]*\n#ifndef $guard\n#define $guard\n\n/\*[ \n]},
        '... opens with its guard and what it is';
}

done_testing;
