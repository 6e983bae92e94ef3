/**
 * One segment leaves: header, options, payload copied from conv.wq, checksum owed (RFC 9293 3.1).
 *
 * Path: half_open, handshake, transitions → segment_out → pmtu, tcp/options, state, tcb.
 *
 * A segment of more than one MSS carries the metadata by which a link, or the software before it, cuts it. What leaves
 * carries the acknowledgment and the window of now, so sending anything settles a delayed acknowledgment.
 *
 * @module
 */

import { type Block, Segment } from "../../../kernel/block.ts";
import { oweChecksum } from "../../../kernel/inet/segment.ts";
import { put32 } from "../../../kernel/wire/bytes.ts";
import { pseudoSum } from "../../../kernel/wire/checksum.ts";
import { IP_PROTO_TCP } from "../../../kernel/wire/ip_proto.ts";
import * as seq from "../../../kernel/wire/seq.ts";
import {
  emitTcp,
  putTcpFlags,
  putTcpNumbers,
  putTcpPorts,
  putTcpWindow,
  TCP_ACK,
  TCP_CWR,
  TCP_ECE,
  TCP_FIN,
  TCP_HEADER_LEN,
  TCP_RST,
  TCP_SYN,
  tcpChecksumAt,
  tcpEmitLen,
  type TcpFields,
  type TcpHeader,
} from "../../../kernel/wire/tcp.ts";
import { NO_TCP_OPTIONS, type SackBlock } from "../../../kernel/wire/tcp_options.ts";
import { TTL_DEFAULT } from "../conv/conv.ts";
import type { InputPacket, SendOptions, SendResult } from "../packet/packet.ts";
import { lowerMss } from "./pmtu.ts";
import {
  ECN_SETUP,
  ipHeaderLen,
  optionsLen,
  putSackHead,
  putTimestamps,
  sackBlocksMax,
  synAckOptions,
  synOptions,
} from "./options.ts";
import { isSynchronized, TcpState } from "./state.ts";
import type { Tcb, TcpEnv } from "./tcb.ts";
import { TimerSlot } from "./timer.ts";
import { windowField } from "./window.ts";

/** The congestion bits of TOS, and the codepoint that says we understand them (RFC 3168 5). */
const ECN_MASK = 0x03;
const ECT_0 = 0x02;
const NO_BLOCKS: readonly SackBlock[] = [];

/** The fields of a segment to send. */
interface SegmentSpec {
  readonly seq: number;
  /** Payload bytes, which are in conv.wq. */
  readonly length: number;
  readonly flags: number;
  /** New data may say that the path may mark it; what is sent again may not (RFC 3168 6.1.5). */
  readonly isNew: boolean;
}

/** Sends a segment of a synchronized connection. */
export function sendSegment(tcb: Tcb, spec: SegmentSpec): SendResult {
  const { env, snd, rcv } = tcb;
  const blocks = sackBlocks(tcb);
  const headerLen = TCP_HEADER_LEN + optionsLen(tcb, blocks.length);
  const block = env.blocks.alloc(headerLen + spec.length);
  const { buf, rp } = block;
  block.wp = rp + headerLen + spec.length;
  let flags = spec.flags | (tcb.ecnEcho ? TCP_ECE : 0);
  if (spec.isNew && spec.length > 0 && tcb.cwrDue) {
    flags |= TCP_CWR;
    tcb.cwrDue = false;
  }
  putHeader(tcb, block, spec, flags);
  putOptions(tcb, block, blocks);
  if (spec.length > 0) tcb.wq.peek(buf.subarray(rp + headerLen, block.wp), (spec.seq - snd.base) >>> 0);
  const size = segmentSize(tcb, blocks.length);
  if (spec.length > size) {
    block.segment = tcb.isV4 ? Segment.Tcp4 : Segment.Tcp6;
    block.segmentSize = size;
    block.segmentHeaderLen = ipHeaderLen(tcb.isV4) + headerLen;
    env.stats.outSegs += Math.ceil(spec.length / size) - 1;
  }
  acknowledged(tcb);
  rcv.acked = rcv.nxt;
  return transmit(tcb, block, tcb.ecnOk && spec.isNew && spec.length > 0 ? ECT_0 : 0);
}

/** Payload bytes of a full segment that has `sackCount` SACK blocks. */
function segmentSize(tcb: Tcb, sackCount: number): number {
  return Math.max(1, tcb.snd.mss - (sackCount > 0 ? 4 + 8 * sackCount : 0));
}

