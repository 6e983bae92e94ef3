/**
 * Remotes: the remote ends that the filter of a guest's maps lets in, in one list a guest: which of them to forget.
 *
 * Path: table, map → remotes → addr_hash, ip_addr.
 *
 * Each packet of a flow only writes down that it was used, and when. The list is in an order that was true once: when a
 * remote must go, those at its head that were used in the meantime go to its end, at most {@link LOOKS_MAX} of them
 * ("second chance"). So a packet never moves an entry, and a new remote never scans.
 *
 * @module
 */

import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import type { AddrEntry, RemoteAddr } from "./addr_hash.ts";

/** Most entries that are looked at to find the one to forget: with eight a busy remote hardly ever goes. */
const LOOKS_MAX = 8;

/** A remote end that a map lets in. */
export class Remote<M> implements AddrEntry<Remote<M>> {
  readonly addr: IpAddr;
  readonly hash: number;
  nextSame: Remote<M> | null = null;
  prev: Remote<M> | null = null;
  next: Remote<M> | null = null;
  /** When it was used last, and whether that was after it got its place in the list. */
  lastUse: number;
  isUsed = false;

  /** `at` is kept; `port` is 0 if the filter does not look at it. */
  constructor(readonly map: M, at: RemoteAddr, readonly port: number, now: number) {
    this.addr = at.remote;
    this.hash = at.remoteHash;
    this.lastUse = now;
  }

  /** Somebody sent to it or heard of it. */
  use(now: number): void {
    this.lastUse = now;
    this.isUsed = true;
  }
}

/** The remotes of one guest. */
export class RemoteList<M> {
  count = 0;
  #head: Remote<M> | null = null;
  #tail: Remote<M> | null = null;

  /** Puts `remote`, which is in no list, last. */
  add(remote: Remote<M>): void {
    this.count++;
    remote.prev = this.#tail;
    remote.next = null;
    if (this.#tail === null) this.#head = remote;
    else this.#tail.next = remote;
    this.#tail = remote;
  }

  remove(remote: Remote<M>): void {
    this.count--;
    if (remote.prev === null) this.#head = remote.next;
    else remote.prev.next = remote.next;
    if (remote.next === null) this.#tail = remote.prev;
    else remote.next.prev = remote.prev;
    remote.prev = remote.next = null;
  }

  /** Which remote costs least to forget: one that was not used for long. Null: there is none. */
  oldest(): Remote<M> | null {
    for (let looks = 0; looks < LOOKS_MAX; looks++) {
      const head = this.#head;
      if (head === null || !head.isUsed) return head;
      head.isUsed = false;
      this.remove(head);
      this.add(head);
    }
    return this.#head;
  }
}
