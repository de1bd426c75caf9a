# SPDX-License-Identifier: MIT
package bench::Mail;

# Mail through Postfix, by three services of one instance that differ only in
# who checks: nobody (the floor), the plugin and policyd, or what Postfix and
# Cyrus SASL have themselves. No TLS; what is accepted is discarded.

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);
use IO::Socket::INET ();

use Emailing qw(within);

our @EXPORT_OK = qw(measure_mail);

my $users = 20;
my @services = qw(floor ours maps);

my $common = <<'END';
    -o smtpd_tls_security_level=none
    -o smtpd_sasl_local_domain=
    -o smtpd_sasl_exceptions_networks=
    -o smtpd_client_restrictions=
    -o smtpd_helo_restrictions=
    -o smtpd_recipient_restrictions=
    -o smtpd_reject_unlisted_recipient=no
    -o smtpd_client_connection_count_limit=0
    -o smtpd_client_auth_rate_limit=0
END

# What differs. The checks of ours are those of conf/master.cf.
my %own = (
    floor => <<'END',
    -o mynetworks=127.0.0.0/8
    -o smtpd_sender_restrictions=
    -o smtpd_relay_restrictions=permit_mynetworks,reject
END
    ours => <<'END',
    -o mynetworks=
    -o smtpd_sasl_auth_enable=yes
    -o smtpd_sasl_path=smtpd
    -o smtpd_sender_restrictions=$emailing_check
    -o smtpd_relay_restrictions=$emailing_login
    -o { smtpd_data_restrictions = $emailing_check, $emailing_login }
END
    maps => <<'END',
    -o mynetworks=
    -o smtpd_sasl_auth_enable=yes
    -o smtpd_sasl_path=benchmaps
    -o smtpd_sender_restrictions=reject_authenticated_sender_login_mismatch
    -o smtpd_relay_restrictions=$emailing_login
END
);

sub append {
    my ($path, $text) = @_;
    open my $file, '>>', $path or croak "$path: $!";
    print $file $text;
    close $file or croak "$path: $!";
    return;
}

# Cyrus SASL compares clear text, so it has a table of its own; its connections
# and those of Postfix need no password, which spares them the time.
sub make_peer {
    my ($relay, $password) = @_;
    my ($home, $port) = ($relay->home, $relay->env('EMAILING_PG_PORT'));
    my $hba = "$home/postgres/data/pg_hba.conf";
    open my $file, '<', $hba or croak "$hba: $!";
    my $text = do { local $/; <$file> };
    open $file, '>', $hba or croak "$hba: $!";
    print $file "host emailing bench_maps 127.0.0.1/32 trust\n$text";
    close $file or croak "$hba: $!";
    $relay->sql(<<"END", user => 'postgres');
CREATE ROLE bench_maps LOGIN;
CREATE TABLE bench_logins (name text PRIMARY KEY, password text);
INSERT INTO bench_logins SELECT name, '$password' FROM emailing_users;
GRANT SELECT ON bench_logins, emailing_users, emailing_addresses,
    emailing_domains, emailing_users_addresses, emailing_users_domains
    TO bench_maps;
ANALYZE bench_logins;
SELECT pg_reload_conf();
END
    append("$home/postfix/etc/sasl/benchmaps.conf", <<"END");
pwcheck_method: auxprop
auxprop_plugin: sql
mech_list: PLAIN LOGIN
sql_engine: pgsql
sql_hostnames: 127.0.0.1:$port
sql_user: bench_maps
sql_passwd: none
sql_database: emailing
sql_select: SELECT password FROM bench_logins WHERE name = '%u'
END
    append("$home/postfix/etc/bench-maps.cf", <<"END");
hosts = 127.0.0.1:$port
user = bench_maps
password = none
dbname = emailing
query = SELECT u.name FROM emailing_users u
    JOIN emailing_users_addresses g ON g.id_user = u.id
    JOIN emailing_addresses a ON a.id = g.id_address
    WHERE a.address = '%s' UNION
    SELECT u.name FROM emailing_users u
    JOIN emailing_users_domains g ON g.id_user = u.id
    JOIN emailing_domains d ON d.id = g.id_domain
    WHERE '%s' LIKE '\@%%' AND d.domain = ltrim('%s', '\@')
END
    return;
}

