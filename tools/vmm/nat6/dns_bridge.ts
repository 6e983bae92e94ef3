/**
 * The name server's way to a server of the host's by IPv4: the headers of its packets are exchanged, nothing else
 * (stateless, as RFC 7915 has it for whole packets). Transport checksums are updated by the addresses.
 *
 * Path: outbound6 → toIpv4; inbound6 → toIpv6.
 *
 * @module
 */

import { Checksum, Segment } from "../../../kernel/block.ts";
import { put16 } from "../../../kernel/wire/bytes.ts";
import { addrSum, fold } from "../../../kernel/wire/checksum.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { emitIpv4, IPV4_HEADER_LEN, ipv4Tos } from "../../../kernel/wire/ipv4.ts";
import { emitIpv6, IPV6_HEADER_LEN, IPV6_HOP_LIMIT_DEFAULT, ipv6TrafficClass } from "../../../kernel/wire/ipv6.ts";
import { setUdpChecksum } from "../../../kernel/wire/udp.ts";
import { MapProto } from "../nat/map.ts";
import type { NatPacket } from "../nat/packet.ts";
import type { Packet6 } from "./packet6.ts";

/** What our packets to a server start with. */
const TTL = 64;

/** The ends of a packet once its header was exchanged; the remote port stays. */
export interface Bridged {
  readonly src: IpAddr;
  readonly dst: IpAddr;
  readonly port: number;
}

/** Makes the packet that was read one of IPv4 to `dst`, from `port` of `src`. */
export function toIpv4(packet: Packet6, { src, dst, port }: Bridged): void {
  const { block, buf, at, transport } = packet;
  packet.adjust(
    fold(addrSum(packet.src) + addrSum(packet.dst)),
    fold(addrSum(src) + addrSum(dst)),
    packet.srcPort,
    port,
  );
  put16(buf, transport, port);
  const tos = ipv6TrafficClass(buf, at);
  block.pull(transport - at - IPV4_HEADER_LEN);
  const payloadLen = block.length - IPV4_HEADER_LEN;
  const isTcp = packet.proto === MapProto.Tcp;
  const fields = { src, dst, protocol: packet.protocol, payloadLen, ttl: TTL, tos, dontFragment: isTcp };
  emitIpv4(fields, buf, block.rp);
  if (block.segment === Segment.None) return;
  if (block.segment === Segment.Tcp6) block.segment = Segment.Tcp4;
  block.segmentHeaderLen -= transport - at - IPV4_HEADER_LEN;
}

/** Makes the packet of IPv4 that was read one of IPv6 to `port` of `dst`. The block is to be read again. */
export function toIpv6(packet: NatPacket, { src, dst, port }: Bridged): void {
  const { block, headerLen } = packet;
  const oldSum = fold(addrSum(packet.srcAddr) + addrSum(packet.dstAddr));
  const tos = ipv4Tos(packet.buf, packet.at);
  const isUnsummed = packet.proto === MapProto.Udp && block.checksum !== Checksum.Owed &&
    packet.buf[packet.transport + 6] === 0 && packet.buf[packet.transport + 7] === 0;
  packet.adjust(oldSum, fold(addrSum(src) + addrSum(dst)), packet.dstPort, port);
  put16(packet.buf, packet.transport + 2, port);
  block.pull(headerLen);
  const payloadLen = block.length;
  const at = block.push(IPV6_HEADER_LEN);
  const nextHeader = packet.protocol;
  emitIpv6({ src, dst, nextHeader, payloadLen, hopLimit: IPV6_HOP_LIMIT_DEFAULT, trafficClass: tos }, block.buf, at);
  if (isUnsummed) setUdpChecksum(block.own().buf, block.rp + IPV6_HEADER_LEN, src, dst);
  if (block.segment === Segment.None) return;
  if (block.segment === Segment.Tcp4) block.segment = Segment.Tcp6;
  block.segmentHeaderLen += IPV6_HEADER_LEN - headerLen;
}
