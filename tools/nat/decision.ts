/**
 * Decision: what becomes of one packet. There is one of them a NAT, overwritten by each packet.
 *
 * Path: inbound, outbound, errors → decision → nat/counters, map, block.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import type { Reason } from "./counters.ts";
import type { NatMap } from "./map.ts";

/** What to do. */
export const Verdict = {
  /** Nothing: it was refused for `reason`, which is counted. Frames for the guest may tell it so. */
  Drop: 0,
  /** Write `block`, an IP packet, to the conversation of `map`. */
  Send: 1,
  /** It is for the guest: its frames wait in `Nat.takeFrames`. */
  ToGuest: 2,
  /** A service of the router took it; what it answers waits in `Nat.takeFrames`. */
  Service: 3,
  /** A fragment, kept until the rest is there. */
  Held: 4,
} as const;
export type Verdict = typeof Verdict[keyof typeof Verdict];

/** What becomes of a packet. */
export class Decision {
  verdict: Verdict = Verdict.Drop;
  reason: Reason = 0;
  map: NatMap | null = null;
  block: Block | null = null;

  /** Fills it in. */
  set(verdict: Verdict, reason: Reason, map: NatMap | null, block: Block | null): this {
    this.verdict = verdict;
    this.reason = reason;
    this.map = map;
    this.block = block;
    return this;
  }
}
