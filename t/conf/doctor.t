#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# emailing-setup doctor on a whole relay: content when all is well, and each of
# many planted mistakes is found and named, alone.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;

use Emailing qw(build run top within);

my $s = Emailing->up;
my $etc = $s->home . '/postfix/etc';
my $queue = $s->home . '/postfix/queue';
my $conf = $s->env('EMAILING_CONF');
my ($address) = $s->env('EMAILING_SMTP');
chmod 0600, $s->env('MAILADMIN_CONF');

sub slurp {
    my ($path) = @_;
    open my $file, '<', $path or die "$path: $!";
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

sub doctor {
    local %ENV = (%ENV, %{ $s->{env} });
    $ENV{PATH} = build() . '/mailadmin:' . build() . "/policyd:$ENV{PATH}";
    return run([build() . '/conf/emailing-setup', '-c', $etc, 'doctor',
                '--service', $address]);
}

sub healthy {
    my ($name) = @_;
    my ($status, $out, $err) = doctor();
    is $status, 0, $name or diag $out, $err;
    return $out;
}

# planted NAME, PATTERN, SUB, UNDO: the doctor finds it
sub planted {
    my ($name, $pattern, $plant, $undo) = @_;
    $plant->();
    my ($status, $out, $err) = doctor();
    $undo->();
    is $status, 1, "$name: exit status" or diag $err;
    like $out, qr/^FAIL: .*$pattern.*\n +\S/m, "$name: found, with a remedy";
    return;
}

# A planted line in a file, taken out again; reload for those who read it.
sub edited {
    my ($name, $pattern, $path, $change, $reload) = @_;
    my $before = slurp($path);
    my $mode = (stat $path)[2] & 07777;
    planted($name, $pattern, sub {
        local $_ = $before;
        $change->();
        isnt $_, $before, "$name: planted";
        spew($path, $_);
        $reload->() if $reload;
    }, sub {
        spew($path, $before);
        $reload->() if $reload;
    });
    return;
}

sub hangup {
    my $log = $s->log('policyd') =~ s/read again//gr;
    my $count = () = $s->log('policyd') =~ /configuration read again/g;
    kill HUP => $s->pid('policyd');
    within(10, sub {
        my $now = () = $s->log('policyd') =~ /configuration read again/g;
        return $now > $count;
    }) or die 'no reload';
    return;
}

sub postfix_reload {
    system('postfix', '-c', $etc, 'reload') == 0 or die 'postfix reload';
    return;
}

sub service_option {
    my ($name, $pattern, @options) = @_;
    my $before = slurp("$etc/master.cf");
    planted($name, $pattern, sub {
        system('postconf', '-c', $etc, '-P', map { "$address/inet/$_" }
               @options) == 0 or die;
        postfix_reload();
    }, sub {
        spew("$etc/master.cf", $before);
        postfix_reload();
    });
    return;
}

my $out = healthy('all is well');
like $out, qr/^ok: $_/m, "ok: $_" for 'a login through Postfix',
    'a granted sender is taken', 'any other sender is refused',
    'libsasl finds the plugin', 'the database is there', 'relayhost',
    'this clock and the database';
unlike $out, qr/^FAIL/m, '... and no FAIL';
is $s->sql("SELECT count(*) FROM emailing_users WHERE name LIKE 'doctor-%'"),
    0, 'the throw-away user is gone';
is $s->sql("SELECT count(*) FROM emailing_addresses"), 0,
    '... and its address';

# -- services that are away ---------------------------------------------------

for (['policyd', 'emailing/policy: no answer'],
     ['postfix', 'Postfix does not run'],
     ['postgres', 'the answer is: action=451'],
     ['sink', 'relayhost \S+ does not answer']) {
    my ($name, $pattern) = @$_;
    planted("$name stopped", $pattern, sub { $s->service(stop => $name) },
            sub { $s->service(start => $name) });
}
within(20, sub { ($s->policy({ protocol_state => 'RCPT', sender => 'a@b.c',
    sasl_username => 'nobody' }) // '') =~ /^553/ });

# -- files and rights ---------------------------------------------------------

edited('an unknown option', 'emailing\.conf:\d+: ', $conf,
       sub { $_ .= "no_such_option = 1\n" });
planted('emailing.conf readable by all', 'may be read by others',
        sub { chmod 0644, $conf }, sub { chmod 0640, $conf });
planted('emailing.conf closed to policyd', 'cannot be read by emailing',
        sub { chmod 0600, $conf }, sub { chmod 0640, $conf });
planted('mailadmin.conf open to policyd', 'policyd could change grants',
        sub { chmod 0644, $s->env('MAILADMIN_CONF') },
        sub { chmod 0600, $s->env('MAILADMIN_CONF') });
planted('the folder of the sockets closed', 'emailing/policy: no answer',
        sub { chmod 0700, "$queue/emailing" },
        sub { chmod 02750, "$queue/emailing" });
edited('auth_clients without postfix', 'emailing/auth: no answer', $conf,
       sub { $_ .= qq(auth_clients = "root"\n) }, \&hangup);

# -- Postfix and libsasl ------------------------------------------------------

edited('auxprop_plugin not pinned', 'auxprop_plugin is not pinned',
       "$etc/sasl/smtpd.conf", sub { s/^auxprop_plugin.*\n//m },
       \&postfix_reload);
edited('another auth socket', 'the plugin asks at', "$etc/sasl/smtpd.conf",
       sub { s/emailing\/auth/elsewhere\/auth/ }, \&postfix_reload);
edited('no plugin', 'libsasl does not find the plugin', "$etc/main.cf",
       sub { s/(SASL_PATH=[^:\n]*):\S+/$1/ }, \&postfix_reload);
service_option('a realm', 'test1\@realm\.example',
               'smtpd_sasl_local_domain=realm.example');
service_option('AUTH without TLS', 'AUTH is offered without TLS',
               'smtpd_tls_auth_only=no', 'smtpd_tls_security_level=may');
service_option('permit_mynetworks first', 'permit_mynetworks in \S+ comes',
               'mynetworks=127.0.0.0/8', 'smtpd_data_restrictions=',
               'smtpd_sender_restrictions=permit_mynetworks,$emailing_check');
service_option('no check', 'sender that was not granted is taken',
               'smtpd_sender_restrictions=', 'smtpd_data_restrictions=');

# -- database -----------------------------------------------------------------

planted('an older schema', 'schema is of version \d+, .* wants \d+',
        sub { $s->sql('DELETE FROM emailing_schema WHERE version = '
                      . '(SELECT max(version) FROM emailing_schema)') },
        sub { $s->sql('INSERT INTO emailing_schema (version) '
                      . 'SELECT max(version) + 1 FROM emailing_schema') });

healthy('all is well again');

done_testing;
