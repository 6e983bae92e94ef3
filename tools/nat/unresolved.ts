/**
 * UnresolvedGuests: guests whose hardware address is not known yet, and the packets that wait for it.
 *
 * Path: nat → unresolved → map, block.
 *
 * Each guest has a clock of its own: it is asked at most once a second (RFC 1122 2.3.2.1), whatever is asked of others,
 * and what is for it is held meanwhile, the latest rather than the oldest (2.3.2.2). RFC 4861 7.2.2 says the same for
 * IPv6. After {@link ASK_TRIES} questions without an answer its packets are dropped.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import type { Guest } from "./map.ts";

/** Questions before the packets for a guest are dropped; as in the stack's own ARP. */
const ASK_TRIES = 3;
/** Milliseconds between two questions for one guest. */
const ASK_RETRY_MS = 1000;
/** Most bytes held for one guest: any packet, and all fragments of one, fit. */
export const HELD_BYTES_MAX = 65_536;
/** Most bytes held for all guests. */
export const HELD_BYTES_TOTAL_MAX = 1 << 20;

/** One guest that is asked for. */
interface Waiting {
  readonly held: Block[];
  bytes: number;
  tries: number;
  /** When it is asked again, or given up. */
  deadlineMs: number;
}

/** What is done for a guest that is asked for. */
interface UnresolvedActions {
  /** Puts the question on the link. */
  ask(guest: Guest): void;
  /** Counts a packet that was held and is dropped now. */
  dropped(): void;
}

/** See above. */
export class UnresolvedGuests {
  /** When {@link expire} has something to do; Infinity: never. */
  deadline = Infinity;
  readonly #waiting = new Map<Guest, Waiting>();
  #bytes = 0;

  constructor(readonly actions: UnresolvedActions) {}

  /** Bytes held now. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Holds a packet for `guest`, owns it from then on, and asks for it unless that was done within the last second. */
  hold(guest: Guest, block: Block, now: number): void {
    let waiting = this.#waiting.get(guest);
    if (waiting === undefined) {
      waiting = { held: [], bytes: 0, tries: 0, deadlineMs: Infinity };
      this.#waiting.set(guest, waiting);
      this.#ask(guest, waiting, now);
    }
    const { length } = block;
    while (waiting.held.length > 0 && waiting.bytes + length > HELD_BYTES_MAX) this.#drop(waiting);
    if (length > HELD_BYTES_MAX || this.#bytes + length > HELD_BYTES_TOTAL_MAX) {
      this.actions.dropped();
      block.free();
      return;
    }
    waiting.held.push(block.own());
    waiting.bytes += length;
    this.#bytes += length;
  }

  /** What was held for `guest`, oldest first, now the caller's. */
  release(guest: Guest): readonly Block[] {
    const waiting = this.#waiting.get(guest);
    if (waiting === undefined) return [];
    this.#waiting.delete(guest);
    this.#bytes -= waiting.bytes;
    return waiting.held;
  }

  /** Asks again where a second is over, and gives up where that was the last question. */
  expire(now: number): void {
    if (now < this.deadline) return;
    this.deadline = Infinity;
    for (const [guest, waiting] of this.#waiting) {
      if (waiting.deadlineMs > now) this.deadline = Math.min(this.deadline, waiting.deadlineMs);
      else if (waiting.tries < ASK_TRIES) this.#ask(guest, waiting, now);
      else this.#giveUp(guest, waiting);
    }
  }

  /** Drops everything. */
  clear(): void {
    for (const [guest, waiting] of this.#waiting) this.#giveUp(guest, waiting);
    this.deadline = Infinity;
  }

  #ask(guest: Guest, waiting: Waiting, now: number): void {
    waiting.tries++;
    waiting.deadlineMs = now + ASK_RETRY_MS;
    this.deadline = Math.min(this.deadline, waiting.deadlineMs);
    this.actions.ask(guest);
  }

  #giveUp(guest: Guest, waiting: Waiting): void {
    while (waiting.held.length > 0) this.#drop(waiting);
    this.#waiting.delete(guest);
  }

  #drop(waiting: Waiting): void {
    const block = waiting.held.shift()!;
    waiting.bytes -= block.length;
    this.#bytes -= block.length;
    this.actions.dropped();
    block.free();
  }
}
