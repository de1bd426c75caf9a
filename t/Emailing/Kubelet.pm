# SPDX-License-Identifier: MIT
package Emailing::Kubelet;

# Runs pods of rendered manifests under podman, for tests: what the manifest
# says of environment, volumes, securityContext, resources, probes and hooks
# becomes podman's flags, and what it does not understand is an error, so that
# nothing in a manifest goes untried in silence. Services are a list of the
# addresses of ready pods. It does not restart a container that ends, for here
# that is a failure; Jobs are run again as their backoffLimit says.
#
#   my $k = Emailing::Kubelet->new(file => 'rendered.yaml', dir => $scratch,
#       network => 'n', subnet => '10.89.7', images => { 'a:1' => 'b:2' });
#   my $pod = $k->start('StatefulSet', 'relay', 0);   # does not wait for ready
#   $k->wait_ready($pod, 30);
#   my @addresses = $k->endpoints('relay');
#   $k->stop($pod);                            # preStop, SIGTERM, grace period

use strict;
use warnings;

use Carp qw(croak);
use File::Path qw(make_path remove_tree);
use HTTP::Tiny ();
use IO::Socket::INET ();
use JSON::PP ();
use Time::HiRes qw(sleep time);

my %quantity = (Ki => 2**10, Mi => 2**20, Gi => 2**30);

sub new {
    my ($class, %args) = @_;
    require YAML::XS;
    no warnings 'once';
    local $YAML::XS::Boolean = 'JSON::PP';
    my $self = bless { %args, pods => {}, next_ip => 10 }, $class;
    for my $object (YAML::XS::LoadFile($args{file})) {
        $self->{objects}{ $object->{kind} }{ $object->{metadata}{name} }
            = $object;
    }
    return $self;
}

sub object {
    my ($self, $kind, $name) = @_;
    return $self->{objects}{$kind}{$name} // croak "there is no $kind $name";
}

# podman WORDS: its output; dies when it fails
sub podman {
    my ($self, @words) = @_;
    my ($status, $out) = $self->try_podman(@words);
    croak "podman @words: $out" if $status;
    chomp $out;
    return $out;
}

sub try_podman {
    my ($self, @words) = @_;
    open my $pipe, '-|', 'sh', '-c', 'exec "$@" 2>&1 </dev/null', 'sh',
        'podman', @words or croak "podman: $!";
    my $out = do { local $/; <$pipe> } // '';
    close $pipe;
    return ($? & 127 ? 128 : $? >> 8, $out);
}

# Dies for a key that nobody here looks at.
sub known {
    my ($what, $hash, @names) = @_;
    my %names = map { $_ => 1 } @names;
    my @other = grep { !$names{$_} } sort keys %{ $hash || {} };
    croak "$what: not understood: @other" if @other;
    return;
}

# -- volumes ------------------------------------------------------------------

sub write_files {
    my ($dir, $data) = @_;
    make_path($dir);
    for my $name (keys %$data) {
        open my $file, '>', "$dir/$name" or croak "$dir/$name: $!";
        print $file $data->{$name};
        close $file or croak "$dir/$name: $!";
        chmod 0644, "$dir/$name";
    }
    return;
}

sub secret_data {
    my ($self, $name) = @_;
    require MIME::Base64;
    my $data = $self->object(Secret => $name)->{data} || {};
    return { map { $_ => MIME::Base64::decode_base64($data->{$_}) }
             keys %$data };
}

