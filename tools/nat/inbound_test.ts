/** Packets of the network: whom they reach, filtered, forwarded, cut or answered; in both versions of IP. */

import { assertEquals, assertNotEquals } from "@std/assert";
import { Block, Checksum, Segment } from "../../kernel/block.ts";
import { concatBytes, get16 } from "../../kernel/wire/bytes.ts";
import { parseIpv4 } from "../../kernel/wire/ipv4.ts";
import { TCP_ACK, TCP_FIN, TCP_SYN } from "../../kernel/wire/tcp.ts";
import { pattern } from "../../tests/kit/ip/ip_fixture.ts";
import { header6 } from "../../tests/kit/ip/story6.ts";
import { FAMILIES, type Family, type FamilyPacket } from "../../tests/kit/nat/families.ts";
import {
  assertSound,
  endsOf,
  gotOf,
  GUEST,
  GUEST6,
  partOf,
  REMOTE,
  REMOTE6,
  sentOf,
  udp6,
} from "../../tests/kit/nat/steps.ts";
import { Decision } from "./decision.ts";

/** Marks of a packet of IPv6. */
const MARKS6 = { trafficClass: 1, flowLabel: 7 };

/** The bytes of a piece; fails if its ends and marks are not those of what came. */
function checked(piece: Uint8Array): Uint8Array {
  assertSound(piece);
  const at = partOf(piece).at;
  if (piece[0]! >>> 4 === 4) {
    const { src, dst, tos } = parseIpv4(piece, 0, piece.length)!;
    assertEquals([`${src}`, `${dst}`, tos], [REMOTE, GUEST, 1]);
  } else {
    const { src, dst, trafficClass, flowLabel, nextHeader } = header6(piece);
    assertEquals([`${src}`, `${dst}`, { trafficClass, flowLabel }, nextHeader], [REMOTE6, GUEST6, MARKS6, 44]);
  }
  return piece.slice(at);
}

/** The ends of a datagram of the remote for the guest's map. */
function replyEnds({ remote, host }: Family) {
  return { src: remote, dst: host, srcPort: 9, dstPort: 4000 };
}

/** A datagram of the remote for the guest's map. */
function replyOf(family: Family, options: FamilyPacket = {}): Uint8Array {
  return family.udp({ ...replyEnds(family), ...options });
}

