#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# The plugin in the smtpd of a Postfix of its own, in and out of the chroot.
# policyd is played by a few lines below, so that what is tested ends at the
# auth socket.
use strict;
use warnings;

use Cwd qw(abs_path);
use Digest::SHA qw(hmac_sha256 sha256);
use File::Temp qw(tempdir);
use FindBin;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX ();
use MIME::Base64 qw(encode_base64 decode_base64);
use Socket qw(SOL_SOCKET SO_PEERCRED);
use Test::More;

use constant PASSWORD => 'pencil';
# The example of RFC 7677, for PASSWORD.
use constant VERIFIER =>
    'SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$'
    . 'WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:'
    . 'wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=';

my $build = $ENV{EMAILING_BUILD} // abs_path("$FindBin::Bin/../..");
my $plugin = "$build/saslplugin/.libs/libemailing.so";
my ($postfix_uid, $postfix_gid) = (getpwnam 'postfix')[2, 3];

BAIL_OUT('must be root') if $> != 0;
BAIL_OUT('postfix is not installed') if !defined $postfix_uid;
BAIL_OUT("$plugin is not built") if !-r $plugin;

my $main_pid = $$;
my $dir = tempdir('/tmp/saslplugin.XXXXXX', CLEANUP => 1);
my ($auth_pid, $running);
my %port = (chroot => free_port(), open => free_port());

sub END_ALL {
    return if $$ != $main_pid;
    my $status = $?;
    stop_auth();
    system("postfix -c $dir/etc stop >/dev/null 2>&1") if $running;
    # master removes its pid file's lock when it is gone.
    for (1 .. 100) {
        last if !$running || !-e "/proc/$running";
        select undef, undef, undef, 0.1;
    }
    $? = $status;
}
END { END_ALL() }
$SIG{INT} = $SIG{TERM} = sub { exit 1 };

sub free_port {
    my $socket = IO::Socket::INET->new(Listen => 1,
        LocalAddr => '127.0.0.1') or BAIL_OUT("no port: $!");
    return $socket->sockport;
}

sub write_file {
    my ($name, $text) = @_;
    open my $file, '>', $name or BAIL_OUT("$name: $!");
    print $file $text;
    close $file or BAIL_OUT("$name: $!");
}

sub read_file {
    my ($name) = @_;
    open my $file, '<', $name or return '';
    local $/;
    return <$file> // '';
}

# -- policyd's part ----------------------------------------------------------

sub answer {
    my (%request) = @_;
    my $user = $request{user};
    return undef if $user eq 'hang';
    return "status=unavailable\n\n" if $user eq 'down';
    if ($request{request} eq 'verifier') {
        return "status=ok\nverifier=" . VERIFIER . "\n\n";
    }
    return "status=denied\n\n" if $user ne 'user'
        || decode_base64($request{password}) ne PASSWORD;
    return "status=ok\n\n";
}

# Each request leaves a line in requests, each connection one in connections:
# the pid and uid of the other end.
sub serve {
    my ($listener) = @_;
    my $select = IO::Select->new($listener);
    my %buffer;
    open my $requests, '>>', "$dir/requests" or die;
    open my $connections, '>>', "$dir/connections" or die;
    $_->autoflush(1) for $requests, $connections;
    while (my @ready = $select->can_read) {
        for my $socket (@ready) {
            if ($socket == $listener) {
                my $new = $listener->accept or next;
                my ($pid, $uid) = unpack 'lll',
                    getsockopt($new, SOL_SOCKET, SO_PEERCRED);
                print $connections "$pid $uid\n";
                $select->add($new);
                $buffer{$new} = '';
                next;
            }
            if (!sysread $socket, $buffer{$socket}, 4096,
                    length $buffer{$socket}) {
                $select->remove($socket);
                close $socket;
                next;
            }
            next if $buffer{$socket} !~ /\n\n\z/;
            my %request = map { split /=/, $_, 2 } split /\n/,
                $buffer{$socket};
            print $requests join(' ', map { "$_=$request{$_}" }
                grep { $_ ne 'password' } sort keys %request), "\n";
            $buffer{$socket} = '';
            my $reply = answer(%request);
            syswrite $socket, $reply if defined $reply;
        }
    }
}

sub start_auth {
    my $path = "$dir/queue/emailing/auth";
    unlink $path;
    my $listener = IO::Socket::UNIX->new(Local => $path, Listen => 16)
        or BAIL_OUT("$path: $!");
    chmod 0660, $path;
    chown 0, $postfix_gid, $path;
    $auth_pid = fork // BAIL_OUT("fork: $!");
    return if $auth_pid;
    $SIG{TERM} = 'DEFAULT';
    serve($listener);
    POSIX::_exit(0);
}

sub stop_auth {
    return if !$auth_pid;
    kill TERM => $auth_pid;
    waitpid $auth_pid, 0;
    unlink "$dir/queue/emailing/auth";
    undef $auth_pid;
}

# -- Postfix -----------------------------------------------------------------

