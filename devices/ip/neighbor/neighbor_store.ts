/**
 * NeighborStore: the neighbours of a stack, found by link and address, and which of them goes when there are too many.
 *
 * Path: neighbor_table → neighbor_store.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import type { MacAddr } from "../../../kernel/wire/mac_addr.ts";
import type { NeighborLink } from "../link/ifc.ts";

/** Most neighbours of a stack, for each version of IP (Akaros). */
export const NEIGHBORS_MAX = 256;

/** One neighbour. */
export class Neighbor<L extends NeighborLink = NeighborLink> {
  /** Null while it waits for the first answer, and after it was removed. */
  mac: MacAddr | null = null;
  /** Entered by a person: never asked for, never expires. */
  permanent = false;
  /** Another station claims the address. */
  doubted = false;
  /** Questions put since the last answer. */
  tries = 0;
  /** When something is to be done about it. */
  deadlineMs = Infinity;
  /** Place in the order of use; 0: never used. */
  lastUse = 0;
  /** Packets that wait, oldest first. */
  readonly held: Block[] = [];
  /** Next with the same last 32 bits on its link. */
  next: this | null = null;

  constructor(readonly link: L, readonly ip: IpAddr) {}

  /** Whether a question is open. */
  get isAsking(): boolean {
    return this.tries > 0;
  }
}

/** The entries. */
export class NeighborStore<E extends Neighbor> {
  /** By interface number, then by the last 32 bits of the address: all of an IPv4 address. */
  readonly #tables: (Map<number, E> | undefined)[] = [];
  #count = 0;
  #uses = 0;

  get size(): number {
    return this.#count;
  }

  get isFull(): boolean {
    return this.#count >= NEIGHBORS_MAX;
  }

  find(link: NeighborLink, ip: IpAddr): E | null {
    let entry = this.#tables[link.ifc.number]?.get(ip.w3) ?? null;
    while (entry !== null && !entry.ip.equals(ip)) entry = entry.next;
    return entry;
  }

  /** Adds an entry that is not there yet. */
  insert(entry: E): E {
    const number = entry.link.ifc.number;
    while (this.#tables.length <= number) this.#tables.push(undefined);
    const table = this.#tables[number] ??= new Map();
    entry.next = table.get(entry.ip.w3) ?? null;
    table.set(entry.ip.w3, entry);
    this.#count++;
    return entry;
  }

  /** Takes an entry out; nothing if it is not there. */
  remove(entry: E): void {
    const table = this.#tables[entry.link.ifc.number];
    const first = table?.get(entry.ip.w3) ?? null;
    if (table === undefined || first === null) return;
    if (first === entry) {
      if (entry.next === null) table.delete(entry.ip.w3);
      else table.set(entry.ip.w3, entry.next);
    } else {
      let before = first;
      while (before.next !== null && before.next !== entry) before = before.next;
      if (before.next === null) return;
      before.next = entry.next;
    }
    entry.next = null;
    entry.mac = null;
    this.#count--;
  }

  /** Notes that `entry` was used just now. */
  touch(entry: E): void {
    entry.lastUse = ++this.#uses;
  }

  entries(): E[] {
    const all: E[] = [];
    for (const table of this.#tables) {
      for (const first of table?.values() ?? []) {
        for (let entry: E | null = first; entry !== null; entry = entry.next) all.push(entry);
      }
    }
    return all;
  }

  /**
   * The entry to give up: the least recently used, and first of all one that never was (any station that asks for us
   * makes such an entry). When half of the table only waits, a program scans the net: then the oldest of those. Null:
   * all are permanent.
   */
  victim(): E | null {
    const all = this.entries().filter((entry) => !entry.permanent);
    const waiting = all.filter((entry) => entry.mac === null);
    const among = waiting.length > NEIGHBORS_MAX / 2 ? waiting : all;
    return among.reduce<E | null>((least, one) => least === null || one.lastUse < least.lastUse ? one : least, null);
  }

  /** The earliest deadline, or Infinity. */
  nextDeadline(): number {
    let next = Infinity;
    for (const entry of this.entries()) next = Math.min(next, entry.deadlineMs);
    return next;
  }
}
