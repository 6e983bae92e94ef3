/**
 * The log of a link remembers packets of both versions of IP: whole ones, fragments, and ones that are too short.
 *
 * @module
 */

import { assertEquals, assertObjectMatch } from "@std/assert";
import { Block } from "../../kernel/block.ts";
import { put16 } from "../../kernel/wire/bytes.ts";
import { IP_PROTO_FRAGMENT, IP_PROTO_UDP } from "../../kernel/wire/ip_proto.ts";
import { emitIpv4, IPV4_HEADER_LEN } from "../../kernel/wire/ipv4.ts";
import { emitIpv6, emitIpv6Fragment, IPV6_FRAGMENT_LEN, IPV6_HEADER_LEN } from "../../kernel/wire/ipv6.ts";
import { ip } from "../../tests/kit/ip/ip_fixture.ts";
import { PacketLog } from "./packet_log.ts";

const UDP_LEN = 12;

/** A UDP packet from port 7 to 9, or a fragment of one at `fragOffset`. */
function udp4(fragOffset?: number): Uint8Array {
  const packet = new Uint8Array(IPV4_HEADER_LEN + UDP_LEN);
  const ends = { src: ip("10.0.0.1"), dst: ip("10.0.0.2") };
  const fragment = fragOffset === undefined ? {} : { fragOffset, moreFragments: true };
  emitIpv4({ ...ends, ...fragment, protocol: IP_PROTO_UDP, payloadLen: UDP_LEN, tos: 3, ttl: 9 }, packet, 0);
  put16(packet, IPV4_HEADER_LEN, 7);
  put16(packet, IPV4_HEADER_LEN + 2, 9);
  return packet;
}

/** Likewise of IPv6. */
function udp6(fragOffset?: number): Uint8Array {
  const extra = fragOffset === undefined ? 0 : IPV6_FRAGMENT_LEN;
  const packet = new Uint8Array(IPV6_HEADER_LEN + extra + UDP_LEN);
  const ends = { src: ip("2001:db8::1"), dst: ip("2001:db8::2") };
  const nextHeader = fragOffset === undefined ? IP_PROTO_UDP : IP_PROTO_FRAGMENT;
  emitIpv6({ ...ends, nextHeader, payloadLen: extra + UDP_LEN, trafficClass: 3, hopLimit: 9 }, packet, 0);
  if (fragOffset !== undefined) {
    emitIpv6Fragment({ nextHeader: IP_PROTO_UDP, fragOffset, moreFragments: true, id: 1 }, packet, IPV6_HEADER_LEN);
  }
  put16(packet, IPV6_HEADER_LEN + extra, 7);
  put16(packet, IPV6_HEADER_LEN + extra + 2, 9);
  return packet;
}

for (const [version, make] of [[4, udp4], [6, udp6]] as const) {
  Deno.test(`PacketLog, IPv${version}: header fields and ports; a later fragment has no ports`, async () => {
    const log = new PacketLog(14);
    const packets = [make(), make(0), make(1480)];
    const link = (packet: Uint8Array) => Block.from(new Uint8Array([...new Uint8Array(14), ...packet]));
    log.see("in", link(make()));
    const { seen, result } = await log.during(() => {
      for (const packet of packets) log.see("out", link(packet));
      for (let length = 0; length < 14 + 24; length++) {
        log.see("out", Block.from(link(make()).bytes().slice(0, length)));
      }
      return Promise.resolve("done");
    });
    log.see("in", link(make()));
    assertEquals(result, "done");
    assertEquals(seen.length, packets.length, "nothing before, after, or too short");
    const fields = { direction: "out", tos: 3, ttl: 9, protocol: IP_PROTO_UDP } as const;
    const ports = [{ srcPort: 7, dstPort: 9 }, { srcPort: 7, dstPort: 9 }, { srcPort: 0, dstPort: 0 }];
    packets.forEach(({ length }, i) => assertObjectMatch(seen[i]!, { ...fields, ...ports[i]!, length }));
  });
}
