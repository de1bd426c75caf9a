# SPDX-License-Identifier: MIT
package Emailing::SMTP;

# A small SMTP client that sends what it is told, odd or not, and returns each
# reply whole: "250 2.1.0 Ok", lines of a long one joined by newlines. TLS
# verifies the server's certificate. Every wait has a deadline; a connection
# that is closed reads as "closed".

use strict;
use warnings;

use Carp qw(croak);
use IO::Socket::INET ();
use MIME::Base64 qw(encode_base64);

my $deadline = 30;

sub new {
    my ($class, %args) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => $args{address},
                                       Timeout => $deadline)
        or croak "$args{address}: $!";
    my $self = bless { socket => $socket, ca => $args{ca}, buffer => '',
                       transcript => '' }, $class;
    $self->{banner} = $self->reply;
    return $self if $args{no_ehlo};
    $self->{ehlo} = $self->command('EHLO client.example');
    return $self;
}

sub ehlo { return $_[0]{ehlo} }
sub banner { return $_[0]{banner} }

# All that was said after the login, both ways.
sub transcript { return $_[0]{transcript} }

sub reply {
    my ($self) = @_;
    local $SIG{ALRM} = sub { croak 'no SMTP reply in time' };
    alarm $deadline;
    my @lines;
    while (!@lines || $lines[-1] =~ /^\d{3}-/) {
        while ($self->{buffer} !~ /\n/) {
            my $n = sysread $self->{socket}, $self->{buffer}, 4096,
                length $self->{buffer};
            if (!$n) {
                alarm 0;
                return 'closed';
            }
        }
        $self->{buffer} =~ s/\A([^\n]*?)\r?\n//;
        push @lines, $1;
    }
    alarm 0;
    return join "\n", @lines;
}

sub put {
    my ($self, $bytes) = @_;
    local $SIG{PIPE} = 'IGNORE';
    while (length $bytes) {
        my $n = syswrite $self->{socket}, $bytes or last;
        substr $bytes, 0, $n, '';
    }
    return;
}

sub command {
    my ($self, $line) = @_;
    $self->put("$line\r\n");
    return $self->reply;
}

sub starttls {
    my ($self) = @_;
    require IO::Socket::SSL;
    my $reply = $self->command('STARTTLS');
    croak "STARTTLS: $reply" if $reply !~ /^220 /;
    IO::Socket::SSL->start_SSL($self->{socket},
        SSL_ca_file => $self->{ca}, SSL_hostname => 'localhost',
        SSL_verifycn_name => 'localhost', SSL_verifycn_scheme => 'smtp',
        SSL_verify_mode => IO::Socket::SSL::SSL_VERIFY_PEER(),
        Timeout => $deadline) or croak 'TLS: ' . IO::Socket::SSL::errstr();
    $self->{ehlo} = $self->command('EHLO client.example');
    return $self;
}

sub auth_plain {
    my ($self, $user, $password, $authzid) = @_;
    return $self->command('AUTH PLAIN '
        . encode_base64(join("\0", $authzid // '', $user, $password), ''));
}

sub auth_login {
    my ($self, $user, $password) = @_;
    my $reply = $self->command('AUTH LOGIN');
    for my $word ($user, $password) {
        return $reply if $reply !~ /^334 /;
        $reply = $self->command(encode_base64($word, ''));
    }
    return $reply;
}

sub mail { return $_[0]->command("MAIL FROM:<$_[1]>" . ($_[2] // '')) }
sub rcpt { return $_[0]->command("RCPT TO:<$_[1]>") }
sub rset { return $_[0]->command('RSET') }
sub quit { return $_[0]->command('QUIT') }

# send FROM, to => ADDRESS, body => TEXT: the reply that ended it, the first
# that is no success, or the one to the message
sub send {
    my ($self, $from, %args) = @_;
    my $reply = $self->mail($from, $args{parameters});
    $reply = $self->rcpt($args{to} // 'someone@example.com')
        if $reply =~ /^2/;
    $reply = $self->command('DATA') if $reply =~ /^2/;
    return $self->_failed($reply) if $reply !~ /^354 /;
    $self->put("From: <who\@header.example>\r\nSubject: test\r\n\r\n"
        . ($args{body} // 'body') . "\r\n.\r\n");
    return $self->reply;
}

sub _failed {
    my ($self, $reply) = @_;
    $self->rset if $reply ne 'closed';
    return $reply;
}

1;
