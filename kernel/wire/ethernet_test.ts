import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { assertRoundTrip, assertSafe, hex, macAddrs, u16 } from "../../tests/kit/ip/wire.ts";
import * as ethernet from "./ethernet.ts";
import { MAC_BROADCAST, parseMacAddr } from "./mac_addr.ts";

const FRAME = hex(`
  ff ff ff ff ff ff  # destination
  52 54 00 12 34 56  # source
  81 00              # tagged
  60 2a              # priority 3, VLAN 42
  08 06              # ARP
`);

Deno.test("parseEthernet() reads the header and parseVlanTag() the tag behind it", () => {
  const src = parseMacAddr("52:54:00:12:34:56")!;
  const header = ethernet.parseEthernet(FRAME, 0, FRAME.length);
  assertEquals(header, { dst: MAC_BROADCAST, src, etherType: ethernet.ETHERTYPE_VLAN });
  assertEquals(ethernet.parseVlanTag(FRAME, 14, FRAME.length), {
    priority: 3,
    dropEligible: false,
    vlanId: 42,
    etherType: ethernet.ETHERTYPE_ARP,
  });
  assertEquals(ethernet.etherTypeAt(FRAME, 0), ethernet.ETHERTYPE_VLAN);
  assertEquals([ethernet.etherDst(FRAME, 0), ethernet.etherSrc(FRAME, 0)], [MAC_BROADCAST, src]);
});

Deno.test("parseEthernet() and parseVlanTag() refuse what does not fit", () => {
  assertEquals(ethernet.parseEthernet(FRAME, 0, 13), null);
  assertEquals(ethernet.parseVlanTag(FRAME, 14, 17), null);
});

Deno.test("setEtherDst(), setEtherSrc() and setEtherType() rewrite in place", () => {
  const frame = FRAME.slice();
  const mac = parseMacAddr("02:00:00:00:00:01")!;
  ethernet.setEtherDst(frame, 0, mac);
  ethernet.setEtherSrc(frame, 0, MAC_BROADCAST);
  ethernet.setEtherType(frame, 0, 0x0800);
  assertEquals(ethernet.parseEthernet(frame, 0, 14), { dst: mac, src: MAC_BROADCAST, etherType: 0x0800 });
});

Deno.test("formatEthernet() is one line", () => {
  const header = ethernet.parseEthernet(FRAME, 0, FRAME.length)!;
  assertEquals(ethernet.formatEthernet(header), "52:54:00:12:34:56 > ff:ff:ff:ff:ff:ff type 8100");
});

Deno.test("Ethernet headers and tags are read back as they were emitted", () => {
  assertRoundTrip(fc.record({ dst: macAddrs, src: macAddrs, etherType: u16 }), {
    emit: ethernet.emitEthernet,
    parse: ethernet.parseEthernet,
  });
  const tags = fc.record({ priority: fc.nat(7), dropEligible: fc.boolean(), vlanId: fc.nat(4095), etherType: u16 });
  assertRoundTrip(tags, { emit: ethernet.emitVlanTag, parse: ethernet.parseVlanTag });
});

Deno.test("parseEthernet() and parseVlanTag() survive any bytes", () => {
  assertSafe(ethernet.parseEthernet, [FRAME]);
  assertSafe(ethernet.parseVlanTag, [FRAME.subarray(14)]);
});

Deno.test("etherDstIs() and etherSrcIs() compare in place", () => {
  const src = parseMacAddr("52:54:00:12:34:56")!;
  for (const mac of [MAC_BROADCAST, src, parseMacAddr("52:54:00:12:34:57")!, parseMacAddr("52:55:00:12:34:56")!]) {
    assertEquals(ethernet.etherDstIs(FRAME, 0, mac), ethernet.etherDst(FRAME, 0).equals(mac), `${mac}`);
    assertEquals(ethernet.etherSrcIs(FRAME, 0, mac), ethernet.etherSrc(FRAME, 0).equals(mac), `${mac}`);
  }
});
