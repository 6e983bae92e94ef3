/** ICMP errors through the NAT, each way, with the packets that they quote; in both versions of IP. */

import { assertEquals } from "@std/assert";
import { get16 } from "../../kernel/wire/bytes.ts";
import { parseIpv4, setIpv4Checksum } from "../../kernel/wire/ipv4.ts";
import { TCP_ACK } from "../../kernel/wire/tcp.ts";
import { icmpErrorPacket, pattern, udpPacket } from "../../tests/kit/ip/ip_fixture.ts";
import { FAMILIES, type FamilyPacket } from "../../tests/kit/nat/families.ts";
import { assertSound, endsOf, gotOf, GUEST, HOST, natKit, REMOTE, ROUTER, sentOf } from "../../tests/kit/nat/steps.ts";

const udp = (options: Parameters<typeof udpPacket>[0] = {}) =>
  udpPacket({ src: GUEST, dst: REMOTE, srcPort: 4000, dstPort: 9, ttl: 64, ...options });

for (const family of FAMILIES) {
  const { name, is6, host, remote, other, guest, router, loopback, codes, headerLen } = family;
  const far = is6 ? "2001:db8:ffff::1" : "198.51.100.1";
  const reply = (options: FamilyPacket = {}) =>
    family.udp({ src: remote, dst: host, srcPort: 9, dstPort: 4000, ...options });
  /** The packet that an error quotes. */
  const quoteOf = (error: Uint8Array) => error.slice(headerLen + 8);
  /** Who sent a packet, and to whom. */
  const between = (packet: Uint8Array) => {
    const size = is6 ? 16 : 4;
    const at = is6 ? 8 : 12;
    const same = (addr: string, from: number) => {
      const sample = family.udp({ src: addr, dst: addr });
      return sample.subarray(at, at + size).every((byte, i) => byte === packet[from + i]);
    };
    return (src: string, dst: string) => same(src, at) && same(dst, at + size);
  };

  Deno.test(`${name}: an error about a guest's packet reaches it, its quote translated back (RFC 5508 REQ-4)`, () => {
    const kit = family.kit();
    const kinds = [codes.port, codes.hops, codes.tooBig, ...(is6 ? [[4, 1]] : [])];
    for (
      const original of [family.udp({ payload: pattern(20) }), family.tcp({ payload: pattern(9) }), family.echo()]
    ) {
      const { packet, map } = sentOf(kit.out(original));
      for (const code of kinds) {
        const rest = code === codes.tooBig ? 1280 : 0;
        const error = family.error(code, packet, { src: far, dst: host, rest });
        for (const got of [gotOf(kit.error(error, map)), gotOf(kit.back(error, map))]) {
          assertSound(got);
          assertEquals(between(got)(far, guest), true);
          assertEquals([got[headerLen], got[headerLen + 1], get16(got, headerLen + 6)], [...code, rest]);
          const quote = quoteOf(got);
          assertEquals(endsOf(quote), endsOf(original));
          assertSound(quote);
          // Its hops stay as the router saw them.
          quote[family.hopsAt] = original[family.hopsAt]!;
          if (!is6) setIpv4Checksum(quote, 0, 20);
          assertEquals(quote, original);
        }
      }
    }
  });

  Deno.test(`${name}: a quote of eight bytes is enough; one cut shorter is refused`, () => {
    const kit = family.kit();
    const { packet, map } = sentOf(kit.out(family.tcp({ flags: TCP_ACK, payload: pattern(1200) })));
    const about = (size: number) => {
      const quoted = packet.subarray(0, headerLen + size);
      return kit.error(family.error(codes.tooBig, quoted, { src: far, dst: host, rest: 1280 }), map);
    };
    const got = gotOf(about(8));
    assertEquals(get16(got, headerLen + 6), 1280);
    assertEquals(endsOf(quoteOf(got)), family.ends(guest, 4000, remote, 80));
    assertEquals(about(4).reason, "icmp-quote");
  });

  Deno.test(`${name}: an error about what the map did not send, or to whom it has not sent, is dropped`, () => {
    const kit = family.kit();
    const { packet, map } = sentOf(kit.out(family.udp({ payload: pattern(20) })));
    const error = (quoted: Uint8Array) => family.error(codes.port, quoted, { src: far, dst: host });
    const own = { src: host, srcPort: map.hostPort };
    const damaged = error(packet);
    damaged[headerLen + 20]! ^= 1;
    const cases: [Uint8Array, string][] = [
      [error(family.udp(own)), "none"],
      [damaged, "icmp-quote"],
      [error(family.udp({ ...own, srcPort: map.hostPort + 1 })), "icmp-quote"],
      [error(family.udp({ ...own, src: far })), "icmp-quote"],
      [error(family.tcp(own)), "icmp-quote"],
      [error(family.udp({ ...own, dst: other })), "filtered"],
    ];
    for (const [bytes, reason] of cases) assertEquals(kit.error(bytes, map).reason, reason);
  });

  Deno.test(`${name}: a guest's error goes to the sender of the packet that it quotes, and to no other station`, () => {
    const kit = family.kit();
    const { map } = sentOf(kit.out(family.udp()));
    const got = gotOf(kit.back(reply({ payload: pattern(30) }), map));
    const out = sentOf(kit.out(family.error(codes.port, got, { src: guest, dst: remote })));
    assertEquals(out.map, map);
    assertSound(out.packet);
    assertEquals(between(out.packet)(host, remote), true);
    assertEquals(endsOf(quoteOf(out.packet)), family.ends(remote, 9, host, map.hostPort));
    assertSound(quoteOf(out.packet));
    assertEquals(kit.out(family.error(codes.port, got, { src: guest, dst: other })).reason, "icmp-quote");
    const forged = family.udp({ src: other, srcPort: 9, dst: guest, dstPort: 4000 });
    assertEquals(kit.out(family.error(codes.port, forged, { src: guest, dst: other })).reason, "icmp-quote");
  });

  Deno.test(`${name}: an error of the remote itself comes from the name that the guest has for it`, () => {
    const kit = family.kit({ policy: { loopback: true } });
    for (const [dst, real] of [[remote, remote], [router, loopback]] as const) {
      const { packet, map } = sentOf(kit.out(family.udp({ dst, dstPort: 53 })));
      const got = gotOf(kit.error(family.error(codes.port, packet, { src: real, dst: host }), map));
      assertEquals(between(got)(dst, guest), true);
      assertEquals(endsOf(quoteOf(got)), family.ends(guest, 4000, dst, 53));
      assertSound(quoteOf(got));
    }
  });

  Deno.test(`${name}: a forged quote is no way out: an error goes only where a packet could have come from`, () => {
    const secret = is6 ? "2001:db8:5ec::5" : "203.0.113.5";
    const forged = (dst: string, dstPort = 4000) =>
      family.error(codes.port, family.udp({ src: dst, dst: guest, srcPort: 9, dstPort, payload: pattern(99) }), {
        src: guest,
        dst,
      });
    const shown = is6 ? `[${remote}]` : remote;
    for (const filtering of ["endpoint", "address", "address-port"] as const) {
      const kit = family.kit({ filtering, policy: { restrict: true, allow: [`udp:${shown}:9`] } });
      sentOf(kit.out(family.udp()));
      assertEquals(kit.out(forged(remote)).reason, "none");
      const reason = filtering === "endpoint" ? "policy-restricted" : "icmp-quote";
      assertEquals([filtering, kit.out(forged(secret)).reason], [filtering, reason]);
      // A forward makes no remote known that has not come by it.
      kit.nat.addForward(family.forward("udp", 8053, 53));
      assertEquals(kit.out(forged(secret, 53)).reason, "icmp-quote");
    }
    const open = family.kit({ filtering: "endpoint" });
    sentOf(open.out(family.udp()));
    const rows: [string, string][] = is6
      ? [["fd00:ec2::254", "policy-metadata"], ["::1", "policy-loopback"], ["fe80::9", "policy-link-local"]]
      : [
        ["10.0.0.255", "destination"],
        ["224.0.0.1", "destination"],
        ["255.255.255.255", "destination"],
        ["169.254.169.254", "policy-metadata"],
        ["127.0.0.1", "policy-loopback"],
      ];
    assertEquals(rows.map(([dst]) => [dst, open.out(forged(dst)).reason]), rows);
  });

  Deno.test(`${name}: a guest's error about what came from the host's loopback goes there, in the host's names`, () => {
    const kit = family.kit({ policy: { loopback: true } });
    const { map } = sentOf(kit.out(family.udp({ dst: router, dstPort: 7 })));
    const forward = kit.nat.addForward(family.forward("udp", 8053, 53)).map;
    const local = { src: loopback, dst: loopback };
    const rows = [[map, { srcPort: 7, dstPort: 4000 }], [forward, { srcPort: 9, dstPort: 8053 }]] as const;
    for (const [one, ports] of rows) {
      const original = family.udp({ ...local, ...ports, payload: pattern(9) });
      const got = gotOf(kit.back(original.slice(), one));
      const { packet } = sentOf(kit.out(family.error(codes.port, got, { src: guest, dst: router })));
      assertSound(packet);
      assertEquals(between(packet)(loopback, loopback), true);
      assertEquals(quoteOf(packet), original);
    }
  });

  Deno.test(`${name}: our own errors are limited in rate`, () => {
    const kit = family.kit();
    let made = 0;
    for (let i = 0; i < 200; i++) made += kit.out(family.udp({ hops: 1 })).toGuest.length;
    assertEquals({ made, limited: kit.refused("icmp-rate") }, { made: 50, limited: 150 });
  });
}

