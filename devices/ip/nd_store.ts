/**
 * The neighbours of neighbour discovery, and the states they are in (RFC 4861 7.3.2).
 *
 * Path: nd → nd_store → neighbor_store.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import type { MacAddr } from "../../kernel/wire/mac_addr.ts";
import { Neighbor, type NeighborLink, NeighborStore } from "./neighbor_store.ts";

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

/** A link that neighbour discovery works on. */
export interface NdLink extends NeighborLink {
  /** When an IPv6 address of ours was last defended. */
  defended6Ms: number;
  /** Sends an IPv6 packet (given away) to the station `mac`. */
  sendResolved6(block: Block, mac: MacAddr): void;
}

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
