#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# The policy daemon without our plugin: Dovecot checks the passwords, policyd
# the senders.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use File::Temp ();
use POSIX ();
use Test::More;

use Emailing qw(run within);

my $s = Emailing->up;
my $etc = $s->home . '/postfix/etc';
my $socket = $s->home . '/postfix/queue/private/auth';
my $tmp = File::Temp->newdir('emailing.XXXXXX', TMPDIR => 1);
chmod 0755, "$tmp";
$s->make_session('of-the-database');

sub spew {
    my ($path, $text) = @_;
    open my $file, '>', $path or die "$path: $!";
    print $file $text;
    close $file or die;
    return;
}

spew("$tmp/users", "test1:{PLAIN}of-dovecot\nstranger:{PLAIN}of-dovecot\n");
mkdir "$tmp/state";
my $dovecot = '/usr/sbin/dovecot';
my ($release) = (run([$dovecot, '--version']))[1] =~ /\A(\d+\.\d+)/;
my $users = $release < 2.4 ? <<"OLD" : <<"NEW";
passdb {
    driver = passwd-file
    args = $tmp/users
}
userdb {
    driver = static
    args = uid=65534 gid=65534 home=/nonexistent
}
OLD
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
passdb passwd-file {
    passwd_file_path = $tmp/users
}
userdb static {
    fields {
        uid = 65534
        gid = 65534
        home = /nonexistent
    }
}
NEW
# The version, where there is one, is to be the first setting.
spew("$tmp/dovecot.conf", <<"END");
${users}protocols =
base_dir = $tmp/run
state_dir = $tmp/state
log_path = $tmp/log
ssl = no
auth_mechanisms = plain login
auth_failure_delay = 0
service auth {
    unix_listener $socket {
        mode = 0600
        user = postfix
    }
}
END
my $pid = fork // die;
if ($pid == 0) {
    open STDOUT, '>>', "$tmp/out" or die;
    open STDERR, '>&', \*STDOUT or die;
    exec $dovecot, '-F', '-c', "$tmp/dovecot.conf"
        or POSIX::_exit(127);
}
END {
    my $status = $?;
    if ($pid) {
        kill TERM => $pid;
        waitpid $pid, 0;
    }
    $? = $status;
}
ok within(20, sub { -S $socket }), 'Dovecot is up'
    or diag run(['cat', "$tmp/log", "$tmp/out"]);

my $address = $s->env('EMAILING_SMTP');
system('postconf', '-c', $etc, '-P', "$address/inet/smtpd_sasl_type=dovecot",
       "$address/inet/smtpd_sasl_path=private/auth") == 0 or die;
$s->service(stop => 'postfix');
$s->service(start => 'postfix');

like $s->smtp->starttls->auth_plain('test1', 'of-the-database'), qr/^535 /,
    'the password of the database is of no account';
my $smtp = $s->logged_in('test1', 'of-dovecot');
like $smtp->send('user@test1.com'), qr/^250 /, 'a granted sender';
like $smtp->send('anything@test1.com'), qr/^250 /, 'a granted domain';
like $smtp->send('ceo@demo.com'), qr/^553 .*not granted to user test1/,
    'another sender';
like $s->logged_in('stranger', 'of-dovecot')->send('user@test1.com'),
    qr/^553 .*user stranger may not send/, 'a user that only Dovecot knows';
is_deeply [sort map { $_->{from} } $s->sink_messages(2)],
    ['anything@test1.com', 'user@test1.com'], 'what was taken arrives';

done_testing;
