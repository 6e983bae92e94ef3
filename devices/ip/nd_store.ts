/**
 * The neighbours of neighbour discovery, and the states they are in (RFC 4861 7.3.2).
 *
 * Path: nd → nd_store → neighbor_store.
 *
 * @module
 */

import type { NdLink } from "./ifc.ts";
import { Neighbor, NeighborStore } from "./neighbor_store.ts";

/** Most IPv6 neighbours of a stack. */
export const ND_ENTRIES_MAX = 256;

/** What is known of a neighbour. */
export const NdState = {
  /** Asked for, no answer yet. */
  Incomplete: 0,
  /** It answered a short while ago. */
  Reachable: 1,
  /** It may have gone; nobody has wanted it since. */
  Stale: 2,
  /** Somebody wants it: it is about to be asked. */
  Delay: 3,
  /** It is being asked, and used meanwhile. */
  Probe: 4,
} as const;
export type NdState = typeof NdState[keyof typeof NdState];

/** How the states are written in the `arp` file: ARP's words where they mean the same. */
export const ND_STATE_WORDS = ["WAIT", "OK", "STALE", "DELAY", "PROBE"] as const;

/** One neighbour. */
export class NdEntry extends Neighbor<NdLink> {
  state: NdState = NdState.Incomplete;
  /** It said that it routes. */
  isRouter = false;
}

/** The entries. */
export class NdStore extends NeighborStore<NdEntry> {
  constructor() {
    super(ND_ENTRIES_MAX);
  }
}
