/**
 * A packet for TCP: is it a segment at all, and whose (RFC 9293 3.10.7).
 *
 * Path: ip_input → demux → input | handshake | limbo | bypass; a segment for nobody is answered by a reset.
 *
 * @module
 */

import { Checksum } from "../../../kernel/block.ts";
import { TCP_ACK, TCP_HEADER_LEN, TCP_RST, TCP_SYN, type TcpHeader } from "../../../kernel/wire/tcp.ts";
import { parseTcp, tcpChecksumOk } from "../../../kernel/wire/tcp.ts";
import * as seq from "../../../kernel/wire/seq.ts";
import { deliverBypass, takesVersion } from "../bypass.ts";
import type { Conv } from "../conv.ts";
import type { ConvSpace } from "../conv_space.ts";
import type { InputPacket } from "../packet.ts";
import { ConvState } from "../proto.ts";
import { inputSynSent } from "./handshake.ts";
import { input } from "./input.ts";
import { raise } from "./life.ts";
import type { Limbo } from "./limbo.ts";
import { refuse } from "./segment_out.ts";
import { Arriving } from "./segment_in.ts";
import { TcpEvent, TcpState } from "./state.ts";
import type { Tcb, TcpEnv } from "./tcb.ts";

/** Where segments go. */
export interface TcpDoors {
  readonly env: TcpEnv;
  readonly space: ConvSpace;
  readonly limbo: Limbo;
}

/** Takes a packet (given away). */
export function demux(doors: TcpDoors, packet: InputPacket): void {
  const header = checkSegment(doors.env, packet);
  if (header === null) return packet.block.free();
  const { src, dst } = packet;
  const conv = doors.space.table.find(src, header.srcPort, dst, header.dstPort);
  if (conv !== null && conv.bypass !== null) {
    if (!takesVersion(conv, packet.version)) return refuseSegment(doors.env, packet, header);
    doors.env.stats.inBypassed++;
    return deliverBypass(conv, packet.block);
  }
  if (packet.cast !== "unicast" || !isHost(packet)) {
    doors.env.stats.castErrs++;
    return packet.block.free();
  }
  deliver(doors, conv, packet, header);
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
  if (block.checksum === Checksum.None && !tcpChecksumOk(block.buf, at, block.wp, packet.src, packet.dst)) {
    stats.csumErrs++;
    return null;
  }
  return header;
}

/** Whether the sender is one host (RFC 9293 MUST-63). */
function isHost({ src }: InputPacket): boolean {
  return !src.isUnspecified && !src.isMulticast && !src.isLimitedBroadcast;
}

function deliver(doors: TcpDoors, conv: Conv | null, packet: InputPacket, header: TcpHeader): void {
  const { env, limbo } = doors;
  const tcb = conv === null ? null : conv.priv as Tcb;
  if (conv === null || tcb === null || tcb.state === TcpState.Closed) return refuseSegment(env, packet, header);
  if (tcb.state === TcpState.Listen) {
    if (conv.state !== ConvState.Announced) return refuseSegment(env, packet, header);
    const ends = { laddr: packet.dst, lport: header.dstPort, raddr: packet.src, rport: header.srcPort };
    return limbo.input({ packet, header, ends, listener: conv });
  }
  if (tcb.state === TcpState.TimeWait && isNewCall(tcb, header)) {
    env.stats.timeWaitReuses++;
    raise(tcb, TcpEvent.Expire);
    const { table } = doors.space;
    return deliver(doors, table.find(packet.src, header.srcPort, packet.dst, header.dstPort), packet, header);
  }
  const segment = new Arriving(header, packet);
  if (tcb.state === TcpState.SynSent) inputSynSent(tcb, segment);
  else input(tcb, segment);
}

function refuseSegment(env: TcpEnv, packet: InputPacket, header: TcpHeader): void {
  env.stats.noPorts++;
  refuse(env, packet, header, packet.block.wp - packet.block.rp - packet.headerLen - header.headerLen);
  packet.block.free();
}

/**
 * Whether a SYN for a connection in TIME-WAIT is a new connection: its timestamp, or else its sequence number, is later
 * than anything of the old one (RFC 6191 2).
 */
function isNewCall(tcb: Tcb, header: TcpHeader): boolean {
  if ((header.flags & (TCP_SYN | TCP_ACK | TCP_RST)) !== TCP_SYN) return false;
  const { options } = header;
  if (tcb.timestampsOk && options.hasTimestamps && options.tsVal !== tcb.tsRecent) {
    return seq.gt(options.tsVal, tcb.tsRecent);
  }
  return seq.gt(header.seq, tcb.rcv.nxt);
}
