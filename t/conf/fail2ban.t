#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# The fail2ban filter of emailing(7) on lines that policyd wrote: it finds the
# client of each refused login, whatever the login's name says, and nothing in
# an outage. t/conf/packages.t has fail2ban itself read them.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/..";

use Test::More;

use Emailing qw(top within);

open my $file, '<', top() . '/conf/man/emailing.7' or die $!;
my $page = do { local $/; <$file> };
my ($regex) = $page =~ /^failregex = (.*)$/m or die;
$regex =~ s/\\e/\\/g;
# As fail2ban's common.conf and its <HOST> have them, near enough.
ok $regex =~ s/%\(__prefix_line\)s/\\s*(?:\\S+ )?emailing-policyd\\[\\d+\\]: /,
    'the filter begins where the line does';
ok $regex =~ s/<HOST>/(?<host>[0-9a-fA-F.:]+)/, '... and looks for a host';

my $s = Emailing->up;
$s->make_session('secret');

# As syslog would write it.
sub found {
    return map { "relay emailing-policyd[17]: $_" =~ /$regex/ ? $+{host} : () }
        map { s/\A.*?(?=auth: )//r } grep { /auth: / }
        split /\n/, $s->log('policyd');
}

# Names that cannot be anyone's end in the plugin, and without a line.
my @impossible = ('x client=192.0.2.66 service=', "y\nauth: denied: user=z "
                  . 'client=192.0.2.66 service=');
my @possible = qw(test1 nobody client.192.0.2.66);
for my $name (@possible, @impossible) {
    like $s->smtp->starttls->auth_plain($name, 'wrong'), qr/^535 /,
        'a refused login';
}
is_deeply [found()], [('127.0.0.1') x @possible],
    'the client of each, whatever the name says';

my $before = () = $s->log('maillog') =~ /SASL PLAIN authentication failed/g;
is $before, @possible + @impossible, "Postfix's line of each";
$s->service(stop => 'postgres');
like $s->smtp->starttls->auth_plain('unknown', 'right'), qr/^454 /,
    'a login while the database is away';
ok within(10, sub {
    my $now = () = $s->log('maillog') =~ /SASL PLAIN authentication failed/g;
    return $now == $before + 1;
}), '... for Postfix one more failure';
is_deeply [found()], [('127.0.0.1') x @possible],
    '... and no reason to ban anyone';

done_testing;