# The three services, by name: their ports.
sub make_services {
    my ($relay, $password) = @_;
    my $home = $relay->home;
    my $etc = "$home/postfix/etc";
    my %ports;
    @ports{@services} = Emailing::free_ports();
    make_peer($relay, $password);
    system('postconf', '-c', $etc, '-e', 'default_transport=discard:',
           'relayhost=', 'in_flow_delay=0',
           "smtpd_sender_login_maps=proxy:pgsql:$etc/bench-maps.cf") == 0
        or croak 'postconf';
    append("$etc/master.cf", "127.0.0.1:$ports{$_} inet n - y - - smtpd\n"
        . "    -o syslog_name=postfix/$_\n$common$own{$_}") for @services;
    $relay->service('start', $_) for qw(policyd postfix);
    for my $name (@services) {
        within(20, sub { IO::Socket::INET->new("127.0.0.1:$ports{$name}") })
            or croak "$name: " . $relay->log('maillog');
    }
    return %ports;
}

# Until nothing of the last cell is left in the queue.
sub drain {
    my ($relay) = @_;
    my $queue = $relay->home . '/postfix/queue';
    within(60, sub { !qx(find $queue/incoming $queue/active -type f) })
        or croak 'the queue does not drain';
    return;
}

sub send_mail {
    my ($system, $port, $name, $password, @argv) = @_;
    my $figures = $system->generate('mail', ['-P', $port,
        $name eq 'floor' ? () : ('-u', $users), @argv], "$password\n");
    drain($system->relay);
    return $figures;
}

# Each user once, so that logins are in memory; and each refused once.
sub warm_up {
    my ($system, $port, $name, $password) = @_;
    send_mail($system, $port, $name, $password,
        '-c', 1, '-m', 1, '-n', $users);
    return if $name eq 'floor';
    my $figures = send_mail($system, $port, $name, $password,
        '-c', 1, '-m', 1, '-n', $users, '-x');
    croak "$name permits what it must not" if $figures->{refused} != $users;
    return;
}

sub measure_mail {
    my ($system, $plan, $say) = @_;
    my $relay = $system->relay;
    open my $random, '<', '/dev/urandom' or croak "urandom: $!";
    read $random, my $bytes, 12;
    my $password = unpack 'H*', $bytes;
    $system->load_users('emailing', $users,
        crypt $password, '$y$j9T$benchbenchbenchbench1.$');
    my %ports = make_services($relay, $password);
    warm_up($system, $ports{$_}, $_, $password) for @services;
    my (%rows, @order);
    for my $clients (@{ $plan->{clients} }) {
        for my $messages (@{ $plan->{messages} }) {
            push @order, map { [$_, $clients, $messages] } @services;
        }
    }
    for my $round (1 .. $plan->{mail_rounds}) {
        $say->("mail, round $round of $plan->{mail_rounds}");
        my $floor;
        for (@order) {
            my ($name, $clients, $messages) = @$_;
            my $figures = send_mail($system, $ports{$name}, $name, $password,
                '-c', $clients, '-m', $messages,
                '-t', $plan->{mail_seconds});
            $floor = $figures->{rate} if $name eq 'floor';
            $figures->{rate_ratio} = $figures->{rate} / $floor;
            my $row = $rows{"@$_"} //= { service => $name,
                clients => $clients, messages => $messages };
            push @{ $row->{$_} }, $figures->{$_} for keys %$figures;
        }
    }
    return [map { $rows{"@$_"} } @order];
}

1;
