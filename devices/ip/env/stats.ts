/**
 * IpStats: what IP of one stack has done and refused, as the `stats` file of ipifc shows it.
 *
 * Path: reassembly, ip_stack, env → env/stats.
 *
 * A packet that is dropped raises exactly one counter, which says why. The figures of the IP MIB (RFC 1213 6.4, the
 * names of Akaros' file) that stand for several reasons are sums of them.
 *
 * @module
 */

/** Seconds that a datagram waits for its missing fragments (RFC 1122 3.3.2 wants 60 to 120, every host uses 30). */
export const REASSEMBLY_TIMEOUT_S = 30;

/** Reasons to drop a received packet that are the header's fault. */
const HEADER_ERRORS = [
  /** Fewer bytes than an IP header has. */
  "inShort",
  /** Neither 4 nor 6, or 6 on an interface without an IPv6 address. */
  "inBadVersion",
  /** A header length below 20 or beyond the packet. */
  "inBadHeaderLen",
  /** A total length below the header's or beyond the packet's. */
  "inBadTotalLen",
  "inBadChecksum",
  /** Extension headers that do not fit, or that ask for what we refuse. */
  "inBadExtension",
  /** A fragment that is empty, not a multiple of 8, or reaches beyond 65535. */
  "inBadFragment",
  /** To be forwarded, but its TTL was used up. */
  "ttlExpired",
] as const;

/** Reasons to drop a received packet that are its addresses' fault. */
const ADDR_ERRORS = [
  /** From an address that no host has: broadcast, multicast, loopback, our own. Or to loopback from outside. */
  "inMartian",
  /** Not for us, and we do not forward. */
  "inNotForUs",
  /** For one host, in a frame for many (RFC 1122 3.3.6). */
  "inLinkBroadcast",
  /** Not for us, and never to be forwarded: broadcast, multicast, link-local, of no host. */
  "forwRefused",
] as const;

/** Reasons to drop a received packet that was right. */
const IN_DISCARDS = [
  /** Its segmentation metadata do not fit it. */
  "inBadOffload",
  /** Its route leads out where it came in. */
  "forwSameIfc",
  /** It has a source route (RFC 7126 4.3, 4.4). */
  "forwSourceRoute",
] as const;

/** Reasons to drop a packet in output. */
const OUT_DISCARDS = [
  /** Longer than IP can say. */
  "outTooLong",
  /** Its segmentation or checksum metadata do not fit it. */
  "outBadOffload",
  /** The interface is not bound, or went away. */
  "outNoLink",
  /** The device or the loopback queue was full. */
  "outLinkBusy",
  /** The device refused it. */
  "outLinkError",
  /** The neighbour's hold queue was full: the oldest goes. */
  "arpHoldFull",
  /** The neighbour did not answer. */
  "arpUnresolved",
  /** The same of IPv6 neighbours. */
  "ndHoldFull",
  "ndUnresolved",
] as const;

/** Datagrams whose reassembly was abandoned. */
const REASSEMBLY_FAILURES = [
  "reasmTimedOut",
  /** Two fragments claimed the same bytes and were not the same (RFC 5722 4). */
  "reasmOverlap",
  /** Its fragments contradict each other: two ends, bytes behind the end, ECN. */
  "reasmInconsistent",
  /** More fragments than one datagram may have. */
  "reasmTooMany",
  /** Given up for a newer one: too many, or too much memory. */
  "reasmEvicted",
] as const;

/** ARP packets that taught us nothing. */
const ARP_REFUSALS = [
  "arpMalformed",
  /** An unsolicited reply. */
  "arpUnsolicited",
  /** Somebody claims an address of ours. */
  "arpConflict",
  /** From a group or zero hardware address. */
  "arpBadSender",
  /** It contradicts a known entry: the neighbour is asked again. */
  "arpContradiction",
] as const;

/** Messages of neighbour discovery that taught us nothing. */
const ND_REFUSALS = [
  /** An unsolicited advertisement. */
  "ndUnsolicited",
  /** Somebody claims an address of ours. */
  "ndConflict",
  /** An address that was tried was in use already (RFC 4862 5.4). */
  "ndDuplicate",
  /** From a group or zero hardware address, or without one where there must be one. */
  "ndBadSender",
  /** It contradicts a known entry: the neighbour is asked again. */
  "ndContradiction",
] as const;

