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

/** What becomes of a packet. */
export class Decision {
  /** Nothing: it was refused for `reason`, which is counted. Frames for the guest may report it. */
  static readonly Drop = 0;
  /** Write `block`, an IP packet, to the conversation of `map`. */
  static readonly Send = 1;
  /** It is for the guest: its frames wait in `Nat.takeFrames`. */
  static readonly ToGuest = 2;
  /** A service of the router took it; its answer waits in `Nat.takeFrames`. */
  static readonly Service = 3;
  /** A fragment, kept until the rest is there. */
  static readonly Held = 4;

  /** One of the five above. */
  kind: number = Decision.Drop;
  reason: Reason = 0;
  map: NatMap | null = null;
  block: Block | null = null;

  /** Fills it in. */
  set(kind: number, reason: Reason, map: NatMap | null, block: Block | null): this {
    this.kind = kind;
    this.reason = reason;
    this.map = map;
    this.block = block;
    return this;
  }

  /** A service of the router took the packet. */
  served(): this {
    return this.set(Decision.Service, 0, null, null);
  }
}