Deno.test("A redirect, and source quench, are not for a station behind a router", () => {
  const { out, error } = natKit();
  const { packet, map } = sentOf(out(udp({ payload: pattern(20) })));
  const about = (type: number) => {
    const own = udpPacket({ src: HOST, dst: REMOTE, srcPort: 4000, dstPort: 9 });
    return error(icmpErrorPacket({ type, code: 0, packet: own }, { src: "203.0.113.1", dst: HOST }), map).reason;
  };
  assertEquals([about(3), about(5), about(4)], ["none", "icmp-quote", "icmp-quote"]);
  assertEquals(out(icmpErrorPacket({ type: 5, code: 1, packet }, { src: GUEST, dst: REMOTE })).reason, "icmp-quote");
});

Deno.test("real style: what the host says about an answer to itself quotes the router, as the guest calls it", () => {
  const style = { style: "real", subnet: "10.0.0.0/24", router: "10.0.0.254" } as const;
  const { nat, out, back, error } = natKit(style);
  const { map } = nat.addForward("udp:8053:53");
  const asked = gotOf(back(udpPacket({ src: HOST, dst: HOST, srcPort: 9, dstPort: 8053 }), map));
  assertEquals(endsOf(asked), `10.0.0.254:9 > ${HOST}:53`);
  const { packet } = sentOf(out(udpPacket({ src: HOST, dst: "10.0.0.254", srcPort: 53, dstPort: 9 })));
  const got = gotOf(error(icmpErrorPacket({ type: 3, code: 3, packet }, { src: HOST, dst: HOST }), map));
  assertSound(got);
  assertEquals(`${parseIpv4(got, 0, got.length)!.src}`, "10.0.0.254");
  assertEquals(endsOf(got.slice(28)), `${HOST}:53 > 10.0.0.254:9`);
});

Deno.test("What another address of the host's loopback found is the router's word", () => {
  const { out, error } = natKit({ policy: { loopback: true } });
  const { packet, map } = sentOf(out(udp({ dst: ROUTER, dstPort: 7 })));
  const told = error(icmpErrorPacket({ type: 3, code: 3, packet }, { src: "127.0.0.9", dst: "127.0.0.1" }), map);
  const got = gotOf(told);
  assertEquals(
    [`${parseIpv4(got, 0, got.length)!.src}`, endsOf(got.slice(28))],
    [ROUTER, `${GUEST}:4000 > ${ROUTER}:7`],
  );
});
