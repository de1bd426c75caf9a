#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# A database of the Python secure_emailing, as its script made it, is upgraded
# in place; its user logs in with the password it had, and sends.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;

use Emailing qw(within);

my $s = Emailing->up;
my $md5 = 'fe01ce2a7fbac8fafaed7c982a04e229';

$s->sql(<<"END");
DROP SCHEMA public CASCADE;
CREATE SCHEMA public;
GRANT USAGE ON SCHEMA public TO PUBLIC;
CREATE TABLE emailing_users (
    id numeric(10) PRIMARY KEY,
    name varchar(200) CONSTRAINT auto_name_notnull CHECK (name IS NOT NULL),
    passwd varchar(200)
        CONSTRAINT auto_passwd_notnull CHECK (passwd IS NOT NULL),
    CONSTRAINT ck_name UNIQUE (name));
CREATE TABLE emailing_addresses (
    id numeric(10) PRIMARY KEY,
    address varchar(200)
        CONSTRAINT auto_address_notnull CHECK (address IS NOT NULL),
    CONSTRAINT ck_address UNIQUE (address));
CREATE TABLE emailing_domains (
    id numeric(10) PRIMARY KEY,
    domain varchar(200)
        CONSTRAINT auto_domain_notnull CHECK (domain IS NOT NULL),
    CONSTRAINT ck_domain UNIQUE (domain));
CREATE TABLE emailing_users_addresses (
    id_user numeric(10) REFERENCES emailing_users (id),
    id_address numeric(10) REFERENCES emailing_addresses (id),
    PRIMARY KEY (id_user, id_address));
CREATE TABLE emailing_users_domains (
    id_user numeric(10) REFERENCES emailing_users (id),
    id_domain numeric(10) REFERENCES emailing_domains (id),
    PRIMARY KEY (id_user, id_domain));
INSERT INTO emailing_users VALUES (1, 'demo', '$md5');
INSERT INTO emailing_addresses VALUES (1, 'demo\@test.com');
INSERT INTO emailing_domains VALUES (1, 'demo.com');
INSERT INTO emailing_users_addresses VALUES (1, 1);
INSERT INTO emailing_users_domains VALUES (1, 1);
END

my ($status, $out, $err) = $s->mailadmin([qw(schema upgrade)], undef,
                                         user => 'emailing_owner');
is $status, 0, 'schema upgrade' or diag $err;
is $s->mailadmin_ok([qw(show user demo)]), <<'END', 'the user is there';
--- Show demo ---
  Domains:
    * demo.com
  Adress:
    * demo@test.com
END
my $row = q(SELECT passwd FROM emailing_users WHERE name = 'demo');
is $s->sql($row), $md5, 'its secret is as it was';

# The database came back under policyd's feet.
ok within(10, sub { $s->auth('nobody', 'x') eq 'denied' }), 'policyd sees it';
like $s->smtp->starttls->auth_plain('demo', 'wrong'), qr/^535 /,
    'wrong password: 535';
is $s->sql($row), $md5, '... and the secret is untouched';
my $smtp = $s->logged_in('demo', 'demo');
pass 'demo logs in with demo';
like $smtp->send('demo@test.com'), qr/^250 /, 'and sends as demo@test.com';
like $smtp->send('any@demo.com'), qr/^250 /, 'and from demo.com';
is $smtp->send('other@test.com'), '553 5.7.1 <other@test.com>: '
    . 'Sender address rejected: not granted to user demo', 'and nothing else';
is_deeply [sort map { $_->{from} } $s->sink_messages(2)],
    ['any@demo.com', 'demo@test.com'], 'both messages arrived';
ok within(5, sub { $s->sql($row) =~ /^\$y\$/ }), 'the secret is no longer MD5'
    or diag $s->sql($row);
like $s->smtp->starttls->auth_plain('demo', 'demo'), qr/^235 /,
    'the password still holds';
like $s->smtp->starttls->auth_plain('demo', 'wrong'), qr/^535 /,
    'and no other';

done_testing;
