/** Which way an IPv6 packet takes, from which address, in how many pieces. */

import { assertEquals } from "@std/assert";
import { Block } from "../../../kernel/block.ts";
import { concatBytes } from "../../../kernel/wire/bytes.ts";
import { IPV6_HEADER_LEN, IPV6_TOTAL_MAX, parseIpv6, parseIpv6Fragment } from "../../../kernel/wire/ipv6.ts";
import { refusalCode } from "../../../tests/kit/host/dev.ts";
import { eui64, LINK_LOCAL_PREFIX } from "../../../kernel/inet/addr6.ts";
import { sendPacket, sendRaw } from "./ip_output.ts";
import { ip, ip6Packet, mac, type Packet6Fields, pattern } from "../../../tests/kit/ip/packets.ts";
import { TestHost } from "../../../tests/kit/ip/link.ts";
import type { SendOptions } from "../packet/packet.ts";
import { PATH_MTU_LIFE_MS, PATH_MTUS_MAX, PathMtus } from "../route/path_mtu.ts";
import { LOOPBACK_MTU } from "../route/route.ts";
import { routeMtu, sourceFor } from "../route/egress.ts";

const OPTIONS: SendOptions = { src: ip("2001:db8::1"), dst: ip("2001:db8::2"), protocol: 17, ttl: 64, tos: 0xb9 };

function host(): TestHost {
  const made = new TestHost();
  made.ether6Ifc();
  made.knowPeer6();
  return made;
}

function send(at: TestHost, length: number, options: Partial<SendOptions> = {}): string {
  const result = sendPacket(at.stack, Block.from(pattern(length)), { ...OPTIONS, ...options });
  at.run();
  return result;
}

Deno.test("sendPacket() puts an IPv6 header before the payload where the destination is IPv6", () => {
  const at = host();
  assertEquals(send(at, 100), "sent");
  const [packet] = at.take6();
  assertEquals(parseIpv6(packet!, 0, packet!.length), {
    src: ip("2001:db8::1"),
    dst: ip("2001:db8::2"),
    nextHeader: 17,
    payloadLen: 100,
    trafficClass: 0xb9,
    flowLabel: 0,
    hopLimit: 64,
  });
  assertEquals(packet!.subarray(40), pattern(100));
});

Deno.test("sendPacket() fragments for the link and for the path, unless it must not", () => {
  const at = host();
  assertEquals(send(at, 1460), "sent");
  assertEquals(at.take6().map(({ length }) => length), [1500]);
  assertEquals(send(at, 1461, { dontFragment: true }), "tooBig");
  assertEquals(send(at, 1461), "sent");
  at.stack.pathMtus.learn(ip("2001:db8::2"), 1300);
  assertEquals(send(at, 1300, { dontFragment: true }), "tooBig");
  assertEquals(send(at, 1300), "sent");
  const pieces = at.take6().map((packet) => {
    const { fragOffset, moreFragments, nextHeader } = parseIpv6Fragment(packet, IPV6_HEADER_LEN, packet.length)!;
    return [packet.length, packet[6], nextHeader, fragOffset, moreFragments];
  });
  assertEquals(pieces, [
    [1496, 44, 17, 0, true],
    [61, 44, 17, 1448, false],
    [1296, 44, 17, 0, true],
    [100, 44, 17, 1248, false],
  ]);
  assertEquals(send(at, IPV6_TOTAL_MAX - IPV6_HEADER_LEN + 1), "tooBig");
  assertEquals(routeMtu(at.stack, ip("2001:db8::2")), 1300);
  assertEquals(routeMtu(at.stack, ip("2001:db8::3")), 1500);
  assertEquals(routeMtu(at.stack, ip("2001:db8::1")), LOOPBACK_MTU);
});

Deno.test("sendPacket() mixes no versions, leaks no loopback address, and leaves the block to the caller", () => {
  const at = host();
  const block = Block.from(pattern(10));
  at.stack.routes.ctl(["add", "::", "/0", "fe80::2"], "none");
  for (const [src, dst] of [["10.0.0.1", "2001:db8::2"], ["::1", "2001:db9::2"], ["2001:db8::1", "::1"]]) {
    assertEquals(sendPacket(at.stack, block, { ...OPTIONS, src: ip(src!), dst: ip(dst!) }), "noRoute", dst);
  }
  assertEquals([block.bytes(), at.stack.stats.outNoRoutes], [pattern(10), 3]);
});

Deno.test("link-local destinations and groups go out where their source is (RFC 4007)", () => {
  const at = host();
  at.ifc("bind ether /net/ether1", "add fe80::7 /64");
  at.run();
  at.takeFrames(1);
  for (const [src, ether] of [["fe80::1", 0], ["fe80::7", 1]] as const) {
    for (const dst of ["fe80::2", "ff02::fb"]) {
      assertEquals(send(at, 8, { src: ip(src), dst: ip(dst) }), "sent");
      assertEquals([at.take6(ether).length, at.take6(1 - ether).length], [1, 0], `${src} ${dst}`);
    }
  }
});

Deno.test("a packet to ourselves, and one to a group that we are in, comes in again", () => {
  const at = host();
  send(at, 8, { dst: ip("2001:db8::1") });
  assertEquals([at.take6().length, at.received6.length], [0, 1]);
  send(at, 8, { dst: ip("ff02::1") });
  assertEquals([at.take6().length, at.received6.length], [1, 2]);
});

