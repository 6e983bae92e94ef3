import { assert, assertEquals } from "@std/assert";
import { Block, Checksum, Segment } from "../../kernel/block.ts";
import { finishChecksum } from "../../kernel/inet/segment.ts";
import { pseudoSum } from "../../kernel/wire/checksum.ts";
import { MacAddr } from "../../kernel/wire/mac_addr.ts";
import { ip, pattern, udpPacket } from "../../tests/kit/ip/ip_fixture.ts";
import { header6, packet6 } from "../../tests/kit/ip/story6.ts";
import { natKit, sentOf } from "../../tests/kit/nat/steps.ts";
import {
  assertSound,
  DNS6,
  echo6,
  endsOf,
  gotOf,
  GUEST6,
  GUEST_LL,
  HOST6,
  natKit6,
  REMOTE6,
  ROUTER6,
  ROUTER_LL,
  tcp6,
  udp6,
} from "../../tests/kit/nat/steps.ts";
import { STATION_GUESTS_MAX } from "./guest_table.ts";

Deno.test("akaros 17: without v6 a guest's IPv6 is refused and counted", () => {
  const kit = natKit();
  const frame = natKit6();
  assertEquals(frame.out(udp6()).reason, "none");
  const block = Block.from(udp6());
  const at = block.push(14);
  block.buf.set([0, 1, 2, 3, 4, 10, 0, 1, 2, 3, 4, 11, 0x86, 0xdd], at);
  assertEquals(kit.frame(block).reason, "ipv6");
  assertEquals(kit.refused("ipv6"), 1);
});

Deno.test("translateOutbound6() keeps traffic class, ECN and flow label", () => {
  const { packet } = sentOf(natKit6().out(udp6({ trafficClass: 0xb9, flowLabel: 0xabcde })));
  assertEquals([header6(packet).trafficClass, header6(packet).flowLabel], [0xb9, 0xabcde]);
});

Deno.test("translateOutbound6() keeps one map for all remotes of a port, and another for each address and port", () => {
  const kit = natKit6();
  const maps = [udp6(), udp6({ dst: "2001:db8:7::7" }), udp6({ srcPort: 4001 }), udp6({ src: "fd00:0:0:2::16" })].map(
    (packet) => sentOf(kit.out(packet)).map,
  );
  assertEquals(maps[0], maps[1]);
  assertEquals(new Set(maps.map(({ hostPort }) => hostPort)).size, 3);
});

Deno.test("Two addresses whose last words are alike are two guests", () => {
  const kit = natKit6();
  const one = sentOf(kit.out(udp6({ src: "fd00:0:0:2:1::15" }))).map;
  const two = sentOf(kit.out(udp6({ src: "fd00:0:0:2:2::15" }))).map;
  assertEquals([`${one.guest.addr}`, `${two.guest.addr}`], ["fd00::2:1:0:0:15", "fd00::2:2:0:0:15"]);
});

