#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# The Debian packages: built, without a complaint of lintian or piuparts,
# installed into a Debian 12 of its own with a stock Postfix and PostgreSQL,
# used for a whole session, purged without a trace; the tree, installed as
# README has it, likewise. The same by autopkgtest in a container that systemd
# has booted, restarts under load included.
#
# Takes minutes and fetches a system, so it runs when EMAILING_PACKAGES is set.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use File::Temp ();
use Test::More;

use Emailing qw(run top within);

plan skip_all => 'set EMAILING_PACKAGES=1 to build and try the packages'
    if !$ENV{EMAILING_PACKAGES};

my $tmp = File::Temp->newdir('emailing.XXXXXX', TMPDIR => 1);
chmod 0755, "$tmp";
my ($root, $debs) = ("$tmp/root", "$tmp/debs");

sub succeeds {
    my ($name, @argv) = @_;
    my ($status, $out, $err) = run(\@argv);
    is $status, 0, $name or diag $out, $err;
    BAIL_OUT($name) if $status != 0;
    return $out;
}

# inside NETWORK, SCRIPT: in the system, with processes and mounts of its own;
# what it starts ends with it. Without the network it has a loopback of its own.
sub inside {
    my ($name, $network, $script) = @_;
    return succeeds($name, 'unshare', '--mount', '--pid', '--fork',
        '--kill-child', $network ? () : '--net', 'sh', '-c', <<'END', 'sh', $root, $script);
set -e
ip link set lo up
mount --rbind /dev "$1/dev"
mount -t proc proc "$1/proc"
exec chroot "$1" bash -euc "export DEBIAN_FRONTEND=noninteractive; $2"
END
}

succeeds('what builds packages is there', top() . '/conf/packages',
         qw(build packages));
succeeds('the packages are built', top() . '/conf/debian/build', $debs);
my @debs = grep { !/dbgsym/ } glob "$debs/*.deb";
is scalar @debs, 3, 'three of them';
my ($status, $out) = run(['lintian', '--tag-display-limit', '0',
                          glob "$debs/*.changes"]);
is_deeply [grep { /^[EW]:/ } split /\n/, $out], [],
    'lintian has neither errors nor warnings';

# -- a system of its own, from where this one comes from ----------------------

my @sources = grep { -f } '/etc/apt/sources.list',
    glob '/etc/apt/sources.list.d/*.{list,sources}';
succeeds('a Debian 12 with Postfix and PostgreSQL', 'mmdebstrap', '--quiet',
    '--variant=minbase', '--include=systemd,systemd-sysv,dbus,postfix,'
    . 'postgresql,openssl,perl,libsasl2-modules,sasl2-bin,ssl-cert,adduser,'
    . 'procps,iproute2,swaks,libnet-ssleay-perl,autopkgtest,fail2ban',
    # It has no log to read, and would not start.
    '--customize-hook=systemctl --root="$1" mask fail2ban.service',
    'bookworm', "$tmp/base.tar", @sources);
mkdir $root;
succeeds('unpacked', 'tar', '-C', $root, '--exclude=./dev/*', '-xpf',
         "$tmp/base.tar");
mkdir "$root/debs";
mkdir "$root/debs/tree";
succeeds('copied', 'cp', @debs, top() . '/conf/debian/tests/session',
         "$root/debs");
succeeds('with the source of their tests', 'cp', '-r', top() . '/conf/debian',
         "$root/debs/tree/debian");
# By this autopkgtest tells that it is built.
open my $built, '>', "$root/debs/tree/debian/files" or die;
close $built;
run(['cp', '-L', '/etc/resolv.conf', "$root/etc/resolv.conf"]);
my $list = q{find / -xdev -path /proc -prune -o -path /sys -prune -o }
    . q{-path /dev -prune -o -path /debs -prune -o -name '*emailing*' -print};
