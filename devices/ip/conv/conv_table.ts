/**
 * ConvTable: which conversation of a protocol gets a packet, and which one conflicts with a new claim.
 *
 * Path: conv, conv_ctl, conv_space → conv_table → assert, ip_addr.
 *
 * A packet belongs to the first of these that exists (Akaros' order; ranges are ours):
 *
 *     1. the conversation of exactly this (raddr, rport, laddr, lport)
 *     2. an announced or bypassed (laddr, lport)      3. a range of laddr with lport in it
 *     4. an announced or bypassed (*, lport)          5. a range of * with lport in it
 *     6. (laddr, *)                                   7. (*, *)
 *
 * In a class the newest wins. An entry without an address matches every IP version. Looking up builds nothing: hashing
 * and comparing touch numbers only.
 *
 * Limits: a conversation has at most {@link ENTRIES_PER_CONV} entries, so the table is bounded by the conversations.
 *
 * @module
 */

import { assert } from "../../../kernel/assert.ts";
import { IP_UNSPECIFIED, type IpAddr } from "../../../kernel/wire/ip_addr.ts";

/** One for the ends of a conversation; room for one more, while ends are exchanged. */
export const ENTRIES_PER_CONV = 2;
/** Buckets of the first table of exact entries; doubled whenever there are more entries than buckets. */
const BUCKETS_MIN = 16;

/** Two ends; an unspecified address or port 0 stands for any. */
export interface Ends {
  readonly raddr: IpAddr;
  readonly rport: number;
  readonly laddr: IpAddr;
  readonly lport: number;
  /** Last port of a range; `lport` if left out. */
  readonly lportEnd?: number;
}

/** A conversation, as the table knows it: it keeps its entries. */
interface TableOwner<C> {
  entries: readonly TableEntry<C>[];
}

/** A conversation and what it gets. */
export class TableEntry<C> {
  /** The next older one of its bucket or port. */
  next: TableEntry<C> | null = null;

  readonly raddr: IpAddr;
  readonly rport: number;
  readonly laddr: IpAddr;
  readonly lport: number;
  readonly lportEnd: number;

  constructor(readonly conv: C, ends: Ends) {
    this.raddr = ends.raddr;
    this.rport = ends.rport;
    this.laddr = ends.laddr;
    this.lport = ends.lport;
    this.lportEnd = ends.lportEnd ?? ends.lport;
  }

  /** Whether its remote end is one host's. */
  get isExact(): boolean {
    return !this.raddr.isUnspecified;
  }

  get isRange(): boolean {
    return this.lportEnd !== this.lport;
  }
}

/** Disjoint ranges of one local address, in order. */
interface RangeGroup<C> {
  readonly laddr: IpAddr;
  readonly ranges: TableEntry<C>[];
}

/** The claims of the conversations of one protocol of one stack. */
export class ConvTable<C extends TableOwner<C>> {
  #buckets: (TableEntry<C> | null)[] = [];
  #exact = 0;
  /** Entries without a remote end, by port; port 0 is any port. */
  readonly #byPort: Map<number, TableEntry<C>> = new Map();
  readonly #groups: RangeGroup<C>[] = [];
  #length = 0;

  /** Entries in it. */
  get length(): number {
    return this.#length;
  }

  /** The conversation that gets packets from (raddr, rport) to (laddr, lport); null: none. */
  find(raddr: IpAddr, rport: number, laddr: IpAddr, lport: number): C | null {
    if (this.#exact > 0) {
      const exact = this.#findExact(raddr, rport, laddr, lport);
      if (exact !== null) return exact.conv;
    }
    return this.findLocal(laddr, lport);
  }

  /** The conversation that gets packets to (laddr, lport) that belong to no connection; null: none. */
  findLocal(laddr: IpAddr, lport: number): C | null {
    const chain = this.#byPort.get(lport);
    const own = chain === undefined ? null : inChain(chain, laddr);
    if (own !== null) return own.conv;
    const ranged = this.#groups.length > 0;
    if (ranged) {
      const range = this.#inRanges(laddr, lport);
      if (range !== null) return range.conv;
    }
    const any = chain === undefined ? null : inChain(chain, IP_UNSPECIFIED);
    if (any !== null) return any.conv;
    if (ranged) {
      const range = this.#inRanges(IP_UNSPECIFIED, lport);
      if (range !== null) return range.conv;
    }
    const wild = this.#byPort.get(0);
    if (wild === undefined) return null;
    return (inChain(wild, laddr) ?? inChain(wild, IP_UNSPECIFIED))?.conv ?? null;
  }

  /** The conversation of exactly these ends, which a new claim of them would rob; null: they are free. */
  conflict(ends: Ends): C | null {
    if (!ends.raddr.isUnspecified) {
      return this.#findExact(ends.raddr, ends.rport, ends.laddr, ends.lport)?.conv ?? null;
    }
    const lportEnd = ends.lportEnd ?? ends.lport;
    const group = this.#groups.find((one) => one.laddr.equals(ends.laddr));
    const range = group?.ranges.find((one) => one.lport <= lportEnd && one.lportEnd >= ends.lport);
    if (range !== undefined) return range.conv;
    if (lportEnd === ends.lport) {
      const chain = this.#byPort.get(ends.lport);
      return chain === undefined ? null : inChain(chain, ends.laddr)?.conv ?? null;
    }
    for (const [port, chain] of this.#byPort) {
      if (port < ends.lport || port > lportEnd) continue;
      const entry = inChain(chain, ends.laddr);
      if (entry !== null) return entry.conv;
    }
    return null;
  }

