/**
 * FairQueue: frames of one guest on their way to the NAT, so that a flood of it starves no other flow of its own.
 *
 * Path: daemon → fair_queue → block, job, time, ethernet.
 *
 * Taking a frame from a card costs a fifth of what the NAT does with it. So many are taken and few go on at a time, in
 * turn from queues, {@link QUANTUM} each (deficit round robin in frames, as RFC 8290 4.2 does it in bytes):
 *
 * ```
 *   answered ──hash of protocol and the guest's port──► one of FLOWS queues ─┐
 *   not (yet) answered ──protocol──► one of STRANGERS queues ────────────────┴─ in turn ──► sink
 * ```
 *
 * RFC 8290 gives a flow that is new the first place. Here a flood is of new flows: a scan, datagrams to random places.
 * Those of a protocol share one place, and a flow that the world has answered in the last minute or two has its own.
 * While nothing waits for more than a turn the order stays as it is, and nothing is dropped.
 *
 * Limits: {@link FRAMES_MAX} frames and {@link BYTES_MAX} bytes wait; of more the longest queue loses its first frame
 * (RFC 8290 4.1.2). Nothing is allocated for a frame.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import { Job } from "../../../kernel/job.ts";
import type { Clock, Timer } from "../../../kernel/time.ts";
import { ETHER_HEADER_LEN } from "../../../kernel/wire/ethernet.ts";

/** Frames that wait at the most: some 2 MiB of buffers for usual frames, 20 ms of the NAT's work. */
export const FRAMES_MAX = 1024;
/** Bytes that wait at the most, counted as whole buffers: 64 segments of 64 KiB. */
const BYTES_MAX = 1 << 22;
/** Frames that go on in one turn of the loop, at the most. */
export const FRAMES_PER_TURN = 64;
/**
 * How long they may take together. A frame of a known flow takes some 5 µs, one that needs a new map ten times as much:
 * 64 of those would have Linux' queue before us overflow.
 */
const TURN_MS = 0.5;
/** After how many frames the clock is asked. */
const CLOCK_EVERY = 8;
/** Frames of one queue in one round. */
export const QUANTUM = 4;
/** Queues of flows that are answered. */
const FLOWS = 256;
/** Queues of those that are not: UDP, TCP, ICMP, all else. */
const STRANGERS = 4;
const QUEUES = FLOWS + STRANGERS;
/** How often what was answered is forgotten, if it was not again. */
export const FORGET_MS = 60_000;

const ETHERTYPE_AT = 12;
const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const IPV6_HEADER_LEN = 40;
const ICMP = 1;
const TCP = 6;
const UDP = 17;
const ICMPV6 = 58;
/** Key of a frame without a port: of another protocol, a fragment, or too short. */
const NO_PORT = -1;
/** Kinds of {@link FairQueue}'s keys, which are `kind << 16 | port`. */
const Kind = { Udp: 0, Tcp: 1, Icmp: 2, Other: 3 } as const;
type Kind = typeof Kind[keyof typeof Kind];
const KEYS = 3 << 16;

/** What happened to frames. */
export class FairCounters {
  /** Handed on. */
  passed = 0;
  /** Dropped, as too many waited. */
  drops = 0;
}

/** See above. */
export class FairQueue {
  readonly counters = new FairCounters();
  readonly #clock: Clock;
  readonly #sink: (frame: Block) => void;
  readonly #job: Job;
  readonly #timer: Timer;
  readonly #heads: (Block | null)[] = new Array(QUEUES).fill(null);
  readonly #tails: (Block | null)[] = new Array(QUEUES).fill(null);
  readonly #lengths = new Uint16Array(QUEUES);
  /** Queues that are not empty, in the order of their turn: a ring, as each is in it once at the most. */
  readonly #ring = new Uint16Array(QUEUES);
  #first = 0;
  #active = 0;
  /** What is left of the first one's turn. */
  #credit = QUANTUM;
  #frames = 0;
  #bytes = 0;
  /** Which keys were answered since the last time of forgetting, and in the time before. */
  #heard = new Uint8Array(KEYS);
  #heardBefore = new Uint8Array(KEYS);
  #forgetMs: number;

  /** `sink` takes the frames (given away). */
  constructor(clock: Clock, sink: (frame: Block) => void) {
    this.#clock = clock;
    this.#sink = sink;
    this.#job = new Job(clock.jobs, () => this.#run());
    this.#timer = clock.timer(() => this.#run());
    this.#forgetMs = clock.now() + FORGET_MS;
  }

  /** Frames that wait. */
  get length(): number {
    return this.#frames;
  }

