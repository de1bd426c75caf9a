# SPDX-License-Identifier: MIT
package Emailing::Cluster;

# The overlay "local" in a network namespace of the test's own: PostgreSQL and
# relay pods by Emailing::Kubelet, the provider and the clients as processes of
# the host at the bridge's address. t/image/run has built the images, rendered
# the manifests into IMAGE_SCRATCH, and made the namespace.
#
#   my $c = Emailing::Cluster->up;
#   my @pods = $c->start_all;
#   my $smtp = $c->login($pods[0], 9000, 'test1', $c->password);

use strict;
use warnings;

use Carp qw(croak);
use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename qw(basename dirname);
use File::Find qw(find);
use File::Temp ();
use MIME::Base64 qw(encode_base64);
use Test::More ();
use Time::HiRes qw(sleep time);

use Emailing::Kubelet ();
use Emailing::SMTP ();

my $top = abs_path(dirname(__FILE__) . '/../..');
my $subnet = '10.89.7';
my %hosts = (provider => "$subnet.1", postgres => "$subnet.200");
my %live;

our @EXPORT_OK = qw(figure slurp spew within);

sub within {
    my ($seconds, $code) = @_;
    my $end = time + $seconds;
    while (1) {
        my $value = $code->();
        return $value if $value;
        return if time > $end;
        sleep 0.1;
    }
}

sub slurp {
    my ($path) = @_;
    open my $file, '<', $path or croak "$path: $!";
    local $/;
    return <$file>;
}

sub spew {
    my ($path, $text) = @_;
    open my $file, '>', $path or croak "$path: $!";
    print $file $text;
    close $file or croak "$path: $!";
    return;
}

# figure TEXT: for t/image/run, which prints it below its table
sub figure {
    my ($text) = @_;
    open my $file, '>>', "$ENV{IMAGE_SCRATCH}/figures" or croak "figures: $!";
    print $file "$text\n";
    close $file or croak "figures: $!";
    return;
}

# As "kubectl create secret tls" would make it.
sub tls_secret {
    my ($dir) = @_;
    my $names = 'subjectAltName=DNS:localhost,DNS:relay,DNS:provider';
    system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
        . " -nodes -days 30 -subj /CN=relay -addext $names"
        . " -keyout $dir/tls.key -out $dir/tls.crt 2>$dir/openssl") == 0
        or croak slurp("$dir/openssl");
    return join "\n", '---', 'apiVersion: v1', 'kind: Secret', 'metadata:',
        '  name: relay-tls', 'data:',
        map { "  $_: " . encode_base64(slurp("$dir/$_"), '') }
            qw(tls.key tls.crt), ();
}

sub up {
    my ($class) = @_;
    my $scratch = $ENV{IMAGE_SCRATCH} or croak 'run t/image/run';
    my $self = bless { pid => $$,
        tmp => File::Temp->newdir('cluster.XXXXXX', DIR => $scratch) }, $class;
    my $dir = $self->{dir} = "$self->{tmp}";
    chmod 0755, $dir;
    spew("$dir/manifests.yaml", slurp("$scratch/rendered/local.yaml")
        . tls_secret($dir) . "\n");
    # Its own, also beside what a test left that was killed.
    my $network = 'n' . ($dir =~ s/.*\.//r);
    $self->{kubelet} = Emailing::Kubelet->new(
        file => "$dir/manifests.yaml", dir => $dir, network => $network,
        subnet => $subnet, hosts => \%hosts,
        ips => { 'postgres-0' => "$subnet.200" },
        images => { 'docker.io/library/postgres:15'
                        => 'localhost/postgres:test' });
    $self->kubelet->podman(qw(network create --disable-dns
        --subnet), "$subnet.0/24", $network);
    $self->{network} = $network;
    $live{$self} = $self;
    return $self;
}

sub kubelet { return $_[0]{kubelet} }
sub dir { return $_[0]{dir} }
sub network { return $_[0]{network} }
sub hosts { return map { "$_:$hosts{$_}" } sort keys %hosts }

# address NAME: of a container that is in no pod
sub address {
    my ($self, $name) = @_;
    return $self->{addresses}{$name} //= "$subnet."
        . (100 + keys %{ $self->{addresses} || {} });
}

# The bridge has its address once the first pod is on it.
sub start_provider {
    my ($self) = @_;
    my $dir = "$self->{dir}/provider";
    mkdir $dir;
    spew("$self->{dir}/relay.password", 'provider-of-a-toy');
    my $pid = fork // croak "fork: $!";
    if ($pid == 0) {
        open STDERR, '>', "$dir/log";
        exec "$top/t/image/provider", $dir, "$subnet.1:2525",
            "$self->{dir}/tls.crt", "$self->{dir}/tls.key", 'relay',
            "$self->{dir}/relay.password";
        die "exec: $!\n";
    }
    $self->{provider} = $pid;
    return;
}

sub refuse_mail {
    my ($self, $on) = @_;
    my $path = "$self->{dir}/provider/refuse";
    $on ? spew($path, '') : unlink $path;
    return;
}

# received COUNT, SECONDS: message texts, once there are so many
sub received {
    my ($self, $count, $seconds) = @_;
    my $files = within($seconds // 30, sub {
        my @files = glob "$self->{dir}/provider/mail/*";
        return @files >= $count ? \@files : undef;
    });
    return map { slurp($_) } $files ? @$files
        : glob "$self->{dir}/provider/mail/*";
}

