/**
 * SelfTable: which addresses are ours, and what they are to us (Akaros' selftab, the file `ipselftab`).
 *
 * Path: egress, ip_stack, neighbor/mld → self_table → error, cast, ifc, ip_addr.
 *
 * One address may be ours on several interfaces and for several reasons: each is a link with a count. IPv4 is looked up
 * by its 32 bits alone, because every received packet asks here twice, for its source and for its destination.
 *
 * @module
 */

import { KernelError } from "../../../kernel/error.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import type { Cast } from "../env/cast.ts";
import type { Ifc } from "../link/ifc.ts";

/** Most addresses: 32 interfaces with some dozens each, and the groups of many conversations. */
export const SELF_ADDRS_MAX = 4096;

/** An address that is a host's on some interface counts as that first, and as a group after it. */
const STRENGTH: readonly Cast[] = ["unicast", "broadcast", "multicast"];
const LETTERS: Readonly<Record<Cast, string>> = { unicast: "u", broadcast: "b", multicast: "m" };

/** One reason why an address is ours. */
interface SelfLink {
  readonly ifc: Ifc;
  readonly cast: Cast;
  uses: number;
}

/** One address of ours. */
export class SelfEntry {
  /** What it is: unicast if it is that on any interface. */
  cast: Cast = "multicast";
  readonly links: SelfLink[] = [];
  /** Next in the bucket. */
  next: SelfEntry | null = null;

  constructor(readonly addr: IpAddr) {}

  /** The interface on which it was added first. */
  get ifc(): Ifc {
    return this.links[0]!.ifc;
  }

  /** Whether it is ours on `ifc`. */
  isOn(ifc: Ifc): boolean {
    for (const link of this.links) if (link.ifc === ifc) return true;
    return false;
  }
}

/** Our addresses. */
export class SelfTable {
  #v4 = new Map<number, SelfEntry>();
  #v6 = new Map<number, SelfEntry>();
  #count = 0;

  /** Addresses in it. */
  get size(): number {
    return this.#count;
  }

  /** The IPv4 address with these 32 bits (the `w3` of its IpAddr), if it is ours. */
  find4(word: number): SelfEntry | null {
    return this.#v4.get(word) ?? null;
  }

  /** `addr`, if it is ours. */
  find(addr: IpAddr): SelfEntry | null {
    if (addr.isV4) return this.find4(addr.w3);
    let entry = this.#v6.get(addr.hash()) ?? null;
    while (entry !== null && !entry.addr.equals(addr)) entry = entry.next;
    return entry;
  }

  /** What `addr` is to us, or null if it is not ours. */
  cast(addr: IpAddr): Cast | null {
    return this.find(addr)?.cast ?? null;
  }

  /** Whether `addr` is a unicast address of ours. */
  isLocal(addr: IpAddr): boolean {
    return this.find(addr)?.cast === "unicast";
  }

  /** ENOSPC unless `count` more addresses fit. */
  requireRoom(count: number): void {
    if (this.#count + count <= SELF_ADDRS_MAX) return;
    throw new KernelError("ENOSPC", `Cannot add an address: this stack has ${this.#count} of ${SELF_ADDRS_MAX}`);
  }

  /** Adds one use of `addr` on `ifc`; true if it is the first of this kind there. ENOSPC: the table is full. */
  add(addr: IpAddr, ifc: Ifc, cast: Cast): boolean {
    const entry = this.find(addr) ?? this.#insert(addr);
    const link = entry.links.find((one) => one.ifc === ifc && one.cast === cast);
    if (link !== undefined) {
      link.uses++;
      return false;
    }
    entry.links.push({ ifc, cast, uses: 1 });
    this.#settle(entry);
    return true;
  }

  /** Takes one use away; true if it was the last of this kind there. */
  remove(addr: IpAddr, ifc: Ifc, cast: Cast): boolean {
    const entry = this.find(addr);
    const at = entry?.links.findIndex((one) => one.ifc === ifc && one.cast === cast) ?? -1;
    if (entry === null || at < 0) return false;
    if (--entry.links[at]!.uses > 0) return false;
    entry.links.splice(at, 1);
    if (entry.links.length === 0) this.#delete(entry);
    else this.#settle(entry);
    return true;
  }

  /** The groups that are ours on `ifc`. */
  groupsOn(ifc: Ifc): IpAddr[] {
    const entries = this.entries().filter(({ links }) =>
      links.some((link) => link.ifc === ifc && link.cast === "multicast")
    );
    return entries.map(({ addr }) => addr);
  }

  /** All addresses, in the order of their numbers. */
  entries(): SelfEntry[] {
    const all = [...this.#v4.values()];
    for (let entry of this.#v6.values()) {
      for (; entry !== null; entry = entry.next!) all.push(entry);
    }
    return all.sort((a, b) => a.addr.compare(b.addr));
  }

  /** The `ipselftab` file: address, how many uses, and the version and kind, such as `10.0.0.1 1 4u`. */
  format(): string {
    return this.entries().map((entry) => {
      const uses = entry.links.reduce((total, link) => total + link.uses, 0);
      const casts = STRENGTH.filter((cast) => entry.links.some((link) => link.cast === cast));
      const letters = casts.map((cast) => LETTERS[cast]).join("");
      return `${entry.addr} ${uses} ${entry.addr.isV4 ? "4" : "6"}${letters}\n`;
    }).join("");
  }

  #settle(entry: SelfEntry): void {
    entry.cast = STRENGTH.find((cast) => entry.links.some((link) => link.cast === cast))!;
  }

  #insert(addr: IpAddr): SelfEntry {
    this.requireRoom(1);
    const entry = new SelfEntry(addr);
    this.#count++;
    if (addr.isV4) {
      this.#v4.set(addr.w3, entry);
    } else {
      entry.next = this.#v6.get(addr.hash()) ?? null;
      this.#v6.set(addr.hash(), entry);
    }
    return entry;
  }

  #delete(entry: SelfEntry): void {
    this.#count--;
    if (entry.addr.isV4) {
      this.#v4.delete(entry.addr.w3);
      return;
    }
    const hash = entry.addr.hash();
    const first = this.#v6.get(hash)!;
    if (first === entry) {
      if (entry.next === null) this.#v6.delete(hash);
      else this.#v6.set(hash, entry.next);
      return;
    }
    let before = first;
    while (before.next !== entry) before = before.next!;
    before.next = entry.next;
  }
}
