/**
 * HeldCalls: the SYNs of guests that wait until the machine has connected. Only then does the far stack, and through it
 * the guest, hear of them: what the machine is refused, the guest is refused, as it came.
 *
 * Path: tcp_relay → held_calls → host_sockets, failure_table, icmp_maker, wire/tcp.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import type { HostStream, SocketFailure } from "../../kernel/host_sockets.ts";
import { finishChecksum, oweChecksum } from "../../kernel/inet/segment.ts";
import { pseudoSum } from "../../kernel/wire/checksum.ts";
import type { Timer } from "../../kernel/time.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { IP_PROTO_TCP } from "../../kernel/wire/ip_proto.ts";
import { emitTcp, TCP_ACK, TCP_HEADER_LEN, TCP_RST, tcpChecksumAt, tcpSeq } from "../../kernel/wire/tcp.ts";
import type { UplinkContext } from "./context.ts";
import { type DestinationPolicy, ownAddress } from "./destination.ts";
import { isShortage, outcomeOf } from "./failure_table.ts";
import type { IcmpMaker } from "./icmp_maker.ts";
import type { LinkVersion } from "./link_version.ts";

/** Most SYNs that are held: a scan of the network takes no more, and a browser with many tabs needs less. */
export const HELD_MAX = 1024;
/** One that was held for this long makes room for another when there is none: its SYN was sent twice by then. */
const OVERDUE_MS = 2000;
/**
 * A guest that is silent for this long since its last SYN has given up, and so has one that is silent for much more
 * than twice the time between its last two. It waits 1 s for an answer (RFC 6298 2.1), of old 3 s, and each time at
 * most twice as long as before (RFC 6298 5.5).
 */
const SILENCE_MIN_MS = 7000;
const SILENCE_GAPS = 2.5;
/** How often silence is looked for while a SYN is held. */
const SILENCE_STEP_MS = 1000;
const TTL = 64;

/** A segment that begins a connection. */
export interface Syn {
  readonly block: Block;
  /** Where its TCP header is. */
  readonly at: number;
  readonly version: LinkVersion;
  readonly src: IpAddr;
  readonly srcPort: number;
  readonly dst: IpAddr;
  readonly dstPort: number;
  /** Its two ends: see {@link callKey}. */
  readonly key: string;
}

/** What held calls work with. */
export interface HeldOptions {
  readonly context: UplinkContext;
  readonly policy: DestinationPolicy;
  readonly icmp: IcmpMaker;
  /** Source address for the world; null: the route's. */
  readonly outbound: (version: 4 | 6) => IpAddr | null;
  /** Makes room when descriptors or memory are short; false: there is nothing to give. */
  readonly makeRoom: () => boolean;
  /** The machine is connected: the call goes on. */
  readonly connected: (syn: Syn, socket: HostStream) => void;
}

/** One that waits. */
interface Held {
  readonly syn: Syn;
  readonly socket: HostStream;
  readonly sinceMs: number;
  /** When the guest sent its last SYN, and the longest time between two. */
  heardMs: number;
  gapMs: number;
}

/** The ends of a call, as one text: the far stack's own names for them. */
export function callKey(remote: string, local: string): string {
  return `${remote} ${local}`;
}

/** See above. */
export class HeldCalls {
  readonly #options: HeldOptions;
  readonly #held = new Map<string, Held>();
  readonly #timer: Timer;

  constructor(options: HeldOptions) {
    this.#options = options;
    this.#timer = options.context.clock.timer(() => this.#dropSilent());
  }

  get size(): number {
    return this.#held.size;
  }

  /** The guest repeats a SYN: true if it is held, as one attempt is enough. */
  repeated(key: string): boolean {
    const held = this.#held.get(key);
    if (held === undefined) return false;
    const now = this.#options.context.clock.now();
    held.gapMs = Math.max(held.gapMs, now - held.heardMs);
    held.heardMs = now;
    return true;
  }

  /** The guest no longer wants a call: false if it is not held. */
  giveUp(key: string): boolean {
    const held = this.#held.get(key);
    if (held === undefined) return false;
    this.#options.context.counters.tcpUnfinished++;
    this.#drop(held);
    return true;
  }