for (const family of FAMILIES) {
  const { name, is6, host, remote, other, guest, router, loopback } = family;
  const reply = (options: FamilyPacket = {}) => replyOf(family, options);
  /** A kit whose guest has been heard of, so that it need not be asked for. */
  const met = (options: Parameters<Family["kit"]>[0] = {}) => {
    const kit = family.kit(options);
    sentOf(kit.out(family.udp({ srcPort: 1 })));
    return kit;
  };

  Deno.test(`${name}: the filter lets in whom the guest has sent to: anybody, the address, or address and port`, () => {
    const rows = [
      { filtering: "endpoint", reasons: ["none", "none", "none"] },
      { filtering: "address", reasons: ["none", "none", "filtered"] },
      { filtering: "address-port", reasons: ["none", "filtered", "filtered"] },
    ] as const;
    for (const { filtering, reasons } of rows) {
      const kit = family.kit({ filtering });
      const { map } = sentOf(kit.out(family.udp()));
      const outcomes = [{}, { srcPort: 10 }, { src: other }].map((options) => kit.back(reply(options), map));
      assertEquals({ filtering, reasons: outcomes.map(({ reason }) => reason) }, { filtering, reasons: [...reasons] });
      const counts = reasons.map((reason) => reason === "none" ? 1 : 0);
      assertEquals(outcomes.map(({ toGuest }) => toGuest.length), counts);
    }
  });

  Deno.test(`${name}: a remote that the guest has not sent to for a lifetime is filtered though the map lives`, () => {
    const kit = family.kit({ filtering: "address" });
    const { map } = sentOf(kit.out(family.udp()));
    for (let minute = 1; minute <= 6; minute++) {
      kit.now = minute * 60_000;
      kit.out(family.udp({ dst: other }));
    }
    assertEquals(kit.back(reply(), map).reason, "filtered");
    assertEquals(kit.back(reply({ src: other }), map).toGuest.length, 1);
  });

  Deno.test(`${name}: packets whose hops end here are answered, by the router or by the host`, () => {
    const kit = family.kit();
    const { map } = sentOf(kit.out(family.udp()));
    const at = family.headerLen;
    const refused = kit.out(family.udp({ hops: 1, dstPort: 33434 }));
    assertEquals({ reason: refused.reason, kind: refused.kind }, { reason: "ttl", kind: Decision.Drop });
    const toGuest = gotOf(refused);
    assertSound(toGuest);
    assertEquals([toGuest[at], toGuest[at + 1]], family.codes.hops);
    assertEquals(endsOf(toGuest).split(":").slice(0, -2).join(":").startsWith(is6 ? `[${router}]` : router), true);
    const packet = reply({ hops: 1, payload: pattern(50) });
    const inbound = kit.back(packet, map);
    assertEquals({ reason: inbound.reason, kind: inbound.kind }, { reason: "ttl", kind: Decision.Send });
    const toRemote = inbound.block!.bytes();
    assertSound(toRemote);
    assertEquals([toRemote[at], toRemote[at + 1]], family.codes.hops);
    assertEquals(toRemote.slice(at + 8), packet);
    assertEquals(endsOf(toRemote.slice(at + 8)), family.ends(remote, 9, host, 4000));
  });

  Deno.test(`${name}: maps of the world and of the loopback are apart: neither takes the other's packets`, () => {
    const kit = family.kit({ policy: { loopback: true }, filtering: "endpoint" });
    const world = sentOf(kit.out(family.udp())).map;
    const local = sentOf(kit.out(family.udp({ dst: router }))).map;
    assertNotEquals(world, local);
    assertEquals(kit.back(reply({ src: loopback, dstPort: world.hostPort }), world).reason, "filtered");
    assertEquals(kit.back(reply({ dstPort: local.hostPort }), local).reason, "filtered");
  });

  Deno.test(`${name}: a whole packet above the guest's MTU that no router may cut is refused with the MTU`, () => {
    const kit = family.kit({ mtu: 1280 });
    const { map } = sentOf(kit.out(family.udp()));
    const refused = kit.back(reply({ payload: pattern(1400), isWhole: true }), map);
    assertEquals({ reason: refused.reason, kind: refused.kind }, { reason: "too-big", kind: Decision.Send });
    const error = refused.block!.bytes();
    assertSound(error);
    const at = family.headerLen;
    assertEquals([error[at], error[at + 1], get16(error, at + 6)], [...family.codes.tooBig, 1280]);
    assertEquals(endsOf(error.subarray(at + 8)), family.ends(remote, 9, host, 4000));
    if (is6) assertEquals(error.length, 1280);
  });

  Deno.test(`${name}: what came in fragments is cut again for the guest, whatever its size`, () => {
    const kit = family.kit({ mtu: 1280 });
    const { map } = sentOf(kit.out(family.udp()));
    const header = is6 ? 48 : 20;
    for (const size of [1253, 1300, 1400, 1452, 1472, 1473, 9000]) {
      const block = Block.from(reply({ payload: pattern(size), isWhole: true }));
      block.fragmentMax = 1280;
      const { toGuest, reason } = kit.back(block, map);
      assertEquals({ size, reason, isCut: toGuest.length > 1 }, { size, reason: "none", isCut: true });
      for (const piece of toGuest) assertSound(piece);
      assertEquals(toGuest.reduce((sum, piece) => sum + piece.length - header, 0), size + 8);
    }
  });

  Deno.test(`${name}: akaros 22: the pieces for the guest keep the marks, have one id, and make up the whole`, () => {
    const kit = family.kit({ mtu: 1280 });
    const { map } = sentOf(kit.out(family.udp()));
    const payload = pattern(5000);
    const came = Block.from(is6 ? udp6({ ...replyEnds(family), ...MARKS6, payload }) : reply({ tos: 1, payload }));
    // Over IPv4 what has no DF may be cut, over IPv6 what came in fragments.
    if (is6) came.fragmentMax = 1280;
    const { toGuest } = kit.back(came, map);
    const parts = toGuest.map(partOf);
    assertEquals(parts.map(({ offset }) => offset), is6 ? [0, 1232, 2464, 3696, 4928] : [0, 1256, 2512, 3768]);
    assertEquals(parts.map(({ isLast }) => isLast), parts.map((_, i) => i === parts.length - 1));
    assertEquals(new Set(parts.map(({ id }) => id)).size, 1);
    const whole = family.udp({ src: remote, dst: guest, srcPort: 9, dstPort: 4000, payload });
    assertEquals(concatBytes(toGuest.map(checked)), whole.slice(family.headerLen));
    if (is6) return;
    const lengths = kit.back(reply({ payload: pattern(4000) }), map).toGuest.map((piece) => piece.length);
    assertEquals(lengths, [1276, 1276, 1276, 260]);
  });

  Deno.test(`${name}: use keeps a map alive; from the network only if it is to (RFC 4787 REQ-6, RFC 7857)`, () => {
    for (const inboundRefresh of [true, false]) {
      const kit = family.kit({ inboundRefresh });
      const { map } = sentOf(kit.out(family.udp()));
      kit.now = 100_000;
      kit.back(reply(), map);
      assertEquals(kit.nat.table.nextExpiry(), inboundRefresh ? 400_000 : 300_000);
    }
  });

  Deno.test(`${name}: a forward lets everybody in, answers by itself, and keeps the client's address`, () => {
    const kit = met();
    const { map } = kit.nat.addForward(family.forward("tcp", 2222, 22));
    const syn = family.tcp({ src: remote, dst: host, srcPort: 5555, dstPort: 2222 });
    const got = gotOf(kit.back(syn, map));
    assertSound(got);
    assertEquals(endsOf(got), family.ends(remote, 5555, guest, 22));
    const answer = family.tcp({ srcPort: 22, dstPort: 5555, flags: TCP_SYN | TCP_ACK });
    const sent = sentOf(kit.out(answer));
    assertSound(sent.packet);
    assertEquals(endsOf(sent.packet), family.ends(host, 2222, remote, 5555));
    kit.nat.expire(1e12);
    assertEquals(sentOf(kit.out(answer)).map, map);
  });

  Deno.test(`${name}: clients on the host come to a forward as the router, and get answers`, () => {
    const kit = met();
    const { map } = kit.nat.addForward(family.forward("udp", 53, 5353));
    for (const [src, seen, port] of [[loopback, router, 40], [host, host, 42]] as const) {
      const got = gotOf(kit.back(family.udp({ src, dst: src, srcPort: port, dstPort: 53 }), map));
      assertEquals(endsOf(got), family.ends(seen, port, guest, 5353));
      const answer = family.udp({ dst: seen, srcPort: 5353, dstPort: port });
      assertEquals(endsOf(sentOf(kit.out(answer)).packet), family.ends(src, 53, src, port));
    }
  });

  Deno.test(`${name}: two forwards to one guest port answer each by its own`, () => {
    const kit = met();
    const maps = [1000, 2000].map((port) => kit.nat.addForward(family.forward("udp", port, 7)).map);
    maps.forEach((map, i) => {
      kit.back(reply({ srcPort: 50 + i, dstPort: map.hostPort }), map);
      const { packet } = sentOf(kit.out(family.udp({ srcPort: 7, dstPort: 50 + i })));
      assertEquals(endsOf(packet), family.ends(host, 1000 * (i + 1), remote, 50 + i));
    });
  });

  Deno.test(`${name}: martians from the network are dropped`, () => {
    const kit = family.kit();
    const { map } = kit.nat.addForward(family.forward("udp", 53, 53));
    const own = is6 ? "fd00:0:0:2::77" : "10.0.2.77";
    const never = is6 ? ["::", "fe80::1"] : ["0.0.0.0", "224.0.0.1", "255.255.255.255"];
    for (const src of [...never, guest, own]) {
      const { reason } = kit.back(reply({ src, dstPort: 53 }), map);
      assertEquals({ src, reason }, { src, reason: "martian-in" });
    }
  });

  Deno.test(`${name}: what is not the map's is refused`, () => {
    const kit = family.kit({ filtering: "endpoint" });
    const { map } = sentOf(kit.out(family.udp()));
    const ends = { src: remote, dst: host };
    const cases: [Uint8Array, string][] = [
      [reply({ dstPort: map.hostPort + 1 }), "unmapped"],
      [family.tcp({ ...ends, dstPort: map.hostPort }), "unmapped"],
      [family.echo({ ...ends, srcPort: map.hostPort }), "unmapped"],
      [reply({ src: loopback }), "filtered"],
      [reply().subarray(0, is6 ? 30 : 19), "short"],
      [new Uint8Array(48).fill(is6 ? 0x45 : 0x55), "bad-ip"],
    ];
    for (const [packet, reason] of cases) assertEquals(kit.back(packet, map).reason, reason);
  });

  Deno.test(`${name}: a remote that goes on sending stays let in, where its packets keep a map alive`, () => {
    const kit = family.kit();
    const { map } = sentOf(kit.out(family.udp()));
    for (let minute = 1; minute <= 21; minute += 4) {
      kit.now = minute * 60_000;
      assertEquals([minute, kit.back(reply(), map).toGuest.length], [minute, 1]);
      kit.nat.expire(kit.now);
      kit.nat.takeFrames();
    }
  });

  Deno.test(`${name}: what the host's own programs send is cut for the guest: no path is to be found`, () => {
    const kit = met();
    const { map } = kit.nat.addForward(family.forward("udp", 53, 53));
    for (const src of [loopback, host]) {
      const packet = family.udp({ src, dst: src, dstPort: 53, isWhole: true, payload: pattern(4000) });
      assertEquals([src, kit.back(packet, map).toGuest.length], [src, 3]);
    }
  });

  Deno.test(`${name}: a forward bound to one address is no way out by another`, () => {
    const kit = met();
    const { map } = kit.nat.addForward(family.forward("udp", 5353, 53, loopback));
    const world = sentOf(kit.out(family.udp({ srcPort: 53 })));
    assertEquals([world.map === map, endsOf(world.packet)], [false, family.ends(host, 53, remote, 9)]);
    kit.back(family.udp({ src: loopback, dst: loopback, srcPort: 77, dstPort: 5353 }), map);
    assertEquals(sentOf(kit.out(family.udp({ srcPort: 53, dst: router, dstPort: 77 }))).map, map);
  });

  Deno.test(`${name}: an uncut segment is as large as its pieces will be: it fits, or is answered with the MTU`, () => {
    const kit = family.kit({ mtu: 1280, mss: 0 });
    const { map } = sentOf(kit.out(family.tcp()));
    const at = family.headerLen;
    const uncut = (segmentSize: number) => {
      const ends = { src: remote, dst: host, srcPort: 80, dstPort: 4000 };
      const block = Block.from(family.tcp({ ...ends, flags: TCP_ACK, payload: pattern(20_000) }));
      block.checksum = Checksum.Owed;
      block.checksumStart = block.rp + at;
      block.checksumField = block.rp + at + 16;
      block.segment = is6 ? Segment.Tcp6 : Segment.Tcp4;
      block.segmentSize = segmentSize;
      block.segmentHeaderLen = at + 20;
      return kit.back(block, map);
    };
    const fits = 1280 - at - 20;
    assertEquals([uncut(fits).reason, uncut(fits).frames.length], ["none", 1]);
    const refused = uncut(fits + 1);
    assertEquals([refused.reason, get16(refused.block!.bytes(), at + 6)], ["too-big", 1280]);
  });

  Deno.test(`${name}: ICMP errors to the network are limited in rate as those to guests are`, () => {
    const kit = family.kit();
    const { map } = sentOf(kit.out(family.udp()));
    let made = 0;
    for (let i = 0; i < 200; i++) made += kit.back(reply({ hops: 1 }), map).block === null ? 0 : 1;
    assertEquals([made, kit.refused("ttl"), kit.refused("icmp-rate")], [50, 200, 150]);
  });

  Deno.test(`${name}: the map of a TCP connection follows its state, each way`, () => {
    const kit = family.kit();
    const send = (flags: number) => sentOf(kit.out(family.tcp({ flags })));
    const { map } = send(TCP_SYN);
    const ends = { src: remote, dst: host, srcPort: 80, dstPort: map.hostPort };
    const back = (flags: number) => kit.back(family.tcp({ ...ends, flags }), map).reason;
    assertEquals([map.class, back(TCP_SYN | TCP_ACK), send(TCP_ACK).map.class], [3, "none", 5]);
    assertEquals([back(TCP_FIN | TCP_ACK), send(TCP_FIN | TCP_ACK).map.class], ["none", 4]);
    kit.nat.expire(239_999);
    assertEquals(map.live, true);
    kit.nat.expire(240_000);
    assertEquals(map.live, false);
  });
}
