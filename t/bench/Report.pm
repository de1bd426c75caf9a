# SPDX-License-Identifier: MIT
package bench::Report;

# Medians and tables of what was measured, and which aims it meets. Ratios are
# those of one round, and then their median: what else the machine does in the
# meantime weighs on both sides.

use strict;
use warnings;

use Exporter qw(import);
use List::Util qw(sum0);
use POSIX ();

use bench::Policy qw(short);

our @EXPORT_OK = qw(median machine print_report aims);

my %by = (sql => 'SQL', mailadmin => 'mailadmin');

sub median {
    my @sorted = sort { $a <=> $b } @_;
    return if !@sorted;
    return ($sorted[$#sorted / 2] + $sorted[@sorted / 2]) / 2;
}

# The value that this share of the sorted ones is not above.
sub _share {
    my ($sorted, $share) = @_;
    return $sorted->[POSIX::ceil($share * @$sorted) - 1];
}

sub _first {
    my ($path, $pattern) = @_;
    open my $file, '<', $path or return '';
    while (<$file>) {
        return $1 if $_ =~ $pattern;
    }
    return '';
}

sub _output {
    my ($text) = qx($_[0] 2>/dev/null) =~ /\A(.*)$/m;
    return $text // '';
}

sub machine {
    return {
        processor => _first('/proc/cpuinfo', qr/^model name\s*:\s*(.*)/),
        processors => 0 + _output('nproc'),
        memory_bytes => 1024 * _first('/proc/meminfo', qr/^MemTotal:\s*(\d+)/),
        kernel => (POSIX::uname())[2],
        system => _first('/etc/os-release', qr/^PRETTY_NAME="(.*)"/),
        postfix => _output('postconf -d -h mail_version'),
        postgresql => _output('psql --version') =~ s/\D*([\d.]+).*/$1/r,
        load_before => 0 + _first('/proc/loadavg', qr/^(\S+)/),
        date => POSIX::strftime('%Y-%m-%dT%H:%M:%SZ', gmtime),
    };
}

# -- aims ---------------------------------------------------------------------

sub _find {
    my ($rows, %want) = @_;
    ROW: for my $row (@{ $rows || [] }) {
        for my $key (keys %want) {
            next ROW if $row->{$key} ne $want{$key};
        }
        return $row;
    }
    return;
}

sub _aim {
    my ($what, $value, $sign, $limit) = @_;
    my $met = $sign eq '>=' ? $value >= $limit : $value <= $limit;
    return { what => $what, value => $value + 0, sign => $sign,
             limit => $limit, met => $met ? 1 : 0 };
}

sub _policy_aims {
    my ($rows) = @_;
    my @aims;
    for my $row (grep { $_->{server} =~ /^cached \w+$/ } @$rows) {
        my $name = "$row->{server}, $row->{connections} connections:";
        push @aims, _aim("$name decisions/s of the echo's",
                         median(@{ $row->{rate_ratio} }), '>=', 0.8),
            _aim("$name CPU of the echo's",
                 median(@{ $row->{cpu_ratio} }), '<=', 1.5);
    }
    for my $row (grep { $_->{server} =~ /, recording$/ } @$rows) {
        my $plain = _find($rows, connections => $row->{connections},
                          server => $row->{server} =~ s/, recording$//r);
        push @aims, _aim("$row->{server}, $row->{connections} connections: "
                         . 'decisions/s of those without',
                         median(map { $row->{rate}[$_] / $plain->{rate}[$_] }
                                0 .. $#{ $row->{rate} }), '>=', 0.95);
    }
    push @aims, map { _aim("$_->{server}, $_->{connections} connections: "
                           . 'decisions/s', median(@{ $_->{rate} }), '>=',
                           20000) }
        grep { $_->{server} =~ /^uncached/ } @$rows;
    return @aims;
}

# The ratio of two services, round by round.
sub _between {
    my ($rows, $above, $below, %cell) = @_;
    my ($top, $bottom) = map { _find($rows, service => $_, %cell) }
        $above, $below;
    return median(map { $top->{rate}[$_] / $bottom->{rate}[$_] }
                  0 .. $#{ $top->{rate} });
}

sub _mail_aims {
    my ($rows) = @_;
    my @aims;
    for my $messages (1, 10) {
        my %cell = (clients => 20, messages => $messages);
        next if !_find($rows, %cell);
        my $name = "mail, 20 clients, $messages a connection:";
        push @aims, _aim("$name messages/s of the floor's",
                         _between($rows, 'ours', 'floor', %cell), '>=',
                         $messages == 1 ? 0.75 : 0.9),
            _aim("$name messages/s of Postfix maps + Cyrus sql",
                 _between($rows, 'ours', 'maps', %cell), '>=', 3);
    }
    return @aims;
}

sub aims {
    my ($result) = @_;
    my @aims = (_policy_aims($result->{policy} || []),
                _mail_aims($result->{mail} || []));
    if (my $loading = $result->{loading}) {
        my $name = short($loading->{users}) . ' users:';
        push @aims, _aim("$name bytes of record beside the strings",
                         $loading->{bytes_per_user}
                             - $loading->{strings_per_user}, '<=', 250),
            _aim("$name MB resident", $loading->{resident} / 1e6, '<=', 400),
            _aim("$name seconds to load", $loading->{seconds}, '<=', 15);
    }
    if (my $idle = $result->{idle}) {
        push @aims, _aim("$idle->{idle} idle connections and $idle->{busy} "
                         . 'busy: MiB above the records',
                         $idle->{above_records} / 2**20, '<=', 64);
    }
    if (my $changes = $result->{changes}) {
        push @aims, _aim("a change by $by{$_}: ms until $changes->{policyds} "
                         . 'policyds obey it, p99',
                         1000 * _share($changes->{$_}, 0.99), '<=', 100)
            for qw(sql mailadmin);
    }
    return \@aims;
}

# -- tables -------------------------------------------------------------------

sub _print_policy {
    my ($rows) = @_;
    printf "\n%-21s %5s %10s %7s %8s %8s %8s %7s %9s\n", 'decisions', 'conns',
        'per s', 'ratio', 'p50 us', 'p99 us', 'CPU us', 'ratio', 'database';
    for my $row (@$rows) {
        my %m = map { $_ => median(@{ $row->{$_} }) }
            grep { ref $row->{$_} } keys %$row;
        printf "%-21s %5d %10.0f %7.2f %8.0f %8.0f %8.2f %7.2f %9s\n",
            $row->{server}, $row->{connections}, @m{qw(rate rate_ratio p50_us
            p99_us cpu_us cpu_ratio)}, defined $m{database_us}
                ? sprintf '%.1f us', $m{database_us} : '';
    }
    printf "%.0f answers, none of them wrong\n",
        sum0(map { @{ $_->{requests} } } @$rows);
    return;
}

sub _print_mail {
    my ($rows) = @_;
    printf "\n%-24s %7s %12s %10s %7s %8s %8s\n", 'mail', 'clients',
        'messages/c.', 'per s', 'ratio', 'p50 ms', 'p99 ms';
    my %title = (floor => 'no login, no check', ours => 'secure-emailing',
                 maps => 'Cyrus sql, Postfix maps');
    for my $row (@$rows) {
        my %m = map { $_ => median(@{ $row->{$_} }) }
            qw(rate rate_ratio p50_us p99_us);
        printf "%-24s %7d %12d %10.0f %7.2f %8.1f %8.1f\n",
            $title{ $row->{service} }, $row->{clients}, $row->{messages},
            $m{rate}, $m{rate_ratio}, $m{p50_us} / 1000, $m{p99_us} / 1000;
    }
    return;
}

sub _print_loading {
    my ($loading) = @_;
    printf "\n%s users with 4 grants each: loaded in %.1f s (CPU: %.1f s, "
        . "%.1f s of PostgreSQL),\n%.0f bytes a user of which %.0f are "
        . "strings, %.0f MB resident. While it\nloaded: %.0f answers, %.0f/s, p99 %.1f ms, %.0f of them by the "
        . "database\n", short($loading->{users}),
        @$loading{qw(seconds cpu_seconds database_cpu_seconds bytes_per_user
        strings_per_user)},
        $loading->{resident} / 1e6, @$loading{qw(asked asked_rate)},
        $loading->{asked_p99_us} / 1000, $loading->{asked_of_database};
    return;
}

sub print_report {
    my ($result) = @_;
    my $machine = $result->{machine};
    printf "%s, %d x %s\n%s, Linux %s, Postfix %s, PostgreSQL %s; medians of "
        . "%d rounds\n", $machine->{date}, $machine->{processors},
        @$machine{qw(processor system kernel postfix postgresql)},
        $result->{plan}{rounds};
    _print_policy($result->{policy}) if $result->{policy};
    _print_loading($result->{loading}) if $result->{loading};
    if (my $idle = $result->{idle}) {
        printf "%d idle connections, %d busy: %.1f MiB above the records\n",
            @$idle{qw(idle busy)}, $idle->{above_records} / 2**20;
    }
    if (my $changes = $result->{changes}) {
        printf "%d changes by %s, obeyed by %d policyds: median %.1f ms, "
            . "p99 %.1f ms, at most %.1f ms\n",
            @{ $changes->{$_} } / $changes->{policyds}, $by{$_},
            $changes->{policyds},
            map { 1000 * $_ } median(@{ $changes->{$_} }),
            _share($changes->{$_}, 0.99), $changes->{$_}[-1]
            for qw(sql mailadmin);
    }
    _print_mail($result->{mail}) if $result->{mail};
    print "\naims\n";
    printf "%-6s %-66s %9.2f %s %s\n", $_->{met} ? 'met' : 'MISSED',
        $_->{what}, @$_{qw(value sign limit)} for @{ $result->{aims} };
    return;
}

1;
