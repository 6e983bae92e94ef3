#!/usr/bin/perl
# The agent of the test guest: opens and uses sockets as it is asked to over a port that is not the network. See
# tools/scenario/agent_channel.ts for the other end.
#
#   usage: agent NAME        of a virtio serial port
#
# A message is 32 bits of length, most significant byte first, then a line of words that ends with "\n", then bytes.
# Sockets go by numbers: 1 and up are chosen by the scenario, FIRST_CALL and up by us, for calls that were accepted.
# VERSION is that of IP, 4 or 6.
#
#   udp N VERSION LOCAL TTL TOS [ADDR PORT]
#                             opens a socket, connected to a peer if one is given; "-" is the default
#   icmp N VERSION            opens a raw one: messages go out without an IP header, and come with it in IPv4 only
#   send N ADDR PORT, bytes   sends a datagram
#   listen N VERSION PORT     TCP
#   dial N ADDR PORT
#   write N, bytes · shut N   sends bytes; ends our half once they are sent
#   close N
#
#   hello                     once, at the beginning
#   ok N · error N ERROR      the result of udp, icmp, listen, dial; an error also later, such as ECONNRESET
#   from N ADDR PORT, bytes   a datagram
#   call N M ADDR PORT        a call to listening N is now M
#   data N, bytes · end N     received over TCP
#   taken N                   the bytes of one write are Linux' now

use strict;
use warnings;
use Errno ();
use Fcntl qw(F_SETFL O_NONBLOCK O_RDWR);
use Socket qw(:DEFAULT AF_INET6 IPPROTO_ICMP IPPROTO_ICMPV6 IPPROTO_IP IPPROTO_IPV6 IPV6_UNICAST_HOPS IPV6_V6ONLY
  IP_TOS IP_TTL SOCK_NONBLOCK inet_ntop inet_pton pack_sockaddr_in6 sockaddr_family unpack_sockaddr_in6);

use constant {
  FIRST_CALL => 1_000_000,
  CHUNK      => 65536,
  BUFFER     => 1 << 20,
  BACKLOG    => 8,
  SHUT_WR    => 1,
  OPEN_TRIES => 500,
  TCLASS     => 67,              # IPV6_TCLASS, which Socket does not have
};

# What differs between the versions of IP. The option is [level, number].
my %families = (
  4 => { af => AF_INET, any => sub { pack_sockaddr_in($_[0], INADDR_ANY) }, icmp => IPPROTO_ICMP,
         ttl => [IPPROTO_IP, IP_TTL], tos => [IPPROTO_IP, IP_TOS] },
  6 => { af => AF_INET6, any => sub { pack_sockaddr_in6($_[0], inet_pton(AF_INET6, '::')) }, icmp => IPPROTO_ICMPV6,
         ttl => [IPPROTO_IPV6, IPV6_UNICAST_HOPS], tos => [IPPROTO_IPV6, TCLASS] },
);

my %sockets;                     # number => { fh, kind, out (bytes), writes (their lengths), shut, refuses }
my $next_call = FIRST_CALL;
my $port;
my $in = '';

# --- the port ---