# What it downloads for our packages stays in apt's folder.
inside('installed', 1, "printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    apt-get -qq update
    apt-get -qq -y --no-install-recommends install /debs/*.deb
    mkdir /debs/others
    mv /var/cache/apt/archives/*.deb /debs/others/");
$out = inside('a session without systemd', 0, 'bash /debs/session');
like $out, qr/^ok - $_/m, $_ for 'doctor is content', 'granted senders',
    'any other sender: refused', '--undo: main.cf and master.cf';
# The same packages under a higher version.
inside('an upgrade', 0, 'echo "max_stale = 7" \\
        >>/etc/secure-emailing/emailing.conf
    mkdir /debs/newer
    for deb in /debs/*.deb; do
        dpkg-deb -R $deb /tmp/deb
        sed -i "s/^Version: .*/&+1/" /tmp/deb/DEBIAN/control
        dpkg-deb -b /tmp/deb /debs/newer
        rm -r /tmp/deb
    done
    dpkg -i /debs/newer/*.deb
    grep -q "max_stale = 7" /etc/secure-emailing/emailing.conf
    [ -s /etc/secure-emailing/policyd.password ]
    [ "$(stat -c "%a %U:%G" /etc/secure-emailing/emailing.conf)" = \\
        "640 root:emailing" ]');
pass 'keeps what was configured';
$out = inside('purged', 0, "dpkg --purge emailing-policyd mailadmin \\
    libsasl2-modules-emailing >/dev/null 2>&1; $list; getent passwd emailing || :
    ls -d /etc/secure-emailing 2>/dev/null || :");
is $out, '', 'without a trace: no file, user or socket';

# -- from source, as README has it --------------------------------------------

open my $readme, '<', top() . '/README' or die;
my ($steps) = (do { local $/; <$readme> })
    =~ /^1\. Build and install.*?\n\n((?: {7}.*\n)+)/m or die;
like $steps, qr/make install\n/, 'README has the commands';
mkdir "$root/src";
succeeds('the tree, without what is built in it', 'sh', '-euc',
    'tar -C "$1" --exclude=./.git -cf - . | tar -C "$2" -xf -
    cd "$2"
    [ ! -f Makefile ] || make -s distclean', 'sh', top(), "$root/src");
inside('built and installed', 1, "cd /src\n$steps");
$out = inside('a session of what was built', 0, 'bash /debs/session');
like $out, qr/^ok - $_/m, $_ for 'doctor is content',
    '--undo: main.cf and master.cf';
# The lock is that of conf/packages.
$out = inside('uninstalled', 0, "cd /src; make -s uninstall >/dev/null 2>&1
    rm -rf /src /run/lock/secure-emailing.packages; $list");
is_deeply [grep { !m{^/(?:etc/secure-|var/spool/postfix/)emailing\b} }
           split /\n/, $out], [],
    'nothing is left but what was configured, and the folder of the sockets';

# Installed and purged, each alone and all together, in a copy of that system.
succeeds('a copy', 'sh', '-c', "gzip -1c $tmp/base.tar >$tmp/base.tar.gz");
my ($exit, @log) = run(['piuparts', '--basetgz', "$tmp/base.tar.gz",
    '--no-eatmydata', '--keep-sources-list', '--no-upgrade-test',
    # What apt-extracttemplates leaves, whatever is installed.
    '--ignore-regex', '/var/cache/debconf/tmp\\.ci/?',
    '--distribution', 'bookworm', '--tmpdir', "$tmp", @debs]);
is $exit, 0, 'piuparts' or diag map { /^\S+ ERROR: .*/msg } @log;
unlink "$tmp/base.tar.gz";

# -- booted -------------------------------------------------------------------

