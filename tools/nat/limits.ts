/**
 * How long an idle map lives, and how many maps there may be.
 *
 * Path: nat/config → nat/limits.
 *
 * @module
 */

/** How long an idle map lives, in milliseconds, by what it is for. */
export interface Lifetimes {
  /** RFC 4787 REQ-5: at least 2 minutes, better 5; the least while nothing has come back. */
  readonly udp: number;
  /** The same while nothing has come back. */
  readonly udpUnanswered: number;
  /** Nothing but port 53 was asked (RFC 4787 REQ-5a allows less for what is well known). */
  readonly dns: number;
  /** RFC 5508 REQ-1c: at least 60 seconds. */
  readonly icmp: number;
  /** Connections half open, and closing ones: RFC 5382 REQ-5, at least 4 minutes; apart by RFC 7857 2.1. */
  readonly tcpOpening: number;
  /** Both sides have closed, or one has reset. */
  readonly tcpClosing: number;
  /**
   * One side has closed (RFC 5382 REQ-5: it is closing, so at least 4 minutes). Longer, as the other may go on sending:
   * a pause of a quarter of an hour is one that its end does not notice.
   */
  readonly tcpHalfClosed: number;
  /** RFC 5382 REQ-5: at least 2 hours 4 minutes. */
  readonly tcpEstablished: number;
}

/** The lifetimes unless told otherwise. */
const LIFETIMES: Lifetimes = {
  udp: 300_000,
  udpUnanswered: 120_000,
  dns: 30_000,
  icmp: 60_000,
  tcpOpening: 240_000,
  tcpClosing: 240_000,
  tcpHalfClosed: 900_000,
  tcpEstablished: 7_440_000,
};

/** Most maps of each protocol: forwards are not among them. */
export interface Caps {
  /** Maps of UDP. */
  readonly udp: number;
  /** Maps of TCP. */
  readonly tcp: number;
  /** Maps of ICMP echo. */
  readonly icmp: number;
}

/**
 * All guests of a NAT. With its conversation a map costs 2.1 KB of UDP, 2.2 KB of TCP and 2.1 KB of ICMP: 14 MB if all
 * are taken, so that a netd whose guest scans every port stays below 120 MiB.
 */
export const TOTAL_CAPS: Caps = { udp: 2341, tcp: 3511, icmp: 896 };
/** One guest: an eighth less, so that another always gets some. */
export const GUEST_CAPS: Caps = { udp: 2048, tcp: 3072, icmp: 784 };

/**
 * No map lives longer for being unanswered, or half-closed, than it would otherwise. Where packets from the network
 * refresh nothing, an answer does not either.
 */
export function lifetimesOf(
  { lifetimes: options, inboundRefresh = true }: { lifetimes?: Partial<Lifetimes>; inboundRefresh?: boolean },
): Lifetimes {
  const lifetimes = { ...LIFETIMES, ...options };
  const { udp, udpUnanswered, tcpEstablished, tcpHalfClosed } = lifetimes;
  return {
    ...lifetimes,
    udpUnanswered: inboundRefresh ? Math.min(udpUnanswered, udp) : udp,
    tcpHalfClosed: Math.min(tcpHalfClosed, tcpEstablished),
  };
}