sub configure_postfix {
    mkdir "$dir/$_" for qw(etc etc/sasl queue data sasl2);
    chmod 0755, $dir;
    chown $postfix_uid, $postfix_gid, "$dir/data";
    # sasldb would answer "no such user", or fail, if it were asked: naming
    # one plugin in smtpd.conf keeps it out.
    for (glob('/usr/lib/*/sasl2/lib{plain,login,scram,sasldb}.so')) {
        my ($name) = m{([^/]+)\z};
        symlink $_, "$dir/sasl2/$name" or BAIL_OUT("$name: $!");
    }
    # As installed: a copy, which smtpd can reach whatever the rights above
    # the build folder are.
    system('cp', $plugin, "$dir/sasl2/libemailing.so") == 0
        or BAIL_OUT('copy of the plugin');
    write_file("$dir/etc/sasl/smtpd.conf", <<"END");
pwcheck_method: auxprop
auxprop_plugin: emailing
mech_list: PLAIN LOGIN SCRAM-SHA-256
emailing_timeout: 2
END
    write_file("$dir/etc/main.cf", <<"END");
compatibility_level = 3.6
queue_directory = $dir/queue
data_directory = $dir/data
cyrus_sasl_config_path = $dir/etc/sasl
maillog_file = $dir/maillog
maillog_file_prefixes = $dir
import_environment = MAIL_CONFIG MAIL_LOGTAG TZ LANG=C SASL_PATH=$dir/sasl2
myhostname = mail.example
mydestination =
mynetworks =
local_recipient_maps =
alias_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_peername_lookup = no
smtpd_sasl_auth_enable = yes
smtpd_sasl_security_options = noanonymous
smtpd_sasl_local_domain =
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_error_sleep_time = 0
smtpd_hard_error_limit = 1000
END
    write_file("$dir/etc/master.cf", <<"END");
127.0.0.1:$port{chroot} inet n - y - 1 smtpd
127.0.0.1:$port{open} inet n - n - 1 smtpd
postlog unix-dgram n - n - 1 postlogd
proxymap unix - - n - - proxymap
rewrite unix - - n - - trivial-rewrite
anvil unix - - n - 1 anvil
END
    mkdir "$dir/queue/emailing";
    chown 0, $postfix_gid, "$dir/queue/emailing";
    chmod 02750, "$dir/queue/emailing";
}

sub start_postfix {
    system("postfix -c $dir/etc start >$dir/start.log 2>&1") == 0
        or BAIL_OUT('postfix start: ' . read_file("$dir/start.log"));
    ($running) = read_file("$dir/queue/pid/master.pid") =~ /(\d+)/;
    BAIL_OUT('no master') if !$running;
}

# -- SMTP --------------------------------------------------------------------

sub reply {
    my ($smtp) = @_;
    my $text = '';
    local $SIG{ALRM} = sub { die "no reply from smtpd\n" };
    alarm 20;
    while (defined(my $line = <$smtp>)) {
        $text .= $line;
        last if $line !~ /^\d\d\d-/;
    }
    alarm 0;
    $text =~ s/\r//g;
    return $text;
}

sub command {
    my ($smtp, $line) = @_;
    print $smtp "$line\r\n";
    return reply($smtp);
}

sub session {
    my ($service) = @_;
    my $smtp = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $port{$service}) or BAIL_OUT("smtpd: $!");
    reply($smtp);
    my $ehlo = command($smtp, 'EHLO client.example');
    return ($smtp, $ehlo);
}

sub base64 { return encode_base64($_[0], '') }

sub auth_plain {
    my ($smtp, $user, $password, $authzid) = @_;
    $authzid //= '';
    return command($smtp,
        'AUTH PLAIN ' . base64("$authzid\0$user\0$password"));
}

sub auth_login {
    my ($smtp, $user, $password) = @_;
    command($smtp, 'AUTH LOGIN');
    command($smtp, base64($user));
    return command($smtp, base64($password));
}

sub pbkdf2 {
    my ($password, $salt, $iterations) = @_;
    my $u = hmac_sha256($salt . pack('N', 1), $password);
    my $key = $u;
    for (2 .. $iterations) {
        $u = hmac_sha256($u, $password);
        $key ^= $u;
    }
    return $key;
}

# RFC 5802 by hand, so that it is not libsasl that agrees with libsasl.
sub auth_scram {
    my ($smtp, $user, $password) = @_;
    my $first = "n=$user,r=clientnonce";
    my $reply = command($smtp, 'AUTH SCRAM-SHA-256 ' . base64("n,,$first"));
    return $reply if $reply !~ /^334 (.*)/;
    my $server_first = decode_base64($1);
    my ($nonce, $salt, $iterations) =
        $server_first =~ /^r=(clientnonce[^,]+),s=([^,]+),i=(\d+)/
        or return "bad challenge $server_first";
    my $salted = pbkdf2($password, decode_base64($salt), $iterations);
    my $client_key = hmac_sha256('Client Key', $salted);
    my $final = "c=biws,r=$nonce";
    my $message = "$first,$server_first,$final";
    my $proof = $client_key ^ hmac_sha256($message, sha256($client_key));
    $reply = command($smtp, base64("$final,p=" . base64($proof)));
    return $reply if $reply !~ /^334 (.*)/;
    my $signature = hmac_sha256($message, hmac_sha256('Server Key', $salted));
    return 'bad server signature'
        if decode_base64($1) ne 'v=' . base64($signature);
    return command($smtp, '');
}

