#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# conf/quickstart: its verbs, two side by side, and nothing left behind.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use File::Find ();
use File::Temp ();
use IO::Socket::INET ();
use Test::More;

use Emailing qw(run within);

# The configuration and state of the host's own Postfix and PostgreSQL.
sub host_state {
    my @state;
    my @places = grep { -e } qw(/etc/postfix /var/spool/postfix
        /var/lib/postfix /etc/postgresql /etc/postgresql-common
        /var/lib/postgresql /usr/sbin/policy-rc.d);
    File::Find::find({ no_chdir => 1, wanted => sub {
        my @stat = lstat or return;
        push @state, join ' ', $File::Find::name, @stat[2, 4, 5, 7, 9];
    } }, @places) if @places;
    return join "\n", sort @state;
}

# Processes that have to do with a home, zombies aside.
sub processes {
    my ($home) = @_;
    my @found;
    for my $proc (glob '/proc/[0-9]*') {
        my $text = join " ", map { readlink("$proc/$_") // "" }
            qw(cwd root exe);
        if (open my $file, '<', "$proc/cmdline") {
            local $/;
            $text .= ' ' . (<$file> // '');
        }
        push @found, "$proc $text" if $text =~ m{\Q$home\E(?:/|\0|\s|\z)};
    }
    return @found;
}

my $host = host_state();

# -- two at once --------------------------------------------------------------

my ($one, $two) = (Emailing->up, Emailing->up);
my @names = qw(EMAILING_CONF MAILADMIN_CONF EMAILING_SMTP EMAILING_SINK
    EMAILING_CA EMAILING_MAILLOG EMAILING_POLICY EMAILING_AUTH PGHOST PGPORT
    PGDATABASE PGUSER);
for my $s ($one, $two) {
    ok -e $s->env($_), "env: $_ is there"
        for qw(EMAILING_CONF MAILADMIN_CONF EMAILING_SINK EMAILING_CA
               EMAILING_MAILLOG EMAILING_POLICY EMAILING_AUTH PGHOST);
    is $s->sql('SELECT current_user'), 'emailing_owner', 'PGUSER is the owner';
}
isnt $one->env($_), $two->env($_), "$_ differs"
    for qw(EMAILING_SMTP EMAILING_SINK EMAILING_POLICY PGHOST PGPORT);
$one->make_session('first');
is $two->mailadmin_ok([qw(list users)]), "--- emailing_users ---\n",
    'users of the one are not in the other';
is $one->auth('test1', 'first'), 'ok', 'a login at the one';
is $two->auth('test1', 'first'), 'denied', 'not at the other';

my ($status, $out) = $one->quickstart('env');
my ($shell, $words) = run(['sh', '-c', "$out\n" . 'echo $PGUSER; '
    . 'command -v mailadmin; command -v emailing-policyd']);
like $words, qr{\Aemailing_owner\n/.*/mailadmin\n/.*/emailing-policyd\n\z},
    'a shell takes what env prints';

# -- verbs --------------------------------------------------------------------

my %pids = map { $_ => $one->pid($_) } qw(postgres postfix policyd sink);
is +($one->quickstart('up'))[0], 0, 'up a second time succeeds';
is_deeply { map { $_ => $one->pid($_) } keys %pids }, \%pids,
    '... and starts nothing anew';
for my $name (sort keys %pids) {
    $one->service(stop => $name);
    ok !kill(0, $pids{$name}) || !-e "/proc/$pids{$name}/exe", "stop $name";
    $one->service(start => $name);
    isnt $one->pid($name), $pids{$name}, "start $name";
}
ok within(5, sub { $one->auth('test1', 'first') eq 'ok' }),
    'all of it works after that';
is +($one->quickstart('stop', 'nothing'))[0], 64, 'an unknown service: usage';
is +($one->quickstart('dance'))[0], 64, 'an unknown verb: usage';

# A pid that was noted long ago may be another's today.
my $pid = $one->pid('sink');
$one->service(stop => 'sink');
my $bystander = fork // die;
exec 'sleep', '60' if $bystander == 0;
{
    open my $file, '>', $one->home . '/run/sink' or die;
    print $file "$bystander 12345 /usr/bin/sleep\n";
}
$one->service(stop => 'sink');
ok kill(0, $bystander), 'a process that is not ours is not signalled';
kill KILL => $bystander;
waitpid $bystander, 0;

# -- errors -------------------------------------------------------------------

{
    my $taken = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1);
    my $dir = File::Temp->newdir(TMPDIR => 1);
    chmod 0711, "$dir";
    local @{ $one->{environment} }{qw(EMAILING_HOME EMAILING_PG_PORT)} =
        ("$dir/h", $taken->sockport);
    my ($failed, undef, $err) = $one->quickstart('up');
    isnt $failed, 0, 'a port that is taken: up fails';
    like $err, qr/port @{[$taken->sockport]} .* is taken; set EMAILING_PG_PORT/,
        '... and says which';
    $one->quickstart('down');
    ok !-e "$dir/h", '... and down cleans up';
}
{
    my $dir = File::Temp->newdir(TMPDIR => 1); # mode 0700
    local $one->{environment}{EMAILING_HOME} = "$dir/h";
    my ($failed, undef, $err) = $one->quickstart('up');
    isnt $failed, 0, 'a home that others cannot reach: up fails';
    like $err, qr/cannot reach it/, '... and says so';
    $one->quickstart('down');
}
{
    local $one->{environment}{EMAILING_HOME} = '/nonexistent-home';
    is +($one->quickstart('env'))[0], 1, 'env where nothing is up: fails';
    is +($one->quickstart('down'))[0], 0, 'down where nothing is up: succeeds';
}

# -- down ---------------------------------------------------------------------

my $home = $two->home;
$two->down;
is_deeply [processes($home)], [], 'down leaves no process';
ok !-e $home, '... and no home';
is $one->auth('test1', 'first'), 'ok', '... and the other one alone';

# A folder that was there before stays, as it was.
my $before = File::Temp->newdir(TMPDIR => 1);
{
    open my $file, '>', "$before/keep" or die;
}
{
    local $one->{environment}{EMAILING_HOME} = "$before";
    local @{ $one->{environment} }{map { "EMAILING_${_}_PORT" }
        qw(SMTP SINK PG STATUS)} = Emailing::free_ports();
    is +($one->quickstart('up'))[0], 0, 'up in a folder that is there';
    is +($one->quickstart('down'))[0], 0, 'down';
    is_deeply [map { s{.*/}{}r } glob "$before/{.[a-z]*,*}"], ['keep'],
        '... leaves what was in it';
    is +(stat "$before")[2] & 07777, 0700, '... and its mode';
    is_deeply [processes("$before")], [], '... and no process';
}
$one->down;
is host_state(), $host, "the host's own Postfix and PostgreSQL are untouched";

done_testing;
