# SPDX-License-Identifier: MIT
package Emailing::Socket;

# A raw client of policyd's unix sockets. Each reply is held against the
# grammar before it is believed: exactly the lines expected, printable ASCII,
# an empty line, at most 512 bytes. Every wait has a deadline.

use strict;
use warnings;

use Carp qw(croak);
use IO::Socket::UNIX ();
use MIME::Base64 qw(encode_base64);
use Time::HiRes qw(time);

# What Postfix 3.7 sends, in its order.
my @names = qw(request protocol_state protocol_name client_address client_name
    client_port reverse_client_name server_address server_port helo_name
    sender recipient recipient_count queue_id instance size etrn_domain stress
    sasl_method sasl_username sasl_sender ccert_subject ccert_issuer
    ccert_fingerprint ccert_pubkey_fingerprint encryption_protocol
    encryption_cipher encryption_keysize policy_context);
my %defaults = (
    request => 'smtpd_access_policy', protocol_state => 'RCPT',
    protocol_name => 'ESMTP', client_address => '192.0.2.7',
    client_name => 'client.example', client_port => 50000,
    reverse_client_name => 'client.example', server_address => '192.0.2.1',
    server_port => 587, helo_name => 'client.example',
    recipient => 'someone@example.com', recipient_count => 0,
    instance => '1.2.3.0', size => 0, sasl_method => 'PLAIN',
    encryption_protocol => 'TLSv1.3', encryption_keysize => 256,
);

sub new {
    my ($class, $path) = @_;
    my $socket = IO::Socket::UNIX->new(Peer => $path)
        or croak "$path: $!";
    return bless { socket => $socket, buffer => '' }, $class;
}

# request_text {attributes}: as Postfix would send it
sub request_text {
    my ($attributes) = @_;
    my %all = (%defaults, %$attributes);
    return join '', (map { "$_=" . ($all{$_} // '') . "\n" } @names), "\n";
}

# send BYTES: false when the peer has closed
sub send {
    my ($self, $bytes) = @_;
    local $SIG{PIPE} = 'IGNORE';
    my $done = 0;
    while ($done < length $bytes) {
        my $n = syswrite $self->{socket}, $bytes, length($bytes) - $done, $done;
        return 0 if !$n;
        $done += $n;
    }
    return 1;
}

sub shut { return shutdown $_[0]{socket}, 1 }
sub close { return close $_[0]{socket} }

sub _fill {
    my ($self, $seconds) = @_;
    my $bits = '';
    vec($bits, fileno $self->{socket}, 1) = 1;
    my $found = select $bits, undef, undef, $seconds > 0 ? $seconds : 0;
    croak 'no reply in time' if !$found;
    my $n = sysread $self->{socket}, $self->{buffer}, 65536,
        length $self->{buffer};
    return $n; # 0 and undef: closed
}

# The next block, checked; nothing when the connection was closed before its
# first byte; dies when closed within it.
sub block {
    my ($self, $seconds) = @_;
    my $end = time + ($seconds // 15);
    while ($self->{buffer} !~ /\n\n/) {
        next if $self->_fill($end - time);
        return if $self->{buffer} eq '';
        croak "closed within a reply: $self->{buffer}";
    }
    $self->{buffer} =~ s/\A(.*?\n)\n//s;
    my $block = $1;
    croak 'reply over 512 bytes' if length $block > 511;
    croak "reply with odd bytes: $block" if $block =~ /[^\x20-\x7e\n]/;
    return $block;
}

# True when the peer closes without another byte.
sub closed {
    my ($self, $seconds) = @_;
    my $end = time + ($seconds // 15);
    return 0 if $self->{buffer} ne '';
    return !$self->_fill($end - time);
}

sub action {
    my ($self, $seconds) = @_;
    my $block = $self->block($seconds) // return;
    # The whole set of forms there is; what Postfix would misread is not in it.
    $block =~ /\Aaction=(DUNNO|[45]\d\d [45]\.\d+\.\d+ \S[^\n]*)\n\z/
        or croak "not a policy reply: $block";
    return $1;
}

sub policy {
    my ($self, $attributes) = @_;
    $self->send(request_text($attributes)) or return;
    return $self->action;
}

sub auth {
    my ($self, $user, $password, %more) = @_;
    $self->send("request=auth\nuser=$user\npassword="
        . encode_base64($password, '') . "\nclient="
        . ($more{client} // '192.0.2.7') . "\nservice=smtp\n\n") or return;
    return $self->auth_reply;
}

sub verifier {
    my ($self, $user) = @_;
    $self->send("request=verifier\nuser=$user\nclient=192.0.2.7\n"
        . "service=smtp\n\n") or return;
    return $self->auth_reply;
}

# A reference to a hash of the reply's attributes.
sub auth_reply {
    my ($self) = @_;
    my $block = $self->block // return;
    my %reply = $block =~ /^([a-z]+)=([^\n]*)$/mg;
    croak "not an auth reply: $block"
        if ($reply{status} // '') !~ /\A(?:ok|denied|unavailable)\z/;
    return \%reply;
}

1;
