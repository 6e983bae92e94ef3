/**
 * The name servers that a relay asks, in the order of resolv.conf(5): the first first, the next when one is silent.
 *
 * Path: services/dns → dns_servers.
 *
 * A server that let a question time out, or refused it, is passed over for {@link DEAD_MS}; then one question goes to
 * it beside the server that answers, so that no guest waits to learn that it is still dead. If all are dead they are
 * asked in their order.
 *
 * @module
 */

import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";

/** How long a silent server is passed over. */
export const DEAD_MS = 30_000;
/** Most servers of a list: glibc takes 3 (MAXNS); what stands behind the eighth would not be asked in time. */
export const SERVERS_MAX = 8;

/** What resolv.conf(5) calls `options`. */
export interface DnsPatience {
  /** How long a server may take, in milliseconds. */
  readonly timeoutMs: number;
  /** How often every server is asked before the question is given up. */
  readonly attempts: number;
}

/** The defaults of resolv.conf(5). */
export const DNS_PATIENCE: DnsPatience = { timeoutMs: 5000, attempts: 2 };

/** A list of servers, and which of them are dead. */
export class DnsServers {
  #list: readonly IpAddr[] = [];
  #patience: DnsPatience = DNS_PATIENCE;
  /** Until when a server is passed over, by its place in the list; 0: it is alive. */
  #deadUntil: number[] = [];

  constructor(list: readonly IpAddr[], patience: DnsPatience = DNS_PATIENCE) {
    this.set(list, patience);
  }

  get list(): readonly IpAddr[] {
    return this.#list;
  }

  get patience(): DnsPatience {
    return this.#patience;
  }

  /** There are others now. What is known of one that stays is kept. */
  set(list: readonly IpAddr[], patience: DnsPatience): void {
    const kept = list.slice(0, SERVERS_MAX);
    this.#deadUntil = kept.map((addr) => this.#deadUntil[this.#find(addr)] ?? 0);
    this.#list = kept;
    this.#patience = patience;
  }

  /** The next server for a question that `asked` were asked already, dead ones last; null: none is left. */
  next(asked: readonly IpAddr[]): IpAddr | null {
    const left = this.#list.filter((addr) => !asked.some((one) => one.equals(addr)));
    return left.find((addr) => !this.isDead(addr)) ?? left[0] ?? null;
  }

  /** A dead server that may be tried once more beside `chosen`; it is passed over again from now on. */
  takeProbe(chosen: IpAddr, now: number): IpAddr | null {
    const at = this.#deadUntil.findIndex((until, i) => until > 0 && until <= now && !this.#list[i]!.equals(chosen));
    if (at < 0) return null;
    this.#deadUntil[at] = now + DEAD_MS;
    return this.#list[at]!;
  }

  /** `addr` was silent, or refused. */
  failed(addr: IpAddr, now: number): void {
    const at = this.#find(addr);
    if (at >= 0) this.#deadUntil[at] = now + DEAD_MS;
  }

  /** `addr` has answered. */
  answered(addr: IpAddr): void {
    const at = this.#find(addr);
    if (at >= 0) this.#deadUntil[at] = 0;
  }

  isDead(addr: IpAddr): boolean {
    return (this.#deadUntil[this.#find(addr)] ?? 0) > 0;
  }

  #find(addr: IpAddr): number {
    return this.#list.findIndex((one) => one.equals(addr));
  }
}