sub make_volume {
    my ($self, $pod, $volume) = @_;
    my $dir = "$pod->{dir}/volumes/$volume->{name}";
    known("volume $volume->{name}", $volume, qw(name emptyDir secret configMap));
    if (my $map = $volume->{configMap}) {
        known("configMap of $volume->{name}", $map, 'name');
        write_files($dir, $self->object(ConfigMap => $map->{name})->{data});
        return $dir;
    }
    if (my $secret = $volume->{secret}) {
        known("secret of $volume->{name}", $secret, 'secretName');
        write_files($dir, $self->secret_data($secret->{secretName}));
        return $dir;
    }
    make_path($dir);
    my $size = $volume->{emptyDir}{sizeLimit};
    if (($volume->{emptyDir}{medium} // '') eq 'Memory') {
        system('mount', '-t', 'tmpfs', '-o', 'size=' . bytes($size // '64Mi'),
               'tmpfs', $dir) == 0 or croak "mount $dir";
        push @{ $pod->{mounts} }, $dir;
    }
    chmod 0777, $dir;
    return $dir;
}

# As a new disk is: the root's, and there when the pod comes back.
sub make_claim {
    my ($self, $pod, $claim) = @_;
    my $dir = "$self->{dir}/claims/$claim->{metadata}{name}-$pod->{name}";
    make_path("$dir/lost+found");
    return $dir;
}

sub make_volumes {
    my ($self, $pod, $spec, $claims) = @_;
    my %made = map { $_->{name} => $self->make_volume($pod, $_) }
        @{ $spec->{volumes} || [] };
    for my $claim (@{ $claims || [] }) {
        $made{ $claim->{metadata}{name} } = $self->make_claim($pod, $claim);
    }
    my $group = $spec->{securityContext}{fsGroup};
    if (defined $group) {
        chown -1, $group, $_ and chmod 02775, $_ for values %made;
    }
    $pod->{volumes} = \%made;
    return;
}

# -- a container's flags ------------------------------------------------------

sub bytes {
    my ($text) = @_;
    my ($n, $unit) = $text =~ /\A(\d+)(Ki|Mi|Gi)\z/ or croak "size $text";
    return $n * $quantity{$unit};
}

sub environment {
    my ($self, $pod, $container) = @_;
    my %env;
    for my $from (@{ $container->{envFrom} || [] }) {
        known('envFrom', $from, 'configMapRef');
        my $map = $self->object(ConfigMap => $from->{configMapRef}{name});
        %env = (%env, %{ $map->{data} });
    }
    for my $item (@{ $container->{env} || [] }) {
        known("env $item->{name}", $item, qw(name value valueFrom));
        my $value = $item->{value};
        if (my $from = $item->{valueFrom}) {
            my $path = $from->{fieldRef}{fieldPath} // croak 'valueFrom';
            $value = { 'metadata.name' => $pod->{name},
                       'metadata.namespace' => $pod->{namespace} }->{$path}
                // croak "fieldPath $path";
        }
        $value =~ s/\$\((\w+)\)/$env{$1} \/\/ croak "no $1"/ge;
        $env{ $item->{name} } = $value;
    }
    return map { ('--env', "$_=$env{$_}") } sort keys %env;
}

sub security {
    my ($spec, $container) = @_;
    my %all = (%{ $spec->{securityContext} || {} },
               %{ $container->{securityContext} || {} });
    my @flags;
    known("securityContext of $container->{name}", \%all,
        qw(runAsNonRoot runAsUser runAsGroup readOnlyRootFilesystem fsGroup
           allowPrivilegeEscalation capabilities seccompProfile));
    croak "$container->{name}: runs as root"
        if $all{runAsNonRoot} && !$all{runAsUser};
    croak 'seccompProfile'
        if ($all{seccompProfile}{type} // '') ne 'RuntimeDefault';
    push @flags, '--user', join ':', $all{runAsUser}, $all{runAsGroup} // 0
        if defined $all{runAsUser};
    push @flags, '--read-only', '--read-only-tmpfs=false'
        if $all{readOnlyRootFilesystem};
    push @flags, '--security-opt', 'no-new-privileges'
        if defined $all{allowPrivilegeEscalation}
        && !$all{allowPrivilegeEscalation};
    push @flags, map { "--cap-drop=$_" } @{ $all{capabilities}{drop} || [] };
    push @flags, map { "--cap-add=$_" } @{ $all{capabilities}{add} || [] };
    return @flags;
}

sub container_flags {
    my ($self, $pod, $container) = @_;
    known("container $container->{name}", $container,
        qw(name image args env envFrom ports resources securityContext
           volumeMounts startupProbe livenessProbe readinessProbe lifecycle
           restartPolicy));
    my @flags = ('--pod', $pod->{id},
        '--name', "$pod->{id}-$container->{name}",
        '--image-volume=ignore', '--no-healthcheck',
        $self->environment($pod, $container),
        security($pod->{spec}, $container));
    my $memory = $container->{resources}{limits}{memory};
    push @flags, '--memory', bytes($memory) if defined $memory;
    for my $mount (@{ $container->{volumeMounts} || [] }) {
        known('volumeMount', $mount, qw(name mountPath readOnly));
        my $dir = $pod->{volumes}{ $mount->{name} }
            // croak "no volume $mount->{name}";
        push @flags, '--volume', "$dir:$mount->{mountPath}"
            . ($mount->{readOnly} ? ':ro' : '');
    }
    my $image = $container->{image};
    return (@flags, $self->{images}{$image} // $image,
            @{ $container->{args} || [] });
}

# -- probes -------------------------------------------------------------------

sub port_number {
    my ($container, $port) = @_;
    return $port if $port =~ /\A\d+\z/;
    my ($found) = grep { $_->{name} eq $port } @{ $container->{ports} || [] };
    return ($found // croak "no port $port")->{containerPort};
}

sub probe {
    my ($self, $pod, $container, $probe) = @_;
    my $limit = $probe->{timeoutSeconds} // 1;
    if (my $exec = $probe->{exec}) {
        return !($self->try_podman('exec', "$pod->{id}-$container->{name}",
                                   @{ $exec->{command} }))[0];
    }
    if (my $get = $probe->{httpGet}) {
        my $port = port_number($container, $get->{port});
        return HTTP::Tiny->new(timeout => $limit, no_proxy => $pod->{ip})
            ->get("http://$pod->{ip}:$port$get->{path}")->{success};
    }
    my $port = port_number($container, $probe->{tcpSocket}{port});
    return IO::Socket::INET->new(PeerAddr => "$pod->{ip}:$port",
                                 Timeout => $limit);
}

sub wait_started {
    my ($self, $pod, $container) = @_;
    my $probe = $container->{startupProbe} or return;
    for (1 .. $probe->{failureThreshold} // 3) {
        return if $self->probe($pod, $container, $probe);
        croak "$pod->{name}: $container->{name} ended: "
            . $self->logs($pod, $container->{name})
            if !$self->running($pod, $container);
        sleep($probe->{periodSeconds} // 10);
    }
    croak "$pod->{name}: $container->{name} does not start: "
        . $self->logs($pod, $container->{name});
}

sub running {
    my ($self, $pod, $container) = @_;
    return $self->podman('inspect', '--format', '{{.State.Running}}',
        "$pod->{id}-$container->{name}") eq 'true';
}

sub each_probe {
    my ($self, $pod, $kind) = @_;
    for my $container (@{ $pod->{running} }) {
        my $probe = $container->{$kind} or next;
        return if !$self->probe($pod, $container, $probe);
    }
    return 1;
}

sub ready { return $_[0]->each_probe($_[1], 'readinessProbe') }
sub alive { return $_[0]->each_probe($_[1], 'livenessProbe') }

sub wait_ready {
    my ($self, $pod, $seconds) = @_;
    my $end = time + $seconds;
    until ($self->ready($pod)) {
        croak "$pod->{name} is not ready" if time > $end;
        sleep 0.2;
    }
    $pod->{serving} = 1;
    $self->publish;
    return;
}

sub endpoints {
    my ($self, $service) = @_;
    my $selector = $self->object(Service => $service)->{spec}{selector};
    return map { $_->{ip} } grep { my $pod = $_; $pod->{serving}
        && !grep { ($pod->{labels}{$_} // '') ne $selector->{$_} }
            keys %$selector } map { $self->{pods}{$_} }
        sort keys %{ $self->{pods} };
}

# A file for each Service, for clients in other processes.
sub publish {
    my ($self) = @_;
    my $dir = "$self->{dir}/endpoints";
    make_path($dir);
    for my $name (keys %{ $self->{objects}{Service} }) {
        open my $file, '>', "$dir/.$name" or croak "$dir/$name: $!";
        print $file "$_\n" for $self->endpoints($name);
        close $file or croak "$dir/$name: $!";
        rename "$dir/.$name", "$dir/$name" or croak "$dir/$name: $!";
    }
    return;
}

# -- pods ---------------------------------------------------------------------

# The same for the same address: neighbours remember it.
sub mac {
    my ($ip) = @_;
    return sprintf '02:00:%02x:%02x:%02x:%02x', split /\./, $ip;
}

sub make_pod {
    my ($self, $owner, $name, $spec) = @_;
    my $template = $owner->{spec}{template};
    my $pod = {
        name => $name, id => "$self->{network}-$name", spec => $spec,
        mounts => [], running => [],
        namespace => $owner->{metadata}{namespace},
        labels => $template->{metadata}{labels} || {},
        ip => $self->{ips}{$name} //= "$self->{subnet}." . $self->{next_ip}++,
        dir => "$self->{dir}/pods/$name",
    };
    known("pod $name", $spec,
        qw(initContainers containers volumes securityContext restartPolicy
           serviceAccountName automountServiceAccountToken enableServiceLinks
           terminationGracePeriodSeconds topologySpreadConstraints));
    $self->make_volumes($pod, $spec, $owner->{spec}{volumeClaimTemplates});
    my %hosts = %{ $self->{hosts} || {} };
    $self->podman(qw(pod create --infra-image localhost/pause:1 --name),
        $pod->{id},
        '--hostname', $name, '--network', $self->{network}, '--ip', $pod->{ip},
        '--mac-address', mac($pod->{ip}),
        map { ('--add-host', "$_:$hosts{$_}") } sort keys %hosts);
    return $self->{pods}{$name} = $pod;
}

sub run_containers {
    my ($self, $pod) = @_;
    my $spec = $pod->{spec};
    my @sidecars = @{ $spec->{initContainers} || [] };
    for my $container (@sidecars, @{ $spec->{containers} }) {
        my $init = grep { $_ == $container } @sidecars;
        croak "$container->{name}: init containers must be sidecars"
            if $init && ($container->{restartPolicy} // '') ne 'Always';
        $self->podman('run', '-d', $self->container_flags($pod, $container));
        push @{ $pod->{running} }, $container;
        $self->wait_started($pod, $container);
    }
    return;
}

sub start {
    my ($self, $kind, $name, $ordinal) = @_;
    my $owner = $self->object($kind, $name);
    my $pod = $self->make_pod($owner, "$name-" . ($ordinal // 0),
                              $owner->{spec}{template}{spec});
    $self->run_containers($pod);
    return $pod;
}

# run_job NAME, kind => 'CronJob', as => POD: tries as often as the Job, or that
# of the CronJob, allows; its log
sub run_job {
    my ($self, $name, %args) = @_;
    my $job = $self->object($args{kind} // 'Job', $name);
    $job = { metadata => $job->{metadata}, %{ $job->{spec}{jobTemplate} } }
        if $job->{spec}{jobTemplate};
    my $pod = $self->make_pod($job, $args{as} // $name,
                              $job->{spec}{template}{spec});
    my ($container) = @{ $pod->{spec}{containers} };
    my ($status, $out);
    for (0 .. $job->{spec}{backoffLimit} // 6) {
        ($status, $out) = $self->try_podman('run', '--rm',
            $self->container_flags($pod, $container));
        last if $status == 0;
        sleep 1;
    }
    $self->remove($pod);
    croak "job $name: status $status: $out" if $status;
    return $out;
}

sub logs {
    my ($self, $pod, $container) = @_;
    return ($self->try_podman('logs', "$pod->{id}-$container"))[1];
}

# As the kubelet does: no new clients; hooks, then SIGTERM, all within the
# grace period; sidecars last, in reverse order. How many had to be killed.
sub stop {
    my ($self, $pod) = @_;
    my $end = time + ($pod->{spec}{terminationGracePeriodSeconds} // 30);
    my $killed = 0;
    $pod->{serving} = 0;
    $self->publish;
    for my $container (reverse @{ $pod->{running} }) {
        my $name = "$pod->{id}-$container->{name}";
        my $hook = $container->{lifecycle}{preStop}{exec};
        $self->try_podman('exec', $name, @{ $hook->{command} }) if $hook;
        my $left = int($end - time);
        $self->podman('stop', '-t', $left > 1 ? $left : 1, $name);
        my $code = $self->podman('inspect', '--format', '{{.State.ExitCode}}',
                                 $name);
        $killed++ if $code == 137;
        $pod->{log}{ $container->{name} } = $self->logs($pod,
                                                        $container->{name});
    }
    $self->remove($pod);
    return $killed;
}

# At once, as when a node fails.
sub kill_pod {
    my ($self, $pod) = @_;
    $pod->{serving} = 0;
    $self->publish;
    $self->podman('kill', "$pod->{id}-$_->{name}")
        for reverse @{ $pod->{running} };
    $self->remove($pod);
    return;
}

sub remove {
    my ($self, $pod) = @_;
    $self->try_podman(qw(pod rm -f -t 1), $pod->{id});
    system 'umount', $_ for grep { -d } @{ $pod->{mounts} };
    remove_tree($pod->{dir});
    delete $self->{pods}{ $pod->{name} };
    return;
}

# complain: what the containers said last, for a test that failed
sub complain {
    my ($self) = @_;
    for my $pod (values %{ $self->{pods} }) {
        for my $container (@{ $pod->{running} }) {
            my @lines = split /\n/, $self->logs($pod, $container->{name});
            splice @lines, 0, -40 if @lines > 40;
            print STDERR "# $pod->{name} $container->{name}: $_\n" for @lines;
        }
    }
    return;
}

sub remove_all {
    my ($self) = @_;
    $self->remove($_) for values %{ $self->{pods} };
    return;
}

1;
