#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# The rendered manifests are what the API takes and what is promised, and the
# check that says so finds each of the mistakes planted here.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;

use Emailing::Cluster qw(slurp spew);

my $scratch = $ENV{IMAGE_SCRATCH} or die "run t/image/run\n";
my @overlays = qw(gke gke-cloudsql local);

# check FILE...: what it says; it runs where its modules are
sub check {
    my @files = @_;
    open my $pipe, '-|', 'sh', '-c', 'cd "$1" && shift && exec node "$@" 2>&1',
        'sh', "$scratch/node", "$FindBin::Bin/check.mjs", @files
        or die "node: $!";
    my @lines = <$pipe>;
    close $pipe;
    chomp @lines;
    return ($? >> 8, @lines);
}

for my $overlay (@overlays) {
    is_deeply [check("$scratch/rendered/$overlay.yaml")], [0], $overlay;
}

# -- planted mistakes ---------------------------------------------------------

my $name_is = 'app.kubernetes.io/name';

# name => [what to change, to what, what must be said]
my %planted = (
    'number as text' => [qr/replicas: 1/, 'replicas: "1"',
        qr/Deployment\/mailadmin: object.spec.replicas: must be a number/],
    'unknown field' => [qr/terminationGracePeriodSeconds/,
        'terminationGracePeriod', qr/terminationGracePeriod: no such field/],
    'unknown probe field' => [qr/failureThreshold/, 'failureTreshold',
        qr/failureTreshold: no such field/],
    'wrong case' => [qr/containerPort: 9000/, 'containerport: 9000',
        qr/containerport: no such field/],
    'quantity' => [qr/memory: 512Mi/, 'memory: 512Q', qr/schema: /],
    'unknown version' => [qr{apiVersion: apps/v1}, 'apiVersion: apps/v1beta1',
        qr/no Deployment in apps\/v1beta1/],
    'enum' => [qr/clusterIP: None/, 'type: Balancer',
        qr/schema: data\/spec\/type/],
    'certificate' => [qr/secretName: relay-tls\n---/, "secret: relay-tls\n---",
        qr/Certificate\/relay-tls: schema: /],
    'selector' => [qr/$name_is: relay\n  serviceName/,
        "$name_is: realy\n  serviceName",
        qr/selector: does not match/],
    'service of nothing' => [
        qr/targetPort: submission\n  selector:\n    $name_is: relay/,
        "targetPort: submission\n  selector:\n    $name_is: x",
        qr/Service\/relay: selector: selects nothing/],
    'port of nobody' => [qr/targetPort: submission/, 'targetPort: submit',
        qr/no pod has the port submit/],
    'probe of no port' => [qr/path: \/healthz\n(\s+)port: status/,
        "path: /healthz\n            port: state", qr/no port state/],
    'no volume' => [qr/- mountPath: \/tls\n(\s+)name: tls/,
        "- mountPath: /tls\n          name: tsl", qr/no volume tsl/],
    'no secret' => [qr/secretName: database-policyd/,
        'secretName: database-police', qr/no Secret database-police/],
    'no settings' => [qr/name: policyd-\w+\n(?=.{0,80}image:)/s,
        "name: policyd\n", qr/no ConfigMap policyd/],
    'long port name' => [qr/containerPort: 587\n(\s+)name: submission\n/,
        "containerPort: 587\n          name: submission-of-mail\n",
        qr/port name submission-of-mail/],
    'too much asked' => [qr/requests:\n(\s+)cpu: 100m\n\s+memory: 128Mi/,
        "requests:\n            cpu: 100m\n            memory: 1Gi",
        qr/requests more memory/],
    'an eighth capability' => [qr/- SETUID\n/,
        "- SETUID\n            - SYS_ADMIN\n", qr/not the seven/],
    'a capability less' => [qr/\s+- FOWNER\n/, "\n", qr/not the seven/],
    'root' => [qr/runAsNonRoot: true/, 'runAsNonRoot: false',
        qr/is not restricted/],
    'writable root' => [qr/readOnlyRootFilesystem: true/,
        'readOnlyRootFilesystem: false', qr/its root can be written/],
    'escalation' => [qr/allowPrivilegeEscalation: false/,
        'allowPrivilegeEscalation: true', qr/may gain privileges/],
    'latest' => [qr{mail/secure-emailing:0\.1\.0},
        'mail/secure-emailing:latest', qr/no fixed version/],
    'liveness asks' => [qr/livenessProbe:\n\s+httpGet:\n\s+path: .healthz/,
        "livenessProbe:\n          httpGet:\n            path: /readyz",
        qr/liveness asks the database/],
    'short grace' => [qr/terminationGracePeriodSeconds: 120/,
        'terminationGracePeriodSeconds: 60', qr/drain does not end/],
    'below the floor' => [qr/minReplicas: 2/, 'minReplicas: 1',
        qr/below the floor/],
    'two that scale' => [qr/podManagementPolicy: Parallel/,
        "podManagementPolicy: Parallel\n  replicas: 2",
        qr/each apply would scale it, too/],
    'scales in' => [qr/selectPolicy: Disabled/, 'selectPolicy: Max',
        qr/scales in, with mail in the queue/],
    'no autoscaler' => [qr/kind: HorizontalPodAutoscaler\n/,
        "kind: HorizontalPodAutoscalar\n",
        qr/HorizontalPodAutoscaler: there is none/],
    'no drain' => [qr/\n +lifecycle:\n.*?\n(?= +livenessProbe)/s, "\n",
        qr/does not drain/],
    'queue in the pod' => [qr/mountPath: \/var\/spool\/postfix\n(\s+)name: queue/,
        "mountPath: /var/spool/postfix\n          name: tmp",
        qr/its queue is on no volume of its own/],
    'one workload for two' => [qr/(?<=\n {12})$name_is: commands/,
        "$name_is: mailadmin", qr/selects pods of commands/],
    'other pods spread' => [qr/labelSelector:\n(\s+)matchLabels:\n\s+$name_is: relay/,
        "labelSelector:\n          matchLabels:\n            $name_is: x",
        qr/spread other pods/],
    'proxy too late' => [qr/\n      initContainers:\n/,
        "\n      initContainers:\n      - image: x:1\n        name: early\n",
        qr/cloud-sql-proxy: must be the first/],
    'budget of nothing' => [
        qr/maxUnavailable: 1\n  selector:\n\s+\w+:\n\s+$name_is: relay/,
        "maxUnavailable: 1\n  selector:\n    matchLabels:\n      $name_is: x",
        qr/PodDisruptionBudget\/relay: selector: selects nothing/],
    'everything allowed' => [qr/name: default-deny\n(.*?)podSelector: \{\}/s,
        "name: default-deny\n  namespace: x\nspec:\n  podSelector:\n"
            . "    matchLabels:\n      $name_is: relay",
        qr/no default deny/],
    'secret in the open' => [qr/name: RELAYHOST_PASSWORD_FILE/,
        'name: RELAYHOST_PASSWORD', qr/a secret in the environment/],
    'secret among settings' => [qr{//emailing_policyd\@},
        '//emailing_policyd:x@', qr/a secret that is not in a Secret/],
    'open to everybody' => [
        qr/  - from:\n    - namespaceSelector:\n.*?\n    ports:/s,
        "  - ports:", qr/NetworkPolicy\/\w+: ingress: is from anywhere/],
    'no pod security' => [qr/enforce: baseline/, 'enforce: privileged',
        qr/pod security is not enforced/],
);

my $good = slurp("$scratch/rendered/gke-cloudsql.yaml");
my $dir = File::Temp->newdir('planted.XXXXXX', DIR => $scratch);
my %files;
for my $name (sort keys %planted) {
    my ($from, $to) = @{ $planted{$name} };
    $to =~ s/\\n/\n/g;
    my $bad = $good =~ s/$from/$to/r;
    isnt $bad, $good, "planted: $name";
    my $file = $name =~ tr/ /-/r . '.yaml';
    spew("$dir/$file", $bad);
    $files{$name} = $file;
}
my ($status, @said) = check(map { "$dir/$_" } sort values %files);
is $status, 1, 'the check fails';
for my $name (sort keys %planted) {
    my @lines = grep { /\A\Q$files{$name}\E: / } @said;
    ok scalar(grep { $_ =~ $planted{$name}[2] } @lines), "caught: $name"
        or diag join "\n", "said: ", @lines;
}

done_testing;
