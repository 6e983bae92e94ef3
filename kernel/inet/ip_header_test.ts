/** Facts of IP headers by version. */

import { assertEquals } from "@std/assert";
import { echoPacket, PEER, US } from "../../tests/kit/ip/ip_fixture.ts";
import { IP_HEADERS } from "./ip_header.ts";
import { ip6Packet } from "../../tests/kit/ip/packets.ts";

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

Deno.test("IP_HEADERS reads an IPv6 header, and walks over what stands before the transport", () => {
  const v6 = IP_HEADERS[6]!;
  const plain = ip6Packet({ hopLimit: 9, payload: 8 });
  const buf = new Uint8Array([0xff, 0xff, 0xff, ...plain]);
  const end = buf.length;
  assertEquals([v6.headerLen(buf, 3, end), v6.totalLen(buf, 3), v6.protocol(buf, 3, end), v6.ttl(buf, 3)], [
    40,
    48,
    17,
    9,
  ]);
  assertEquals([`${v6.src(buf, 3)}`, `${v6.dst(buf, 3)}`], ["2001:db8::2", "2001:db8::1"]);
  assertEquals([v6.isFragment(buf, 3, end), v6.fragOffset(buf, 3, end), v6.headerLen(buf, 3, 42)], [false, 0, -1]);
  const chain = [60, 0, 1, 4, 0, 0, 0, 0, 44, 0, 1, 4, 0, 0, 0, 0, 17, 0, 0, 0x41, 0, 0, 0, 1];
  const piece = ip6Packet({ nextHeader: 0, payload: new Uint8Array([...chain, ...new Uint8Array(16)]) });
  const { length } = piece;
  assertEquals([v6.headerLen(piece, 0, length), v6.fragOffset(piece, 0, length)], [64, 0x40]);
  assertEquals([v6.isFragment(piece, 0, length), v6.maySend(piece, 0, 64)], [true, true]);
  piece[59] = 1;
  assertEquals([v6.protocol(piece, 0, length), v6.isFragment(piece, 0, length)], [17, true]);
  v6.makeWhole(piece, 0, length);
  assertEquals(v6.isFragment(piece, 0, length), false);
  piece[6] = 43;
  assertEquals([v6.maySend(piece, 0, 64), v6.icmpQuotes(2), v6.icmpQuotes(128), v6.icmpIsError(100)], [
    false,
    true,
    false,
    true,
  ]);
});