  /** Takes a frame of the guest (given away). */
  put(frame: Block): void {
    if (frame.extents !== null) frame.own();
    while (this.#frames > 0 && (this.#frames >= FRAMES_MAX || this.#bytes + frame.buf.length > BYTES_MAX)) this.#drop();
    const at = this.#queueOf(frame);
    frame.next = null;
    if (this.#heads[at] === null) {
      this.#heads[at] = frame;
      this.#ring[(this.#first + this.#active++) % QUEUES] = at;
    } else this.#tails[at]!.next = frame;
    this.#tails[at] = frame;
    this.#lengths[at]!++;
    this.#frames++;
    this.#bytes += frame.buf.length;
    if (this.#frames === 1) this.#job.wake();
  }

  /** A frame goes to the guest: whoever it is for is answered. */
  heard(frame: Block): void {
    const key = keyOf(frame.buf, frame.rp, frame.wp, true);
    if (key >= 0) this.#heard[key] = 1;
  }

  /** Ends it: what waits is dropped. */
  close(): void {
    this.#timer.disarm();
    while (this.#frames > 0) this.#take().free();
  }

  /** Hands on a turn's worth. The rest has its turn after the loop has looked at all else. */
  #run(): void {
    let now = this.#clock.now();
    const end = now + TURN_MS;
    for (let i = 1; i <= FRAMES_PER_TURN && this.#frames > 0 && now < end; i++) {
      this.counters.passed++;
      this.#sink(this.#take());
      if (i % CLOCK_EVERY === 0) now = this.#clock.now();
    }
    if (this.#frames > 0) this.#timer.arm(0);
    if (now >= this.#forgetMs) this.#forget(now);
  }

  /** The next frame in turn; there is one. */
  #take(): Block {
    const at = this.#ring[this.#first]!;
    const frame = this.#remove(at);
    if (this.#heads[at] === null) this.#advance();
    else if (--this.#credit === 0) {
      this.#advance();
      this.#ring[(this.#first + this.#active++) % QUEUES] = at;
    }
    return frame;
  }

  /** The first queue's turn is over. */
  #advance(): void {
    this.#first = (this.#first + 1) % QUEUES;
    this.#active--;
    this.#credit = QUANTUM;
  }

  /** The first frame of a queue that is not empty. */
  #remove(at: number): Block {
    const frame = this.#heads[at]!;
    this.#heads[at] = frame.next;
    if (frame.next === null) this.#tails[at] = null;
    frame.next = null;
    this.#lengths[at]!--;
    this.#frames--;
    this.#bytes -= frame.buf.length;
    return frame;
  }

  /** Drops the first frame of the longest queue. */
  #drop(): void {
    let place = 0;
    let longest = 0;
    for (let i = 0; i < this.#active; i++) {
      const length = this.#lengths[this.#ring[(this.#first + i) % QUEUES]!]!;
      if (length <= longest) continue;
      longest = length;
      place = i;
    }
    const at = this.#ring[(this.#first + place) % QUEUES]!;
    this.#remove(at).free();
    this.counters.drops++;
    if (this.#heads[at] === null) this.#leave(place);
  }

  /** Takes the queue at a place of the ring out of it. */
  #leave(place: number): void {
    if (place === 0) return this.#advance();
    for (let i = place; i + 1 < this.#active; i++) {
      this.#ring[(this.#first + i) % QUEUES] = this.#ring[(this.#first + i + 1) % QUEUES]!;
    }
    this.#active--;
  }

  #queueOf(frame: Block): number {
    const key = keyOf(frame.buf, frame.rp, frame.wp, false);
    if (key < 0) return FLOWS + Kind.Other;
    if ((this.#heard[key]! | this.#heardBefore[key]!) === 0) return FLOWS + (key >> 16);
    return (Math.imul(key, 0x9e3779b1) >>> 24) % FLOWS;
  }

  #forget(now: number): void {
    const old = this.#heardBefore;
    this.#heardBefore = this.#heard;
    this.#heard = old.fill(0);
    this.#forgetMs = now + FORGET_MS;
  }
}

/** The guest's end of the packet in a frame, from it or `toGuest`; {@link NO_PORT}. */
function keyOf(buf: Uint8Array, rp: number, wp: number, toGuest: boolean): number {
  const ip = rp + ETHER_HEADER_LEN;
  if (wp < ip + 20) return NO_PORT;
  const type = buf[rp + ETHERTYPE_AT]! << 8 | buf[rp + ETHERTYPE_AT + 1]!;
  if (type === IPV4) {
    // A fragment that is not the first has no port.
    if (((buf[ip + 6]! & 0x1f) | buf[ip + 7]!) !== 0) return NO_PORT;
    return portKey(buf, ip + (buf[ip]! & 15) * 4, wp, buf[ip + 9]!, toGuest);
  }
  return type === IPV6 ? portKey(buf, ip + IPV6_HEADER_LEN, wp, buf[ip + 6]!, toGuest) : NO_PORT;
}

function portKey(buf: Uint8Array, at: number, wp: number, protocol: number, toGuest: boolean): number {
  if (at + 8 > wp) return NO_PORT;
  // An echo's identifier stands where it stands in request and reply.
  if (protocol === ICMP || protocol === ICMPV6) return Kind.Icmp << 16 | buf[at + 4]! << 8 | buf[at + 5]!;
  if (protocol !== TCP && protocol !== UDP) return NO_PORT;
  const port = toGuest ? at + 2 : at;
  return (protocol === TCP ? Kind.Tcp : Kind.Udp) << 16 | buf[port]! << 8 | buf[port + 1]!;
}
