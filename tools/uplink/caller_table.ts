/**
 * CallerTable: who called a forwarded UDP port, which address of the machine was asked, and under which end near sees
 * the caller.
 *
 * Path: udp_forwards, relay_port → caller_table → context, link_version, host_sockets.
 *
 * A caller is shown to near by its own address and port. Four kinds cannot be: those on the machine's loopback, those
 * with a link-local address of IPv6, which means nothing on another link, those with an address of the link, and those
 * of the other version of IP than near's port. They, and all callers where the context hides them, are shown by the
 * address of the link's peer, with their own port, or another if that is taken.
 *
 * @module
 */

import type { SocketEnd } from "../../kernel/host_sockets.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import type { UplinkContext } from "./context.ts";
import type { LinkVersion } from "./link_version.ts";

/** Most callers of one port. They cost no descriptor, but memory; the longest idle quarter goes when there are more. */
export const CALLERS_MAX = 4096;
/** The lowest port that a caller is shown with in place of its own. */
const SHOWN_PORT_MIN = 1024;

/** Who called. */
export interface Caller<P> {
  /** The forward that was called, as the table's user knows it. */
  readonly port: P;
  /** Where it is: answers go there. */
  readonly to: SocketEnd;
  /** Address that answers must leave from; null: the route's, as what was asked is no address of the machine. */
  from: IpAddr | null;
  /** Near's view of it. */
  readonly shown: SocketEnd;
  usedMs: number;
}

/** Callers of all forwards to one port of near. `P` is a forward. */
export class CallerTable<P> {
  readonly #context: UplinkContext;
  readonly #link: LinkVersion;
  readonly #byEnd = new EndMap<Caller<P>>();
  readonly #byShown = new EndMap<Caller<P>>();
  #size = 0;

  /** `link` is the version of near's port. */
  constructor(context: UplinkContext, link: LinkVersion) {
    this.#context = context;
    this.#link = link;
  }

  /** Callers that are known. */
  get size(): number {
    return this.#size;
  }

  /** The caller at `end` of `port`, who asked `asked`; made if it is new. */
  called(port: P, end: SocketEnd, asked: IpAddr): Caller<P> {
    const known = this.at(port, end);
    const caller = known ?? this.#make(port, { address: end.address, port: end.port });
    caller.usedMs = this.#context.clock.now();
    // A group or broadcast address was asked, if it is not the machine's: nothing may be sent from there.
    if (!caller.from?.equals(asked)) caller.from = this.#context.sockets.isLocal(asked) ? asked : null;
    return caller;
  }

  /** The caller at `end` of `port`; null: it never called. */
  at(port: P, end: SocketEnd): Caller<P> | null {
    return this.#byEnd.find(end.address, end.port, (caller) => caller.port === port);
  }

  /** The caller that near sees as `address` and `portNumber`; null: none. */
  shownAs(address: IpAddr, portNumber: number): Caller<P> | null {
    return this.#byShown.find(address, portNumber);
  }

  /** Forgets the callers of a forward that closes. */
  forget(port: P): void {
    for (const caller of [...this.#byEnd.values()]) if (caller.port === port) this.#remove(caller);
  }

  #make(port: P, end: SocketEnd): Caller<P> {
    if (this.#size >= CALLERS_MAX) this.#forgetIdle();
    const caller: Caller<P> = { port, to: end, from: null, shown: this.#shownEnd(end), usedMs: 0 };
    this.#byEnd.add(caller.to, caller);
    this.#byShown.add(caller.shown, caller);
    this.#size++;
    return caller;
  }

  #shownEnd({ address, port }: SocketEnd): SocketEnd {
    const { near, peer } = this.#link.ends(this.#context);
    const isHidden = this.#context.hidesCallers || address.isV4 !== peer.isV4 || address.isLoopback ||
      (address.isLinkLocal && !address.isV4) ||
      address.equals(near) || address.equals(peer);
    const shown = isHidden ? peer : address;
    if (this.#byShown.find(shown, port) === null) return { address: shown, port };
    // One of so many ports is free: the table has fewer callers.
    let free = Math.max(port, SHOWN_PORT_MIN);
    while (this.#byShown.find(shown, free) !== null) free = free === 0xffff ? SHOWN_PORT_MIN : free + 1;
    return { address: shown, port: free };
  }

  #forgetIdle(): void {
    const order = [...this.#byEnd.values()].sort((a, b) => a.usedMs - b.usedMs);
    for (const caller of order.slice(0, CALLERS_MAX >> 2)) this.#remove(caller);
  }

  #remove(caller: Caller<P>): void {
    this.#byEnd.remove(caller.to, caller);
    this.#byShown.remove(caller.shown, caller);
    this.#size--;
  }
}

/** Values by address and port, without a string for each look. */
class EndMap<V> {
  readonly #chains = new Map<number, { readonly end: SocketEnd; readonly value: V }[]>();

  find(address: IpAddr, port: number, isIt: ((value: V) => boolean) | null = null): V | null {
    const chain = this.#chains.get(keyOf(address, port));
    if (chain === undefined) return null;
    for (const { end, value } of chain) {
      if (end.port === port && end.address.equals(address) && (isIt === null || isIt(value))) return value;
    }
    return null;
  }

  add(end: SocketEnd, value: V): void {
    const key = keyOf(end.address, end.port);
    const chain = this.#chains.get(key);
    if (chain === undefined) this.#chains.set(key, [{ end, value }]);
    else chain.push({ end, value });
  }

  remove(end: SocketEnd, value: V): void {
    const key = keyOf(end.address, end.port);
    const chain = this.#chains.get(key)!;
    if (chain.length === 1) this.#chains.delete(key);
    else chain.splice(chain.findIndex((one) => one.value === value), 1);
  }

  *values(): IterableIterator<V> {
    for (const chain of this.#chains.values()) for (const { value } of chain) yield value;
  }
}

function keyOf(address: IpAddr, port: number): number {
  return address.hash() ^ Math.imul(port, 0x9e3779b1);
}
