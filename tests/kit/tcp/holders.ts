/**
 * A server, a crowd of peers that hold on to what it has, and one honest client beside them; in virtual time.
 *
 * As a program it runs one attack and prints what the process held before, during and after it, as JSON:
 *
 *     deno run --v8-flags=--expose-gc tests/kit/tcp/holders.ts ATTACK
 *
 * It is a program of its own there, since only the flag lets it call the collector.
 *
 * @module
 */

import { type Block, Block as BlockClass, Checksum, Segment } from "../../../kernel/block.ts";
import { cutSegments } from "../../../kernel/inet/segment.ts";
import { VirtualClock } from "../../../kernel/time.ts";
import { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { IPV4_HEADER_LEN } from "../../../kernel/wire/ipv4.ts";
import * as seq from "../../../kernel/wire/seq.ts";
import { emitTcp, parseTcp, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, tcpEmitLen } from "../../../kernel/wire/tcp.ts";
import { NO_TCP_OPTIONS } from "../../../kernel/wire/tcp_options.ts";
import type { Conv } from "../../../devices/ip/conv/conv.ts";
import { TcpState } from "../../../devices/ip/tcp/state.ts";
import type { Tcb } from "../../../devices/ip/tcp/tcb.ts";
import { HERE, TcpHost, THERE } from "./host.ts";

const PORT = 80;
/** One way between the honest client and the server. */
const CLIENT_DELAY_MS = 5;
/** How often time is stopped for the programs and the crowd. */
const STEP_MS = 5;
/** The same while no client waits. */
const QUIET_STEP_MS = 200;
/** 10.1.0.0: the crowd's addresses begin here. */
const CROWD = 0x0a010000;
/** Data for the honest client. */
export const ANSWER = 200_000;

/** How a crowd holds on. */
export interface Attack {
  /** The server's answer to each of the crowd. */
  readonly answer: number;
  /** The window of every segment of the crowd but its SYN. */
  readonly window: number;
  /** Whether data are acknowledged, and whether a FIN is. */
  readonly acksData: boolean;
  readonly acksFin: boolean;
  /** Whether a probe of the window is answered. */
  readonly answersProbes: boolean;
  /** Bytes sent behind a gap instead of a request; 0: a request is sent. */
  readonly early: number;
}

const HOLDS = { answer: ANSWER, window: 0, acksData: false, acksFin: false, answersProbes: true, early: 0 };

/** The attacks by name. */
export const ATTACKS = {
  "peers that keep their window shut and answer probes": HOLDS,
  "peers that keep their window shut and fall silent": { ...HOLDS, answersProbes: false },
  "peers that open a window and acknowledge nothing": { ...HOLDS, window: 65_535, answersProbes: false },
  "peers that acknowledge all but the FIN": { ...HOLDS, window: 65_535, acksData: true },
  "peers that never send a FIN": { ...HOLDS, window: 65_535, acksData: true, acksFin: true },
} satisfies Record<string, Attack>;
/** Peers whose first byte never comes: what follows it is kept for it. */
export const GAP_ATTACK: Attack = { ...HOLDS, window: 65_535, early: 60_000 };

/** Peers for whom the server has more than a send queue takes: its program waits, and has them open. */
export const OPEN_ATTACK: Attack = { ...HOLDS, answer: 20_000_000 };

/** One of the crowd: where its connection stands. */
interface Holder {
  readonly port: number;
  readonly addr: IpAddr;
  nxt: number;
  ended: boolean;
}

/** An answer that the server has still to write. */
interface Serving {
  readonly conv: Conv;
  left: number;
}

/** The result of a client. */
export interface Visit {
  readonly conv: Conv;
  readonly sinceMs: number;
  bytes: number;
  asked: boolean;
  ended: boolean;
  /** How long the whole answer took; -1: it has not come. */
  tookMs: number;
}

/** The server, the crowd and the client. */
export class HolderLab {
  readonly clock: VirtualClock = new VirtualClock();
  readonly server: TcpHost = new TcpHost(HERE, this.clock, 1);
  readonly client: TcpHost = new TcpHost(THERE, this.clock, 2);
  /** Connections of the crowd that stand, and those of them that were reset. */
  resets = 0;
  readonly visits: Visit[] = [];
  readonly #listener: Conv;
  readonly #holders = new Map<string, Holder>();
  #serving: Serving[] = [];
  readonly #answer = new Uint8Array(ANSWER).fill(0x61);
  readonly #buf = new Uint8Array(1 << 17);
  #nextPort = 2000;

  constructor(readonly attack: Attack) {
    this.#listener = this.server.announce(this.server.conv(), PORT);
    this.server.onSend = (block, options) => {
      if (options.dst.equals(THERE)) this.#later(this.client, block);
      else this.#hear(options.dst, block);
      return "sent";
    };
    this.client.onSend = (block) => {
      this.#later(this.server, block);
      return "sent";
    };
  }

  get tcp(): TcpHost["tcp"] {
    return this.server.tcp;
  }

  /** One counter of the server's `stats` file. */
  stat(name: string): number {
    const line = this.tcp.stats().split("\n").find((one) => one.startsWith(`${name}: `));
    return line === undefined ? NaN : Number(line.slice(name.length + 2));
  }

  /** How many conversations of the server are in `state`. */
  count(state: TcpState): number {
    return this.tcp.space.convs.filter((conv) => (conv.priv as Tcb | null)?.state === state).length;
  }

  /** Lets `count` more of the crowd call. */
  calls(count: number): void {
    for (let i = 0; i < count; i++) {
      const number = this.#holders.size;
      const holder = { port: 1024 + number % 50_000, addr: IpAddr.v4(CROWD + number), nxt: 1, ended: false };
      this.#holders.set(`${holder.addr}`, holder);
      this.#say(holder, TCP_SYN, { from: 0, ack: 0, window: 65_535 });
    }
  }

  /** The honest client asks for its answer. */
  visit(): Visit {
    const conv = this.client.connect(this.client.conv(), HERE, PORT, this.#nextPort++);
    const visit: Visit = { conv, sinceMs: this.clock.now(), bytes: 0, asked: false, ended: false, tookMs: -1 };
    this.visits.push(visit);
    return visit;
  }

  /** Lets time pass. */
  advance(ms: number): void {
    for (const endMs = this.clock.now() + ms; this.clock.now() < endMs;) {
      const isQuiet = this.visits.every((visit) => visit.ended);
      this.clock.advance(Math.min(isQuiet ? QUIET_STEP_MS : STEP_MS, endMs - this.clock.now()));
      this.#runServer();
      for (const visit of this.visits) this.#runClient(visit);
    }
  }

  /** The program that serves: it reads a request, writes the answer, and closes. */
  #runServer(): void {
    for (let call = this.#listener.calls.shift(); call !== undefined; call = this.#listener.calls.shift()) {
      const isGuest = call.raddr.equals(THERE);
      this.#serving.push({ conv: call, left: isGuest ? ANSWER : this.attack.answer });
    }
    this.#serving = this.#serving.filter((one) => !this.#serve(one));
  }

  #serve(one: Serving): boolean {
    const { conv } = one;
    const tcb = conv.priv as Tcb;
    if (tcb.state === TcpState.Closed) return this.#drop(conv);
    if (one.left === 0 || (conv.rq.length === 0 && conv.rq.blocksIn === 0)) return false;
    conv.rq.read(this.#buf);
    const count = this.server.write(conv, this.#answer.subarray(0, one.left));
    if (count === "full") return false;
    one.left -= count === "closed" ? one.left : count;
    return one.left === 0 && this.#drop(conv);
  }

  #drop(conv: Conv): boolean {
    this.server.close(conv);
    return true;
  }

  #runClient(visit: Visit): void {
    const { conv } = visit;
    const tcb = this.client.tcb(conv);
    if (visit.ended || tcb.state === TcpState.SynSent) return;
    if (tcb.state === TcpState.Closed) {
      visit.ended = true;
      return this.client.close(conv);
    }
    if (!visit.asked) this.client.write(conv, new Uint8Array(1));
    visit.asked = true;
    const count = conv.rq.read(this.#buf);
    if (typeof count === "number") visit.bytes += count;
    if (count !== "closed") return;
    visit.ended = true;
    if (visit.bytes === ANSWER) visit.tookMs = this.clock.now() - visit.sinceMs;
    this.client.close(conv);
  }

  #later(to: TcpHost, block: Block): void {
    const pieces = block.segment === Segment.None ? [block] : cutSegments(block, to.stack.env.blocks)!;
    for (const piece of pieces) {
      piece.checksum = Checksum.Verified;
      this.clock.timer(() => to.receive(piece)).arm(CLIENT_DELAY_MS);
    }
  }

  /** One of the crowd receives a segment. */
  #hear(addr: IpAddr, block: Block): void {
    const { attack } = this;
    const header = parseTcp(block.buf, block.rp + IPV4_HEADER_LEN, block.wp)!;
    const length = block.wp - block.rp - IPV4_HEADER_LEN - header.headerLen;
    block.free();
    const holder = this.#holders.get(`${addr}`)!;
    if ((header.flags & TCP_RST) !== 0) {
      this.resets += holder.ended ? 0 : 1;
      holder.ended = true;
      return;
    }
    if (holder.ended) return;
    if ((header.flags & TCP_SYN) !== 0) {
      holder.nxt = seq.add(header.seq, 1);
      return this.#open(holder);
    }
    const isProbe = length === 0 && seq.lt(header.seq, holder.nxt);
    const hasFin = (header.flags & TCP_FIN) !== 0;
    if (length === 0 && !hasFin && !(isProbe && attack.answersProbes)) return;
    if (attack.acksData) {
      holder.nxt = seq.max(holder.nxt, seq.add(header.seq, length + (hasFin && attack.acksFin ? 1 : 0)));
    } else if (!attack.answersProbes) return;
    this.#say(holder, TCP_ACK, { from: attack.early > 0 ? 1 : 2, ack: holder.nxt, window: attack.window });
  }

  /** The last step of the handshake, and a request or early data. */
  #open(holder: Holder): void {
    const { window, early } = this.attack;
    if (early === 0) return this.#say(holder, TCP_ACK, { from: 1, ack: holder.nxt, window, length: 1 });
    this.#say(holder, TCP_ACK, { from: 1, ack: holder.nxt, window });
    for (let at = 0; at < early; at += 1000) {
      this.#say(holder, TCP_ACK, { from: 2 + at, ack: holder.nxt, window, length: Math.min(1000, early - at) });
    }
  }

  /** A segment of one of the crowd arrives, `length` bytes with it. */
  #say(
    holder: Holder,
    flags: number,
    said: { from: number; ack: number; window: number; length?: number },
  ): void {
    const { from, ack, window, length = 0 } = said;
    const options = { ...NO_TCP_OPTIONS, mss: (flags & TCP_SYN) !== 0 ? 1460 : 0 };
    const fields = { srcPort: holder.port, dstPort: PORT, seq: from, ack, flags, window, options };
    const block = BlockClass.alloc(IPV4_HEADER_LEN + tcpEmitLen(fields) + length);
    const { buf, rp } = block;
    buf[rp] = 0x45;
    holder.addr.putV4(buf, rp + 12);
    HERE.putV4(buf, rp + 16);
    block.wp = rp + IPV4_HEADER_LEN + emitTcp(fields, buf, rp + IPV4_HEADER_LEN) + length;
    block.checksum = Checksum.Verified;
    this.clock.timer(() => this.server.receive(block)).arm(CLIENT_DELAY_MS);
  }
}