  /** Gives `conv` what comes to these ends. */
  add(conv: C, ends: Ends): void {
    assert(conv.entries.length < ENTRIES_PER_CONV, "a conversation has few entries");
    const entry = new TableEntry(conv, ends);
    // An array that is pushed to has room for sixteen more.
    conv.entries = conv.entries.length === 0 ? [entry] : [...conv.entries, entry];
    this.#length++;
    if (entry.isExact) this.#addExact(entry);
    else if (entry.isRange) this.#addRange(entry);
    else {
      entry.next = this.#byPort.get(entry.lport) ?? null;
      this.#byPort.set(entry.lport, entry);
    }
  }

  /** Forgets every entry of `conv`. */
  removeAll(conv: C): void {
    for (const entry of conv.entries) {
      this.#length--;
      if (entry.isExact) this.#removeExact(entry);
      else if (entry.isRange) this.#removeRange(entry);
      else {
        const chain = without(this.#byPort.get(entry.lport) ?? null, entry);
        if (chain === null) this.#byPort.delete(entry.lport);
        else this.#byPort.set(entry.lport, chain);
      }
    }
    conv.entries = [];
  }

  /** Whether some range, whatever its address, has `port` in it. */
  isRanged(port: number): boolean {
    return this.#groups.some((group) => inRange(group.ranges, port) !== null);
  }

  #findExact(raddr: IpAddr, rport: number, laddr: IpAddr, lport: number): TableEntry<C> | null {
    if (this.#exact === 0) return null;
    let entry = this.#buckets[hashEnds(raddr, rport, laddr, lport) & (this.#buckets.length - 1)]!;
    while (entry !== null) {
      if (
        entry.lport === lport && entry.rport === rport && entry.raddr.equals(raddr) && entry.laddr.equals(laddr)
      ) return entry;
      entry = entry.next!;
    }
    return null;
  }

  #addExact(entry: TableEntry<C>): void {
    if (++this.#exact > this.#buckets.length) this.#grow();
    this.#link(entry);
  }

  #link(entry: TableEntry<C>): void {
    const at = this.#bucketOf(entry);
    entry.next = this.#buckets[at]!;
    this.#buckets[at] = entry;
  }

  #removeExact(entry: TableEntry<C>): void {
    const at = this.#bucketOf(entry);
    this.#buckets[at] = without(this.#buckets[at]!, entry);
    this.#exact--;
  }

  #bucketOf(entry: TableEntry<C>): number {
    return hashEnds(entry.raddr, entry.rport, entry.laddr, entry.lport) & (this.#buckets.length - 1);
  }

  #grow(): void {
    const old = this.#buckets;
    this.#buckets = new Array<TableEntry<C> | null>(Math.max(BUCKETS_MIN, old.length * 2)).fill(null);
    for (const head of old) {
      // Oldest first, so that the newest ends up in front again.
      const chain: TableEntry<C>[] = [];
      for (let entry = head; entry !== null; entry = entry.next) chain.push(entry);
      for (const entry of chain.reverse()) this.#link(entry);
    }
  }

  #inRanges(laddr: IpAddr, port: number): TableEntry<C> | null {
    for (const group of this.#groups) {
      if (group.laddr.equals(laddr)) return inRange(group.ranges, port);
    }
    return null;
  }

  #addRange(entry: TableEntry<C>): void {
    let group = this.#groups.find((one) => one.laddr.equals(entry.laddr));
    if (group === undefined) this.#groups.push(group = { laddr: entry.laddr, ranges: [] });
    group.ranges.push(entry);
    group.ranges.sort((a, b) => a.lport - b.lport);
  }

  #removeRange(entry: TableEntry<C>): void {
    const at = this.#groups.findIndex((one) => one.laddr.equals(entry.laddr));
    const { ranges } = this.#groups[at]!;
    ranges.splice(ranges.indexOf(entry), 1);
    if (ranges.length === 0) this.#groups.splice(at, 1);
  }
}

/** The newest entry of `laddr` in a chain. */
function inChain<C>(chain: TableEntry<C>, laddr: IpAddr): TableEntry<C> | null {
  for (let entry: TableEntry<C> | null = chain; entry !== null; entry = entry.next) {
    if (entry.laddr.equals(laddr)) return entry;
  }
  return null;
}

/** A chain without `entry`. */
function without<C>(chain: TableEntry<C> | null, entry: TableEntry<C>): TableEntry<C> | null {
  if (chain === entry) return entry.next;
  for (let one = chain; one !== null; one = one.next) {
    if (one.next === entry) {
      one.next = entry.next;
      break;
    }
  }
  return chain;
}

/** The range with `port` in it, of disjoint ones in order. */
function inRange<C>(ranges: readonly TableEntry<C>[], port: number): TableEntry<C> | null {
  let low = 0;
  let high = ranges.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const range = ranges[middle]!;
    if (port < range.lport) high = middle - 1;
    else if (port > range.lportEnd) low = middle + 1;
    else return range;
  }
  return null;
}

/** A hash of four numbers; addresses of one network and neighbouring ports spread well. */
function hashEnds(raddr: IpAddr, rport: number, laddr: IpAddr, lport: number): number {
  let h = raddr.hash() ^ Math.imul(laddr.hash(), 0x9e3779b1) ^ Math.imul((rport << 16) | lport, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  return h ^ (h >>> 13);
}
