/**
 * TcpRelay: connections of guests as connections of the machine, and calls to the machine's ports as calls to the
 * guest.
 *
 * Path: uplink → tcp_relay → held_calls, far_stack, splice, packet_link.
 *
 * ```
 *   SYN ─ held until the machine is connected ─► far stack ─ call ─► splice ◄─► socket
 *   all other segments ────────────────────────►
 * ```
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import { KernelError } from "../../kernel/error.ts";
import { TapEvent } from "../../kernel/fd_tap.ts";
import type { HostStream } from "../../kernel/host_sockets.ts";
import { Job } from "../../kernel/job.ts";
import type { Timer } from "../../kernel/time.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { TCP_ACK, TCP_HEADER_LEN, TCP_RST, TCP_SYN, tcpDstPort, tcpFlags, tcpSrcPort } from "../../kernel/wire/tcp.ts";
import type { UplinkContext } from "./context.ts";
import type { FarConv } from "./far_conv.ts";
import { type FarEvents, type FarOptions, FarStack } from "./far_stack.ts";
import { callKey, HeldCalls, type HeldOptions, type Syn } from "./held_calls.ts";
import type { LinkVersion } from "./link_version.ts";
import type { PacketLink } from "./packet_link.ts";
import { Splice, type SpliceOwner } from "./splice.ts";

/** How long a guest may take to finish a handshake that the machine has answered. */
const HANDSHAKE_MS = 75_000;
/** How long a broken connection may deliver what is queued, and how often that is looked at. */
const DRAIN_MS = 5_000;
const DRAIN_STEP_MS = 10;

/** Ports that are tried for a caller whose own is taken. */
const CALL_TRIES = 16;
const PORT_MAX = 65_535;

/** A machine's socket whose guest has not finished the handshake. */
interface Awaited {
  readonly socket: HostStream;
  readonly untilMs: number;
}

/** A call from the machine that the near stack has not answered. */
interface Calling {
  readonly conv: FarConv;
  readonly socket: HostStream;
}

/** Splices that deliver before their reset, and until when. */
interface Draining {
  readonly splice: Splice;
  readonly untilMs: number;
}

/** How the relay is made. */
interface TcpRelayOptions extends Omit<HeldOptions, "connected"> {
  readonly link: PacketLink;
  readonly far: FarOptions;
}

/** See above. */
export class TcpRelay implements FarEvents, SpliceOwner {
  readonly #context: UplinkContext;
  readonly #link: PacketLink;
  readonly #held: HeldCalls;
  readonly #far: FarStack;
  readonly #awaited = new Map<string, Awaited>();
  /** By the data descriptor of the far conversation. */
  readonly #splices = new Map<number, Splice>();
  readonly #calling = new Map<number, Calling>();
  /** Ends of the calls that are connected: a SYN of theirs is the far stack's affair. */
  readonly #keys = new Map<Splice, string>();
  readonly #open = new Set<string>();
  #draining: Draining[] = [];
  #ready = new Set<Splice>();
  readonly #job: Job;
  readonly #timer: Timer;

  /** Makes the far stack. Throws KernelError. */
  constructor(options: TcpRelayOptions) {
    const { context, link, far } = options;
    this.#context = context;
    this.#link = link;
    this.#held = new HeldCalls({ ...options, connected: (syn, socket) => this.#connected(syn, socket) });
    this.#job = new Job(context.clock.jobs, () => this.#runReady());
    this.#timer = context.clock.timer(() => this.#tick());
    this.#far = new FarStack(far, this);
  }

  get blocks(): UplinkContext["blocks"] {
    return this.#context.blocks;
  }

  /** Connections, and those on their way. */
  get size(): number {
    return this.#splices.size + this.#held.size + this.#awaited.size + this.#calling.size;
  }

  /** Takes a TCP packet of the near stack, whose header is at `at`. */
  take(block: Block, version: LinkVersion, at: number): void {
    const { buf, rp, wp } = block;
    if (wp - at < TCP_HEADER_LEN) {
      this.#context.counters.badPackets++;
      return block.free();
    }
    const flags = tcpFlags(buf, at);
    const isSyn = (flags & (TCP_SYN | TCP_ACK)) === TCP_SYN;
    const isReset = (flags & TCP_RST) !== 0 && this.#awaited.size + this.#held.size > 0;
    if (!isSyn && !isReset) return this.#link.toFar(block);
    const { header } = version;
    const [src, dst] = [header.src(buf, rp), header.dst(buf, rp)];
    const [srcPort, dstPort] = [tcpSrcPort(buf, at), tcpDstPort(buf, at)];
    const key = callKey(`${src}!${srcPort}`, `${dst}!${dstPort}`);
    if (isReset) {
      this.#giveUp(key);
      return this.#link.toFar(block);
    }
    if (this.#held.repeated(key)) return block.free();
    if (this.#awaited.has(key) || this.#open.has(key)) return this.#link.toFar(block);
    this.#held.take({ block, at, version, src, srcPort, dst, dstPort, key });
  }

  /** The guest does not want a call that the machine makes, or has made: a repeated SYN may come when all is over. */
  #giveUp(key: string): void {
    if (this.#held.giveUp(key)) return;
    const awaited = this.#awaited.get(key);
    if (awaited === undefined) return;
    this.#awaited.delete(key);
    this.#context.counters.tcpUnfinished++;
    awaited.socket.reset();
  }

  #connected(syn: Syn, socket: HostStream): void {
    this.#awaited.set(syn.key, { socket, untilMs: this.#context.clock.now() + HANDSHAKE_MS });
    this.#armFor(HANDSHAKE_MS);
    this.#link.toFar(syn.block);
  }

  /** A call of the far stack: the guest has finished the handshake. */
  call(conv: FarConv): void {
    const key = callKey(conv.text("remote").trim(), conv.text("local").trim());
    const awaited = this.#awaited.get(key);
    this.#awaited.delete(key);
    if (awaited === undefined) {
      conv.tell("hangup");
      return conv.close();
    }
    this.#join(conv, awaited.socket, key);
  }

  #join(conv: FarConv, socket: HostStream, key: string | null): void {
    const splice = new Splice(this, conv, socket);
    this.#splices.set(conv.data, splice);
    if (key !== null) {
      this.#keys.set(splice, key);
      this.#open.add(key);
    }
    socket.onReady = () => this.again(splice);
    this.#far.watch(conv);
    splice.run();
  }

