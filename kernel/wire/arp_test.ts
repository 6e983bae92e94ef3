import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { assertRoundTrip, assertSafe, hex, ipv4Addrs, macAddrs, u16 } from "../../tests/kit/ip/wire.ts";
import { ARP_REPLY, ARP_REQUEST, emitArp, formatArp, parseArp } from "./arp.ts";
import { parseIpAddr } from "./ip_addr.ts";
import { MAC_ZERO, parseMacAddr } from "./mac_addr.ts";

const REQUEST = hex(`
  00 01 08 00        # Ethernet, IPv4
  06 04              # address lengths
  00 01              # request
  52 54 00 12 34 56  # sender
  0a 00 02 0f        # 10.0.2.15
  00 00 00 00 00 00  # target: not known yet
  0a 00 02 02        # 10.0.2.2
`);

Deno.test("parseArp() reads a request", () => {
  const packet = parseArp(REQUEST, 0, REQUEST.length);
  assertEquals(packet, {
    op: ARP_REQUEST,
    senderMac: parseMacAddr("52:54:00:12:34:56")!,
    senderIp: parseIpAddr("10.0.2.15")!,
    targetMac: MAC_ZERO,
    targetIp: parseIpAddr("10.0.2.2")!,
  });
});

Deno.test("parseArp() ignores the padding of a minimum frame and refuses a short packet", () => {
  const padded = new Uint8Array(46);
  padded.set(REQUEST);
  assertEquals(parseArp(padded, 0, 46), parseArp(REQUEST, 0, 28));
  assertEquals(parseArp(REQUEST, 0, 27), null);
});

Deno.test("parseArp() refuses other hardware, protocols and address lengths", () => {
  for (const [at, value] of [[1, 6], [2, 0x86], [4, 8], [5, 16]] as const) {
    const other = REQUEST.slice();
    other[at] = value;
    assertEquals(parseArp(other, 0, other.length), null, `byte ${at}`);
  }
});

Deno.test("formatArp() asks and answers in words", () => {
  const packet = parseArp(REQUEST, 0, REQUEST.length)!;
  assertEquals(formatArp(packet), "arp who-has 10.0.2.2 tell 10.0.2.15 (52:54:00:12:34:56)");
  assertEquals(formatArp({ ...packet, op: ARP_REPLY }), "arp 10.0.2.15 is-at 52:54:00:12:34:56 for 10.0.2.2");
  assertEquals(
    formatArp({ ...packet, op: 9 }),
    "arp op 9 10.0.2.15 (52:54:00:12:34:56) 10.0.2.2 (00:00:00:00:00:00)",
  );
});

Deno.test("ARP packets are read back as they were emitted", () => {
  const packets = fc.record({
    op: u16,
    senderMac: macAddrs,
    senderIp: ipv4Addrs,
    targetMac: macAddrs,
    targetIp: ipv4Addrs,
  });
  assertRoundTrip(packets, { emit: emitArp, parse: parseArp });
});

Deno.test("parseArp() survives any bytes", () => assertSafe(parseArp, [REQUEST]));
