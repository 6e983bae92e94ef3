/**
 * Proto: a protocol directory of `#ip`, as a table of functions; and the states and ends of a conversation.
 *
 * Path: dev_ip, conv_ctl → proto → udp | icmp | raw | ipifc | tcp; ip_input → proto.input.
 *
 * A protocol is an object per stack. What all protocols share (numbered conversations, ports, who gets a packet) is in
 * `stack.space(proto)`, a {@link ConvSpace}: a protocol asks it and keeps no list of its own.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import type { OrWait, Rendez } from "../../kernel/rendez.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import type { Conv } from "./conv.ts";
import type { InputPacket } from "./packet.ts";

/** States of a conversation, Akaros' numbers. */
export const ConvState = { Idle: 0, Announcing: 1, Announced: 2, Connecting: 3, Connected: 4, Bypass: 5 } as const;
export type ConvState = typeof ConvState[keyof typeof ConvState];

/** An ICMP error about a packet that we sent, as its protocol is told. */
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
  /** Whether the host is there, and nobody has the port. */
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

/** What a protocol must tell so that its packets can be checked against a bypassed conversation's claim. */
export interface BypassRules {
  /**
   * The port that the transport header from `at` to `end` comes from; below 0: none, or not one to be sent by a user.
   */
  sourcePort(buf: Uint8Array, at: number, end: number, protocol: number): number;
  /** The port that a (quoted) transport header was sent to; below 0: none. */
  destPort(buf: Uint8Array, at: number, end: number, protocol: number): number;
}

/** A protocol of one stack. */
export interface Proto {
  /** Directory name: `udp`. */
  readonly name: string;
  /** Its number in qid paths: tcp 0, udp 1, ipifc 2, icmp 3, icmpv6 4, raw 5 (ours). */
  readonly index: number;
  /** IP protocol numbers that it receives; empty for ipifc. */
  readonly ipProtocols: readonly number[];
  /** Most conversations: at most 4096, the width of the field in qid paths. */
  readonly convsMax: number;
  /** Whether ports are its addresses and `bypass` may claim them; it needs `bypass` then. */
  readonly bypassable: boolean;
  /** Where a packet's ends are, for the checks of a bypass writer's packets. */
  readonly bypass?: BypassRules;
  /** The port of a remote address means nothing (ICMP). */
  readonly anyRemotePort?: boolean;
  /** Only eve may open `clone`: its conversations change the machine. */
  readonly adminOnly?: boolean;

  /**
   * Gives a conversation its queues and private part. Called each time a slot is taken, the first time and every later.
   */
  create(conv: Conv): void;
  /**
   * `connect`: ends are set; starts what the protocol does. `conv.state` is Connecting before; the callee calls
   * `conv.connected()` now or later, or `conv.failed()` later. What it throws undoes everything.
   */
  connect?(conv: Conv): void;
  /** `announce`: the local end is set; as `connect`, with `conv.announced()`. */
  announce?(conv: Conv): void;
  /** `bypass` was granted and is in force. May throw: it is undone. */
  bypassed?(conv: Conv): void;
  /** The protocol's own ctl verbs; true if `words[0]` was one of them. */
  ctl?(conv: Conv, words: readonly string[]): boolean;
  /** What a sleeping writer of ctl waits for, if not "while Connecting"; see Dev.settle. */
  settle?(conv: Conv, nonBlock: boolean): Rendez | null;
  /** `shutdown`: the reading side, the writing side. Default: hangs up the queues. */
  shutdown?(conv: Conv, read: boolean, write: boolean): void;
  /** The last descriptor is gone. Demux entries and ports are dropped by the caller, unless `busy` says otherwise. */
  close(conv: Conv): void;
  /**
   * Whether the slot is still needed though nobody has it open (TCP lingers); the protocol calls
   * `stack.space(proto).release(conv)` when that ends.
   */
  busy?(conv: Conv): boolean;
  /** Frees slots that could be freed when none is left. */
  collect?(): void;

  /** A packet for this protocol (given away). */
  input?(packet: InputPacket): void;
  /**
   * One message from the user of a conversation, for protocols without a write queue; the block is given away on a
   * number.
   */
  output?(conv: Conv, block: Block): OrWait<number>;
  /** An ICMP error about a packet of ours. Whether it really is: false where we know that we sent no such packet. */
  advise?(advice: Advice): boolean;

  /** The line of the `status` file, newline included. A bypassed conversation has a line of its own. */
  status(conv: Conv): string;
  /** Text of `local` and `remote`, if not `addr!port`. */
  local?(conv: Conv): string;
  remote?(conv: Conv): string;
  /** Text of the `stats` file: `Name: value` lines. */
  stats(): string;
}
