/**
 * Which options go into a SYN, what both sides have agreed to, and what every segment carries (RFC 9293 3.7.1, RFC
 * 7323, RFC 2018, RFC 3168 6.1.1).
 *
 * Path: handshake, syn_queue, segment_out → tcp/options → tcp_options, tcb, window, ipv4.
 *
 * @module
 */

import { put16, put32 } from "../../../kernel/wire/bytes.ts";
import { IPV4_HEADER_LEN } from "../../../kernel/wire/ipv4.ts";
import { IPV6_HEADER_LEN } from "../../../kernel/wire/ipv6.ts";
import { TCP_CWR, TCP_ECE, TCP_HEADER_LEN, TCP_SYN } from "../../../kernel/wire/tcp.ts";
import { NO_TCP_OPTIONS, type TcpOptions } from "../../../kernel/wire/tcp_options.ts";
import type { Tcb, TcpConfig } from "./tcb.ts";
import { WINDOW_SHIFT } from "./window.ts";

/** Segment size of a peer that does not say (RFC 9293 3.7.1). */
const MSS_DEFAULT_V4 = 536;
const MSS_DEFAULT_V6 = 1220;
/**
 * Smallest segment size that is accepted: the smallest link of IPv4 takes 68 bytes (RFC 791 3.2), headers included.
 * With timestamps 16 bytes of it are payload.
 */
export const MSS_MIN = 28;
/** Bytes of the timestamps option with its padding. */
export const TIMESTAMPS_LEN = 12;

/** Bytes of the IP header before our segments. */
export function ipHeaderLen(isV4: boolean): number {
  return isV4 ? IPV4_HEADER_LEN : IPV6_HEADER_LEN;
}

/** Payload of a full segment without options, over a path of `mtu` bytes. */
export function mssOf(mtu: number, isV4: boolean): number {
  return Math.max(MSS_MIN, mtu - ipHeaderLen(isV4) - TCP_HEADER_LEN);
}

/** The flags that a SYN which asks for ECN has, beside SYN (RFC 3168 6.1.1). */
export const ECN_SETUP = TCP_ECE | TCP_CWR;

/** What our first SYN offers. */
export function synOptions(tcb: Tcb, nowMs: number): TcpOptions {
  const { config } = tcb;
  return {
    ...NO_TCP_OPTIONS,
    mss: tcb.rcv.mss,
    windowScale: config.windowScale ? WINDOW_SHIFT : -1,
    sackPermitted: config.sack,
    hasTimestamps: config.timestamps,
    tsVal: config.timestamps ? tcb.tsNow(nowMs) : 0,
  };
}

/** What our SYN-ACK says: nothing that the peer did not offer. */
export function synAckOptions(tcb: Tcb, nowMs: number): TcpOptions {
  return {
    ...NO_TCP_OPTIONS,
    mss: tcb.rcv.mss,
    windowScale: tcb.rcv.shift > 0 ? tcb.rcv.shift : -1,
    sackPermitted: tcb.sackOk,
    hasTimestamps: tcb.timestampsOk,
    tsVal: tcb.timestampsOk ? tcb.tsNow(nowMs) : 0,
    tsEcr: tcb.timestampsOk ? tcb.tsRecent : 0,
  };
}

/** What is agreed with a peer whose SYN had these options and flags. */
export interface Agreement {
  readonly peerMss: number;
  /** Shift of the peer's windows, and of ours. */
  readonly sendShift: number;
  readonly receiveShift: number;
  readonly sack: boolean;
  readonly timestamps: boolean;
  readonly ecn: boolean;
}

/** Compares the peer's offer with ours. */
export function agree(config: TcpConfig, options: TcpOptions, facts: { isV4: boolean; ecn: boolean }): Agreement {
  const scale = config.windowScale && options.windowScale >= 0;
  return {
    peerMss: options.mss === 0 ? (facts.isV4 ? MSS_DEFAULT_V4 : MSS_DEFAULT_V6) : Math.max(MSS_MIN, options.mss),
    sendShift: scale ? options.windowScale : 0,
    receiveShift: scale ? WINDOW_SHIFT : 0,
    sack: config.sack && options.sackPermitted,
    timestamps: config.timestamps && options.hasTimestamps,
    ecn: config.ecn && facts.ecn,
  };
}

/** Whether the flags of a SYN ask for ECN; of a SYN-ACK, whether they accept it (RFC 3168 6.1.1). */
export function asksForEcn(flags: number): boolean {
  const setup = flags & ECN_SETUP;
  return setup === ((flags & ~ECN_SETUP) === TCP_SYN ? ECN_SETUP : TCP_ECE);
}

/** Bytes of options in a segment that reports `sackBlocks`. */
export function optionsLen(tcb: Tcb, sackBlocks: number): number {
  return (tcb.timestampsOk ? TIMESTAMPS_LEN : 0) + (sackBlocks > 0 ? 4 + 8 * sackBlocks : 0);
}

/** Payload that SACK blocks leave in a full segment, at least. */
const PAYLOAD_MIN = 4;

/** Most SACK blocks beside the other options, and beside some payload where the link takes little. */
export function sackBlocksMax(tcb: Tcb): number {
  const most = tcb.timestampsOk ? 3 : 4;
  return Math.min(most, (tcb.snd.mss - 4 - PAYLOAD_MIN) >> 3);
}

/** Writes the timestamps option, padded. */
export function putTimestamps(buf: Uint8Array, at: number, tsVal: number, tsEcr: number): void {
  put32(buf, at, 0x0101080a);
  put32(buf, at + 4, tsVal);
  put32(buf, at + 8, tsEcr);
}

/** Writes the head of a SACK option with `count` blocks, padded. */
export function putSackHead(buf: Uint8Array, at: number, count: number): void {
  put16(buf, at, 0x0101);
  put16(buf, at + 2, 0x0500 | (2 + 8 * count));
}
