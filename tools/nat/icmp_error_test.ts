/** Errors that are made, and quotes that are rewritten: whole, cut off after eight bytes, with options. */

import { assertEquals } from "@std/assert";
import { Block } from "../../kernel/block.ts";
import { mayReportError } from "../../kernel/inet/icmp_error.ts";
import { icmpNextHopMtu } from "../../kernel/wire/icmp.ts";
import { parseIpv4 } from "../../kernel/wire/ipv4.ts";
import { icmpErrorPacket, ip, ipPacket, pattern, udpPacket } from "../../tests/kit/ip/ip_fixture.ts";
import { packet6 } from "../../tests/kit/ip/story6.ts";
import { FAMILIES, type Family } from "../../tests/kit/nat/families.ts";
import { assertSound, endsOf } from "../../tests/kit/nat/packets.ts";
import { FAMILY4 } from "./family4.ts";
import { FAMILY6 } from "./family6.ts";
import { quotedPort, setQuotedEnd } from "./icmp_error.ts";
import { NatPacket, type QuotedPacket } from "./packet.ts";

function read(family: Family, packet: Uint8Array): NatPacket {
  const one = new NatPacket(family.is6 ? FAMILY6 : FAMILY4);
  one.read(Block.from(packet));
  return one;
}

/** An error about `packet`, as it was read, and its quote. */
function quoted(family: Family, packet: Uint8Array): { error: NatPacket; quote: QuotedPacket; bytes: Uint8Array } {
  const about = family.error(family.codes.noRoute, packet, { src: family.remote, dst: family.guest });
  const error = read(family, about);
  return { error, quote: error.family.readQuote(error)!, bytes: error.block.bytes() };
}

Deno.test("An error of IPv4 quotes as much as fits 576 bytes, and only own bytes", () => {
  const packet = udpPacket({ payload: pattern(2000) });
  const ends = { src: ip("1.1.1.1"), dst: ip("2.2.2.2") };
  const bytes = FAMILY4.makeError(Block.from(packet), { ...ends, type: 3, code: 4, rest: 1300 }).bytes();
  assertSound(bytes);
  assertEquals([bytes.length, icmpNextHopMtu(bytes, 20), parseIpv4(bytes, 0, 576)?.ttl], [576, 1300, 64]);
  assertEquals(bytes.slice(28), packet.slice(0, 548));
});

for (const family of FAMILIES) {
  const [group, nowhere] = family.is6 ? ["ff02::1", "::"] : ["224.0.0.1", "0.0.0.0"];

  Deno.test(`${family.name}: no error about an error, to a group, or from no address (RFC 1122 3.2.2)`, () => {
    const may = (packet: Uint8Array) => mayReportError(packet, 0, packet.length);
    const ends = { src: family.remote, dst: family.guest };
    assertEquals(may(family.udp()), true);
    assertEquals(may(family.echo()), true);
    assertEquals(may(family.error(family.codes.noRoute, family.udp(), ends)), false);
    assertEquals(may(family.udp({ dst: group! })), false);
    assertEquals(may(family.udp({ src: nowhere! })), false);
    if (!family.is6) {
      assertEquals(may(udpPacket({ dst: "255.255.255.255" })), false);
      assertEquals(may(udpPacket({ src: "224.0.0.1" })), false);
    }
  });

  Deno.test(`${family.name}: both ends of a quote are rewritten, checksums with them, as far as they are there`, () => {
    const [first, second] = family.is6 ? ["2001:db8::a1", "2001:db8::a2"] : ["192.0.2.1", "192.0.2.2"];
    const options = new Uint8Array([1, 1, 1, 0]);
    const more = family.is6 ? [] : [udpPacket({ options, payload: pattern(9) }), udpPacket({ checksum: 0 })];
    for (const packet of [family.udp({ payload: pattern(9) }), family.tcp(), family.echo(), ...more]) {
      const { error, quote, bytes } = quoted(family, packet);
      const isQuery = packet[family.is6 ? 6 : 9] === (family.is6 ? 58 : 1);
      const port = isQuery ? 11 : 22;
      setQuotedEnd(error, quote, { which: "source", addr: ip(first!), port: 11 });
      setQuotedEnd(error, quote, { which: "destination", addr: ip(second!), port });
      const inner = bytes.slice(family.headerLen + 8);
      assertSound(inner);
      const found = {
        source: quotedPort(error, quote, "source"),
        destination: quotedPort(error, quote, "destination"),
      };
      assertEquals(found, { source: 11, destination: port });
      assertEquals(endsOf(inner), family.ends(first!, 11, second!, port));
    }
  });

  Deno.test(`${family.name}: of a quote that is cut off nothing behind its end is written`, () => {
    const whole = family.tcp();
    const { error, quote, bytes } = quoted(family, whole.subarray(0, family.headerLen + 8));
    const before = bytes.slice();
    setQuotedEnd(error, quote, { which: "source", addr: ip(family.other), port: 11 });
    assertEquals(bytes.slice(-4), before.slice(-4));
    assertEquals(bytes.length, before.length);
  });

  Deno.test(`${family.name}: a quoted protocol without ports has none`, () => {
    const payload = pattern(20);
    const about = family.is6
      ? packet6({ src: family.guest, dst: family.remote, nextHeader: 47, payload })
      : ipPacket({ protocol: 47, payload });
    const { error, quote } = quoted(family, about);
    assertEquals(quotedPort(error, quote, "source"), -1);
  });
}

Deno.test("A later fragment is no packet that an error could be about", () => {
  const later = read(FAMILIES[0]!, ipPacket({ fragOffset: 8, payload: pattern(8) }));
  assertEquals({
    kind: later.kind,
    quote: later.family.readQuote(read(FAMILIES[0]!, icmpErrorPacket({ type: 5, code: 1, packet: udpPacket() }))),
  }, { kind: 3, quote: null });
});
