#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# emailing-setup database: roles, database, schema, passwords and conninfo, on
# a server that PGHOST names; a second time it changes nothing.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use File::Temp ();
use Test::More;

use Emailing qw(build run);
use EmailingPg;

my $tmp = File::Temp->newdir('emailing.XXXXXX', TMPDIR => 1);
chmod 0755, "$tmp";
my $pg = EmailingPg->new;
$pg->psql('DROP ROLE owner', may_fail => 1);
$pg->psql($_) for "ALTER SYSTEM SET log_statement = 'all'",
    'ALTER SYSTEM SET log_min_duration_statement = 0',
    'SELECT pg_reload_conf()';

sub slurp {
    my ($path) = @_;
    open my $file, '<', $path or return '';
    local $/;
    return scalar <$file>;
}

sub spew {
    my ($path, $text) = @_;
    open my $file, '>', $path or die "$path: $!";
    print $file $text;
    close $file or die;
    return;
}

spew("$tmp/emailing.conf", qq(user = "postgres"\nmax_stale = 7\n));
my %env = (%ENV, PGHOST => $pg->{dir}, PGPORT => 5432, PGUSER => 'postgres',
           EMAILING_CONF => "$tmp/emailing.conf",
           MAILADMIN_CONF => "$tmp/mailadmin.conf",
           PATH => build() . "/mailadmin:$ENV{PATH}");
delete @env{qw(PGDATABASE PGOPTIONS)};

sub database {
    local %ENV = %env;
    return run([build() . '/conf/emailing-setup', 'database', @_]);
}

# Name, mode, group and content of each file.
sub state {
    return { map { $_ => sprintf '%o %d %s', (stat $_)[2, 5], slurp($_) }
             glob "$tmp/*" };
}

my ($status, $out, $err) = database();
is $status, 0, 'emailing-setup database' or diag $out, $err;
is $err, '', '... without a complaint';
like $out, qr/^made the $_$/m, "made the $_" for 'database emailing',
    map { "role emailing_$_" } qw(owner policyd mailadmin);

is $pg->psql(q{SELECT string_agg(rolname, ' ' ORDER BY rolname)
    FROM pg_authid WHERE rolname LIKE 'emailing%' AND rolpassword IS NOT NULL
    AND rolcanlogin AND NOT rolsuper AND NOT rolcreaterole}),
    'emailing_mailadmin emailing_policyd',
    'the two that log in have passwords';
is $pg->psql('SELECT rolcanlogin, rolsuper, rolcreaterole FROM pg_roles '
    . q{WHERE rolname = 'emailing_owner'}), 'f|f|f',
    'the owner of it all does not log in';
is $pg->psql(q{SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class
    WHERE relname LIKE 'emailing%'}, db => 'emailing'), 'emailing_owner',
    'everything is the owner\'s';
is $pg->psql(qq{SELECT has_schema_privilege('$_', 'public', 'CREATE')},
    db => 'emailing'), 'f', "$_ can make nothing there"
    for qw(emailing_policyd emailing_mailadmin stranger);

for (['policyd', 'emailing.conf', '100640', scalar getgrnam 'postgres'],
     ['mailadmin', 'mailadmin.conf', '100600', 0]) {
    my ($role, $conf, $mode, $gid) = @$_;
    my $file = "$tmp/$role.password";
    my $password = slurp($file);
    like $password, qr/\A[0-9a-f]{48}\n\z/, "a password for $role";
    is sprintf('%o %d', (stat $file)[2, 5]), "$mode $gid", '... for it alone';
    unlike slurp("$pg->{dir}/log"), qr/\Q${\ substr $password, 0, 48}\E/,
        "... and not in the server's log";
    my ($conninfo) = slurp("$tmp/$conf") =~ /^conninfo = "(.*)"$/m;
    is $conninfo, "host=$pg->{dir} port=5432 dbname=emailing "
        . "user=emailing_$role password=\${file:$file}", "conninfo in $conf";
}
like slurp("$tmp/emailing.conf"), qr/^max_stale = 7$/m, 'the rest stays';
is_deeply [run([build() . '/policyd/emailing-policyd', '-t', '-c',
                "$tmp/emailing.conf"])], [0, '', ''], 'policyd takes it';
my $mailadmin = build() . '/mailadmin/mailadmin';
is +(run([$mailadmin, '-c', "$tmp/mailadmin.conf", qw(add user test1)],
         "secret\n"))[0], 0, 'mailadmin works with it';

my $before = state();
($status, $out, $err) = database();
is $status, 0, 'a second time';
unlike $out, qr/^(?:made|set) /m, '... there is nothing to do' or diag $out;
is_deeply state(), $before, '... and nothing is changed';
like +(run([$mailadmin, '-c', "$tmp/mailadmin.conf", qw(list users)]))[1],
    qr/test1/, '... in the database neither';

is +(database('--name', 'Robert; --'))[0], 1, 'not every name is one';
is +(database('--name'))[0], 1, '--name of nothing';
is +(database('--dance'))[0], 64, 'an unknown option';
$env{PGHOST} = "$tmp/none";
is +(database())[0], 2, 'no server there';

done_testing;
