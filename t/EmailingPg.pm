# SPDX-License-Identifier: MIT
package EmailingPg;

# A PostgreSQL cluster of a test's own, on a unix socket in a temporary folder,
# and mailadmin run against it. Gone at the end, whatever the end.
#
#     my $pg = EmailingPg->new;           # the role "owner" owns database "mail"
#     $pg->psql('SELECT 1');              # as the superuser
#     $pg->psql('SELECT 1', user => ..., db => ...);
#     my $r = $pg->mailadmin({stdin => "secret\n"}, 'add', 'user', 'x');
#     is $r->{status}, 0;                 # and {out}, {err}

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);

my @clusters;

sub bindir {
    my @found = sort { ($b =~ m{/(\d+)/})[0] <=> ($a =~ m{/(\d+)/})[0] }
        grep { -x "$_/initdb" } glob '/usr/lib/postgresql/*/bin';
    return $ENV{PG_BINDIR} // $found[0] // die "no PostgreSQL server here\n";
}

# The built mailadmin.
sub program {
    my $build = $ENV{EMAILING_BUILD} // abs_path(dirname(__FILE__) . '/..');
    return "$build/mailadmin/mailadmin";
}

sub source {
    return abs_path(dirname(__FILE__) . '/..');
}

# Runs a program without a shell; its stdin is a string, or a file handle.
sub run {
    my ($stdin, $env, @command) = @_;
    my $dir = tempdir(CLEANUP => 1);
    if (!ref $stdin) {
        open my $in, '>', "$dir/in" or die $!;
        print {$in} $stdin // '';
        close $in;
    }
    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        $ENV{$_} = $env->{$_} for keys %$env;
        defined $ENV{$_} or delete $ENV{$_} for keys %$env;
        if (ref $stdin) {
            open STDIN, '<&', $stdin or die $!;
        } else {
            open STDIN, '<', "$dir/in" or die $!;
        }
        open STDOUT, '>', "$dir/out" or die $!;
        open STDERR, '>', "$dir/err" or die $!;
        exec { $command[0] } @command or exit 126;
    }
    waitpid $pid, 0;
    my %result = (status => $? >> 8, signal => $? & 127);
    for my $name (qw(out err)) {
        open my $file, '<', "$dir/$name" or die $!;
        local $/;
        $result{$name} = <$file> // '';
    }
    return \%result;
}

# PostgreSQL refuses root.
sub as_postgres {
    my (@command) = @_;
    return @command if $> != 0;
    return ('runuser', '-u', 'postgres', '--', @command);
}

sub new {
    my ($class, %options) = @_;
    my $dir = tempdir('emailing-pg-XXXXXX', TMPDIR => 1);
    my $self = bless {dir => $dir, pid => $$, bin => bindir()}, $class;
    push @clusters, $self;
    if ($> == 0) {
        my ($uid, $gid) = (getpwnam 'postgres')[2, 3];
        chown $uid, $gid, $dir;
    }
    chmod 0755, $dir;
    my $r = run('', {}, as_postgres("$self->{bin}/initdb", '-D', "$dir/data",
        '-U', 'postgres', '-A', 'trust', '--no-sync', '-E',
        $options{encoding} // 'UTF8', '--locale', $options{locale} // 'C'));
    die "initdb: $r->{err}" if $r->{status};
    $self->start;
    $self->psql('CREATE ROLE owner LOGIN CREATEROLE; '
        . 'CREATE ROLE stranger LOGIN');
    $self->database('mail');
    return $self;
}

sub start {
    my ($self) = @_;
    my $r = run('', {}, as_postgres("$self->{bin}/pg_ctl", '-D',
        "$self->{dir}/data", '-w', '-l', "$self->{dir}/log", '-o',
        "-c listen_addresses= -c unix_socket_directories=$self->{dir} "
        . '-c fsync=off -c max_connections=60 -c max_wal_size=2GB',
        'start'));
    die "pg_ctl: $r->{out}$r->{err}" if $r->{status};
}

sub stop {
    my ($self) = @_;
    run('', {}, as_postgres("$self->{bin}/pg_ctl", '-D', "$self->{dir}/data",
        '-m', 'immediate', '-w', 'stop'));
}

sub postmaster {
    my ($self) = @_;
    open my $file, '<', "$self->{dir}/data/postmaster.pid" or die $!;
    chomp(my $pid = <$file>);
    return $pid;
}

# A new empty database of owner's.
sub database {
    my ($self, $name) = @_;
    $self->psql("CREATE DATABASE $name OWNER owner", db => 'postgres');
    $self->psql('ALTER SCHEMA public OWNER TO owner', db => $name);
}

sub env {
    my ($self, %options) = @_;
    return {
        PGHOST => $self->{dir}, PGPORT => 5432,
        PGUSER => $options{user} // 'owner',
        PGDATABASE => $options{db} // 'mail', MAILADMIN_CONF => undef,
        PGOPTIONS => undef, SUDO_USER => undef, %{$options{env} // {}},
    };
}

# {status, out, err} of psql -At; dies on failure unless told not to.
sub psql {
    my ($self, $sql, %options) = @_;
    my $env = $self->env(user => 'postgres',
        db => $options{db} // ($self->{made} ? 'mail' : 'postgres'), %options);
    my $r = run($sql, $env, "$self->{bin}/psql", '-XqAt', '-v',
        'ON_ERROR_STOP=1');
    $self->{made} = 1 if $sql =~ /CREATE DATABASE mail /;
    die "psql: $r->{err} in $sql" if $r->{status} && !$options{may_fail};
    return $r if $options{may_fail};
    chomp(my $out = $r->{out});
    return $out;
}

sub mailadmin {
    my ($self, @words) = @_;
    my $options = ref $words[0] ? shift @words : {};
    if (!$self->{conf}) {
        $self->{conf} = "$self->{dir}/mailadmin.conf";
        open my $file, '>', $self->{conf} or die $!;
        close $file;
    }
    unshift @words, '-c', $options->{conf} // $self->{conf};
    return run($options->{stdin} // '', $self->env(%$options), program(),
        @words);
}

# A configuration file with that content; its name.
sub conf {
    my ($self, $text) = @_;
    my $name = "$self->{dir}/conf" . ++$self->{confs};
    open my $file, '>', $name or die $!;
    print {$file} $text;
    close $file;
    return $name;
}

# A test that is ended ends what it started.
$SIG{$_} = sub { exit 1 } for qw(HUP INT TERM);

END {
    my $status = $?;
    for my $cluster (grep { $_->{pid} == $$ } @clusters) {
        $cluster->stop if -e "$cluster->{dir}/data/postmaster.pid";
        run('', {}, 'rm', '-rf', $cluster->{dir});
    }
    $? = $status;
}

1;
