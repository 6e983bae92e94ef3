/**
 * Packets of the router's own: an ICMPv6 message, or a datagram, under an IPv6 header.
 *
 * Path: family6, link6 → icmp6_block → block, wire/icmp6, ipv6, wire/udp.
 *
 * @module
 */

import { Block } from "../../kernel/block.ts";
import { setIcmp6Checksum } from "../../kernel/wire/icmp6.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { IP_PROTO_ICMP6, IP_PROTO_UDP } from "../../kernel/wire/ip_proto.ts";
import { emitIpv6, IPV6_HEADER_LEN, IPV6_HOP_LIMIT_DEFAULT } from "../../kernel/wire/ipv6.ts";
import { emitUdp, setUdpChecksum, UDP_HEADER_LEN } from "../../kernel/wire/udp.ts";

/** From whom, to whom, and how far. */
interface Ends {
  readonly src: IpAddr;
  readonly dst: IpAddr;
  readonly hopLimit?: number;
}

/** A whole packet around `message`, which gets its checksum. */
export function icmp6Block(ends: Ends, message: Uint8Array): Block {
  const block = headed(ends, IP_PROTO_ICMP6, message.length).append(message);
  setIcmp6Checksum(block.buf, block.rp + IPV6_HEADER_LEN, block.wp, ends);
  return block;
}

/** A whole packet around a datagram. */
export function udp6Block(ends: Ends & { srcPort: number; dstPort: number }, data: Uint8Array): Block {
  const { src, dst, srcPort, dstPort } = ends;
  const block = headed(ends, IP_PROTO_UDP, UDP_HEADER_LEN + data.length);
  const at = block.wp;
  block.wp += emitUdp({ srcPort, dstPort, payloadLen: data.length }, block.buf, at);
  block.append(data);
  setUdpChecksum(block.buf, at, src, dst);
  return block;
}

function headed({ src, dst, hopLimit = IPV6_HOP_LIMIT_DEFAULT }: Ends, nextHeader: number, payloadLen: number): Block {
  const block = Block.alloc(IPV6_HEADER_LEN + payloadLen);
  block.wp += emitIpv6({ src, dst, nextHeader, payloadLen, hopLimit }, block.buf, block.rp);
  return block;
}
