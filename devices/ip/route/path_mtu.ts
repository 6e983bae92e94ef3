/**
 * PathMtus: what routers have said about the ways to IPv6 destinations (RFC 8201). IPv4's routers fragment, so of
 * IPv4 only TCP remembers such a thing.
 *
 * Path: egress, ip_stack → path_mtu → time, ipv6, ip_addr.
 *
 * Limits: {@link PATH_MTUS_MAX} destinations, each for {@link PATH_MTU_LIFE_MS}; the one that was learnt first gives
 * way. It is for the caller to know that the message was about a packet of ours.
 *
 * @module
 */

import type { Clock } from "../../../kernel/time.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { IPV6_MTU_MIN } from "../../../kernel/wire/ipv6.ts";

/** Destinations remembered. */
export const PATH_MTUS_MAX = 256;
/** How long a smaller MTU is used, in milliseconds (RFC 8201 4: ten minutes). */
export const PATH_MTU_LIFE_MS = 600_000;

interface PathMtu {
  readonly dst: IpAddr;
  readonly mtu: number;
  readonly untilMs: number;
}

/** Path MTUs of one stack. */
export class PathMtus {
  /** By hash of the destination: of two with one hash the later is remembered. In the order of learning. */
  readonly #known = new Map<number, PathMtu>();

  constructor(readonly clock: Clock) {}

  /** Destinations remembered. */
  get size(): number {
    return this.#known.size;
  }

  /** Most bytes of a packet to `dst`; 0: nothing is known. */
  lookup(dst: IpAddr): number {
    const found = this.#known.get(dst.hash());
    if (found === undefined || !found.dst.equals(dst)) return 0;
    if (found.untilMs > this.clock.now()) return found.mtu;
    this.#known.delete(dst.hash());
    return 0;
  }

  /** A router reported that the path to `dst` takes `mtu` bytes. Less than 1280 is taken for 1280 (RFC 8201 4). */
  learn(dst: IpAddr, mtu: number): void {
    const key = dst.hash();
    const before = this.lookup(dst);
    const least = Math.max(IPV6_MTU_MIN, mtu);
    // RFC 8201 4: a message never makes the estimate larger.
    if (before > 0 && before <= least) return;
    this.#known.delete(key);
    if (this.#known.size >= PATH_MTUS_MAX) {
      for (const oldest of this.#known.keys()) {
        this.#known.delete(oldest);
        break;
      }
    }
    this.#known.set(key, { dst, mtu: least, untilMs: this.clock.now() + PATH_MTU_LIFE_MS });
  }
}
