/**
 * The user programs that run on the host: echoes, over a normal UDP conversation and over bypassed ones.
 *
 * Path: steps → programs → swap_ends, ip_family, system calls.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import { KernelError } from "../../kernel/error.ts";
import type { Proc } from "../../kernel/proc.ts";
import { updateChecksum16 } from "../../kernel/wire/checksum.ts";
import { get16, put16 } from "../../kernel/wire/bytes.ts";
import { IP_PROTO_FRAGMENT } from "../../kernel/wire/ip_proto.ts";
import { setIpv4Ttl } from "../../kernel/wire/ipv4.ts";
import {
  emitIpv6Fragment,
  IPV6_FRAGMENT_LEN,
  IPV6_HEADER_LEN,
  ipv6NextHeader,
  ipv6PayloadLen,
  setIpv6HopLimit,
  setIpv6NextHeader,
  setIpv6PayloadLen,
} from "../../kernel/wire/ipv6.ts";
import { swapEnds } from "../boot/swap_ends.ts";
import { FAMILIES, type IpFamily, ipHeaderLen } from "./ip_family.ts";

/** Bytes of the record before each datagram in `headers` mode (Akaros). */
const UDP_HEADERS_LEN = 52;

/** Refusals that the request caused: from port 0, to a broadcast address, from nowhere, too big to go back whole. */
const UNANSWERABLE: ReadonlySet<string> = new Set(["EINVAL", "EPERM", "ENOTCONN", "EHOSTUNREACH", "EMSGSIZE"]);

/** TTL of the ICMP program's replies: shows that they are the program's, and that its TTL was kept. */
export const PROGRAM_TTL = 77;

/** Answers every datagram to `port` with its own payload, on one announced conversation. */
export async function udpEcho(proc: Proc, port: number): Promise<void> {
  const conv = await proc.announce(`udp!*!${port}`, { ctl: ["headers"] });
  for await (const datagram of proc.blocks(conv.data)) {
    // The record names both ends as seen from here: sent back unchanged, it names the peer as the destination.
    if (datagram.length >= UDP_HEADERS_LEN) await answer(proc, conv.data, datagram);
  }
}

/** Claims UDP `port` and answers every packet, whole IP packets in and out. */
export async function bypassUdpEcho(proc: Proc, port: number): Promise<void> {
  const conv = await proc.bypass(`udp!*!${port}`);
  for await (const packet of proc.blocks(conv.data)) {
    await answer(proc, conv.data, swapEnds(packet));
  }
}

/** Claims the ICMP identifier `id` of one version of IP, and answers echo requests with it. */
export async function bypassPing(proc: Proc, id: number, family: IpFamily = FAMILIES[4]): Promise<void> {
  const { version, icmp } = family;
  const conv = await proc.bypass(`${icmp.name}!${id}`);
  for await (const packet of proc.blocks(conv.data)) {
    const { buf, rp } = packet;
    const icmpAt = rp + ipHeaderLen(packet.bytes());
    if (buf[icmpAt] !== icmp.echoRequest) continue;
    const old = get16(buf, icmpAt);
    buf[icmpAt] = icmp.echoReply;
    put16(buf, icmpAt + 2, updateChecksum16(get16(buf, icmpAt + 2), old, get16(buf, icmpAt)));
    if (version === 4) setIpv4Ttl(buf, rp, PROGRAM_TTL);
    else setIpv6HopLimit(buf, rp, PROGRAM_TTL);
    await answer(proc, conv.data, swapEnds(packet));
  }
}

/** Sends an answer. One that the kernel refuses is not sent: no request may end a program. */
async function answer(proc: Proc, data: number, block: Block): Promise<void> {
  try {
    await proc.blockwrite(data, block);
  } catch (error) {
    if (!(error instanceof KernelError) || !UNANSWERABLE.has(error.code)) throw error;
    if (error.code === "EMSGSIZE" && allowCut(block)) await answer(proc, data, block);
    else block.free();
  }
}

/**
 * Lets the kernel fragment an IPv6 packet: a fragment header says that it is the whole of a datagram (RFC 6946, ip(3)).
 * False: the packet is of IPv4, or has that header.
 */
function allowCut(block: Block): boolean {
  const nextHeader = ipv6NextHeader(block.buf, block.rp);
  if (block.buf[block.rp]! >> 4 !== 6 || nextHeader === IP_PROTO_FRAGMENT) return false;
  const at = block.push(IPV6_FRAGMENT_LEN);
  const { buf } = block;
  buf.copyWithin(at, at + IPV6_FRAGMENT_LEN, at + IPV6_FRAGMENT_LEN + IPV6_HEADER_LEN);
  setIpv6NextHeader(buf, at, IP_PROTO_FRAGMENT);
  setIpv6PayloadLen(buf, at, ipv6PayloadLen(buf, at) + IPV6_FRAGMENT_LEN);
  // The kernel picks the identification of the fragments.
  const header = { nextHeader, fragOffset: 0, moreFragments: false, id: 0 };
  emitIpv6Fragment(header, buf, at + IPV6_HEADER_LEN);
  return true;
}