  /** Takes a SYN whose ends are neither held nor connected, and begins to connect. */
  take(syn: Syn): void {
    const { context, policy, icmp } = this.#options;
    const { counters } = context;
    const verdict = policy(syn.dst);
    if (verdict === "closed") {
      counters.refusedDestinations++;
      icmp.makeProhibited(syn.block);
      return syn.block.free();
    }
    if (this.#held.size >= HELD_MAX) {
      counters.tcpHeldFull++;
      if (!this.#dropOverdue()) return syn.block.free();
    }
    const first = this.#connect(syn, verdict === "loopback");
    const socket = typeof first === "string" && isShortage(first) && this.#options.makeRoom()
      ? this.#connect(syn, verdict === "loopback")
      : first;
    if (typeof socket === "string") return this.#refuse(syn, socket);
    const now = context.clock.now();
    const held: Held = { syn, socket, sinceMs: now, heardMs: now, gapMs: 0 };
    this.#held.set(syn.key, held);
    if (!this.#timer.armed) this.#timer.arm(SILENCE_STEP_MS);
    counters.tcpOut++;
    socket.onReady = () => this.#look(held);
    // One on the machine itself may be there already.
    this.#look(held);
  }

  #connect({ block, version, dst, dstPort }: Syn, isLoopback: boolean): HostStream | SocketFailure {
    const { context, outbound } = this.#options;
    const { buf, rp } = block;
    return context.sockets.connect({
      to: { address: isLoopback ? ownAddress(version, dst) : dst, port: dstPort },
      from: isLoopback ? null : outbound(version.version),
      ttl: version.header.ttl(buf, rp),
      tos: version.tos(buf, rp),
    });
  }

  #look({ syn, socket }: Held): void {
    if (socket.state === "connecting" || !this.#held.has(syn.key)) return;
    this.#held.delete(syn.key);
    socket.onReady = null;
    if (socket.state === "connected") return this.#options.connected(syn, socket);
    const report = socket.takeReport();
    const failure = socket.failure ?? "ECONNREFUSED";
    socket.close();
    if (failure === "ECONNREFUSED" || report === null || report.origin === "local") return this.#refuse(syn, failure);
    this.#options.context.counters.tcpUnreachable++;
    this.#options.icmp.makeReported(syn.block, report);
    syn.block.free();
  }

  /** What the table has for `failure`. */
  #refuse(syn: Syn, failure: SocketFailure): void {
    const { context: { counters }, icmp } = this.#options;
    const outcome = outcomeOf(failure, syn.version.version);
    if (outcome.kind === "reset") {
      counters.tcpRefused++;
      this.#reset(syn);
    } else if (outcome.kind === "icmp") {
      counters.tcpUnreachable++;
      icmp.makeFailed(syn.block, failure);
    } else if (outcome.kind === "drop") counters.tcpShortage++;
    else counters.tcpUnanswered++;
    syn.block.free();
  }

  /** The answer of a closed port (RFC 9293 3.10.7.1): it acknowledges the SYN, or the guest would not believe it. */
  #reset({ block, at, version, src, srcPort, dst, dstPort }: Syn): void {
    const { context } = this.#options;
    const answer = context.blocks.alloc(version.headerLen + TCP_HEADER_LEN);
    answer.wp = answer.rp + version.headerLen + TCP_HEADER_LEN;
    const tcp = answer.rp + version.headerLen;
    const ack = (tcpSeq(block.buf, at) + 1) >>> 0;
    const flags = TCP_RST | TCP_ACK;
    emitTcp({ srcPort: dstPort, dstPort: srcPort, seq: 0, ack, flags, window: 0 }, answer.buf, tcp);
    const start = { src: dst, dst: src, protocol: IP_PROTO_TCP, ttl: TTL, tos: 0 };
    version.putHeader(start, TCP_HEADER_LEN, 0, answer);
    oweChecksum(answer, tcp, tcpChecksumAt(tcp), pseudoSum(dst, src, IP_PROTO_TCP, TCP_HEADER_LEN));
    finishChecksum(answer);
    context.toNear(answer);
  }

  /** Gives up the oldest; false: there is none. */
  evict(): boolean {
    for (const held of this.#held.values()) {
      this.#drop(held);
      this.#options.context.counters.tcpShortage++;
      return true;
    }
    return false;
  }

  /** Gives up the oldest if it has had its time: one that gets no answer must not stop those behind it. */
  #dropOverdue(): boolean {
    const now = this.#options.context.clock.now();
    for (const held of this.#held.values()) {
      if (now - held.sinceMs < OVERDUE_MS) return false;
      this.#drop(held);
      return true;
    }
    return false;
  }

  /** Frees what no guest waits for: the machine itself would try for two minutes. */
  #dropSilent(): void {
    const now = this.#options.context.clock.now();
    for (const [key, { heardMs, gapMs }] of this.#held) {
      if (now - heardMs > Math.max(SILENCE_MIN_MS, SILENCE_GAPS * gapMs)) this.giveUp(key);
    }
    if (this.#held.size > 0) this.#timer.arm(SILENCE_STEP_MS);
  }

  #drop({ syn, socket }: Held): void {
    this.#held.delete(syn.key);
    socket.close();
    syn.block.free();
  }

  close(): void {
    this.#timer.disarm();
    for (const held of [...this.#held.values()]) this.#drop(held);
  }
}
