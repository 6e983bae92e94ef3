/**
 * Parts of IPv4 packets that went over a wire: payloads, fragments, and a header made right again.
 *
 * @module
 */

import { setIpv4Checksum } from "../../../kernel/wire/ipv4.ts";
import { ipPacket } from "./ip_fixture.ts";
import { headerOf } from "./packets.ts";

/** The payload of the IPv4 header. */
export function payloadOf(packet: Uint8Array): Uint8Array {
  const { headerLen, totalLen } = headerOf(packet);
  return packet.subarray(headerLen, totalLen);
}

/** The payload of a UDP packet. */
export function dataOf(packet: Uint8Array): Uint8Array {
  return payloadOf(packet).subarray(8);
}

/** Cuts a packet into fragments with `size` bytes of payload each (a multiple of 8). */
export function fragmentsOf(packet: Uint8Array, size: number, id: number): Uint8Array[] {
  const { src, dst, protocol, ttl, tos } = headerOf(packet);
  const payload = payloadOf(packet);
  return Array.from({ length: Math.ceil(payload.length / size) }, (_, i) =>
    ipPacket({
      src: `${src}`,
      dst: `${dst}`,
      protocol,
      ttl,
      tos,
      id,
      fragOffset: i * size,
      moreFragments: (i + 1) * size < payload.length,
      payload: payload.subarray(i * size, (i + 1) * size),
    }));
}

/** The same packet with its header checksum made right. */
export function fixed(packet: Uint8Array): Uint8Array {
  setIpv4Checksum(packet, 0, (packet[0]! & 15) * 4);
  return packet;
}
