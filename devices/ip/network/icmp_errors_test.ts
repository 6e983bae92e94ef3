/** About what, and how often, errors are sent. */

import { assert, assertEquals } from "@std/assert";
import { ICMP_UNREACHABLE, icmpChecksumOk } from "../../../kernel/wire/icmp.ts";
import { ipv4Dst, ipv4Protocol, ipv4Src, ipv4Tos } from "../../../kernel/wire/ipv4.ts";
import { Block } from "../../../kernel/block.ts";
import {
  echoPacket,
  icmpErrorPacket,
  ipFixture,
  ipPacket,
  pattern,
  udpPacket,
} from "../../../tests/kit/ip/ip_fixture.ts";
import { ERRORS_BURST } from "./icmp_errors.ts";
import { IcmpFault } from "../packet/icmp_fault.ts";
import type { Cast } from "../env/cast.ts";
import type { InputPacket } from "../packet/packet.ts";

function inputPacket(bytes: Uint8Array, options: { cast?: Cast } = {}): InputPacket {
  return {
    block: Block.from(bytes),
    version: 4,
    headerLen: (bytes[0]! & 15) * 4,
    protocol: ipv4Protocol(bytes, 0),
    src: ipv4Src(bytes, 0),
    dst: ipv4Dst(bytes, 0),
    cast: options.cast ?? "unicast",
    ifc: ipFixture().stack.ifcs[0]!,
  };
}

Deno.test("IcmpErrors quotes what fits 576 bytes, with internetwork control as its TOS (RFC 1812 4.3.2)", () => {
  const ip = ipFixture();
  ip.inject(udpPacket({ dstPort: 99, payload: pattern(1400) }));
  const [answer] = ip.sent();
  assertEquals([answer!.length, ipv4Tos(answer!, 0), answer![20]], [576, 0xc0, ICMP_UNREACHABLE]);
  assert(icmpChecksumOk(answer!, 20, answer!.length));
});

Deno.test("IcmpErrors is silent about groups, later fragments, errors, and what is from no host", () => {
  const ip = ipFixture();
  const { icmpErrors } = ip.stack;
  const udp = udpPacket({ dstPort: 99 });
  const silent: InputPacket[] = [
    inputPacket(udp, { cast: "broadcast" }),
    inputPacket(udp, { cast: "multicast" }),
    inputPacket(udpPacket({ fragOffset: 8 })),
    inputPacket(icmpErrorPacket({ type: ICMP_UNREACHABLE, code: 1, packet: udp })),
    inputPacket(ipPacket({ protocol: 1 })),
    inputPacket(udpPacket({ dstPort: 99, src: "0.0.0.0" })),
    inputPacket(udpPacket({ dstPort: 99, src: "224.0.0.1" })),
    inputPacket(udpPacket({ dstPort: 99, src: "255.255.255.255" })),
    inputPacket(udpPacket({ dstPort: 99, src: "127.0.0.1" })),
  ];
  for (const packet of silent) icmpErrors.report(packet, IcmpFault.Port);
  assertEquals(ip.sent(), []);
  for (const packet of [inputPacket(udp), inputPacket(echoPacket()), inputPacket(udpPacket({ moreFragments: true }))]) {
    icmpErrors.report(packet, IcmpFault.Port);
  }
  assertEquals([ip.sent().length, icmpErrors.v4.sent], [3, 3]);
});

Deno.test("Defect 13: errors are limited to a burst and a rate, and the rest is counted", () => {
  const ip = ipFixture();
  for (let i = 0; i < ERRORS_BURST + 20; i++) ip.inject(udpPacket({ dstPort: 99 }));
  assertEquals([ip.sent().length, ip.stat("icmp", "OutSuppressed")], [ERRORS_BURST, 20]);
  ip.env.clock.advance(10);
  for (let i = 0; i < 20; i++) ip.inject(udpPacket({ dstPort: 99 }));
  assertEquals(ip.sent().length, 10);
});