Deno.test("translateOutbound6() refuses sources that no guest may use, and forbidden destinations", () => {
  const kit = natKit6({ policy: { deny: ["udp:[2001:db8:bad::/48]:1-99"] } });
  const cases: [Uint8Array, string][] = [
    [udp6({ src: "2001:db8::77" }), "source"],
    [udp6({ src: ROUTER6 }), "source"],
    [udp6({ src: "fd00:0:0:2::" }), "source"],
    [udp6({ src: GUEST_LL }), "source"],
    [udp6({ src: "::" }), "source"],
    [udp6({ src: "ff02::1" }), "source"],
    [udp6({ dst: "ff02::fb" }), "link-broadcast"],
    [udp6({ dst: "fd00:0:0:2::99" }), "on-link"],
    [udp6({ dst: "::1" }), "policy-loopback"],
    [udp6({ dst: "::" }), "destination"],
    [udp6({ dst: "::10.0.0.1" }), "destination"],
    [udp6({ dst: "fe80::9" }), "policy-link-local"],
    [udp6({ dst: "fd00:ec2::254" }), "policy-metadata"],
    [udp6({ dst: ROUTER6 }), "policy-loopback"],
    [udp6({ dst: "2001:db8:bad::1" }), "policy-denied"],
    [udp6({ dst: DNS6, dstPort: 54 }), "no-service"],
    [udp6({ checksum: 0 }), "bad-transport"],
    [udp6().subarray(0, 39), "short"],
    [udp6().subarray(0, 47), "bad-ip"],
    [packet6({ src: GUEST6, dst: REMOTE6, nextHeader: 132, payload: pattern(20) }), "protocol"],
    [packet6({ src: GUEST6, dst: REMOTE6, nextHeader: 43, payload: routing(17) }), "source-route"],
    [packet6({ src: GUEST6, dst: REMOTE6, nextHeader: 51, payload: authentication() }), "protocol"],
  ];
  for (const [packet, reason] of cases) {
    // A second apart: the limit of error messages is not what is tested here.
    kit.now += 1000;
    assertEquals(kit.out(packet).reason, reason);
  }
  assertEquals(kit.nat.table.count(), 0);
  // ::ffff:10.0.0.1 in a header.
  const mapped = udp6();
  mapped.set([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1], 24);
  assertEquals(kit.out(mapped).reason, "destination");
});

/** A routing header of type 0 before a protocol. */
function routing(next: number): Uint8Array {
  return new Uint8Array([next, 2, 0, 1, ...new Uint8Array(20), ...pattern(8)]);
}

/** An authentication header before a datagram. */
function authentication(): Uint8Array {
  return new Uint8Array([17, 2, 0, 0, ...new Uint8Array(12), ...udp6().subarray(40)]);
}

Deno.test("translateOutbound6() passes hop-by-hop and destination options as they are", () => {
  const kit = natKit6();
  const udp = udp6({ payload: pattern(9) }).subarray(40);
  const payload = new Uint8Array([60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0, ...udp]);
  const sent = sentOf(kit.out(packet6({ src: GUEST6, dst: REMOTE6, nextHeader: 0, payload })));
  assertEquals(sent.packet.subarray(40, 56), payload.subarray(0, 16));
  assertEquals(endsOf(sent.packet), `[${HOST6}]:4000 > [${REMOTE6}]:9`);
  assertSound(sent.packet);
});

Deno.test("translateOutbound6() says what is wrong: prohibited, hop limit, unknown protocol", () => {
  const kit = natKit6();
  const told = (packet: Uint8Array) => {
    const got = gotOf(kit.out(packet));
    assertSound(got);
    return [header6(got).src.toString(), got[40], got[41], (got[46]! << 8) | got[47]!];
  };
  assertEquals(told(udp6({ dst: "fd00:ec2::254" })), [ROUTER6, 1, 1, 0]);
  assertEquals(told(udp6({ hopLimit: 1 })), [ROUTER6, 3, 0, 0]);
  assertEquals(told(udp6({ dst: DNS6, dstPort: 5353 })), [ROUTER6, 1, 4, 0]);
  sentOf(kit.out(udp6()));
  assertEquals(told(packet6({ src: GUEST6, dst: REMOTE6, nextHeader: 132, payload: pattern(20) })), [ROUTER6, 4, 1, 6]);
  assertEquals(kit.out(udp6({ hopLimit: 0 })).reason, "ttl");
});

Deno.test("echo: the router's and the name server's addresses answer, also to a link-local address", () => {
  const kit = natKit6();
  for (const [src, dst] of [[GUEST6, ROUTER6], [GUEST6, DNS6], [GUEST6, ROUTER_LL], [GUEST_LL, ROUTER_LL]] as const) {
    const got = gotOf(kit.out(echo6({ src, dst, hopLimit: 3, trafficClass: 2 })));
    assertEquals(endsOf(got), `[${dst}]:77 > [${src}]:77`);
    assertEquals([got[40], header6(got).hopLimit, header6(got).trafficClass], [129, 64, 2]);
    assertSound(got);
  }
});

