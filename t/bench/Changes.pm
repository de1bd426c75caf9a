# SPDX-License-Identifier: MIT
package bench::Changes;

# How long after its COMMIT a change is obeyed by three policyds that all had
# the user in memory: from when psql, or mailadmin, says that it is done to the
# first answer of each that knows of it.

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);
use IPC::Open2 qw(open2);
use Time::HiRes qw(time);

use Emailing qw(build run);
use Emailing::Socket ();
use bench::System ();

our @EXPORT_OK = qw(measure_changes);

my $policyds = 3;
my $most = 10; # seconds: a change that takes longer is an error
my %change = (
    grant => <<'END',
INSERT INTO emailing_users_domains (id_user, id_domain) SELECT u.id, d.id FROM emailing_users u, emailing_domains d WHERE u.name = 'changed' AND d.domain = 'changes.example';
END
    revoke => <<'END',
DELETE FROM emailing_users_domains g USING emailing_users u, emailing_domains d WHERE g.id_user = u.id AND g.id_domain = d.id AND u.name = 'changed' AND d.domain = 'changes.example';
END
);

# By psql, over one connection.
sub by_sql {
    my ($psql, $what) = @_;
    print { $psql->{in} } "$change{$what}\\echo done\n";
    my $line = readline $psql->{out};
    croak 'psql: ' . ($line // 'gone') if ($line // '') ne "done\n";
    return time;
}

sub by_mailadmin {
    my ($conf, $what) = @_;
    my ($status, undef, $err) = run([build() . '/mailadmin/mailadmin', '-c',
        $conf, $what, 'domain', 'changes.example',
        $what eq 'grant' ? 'to' : 'from', 'changed']);
    croak "mailadmin: $err" if $status != 0;
    return time;
}

# The seconds from the change on until each of them answers so.
sub obeyed {
    my ($sockets, $since, $answer) = @_;
    my @took;
    my @waiting = @$sockets;
    while (@waiting) {
        croak "not obeyed for $most s" if time > $since + $most;
        my @still;
        for my $socket (@waiting) {
            my $action = $socket->policy({ sasl_username => 'changed',
                sender => 'a@changes.example' }) // croak 'closed';
            if ($action =~ $answer) {
                push @took, time - $since;
            } else {
                push @still, $socket;
            }
        }
        @waiting = @still;
    }
    return @took;
}

# Seconds, each policyd's for each change, sorted.
sub measure_changes {
    my ($system, $plan) = @_;
    my $relay = $system->relay;
    my $database = $system->database($plan->{users}[0]);
    # users.sql gives numbers, too, and leaves the sequences behind.
    $relay->sql(q{INSERT INTO emailing_users (id, name)
            SELECT max(id) + 1, 'changed' FROM emailing_users;
        INSERT INTO emailing_domains (id, domain)
            SELECT max(id) + 1, 'changes.example' FROM emailing_domains},
        database => $database);
    my @names = map { "changes$_" } 1 .. $policyds;
    my @sockets = map { Emailing::Socket->new(
        $system->start_policyd($_, $database, {})->{socket}) } @names;
    local %ENV = (%ENV, PGPORT => $relay->env('EMAILING_PG_PORT'),
        PGHOST => $relay->env('PGHOST'), PGDATABASE => $database,
        PGUSER => $relay->env('PGUSER'));
    my $conf = $system->dir . '/changes.conf';
    open my $file, '>', $conf or croak "$conf: $!";
    print $file qq(conninfo = "user=emailing_mailadmin"\n);
    close $file or croak "$conf: $!";
    my %psql;
    my $pid = open2(@psql{qw(out in)},
        qw(psql -X -q -A -t -v ON_ERROR_STOP=1));
    my %took = (sql => [], mailadmin => []);
    for my $n (1 .. $plan->{changes}) {
        for my $by (qw(sql mailadmin)) {
            for my $what (qw(grant revoke)) {
                my $since = $by eq 'sql' ? by_sql(\%psql, $what)
                                         : by_mailadmin($conf, $what);
                push @{ $took{$by} }, obeyed(\@sockets, $since,
                    $what eq 'grant' ? qr/^DUNNO$/ : qr/^553 /);
            }
        }
    }
    close $psql{in};
    waitpid $pid, 0;
    $system->stop($_) for @names;
    return { policyds => $policyds,
             map { $_ => [sort { $a <=> $b } @{ $took{$_} }] } keys %took };
}

1;
