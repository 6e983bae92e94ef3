/** Addresses that are tried before they are ours. */

import { assertEquals } from "@std/assert";
import { Block } from "../../../kernel/block.ts";
import { ICMP6_NEIGHBOR_ADVERT, ICMP6_NEIGHBOR_SOLICIT } from "../../../kernel/wire/icmp6.ts";
import { ipv6Src } from "../../../kernel/wire/ipv6.ts";
import { DAD_WAIT_MS } from "./dad.ts";
import { sendPacket } from "../network/ip_output.ts";
import { ip, ip6Packet, ndPacket, PEER_MAC } from "../../../tests/kit/ip/packets.ts";
import { TestHost, type TestIfc } from "../../../tests/kit/ip/link.ts";
import { SELF_ADDRS_MAX } from "../route/self_table.ts";
import { sourceFor } from "../route/egress.ts";

const TRIED = "2001:db8::5";

function trying(): { at: TestHost; made: TestIfc } {
  const at = new TestHost();
  const made = at.ifc("bind ether /net/ether0", "add fe80::1 /64");
  at.run();
  at.takeFrames();
  made.ctl(`try ${TRIED} /64`);
  at.run();
  return { at, made };
}

Deno.test("try asks from the unspecified address, and the address is ours without an answer", () => {
  const { at } = trying();
  // What tells of its group is no question.
  const [question] = at.take6().filter((packet) => packet[40] === ICMP6_NEIGHBOR_SOLICIT);
  assertEquals([`${ipv6Src(question!, 0)}`, at.stack.self.isLocal(ip(TRIED))], ["::", false]);
  // Meanwhile it is not ours: nothing comes to it, nothing is sent from it.
  at.receive6(ip6Packet({ dst: TRIED }));
  assertEquals([at.received6.length, `${sourceFor(at.stack, ip("2001:db8::9"))}`], [0, "fe80::1"]);
  at.clock.advance(DAD_WAIT_MS);
  assertEquals([at.stack.self.isLocal(ip(TRIED)), at.takeNd().length, at.stack.dad.size], [true, 1, 0]);
  at.receive6(ip6Packet({ dst: TRIED }));
  assertEquals(at.received6.length, 1);
  const options = { src: ip(TRIED), dst: ip("2001:db8::9"), protocol: 17, ttl: 1, tos: 0 };
  assertEquals(sendPacket(at.stack, Block.from(new Uint8Array(3)), options), "sent");
});

Deno.test("try gives an address up that somebody has, or tries at the same time", () => {
  const taken = trying();
  const target = ip(TRIED);
  const advert = { type: ICMP6_NEIGHBOR_ADVERT, target, isRouter: false, solicited: false, override: true } as const;
  taken.at.receive6(ndPacket({ ...advert, targetMac: PEER_MAC }, { src: TRIED, dst: "ff02::1" }));
  const both = trying();
  const solicit = { type: ICMP6_NEIGHBOR_SOLICIT, target, sourceMac: null } as const;
  both.at.receive6(ndPacket(solicit, { src: "::", dst: "ff02::1:ff00:5" }));
  for (const { at, made } of [taken, both]) {
    at.clock.advance(DAD_WAIT_MS);
    assertEquals([at.stack.self.isLocal(target), at.stack.stats.ndDuplicate], [false, 1]);
    assertEquals(made.ifc.lifcs.map(({ local }) => `${local}`), ["fe80::1"]);
  }
});

Deno.test("try survives that the address, or the interface, goes away meanwhile", () => {
  const { at, made } = trying();
  made.ctl(`remove ${TRIED} /64`);
  at.clock.advance(DAD_WAIT_MS);
  assertEquals(at.stack.self.isLocal(ip(TRIED)), false);
  made.ctl(`try ${TRIED} /64`);
  made.ctl("unbind");
  at.clock.advance(DAD_WAIT_MS);
  assertEquals([at.stack.self.size, at.stack.routes.size, at.clock.timerCount], [0, 0, 0]);
});

Deno.test("try counts at once where there are no neighbours to ask, and for IPv4", () => {
  const at = new TestHost();
  const { ctl } = at.ifc("bind loopback");
  ctl("try ::1 /128");
  ctl("try 127.0.0.1 /8");
  assertEquals([at.stack.self.isLocal(ip("::1")), at.stack.self.isLocal(ip("127.0.0.1"))], [true, true]);
});

Deno.test("an address for which there is no room any more when its time has come is given up", () => {
  const { at, made } = trying();
  for (let i = 0; at.stack.self.size < SELF_ADDRS_MAX; i++) {
    at.stack.self.add(ip(`2001:db9::${i.toString(16)}`), made.ifc, "unicast");
  }
  at.clock.advance(DAD_WAIT_MS);
  assertEquals([at.stack.self.isLocal(ip(TRIED)), made.ifc.lifcs.length], [false, 1]);
});
