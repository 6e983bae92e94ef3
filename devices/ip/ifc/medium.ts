/**
 * Medium: how IP rides on a device. One file a medium; each exports one `Medium` record.
 *
 * Path: ipifc, ether_medium, ifc_addresses → medium → neighbor/arp, conv, dad, neighbor/mld.
 *
 * @module
 */

import type { ArpTable } from "../neighbor/arp.ts";
import type { Conv } from "../conv/conv.ts";
import type { Dad } from "../neighbor/dad.ts";
import type { Ifc, Link } from "../link/ifc.ts";
import type { Mld } from "../neighbor/mld.ts";
import type { NdTable } from "../neighbor/nd.ts";
import type { NetContext } from "../network/context.ts";
import type { RouterAdverts } from "../neighbor/ra6.ts";

/** One stack, as its interfaces see it. */
export interface IfcContext extends NetContext {
  readonly arp: ArpTable;
  readonly nd: NdTable;
  readonly dad: Dad;
  readonly mld: Mld;
  readonly adverts: RouterAdverts;
  forwarding: boolean;
}

/** An interface, as the medium it is bound to sees it: where what arrives goes, and what is counted. */
export interface MediumIfc extends Ifc {
  readonly stack: IfcContext;
  readonly conv: Conv;
  /** Units of the device that could not be read, or made no sense. */
  errorsIn: number;
  /** Packets that the device refused. */
  errorsOut: number;
}

/** A kind of link that an interface can be bound to. */
export interface Medium {
  /** The word after `bind` on an interface's ctl file. */
  readonly name: string;
  /** Bytes of link header; the MTUs below include it, as Akaros counts them. */
  readonly headerLen: number;
  readonly mtuMin: number;
  readonly mtuMax: number;
  /** Whether the bond outlives the last descriptor (Akaros: ether and loopback do, pkt does not). */
  readonly keeps: boolean;
  /** Binds `ifc` to what `args` name; throws KernelError and leaves nothing behind if it cannot. */
  bind(ifc: MediumIfc, args: readonly string[]): Link;
}
