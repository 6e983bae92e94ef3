/**
 * An IPv4 header as the facts that travel with a packet inside `#ip`.
 *
 * Path: neighbor/arp, ip_input, family4 → packet4 → packet/packet, block, cast, ifc.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import { get16 } from "../../../kernel/wire/bytes.ts";
import {
  ipv4DontFragment,
  ipv4Dst,
  ipv4FragOffset,
  ipv4HeaderLen,
  ipv4Id,
  ipv4Protocol,
  ipv4Src,
} from "../../../kernel/wire/ipv4.ts";
import type { Cast } from "../env/cast.ts";
import type { Ifc } from "../link/ifc.ts";
import type { FragmentPlace, InputPacket } from "./packet.ts";

const FRAG = 6;
const MORE_FRAGMENTS = 0x2000;

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

/** Where the fragment in `block` belongs. */
export function fragmentPlace4({ buf, rp }: Block): FragmentPlace {
  return {
    id: ipv4Id(buf, rp),
    offset: ipv4FragOffset(buf, rp),
    more: (get16(buf, rp + FRAG) & MORE_FRAGMENTS) !== 0,
    dontFragment: ipv4DontFragment(buf, rp),
  };
}
