/**
 * ICMP echo to the router: ping of 10.0.2.2 is answered here and nowhere else (RFC 792, RFC 1812 4.3.3.6, RFC 4443 4).
 *
 * Path: link → echo → nat/packet, addr_hash.
 *
 * @module
 */

import { copyAddr } from "../addr_hash.ts";
import type { NatPacket } from "../packet.ts";

/**
 * Turns the echo request that was read into its reply, in place. Id, sequence, data, options, TOS or traffic class and
 * flow label stay. False: its checksum is wrong.
 */
export function replyEcho(packet: NatPacket): boolean {
  const { family, buf, at, transport, srcPort: id } = packet;
  if (!family.icmpIsSound(packet)) return false;
  const src = copyAddr(packet.src);
  packet.setSource(packet.dst, id);
  packet.setDestination(src, id);
  family.setEchoReply(buf, transport);
  family.setHops(buf, at, family.hopsDefault);
  return true;
}