/** Payload bytes of a full segment that would be sent now. */
export function segmentSizeNow(tcb: Tcb): number {
  return segmentSize(tcb, sackCount(tcb));
}

function sackCount(tcb: Tcb): number {
  // In SYN-RECEIVED the payload of the SYN waits, which begins at RCV.NXT: no block for a gap.
  if (!tcb.sackOk || tcb.state === TcpState.SynReceived) return 0;
  return Math.min(sackBlocksMax(tcb), tcb.resequence.ranges + (tcb.hasDsack ? 1 : 0));
}

/** The acknowledgment has left: nothing is owed. */
function acknowledged(tcb: Tcb): void {
  tcb.ackNow = false;
  tcb.hasDsack = false;
  tcb.timers.clear(TimerSlot.Ack);
}

/** The blocks to report: a duplicate first (RFC 2883 4), then what was added to last (RFC 2018 4). */
function sackBlocks(tcb: Tcb): readonly SackBlock[] {
  const count = sackCount(tcb);
  if (count === 0) return NO_BLOCKS;
  const most = count - (tcb.hasDsack ? 1 : 0);
  const blocks = tcb.resequence.sackBlocks(most);
  if (!tcb.hasDsack) return blocks;
  tcb.env.stats.dsacksOut++;
  return [{ left: tcb.dsackLeft, right: tcb.dsackRight }, ...blocks];
}

function putHeader(tcb: Tcb, block: Block, spec: SegmentSpec, flags: number): void {
  const { conv, rcv } = tcb;
  const { buf, rp, wp } = block;
  putTcpPorts(buf, rp, conv.lport, conv.rport);
  putTcpNumbers(buf, rp, spec.seq, (flags & TCP_ACK) !== 0 ? rcv.nxt : 0);
  putTcpFlags(buf, rp, wp - rp - spec.length, flags);
  putTcpWindow(buf, rp, windowField(tcb));
}

function putOptions(tcb: Tcb, block: Block, blocks: readonly SackBlock[]): void {
  const { buf } = block;
  let at = block.rp + TCP_HEADER_LEN;
  if (tcb.timestampsOk) {
    putTimestamps(buf, at, tcb.tsNow(tcb.env.clock.now()), tcb.tsRecent);
    at += 12;
  }
  if (blocks.length === 0) return;
  putSackHead(buf, at, blocks.length);
  at += 4;
  for (const { left, right } of blocks) {
    put32(buf, at, left);
    put32(buf, at + 4, right);
    at += 8;
  }
}

/**
 * The number of a segment without data: SND.NXT, unless the peer has taken back a part of its window (RFC 9293 3.8.6).
 * It takes nothing beyond that, not even an acknowledgment of what it sends itself. The end of a scaled window is known
 * to the last bits only that its field has.
 */
function acceptableSeq({ snd }: Tcb): number {
  const end = seq.add(snd.una, snd.wnd);
  return seq.diff(snd.nxt, end) < 1 << snd.shift ? snd.nxt : end;
}

/** Sends an acknowledgment without data. On a link that has become smaller its SACK blocks may be too many. */
export function sendAck(tcb: Tcb): void {
  const { env, conv } = tcb;
  const spec = { seq: acceptableSeq(tcb), length: 0, flags: TCP_ACK, isNew: false };
  if (sendSegment(tcb, spec) === "tooBig" && lowerMss(tcb, env.ip.mtu(conv.raddr))) sendSegment(tcb, spec);
}

/**
 * An acknowledgment of old bytes, which the peer must answer: a keepalive, or a probe of its window (RFC 9293 3.8.4).
 */
export function sendProbe(tcb: Tcb): void {
  sendSegment(tcb, { seq: seq.add(tcb.snd.una, -1), length: 0, flags: TCP_ACK, isNew: false });
}

/** Sends our SYN, or our SYN-ACK of a simultaneous open. */
export function sendSyn(tcb: Tcb): SendResult {
  const { snd, rcv, conv, env } = tcb;
  const answer = isSynchronized(tcb.state);
  const nowMs = env.clock.now();
  const ecn = answer ? (tcb.ecnOk ? TCP_ECE : 0) : (tcb.config.ecn && !tcb.ecnGivenUp ? ECN_SETUP : 0);
  rcv.acked = rcv.nxt;
  return sendFields(tcb, {
    srcPort: conv.lport,
    dstPort: conv.rport,
    seq: snd.iss,
    ack: answer ? rcv.nxt : 0,
    flags: TCP_SYN | (answer ? TCP_ACK : 0) | ecn,
    // The window of a SYN is never scaled (RFC 7323 2.2).
    window: Math.min(65_535, rcv.buffer),
    options: answer ? synAckOptions(tcb, nowMs) : synOptions(tcb, nowMs),
  });
}

