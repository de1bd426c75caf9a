# SPDX-License-Identifier: MIT
package Emailing::Daemon::Database;

# A database with our schema and the roles in force, for policyds alone: no
# Postfix, no mail. policyd's role may log in from loopback and by the socket
# without a password.
#
#   my $db = Emailing::Daemon::Database->new;
#   my $d = $db->policyd(conf => { cache_ttl => 5 });
#   $db->sql("...");                       # as the superuser
#   $db->user('test1', 'a@b.c', 'd.c');    # added, with these granted

use strict;
use warnings;

use Carp qw(croak);

use Emailing::Daemon ();
use Emailing::Proxy ();
use EmailingPg ();

sub new {
    my ($class) = @_;
    my $self = bless { pg => EmailingPg->new }, $class;
    my $r = $self->{pg}->mailadmin('schema', 'init');
    croak "schema init: $r->{err}" if $r->{status};
    return $self;
}

sub pg { return $_[0]{pg} }
sub dir { return $_[0]{pg}{dir} }
sub server { return $_[0]{pg}{dir} . '/.s.PGSQL.5432' }
sub sql { my ($self, @args) = @_; return $self->{pg}->psql(@args) }
sub owner_env { return $_[0]{pg}->env(user => 'postgres', db => 'mail') }

sub conninfo {
    my ($self, %more) = @_;
    my %all = (host => $self->dir, port => 5432, dbname => 'mail',
               user => 'emailing_policyd', %more);
    return join ' ', map { "$_=$all{$_}" } sort keys %all;
}

sub proxy { return Emailing::Proxy->new($_[0]->server) }

# policyd, straight or through a proxy
sub policyd {
    my ($self, %args) = @_;
    my $proxy = delete $args{proxy};
    my %place = $proxy ? (host => '127.0.0.1', port => $proxy->port) : ();
    return Emailing::Daemon->new(conninfo => $self->conninfo(%place), %args);
}

sub mailadmin_ok {
    my ($self, @words) = @_;
    my $r = $self->{pg}->mailadmin({ stdin => "secret\n",
                                     user => 'emailing_mailadmin' }, @words);
    croak "mailadmin @words: $r->{err}" if $r->{status};
    return;
}

# user NAME, GRANTS: an address has an @, a domain none. The secret fits no
# password.
sub user {
    my ($self, $name, @grants) = @_;
    my $sql = "INSERT INTO emailing_users (name, passwd) VALUES ('$name', '*')"
        . ' ON CONFLICT DO NOTHING;';
    for my $grant (@grants) {
        my $what = $grant =~ /@/ ? 'address' : 'domain';
        my $table = $what eq 'address' ? 'addresses' : 'domains';
        $sql .= "INSERT INTO emailing_$table ($what) VALUES ('$grant')"
            . " ON CONFLICT DO NOTHING;"
            . "INSERT INTO emailing_users_$table (id_user, id_$what)"
            . " SELECT u.id, g.id FROM emailing_users u, emailing_$table g"
            . " WHERE u.name = '$name' AND g.$what = '$grant';";
    }
    return $self->sql($sql);
}

# Takes all grants away.
sub revoke {
    my ($self, $name) = @_;
    return $self->sql(join '', map { "DELETE FROM emailing_users_$_"
        . ' WHERE id_user = (SELECT id FROM emailing_users'
        . " WHERE name = '$name');" } qw(addresses domains));
}

# Backends, and the server's other processes, by pid.
sub processes {
    my ($self) = @_;
    my $postmaster = $self->{pg}->postmaster;
    return ($postmaster, split ' ', qx(ps -o pid= --ppid $postmaster));
}

sub stop { return $_[0]{pg}->stop }
sub start { return $_[0]{pg}->start }

1;
