/**
 * Counters of a socket uplink, by name: its `stats`.
 *
 * Path: context → counters.
 *
 * @module
 */

/** What an uplink counts. Every drop has a name. */
export class UplinkCounters {
  /** Packets from near that were malformed or have a protocol without sockets. */
  badPackets = 0;
  otherProtocols = 0;
  /** Packets to destinations that the policy closes. */
  refusedDestinations = 0;

  /** ICMP errors made for near, those beyond the rate, and those whose MTU no hop has. */
  icmpErrors = 0;
  icmpErrorsLimited = 0;
  implausibleMtus = 0;

  /** Connections that the machine was asked for; those refused, unreachable with an error, and never answered. */
  tcpOut = 0;
  tcpRefused = 0;
  tcpUnreachable = 0;
  tcpUnanswered = 0;
  /** SYNs lost because too many were held, or for want of descriptors or memory. */
  tcpHeldFull = 0;
  tcpShortage = 0;
  /** Connections that the guest did not finish, or no longer wanted before the machine was connected. */
  tcpUnfinished = 0;
  /** Calls to forwards, and those that the guest refused. */
  tcpIn = 0;
  tcpInRefused = 0;

  /** Datagrams that the machine took, and that came from it. A burst that is sent in one piece counts once. */
  udpOut = 0;
  udpIn = 0;
  /** Datagrams from near with a wrong checksum, or none over IPv6. */
  udpBadChecksums = 0;
  /** Datagrams lost for want of a socket, of memory, or of room before a socket that takes nothing now. */
  udpNoSocket = 0;
  udpShortage = 0;
  udpQueueFull = 0;
  /** Datagrams that the machine's routes lose without an error. */
  udpBlackHoles = 0;
  /** Datagrams that came to a socket and cannot be shown to near: from a link-local address. */
  udpStrays = 0;
  /** Sockets of UDP: opened; closed with the NAT's map, as unused, and to make room. */
  udpOpened = 0;
  udpReleased = 0;
  udpExpired = 0;
  udpEvicted = 0;

  /** Echo requests that the machine took, and replies that came. */
  echoOut = 0;
  echoIn = 0;
  echoBadChecksums = 0;
  /** Requests lost for want of a socket or of memory, and those that the machine's routes lose without an error. */
  echoNoSocket = 0;
  echoShortage = 0;
  echoBlackHoles = 0;
  /** Messages that came to a ping socket and are no reply. */
  echoStrays = 0;
  /** Ping sockets: opened; closed with the NAT's map, as unused, and to make room. */
  echoOpened = 0;
  echoReleased = 0;
  echoExpired = 0;
  echoEvicted = 0;
}