Deno.test("An owed checksum stays owed, and a segment uncut", () => {
  const kit = natKit6();
  sentOf(kit.out(tcp6()));
  const packet = tcp6({ flags: 16, data: pattern(3000) });
  const block = Block.from(packet);
  block.checksum = Checksum.Owed;
  block.checksumStart = block.rp + 40;
  block.checksumField = block.rp + 56;
  block.segment = Segment.Tcp6;
  block.segmentSize = 1000;
  block.segmentHeaderLen = 60;
  const sum = pseudoSum(ip(GUEST6), ip(REMOTE6), 6, 3020);
  block.buf.set([sum >> 8, sum & 255], block.checksumField);
  const { block: out } = kit.out(block);
  assert(out !== null);
  assertEquals([out.checksum, out.segment], [Checksum.Owed, Segment.Tcp6]);
  assert(finishChecksum(out));
  assertSound(out.bytes());
});

Deno.test("An address is of who uses it: another station is refused while it has maps, and has it afterwards", () => {
  const kit = natKit6();
  const other = new MacAddr(0x5254, 7);
  sentOf(kit.out(udp6()));
  assertEquals(kit.out(udp6({ srcPort: 1 }), { src: other }).reason, "spoofed");
  kit.nat.expire(1e6);
  kit.now = 1e6;
  assertEquals(kit.out(udp6({ srcPort: 1 }), { src: other }).reason, "none");
});

Deno.test("A station has a share of addresses; an idle one is forgotten for a new one", () => {
  const kit = natKit6();
  const at = (i: number) => udp6({ src: `fd00:0:0:2::${(100 + i).toString(16)}`, srcPort: 2000 + i });
  for (let i = 0; i < STATION_GUESTS_MAX; i++) sentOf(kit.out(at(i)));
  assertEquals(kit.out(at(STATION_GUESTS_MAX)).reason, "guests");
  assertEquals(sentOf(kit.out(udp6({ src: "fd00:0:0:2::64", srcPort: 9 }))).map.guestPort, 9);
  kit.nat.expire(1e6);
  kit.now = 1e6;
  assertEquals(kit.out(at(STATION_GUESTS_MAX)).reason, "none");
  assert([...kit.nat.table.guests].length <= STATION_GUESTS_MAX + 2);
});

Deno.test("A station that takes over another's idle address gives up an idle one of its own, or is refused", () => {
  const kit = natKit6();
  const other = new MacAddr(0x5254, 7);
  const at = (i: number) => udp6({ src: `fd00:0:0:2::${(100 + i).toString(16)}`, srcPort: 2000 + i });
  const owned = () => [...kit.nat.table.guests].filter(({ addr, mac }) => !addr.isV4 && !mac!.equals(other)).length;
  sentOf(kit.out(at(99), { src: other }));
  for (const now of [1e6, 2e6]) {
    kit.nat.expire(now);
    kit.now = now;
    // With all of its addresses in use it is refused; at the second time they are idle but one.
    if (now === 1e6) { for (let i = 0; i < STATION_GUESTS_MAX; i++) sentOf(kit.out(at(i))); }
    assertEquals(kit.out(at(99)).reason, now === 1e6 ? "guests" : "none");
    assertEquals(owned(), STATION_GUESTS_MAX);
  }
});

Deno.test("IPv4 finds no map of an IPv6 guest by the host's address", () => {
  const kit = natKit6({ filtering: "endpoint" });
  const { map } = sentOf(kit.out(udp6()));
  assertEquals(kit.nat.table.findByHost(0, map.hostPort), map);
  const fresh = natKit6({ filtering: "endpoint", policy: { host: false } });
  sentOf(fresh.out(udp6()));
  assertEquals(fresh.out(v4To(map.hostPort)).reason, "policy-host");
});

/** A datagram of IPv4 to the host. */
function v4To(dstPort: number): Uint8Array {
  return udpPacket({ src: "10.0.2.15", dst: "10.0.0.1", srcPort: 5, dstPort });
}
