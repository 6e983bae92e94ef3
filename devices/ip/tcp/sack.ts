/**
 * The sender's scoreboard: what was sent and not yet acknowledged, what of it has arrived, and what is lost (RFC 6675,
 * with the times that RFC 8985 wants).
 *
 * Path: tcp/output, rack, tcb → sack → seq, tcp_options.
 *
 * ```
 *   snd.una                                                    snd.nxt
 *      |  sent   | lost |  SACKed  | lost, sent again |  sent     |
 *      +---------+------+----------+------------------+-----------+      one Sent each; split where a
 *     head                                                      tail     SACK block begins or ends
 * ```
 *
 * A record stands for one send, of up to 64 KiB, and is split only when its parts meet different fates; SACKed
 * neighbours become one again. So the list is as long as the losses make it, not as the window is.
 *
 * Limits: {@link SENT_MAX} records. A peer that acknowledges single bytes gets no more: further blocks are ignored,
 * which costs it a retransmission.
 *
 * @module
 */

import * as seq from "../../../kernel/wire/seq.ts";
import type { SackBlock } from "../../../kernel/wire/tcp_options.ts";

/** Most records of one connection: the largest window, in segments of 1460 bytes, twice. */
export const SENT_MAX = 12_000;

/** Bytes that were sent together: `seq` to before `end`; a FIN counts as one. */
export class Sent {
  next: Sent | null = null;
  /** The peer said that it has them. */
  sacked = false;
  /** They are taken for lost. */
  lost = false;
  /** Lost, and sent again since. */
  resent = false;
  /** How often they were sent. */
  sends = 1;

  /** `order` counts the sends of the connection: times may be equal, it is not. */
  constructor(public seq: number, public end: number, public sentMs: number, public order: number) {}

  get length(): number {
    return (this.end - this.seq) >>> 0;
  }
}

/** What one acknowledgment newly brought: one record, used again for the next. */
export class Delivery {
  /** Bytes that had not been acknowledged or SACKed before. */
  bytes = 0;
  /** Of what was sent once: when the latest of it was sent, in which order, and where it ends; below 0: nothing. */
  onceMs = -1;
  onceOrder = -1;
  onceEnd = 0;
  /** Of what was sent more often: the same. */
  againMs = -1;
  againOrder = -1;
  againEnd = 0;
  /** Something sent once arrived after something sent later (RFC 8985 6.2, step 3). */
  reordered = false;
  /** The peer got something twice (RFC 2883). */
  dsack = false;
  dsackEnd = 0;

  clear(): void {
    this.bytes = 0;
    this.onceMs =
      this.againMs =
      this.onceOrder =
      this.againOrder =
        -1;
    this.reordered = this.dsack = false;
  }

  /** Notes `length` bytes of `sent`, ending at `end`; `fack` is the end of all that had arrived before this segment. */
  see(sent: Sent, end: number, length: number, fack: number): void {
    this.bytes += length;
    if (sent.sends === 1) {
      if (isLater(sent.order, end, this.onceOrder, this.onceEnd)) {
        this.onceMs = sent.sentMs;
        this.onceOrder = sent.order;
        this.onceEnd = end;
      }
      if (seq.lt(end, fack)) this.reordered = true;
    } else if (isLater(sent.order, end, this.againOrder, this.againEnd)) {
      this.againMs = sent.sentMs;
      this.againOrder = sent.order;
      this.againEnd = end;
    }
  }
}

/**
 * Whether one send came after another (RFC 8985 6.2: RACK_sent_after). Of what was sent as one the higher bytes did;
 * beyond that sequence numbers say nothing, since what is sent again may be lower than what went out a moment before.
 */
export function isLater(order: number, end: number, otherOrder: number, otherEnd: number): boolean {
  return order > otherOrder || (order === otherOrder && seq.gt(end, otherEnd));
}

/** The segments of one connection that are in flight. */
export class Scoreboard {
  head: Sent | null = null;
  tail: Sent | null = null;
  /** Records in the list. */
  count = 0;
  sackedBytes = 0;
  /** Lost and not SACKed, whether sent again or not. */
  lostBytes = 0;
  /** Of those: sent again. */
  resentBytes = 0;
  /** End of the highest bytes that arrived. */
  fack = 0;
  /** When the latest of the retransmissions that were lost too was sent; below 0: none, or it has been seen to. */
  lostAgainMs = -1;
  /** Sends so far. */
  #order = 0;

  /** Forgets everything; `una` is where the next send begins. */
  clear(una: number): void {
    this.head = this.tail = null;
    this.count =
      this.sackedBytes =
      this.lostBytes =
      this.resentBytes =
        0;
    this.fack = una;
  }

