/**
 * Nat6: the IPv6 side of a NAT: what it has for itself. Guests, maps, counters, time and frames are the NAT's.
 *
 * Path: errors6, inbound6, link6 → nat6 → nat, addr_key, config6, v6/packet6.
 *
 * # Theory of operation
 *
 * As nat.ts says for IPv4, with what IPv6 has other (NAT66 with ports: RFC 4787, 5382 and 5508 hold for it as well):
 *
 * ```
 *   guest fd00:0:0:2::x ─frame─▶ outbound6 ─▶ policy6 ─▶ way6 ─▶ map ─▶ rewritten packet ─▶ host 2001:db8::2 ─▶ world
 *                       ◀─frame─ link6 ◀───── inbound6 ◀─ filter ◀─ map ◀────────────────  bypassed conversation
 * ```
 *
 * **Addresses** guests make themselves, of what the router advertises (RFC 4862), and as many as they like: each is a
 * guest of its own in the table, {@link ADDRS_MAX} of one station. Whoever uses an address has it as long as it has
 * maps; another station that sends from it is refused, and one that asks whether it is free hears that it is not.
 *
 * **Remotes** are 128 bits; the tables know them by a number ({@link AddrKey}).
 *
 * **The name server** is the NAT's: its relay (services/dns) takes questions of both versions.
 *
 * **Fragments** of guests are put together and go on with a fragment header that says that the host may cut them. What
 * is larger than the guest's link is cut if it came in fragments; else its sender is told ("packet too big").
 *
 * Limits: TCP, UDP, ICMPv6 echo and errors; no routing and authentication headers; datagrams in fragments up to 65519
 * bytes, as their fragment header takes the room of eight.
 *
 * @module
 */

import { TokenBucket } from "../../../kernel/inet/token_bucket.ts";
import type { Random } from "../../../kernel/random.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { STATION_GUESTS_MAX } from "../guest_table.ts";
import type { Nat } from "../nat.ts";
import type { Guest } from "../guest.ts";
import type { PolicyOptions } from "../policy.ts";
import { AdvertTimer } from "../services/router_advert.ts";
import { AddrKey } from "./addr_key.ts";
import type { V6Config } from "./config6.ts";
import { Packet6 } from "./packet6.ts";
import { Policy6 } from "./policy6.ts";
import { Way6 } from "./way6.ts";

/** Most addresses of one station, as of IPv4. */
export const ADDRS_MAX = STATION_GUESTS_MAX;
/** Answers to routers' solicitations a second. */
const SOLICITS_PER_SECOND = 10;
const SOLICITS_BURST = 10;

/** What the IPv6 side starts from. */
export interface Nat6Start {
  readonly config: V6Config;
  readonly policy: PolicyOptions;
  readonly random: Random;
}

/** See above. */
export class Nat6 {
  readonly config: V6Config;
  readonly policy: Policy6;
  readonly keys: AddrKey;
  readonly adverts: AdvertTimer;
  readonly solicitLimiter: TokenBucket = new TokenBucket(SOLICITS_PER_SECOND, SOLICITS_BURST);
  /** For the translation: the packet that is looked at, and its way; overwritten by the next. */
  readonly packet: Packet6 = new Packet6();
  readonly way: Way6 = new Way6();
  readonly #random: Random;

  constructor(readonly nat: Nat, { config, policy, random }: Nat6Start) {
    this.config = config;
    this.policy = new Policy6(nat.policy, policy, nat.config.loopbackFrom.isLoopback);
    this.keys = new AddrKey(random);
    this.adverts = new AdvertTimer(random);
    this.#random = random;
  }

  /** An identification for a datagram that is cut: one that no other guest can foresee (RFC 7739 5.1). */
  nextFragmentId(): number {
    return this.#random.u32();
  }

  /** Whether a guest may have `addr`: of the network, but the router's two (::0 is every router's) and the server's. */
  mayBeGuest(addr: IpAddr): boolean {
    const { subnet, mask, router, dns } = this.config;
    return addr.sameNet(subnet, mask) && !addr.equals(subnet) && !addr.equals(router) && dns?.equals(addr) !== true;
  }

  isOnLink(addr: IpAddr): boolean {
    return addr.sameNet(this.config.subnet, this.config.mask);
  }

  /** Whether `addr` is one of the router's or the name server's. */
  isRouters(addr: IpAddr): boolean {
    const { router, linkLocal, dns } = this.config;
    return addr.equals(router) || addr.equals(linkLocal) || dns?.equals(addr) === true;
  }

  isHosts(addr: IpAddr): boolean {
    for (const one of this.config.hostAddrs) if (one.equals(addr)) return true;
    return false;
  }

  /** The guest at `addr`, or null. */
  guest(addr: IpAddr): Guest | null {
    const guest = this.nat.table.guest(this.keys.ofGuest(addr));
    return guest !== null && guest.addr.equals(addr) ? guest : null;
  }

  /** What is open, a line each. */
  exposure(): string[] {
    const { subnet, hostAddr, router } = this.config;
    const lines = [`guests of ${subnet}/64 are ${hostAddr} to the IPv6 world`];
    if (this.policy.loopback) lines.push(`guest reaches ::1 of the host as ${router}`);
    return [...lines, ...this.policy.lines()];
  }
}
