#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# The manual: mandoc finds no fault with it, it tells of every option that the
# code has and of no other, and its pages refer to pages that there are.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;

use Emailing qw(build run top);

chdir top() or die;

sub slurp {
    my ($path) = @_;
    open my $file, '<', $path or die "$path: $!";
    local $/;
    return scalar <$file>;
}

my @pages = sort glob 'conf/man/*.[1-8]';
my %page = map { m{/([^/]+)\.(\d)\z} ? ("$1($2)" => slurp($_)) : () } @pages;
cmp_ok @pages, '>=', 5, 'pages were found';
for my $path (@pages) {
    is_deeply [run(['mandoc', '-Tlint', '-W', 'warning', $path])],
        [0, '', ''], "mandoc: $path";
}

# Pages of other packages that ours may refer to.
my %others = map { $_ => 1 } qw(postconf(1) postconf(5) postmap(1) access(5) smtpd(8) sendmail(1)
    pg_restore(1) saslpluginviewer(8) sd_notify(3) syslog(3) systemd(1)
    mailadmin(1) psql(1) libpq(3) editline(7) editrc(5));
for my $name (sort keys %page) {
    my @refs = map { /^(\S+) (\d)/ ? "$1($2)" : () }
        $page{$name} =~ /(?:^\.| )Xr (\S+ \d)/mg;
    is_deeply [grep { !$page{$_} && !$others{$_} } @refs], [],
        "$name refers to pages that there are";
}

# -- options: the table of lib/conf.c is the one that counts -------------------

my %table;
my $code = slurp('lib/conf.c');
while ($code =~ /^ +[A-Z]+\("(\w+)",\s*"([^"]*)",\s*(\w+),\s*(true|false),/mg) {
    $table{$1} = [$2 eq '' ? 'empty' : $2, $4 eq 'true' ? 'reload' : 'restart',
                  $3 ne 'CONF_POLICYD' ? '*' : ''];
}
cmp_ok keys %table, '>', 20, 'the table is read';
my %manual;
while ($page{'emailing.conf(5)'}
       =~ /^\.It Cm (\w+) No \(([^;]*); (\w+)\) ?(\*?)$/mg) {
    ok !$manual{$1}, "emailing.conf(5) tells of $1 once";
    $manual{$1} = [$2, $3, $4];
}
is_deeply \%manual, \%table,
    'emailing.conf(5) has every option, its default, and how it changes';
for my $name (sort keys %page) {
    next if $name eq 'emailing-sasl(5)' || $name eq 'mailadmin(1)';
    my @named = $page{$name} =~ /^\.(?:Pq )?Cm ([a-z]+_[a-z_0-9]+)/mg;
    is_deeply [grep { !$table{$_} && $_ !~ /^auxprop/ } @named], [],
        "$name names options that there are";
}

# Those of the plugin: what it asks libsasl for, sample, manual.
my %asked = map { $_ => 1 }
    slurp('saslplugin/options.c') =~ /"(emailing_[a-z]+)"/g;
my %told = map { $_ => 1 }
    $page{'emailing-sasl(5)'} =~ /^\.It Cm (emailing_\w+) :/mg;
my %sample = map { $_ => 1 } slurp('conf/smtpd.conf') =~ /^(emailing_\w+):/mg;
cmp_ok keys %asked, '>', 1, 'the plugin has options';
is_deeply \%told, \%asked, 'emailing-sasl(5) has every option of the plugin';
is_deeply \%sample, \%asked, 'so has the sample';

# -- programs: the options of their usage -------------------------------------

for (['emailing-policyd(8)', 'policyd/emailing-policyd'],
     ['emailing-setup(8)', 'conf/emailing-setup']) {
    my ($name, $program) = @$_;
    my (undef, $out) = run([build() . "/$program", '--help']);
    my %usage = map { $_ => 1 } $out =~ /(?<![\w-])(--?[a-z]+(?:-[a-z]+)?)\b/g;
    delete $usage{'--help'};
    my $text = $page{$name};
    my @fl = map { s/^-/--/r =~ s/^(?!-)/-/r } $text =~ /\bFl (-?[a-z]+(?:-[a-z]+)?)/g;
    my %fl = map { $_ => 1 } @fl;
    delete $fl{$_} for grep { !$usage{$_} && $_ eq '--config-dir' } keys %fl;
    is_deeply [sort keys %fl], [sort keys %usage], "$name: its options";
    my (undef, $version) = run([build() . "/$program", '--version']);
    my ($wanted) = slurp('configure.ac') =~ /AC_INIT\(\[[^]]*\], \[([^]]*)\]/;
    like $version, qr/ \Q$wanted\E\n\z/, "$program --version";
}
my (undef, $version) = run([build() . '/mailadmin/mailadmin', '--version']);
my ($wanted) = slurp('configure.ac') =~ /AC_INIT\(\[[^]]*\], \[([^]]*)\]/;
like $version, qr/ \Q$wanted\E\n\z/, 'mailadmin --version';
like slurp('NEWS'), qr/^\Q$wanted\E /m, 'NEWS tells of this version';

done_testing;
