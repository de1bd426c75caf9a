#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# The documented session, to the byte, as the role that mailadmin has; and the
# same language line by line. The cases M1 and M4.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";
use Emailing::Case qw(case);
use EmailingPg;
use Test::More;

case 'M1';
my $pg = EmailingPg->new;

sub ok_run {
    my ($stdin, @words) = @_;
    my $r = $pg->mailadmin({user => 'emailing_mailadmin', stdin => $stdin},
        @words);
    is_deeply [@$r{qw(status err)}], [0, ''], "@words" or diag explain $r;
    return $r->{out};
}

is $pg->mailadmin(qw(schema init))->{status}, 0, 'schema init';
is ok_run('', qw(list users)), "--- emailing_users ---\n", 'empty at first';
is ok_run("secret1\n", qw(add user test1)), '', 'silent';
is ok_run("secret2", qw(add user test2)), '', 'no newline at the end';
is ok_run('', qw(add address user@test1.com)), '';
is ok_run('', qw(add domain test1.com)), '';
is ok_run('', qw(grant address user@test1.com to test1)), '';
is ok_run('', qw(grant address user@test1.com to test2)), '';
is ok_run('', qw(grant domain test1.com to test1)), '';
is ok_run('', qw(grant domain test1.com to test2)), '';

is ok_run('', qw(list users)), <<'END';
--- emailing_users ---
    - test1
    - test2
END
is ok_run('', qw(list addresses)), <<'END';
--- emailing_addresses ---
    - user@test1.com
END
is ok_run('', qw(list domains)), <<'END';
--- emailing_domains ---
    - test1.com
END
my $user = <<'END';
--- Show test1 ---
  Domains:
    * test1.com
  Adress:
    * user@test1.com
END
is ok_run('', qw(show user test1)), $user;
is ok_run('', qw(SHOW User TEST1)), $user, 'in any case';
is ok_run('', qw(show address user@test1.com)), <<'END';
--- Show user@test1.com ---
  Users:
    * test1
    * test2
END
is ok_run('', qw(show domain test1.com)), <<'END';
--- Show test1.com ---
  Users:
    * test1
    * test2
END
is ok_run('', qw(grant domain test1.com to test2 with subdomains)), '';
is ok_run('', qw(show domain test1.com)), <<'END', 'subdomains are shown';
--- Show test1.com ---
  Users:
    * test1
    * test2 (with subdomains)
END
is ok_run('', qw(grant domain test1.com to test2)), '';
is ok_run('', qw(show user test2)), $user =~ s/Show test1/Show test2/r,
    'a second grant makes it what it says';

my $stored = $pg->psql("SELECT passwd FROM emailing_users "
    . "WHERE name = 'test1'");
like $stored, qr/^\$y\$/, 'stored as yescrypt';
is crypt('secret1', $stored), $stored, 'of the password on standard input';
$stored = $pg->psql("SELECT passwd FROM emailing_users WHERE name = 'test2'");
is crypt('secret2', $stored), $stored, 'also without a newline';

is ok_run('', qw(revoke domain test1.com from test1)), '';
is ok_run('', qw(show domain test1.com)), <<'END', 'revoked';
--- Show test1.com ---
  Users:
    * test2
END
is ok_run('', qw(del user test1)), '';
is ok_run('', qw(show address user@test1.com)), <<'END', 'its grants went too';
--- Show user@test1.com ---
  Users:
    * test2
END

# The same language line by line; failures do not end it.
case 'M4';
my $r = $pg->mailadmin({user => 'emailing_mailadmin', stdin => <<'END'});
add user test3
secret3

nonsense
del user nobody
	list   users
passwd test3
secret4
exit
list domains
END
is $r->{status}, 0, 'end of a session';
is $r->{out}, <<'END', 'its output';
--- emailing_users ---
    - test2
    - test3
Bye
END
is $r->{err}, <<'END', 'its messages';
mailadmin: line 4: unknown command (see: mailadmin help)
mailadmin: line 5: no such user: nobody
END
$stored = $pg->psql("SELECT passwd FROM emailing_users WHERE name = 'test3'");
is crypt('secret4', $stored), $stored, 'passwd in a session';

$r = $pg->mailadmin({stdin => "list users\n" . ('x' x 70_000)
    . "\nlist domains\n" . ('y' x 200_000)});
is $r->{status}, 0, 'endless lines';
is $r->{out}, <<'END', 'what is around them is done';
--- emailing_users ---
    - test2
    - test3
--- emailing_domains ---
    - test1.com
END
is $r->{err}, <<'END', 'they are refused';
mailadmin: line 2: line over 65536 bytes
mailadmin: line 4: line over 65536 bytes
END

$r = $pg->mailadmin({stdin => "add user bad'name\nlist\nlist domains\n"});
is $r->{out}, "--- emailing_domains ---\n    - test1.com\n",
    'the password of a bad name is not taken for a command';
unlike $r->{err}, qr/usage/, 'nor does it show up';

done_testing;
