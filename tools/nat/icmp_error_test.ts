/** Errors that are made, and quotes that are rewritten: whole, cut off after eight bytes, with options. */

import { assertEquals } from "@std/assert";
import { Block } from "../../kernel/block.ts";
import { icmpNextHopMtu, parseIcmpQuote } from "../../kernel/wire/icmp.ts";
import { parseIpv4 } from "../../kernel/wire/ipv4.ts";
import { echoPacket, icmpErrorPacket, ip, ipPacket, pattern, udpPacket } from "../../tests/kit/ip/ip_fixture.ts";
import { makeError, mayAnswer, quotedPort, setQuotedEnd } from "./icmp_error.ts";
import { assertSound, endsOf, tcpPacket } from "../../tests/kit/nat/steps.ts";

Deno.test("An error quotes as much as fits 576 bytes, and only own bytes", () => {
  const packet = udpPacket({ payload: pattern(2000) });
  const error = makeError(Block.from(packet), { src: ip("1.1.1.1"), dst: ip("2.2.2.2"), type: 3, code: 4, mtu: 1300 });
  const bytes = error.bytes();
  assertSound(bytes);
  assertEquals([bytes.length, icmpNextHopMtu(bytes, 20), parseIpv4(bytes, 0, 576)?.ttl], [576, 1300, 64]);
  assertEquals(bytes.slice(28), packet.slice(0, 548));
});

Deno.test("No error about an error, a later fragment, a group, or nobody (RFC 1122 3.2.2)", () => {
  const may = (packet: Uint8Array) => mayAnswer(Block.from(packet));
  assertEquals(may(udpPacket()), true);
  assertEquals(may(echoPacket()), true);
  assertEquals(may(icmpErrorPacket({ type: 3, code: 1, packet: udpPacket() })), false);
  assertEquals(may(ipPacket({ fragOffset: 8, payload: pattern(8) })), false);
  for (const dst of ["224.0.0.1", "255.255.255.255"]) assertEquals(may(udpPacket({ dst })), false);
  for (const src of ["0.0.0.0", "224.0.0.1"]) assertEquals(may(udpPacket({ src })), false);
});

Deno.test("Both ends of a quote are rewritten, checksums with them, as far as they are there", () => {
  const options = new Uint8Array([1, 1, 1, 0]);
  for (
    const packet of [udpPacket({ options, payload: pattern(9) }), tcpPacket(), echoPacket(), udpPacket({ checksum: 0 })]
  ) {
    const error = icmpErrorPacket({ type: 11, code: 0, packet });
    const quote = parseIcmpQuote(error, 20, error.length)!;
    const isQuery = packet[9] === 1;
    setQuotedEnd(error, quote, { which: "source", addr: ip("192.0.2.1"), port: 11 });
    setQuotedEnd(error, quote, { which: "destination", addr: ip("192.0.2.2"), port: isQuery ? 11 : 22 });
    assertSound(error.slice(28));
    assertEquals([quotedPort(error, quote, "source"), quotedPort(error, quote, "destination")], [
      11,
      isQuery ? 11 : 22,
    ]);
    assertEquals(endsOf(error.slice(28)), `192.0.2.1:11 > 192.0.2.2:${isQuery ? 11 : 22}`);
  }
  const cut = icmpErrorPacket({ type: 3, code: 4, packet: tcpPacket().subarray(0, 28) });
  const roomy = new Uint8Array([...cut, ...pattern(40)]);
  setQuotedEnd(roomy, parseIcmpQuote(roomy, 20, cut.length)!, { which: "source", addr: ip("192.0.2.1"), port: 11 });
  assertEquals(roomy.slice(cut.length - 4), new Uint8Array([...cut.slice(-4), ...pattern(40)]));
});

Deno.test("A quoted protocol without ports has none", () => {
  const error = icmpErrorPacket({ type: 3, code: 2, packet: ipPacket({ protocol: 47, payload: pattern(20) }) });
  assertEquals(quotedPort(error, parseIcmpQuote(error, 20, error.length)!, "source"), -1);
});
