# SPDX-License-Identifier: MIT
package Emailing::Daemon::Standby;

# A hot standby of an Emailing::Daemon::Database, on a unix socket in a folder
# of its own.
#
#   my $standby = Emailing::Daemon::Standby->new($db);
#   $standby->server;                 # its socket
#   $standby->promote;

use strict;
use warnings;

use Carp qw(croak);
use File::Temp qw(tempdir);

use Emailing qw(within);
use EmailingPg ();

my @live;

sub new {
    my ($class, $db) = @_;
    my $dir = tempdir('emailing-standby-XXXXXX', TMPDIR => 1);
    my $self = bless { dir => $dir, parent => $$, bin => $db->{pg}{bin} },
        $class;
    push @live, $self;
    my ($uid, $gid) = (getpwnam 'postgres')[2, 3];
    chown $uid, $gid, $dir;
    chmod 0755, $dir;
    $self->_run('pg_basebackup', '-h', $db->dir, '-U', 'postgres', '-D',
        "$dir/data", '-R', '-c', 'fast', '-X', 'stream', '--no-sync');
    $self->_run('pg_ctl', '-D', "$dir/data", '-w', '-l', "$dir/log", '-o',
        "-c listen_addresses= -c unix_socket_directories=$dir -c fsync=off"
        . ' -c max_connections=60', 'start');
    return $self;
}

sub dir { return $_[0]{dir} }
sub server { return "$_[0]{dir}/.s.PGSQL.5432" }

sub _run {
    my ($self, $program, @args) = @_;
    my $r = EmailingPg::run('', {}, EmailingPg::as_postgres(
        "$self->{bin}/$program", @args));
    croak "$program: $r->{err}$r->{out}" if $r->{status};
    return;
}

sub promote {
    my ($self) = @_;
    return $self->_run('pg_ctl', '-D', "$self->{dir}/data", '-w', 'promote');
}

END {
    my $status = $?;
    for my $self (grep { $_->{parent} == $$ } @live) {
        eval { $self->_run('pg_ctl', '-D', "$self->{dir}/data", '-m',
                           'immediate', '-w', 'stop') };
        EmailingPg::run('', {}, 'rm', '-rf', $self->{dir});
    }
    $? = $status;
}

1;
