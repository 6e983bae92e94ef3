/**
 * The entry of a packet into TCP: it is checked, and its connection or listener is found (RFC 9293 3.10.7).
 *
 * Path: tcp/tcp → demux → handshake, input, syn_queue, bypass.
 *
 * @module
 */

import { Checksum } from "../../../kernel/block.ts";
import {
  parseTcp,
  TCP_ACK,
  TCP_HEADER_LEN,
  TCP_RST,
  TCP_SYN,
  tcpChecksumOk,
  type TcpHeader,
} from "../../../kernel/wire/tcp.ts";
import * as seq from "../../../kernel/wire/seq.ts";
import { deliverBypass, takesVersion } from "../network/bypass.ts";
import type { Conv } from "../conv/conv.ts";
import type { ConvSpace } from "../conv/conv_space.ts";
import type { InputPacket } from "../packet/packet.ts";
import { ConvState } from "../conv/proto.ts";
import { inputSynSent } from "./handshake.ts";
import { input } from "./input.ts";
import type { TcpEnds } from "./keyed_hash.ts";
import type { Call, SynQueue } from "./syn_queue.ts";
import { refuse } from "./segment_out.ts";
import { IncomingSegment } from "./segment_in.ts";
import { TcpState } from "./state.ts";
import { type Tcb, tcbOf, type TcpConfig, type TcpEnv } from "./tcb.ts";

/** Where segments go. */
interface TcpEntry {
  readonly env: TcpEnv;
  readonly space: ConvSpace;
  readonly synQueue: SynQueue;
}

/** Takes a packet (consumed). */
export function demux(entry: TcpEntry, packet: InputPacket): void {
  const header = checkSegment(entry.env, packet);
  if (header === null) return packet.block.free();
  const { src, dst } = packet;
  const conv = entry.space.table.find(src, header.srcPort, dst, header.dstPort);
  if (conv !== null && conv.bypass !== null) {
    if (!takesVersion(conv, packet.version)) return refuseSegment(entry.env, packet, header);
    entry.env.stats.inBypassed++;
    return deliverBypass(conv, packet.block);
  }
  if (packet.cast !== "unicast" || !isHost(packet)) {
    entry.env.stats.castErrs++;
    return packet.block.free();
  }
  deliver(entry, conv, packet, header);
}

/** The header of a segment that is whole and has a right checksum; null: counted. */
function checkSegment(env: TcpEnv, packet: InputPacket): TcpHeader | null {
  const { stats } = env;
  const { block } = packet;
  const at = block.rp + packet.headerLen;
  stats.inSegs++;
  if (block.wp - at < TCP_HEADER_LEN) {
    stats.lenErrs++;
    return null;
  }
  const header = parseTcp(block.buf, at, block.wp);
  if (header === null) {
    stats.hlenErrs++;
    return null;
  }
  if (block.checksum === Checksum.None && !tcpChecksumOk(block.buf, at, block.wp, packet)) {
    stats.csumErrs++;
    return null;
  }
  return header;
}

/** Whether the sender is one host (RFC 9293 MUST-63). */
function isHost({ src }: InputPacket): boolean {
  return !src.isUnspecified && !src.isMulticast && !src.isLimitedBroadcast;
}

function deliver(entry: TcpEntry, conv: Conv | null, packet: InputPacket, header: TcpHeader): void {
  const { env, synQueue } = entry;
  const tcb = conv === null ? null : tcbOf(conv);
  if (conv === null || tcb === null || tcb.state === TcpState.Closed) return refuseSegment(env, packet, header);
  if (tcb.state === TcpState.Listen) {
    if (conv.state !== ConvState.Announced) return refuseSegment(env, packet, header);
    return synQueue.input({ packet, header, ends: endsOf(packet, header), listener: conv, old: null });
  }
  if (tcb.state === TcpState.TimeWait) {
    const call = callAfter(entry, tcb, packet, header);
    if (call !== null) return synQueue.input(call);
  }
  const segment = new IncomingSegment(header, packet);
  if (tcb.state === TcpState.SynSent) inputSynSent(tcb, segment);
  else input(tcb, segment);
}

function refuseSegment(env: TcpEnv, packet: InputPacket, header: TcpHeader): void {
  env.stats.noPorts++;
  refuse(env, packet, header, packet.block.wp - packet.block.rp - packet.headerLen - header.headerLen);
  packet.block.free();
}

function endsOf(packet: InputPacket, header: TcpHeader): TcpEnds {
  return { laddr: packet.dst, lport: header.dstPort, raddr: packet.src, rport: header.srcPort };
}

/**
 * A segment of a new call with the ends of `old`, a connection in TIME-WAIT; null: it is for `old`. That stays until
 * the new connection stands, and so is there still if the SYN was an old duplicate (RFC 9293 3.6.1, MAY-2).
 */
function callAfter({ space, synQueue }: TcpEntry, old: Tcb, packet: InputPacket, header: TcpHeader): Call | null {
  // All numbers of a new call are beyond the old SND.NXT: what acknowledges less is the old connection's.
  if ((header.flags & TCP_ACK) !== 0 && seq.leq(header.ack, old.snd.nxt)) return null;
  const listener = space.table.findLocal(packet.dst, header.dstPort);
  if (listener === null || listener.bypass !== null || listener.state !== ConvState.Announced) return null;
  const ends = endsOf(packet, header);
  if (!isNewCall(old, header, tcbOf(listener).config) && !synQueue.expects(ends, header)) return null;
  return { packet, header, ends, listener, old };
}

/**
 * Whether a SYN for a connection in TIME-WAIT is a new connection (RFC 6191 2): its timestamp, or else its sequence
 * number, is later than anything of the old one. Against an old one without timestamps a new one with them is safe.
 */
function isNewCall(old: Tcb, header: TcpHeader, config: TcpConfig): boolean {
  if ((header.flags & (TCP_SYN | TCP_ACK | TCP_RST)) !== TCP_SYN) return false;
  const { hasTimestamps, tsVal } = header.options;
  if (hasTimestamps && config.timestamps) {
    if (!old.timestampsOk) return true;
    if (tsVal !== old.tsRecent) return seq.gt(tsVal, old.tsRecent);
  }
  return seq.gt(header.seq, old.rcv.nxt);
}
