/**
 * FairQueue: frames of one guest on their way to the NAT, queued so that a flood does not starve the guest's other
 * flows.
 *
 * Path: daemon → fair_queue → block, job, time, ethernet.
 *
 * Taking a frame from a card costs a fifth of what the NAT does with it. So many are taken and few are passed on at a
 * time, in turn from queues, {@link QUANTUM} each (deficit round robin in frames, as RFC 8290 4.2 does it in bytes):
 *
 * ```
 *   answered ──hash of protocol and the guest's port──► one of FLOWS queues ─┐
 *   not (yet) answered ──protocol──► one of STRANGERS queues ────────────────┴─ in turn ──► sink
 * ```
 *
 * RFC 8290 serves new flows first. Here a flood consists of new flows: a scan, or datagrams to random addresses. New
 * flows of a protocol share one queue, and a flow that was answered in the last minute or two has its own. While no
 * frame waits for more than a turn, the order is kept and nothing is dropped.
 *
 * Limits: {@link FRAMES_MAX} frames and {@link BYTES_MAX} bytes wait; beyond that the longest queue loses its first
 * frame (RFC 8290 4.1.2). Large frames are of TCP, which a loss would slow down, or leave without its end if a reset is
 * lost: who reads the guest stops before that limit, see {@link isHeavy}. Nothing is allocated for a frame.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import { Job } from "../../../kernel/job.ts";
import type { Clock, Timer } from "../../../kernel/time.ts";
import { ETHER_HEADER_LEN } from "../../../kernel/wire/ethernet.ts";

/** Most frames that wait: some 2 MiB of buffers for usual frames, 20 ms of the NAT's work. */
export const FRAMES_MAX = 1024;
/** Most bytes that wait, counted as whole buffers: 64 segments of 64 KiB. */
const BYTES_MAX = 1 << 22;
/** Of these, room for the frame that is being read. */
const BYTES_HEAVY = BYTES_MAX - (1 << 17);
/** Most frames passed on in one turn of the loop: as many as its time allows, for those that cost least. */
export const FRAMES_PER_TURN = 512;
/**
 * How long they may take together. A frame of a known flow takes some 3 µs, one that needs a new map ten times as much:
 * 64 of those would let Linux' queue before us overflow.
 */
const TURN_MS = 1;
/** Frames between two readings of the clock. */
const CLOCK_EVERY = 8;
/** Frames of one queue in one round. */
export const QUANTUM = 4;
/** Queues of flows that are answered. */
const FLOWS = 256;
/** Queues of those that are not: UDP, TCP, ICMP, all else. */
const STRANGERS = 4;
const QUEUES = FLOWS + STRANGERS;
/** Period after which an answered flow is dropped unless it was answered again. */
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

/** Counters of frames. */
class FairCounters {
  /** Passed on. */
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
  /** Non-empty queues in the order of their turn: a ring, since each is in it once at most. */
  readonly #ring = new Uint16Array(QUEUES);
  #first = 0;
  #active = 0;
  /** Rest of the first one's turn. */
  #credit = QUANTUM;
  #frames = 0;
  #bytes = 0;
  /** Keys answered in this period, and in the one before. */
  #heard = new Uint8Array(KEYS);
  #heardBefore = new Uint8Array(KEYS);
  #forgetMs: number;

  /** `sink` takes the frames, and owns them. */
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

  /** Whether so many bytes wait that the next frame should wait where it is. */
  get isHeavy(): boolean {
    return this.#bytes > BYTES_HEAVY;
  }

  /** Takes a frame of the guest; consumes it. */
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

  /** A frame goes to the guest: its flow counts as answered. */
  heard(frame: Block): void {
    const key = keyOf(frame.buf, frame.rp, frame.wp, true);
    if (key >= 0) this.#heard[key] = 1;
  }

  /** Ends it: waiting frames are dropped. */
  close(): void {
    this.#timer.disarm();
    while (this.#frames > 0) this.#take().free();
  }

  /** Passes on one turn's frames. The rest follow after the loop has polled everything else. */
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

  /** Removes the queue at a place of the ring. */
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
  if (type !== IPV4 && type !== IPV6) return NO_PORT;
  // An IPv4 fragment that is not the first has no port.
  if (type === IPV4 && ((buf[ip + 6]! & 0x1f) | buf[ip + 7]!) !== 0) return NO_PORT;
  const at = ip + (type === IPV4 ? (buf[ip]! & 15) * 4 : IPV6_HEADER_LEN);
  return at + 8 > wp ? NO_PORT : portKey(buf, at, buf[ip + (type === IPV4 ? 9 : 6)]!, toGuest);
}

/** As {@link keyOf}, of the transport header at `at`. */
function portKey(buf: Uint8Array, at: number, protocol: number, toGuest: boolean): number {
  // Request and reply of an echo carry the identifier at the same place.
  if (protocol === ICMP || protocol === ICMPV6) return Kind.Icmp << 16 | buf[at + 4]! << 8 | buf[at + 5]!;
  if (protocol !== TCP && protocol !== UDP) return NO_PORT;
  const port = toGuest ? at + 2 : at;
  return (protocol === TCP ? Kind.Tcp : Kind.Udp) << 16 | buf[port]! << 8 | buf[port + 1]!;
}
