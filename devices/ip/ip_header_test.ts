/** Facts of IP headers by version. */

import { assertEquals } from "@std/assert";
import { echoPacket, PEER, US } from "../../tests/kit/ip_fixture.ts";
import { IP_HEADERS } from "./ip_header.ts";

Deno.test("IP_HEADERS knows versions 4 and 6 and no other nibble", () => {
  assertEquals(IP_HEADERS.map((header) => header?.version ?? 0), [0, 0, 0, 0, 4, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
});

Deno.test("IP_HEADERS reads an IPv4 header with options where it lies", () => {
  const packet = echoPacket({ options: Uint8Array.of(1, 1, 1, 0), fragOffset: 16, ttl: 9 });
  const buf = new Uint8Array([0xff, 0xff, 0xff, ...packet]);
  const v4 = IP_HEADERS[4]!;
  assertEquals([v4.headerLen(buf, 3, buf.length), v4.totalLen(buf, 3), v4.protocol(buf, 3, buf.length)], [24, 40, 1]);
  assertEquals([`${v4.src(buf, 3)}`, `${v4.dst(buf, 3)}`, v4.ttl(buf, 3)], [PEER, US, 9]);
  assertEquals([v4.isFragment(buf, 3, buf.length), v4.fragOffset(buf, 3, buf.length)], [true, 16]);
  v4.makeWhole(buf, 3, buf.length);
  assertEquals(v4.isFragment(buf, 3, buf.length), false);
});

Deno.test("IP_HEADERS says -1 for a header length below 20 or beyond the end", () => {
  const packet = echoPacket();
  const v4 = IP_HEADERS[4]!;
  packet[0] = 0x44;
  assertEquals(v4.headerLen(packet, 0, packet.length), -1);
  packet[0] = 0x4f;
  assertEquals(v4.headerLen(packet, 0, packet.length), -1);
  packet[0] = 0x45;
  assertEquals(v4.headerLen(packet, 0, 19), -1);
});
