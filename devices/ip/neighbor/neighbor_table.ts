/**
 * NeighborTable: what ARP and neighbour discovery have in common: a cache of hardware addresses, packets that wait for
 * one, questions that are repeated, permanent entries, and the defence of our own addresses.
 *
 * Path: neighbor/arp, neighbor/nd → neighbor_table → neighbor_store, icmp_fault, block, time.
 *
 * Unsolicited replies are ignored: a reply counts only while the table asks. A message that contradicts an entry makes
 * the table ask again, by multicast or broadcast, and the answer to that counts.
 *
 * Limits: {@link NEIGHBORS_MAX} entries, {@link NEIGHBOR_HOLD_MAX} packets held by each, one timer for all of them.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import type { Timer } from "../../../kernel/time.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { MAC_ZERO, type MacAddr } from "../../../kernel/wire/mac_addr.ts";
import type { IpEnv } from "../env/env.ts";
import { IcmpFault, type IcmpReporter } from "../packet/icmp_fault.ts";
import type { NeighborLink } from "../link/ifc.ts";
import { type Neighbor, NeighborStore } from "./neighbor_store.ts";
import type { InputPacket } from "../packet/packet.ts";

/** Milliseconds between two questions for one address (RFC 1122 2.3.2.1: at most one a second; RETRANS_TIMER). */
export const NEIGHBOR_RETRY_MS = 1000;
/** Questions before a neighbour counts as gone (RFC 4861 10: MAX_MULTICAST_SOLICIT, MAX_UNICAST_SOLICIT). */
export const NEIGHBOR_TRIES = 3;
/**
 * Packets held for one neighbour. All fragments of one largest datagram are 45, and dropping one of them drops them
 * all; Linux holds about 200 KiB for the same reason.
 */
export const NEIGHBOR_HOLD_MAX = 64;
/** Milliseconds between two announcements that defend an address of ours (RFC 5227 1.1, DEFEND_INTERVAL). */
export const NEIGHBOR_DEFEND_MS = 10_000;

/** What a table of neighbours needs of its stack. */
export interface NeighborContext extends IpEnv {
  readonly icmpErrors: IcmpReporter;
}

/** The names of a table's counters. */
interface NeighborCounts {
  readonly holdFull: "arpHoldFull" | "ndHoldFull";
  readonly unresolved: "arpUnresolved" | "ndUnresolved";
  readonly contradiction: "arpContradiction" | "ndContradiction";
}

/** The neighbours of one stack, for one version of IP. */
export abstract class NeighborTable<L extends NeighborLink, E extends Neighbor<L>> {
  protected readonly store: NeighborStore<E> = new NeighborStore();
  readonly #context: NeighborContext;
  readonly #counts: NeighborCounts;
  readonly #timer: Timer;

  constructor(context: NeighborContext, counts: NeighborCounts) {
    this.#context = context;
    this.#counts = counts;
    this.#timer = context.env.clock.timer(() => this.#expire());
  }

  /** Announces to every station on `link` that `ip` is ours. */
  abstract announce(link: L, ip: IpAddr): void;
  /** A new entry, which waits. */
  protected abstract create(link: L, ip: IpAddr): E;
  /** Sends the question for `entry`; its `tries` counts this one. */
  protected abstract solicit(entry: E): void;
  /** A permanent entry has a hardware address from now on. */
  protected abstract learn(entry: E, mac: MacAddr): void;
  /** The deadline of `entry` has passed: ask again, wait longer, or {@link giveUp}. */
  protected abstract expired(entry: E): void;
  /** A packet that was held, with what an ICMP error about it needs. */
  protected abstract packetOf(block: Block, link: L): InputPacket;
  /** The state of `entry`, as the `arp` file prints it. */
  protected abstract stateWord(entry: E): string;

  /** Neighbours known or asked for. */
  get size(): number {
    return this.store.size;
  }

  /** The hardware address of `ip` on `link`, which is used now; null if it is not known. */
  resolved(link: L, ip: IpAddr): MacAddr | null {
    const entry = this.store.find(link, ip);
    if (entry === null || entry.mac === null) return null;
    this.used(entry);
    return entry.mac;
  }

  /** Sends an IP packet (consumed) to neighbour `ip`, as soon as its hardware address is known. */
  output(link: L, block: Block, ip: IpAddr): void {
    const entry = this.store.find(link, ip) ?? this.#begin(link, ip);
    if (entry === null) {
      this.#drop(block);
      return;
    }
    this.used(entry);
    if (entry.mac !== null) {
      link.sendResolved(block, entry.mac);
      return;
    }
    if (entry.held.length >= NEIGHBOR_HOLD_MAX) {
      // The oldest: its sender is the likeliest to have given up (RFC 1122 2.3.2.2 wants the latest kept).
      entry.held.shift()!.free();
      this.#context.stats[this.#counts.holdFull]++;
    }
    entry.held.push(block.own());
  }