# A storage of its own; the limits are those of this system.
mkdir "$tmp/$_" for qw(pod pod/tmp pod/xdg);
my ($files) = (run(['sh', '-c', 'ulimit -Hn']))[1] =~ /(\d+)/;
$files ||= 1024;
open my $conf, '>', "$tmp/pod/containers.conf" or die;
print $conf <<END;
[containers]
default_ulimits = ["nofile=$files:$files", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
tmp_dir = "$tmp/pod/libpod"
END
close $conf;
open my $storage, '>', "$tmp/pod/storage.conf" or die;
print $storage qq([storage]\ndriver = "overlay"\ngraphroot = "$tmp/pod/g"\n)
    . qq(runroot = "$tmp/pod/r"\n);
close $storage;
$ENV{CONTAINERS_CONF} = "$tmp/pod/containers.conf";
$ENV{CONTAINERS_STORAGE_CONF} = "$tmp/pod/storage.conf";
$ENV{TMPDIR} = "$tmp/pod/tmp";
$ENV{XDG_RUNTIME_DIR} = "$tmp/pod/xdg";

succeeds('an image', 'podman', 'import', "$tmp/base.tar", 'localhost/base:1');
my $box = "emailing-$$";
succeeds('a container', 'podman', 'run', '-d', '--name', $box, '--network',
    'none', '--systemd=always', '--cap-add', 'SYS_ADMIN', '--security-opt',
    'seccomp=unconfined', '-v', "$root/debs:/debs:ro", 'localhost/base:1',
    '/sbin/init');
END {
    my $exit = $?;
    if ($box) {
        run(['podman', 'rm', '-f', '-t', '1', $box]);
        run(['podman', 'rmi', '-f', 'localhost/base:1']);
        run(['umount', "$tmp/pod/g/overlay"]);
    }
    $? = $exit;
}
ok within(60, sub { (run(['podman', 'exec', $box, 'systemctl',
    'is-system-running']))[1] =~ /^running/ }), 'booted';
succeeds('installed there', 'podman', 'exec', $box, 'sh', '-c',
         'rm -f /usr/sbin/policy-rc.d
          dpkg -i /debs/*.deb /debs/others/*.deb');
is +(run(['podman', 'exec', $box, 'systemctl', 'is-active',
    'emailing-policyd.service', 'emailing-policyd.socket',
    'emailing-policyd-auth.socket']))[1], "active\nactive\nactive\n",
    'the units are active';
$out = succeeds('autopkgtest', 'podman', 'exec', $box, 'sh', '-c',
                'autopkgtest /debs/*.deb /debs/tree -- null 2>&1');
like $out, qr/^$_/m, $_ for 'ok - doctor is content',
    'ok - restarts under load: no message deferred',
    'ok - --undo: main.cf and master.cf', 'session +PASS';

# An upgrade restarts policyd; the sockets are those that were there.
my $inodes = 'stat -c %i /var/spool/postfix/emailing/*';
my @before = run(['podman', 'exec', $box, 'sh', '-c', $inodes]);
succeeds('an upgrade', 'podman', 'exec', $box, 'sh', '-c',
         'dpkg -i /debs/newer/*.deb && systemctl is-active emailing-policyd');
is_deeply [run(['podman', 'exec', $box, 'sh', '-c', $inodes])], \@before,
    '... leaves the sockets open';

# What policyd wrote meanwhile, by the filter of emailing(7).
open my $page, '<', top() . '/conf/man/emailing.7' or die;
my ($filter) = (do { local $/; <$page> })
    =~ /^\.Sh FAIL2BAN.*?^\.Bd -literal\n(.*?)^\.Ed/ms or die;
$filter =~ s/\\e/\\/g;
open my $file, '>', "$root/debs/filter" or die;
print $file $filter;
close $file;
$out = succeeds('fail2ban takes the filter', 'podman', 'exec', $box, 'sh',
    '-euc',
    'cp /debs/filter /etc/fail2ban/filter.d/emailing.conf
     journalctl -o short -u emailing-policyd >/tmp/log
     grep -c "auth: denied: " /tmp/log
     fail2ban-regex /tmp/log emailing');
my $denied = $out =~ /\A([1-9]\d*)\n/ ? $1 : 'none';
like $out, qr/, $denied matched,/, '... and finds each line';

done_testing;
