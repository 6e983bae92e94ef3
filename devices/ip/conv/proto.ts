/**
 * What a protocol and its conversations have in common: states, advice (an ICMP error about a packet of ours), and
 * where a packet's ends are.
 *
 * Path: conv, raw, tcp/tcp → proto → block, ip_addr.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";

/** States of a conversation, Akaros' numbers. */
export const ConvState = { Idle: 0, Announcing: 1, Announced: 2, Connecting: 3, Connected: 4, Bypass: 5 } as const;
export type ConvState = typeof ConvState[keyof typeof ConvState];

/** An ICMP error about a packet that we sent, as its protocol gets it. */
export interface Advice {
  /** What happened, in words: `Port unreachable`. */
  readonly text: string;
  readonly version: 4 | 6;
  /** ICMP type and code. */
  readonly type: number;
  readonly code: number;
  /** Next-hop MTU in bytes of a "too big", else 0. */
  readonly mtu: number;
  /** Whether its destination cannot be had; what only concerns one packet is not this. */
  readonly unreachable: boolean;
  /** Whether there is no use in sending again: protocol or port unreachable, prohibited. */
  readonly hard: boolean;
  /** Whether the host is there, and the port is not in use. */
  readonly refused: boolean;
  /** The protocol number of the quoted packet. */
  readonly protocol: number;
  /**
   * Ends of the quoted packet: ours, theirs. Ports are 0 where the protocol has none; an echo's id is its local port.
   */
  readonly laddr: IpAddr;
  readonly raddr: IpAddr;
  readonly lport: number;
  readonly rport: number;
  /** The whole ICMP packet, IP header first. Clone to keep. */
  readonly block: Block;
  /** Index in `block.buf` of the quoted IP header. */
  readonly quotedAt: number;
  /** Index in `block.buf` of the quoted transport header, of which at least 8 bytes are there. */
  readonly transportAt: number;
}

/** How the packets of a protocol can be checked against a bypassed conversation's claim. */
export interface BypassRules {
  /**
   * The port that the transport header from `at` to `end` comes from; below 0: none, or not one to be sent by a user.
   */
  sourcePort(buf: Uint8Array, at: number, end: number, protocol: number): number;
  /** The port that a (quoted) transport header was sent to; below 0: none. */
  destPort(buf: Uint8Array, at: number, end: number, protocol: number): number;
}