  /** Forgets the neighbours on `link`. */
  removeLink(link: L): void {
    for (const entry of this.store.entries()) if (entry.link === link) this.remove(entry);
  }

  /** Forgets `entry`; the packets it holds are dropped. */
  remove(entry: E): void {
    this.store.remove(entry);
    for (const block of entry.held.splice(0)) this.#drop(block);
    if (this.store.size === 0) this.#timer.disarm();
  }

  /** Makes `ip` on `link` resolve to `mac` for good. False: no entry can be evicted for it. */
  addPermanent(link: L, ip: IpAddr, mac: MacAddr): boolean {
    const entry = this.findOrInsert(link, ip);
    if (entry === null) return false;
    entry.permanent = true;
    this.learn(entry, mac);
    return true;
  }

  /** All entries, in the order of their addresses. */
  entries(): E[] {
    return this.store.entries().sort((a, b) => a.ip.compare(b.ip));
  }

  /** Its part of the `arp` file: medium, state, IP address, hardware address. */
  format(): string {
    return this.entries().map((entry) =>
      `${entry.link.medium} ${this.stateWord(entry)} ${entry.ip} ${(entry.mac ?? MAC_ZERO).toHex()}\n`
    ).join("");
  }

  /** A packet is sent to `entry`. */
  protected used(entry: E): void {
    this.store.touch(entry);
  }

  /** The entry for `ip` on `link`; null: there is none, and no room for one. */
  protected findOrInsert(link: L, ip: IpAddr): E | null {
    return this.store.find(link, ip) ?? this.#insert(link, ip);
  }

  /** The question of `entry` is answered: it is `mac`, for `lifeMs`. */
  protected settle(entry: E, mac: MacAddr, lifeMs: number): void {
    entry.mac = mac;
    entry.doubted = false;
    entry.tries = 0;
    if (entry.permanent) entry.deadlineMs = Infinity;
    else this.setDeadline(entry, lifeMs);
  }

  /** Sends the packets that `entry` holds. */
  protected sendHeld(entry: E): void {
    for (const block of entry.held.splice(0)) entry.link.sendResolved(block, entry.mac!);
  }

  /** A message says otherwise than `entry`: the table asks, unless it does so already. */
  protected contradicted(entry: E): void {
    this.#context.stats[this.#counts.contradiction]++;
    if (entry.permanent || entry.isAsking) return;
    entry.doubted = true;
    this.ask(entry);
  }

  /** Asks for `entry` once more. */
  protected ask(entry: E): void {
    entry.tries++;
    this.setDeadline(entry, NEIGHBOR_RETRY_MS);
    this.solicit(entry);
  }

  /** Its neighbour does not answer: the senders of the packets it holds get an error (RFC 1122 3.3.2.1, 7.2.2). */
  protected giveUp(entry: E): void {
    const held = entry.held.splice(0);
    this.remove(entry);
    for (const block of held) {
      this.#context.icmpErrors.report(this.packetOf(block, entry.link), IcmpFault.Host);
      this.#drop(block);
    }
  }

  /** Another station uses our address `ip`: we announce it, though not too often. */
  protected defend(link: L, ip: IpAddr): void {
    const now = this.#context.env.clock.now();
    if (now - link.defendedMs < NEIGHBOR_DEFEND_MS) return;
    link.defendedMs = now;
    this.announce(link, ip);
  }

  protected setDeadline(entry: E, delayMs: number): void {
    entry.deadlineMs = this.#context.env.clock.now() + delayMs;
    if (entry.deadlineMs < (this.#timer.armed ? this.#timer.deadlineMs : Infinity)) this.#timer.arm(delayMs);
  }

  /** An entry that waits, with the first question sent; null if there is no room. */
  #begin(link: L, ip: IpAddr): E | null {
    const entry = this.#insert(link, ip);
    if (entry !== null) this.ask(entry);
    return entry;
  }

  #insert(link: L, ip: IpAddr): E | null {
    if (this.store.isFull) {
      const victim = this.store.victim();
      if (victim === null) return null;
      this.remove(victim);
    }
    return this.store.insert(this.create(link, ip));
  }

  #expire(): void {
    const now = this.#context.env.clock.now();
    for (const entry of this.store.entries()) if (entry.deadlineMs <= now) this.expired(entry);
    const next = this.store.nextDeadline();
    if (next < Infinity) this.#timer.arm(next - now);
  }

  #drop(block: Block): void {
    this.#context.stats[this.#counts.unresolved]++;
    block.free();
  }
}
