#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# emailing-setup postfix: what it sets, that it takes it back, and what it warns
# of, on configurations of their own.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use File::Path qw(make_path remove_tree);
use File::Temp ();
use Test::More;

use Emailing qw(build run top);

my $tmp = File::Temp->newdir('emailing.XXXXXX', TMPDIR => 1);
chmod 0755, "$tmp";
my $etc = "$tmp/etc";
my $setup = build() . '/conf/emailing-setup';
delete @ENV{qw(MAIL_CONFIG MAILADMIN_CONF)};

sub slurp {
    my ($path) = @_;
    open my $file, '<', $path or return;
    local $/;
    return scalar <$file>;
}

sub spew {
    my ($path, $text) = @_;
    open my $file, '>', $path or die "$path: $!";
    print $file $text;
    close $file or die;
    return;
}

# A Postfix as Debian installs it, with these lines more.
sub postfix {
    my (%more) = @_;
    remove_tree($etc);
    make_path("$etc/sasl", "$tmp/queue", "$tmp/data");
    chown scalar getpwnam('postfix'), -1, "$tmp/data";
    spew("$etc/master.cf",
         slurp('/usr/share/postfix/master.cf.dist') . ($more{master} // ''));
    spew("$etc/main.cf", <<END . ($more{main} // ''));
# A comment to keep
compatibility_level = 3.6
queue_directory = $tmp/queue
data_directory = $tmp/data
cyrus_sasl_config_path = $etc/sasl
smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated
    defer_unauth_destination
mynetworks = 127.0.0.0/8
smtpd_tls_cert_file = $etc/cert.pem
END
    spew("$etc/sasl/smtpd.conf", $more{sasl}) if $more{sasl};
    spew("$tmp/emailing.conf", $more{conf} // qq(queue_directory = "$tmp/queue"\n));
    $ENV{EMAILING_CONF} = "$tmp/emailing.conf";
    return state();
}

# Every file, its mode and its content.
sub state {
    my %state;
    for my $path (glob "$etc/{,sasl/,emailing-setup.saved/}*") {
        next if -d $path;
        $state{$path} = sprintf '%o %s', (stat $path)[2], slurp($path);
    }
    return \%state;
}

sub setup { return run([$setup, '-c', $etc, 'postfix', @_]) }

sub service {
    my ($name) = @_;
    my (undef, $out) = run(['postconf', '-c', $etc, '-P']);
    return { $out =~ m{^\Q$name\E/inet/(\w+) = ?(.*)$}mg };
}

# What the fragment for people says, the same for emailing-setup.
my %fragment = slurp(top() . '/conf/master.cf') =~ /^    -o (\w+)=(.*)$/mg;
cmp_ok keys %fragment, '>', 20, 'the fragment is read';

# -- apply, again, check, undo ------------------------------------------------

my $before = postfix();
my ($status, $out, $err) = setup('--check');
is $status, 1, '--check of a stock Postfix: something to do';
like $out, qr/would set main\.cf: emailing_check = /, '... and it says what';
is_deeply state(), $before, '... and changes nothing';
is_deeply [(setup('--undo'))[0, 1]], [0, "nothing to take back\n"],
    '--undo of nothing';

($status, $out, $err) = setup('--apply');
is $status, 0, '--apply' or diag $out, $err;
is $err, '', '... without a complaint';
is_deeply service('submission'), \%fragment, 'the service has all settings';
like slurp("$etc/main.cf"), qr/\A# A comment to keep\n/, 'comments stay';
is slurp("$etc/sasl/smtpd.conf"), slurp(top() . '/conf/smtpd.conf'),
    'smtpd.conf';
my $after = state();
($status, $out) = setup('--apply');
like $out, qr/^nothing to change$/m, 'a second --apply finds nothing to do';
is_deeply state(), $after, '... and changes nothing';
is +(setup('--check'))[0], 0, '--check is content';
is +(run(['postfix', '-c', $etc, 'check']))[0], 0, 'so is Postfix';
is +(setup('--undo'))[0], 0, '--undo';
is_deeply state(), $before, '... brings everything back, byte by byte';

# -- a service that is there --------------------------------------------------

my $own = <<'END';
submission inet n       -       n       -       -       smtpd
  -o syslog_name=own
  -o smtpd_milters=inet:127.0.0.1:9999
# the end
END
$before = postfix(master => $own, sasl => "pwcheck_method: saslauthd\n");
setup('--apply');
is_deeply service('submission'),
    { %fragment, smtpd_milters => 'inet:127.0.0.1:9999' },
    'what else the service has stays';
setup('--undo');
is_deeply state(), $before, '... and all comes back, smtpd.conf too';

setup('--apply');
run(['postconf', '-c', $etc, '-e', 'biff=no', 'emailing_connection_limit=7']);
run(['postconf', '-c', $etc, '-P', 'submission/inet/smtpd_milters=inet:[::1]:1']);
like +(setup('--apply'))[1], qr/^nothing to change$/m,
    'a limit of their own is no fault';
($status, $out) = setup('--undo');
is $status, 0, '--undo after changes by others';
is_deeply service('submission'),
    { syslog_name => 'own', smtpd_milters => 'inet:[::1]:1' },
    '... takes out our settings only';
is slurp("$etc/main.cf"), $before->{"$etc/main.cf"} =~ s/^\d+ //r
    . "biff = no\n", '... in main.cf too';
is slurp("$etc/sasl/smtpd.conf"), "pwcheck_method: saslauthd\n",
    '... and smtpd.conf was not changed by others';

postfix();
setup('--apply', '--service', '127.0.0.2:smtps');
is service('127.0.0.2:smtps')->{smtpd_tls_wrappermode}, 'yes',
    'port 465 by another name: TLS from the first byte';
postfix();
setup('--apply', '--service', 'submissions');
is service('submissions')->{smtpd_tls_wrappermode}, 'yes', '... and by this';
setup('--apply', '--service', '127.0.0.1:2465');
is service('127.0.0.1:2465')->{smtpd_tls_wrappermode}, undef,
    '... and no other';
setup('--apply', '--service=127.0.0.1:9000');
is service('127.0.0.1:9000')->{smtpd_sasl_auth_enable}, 'yes', 'any port';
setup('--undo');
is_deeply [map { service($_) } 'submissions', '127.0.0.1:9000'], [{}, {}],
    '--undo takes all of them back';

# -- what others wrote --------------------------------------------------------

$before = postfix(main => <<'END');
emailing_connection_limit = 5
# a list of somebody's
emailing_login =
    # by a comment
    permit_sasl_authenticated,
# and another one
    reject
END
($status, $out) = setup('--apply');
unlike $out, qr/emailing_(?:login|connection_limit) =/,
    'what stands there over several lines, or is theirs, is not set again';
run(['postconf', '-c', $etc, '-e', 'biff=no']);
setup('--undo');
is slurp("$etc/main.cf"),
    $before->{"$etc/main.cf"} =~ s/^\d+ //r . "biff = no\n",
    '--undo leaves both';

postfix(main => "emailing_login = permit_mynetworks, reject\n");
setup('--apply');
run(['postconf', '-c', $etc, '-e', 'biff=no']);
setup('--undo');
like slurp("$etc/main.cf"), qr/^emailing_login = permit_mynetworks, reject$/m,
    '--undo brings back what stood there';

for (['smtp inet n - y - 1 postscreen', 'smtp', 1, 'postscreen\(8\)'],
     ['587 inet n - y - - smtpd', 'submission', 1, '--service 587'],
     ['127.0.0.1:587 inet n - y - - smtpd', '587', 1,
      '--service 127\.0\.0\.1:587'],
     ['', 'nosuchthing', 64, 'no such service'],
     ['', 'smtp inet', 64, 'no such service']) {
    my ($line, $service, $wanted, $pattern) = @$_;
    postfix();
    run(['postconf', '-c', $etc, '-M', $line =~ s/^(\S+) /$1\/inet=$1 /r])
        if $line;
    $before = state();
    ($status, $out, $err) = setup('--apply', '--service', $service);
    is $status, $wanted, "--service $service, $line: not done";
    like $err, qr/$pattern/, '... and why';
    is_deeply state(), $before, '... and nothing is changed';
}
postfix(master => "127.0.0.1:587 inet n - y - - smtpd\n");
is +(setup('--apply', '--service', '127.0.0.2:587'))[0], 0,
    'the same port of another address';

# -- warnings -----------------------------------------------------------------

sub warned {
    my ($pattern, $name, @more) = @_;
    postfix(@more);
    my ($exit, $text) = setup('--check', '--service', '2587');
    is $exit, 1, "$name: exit status";
    return like $text, qr/^warning: .*$pattern/m, $name;
}

my $login = 'submission inet n - y - - smtpd -o smtpd_sasl_auth_enable=yes '
    . '-o smtpd_tls_security_level=encrypt';
my $check = 'emailing_check = check_policy_service { unix:emailing/policy }';
warned('a login may send as anyone', 'no check at all',
       master => "$login\n");
warned('permit_mynetworks in smtpd_sender_restrictions comes before',
       'permit_mynetworks before the check', main => "$check\n",
       master => "$login -o { smtpd_sender_restrictions = permit_mynetworks, "
           . "\$emailing_check }\n");
warned('permit_sasl_authenticated in smtpd_recipient_restrictions comes',
       'permit_sasl_authenticated before the check', main => "$check\n"
           . "smtpd_recipient_restrictions = permit_sasl_authenticated "
           . "\$emailing_check\n", master => "$login\n");
warned('auxprop_plugin is not pinned', 'auxprop_plugin',
       master => "$login\n", sasl => "pwcheck_method: auxprop\n");
warned('smtpd\.conf is not there', 'no smtpd.conf', master => "$login\n");
warned('test1\@realm\.example', 'smtpd_sasl_local_domain',
       master => "$login -o smtpd_sasl_local_domain=realm.example\n");
warned('AUTH is offered without TLS', 'no TLS',
       master => "submission inet n - y - - smtpd "
           . "-o smtpd_sasl_auth_enable=yes\n");
warned('smtpd is chrooted to \S+ and policyd.s socket \S+ is out of',
       'the policy socket outside of the chroot', conf => '');
warned('smtpd is chrooted and emailing_socket \S+ is out of',
       'the auth socket outside of the chroot', master => "$login\n",
       sasl => "pwcheck_method: auxprop\nauxprop_plugin: emailing\n"
           . "emailing_socket: /run/emailing/auth\n");
warned('the plugin asks at \S+queue/other/auth', 'another auth socket',
       master => "$login\n",
       sasl => "pwcheck_method: auxprop\nauxprop_plugin: emailing\n"
           . "emailing_socket: other/auth\n");

warned('permit_inet_interfaces in smtpd_sender_restrictions comes before',
       'any other permit before the check', main => "$check\n"
           . "smtpd_sender_restrictions = permit_inet_interfaces\n"
           . "  \$emailing_check\n", master => "$login\n");
warned('submission/inet: its logins are those of \S+smtpd\.conf too',
       'another service that reads this smtpd.conf', master => "$login\n",
       sasl => "pwcheck_method: saslauthd\n");

postfix(main => "$check\n", master => "$login -o { smtpd_sender_restrictions "
    . "= reject_unlisted_sender, \$emailing_check, permit_mynetworks }\n");
unlike +(setup('--check'))[1], qr/goes past it|send as anyone: smtpd_sender/,
    'a permit behind the check is no fault';

# -- usage --------------------------------------------------------------------

is +(run([$setup, 'dance']))[0], 64, 'an unknown command';
is +(run([$setup, 'postfix', '--dance']))[0], 64, 'an unknown option';
is +(run([$setup, '-c', "$tmp/none", 'postfix']))[0], 1, 'no such folder';
like +(run([$setup, '--version']))[1], qr/\Aemailing-setup .* \d+\.\d+\.\d+\n/,
    '--version';
is_deeply [run(['shellcheck', $setup])], [0, '', ''], 'shellcheck';

done_testing;