Deno.test("sourceFor() chooses by scope, then by likeness (RFC 6724 5)", () => {
  const at = host();
  const ifc = at.stack.ifcs[0]!;
  ifc.addAddress({ local: ip("fd00::1"), mask: ip("ffff:ffff:ffff:ffff::"), remote: ip("fd00::1"), proxy: false });
  const chosen = (dst: string) => `${sourceFor(at.stack, ip(dst))}`;
  at.stack.routes.ctl(["add", "::", "/0", "fe80::2"], "none");
  assertEquals(["fe80::9", "ff02::1", "2001:db9::9", "fd01::9", "2001:db8::1", "ff0e::1"].map(chosen), [
    "fe80::1",
    "fe80::1",
    "2001:db8::1",
    "fd00::1",
    "2001:db8::1",
    "2001:db8::1",
  ]);
  ifc.lifcs.find(({ local }) => local.equals(ip("2001:db8::1")))!.isDeprecated = true;
  assertEquals(chosen("2001:db9::9"), "fd00::1");
});

/** What becomes of a packet that begins with its header. */
function raw(at: TestHost, fields: Packet6Fields, kernelHeader = false): [string, number[]] {
  const result = sendRaw(at.stack, Block.from(ip6Packet({ src: "2001:db8::1", dst: "2001:db8::2", ...fields })), {
    kernelHeader,
  });
  at.run();
  return [result, at.take6().map(({ length }) => length)];
}

Deno.test("sendRaw() fragments an IPv6 packet only where its writer said that it may", () => {
  const at = host();
  assertEquals(raw(at, { payload: 1460, flowLabel: 77, hopLimit: 3 }), ["sent", [1500]]);
  assertEquals(raw(at, { payload: 1461 }), ["tooBig", []]);
  assertEquals(raw(at, { payload: 1461 }, true), ["sent", [1496, 61]]);
  const atomic = (length: number) => concatBytes([Uint8Array.of(17, 0, 0, 0, 0, 0, 0, 9), pattern(length)]);
  assertEquals(raw(at, { nextHeader: 44, payload: atomic(1460) }), ["sent", [1500]]);
  assertEquals(raw(at, { nextHeader: 44, payload: atomic(1461) }), ["sent", [1496, 61]]);
});

Deno.test("sendRaw() cuts what came in fragments into pieces no larger than those that came (RFC 8201 4)", () => {
  const at = host();
  const payload = concatBytes([Uint8Array.of(17, 0, 0, 0, 0, 0, 0, 9), pattern(1400)]);
  const sizes = (fragmentMax: number) => {
    const block = Block.from(ip6Packet({ src: "2001:db8::1", dst: "2001:db8::2", nextHeader: 44, payload }));
    block.fragmentMax = fragmentMax;
    assertEquals(sendRaw(at.stack, block, { kernelHeader: false }), "sent");
    at.run();
    return at.take6().map(({ length }) => length);
  };
  assertEquals([sizes(0), sizes(1280), sizes(9), sizes(1440), sizes(9000)], [
    [1440],
    [1280, 216],
    [1280, 216],
    [1440],
    [1440],
  ]);
});

Deno.test("an Ethernet interface with an IPv6 address has a link-local one, made of its hardware address", () => {
  const at = new TestHost();
  const { ifc, ctl } = at.ifc("bind ether /net/ether0", "add 10.0.0.1 /24");
  assertEquals(ifc.lifcs.length, 1);
  ctl("add 2001:db8::1 /64");
  at.run();
  assertEquals(ifc.lifcs.map(({ local }) => `${local}`), ["10.0.0.1", "2001:db8::1", "fe80::ff:fe00:1"]);
  assertEquals(`${eui64(LINK_LOCAL_PREFIX, mac("52:54:00:12:34:56"))}`, "fe80::5054:ff:fe12:3456");
  const groups = at.ether.commands.filter((one) => one.startsWith("addmulti"));
  assertEquals(groups, ["addmulti 3333ff000001", "addmulti 333300000001"]);
  ctl("unbind");
  assertEquals(at.ether.commands.filter((one) => one.startsWith("remmulti")).length, 2);
  assertEquals([at.stack.self.size, at.stack.routes.size, at.clock.timerCount], [0, 0, 0]);
  ctl("bind ether /net/ether0");
  ctl("add6");
  assertEquals(ifc.lifcs.map(({ local }) => `${local}`), ["fe80::ff:fe00:1"]);
});

Deno.test("IPv6 asks for links of 1280 bytes at least", () => {
  const at = new TestHost();
  const { ctl } = at.ifc("bind ether /net/ether0", "mtu 1200");
  assertEquals(refusalCode(() => ctl("add fe80::1 /64")), "EFAIL");
  ctl("mtu 1294");
  ctl("add fe80::1 /64");
  assertEquals(refusalCode(() => ctl("mtu 1293")), "EFAIL");
});

Deno.test("PathMtus believes 1280 and no less, no growth, for ten minutes, and so many destinations", () => {
  const at = new TestHost();
  const known = new PathMtus(at.clock);
  known.learn(ip("2001:db8::9"), 600);
  known.learn(ip("2001:db8::9"), 1400);
  assertEquals([known.lookup(ip("2001:db8::9")), known.lookup(ip("2001:db8::8"))], [1280, 0]);
  at.clock.advance(PATH_MTU_LIFE_MS);
  assertEquals([known.lookup(ip("2001:db8::9")), known.size], [0, 0]);
  for (let i = 0; i < PATH_MTUS_MAX + 10; i++) known.learn(ip(`2001:db8::${i.toString(16)}`), 1300);
  assertEquals([known.size, known.lookup(ip("2001:db8::"))], [PATH_MTUS_MAX, 0]);
});
