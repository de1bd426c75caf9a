#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# make install: these files, in these modes, and no other; what is configured
# already stays; make uninstall leaves nothing else.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use File::Find ();
use File::Temp ();
use Test::More;

use Emailing qw(build run top);

my $tmp = File::Temp->newdir('emailing.XXXXXX', TMPDIR => 1);
my $root = "$tmp/root";

sub make {
    my (@words) = @_;
    local @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
    delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
    my ($status, $out, $err) = run(['make', '-s', '-C', build(),
                                    "DESTDIR=$root", @words]);
    is $status, 0, "make @words" or diag $out, $err;
    return $out;
}

# path => mode, of all that is no folder
sub installed {
    my %found;
    File::Find::find({ no_chdir => 1, wanted => sub {
        my $mode = (lstat)[2];
        $found{ s/\A\Q$root\E//r } = sprintf '%o', $mode & 07777 if !-d _;
    } }, $root) if -d $root;
    return \%found;
}

sub spew {
    my ($path, $text) = @_;
    open my $file, '>', $path or die "$path: $!";
    print $file $text;
    close $file or die;
    return;
}

sub slurp {
    my ($path) = @_;
    open my $file, '<', $path or die "$path: $!";
    local $/;
    return scalar <$file>;
}

# The places as make has them.
my %place;
{
    my $text = slurp(build() . '/Makefile');
    for my $name (qw(bindir sbindir confdir sasl_plugindir sqldir mandir docdir
                     exampledir sysusersdir tmpfilesdir systemdsystemunitdir
                     completionsdir)) {
        my $value = "\$($name)";
        for (1 .. 9) {
            $value =~ s/\$[({](\w+)[)}]/$text =~ m{^$1 = ?(.*)$}m ? $1 : ''/ge;
        }
        $place{$name} = $value;
    }
}
my %wanted;
sub wanted {
    my ($dir, $mode, @names) = @_;
    $wanted{"$place{$dir}/$_"} = $mode for @names;
    return;
}
wanted('bindir', 755, 'mailadmin');
wanted('sbindir', 755, qw(emailing-policyd emailing-setup));
wanted('confdir', 640, qw(emailing.conf mailadmin.conf));
wanted('sasl_plugindir', 755, 'libemailing.so');
wanted('sqldir', 644, 'README', map { s{.*/}{}r } glob top() . '/sql/*.sql');
wanted('mandir', 644, map { m{/([^/]+\.(\d))\z} ? "man$2/$1" : () }
       glob top() . '/conf/man/*.[1-8]');
wanted('docdir', 644, qw(LICENSE NEWS README));
wanted('exampledir', 644, qw(emailing.conf mailadmin.conf main.cf master.cf
                             smtpd.conf));
wanted('sysusersdir', 644, 'emailing.conf');
wanted('tmpfilesdir', 644, 'emailing.conf');
wanted('systemdsystemunitdir', 644, qw(emailing-policyd-auth.socket
       emailing-policyd.socket emailing-policyd.service));

wanted('completionsdir', 644, 'mailadmin') if $place{completionsdir};

make('install');
is_deeply installed(), \%wanted, 'these files, in these modes';
my $unit = slurp("$root$place{systemdsystemunitdir}/emailing-policyd.service");
like $unit, qr{^ExecStart=\Q$place{sbindir}\E/emailing-policyd -c \Q$place{confdir}\E/emailing\.conf$}m,
    'the unit knows the places';

# -- a second time, over a configuration --------------------------------------

my $conf = "$root$place{confdir}/emailing.conf";
spew($conf, "max_stale = 0\n");
chmod 0600, $conf;
make('install');
is slurp($conf), "max_stale = 0\n", 'a configuration that is there stays';
is sprintf('%o', (stat $conf)[2] & 07777), '600', '... in its mode';

make('uninstall');
is_deeply installed(), { "$place{confdir}/emailing.conf" => 600 },
    'uninstall leaves what was changed, and no other file';
unlink $conf;
make('install');
make('uninstall');
is_deeply installed(), {}, 'nor a configuration that was not changed';
my @folders = grep { -d } map { "$root$place{$_}" }
    qw(confdir sqldir docdir exampledir);
is_deeply \@folders, [], 'nor a folder of our own';

done_testing;
