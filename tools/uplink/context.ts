/**
 * What the parts of a socket uplink share.
 *
 * Path: uplink, tcp_relay, datagram_relay, echo_relay, forwards → context → host_sockets, time, block, counters.
 *
 * @module
 */

import type { Block, BlockPool } from "../../kernel/block.ts";
import type { HostSockets } from "../../kernel/host_sockets.ts";
import type { Clock } from "../../kernel/time.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import type { UplinkCounters } from "./counters.ts";

/** The two ends of the packet link for one version of IP: `near` is the stack's address, `peer` is the far side's. */
export interface LinkEnds {
  readonly near: IpAddr;
  /** Stands for the machine: packets to it reach the machine's loopback, and errors of the machine come from it. */
  readonly peer: IpAddr;
}

/** What a part of the uplink works with. */
export interface UplinkContext {
  readonly clock: Clock;
  readonly blocks: BlockPool;
  readonly sockets: HostSockets;
  readonly counters: UplinkCounters;
  readonly v4: LinkEnds;
  readonly v6: LinkEnds;
  /** Source address of what goes to the world, in a version of IP; null: the route's. */
  readonly outbound: (version: 4 | 6) => IpAddr | null;
  /** Near has another way to the world: every caller is shown as the link's peer, or its answers would go that way. */
  readonly hidesCallers: boolean;
  /** Sends a whole IP packet to the near stack, which owns it from now on. */
  toNear(block: Block): void;
}
