/**
 * An IPv4 header as the facts that travel with a packet inside `#ip`.
 *
 * Path: neighbor/arp, ip_input, family4 → packet4 → packet/packet, block, cast, ifc.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import { ipv4Dst, ipv4HeaderLen, ipv4Protocol, ipv4Src } from "../../../kernel/wire/ipv4.ts";
import type { Cast } from "../env/cast.ts";
import type { Ifc } from "../link/ifc.ts";
import type { InputPacket } from "./packet.ts";

/** The facts of the packet in `block`, whose header has been found right. */
export function packet4(block: Block, ifc: Ifc, cast: Cast): InputPacket {
  const { buf, rp } = block;
  return {
    block,
    version: 4,
    headerLen: ipv4HeaderLen(buf, rp),
    protocol: ipv4Protocol(buf, rp),
    src: ipv4Src(buf, rp),
    dst: ipv4Dst(buf, rp),
    cast,
    ifc,
  };
}