  event(data: number, events: number): void {
    const calling = this.#calling.get(data);
    if (calling !== undefined) return this.#answered(data, calling);
    const splice = this.#splices.get(data);
    if ((events & TapEvent.Hangup) !== 0) splice?.hungUp();
    else splice?.run();
  }

  again(splice: Splice): void {
    this.#ready.add(splice);
    this.#job.wake();
  }

  #runReady(): void {
    const ready = this.#ready;
    this.#ready = new Set();
    for (const splice of ready) splice.run();
  }

  draining(splice: Splice): void {
    this.#draining.push({ splice, untilMs: this.#context.clock.now() + DRAIN_MS });
    this.#armFor(DRAIN_STEP_MS);
  }

  ended(splice: Splice): void {
    this.#splices.delete(splice.conv.data);
    this.#ready.delete(splice);
    const key = this.#keys.get(splice);
    this.#keys.delete(splice);
    if (key !== undefined) this.#open.delete(key);
  }

  /** Calls the near stack at `near` for a caller of the machine, whom it sees as `shown`. */
  callNear(
    socket: HostStream,
    near: { address: IpAddr; port: number },
    shown: { address: IpAddr; port: number },
  ): void {
    let conv: FarConv | null = null;
    // Another caller of that port may look the same, or one of before (TIME-WAIT): the next number will do.
    for (let i = 0; i < CALL_TRIES && conv === null; i++) {
      conv = this.#tryCall(near, `${shown.address}!${(shown.port + i - 1) % PORT_MAX + 1}`);
    }
    if (conv === null) {
      this.#context.counters.tcpInRefused++;
      return socket.reset();
    }
    this.#context.counters.tcpIn++;
    this.#calling.set(conv.data, { conv, socket });
    this.#far.watch(conv);
  }

  #tryCall({ address, port }: { address: IpAddr; port: number }, local: string): FarConv | null {
    let conv: FarConv | null = null;
    try {
      conv = this.#far.make();
      conv.command("foreign-local on");
      conv.command(`connect ${address}!${port} ${local}`);
      return conv;
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      conv?.close();
      return null;
    }
  }

  /** The near stack has answered a call, or refused it. */
  #answered(data: number, { conv, socket }: Calling): void {
    const state = conv.text("status").split(" ")[0]!;
    if (state.startsWith("Syn")) return;
    this.#calling.delete(data);
    if (state !== "Closed") return this.#rejoin(conv, socket);
    this.#context.counters.tcpInRefused++;
    conv.close();
    socket.reset();
  }

  /** As {@link #join}, for a conversation that is watched already. */
  #rejoin(conv: FarConv, socket: HostStream): void {
    const splice = new Splice(this, conv, socket);
    this.#splices.set(conv.data, splice);
    socket.onReady = () => this.again(splice);
    splice.run();
  }

  #armFor(ms: number): void {
    const atMs = this.#context.clock.now() + ms;
    if (!this.#timer.armed || this.#timer.deadlineMs > atMs) this.#timer.arm(ms);
  }

  #tick(): void {
    const now = this.#context.clock.now();
    this.#draining = this.#draining.filter(({ splice, untilMs }) => !splice.resetWhenSent(now >= untilMs));
    if (this.#draining.length > 0) this.#armFor(DRAIN_STEP_MS);
    for (const [key, { untilMs }] of this.#awaited) {
      // They are in order of time.
      if (untilMs > now) {
        this.#armFor(untilMs - now);
        break;
      }
      this.#giveUp(key);
    }
  }

  /** Gives up what costs least: the oldest held SYN; false: there is none. */
  makeRoom(): boolean {
    return this.#held.evict();
  }

  /** Ends every connection. */
  close(): void {
    this.#timer.disarm();
    this.#held.close();
    for (const { socket } of this.#awaited.values()) socket.reset();
    for (const { conv, socket } of this.#calling.values()) {
      conv.close();
      socket.reset();
    }
    for (const splice of [...this.#splices.values()]) splice.close();
    this.#awaited.clear();
    this.#calling.clear();
    this.#far.close();
  }
}