sub tell_host {
  my ($line, $bytes) = @_;
  my $message = "$line\n" . ($bytes // '');
  $message = pack('N', length $message) . $message;
  for (my $at = 0; $at < length $message;) {
    my $count = syswrite $port, $message, length($message) - $at, $at;
    if (defined $count) { $at += $count }
    elsif (!$!{EINTR} && !$!{EAGAIN}) { die "Cannot write to the port: $!\n" }
  }
}

# The name of an error, as errno(3) has it.
sub error_name {
  my ($errno) = @_;
  local $! = $errno;
  for my $name (keys %!) { return $name if $!{$name} }
  return "E$errno";
}

sub fail {
  my ($number, $errno) = @_;
  tell_host("error $number " . error_name($errno));
}

sub read_port {
  my $count = sysread $port, $in, CHUNK + 4096, length $in;
  return if !defined $count && ($!{EINTR} || $!{EAGAIN});
  die "Cannot read the port: $!\n" if !defined $count;
  exit 0 if $count == 0;
  while (length $in >= 4) {
    my $length = unpack 'N', $in;
    last if length($in) < 4 + $length;
    my $message = substr $in, 4, $length;
    substr $in, 0, 4 + $length, '';
    my $end = index $message, "\n";
    my ($verb, $number, @words) = split / /, substr $message, 0, $end;
    obey($verb, $number, \@words, substr $message, $end + 1);
  }
}

# --- commands ---

my %verbs = (
  udp    => \&open_udp,
  icmp   => \&open_icmp,
  send   => \&send_datagram,
  listen => \&open_listener,
  dial   => \&dial,
  write  => \&write_bytes,
  shut   => \&shut,
  close  => \&close_socket,
);

sub obey {
  my ($verb, $number, $words, $bytes) = @_;
  my $act = $verbs{$verb} or die "Cannot do \"$verb\"\n";
  # A message to a socket that has just failed has no receiver.
  return if !$sockets{$number} && $verb =~ /^(send|write|shut|close)$/;
  $act->($number, $words, $bytes);
}

# A new socket; undef if there is none: then the host has the error.
sub new_socket {
  my ($number, $kind, $version, $type, $protocol) = @_;
  my $fh;
  if (!socket $fh, $families{$version}{af}, $type | SOCK_NONBLOCK, $protocol) {
    fail($number, $!);
    return undef;
  }
  # So that a socket of IPv4 may have the same port; a raw one has none.
  setsockopt $fh, IPPROTO_IPV6, IPV6_V6ONLY, 1 if $version == 6 && $type != SOCK_RAW;
  return $sockets{$number} = { fh => $fh, kind => $kind, out => '', writes => [], shut => 0 };
}

# Closes a new socket if a call about it failed; whether it is still open.
sub attempt {
  my ($number, $ok) = @_;
  return 1 if $ok;
  my $errno = $! + 0;
  delete $sockets{$number};
  fail($number, $errno);
  return 0;
}

sub version_of {
  my ($addr) = @_;
  return $addr =~ /:/ ? 6 : 4;
}

sub name_of {
  my ($addr, $number) = @_;
  return pack_sockaddr_in($number, inet_aton($addr)) if version_of($addr) == 4;
  return pack_sockaddr_in6($number, inet_pton(AF_INET6, $addr));
}

sub words_of {
  my ($name) = @_;
  my $family = sockaddr_family($name);
  my ($number, $addr) = $family == AF_INET ? unpack_sockaddr_in($name) : unpack_sockaddr_in6($name);
  return inet_ntop($family, $addr) . " $number";
}

sub set_option {
  my ($fh, $option, $value) = @_;
  return setsockopt $fh, $option->[0], $option->[1], $value + 0;
}

sub open_udp {
  my ($number, $words) = @_;
  my ($version, $local, $ttl, $tos, $addr, $peer) = @$words;
  my $family = $families{$version};
  my $socket = new_socket($number, 'datagram', $version, SOCK_DGRAM, 0) or return;
  my $fh = $socket->{fh};
  setsockopt $fh, SOL_SOCKET, $_, BUFFER for SO_SNDBUF, SO_RCVBUF;
  return if !attempt($number, $local eq '-' || bind $fh, $family->{any}->($local));
  return if !attempt($number, $ttl eq '-' || set_option($fh, $family->{ttl}, $ttl));
  return if !attempt($number, $tos eq '-' || set_option($fh, $family->{tos}, $tos));
  return if !attempt($number, !defined $addr || connect $fh, name_of($addr, $peer));
  tell_host("ok $number");
}

sub open_icmp {
  my ($number, $words) = @_;
  my ($version) = @$words;
  tell_host("ok $number") if new_socket($number, 'datagram', $version, SOCK_RAW, $families{$version}{icmp});
}

sub send_datagram {
  my ($number, $words, $bytes) = @_;
  defined send $sockets{$number}{fh}, $bytes, 0, name_of(@$words) or fail($number, $!);
}

sub open_listener {
  my ($number, $words) = @_;
  my ($version, $local) = @$words;
  my $socket = new_socket($number, 'listener', $version, SOCK_STREAM, 0) or return;
  my $fh = $socket->{fh};
  setsockopt $fh, SOL_SOCKET, SO_REUSEADDR, 1;
  return if !attempt($number, bind $fh, $families{$version}{any}->($local));
  return if !attempt($number, listen $fh, BACKLOG);
  tell_host("ok $number");
}

sub dial {
  my ($number, $words) = @_;
  my $socket = new_socket($number, 'dialing', version_of($words->[0]), SOCK_STREAM, 0) or return;
  attempt($number, connect($socket->{fh}, name_of(@$words)) || $!{EINPROGRESS});
}

sub write_bytes {
  my ($number, undef, $bytes) = @_;
  my $socket = $sockets{$number};
  $socket->{out} .= $bytes;
  push @{ $socket->{writes} }, length $bytes;
  flush_out($number);
}

sub shut {
  my ($number) = @_;
  my $socket = $sockets{$number};
  $socket->{shut} = 1;
  flush_out($number);
}

sub close_socket {
  my ($number) = @_;
  my $socket = delete $sockets{$number};
  close $socket->{fh};
}

# --- sockets that are ready ---

# Sends the bytes that wait, as far as Linux takes them.
sub flush_out {
  my ($number) = @_;
  my $socket = $sockets{$number};
  if (length $socket->{out}) {
    my $count = send $socket->{fh}, $socket->{out}, MSG_NOSIGNAL;
    if (!defined $count) {
      return if $!{EAGAIN} || $!{EINTR};
      return broken($number, $! + 0);
    }
    substr $socket->{out}, 0, $count, '';
    my $writes = $socket->{writes};
    $writes->[0] -= $count;
    while (@$writes && $writes->[0] <= 0) {
      my $more = shift @$writes;
      $writes->[0] += $more if @$writes;
      tell_host("taken $number");
    }
  }
  if ($socket->{shut} == 1 && !length $socket->{out}) {
    $socket->{shut} = 2;
    shutdown $socket->{fh}, SHUT_WR;
  }
}

# Ends a connection that failed.
sub broken {
  my ($number, $errno) = @_;
  delete $sockets{$number};
  fail($number, $errno);
}

sub dialed {
  my ($number) = @_;
  my $socket = $sockets{$number};
  my $errno = unpack 'i', getsockopt $socket->{fh}, SOL_SOCKET, SO_ERROR;
  return broken($number, $errno) if $errno;
  $socket->{kind} = 'stream';
  tell_host("ok $number");
}

sub accept_calls {
  my ($number) = @_;
  while (my $name = accept my $fh, $sockets{$number}{fh}) {
    fcntl $fh, F_SETFL, O_RDWR | O_NONBLOCK;
    my $call = $next_call++;
    $sockets{$call} = { fh => $fh, kind => 'stream', out => '', writes => [], shut => 0 };
    tell_host("call $number $call " . words_of($name));
  }
}

sub receive_datagrams {
  my ($number) = @_;
  my $fh = $sockets{$number}{fh};
  while (1) {
    my $name = recv $fh, my $bytes, CHUNK, 0;
    if (defined $name) { tell_host("from $number " . words_of($name), $bytes) }
    elsif ($!{EAGAIN}) { return }
    elsif (!$!{EINTR}) { return fail($number, $!) }
  }
}

sub receive_bytes {
  my ($number) = @_;
  my $socket = $sockets{$number};
  my $count = sysread $socket->{fh}, my $bytes, CHUNK;
  if (!defined $count) {
    broken($number, $! + 0) if !$!{EAGAIN} && !$!{EINTR};
  } elsif ($count == 0) {
    $socket->{ended} = 1;
    tell_host("end $number");
  } else {
    tell_host("data $number", $bytes);
  }
}

my %readers = (
  listener => \&accept_calls,
  datagram => \&receive_datagrams,
  stream   => \&receive_bytes,
);

# Waits until a socket or the port is ready, and serves it.
sub turn {
  my ($reads, $writes) = ('', '');
  vec($reads, fileno $port, 1) = 1;
  while (my ($number, $socket) = each %sockets) {
    my $fd = fileno $socket->{fh};
    vec($reads, $fd, 1) = 1 if $readers{ $socket->{kind} } && !$socket->{ended};
    vec($writes, $fd, 1) = 1 if $socket->{kind} eq 'dialing' || length $socket->{out};
  }
  my $count = select my $readable = $reads, my $writable = $writes, undef, undef;
  return if $count < 0;
  for my $number (keys %sockets) {
    my $socket = $sockets{$number} or next;
    my $fd = fileno $socket->{fh};
    if (vec $writable, $fd, 1) { $socket->{kind} eq 'dialing' ? dialed($number) : flush_out($number) }
    if ($sockets{$number} && vec $readable, $fd, 1) { $readers{ $socket->{kind} }->($number) }
  }
  read_port() if vec $readable, fileno $port, 1;
}

# The file of the port that QEMU gave a name to; undef: there is none, yet.
sub port_file {
  my ($name) = @_;
  my $folder = '/sys/class/virtio-ports';
  opendir my $ports, $folder or return undef;
  for my $entry (grep { /^vport/ } readdir $ports) {
    open my $fh, '<', "$folder/$entry/name" or next;
    my $found = <$fh> // '';
    chomp $found;
    return "/dev/$entry" if $found eq $name;
  }
  return undef;
}

# It comes up a moment after its driver.
for (my $left = OPEN_TRIES;; $left--) {
  my $file = port_file($ARGV[0]);
  last if defined $file && open $port, '+<', $file;
  die "Cannot open a port named $ARGV[0]: $!\n" if $left == 0;
  select undef, undef, undef, 0.01;
}
$SIG{PIPE} = 'IGNORE';
tell_host('hello');
turn() while 1;