  /** Bytes of new data were sent, up to before `end`. */
  append(from: number, end: number, nowMs: number): void {
    const sent = new Sent(from, end, nowMs, ++this.#order);
    if (this.tail === null) this.head = sent;
    else this.tail.next = sent;
    this.tail = sent;
    this.count++;
  }

  /** Bytes that are in the network (RFC 6675 4, "pipe"), out of `flight` not acknowledged. */
  pipe(flight: number): number {
    return flight - this.sackedBytes - this.lostBytes + this.resentBytes;
  }

  /** Everything before `una` is acknowledged. */
  acknowledge(una: number, delivery: Delivery): void {
    const fack = this.fack;
    while (this.head !== null && seq.lt(this.head.seq, una)) {
      const sent = this.head;
      const end = seq.min(sent.end, una);
      const length = (end - sent.seq) >>> 0;
      this.#count(sent, -length);
      if (!sent.sacked) delivery.see(sent, end, length, fack);
      if (end !== sent.end) {
        sent.seq = end;
        break;
      }
      this.head = sent.next;
      if (this.head === null) this.tail = null;
      this.count--;
    }
    if (seq.gt(una, this.fack)) this.fack = una;
  }

  /**
   * Notes the SACK blocks of a segment that acknowledged up to `una`; those beyond `nxt`, the end of all that was sent,
   * are ignored (RFC 2018 5, RFC 2883 4).
   */
  sack(blocks: readonly SackBlock[], una: number, nxt: number, delivery: Delivery): void {
    const fack = this.fack;
    let high = fack;
    for (let i = 0; i < blocks.length; i++) {
      const { left, right } = blocks[i]!;
      if (!seq.lt(left, right) || seq.gt(right, nxt)) continue;
      if (i === 0 && isDuplicate(blocks, una)) {
        delivery.dsack = true;
        delivery.dsackEnd = right;
        continue;
      }
      if (seq.lt(left, una)) continue;
      this.#mark(left, right, fack, delivery);
      high = seq.max(high, right);
    }
    this.fack = high;
  }

  /** Marks what lies in the block as arrived. */
  #mark(left: number, right: number, fack: number, delivery: Delivery): void {
    let before: Sent | null = null;
    for (let sent = this.head; sent !== null && seq.lt(sent.seq, right); sent = sent.next) {
      if (!sent.sacked && seq.gt(sent.end, left)) {
        if (seq.lt(sent.seq, left)) {
          if (!this.split(sent, left)) return;
          before = sent;
          sent = sent.next!;
        }
        if (seq.gt(sent.end, right) && !this.split(sent, right)) return;
        this.#count(sent, -sent.length);
        sent.sacked = true;
        this.#count(sent, sent.length);
        delivery.see(sent, sent.end, sent.length, fack);
      }
      if (sent.sacked && before !== null && before.sacked) {
        this.#join(before, sent);
        sent = before;
      }
      before = sent;
    }
  }

  /** Makes two records of one, the second from `at`; false if there are too many. */
  split(sent: Sent, at: number): boolean {
    if (this.count >= SENT_MAX) return false;
    const rest = new Sent(at, sent.end, sent.sentMs, sent.order);
    rest.sacked = sent.sacked;
    rest.lost = sent.lost;
    rest.resent = sent.resent;
    rest.sends = sent.sends;
    rest.next = sent.next;
    sent.next = rest;
    sent.end = at;
    if (this.tail === sent) this.tail = rest;
    this.count++;
    return true;
  }

  /** Makes one of two SACKed neighbours. */
  #join(first: Sent, second: Sent): void {
    first.end = second.end;
    first.next = second.next;
    if (this.tail === second) this.tail = first;
    this.count--;
  }

  /** Takes `sent` for lost, also if it was and has been sent again. */
  markLost(sent: Sent): void {
    if (sent.sacked || (sent.lost && !sent.resent)) return;
    this.#count(sent, -sent.length);
    if (sent.resent) this.lostAgainMs = Math.max(this.lostAgainMs, sent.sentMs);
    sent.lost = true;
    sent.resent = false;
    this.#count(sent, sent.length);
  }

  /** Takes everything that has not arrived for lost (after a timeout). */
  markAllLost(): void {
    for (let sent = this.head; sent !== null; sent = sent.next) this.markLost(sent);
  }

  /** The first that is lost and has not been sent again; null: none. */
  nextLost(): Sent | null {
    if (this.lostBytes === this.resentBytes) return null;
    let sent = this.head;
    while (sent !== null && (!sent.lost || sent.resent || sent.sacked)) sent = sent.next;
    return sent;
  }

  /** `sent` was sent again. */
  sentAgain(sent: Sent, nowMs: number): void {
    this.#count(sent, -sent.length);
    sent.sentMs = nowMs;
    sent.order = ++this.#order;
    sent.sends++;
    if (sent.lost) sent.resent = true;
    this.#count(sent, sent.length);
  }

  /** The peer threw away what it had SACKed (RFC 2018 8: it may): nothing has arrived. */
  renege(): void {
    for (let sent = this.head; sent !== null; sent = sent.next) {
      this.#count(sent, -sent.length);
      sent.sacked = false;
      this.#count(sent, sent.length);
    }
    if (this.head !== null) this.fack = this.head.seq;
  }

  /** Adds to the sums what `sent` counts for. */
  #count(sent: Sent, length: number): void {
    if (sent.sacked) {
      this.sackedBytes += length;
    } else if (sent.lost) {
      this.lostBytes += length;
      if (sent.resent) this.resentBytes += length;
    }
  }
}

/** Whether the first block reports a duplicate: it is acknowledged, or part of the second (RFC 2883 4.1, 4.2). */
function isDuplicate(blocks: readonly SackBlock[], una: number): boolean {
  const [first, second] = blocks;
  if (seq.leq(first!.right, una)) return true;
  return second !== undefined && seq.leq(second.left, first!.left) && seq.leq(first!.right, second.right);
}
