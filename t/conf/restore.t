#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# Backup and restore as emailing(7) has them: its commands, from one server to
# another.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use File::Temp ();
use Test::More;

use Emailing qw(build run top);
use EmailingPg;

my $tmp = File::Temp->newdir('emailing.XXXXXX', TMPDIR => 1);
chmod 0755, "$tmp";
open my $file, '<', top() . '/conf/man/emailing.7' or die $!;
my $page = do { local $/; <$file> };
my ($section) = $page =~ /^\.Sh BACKUP AND RESTORE\n(.*?)^\.Sh /ms or die;
my ($backup, $restore) = $section =~ /^\.Bd -literal\n(.*?)^\.Ed\n/msg;
like $restore, qr/^pg_restore /m, 'the manual has the commands';

open my $conf, '>', "$tmp/emailing.conf" or die $!;
print $conf qq(user = "postgres"\n);
close $conf or die $!;

# as SERVER, COMMANDS: in the folder, with programs of the server's release
sub as {
    my ($pg, $commands) = @_;
    local %ENV = (%ENV, PGHOST => $pg->{dir}, PGPORT => 5432,
        PGUSER => 'postgres', EMAILING_CONF => "$tmp/emailing.conf",
        MAILADMIN_CONF => "$tmp/mailadmin.conf",
        PATH => join ':', $pg->{bin}, build() . '/mailadmin',
            build() . '/conf', $ENV{PATH});
    delete @ENV{qw(PGDATABASE PGOPTIONS)};
    return run(['sh', '-euc', "cd $tmp; $commands"]);
}

sub content {
    my ($pg) = @_;
    return [map { $pg->psql($_, db => 'emailing') }
        'SELECT name, passwd FROM emailing_users ORDER BY 1',
        q{SELECT * FROM emailing_lookup('test1')},
        'SELECT count(*) FROM emailing_audit',
        q{SELECT rolname, rolpassword FROM pg_authid
            WHERE rolname LIKE 'emailing%' ORDER BY 1},
        q{SELECT relname, relowner::regrole, relacl FROM pg_class
            WHERE relname LIKE 'emailing%' ORDER BY 1},
        q{SELECT oid::regprocedure, proacl FROM pg_proc
            WHERE proname LIKE 'emailing%' ORDER BY oid::regprocedure::text}];
}

my ($one, $two) = (EmailingPg->new, EmailingPg->new);
my ($status, $out, $err) = as($one, 'emailing-setup database');
is $status, 0, 'a database' or diag $err;
($status, $out, $err) = as($one, <<'END');
export PGUSER=emailing_mailadmin PGDATABASE=emailing
echo secret | mailadmin add user test1
mailadmin add address user@test1.com
mailadmin add domain test1.com
mailadmin grant address user@test1.com to test1
mailadmin grant domain test1.com to test1 with subdomains
END
is $status, 0, '... with grants' or diag $err;
($status, $out, $err) = as($one, $backup);
is_deeply [$status, $err], [0, ''], 'the backup';

($status, $out, $err) = as($two, $restore);
is $status, 0, 'the restore' or diag $out;
is_deeply [grep { !/role "\w+" already exists/ } split /\n/, $err], [],
    '... without a complaint';
unlike $out, qr/^(?:made|set) /m, '... and emailing-setup finds all there';
is_deeply content($two), content($one), 'all is as it was, rights included';
is +(as($two, 'export PGDATABASE=emailing PGUSER=emailing_mailadmin
    mailadmin show user test1'))[1],
    "--- Show test1 ---\n  Domains:\n    * test1.com (with subdomains)\n"
    . "  Adress:\n    * user\@test1.com\n", 'mailadmin shows it';

done_testing;
