/**
 * The neighbours of ARP.
 *
 * Path: arp → arp_store → neighbor_store.
 *
 * @module
 */

import type { ArpLink } from "./ifc.ts";
import { Neighbor, NeighborStore } from "./neighbor_store.ts";

/** Most neighbours of a stack (Akaros). */
export const ARP_ENTRIES_MAX = 256;

/** One neighbour. */
export class ArpEntry extends Neighbor<ArpLink> {
  /** What `lastUse` was at the last answer. */
  usesSeen = 0;
}

/** The entries. */
export class ArpStore extends NeighborStore<ArpEntry> {
  constructor() {
    super(ARP_ENTRIES_MAX);
  }
}
