# SPDX-License-Identifier: MIT
package bench::Policy;

# Decisions on the policy socket: the echo, policyd with everything in memory,
# and policyd with nothing in memory, by turns.

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);

use bench::System ();

our @EXPORT_OK = qw(measure_policy measure_idle measure_loading short);

# Long enough that nothing is loaded again while it is measured.
my %cached = (preload => 'yes', cache_bytes => 8 * 2**30, cache_ttl => 86400,
              record_usage => 'no');

sub short {
    my ($n) = @_;
    return $n >= 1e6 ? $n / 1e6 . 'M' : $n >= 1e3 ? $n / 1e3 . 'k' : $n;
}

# The servers, in the order of the table.
sub start_servers {
    my ($system, $plan) = @_;
    my @servers = ({ %{ $system->start_echo }, title => 'echo',
                     users => $plan->{users}[0], echo => 1 });
    my $few = $plan->{users}[0];
    for my $users (@{ $plan->{users} }) {
        my $title = 'cached ' . short($users);
        my $database = $system->database($users);
        my $server = $system->start_policyd("cached-$users", $database,
            \%cached);
        push @servers, { %$server, title => $title, users => $users };
        next if $users != $few;
        my $recording = $system->start_policyd('recording', $database,
            { %cached, record_usage => 'yes' });
        push @servers, { %$recording, title => "$title, recording",
                         users => $users };
    }
    bench::System::preloaded($_, $_->{users}) for @servers[1 .. $#servers];
    my $middle = $plan->{users}[1] // $few;
    my $logging = $system->start_policyd('logging', $system->database($few),
        { %cached, log_permits => 'yes' });
    bench::System::preloaded($logging, $few);
    push @servers, { %$logging, title => 'cached ' . short($few) . ', log all',
                     users => $few, only => $plan->{connections}[0] };
    my $uncached = $system->start_policyd('uncached',
        $system->database($middle), { cache_bytes => 0, record_usage => 'no' });
    push @servers, { %$uncached, title => 'uncached ' . short($middle),
                     users => $middle, only => $plan->{connections}[0],
                     database => 1 };
    return @servers;
}

sub cell {
    my ($system, $plan, $server, $connections, $round) = @_;
    my @argv = ('-s', $server->{socket}, '-c', $connections, '-u',
        $server->{users}, '-t', $plan->{seconds}, '-p', $server->{pid}, '-r',
        $plan->{refuse}, '-d', $round, $server->{echo} ? '-e' : ());
    my $before = $system->database_cpu;
    my $figures = $system->generate('load', \@argv);
    $figures->{database_us} =
        ($system->database_cpu - $before) * 1e6 / $figures->{requests}
        if $server->{database};
    truncate $server->{log}, 0 if !$server->{echo};
    return $figures;
}

# One row for each server and number of connections, with the figures of every
# round, and as ratios to the echo's of the same round.
sub measure_policy {
    my ($system, $plan, $say) = @_;
    $say->('loading users');
    my @servers = start_servers($system, $plan);
    my %rows;
    my @order;
    for my $connections (@{ $plan->{connections} }) {
        push @order, map { [$_, $connections] }
            grep { ($_->{only} // $connections) == $connections } @servers;
    }
    for my $round (1 .. $plan->{rounds}) {
        $say->("decisions, round $round of $plan->{rounds}");
        my %echo;
        for (@order) {
            my ($server, $connections) = @$_;
            my $figures = cell($system, $plan, $server, $connections, $round);
            $echo{$connections} = $figures if $server->{echo};
            $figures->{rate_ratio} =
                $figures->{rate} / $echo{$connections}{rate};
            $figures->{cpu_ratio} =
                $figures->{cpu_us} / $echo{$connections}{cpu_us};
            my $row = $rows{"$server->{title} $connections"} //=
                { server => $server->{title}, connections => $connections };
            push @{ $row->{$_} }, $figures->{$_} for keys %$figures;
        }
    }
    my @rows = map { $rows{"$_->[0]{title} $_->[1]"} } @order;
    $system->stop($_->{name}) for @servers;
    return \@rows;
}

# What thousands of connections cost that say nothing, beside some that do.
sub measure_idle {
    my ($system, $plan) = @_;
    my $users = $plan->{users}[0];
    my $server = $system->start_policyd('idle', $system->database($users),
        \%cached);
    bench::System::preloaded($server, $users);
    my $records = bench::System::metric($server, 'emailing_cache_bytes');
    my $before = bench::System::memory($server, 'VmRSS');
    my $figures = $system->generate('load', ['-s', $server->{socket},
        '-c', $plan->{busy}, '-i', $plan->{idle}, '-u', $users,
        '-t', $plan->{seconds}]);
    my $most = bench::System::memory($server, 'VmHWM');
    $system->stop('idle');
    return { idle => $plan->{idle}, busy => $plan->{busy},
             records_bytes => $records, resident_before => $before,
             resident_most => $most, above_records => $most - $records,
             rate => $figures->{rate} };
}

# All users of the largest database: their bytes, how long loading takes, and
# that questions are answered, by the database, in the meantime.
sub measure_loading {
    my ($system, $plan) = @_;
    my $users = $plan->{users}[-1];
    my $database = $system->database($users);
    my $alone = $system->start_policyd('loading', $database, \%cached);
    my $before = $system->database_cpu;
    my $seconds = bench::System::preloaded($alone, $users);
    my %cpu = (cpu_seconds => bench::System::cpu($alone),
               database_cpu_seconds => $system->database_cpu - $before);
    my $bytes = bench::System::metric($alone, 'emailing_cache_bytes');
    my $resident = bench::System::memory($alone, 'VmRSS');
    $system->stop('loading');
    my $strings = $system->relay->sql(<<'END', database => $database);
SELECT (SELECT sum(length(name) + length(passwd)) FROM emailing_users)
     + (SELECT sum(length(address)) FROM emailing_users_addresses
          JOIN emailing_addresses ON id = id_address)
     + (SELECT sum(length(domain)) FROM emailing_users_domains
          JOIN emailing_domains ON id = id_domain)
END
    my $asked = $system->start_policyd('asked', $database, \%cached);
    my $figures = $system->generate('load', ['-s', $asked->{socket}, '-c', 8,
        '-u', $users, '-t', $plan->{seconds}, '-r', $plan->{refuse}]);
    my $misses = bench::System::metric($asked, 'emailing_cache_misses_total');
    my $loaded = bench::System::metric($asked, 'emailing_cache_records');
    $system->stop('asked');
    return { users => $users, seconds => $seconds, %cpu,
             bytes_per_user => $bytes / $users,
             strings_per_user => $strings / $users, resident => $resident,
             asked => $figures->{requests}, asked_rate => $figures->{rate},
             asked_p99_us => $figures->{p99_us},
             asked_of_database => $misses, loaded_meanwhile => $loaded };
}

1;