const REASONS = [
  ...HEADER_ERRORS,
  ...ADDR_ERRORS,
  ...IN_DISCARDS,
  ...OUT_DISCARDS,
  ...REASSEMBLY_FAILURES,
  ...ARP_REFUSALS,
  ...ND_REFUSALS,
] as const;

/** Counters of one stack. */
export class IpStats {
  inReceives = 0;
  forwDatagrams = 0;
  inUnknownProtos = 0;
  inDelivers = 0;
  outRequests = 0;
  outNoRoutes = 0;
  reasmReqds = 0;
  reasmOks = 0;
  fragOks = 0;
  /** Too big and not to be fragmented. */
  fragFails = 0;
  fragCreates = 0;

  inShort = 0;
  inBadVersion = 0;
  inBadHeaderLen = 0;
  inBadTotalLen = 0;
  inBadChecksum = 0;
  inBadExtension = 0;
  inBadFragment = 0;
  ttlExpired = 0;

  inMartian = 0;
  inNotForUs = 0;
  inLinkBroadcast = 0;
  forwRefused = 0;

  inBadOffload = 0;
  forwSameIfc = 0;
  forwSourceRoute = 0;

  outTooLong = 0;
  outBadOffload = 0;
  outNoLink = 0;
  outLinkBusy = 0;
  outLinkError = 0;
  arpHoldFull = 0;
  arpUnresolved = 0;
  ndHoldFull = 0;
  ndUnresolved = 0;

  reasmTimedOut = 0;
  reasmOverlap = 0;
  reasmInconsistent = 0;
  reasmTooMany = 0;
  reasmEvicted = 0;

  arpMalformed = 0;
  arpUnsolicited = 0;
  arpConflict = 0;
  arpBadSender = 0;
  arpContradiction = 0;

  ndUnsolicited = 0;
  ndConflict = 0;
  ndDuplicate = 0;
  ndBadSender = 0;
  ndContradiction = 0;

  get inHdrErrors(): number {
    return this.#sum(HEADER_ERRORS);
  }

  get inAddrErrors(): number {
    return this.#sum(ADDR_ERRORS);
  }

  get inDiscards(): number {
    return this.#sum(IN_DISCARDS);
  }

  get outDiscards(): number {
    return this.#sum(OUT_DISCARDS);
  }

  get reasmFails(): number {
    return this.#sum(REASSEMBLY_FAILURES);
  }

  /** The `stats` file: the MIB's lines in Akaros' order, then one line for each reason to drop. */
  format(options: { forwarding: boolean; ttl: number }): string {
    const mib: readonly [string, number][] = [
      ["Forwarding", options.forwarding ? 1 : 2],
      ["DefaultTTL", options.ttl],
      ["InReceives", this.inReceives],
      ["InHdrErrors", this.inHdrErrors],
      ["InAddrErrors", this.inAddrErrors],
      ["ForwDatagrams", this.forwDatagrams],
      ["InUnknownProtos", this.inUnknownProtos],
      ["InDiscards", this.inDiscards],
      ["InDelivers", this.inDelivers],
      ["OutRequests", this.outRequests],
      ["OutDiscards", this.outDiscards],
      ["OutNoRoutes", this.outNoRoutes],
      ["ReasmTimeout", REASSEMBLY_TIMEOUT_S],
      ["ReasmReqds", this.reasmReqds],
      ["ReasmOKs", this.reasmOks],
      ["ReasmFails", this.reasmFails],
      ["FragOKs", this.fragOks],
      ["FragFails", this.fragFails],
      ["FragCreates", this.fragCreates],
    ];
    const reasons = REASONS.map((name) => [name[0]!.toUpperCase() + name.slice(1), this[name]] as const);
    return [...mib, ...reasons].map(([name, value]) => `${name}: ${value}\n`).join("");
  }

  #sum(names: readonly typeof REASONS[number][]): number {
    let total = 0;
    for (const name of names) total += this[name];
    return total;
  }
}
