/**
 * Medium: how IP rides on a device. One file a medium; each exports one `Medium` record.
 *
 * Path: ip_output → ipifc → medium's Link.write → #ether | loopback queue | pkt conversation | packet port; and back
 * into ip_input.
 *
 * @module
 */

import type { ArpTable } from "./arp.ts";
import type { Conv } from "./conv.ts";
import type { Dad } from "./dad.ts";
import type { Ifc, Link } from "./ifc.ts";
import type { Mld } from "./mld.ts";
import type { NdTable } from "./nd.ts";
import type { NetContext } from "./net_context.ts";
import type { RouterAdverts } from "./ra6.ts";

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
