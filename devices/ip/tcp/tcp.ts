/**
 * TCP (RFC 9293) as a protocol of `#ip`: the life cycle of a conversation and its connection.
 *
 * Path: dev_ip → tcp/tcp → tcp/advice, demux, transitions, tcp/output.
 *
 * One file a question: which states there are (state), what a segment does (input, ack, receive), what is sent (output,
 * segment_out), what is lost (sack, rack, recovery), how fast (congestion, cubic, newreno), how much may come (window,
 * resequence), when (timer, timeouts, rtt), how a connection begins (handshake, syn_queue, half_open, cookie) and ends
 * (transitions), which segments fit the path (pmtu, advice), its state (tcb).
 *
 * The slot of a conversation that was closed stays busy until its connection is over: it is an orphan (orphans), which
 * must end. One limit holds for the memory of all connections (memory, pressure).
 *
 * Limits: {@link CONVS_MAX} conversations; queues, windows, ranges and records have limits of their own where they are.
 *
 * @module
 */

import { KernelError } from "../../../kernel/error.ts";
import { TapEvent } from "../../../kernel/fd_tap.ts";
import { IP_PROTO_TCP } from "../../../kernel/wire/ip_proto.ts";
import { TCP_HEADER_LEN, tcpDstPort, tcpSrcPort } from "../../../kernel/wire/tcp.ts";
import { adviseConv } from "../conv/advice.ts";
import type { Conv, Proto } from "../conv/conv.ts";
import type { ConvSpace } from "../conv/conv_space.ts";
import { sendPacket } from "../network/ip_output.ts";
import type { ProtoContext } from "../network/context.ts";
import type { InputPacket } from "../packet/packet.ts";
import type { Advice, BypassRules } from "../conv/proto.ts";
import { SEND_QUEUE_MAX, SEND_QUEUE_START } from "./ack.ts";
import { takeAdvice } from "./advice.ts";
import { CONGESTIONS, runTcpVerb } from "./ctl.ts";
import { demux } from "./demux.ts";
import { openActively } from "./handshake.ts";
import { KeyedHash } from "./keyed_hash.ts";
import { applyEvent, finish } from "./transitions.ts";
import { SynQueue } from "./syn_queue.ts";
import { TcpMemory } from "./memory.ts";
import { adopt, endOrphans } from "./orphans.ts";
import { output } from "./output.ts";
import { Pressure } from "./pressure.ts";
import { Delivery } from "./sack.ts";
import { sendAck } from "./segment_out.ts";
import { TcpEvent, TcpState } from "./state.ts";
import { TcpStats } from "./stats.ts";
import { tcpStatus } from "./status.ts";
import { ReceiveQueue, SendQueue } from "./stream_queue.ts";
import { type IpSender, Tcb, tcbOf, tcbOrNull, type TcpConfig, type TcpEnv } from "./tcb.ts";
import { expire } from "./timeouts.ts";
import { USER_TIMEOUT_MS } from "./timer.ts";
import { tuneBuffer, wantsUpdate } from "./window.ts";
import { routeMtu } from "../route/egress.ts";

/** Most conversations: Akaros has 4096; a NAT needs one for each connection of its guests (2.4 KB, bypassed). */
export const CONVS_MAX = 8192;
/** Of those that linger, this many are cut short at once when a slot is needed. */
const COLLECT_BATCH = 64;

const RULES: BypassRules = {
  sourcePort: (buf, at, end) => end - at < TCP_HEADER_LEN ? -1 : tcpSrcPort(buf, at),
  // A quoted header may be as short as 8 bytes.
  destPort: (buf, at, end) => end - at < 4 ? -1 : tcpDstPort(buf, at),
};

/** TCP of one stack. */
export class TcpProto implements Proto {
  readonly name = "tcp";
  readonly index = 0;
  readonly ipProtocols: readonly number[] = [IP_PROTO_TCP];
  readonly convsMax = CONVS_MAX;
  readonly bypassable = true;
  readonly announcesRanges = true;
  readonly bypass: BypassRules = RULES;
  readonly env: TcpEnv;
  readonly synQueue: SynQueue;
  #space: ConvSpace | null = null;

  /** `ip` is how segments leave: IP output, unless a test has its own. */
  constructor(readonly stack: ProtoContext, ip: IpSender = ipOf(stack)) {
    const { clock, random, blocks } = stack.env;
    this.env = {
      clock,
      blocks,
      ip,
      stats: new TcpStats(),
      hash: KeyedHash.random(random),
      memory: new TcpMemory(CONVS_MAX),
      orphans: new Set(),
      delivery: new Delivery(),
      expire,
    };
    this.synQueue = new SynQueue(this.env);
    const pressure = new Pressure(this.env, () => this.space.convs);
    this.env.memory.relieve = () => pressure.relieve();
  }

  get space(): ConvSpace {
    return this.#space ??= this.stack.space(this);
  }

  // --- a conversation

  create(conv: Conv): void {
    const tcb = new Tcb(this.env, conv, defaultConfig());
    conv.priv = tcb;
    const rq = new ReceiveQueue({ limit: 0, account: this.env.memory });
    rq.onEdge = (events) => conv.dataTaps.fire(events & ~TapEvent.Writable);
    rq.onRead = () => afterRead(conv);
    const wq = new SendQueue({ limit: SEND_QUEUE_START, kick: () => output(tcbOf(conv)) }, this.env.memory);
    wq.refuse("ENOTCONN", "Not connected");
    wq.onEdge = (events) => conv.dataTaps.fire(events & ~TapEvent.Readable);
    conv.rq = rq;
    conv.wq = wq;
  }

