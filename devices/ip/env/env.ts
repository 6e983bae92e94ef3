/**
 * IpEnv: what every part of a stack gets when the stack is made: clock, buffers, randomness, counters, the log.
 *
 * Path: conv_space, dad, neighbor/mld → env → icmp_counts, netlog, env/stats, dev.
 *
 * @module
 */

import type { DevEnv } from "../../../kernel/dev.ts";
import type { IcmpCounts } from "./icmp_counts.ts";
import type { NetLog } from "./netlog.ts";
import type { IpStats } from "./stats.ts";

/** Shared by all parts of one stack. */
export interface IpEnv {
  /** The clock, the randomness and the buffers of the kernel. */
  readonly env: DevEnv;
  readonly stats: IpStats;
  readonly icmp6: IcmpCounts;
  readonly log: NetLog;
  /** Whether packets for others are passed on (`iprouting`). */
  readonly forwarding: boolean;
}
