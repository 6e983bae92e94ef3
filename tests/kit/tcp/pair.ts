/**
 * Two TCPs over a pipe with seeded faults, in virtual time; and programs that send a pattern and check it.
 *
 * @module
 */

import type { Conv } from "../../../devices/ip/conv/conv.ts";
import { TcpState } from "../../../devices/ip/tcp/state.ts";
import { type Block, Segment } from "../../../kernel/block.ts";
import { cutSegments, finishChecksum } from "../../../kernel/inet/segment.ts";
import { SeededRandom } from "../../../kernel/random.ts";
import { type Clock, VirtualClock } from "../../../kernel/time.ts";
import { HERE, TcpHost, THERE } from "./host.ts";

/** Faults of one direction of a pipe. */
export interface PipeOptions {
  readonly delayMs?: number;
  readonly loss?: number;
  readonly duplicate?: number;
  readonly corrupt?: number;
  /** How many packets in a hundred are held back, and how long. */
  readonly reorder?: number;
  readonly reorderMs?: number;
  /** Bits per second; 0: no limit. */
  readonly rate?: number;
  /** Bytes that wait for the rate; more is dropped. */
  readonly queueBytes?: number;
  /** Packets that wait so long that they are marked instead of dropped (ECN): bytes in the queue. */
  readonly markBytes?: number;
  /** Segments cross whole. */
  readonly whole?: boolean;
}

/** One way of a path. */
export class Pipe {
  sent = 0;
  dropped = 0;
  bytes = 0;
  #busyUntilMs = 0;

  constructor(
    readonly clock: Clock,
    readonly random: SeededRandom,
    readonly options: PipeOptions,
    readonly deliver: (block: Block) => void,
  ) {}

  send(block: Block, host: TcpHost): void {
    if (block.segment === Segment.None || this.options.whole === true) return this.#one(block);
    for (const piece of cutSegments(block, host.stack.env.blocks)!) this.#one(piece);
    block.free();
  }

  #one(block: Block): void {
    const { options, random } = this;
    this.sent++;
    this.bytes += block.length;
    if (options.whole !== true) finishChecksum(block);
    if (random.chance(options.loss ?? 0)) return this.#drop(block);
    const waitMs = this.#queue(block);
    if (waitMs < 0) return this.#drop(block);
    if (random.chance(options.duplicate ?? 0)) this.#later(block.clone(), waitMs);
    if (random.chance(options.corrupt ?? 0)) {
      // Below IP's header, whose own checksum would have caught it.
      const at = block.rp + 20 + random.below(block.wp - block.rp - 20);
      block.buf[at]! ^= 1 << random.below(8);
    }
    const lateMs = random.chance(options.reorder ?? 0) ? (options.reorderMs ?? 10) * random.fraction() : 0;
    this.#later(block, waitMs + lateMs);
  }

  #drop(block: Block): void {
    this.dropped++;
    block.free();
  }

  /** How long the packet waits for its turn and takes to be sent; below 0: no room. */
  #queue(block: Block): number {
    const { rate = 0, queueBytes = Infinity, markBytes = Infinity } = this.options;
    if (rate === 0) return 0;
    const nowMs = this.clock.now();
    const backlogMs = Math.max(0, this.#busyUntilMs - nowMs);
    const backlog = backlogMs * rate / 8000;
    if (backlog + block.length > queueBytes) return -1;
    const isCapable = (block.buf[block.rp + 1]! & 3) !== 0;
    if (backlog > markBytes && isCapable) block.buf[block.rp + 1]! |= 3;
    this.#busyUntilMs = Math.max(nowMs, this.#busyUntilMs) + block.length * 8000 / rate;
    return this.#busyUntilMs - nowMs;
  }

  #later(block: Block, waitMs: number): void {
    this.clock.timer(() => this.deliver(block)).arm(waitMs + (this.options.delayMs ?? 0));
  }
}

/** Two hosts and the path between them. */
export class TcpPair {
  readonly clock: VirtualClock = new VirtualClock();
  readonly here: TcpHost;
  readonly there: TcpHost;
  readonly out: Pipe;
  readonly back: Pipe;

  constructor(seed: number, out: PipeOptions, back: PipeOptions = out) {
    const random = new SeededRandom(seed);
    this.here = new TcpHost(HERE, this.clock, random.u32());
    this.there = new TcpHost(THERE, this.clock, random.u32());
    this.out = new Pipe(this.clock, random.fork(), out, (block) => this.there.receive(block));
    this.back = new Pipe(this.clock, random.fork(), back, (block) => this.here.receive(block));
    this.here.onSend = (block) => {
      this.out.send(block, this.here);
      return "sent";
    };
    this.there.onSend = (block) => {
      this.back.send(block, this.there);
      return "sent";
    };
  }

