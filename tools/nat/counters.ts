/**
 * What the NAT counts: packets each way, maps made and gone, and one reason for everything that it refuses.
 *
 * Path: errors, inbound, outbound → nat/counters.
 *
 * A refusal raises exactly one counter: the reason is an index, so that nothing is built on the way of a packet.
 *
 * @module
 */

/** Why a packet went no further; index of {@link REASON_NAMES}. */
export const Reason = {
  None: 0,
  /** Shorter than its headers. */
  Short: 1,
  /** A frame for another station. */
  OtherMac: 2,
  /** IP unicast, or anything but ARP and DHCP, in a frame for many. */
  LinkBroadcast: 3,
  /** Neither ARP, IPv4 nor IPv6. */
  EtherType: 4,
  /** IPv6, where it is off. */
  Ipv6: 5,
  /** Version, header length or total length of IPv4 make no sense. */
  BadIp: 6,
  /** The IPv4 header checksum is wrong. */
  IpChecksum: 7,
  /** A guest's packet from an address, IP's or the link's, that no guest of this link may have. */
  Source: 8,
  /** To no address, a group, a broadcast, or a reserved address. */
  Destination: 9,
  /** To an address on the guest's own link that is not ours. */
  OnLink: 10,
  /** The time to live ended here. */
  Ttl: 11,
  /** An IP protocol without ports or identifiers that we know. */
  Protocol: 12,
  /** The transport header is cut off or makes no sense. */
  BadTransport: 13,
  /** An ICMP message that is neither a query nor an error. */
  IcmpType: 14,
  /** An ICMP error that quotes no packet of a map. */
  IcmpQuote: 15,
  /** An ICMP error that was not made: too many in too short a time. */
  IcmpRate: 16,
  /** Fragments that overlap, end in the wrong place, or are too many. */
  Fragment: 17,
  /** A datagram of which not every fragment came in time. */
  FragmentTimeout: 18,
  /** Too many guests on the link. */
  Guests: 19,
  /** A guest has all the maps of this protocol that it may have. */
  GuestCap: 20,
  /** All guests together have all the maps of this protocol. */
  TotalCap: 21,
  /** The host gave no port. */
  NoPort: 22,
  /** Policy: the guest is restricted to what is allowed by name. */
  Restricted: 23,
  /** Policy: on the list of what is denied. */
  Denied: 24,
  /** Policy: the host's loopback, by the router's address or its own. */
  Loopback: 25,
  /** Policy: the host's own addresses. */
  HostAddr: 26,
  /** Policy: 169.254/16. */
  LinkLocal: 27,
  /** Policy: the cloud's metadata service. */
  Metadata: 28,
  /** Policy: a private network (RFC 1918, RFC 6598). */
  Private: 29,
  /** From the network, and the map's filter does not let it in. */
  Filtered: 30,
  /** From the network, for a port or protocol that is not the map's. */
  Unmapped: 31,
  /** From the network, from an address that cannot be there. */
  MartianIn: 32,
  /** Larger than the guest's MTU, and not to be fragmented. */
  TooBig: 33,
  /** The guest's hardware address is not known yet. */
  NoMac: 34,
  /** The host has no way there. */
  NoRoute: 35,
  /** The host's queue is full. */
  Busy: 36,
  /** The host refused the packet for another reason. */
  HostRefused: 37,
  /** A DHCP message that needs no answer, or that is none. */
  Dhcp: 38,
  /** An ARP packet that needs no answer, or that is none. */
  Arp: 39,
  /** A message to the router or the name server for which no service is there. */
  NoService: 40,
  /** A checksum or a cut owed that does not fit the packet. */
  Offload: 41,
  /** A source route (RFC 791 3.1): it would go past the policy to wherever it likes (RFC 7126 4.3). */
  SourceRoute: 42,
  /** From an address that is leased to, kept for, or used by another guest. */
  Spoofed: 43,
  /** Neighbour discovery, or a group's membership, that needs no answer, or that is none. */
  Nd: 44,
} as const;
export type Reason = typeof Reason[keyof typeof Reason];

/** The counters' names, as `stats` prints them. */
export const REASON_NAMES: readonly string[] = [
  "none",
  "short",
  "other-mac",
  "link-broadcast",
  "ethertype",
  "ipv6",
  "bad-ip",
  "ip-checksum",
  "source",
  "destination",
  "on-link",
  "ttl",
  "protocol",
  "bad-transport",
  "icmp-type",
  "icmp-quote",
  "icmp-rate",
  "fragment",
  "fragment-timeout",
  "guests",
  "guest-cap",
  "total-cap",
  "no-port",
  "policy-restricted",
  "policy-denied",
  "policy-loopback",
  "policy-host",
  "policy-link-local",
  "policy-metadata",
  "policy-private",
  "filtered",
  "unmapped",
  "martian-in",
  "too-big",
  "no-mac",
  "no-route",
  "busy",
  "host-refused",
  "dhcp",
  "arp",
  "no-service",
  "offload",
  "source-route",
  "spoofed",
  "nd",
];

/** The counters of one NAT. */
export class Counters {
  /** Frames from guests, and frames for them. */
  guestFrames = 0;
  toGuest = 0;
  toGuestBytes = 0;
  /** Packets and bytes that were given to the host to be sent, and that came from it. */
  sent = 0;
  sentBytes = 0;
  received = 0;
  receivedBytes = 0;
  mapsMade = 0;
  mapsExpired = 0;
  mapsEvicted = 0;
  /** Of those: TCP connections that stood, idle for a minute at least. */
  evictedHalfClosed = 0;
  evictedEstablished = 0;
  /** Remotes that a filter forgot so that others have room. */
  remotesForgotten = 0;
  /** Answers of the router's own services. */
  arp = 0;
  nd = 0;
  dhcp = 0;
  dns = 0;
  echo = 0;
  /** ICMP errors translated each way, and those of our own. */
  errorsIn = 0;
  errorsOut = 0;
  errorsMade = 0;
  reassembled = 0;
  fragmented = 0;
  mssClamped = 0;
  /** What was refused, by {@link Reason}. */
  readonly refused: number[] = REASON_NAMES.map(() => 0);

  /** Counts a refusal; answers the reason. */
  refuse(reason: Reason): Reason {
    this.refused[reason]!++;
    return reason;
  }

  /** Every counter by name, refusals as `refused-…`; those of refusals that never happened are left out. */
  entries(): [string, number][] {
    const counts: [string, number][] = [];
    for (const [name, value] of Object.entries(this)) if (typeof value === "number") counts.push([name, value]);
    this.refused.forEach((count, i) => {
      if (count > 0) counts.push([`refused-${REASON_NAMES[i]}`, count]);
    });
    return counts;
  }
}