/** Output of the program: bytes of the process, and how the client fared. */
export interface HolderReport {
  readonly before: number;
  readonly peak: number;
  readonly after: number;
  /** Milliseconds that each visit took; -1: it was not served. */
  readonly visits: readonly number[];
}

/** Bytes in use: the heap, and the buffers beside it. */
function inUse(): number {
  const { gc } = globalThis as unknown as { gc(): void };
  gc();
  gc();
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}

/** 6,000 handshakes in four seconds, a client every half second, and then ten minutes of quiet. */
export function runAttack(lab: HolderLab, look: () => void, count = 6000): void {
  for (let step = 0; step < 80; step++) {
    lab.calls(count / 80);
    if (step % 10 === 0) lab.visit();
    lab.advance(50);
    if (step % 10 === 9) look();
  }
  lab.visit();
  lab.advance(10_000);
  look();
  lab.visit();
  lab.advance(600_000);
}

if (import.meta.main) {
  const attack: Attack | undefined = Deno.args[0] === "gap"
    ? GAP_ATTACK
    : ATTACKS[Deno.args[0] as keyof typeof ATTACKS];
  const lab = new HolderLab(attack!);
  const before = inUse();
  let peak = 0;
  runAttack(lab, () => peak = Math.max(peak, inUse()), attack === GAP_ATTACK ? 3200 : 6000);
  const report: HolderReport = { before, peak, after: inUse(), visits: lab.visits.map(({ tookMs }) => tookMs) };
  console.log(JSON.stringify(report));
}