my %auth = (PLAIN => \&auth_plain, LOGIN => \&auth_login,
    'SCRAM-SHA-256' => \&auth_scram);
my @mechanisms = sort keys %auth;

sub try_auth {
    my ($service, $mechanism, @credentials) = @_;
    my ($smtp) = session($service);
    my $reply = $auth{$mechanism}->($smtp, @credentials);
    command($smtp, 'QUIT');
    return $reply;
}

# -- the tests ---------------------------------------------------------------

sub lines_of { return scalar(() = read_file("$dir/$_[0]") =~ /\n/g) }

sub test_answers {
    my ($service) = @_;
    my ($smtp, $ehlo) = session($service);
    like($ehlo, qr/^250-AUTH PLAIN LOGIN SCRAM-SHA-256$/m,
        "$service: mechanisms are offered");
    command($smtp, 'QUIT');
    my $denied;
    for (@mechanisms) {
        like(try_auth($service, $_, 'user', PASSWORD), qr/^235 2\.7\.0 /,
            "$service: $_: right password");
        my $wrong = try_auth($service, $_, 'user', 'wrong');
        like($wrong, qr/^535 5\.7\.8 /, "$service: $_: wrong password");
        $denied //= $wrong;
        is($wrong, $denied, "$service: $_: with the text of the others");
        is(try_auth($service, $_, 'nobody', 'wrong'), $denied,
            "$service: $_: unknown user, the same text");
        like(try_auth($service, $_, 'down', PASSWORD), qr/^454 4\.7\.0 /,
            "$service: $_: unavailable");
        like(try_auth($service, $_, 'hang', PASSWORD), qr/^454 4\.7\.0 /,
            "$service: $_: no answer");
    }
}

sub test_odd_input {
    my ($service) = @_;
    my $before = lines_of('requests');
    for my $user ("us er", "us\1er", "us'er", "us%ser", "user\xff",
        'u' x 129) {
        like(try_auth($service, 'LOGIN', $user, PASSWORD), qr/^535 /,
            "$service: odd user name is refused");
    }
    like(try_auth($service, 'LOGIN', "user\0zzz", PASSWORD), qr/^535 /,
        "$service: NUL in the user name is refused");
    like(try_auth($service, 'PLAIN', 'user', ''), qr/^535 /,
        "$service: empty password is refused");
    like(try_auth($service, 'LOGIN', 'user', ''), qr/^535 /,
        "$service: empty password is refused by LOGIN");
    like(try_auth($service, 'LOGIN', 'user', 'x' x 1000), qr/^535 /,
        "$service: overlong password is refused");
    is(lines_of('requests'), $before, "$service: nobody was asked");
    like(try_auth($service, 'PLAIN', 'user', PASSWORD, 'boss'), qr/^535 /,
        "$service: another authorization identity is refused");
}

sub test_outage {
    my ($service) = @_;
    my ($smtp) = session($service);
    stop_auth();
    for (@mechanisms) {
        like($auth{$_}->($smtp, 'user', PASSWORD), qr/^454 4\.7\.0 /,
            "$service: $_: without policyd");
    }
    start_auth();
    like(auth_plain($smtp, 'user', PASSWORD), qr/^235 /,
        "$service: the same session, with policyd again");
    command($smtp, 'QUIT');
}

sub test_host {
    my ($service, $root) = @_;
    unlink "$dir/connections";
    stop_auth();
    start_auth();
    my ($smtp) = session($service);
    like(auth_plain($smtp, 'user', PASSWORD), qr/^235 /, "$service: login");
    my ($pid, $uid) = split ' ', read_file("$dir/connections");
    is($uid, $postfix_uid, "$service: smtpd asks as Postfix's user");
    is(readlink "/proc/$pid/root", $root, "$service: from its root");
    command($smtp, 'QUIT');
    my $before = lines_of('requests');
    try_auth($service, $_, 'user', PASSWORD) for @mechanisms;
    is(lines_of('requests'), $before + 3, "$service: a request each");
    is(lines_of('connections'), 1, "$service: one connection for all");
    like(read_file("$dir/requests"),
        qr/^client=127\.0\.0\.1 request=auth service=smtp user=user$/m,
        "$service: what was asked");
}

configure_postfix();
start_auth();
start_postfix();
for ([chroot => "$dir/queue"], [open => '/']) {
    my ($service, $root) = @$_;
    test_answers($service);
    test_odd_input($service);
    test_outage($service);
    test_host($service, $root);
}
my $maillog = read_file("$dir/maillog");
like($maillog, qr/warning: SASL authentication problem: emailing: /,
    'trouble is in the log');
unlike($maillog, qr/${\PASSWORD}|${\base64(PASSWORD)}/,
    'no password is in the log');
unlike($maillog, qr/fatal|panic|killed|throttling/, 'smtpd is well');
done_testing();