  /** Connects; both ends' conversations. */
  connect(options: { port?: number; setup?: string[]; from?: number } = {}): [Conv, Conv] {
    const port = options.port ?? 80;
    const setup = options.setup ?? [];
    const listener = this.there.announce(this.there.conv(...setup), port);
    const conv = this.here.connect(this.here.conv(...setup), THERE, port, options.from ?? 4000 + port);
    this.runUntil(() => listener.calls.length > 0 && this.here.tcb(conv).state === TcpState.Established, 300_000);
    const call = listener.calls.shift()!;
    this.there.close(listener);
    return [conv, call];
  }

  /** Lets time pass until `done`; false if it does not come within `limitMs`. */
  runUntil(done: () => boolean, limitMs: number): boolean {
    const end = this.clock.now() + limitMs;
    while (!done()) {
      if (this.clock.now() >= end || !this.clock.step()) return done();
    }
    return true;
  }
}

/** Byte `i` of the pattern of `seed`. */
export function patternAt(seed: number, i: number): number {
  return (i * 31 + (i >>> 8) * 17 + (i >>> 16) * 5 + seed) & 0xff;
}

/** Writes the first `total` bytes of a pattern, as the queue takes them, and then ends the stream. */
export class Source {
  sent = 0;
  done = false;

  constructor(
    readonly host: TcpHost,
    readonly conv: Conv,
    readonly options: { total: number; seed: number; chunk?: number; shut?: boolean },
  ) {}

  pump(): void {
    const { total, seed, chunk = 16384 } = this.options;
    while (this.sent < total && this.conv.wq!.canWrite) {
      const bytes = new Uint8Array(Math.min(chunk, total - this.sent));
      for (let i = 0; i < bytes.length; i++) bytes[i] = patternAt(seed, this.sent + i);
      const count = this.host.write(this.conv, bytes);
      if (typeof count !== "number") return;
      this.sent += count;
    }
    if (this.done || this.sent < total) return;
    this.done = true;
    if (this.options.shut !== false) this.host.ctl(this.conv, "shutdown wr");
  }
}

/** Reads and compares with a pattern. */
export class Sink {
  got = 0;
  ended = false;
  firstWrong = -1;
  endMs = 0;
  readonly #buf = new Uint8Array(65536);

  constructor(readonly host: TcpHost, readonly conv: Conv, readonly seed: number) {}

  pump(): void {
    while (!this.ended) {
      const count = this.conv.rq.read(this.#buf);
      if (count === "empty") return;
      if (count === "closed") {
        this.ended = true;
        this.endMs = this.host.clock.now();
        return;
      }
      for (let i = 0; i < count && this.firstWrong < 0; i++) {
        if (this.#buf[i] !== patternAt(this.seed, this.got + i)) this.firstWrong = this.got + i;
      }
      this.got += count;
    }
  }
}

/** The result of a transfer. */
export interface TransferResult {
  readonly done: boolean;
  readonly wrong: boolean;
  readonly got: readonly [number, number];
  readonly ms: number;
  /** Bits per second of the way from here to there. */
  readonly goodput: number;
}

/** Sends `total` bytes each way at once, until both sides have all and an end of file. */
export function transfer(
  pair: TcpPair,
  ends: readonly [Conv, Conv],
  options: { total: number; back?: number; limitMs?: number; chunk?: number },
): TransferResult {
  const [a, b] = ends;
  const back = options.back ?? options.total;
  const chunk = options.chunk ?? 16384;
  const sources = [
    new Source(pair.here, a, { total: options.total, seed: 1, chunk }),
    new Source(pair.there, b, { total: back, seed: 2, chunk }),
  ];
  const sinks = [new Sink(pair.there, b, 1), new Sink(pair.here, a, 2)] as const;
  const startMs = pair.clock.now();
  const done = pair.runUntil(() => {
    for (const source of sources) source.pump();
    for (const sink of sinks) sink.pump();
    return sinks[0].ended && sinks[1].ended;
  }, options.limitMs ?? 3_600_000);
  const ms = sinks[0].endMs - startMs;
  return {
    done: done && sinks[0].got === options.total && sinks[1].got === back,
    wrong: sinks[0].firstWrong >= 0 || sinks[1].firstWrong >= 0,
    got: [sinks[0].got, sinks[1].got],
    ms,
    goodput: options.total * 8000 / ms,
  };
}

/** Whether nothing is left of any connection or timer. */
export function isQuiet(pair: TcpPair): boolean {
  return pair.clock.timerCount === 0 && pair.here.tcp.synQueue.length === 0 && pair.there.tcp.synQueue.length === 0;
}