/** Resets a segment that acknowledged `from`, which makes no sense: `<SEQ=SEG.ACK><CTL=RST>` (RFC 9293 3.5.2). */
export function sendReset(tcb: Tcb, from: number): void {
  sendRst(tcb, { seq: from, ack: 0, flags: TCP_RST });
}

/** Resets the connection, with a number that the peer accepts. */
export function sendAbort(tcb: Tcb): void {
  sendRst(tcb, { seq: acceptableSeq(tcb), ack: tcb.rcv.nxt, flags: TCP_RST | TCP_ACK });
}

function sendRst(tcb: Tcb, reset: { seq: number; ack: number; flags: number }): void {
  const { conv, env, timestampsOk, tsRecent } = tcb;
  env.stats.outRsts++;
  // RFC 7323 3.2: where timestamps are agreed on, a reset has them too.
  const options = timestampsOk
    ? { ...NO_TCP_OPTIONS, hasTimestamps: true, tsVal: tcb.tsNow(env.clock.now()), tsEcr: tsRecent }
    : NO_TCP_OPTIONS;
  sendFields(tcb, { srcPort: conv.lport, dstPort: conv.rport, ...reset, window: 0, options });
}

function sendFields(tcb: Tcb, fields: TcpFields): SendResult {
  const block = tcb.env.blocks.alloc(tcpEmitLen(fields));
  block.wp += emitTcp(fields, block.buf, block.rp);
  return transmit(tcb, block, 0);
}

/** Gives the segment to IP; on "noRoute" and "tooBig" it is gone too. */
function transmit(tcb: Tcb, block: Block, ecn: number): SendResult {
  const { sendOptions, conv, env } = tcb;
  sendOptions.ttl = conv.ttl;
  sendOptions.tos = (conv.tos & ~ECN_MASK) | ecn;
  env.stats.outSegs++;
  return transmitBlock(env, block, sendOptions);
}

function transmitBlock(env: TcpEnv, block: Block, options: SendOptions): SendResult {
  const at = block.rp;
  const pseudo = pseudoSum(options.src, options.dst, IP_PROTO_TCP, block.wp - at);
  oweChecksum(block, at, tcpChecksumAt(at), pseudo);
  const result = env.ip.send(block, options);
  if (result === "noRoute" || result === "tooBig") block.free();
  return result;
}

/** A segment that belongs to no connection of ours: what a half-open call sends, or a reset. */
interface DetachedSegment {
  readonly fields: TcpFields;
  readonly ttl: number;
  readonly tos: number;
}

/** Sends a detached segment back to where `packet` came from. */
export function sendDetached(
  env: TcpEnv,
  ends: { src: SendOptions["src"]; dst: SendOptions["dst"] },
  detached: DetachedSegment,
): void {
  const block = env.blocks.alloc(tcpEmitLen(detached.fields));
  block.wp += emitTcp(detached.fields, block.buf, block.rp);
  env.stats.outSegs++;
  transmitBlock(env, block, {
    src: ends.src,
    dst: ends.dst,
    protocol: IP_PROTO_TCP,
    ttl: detached.ttl,
    tos: detached.tos,
    dontFragment: true,
  });
}

/**
 * Answers a segment without a connection by a reset that its sender accepts (RFC 9293 3.10.7.1); never a reset by a
 * reset.
 */
export function refuse(env: TcpEnv, packet: InputPacket, header: TcpHeader, payloadLen: number): void {
  if ((header.flags & TCP_RST) !== 0) return;
  env.stats.outRsts++;
  const isAck = (header.flags & TCP_ACK) !== 0;
  const length = payloadLen + ((header.flags & TCP_SYN) !== 0 ? 1 : 0) + ((header.flags & TCP_FIN) !== 0 ? 1 : 0);
  sendDetached(env, { src: packet.dst, dst: packet.src }, {
    ttl: TTL_DEFAULT,
    tos: 0,
    fields: {
      srcPort: header.dstPort,
      dstPort: header.srcPort,
      seq: isAck ? header.ack : 0,
      ack: isAck ? 0 : seq.add(header.seq, length),
      flags: isAck ? TCP_RST : TCP_RST | TCP_ACK,
      window: 0,
    },
  });
}