  /** A program that bypasses TCP has a TCP of its own: this one's control block goes. */
  bypassed(conv: Conv): void {
    conv.priv = null;
  }

  connect(conv: Conv): void {
    const tcb = this.#renew(conv);
    openActively(tcb);
  }

  announce(conv: Conv): void {
    const tcb = this.#renew(conv);
    tcb.wq.refuse("ENOTCONN", "Not connected");
    applyEvent(tcb, TcpEvent.PassiveOpen);
    conv.announced();
  }

  /** A control block like new, with the settings of the old one. */
  #renew(conv: Conv): Tcb {
    const tcb = new Tcb(this.env, conv, tcbOf(conv).config);
    conv.priv = tcb;
    tcb.rq.reopen();
    tcb.wq.reopen();
    return tcb;
  }

  ctl(conv: Conv, words: readonly string[]): boolean {
    if (conv.bypass !== null) return false;
    return runTcpVerb(conv, words);
  }

  shutdown(conv: Conv, read: boolean, write: boolean): void {
    const tcb = tcbOf(conv);
    if (tcb.state < TcpState.SynSent) {
      throw new KernelError("ENOTCONN", `Cannot shut down ${conv}: it is not connected`);
    }
    if (read) conv.rq.hangup();
    if (!write || conv.writeShut) return;
    conv.writeShut = true;
    tcb.wq.hangup("Shut down");
    // In SYN-SENT nothing has been promised to a peer: the FIN follows when the connection stands.
    if (tcb.state === TcpState.SynSent) tcb.closeLater = true;
    else applyEvent(tcb, TcpEvent.Close);
    output(tcb);
  }

  close(conv: Conv): void {
    // It was bypassed.
    if (conv.priv === null) return;
    const tcb = tcbOf(conv);
    tcb.detached = true;
    if (tcb.state === TcpState.Closed) return;
    if (tcb.state === TcpState.Listen) this.synQueue.forget(conv);
    const hasUnread = conv.rq.length > 0 || tcb.resequence.length > 0;
    // RFC 1122 4.2.2.13: the peer must not believe that its data were read.
    if (hasUnread && tcb.state >= TcpState.SynReceived && tcb.state !== TcpState.TimeWait) {
      return applyEvent(tcb, TcpEvent.Abort);
    }
    applyEvent(tcb, TcpEvent.Close);
    // The slot outlives its descriptors, and so do the bytes that were written.
    tcb.wq.hangup("Closed");
    output(tcb);
    adopt(tcb);
  }

  busy(conv: Conv): boolean {
    const tcb = tcbOrNull(conv);
    return tcb !== null && tcb.state !== TcpState.Closed;
  }

  /** Ends connections whose program has closed them: the oldest TIME-WAITs (Akaros), then stalled orphans. */
  collect(): void {
    const { stats } = this.env;
    const waiting: Tcb[] = [];
    for (const conv of this.space.convs) {
      const tcb = tcbOrNull(conv);
      if (conv.inUse === 0 && tcb?.state === TcpState.TimeWait) waiting.push(tcb);
    }
    waiting.sort((a, b) => a.heardMs - b.heardMs);
    for (const tcb of waiting.slice(0, COLLECT_BATCH)) finish(tcb);
    const collected = Math.min(waiting.length, COLLECT_BATCH);
    stats.collected += collected > 0 ? collected : endOrphans(this.env, COLLECT_BATCH);
  }

  // --- packets

  input(packet: InputPacket): void {
    demux(this, packet);
  }

  advise(advice: Advice): boolean {
    const conv = this.space.table.find(advice.raddr, advice.rport, advice.laddr, advice.lport);
    if (conv === null) return false;
    if (conv.bypass !== null) {
      adviseConv(conv, advice);
      return true;
    }
    const tcb = tcbOrNull(conv);
    return tcb !== null && takeAdvice(tcb, advice);
  }

  // --- files

  status(conv: Conv): string {
    if (conv.priv === null) this.create(conv);
    return tcpStatus(tcbOf(conv));
  }

  stats(): string {
    let currEstab = 0;
    for (const conv of this.space.convs) {
      const state = tcbOrNull(conv)?.state;
      if (state === TcpState.Established || state === TcpState.CloseWait) currEstab++;
    }
    const { synQueue, space } = this;
    const { memory, orphans } = this.env;
    return this.env.stats.format({
      maxConn: CONVS_MAX,
      currEstab,
      synQueue: synQueue.length,
      callsDropped: space.callsDropped,
      orphans: orphans.size,
      memory: memory.bytes,
      memoryMax: memory.max,
      memoryWaits: memory.waits,
    });
  }
}

function ipOf(stack: ProtoContext): IpSender {
  return {
    send: (block, options) => sendPacket(stack, block, options),
    mtu: (dst) => routeMtu(stack, dst),
  };
}

function defaultConfig(): TcpConfig {
  return {
    nodelay: false,
    quickack: false,
    keepaliveMs: 0,
    userTimeoutMs: USER_TIMEOUT_MS,
    sendQueueMax: SEND_QUEUE_MAX,
    algorithm: CONGESTIONS[0]!,
    ecn: false,
    sack: true,
    timestamps: true,
    windowScale: true,
  };
}

/** The reader took something: the buffer may grow, and the peer may have to learn of the room. */
function afterRead(conv: Conv): void {
  const tcb = tcbOf(conv);
  if (tcb.state !== TcpState.Established && tcb.state !== TcpState.FinWait1 && tcb.state !== TcpState.FinWait2) return;
  tuneBuffer(tcb);
  if (wantsUpdate(tcb)) sendAck(tcb);
}