sub received_count {
    my ($self) = @_;
    return scalar(() = glob "$self->{dir}/provider/mail/*");
}

# Whether a queue file is whole, and names a recipient who is not done with: a
# record is a letter, a length of 7 bits a byte, the lowest first, and so many
# bytes.
sub is_waiting {
    my ($path) = @_;
    return if !-x $path;
    my $file = eval { slurp($path) } // return;
    my $at = 0;
    while ($at < length $file) {
        my $type = substr $file, $at++, 1;
        my ($length, $shift, $byte) = (0, 0, 0x80);
        while ($byte & 0x80) {
            $byte = ord substr $file, $at++, 1;
            $length |= ($byte & 0x7f) << $shift;
            $shift += 7;
        }
        return 1 if $type eq 'R';
        $at += $length;
    }
    return;
}

# queued: queue ids of all that waits on the relays' volumes
sub queued {
    my ($self) = @_;
    my @ids;
    for my $claim (glob "$self->{dir}/claims/queue-*") {
        find({ no_chdir => 1, wanted => sub {
            push @ids, basename($_) if -f && is_waiting($_);
        } }, grep { -d } map { "$claim/$_" } qw(maildrop incoming active
            deferred hold corrupt));
    }
    return @ids;
}

# start_all: the database, two relays and the provider, with a user test1 who
# may send as user@test1.com; the relays' pods
sub start_all {
    my ($self) = @_;
    my $k = $self->kubelet;
    $self->start_database;
    $k->run_job('migrate');
    my $admin = $k->start(Deployment => 'mailadmin');
    my @pods = map { $k->start(StatefulSet => 'relay', $_) } 0, 1;
    $self->start_provider;
    $k->wait_ready($_, 60) for @pods;
    for ([[qw(add user test1)], $self->password . "\n"],
         [[qw(add address user@test1.com)]],
         [[qw(grant address user@test1.com to test1)]]) {
        my ($status, $out) = $self->mailadmin($admin, @$_);
        croak "mailadmin: $out" if $status;
    }
    return @pods;
}

sub password { return 'correct horse' }

sub start_database {
    my ($self) = @_;
    my $pod = $self->kubelet->start(StatefulSet => 'postgres', 0);
    $self->kubelet->wait_ready($pod, 60);
    return $pod;
}

# mailadmin POD, WORDS, STDIN: (status, output)
sub mailadmin {
    my ($self, $pod, $words, $stdin) = @_;
    my $path = "$self->{dir}/stdin";
    spew($path, $stdin // '');
    my $command = "podman exec -i $pod->{id}-mailadmin mailadmin @$words";
    my $out = `$command 2>&1 <$path`;
    unlink $path;
    return ($? >> 8, $out);
}

sub smtp {
    my ($self, $pod, $port) = @_;
    return Emailing::SMTP->new(address => "$pod->{ip}:$port",
                               ca => "$self->{dir}/tls.crt");
}

sub login {
    my ($self, $pod, $port, $user, $password) = @_;
    my $smtp = $self->smtp($pod, $port)->starttls;
    my $reply = $smtp->auth_plain($user, $password);
    croak "login: $reply" if $reply !~ /^235 /;
    return $smtp;
}

sub down {
    my ($self) = @_;
    return if $self->{pid} != $$ || $self->{down}++;
    $self->kubelet->complain if $? || !Test::More->builder->is_passing;
    local $?;
    if ($self->{provider}) {
        kill TERM => $self->{provider};
        waitpid $self->{provider}, 0;
    }
    $self->kubelet->try_podman(qw(rm -f -t 1), keys %{ $self->{addresses} })
        if $self->{addresses};
    $self->kubelet->remove_all;
    $self->kubelet->try_podman(qw(network rm -f), $self->{network});
    return;
}

$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);
END { $_->down for values %live }

1;
