/**
 * ArpStore: the entries of an ARP table, found by link and address, and who must go when it is full.
 *
 * Path: arp → arp_store.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import type { ArpPacket } from "../../kernel/wire/arp.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import type { MacAddr } from "../../kernel/wire/mac_addr.ts";
import type { Ipifc } from "./ipifc.ts";

/** Most neighbours of a stack (Akaros). */
export const ARP_ENTRIES_MAX = 256;

/** A link whose neighbours have hardware addresses. */
export interface ArpLink {
  readonly ifc: Ipifc;
  /** Its medium's name, for the table. */
  readonly medium: string;
  /** Our hardware address on it. */
  readonly mac: MacAddr;
  /** For ARP: when an address of ours was last defended. */
  defendedMs: number;
  /** Sends an ARP packet. */
  sendArp(packet: ArpPacket, dst: MacAddr): void;
  /** Sends an IP packet (given away) to the station `mac`. */
  sendResolved(block: Block, mac: MacAddr): void;
}

/** One neighbour. */
export class ArpEntry {
  /** Null while it waits for the first answer, and after it was removed. */
  mac: MacAddr | null = null;
  /** Entered by a person: never asked for, never expires. */
  permanent = false;
  /** Somebody else claims the address. */
  doubted = false;
  /** Questions put since the last answer. */
  tries = 0;
  /** When something is to be done about it. */
  deadlineMs = Infinity;
  /** Place in the order of use; 0: never used. */
  lastUse = 0;
  /** What `lastUse` was at the last answer. */
  usesSeen = 0;
  /** Packets that wait, oldest first. */
  readonly held: Block[] = [];

  constructor(readonly link: ArpLink, readonly ip: IpAddr) {}

  /** Whether a question is open. */
  get isAsking(): boolean {
    return this.tries > 0;
  }
}

/** The entries. */
export class ArpStore {
  /** By interface number, then by IPv4 address. */
  readonly #tables: (Map<number, ArpEntry> | undefined)[] = [];
  #count = 0;
  #uses = 0;

  get size(): number {
    return this.#count;
  }

  get isFull(): boolean {
    return this.#count >= ARP_ENTRIES_MAX;
  }

  find(link: ArpLink, ip: IpAddr): ArpEntry | null {
    return this.#tables[link.ifc.number]?.get(ip.w3) ?? null;
  }

  /** Adds an entry that is not there yet. */
  insert(entry: ArpEntry): ArpEntry {
    const number = entry.link.ifc.number;
    while (this.#tables.length <= number) this.#tables.push(undefined);
    (this.#tables[number] ??= new Map()).set(entry.ip.w3, entry);
    this.#count++;
    return entry;
  }

  /** Takes an entry out; nothing if it is not there. */
  remove(entry: ArpEntry): void {
    if (this.#tables[entry.link.ifc.number]?.delete(entry.ip.w3) !== true) return;
    entry.mac = null;
    this.#count--;
  }

  /** Notes that `entry` was used just now. */
  touch(entry: ArpEntry): void {
    entry.lastUse = ++this.#uses;
  }

  entries(): ArpEntry[] {
    return this.#tables.flatMap((table) => table === undefined ? [] : [...table.values()]);
  }

  /**
   * Whom to give up: the least recently used, and first of all one that never was (strangers who ask for us make such
   * entries). When half of the table only waits, somebody scans the net: then the oldest of those. Null: nobody.
   */
  victim(): ArpEntry | null {
    const all = this.entries().filter((entry) => !entry.permanent);
    const waiting = all.filter((entry) => entry.mac === null);
    const among = waiting.length > ARP_ENTRIES_MAX / 2 ? waiting : all;
    return among.reduce<ArpEntry | null>(
      (least, one) => least === null || one.lastUse < least.lastUse ? one : least,
      null,
    );
  }

  /** The earliest deadline, or Infinity. */
  nextDeadline(): number {
    let next = Infinity;
    for (const entry of this.entries()) next = Math.min(next, entry.deadlineMs);
    return next;
  }
}
