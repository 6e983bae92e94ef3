/**
 * What travels inside `#ip` beside a Block: the facts that IP input found, and the options of a sender.
 *
 * Path: ip_input, ip_output, icmp_fault → packet/packet → block, cast, ifc, ip_addr.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import type { Cast } from "../env/cast.ts";
import type { Ifc } from "../link/ifc.ts";

/** A validated IP packet for us: `block.rp` is at its IP header, `block` ends at its total length. */
export interface InputPacket {
  readonly block: Block;
  readonly version: 4 | 6;
  /** Bytes from `block.rp` to the transport header: options and extension headers included. */
  readonly headerLen: number;
  /** The transport's number (IPv6: after the extension headers). */
  readonly protocol: number;
  readonly src: IpAddr;
  readonly dst: IpAddr;
  readonly cast: Cast;
  /** Where it came in. */
  readonly ifc: Ifc;
}

/** What IP output needs to know of a packet that has no IP header yet. */
export interface SendOptions {
  readonly src: IpAddr;
  readonly dst: IpAddr;
  readonly protocol: number;
  readonly ttl: number;
  readonly tos: number;
  /** Set DF and answer `tooBig` instead of fragmenting. Default false: routers may fragment it, too. */
  readonly dontFragment?: boolean;
}

/**
 * The result of sending. On `sent` the block is gone, and may yet be lost further down; on the others it is still the
 * caller's, bytes untouched.
 */
export type SendResult = "sent" | "noRoute" | "tooBig";
