/** The NAT as a whole: lifetimes, limits, forwards, and what bytes of anybody can do to it. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { KernelError } from "../../kernel/error.ts";
import { setIcmpType } from "../../kernel/wire/icmp.ts";
import { ipv4HeaderLen, setIpv4Checksum } from "../../kernel/wire/ipv4.ts";
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from "../../kernel/wire/tcp.ts";
import { fuzzSteps, sequences } from "../../tests/kit/check/fuzz.ts";
import { echoPacket, icmpErrorPacket, ip, ipPacket, pattern, udpPacket } from "../../tests/kit/ip/ip_fixture.ts";
import { damaged, u16 } from "../../tests/kit/ip/wire.ts";
import { GUEST_CAPS } from "./limits.ts";
import {
  assertSound,
  DNS,
  gotOf,
  GUEST,
  HOST,
  natKit,
  REMOTE,
  ROUTER,
  sentOf,
  tcpPacket,
} from "../../tests/kit/nat/steps.ts";
import { Decision } from "./nat.ts";

const udp = (options: Parameters<typeof udpPacket>[0] = {}) =>
  udpPacket({ src: GUEST, dst: REMOTE, srcPort: 4000, dstPort: 9, ttl: 64, ...options });
const reply = (options: Parameters<typeof udpPacket>[0] = {}) =>
  udpPacket({ src: REMOTE, dst: HOST, srcPort: 9, dstPort: 4000, ttl: 64, ...options });

Deno.test("akaros 27: lifetimes: UDP 5 minutes (unanswered 2), DNS 30 s, ICMP 60 s, TCP by its state", () => {
  const life = (use: (kit: ReturnType<typeof natKit>) => void) => {
    const kit = natKit();
    use(kit);
    const at = kit.nat.nextExpiry();
    kit.nat.expire(at - 1);
    assertEquals(kit.nat.table.count(), 1);
    kit.nat.expire(at);
    assertEquals([kit.nat.table.count(), kit.ports.maps.size], [0, 0]);
    return at / 1000;
  };
  assertEquals(life(({ out }) => out(udp())), 120);
  assertEquals(life((kit) => kit.back(reply(), sentOf(kit.out(udp())).map)), 300);
  assertEquals(life(({ out }) => out(udp({ dstPort: 53 }))), 30);
  assertEquals(life(({ out }) => out(echoPacket({ src: GUEST, dst: REMOTE }))), 60);
  assertEquals(life(({ out }) => out(tcpPacket())), 240);
  const established = (kit: ReturnType<typeof natKit>) => {
    const { map } = sentOf(kit.out(tcpPacket()));
    const world = { src: REMOTE, dst: HOST, srcPort: 80, dstPort: 4000 };
    kit.back(tcpPacket({ ...world, flags: TCP_SYN | TCP_ACK }), map);
    kit.out(tcpPacket({ flags: TCP_ACK }));
    return { map, world };
  };
  assertEquals(life(established), 7440);
  assertEquals(life((kit) => (established(kit), kit.out(tcpPacket({ flags: TCP_FIN | TCP_ACK })))), 900);
  const closed = (kit: ReturnType<typeof natKit>) => {
    const { map, world } = established(kit);
    kit.out(tcpPacket({ flags: TCP_FIN | TCP_ACK }));
    kit.back(tcpPacket({ ...world, flags: TCP_FIN | TCP_ACK }), map);
  };
  assertEquals(life(closed), 240);
  const reset = (kit: ReturnType<typeof natKit>) => {
    const { map, world } = established(kit);
    kit.back(tcpPacket({ ...world, flags: TCP_RST }), map);
  };
  assertEquals(life(reset), 240);
  // RFC 7857 2.1: opening and closing have a time each.
  const apart = natKit({ lifetimes: { tcpOpening: 1000, tcpClosing: 2000 } });
  apart.out(tcpPacket());
  assertEquals(apart.nat.nextExpiry(), 1000);
  apart.out(tcpPacket({ flags: TCP_RST }));
  assertEquals(apart.nat.nextExpiry(), 2000);
  // RFC 7857 2.2: a forged RST does not cut a connection that goes on.
  assertEquals(life((kit) => (reset(kit), kit.out(tcpPacket({ flags: TCP_ACK })))), 7440);
});

Deno.test("head-to-head, 65,000 UDP ports: the least recently used maps go, and DNS still works", () => {
  const kit = natKit();
  for (let port = 1; port <= 65_000; port++) {
    kit.now = port;
    assertEquals(kit.out(udp({ srcPort: port, dstPort: 7 })).kind, Decision.Send);
  }
  assertEquals(kit.nat.table.count(), GUEST_CAPS.udp);
  assertEquals(kit.ports.maps.size, GUEST_CAPS.udp);
  assertEquals(kit.nat.counters.mapsEvicted, 65_000 - GUEST_CAPS.udp);
  assertEquals(kit.out(udp({ srcPort: 65_001, dst: DNS, dstPort: 53 })).kind, Decision.Service);
});

Deno.test("akaros 29: a conflict of forwards names who holds the port, and changes nothing", () => {
  const { nat, ports, out } = natKit();
  nat.addForward("tcp:8000-8009:80");
  const conflict = (spec: string) => assertThrows(() => nat.addForward(spec), KernelError).message;
  assertEquals(conflict("tcp:8005:1"), "Cannot forward tcp:8005:1: the forward tcp:8000-8009:80 has the port");
  ports.taken.add(99);
  assertEquals(conflict("udp:99:1"), "Cannot forward udp:99:1: udp/7 of eve has announced 99");
  // A guest's map that is in the way of the same range keeps its port if the forward does not get the rest.
  const { map } = sentOf(out(udp({ srcPort: 90 })));
  assertEquals(conflict("udp:80-99:1"), "Cannot forward udp:80-99:1: udp/7 of eve has announced 99");
  assertEquals([map.fd, map.carrier, sentOf(out(udp({ srcPort: 90 }))).map === map], [1, null, true]);
  assertEquals(nat.forwards.list.length, 1);
  assertEquals(assertThrows(() => nat.removeForward("tcp:1:1"), KernelError).code, "ENOENT");
  nat.removeForward("tcp:8000-8009:80");
  assertEquals([nat.forwards.list.length, nat.table.guest(ip(GUEST))!.forwards.size], [0, 0]);
});

// --- properties

const remotes = fc.constantFrom(REMOTE, "8.8.8.8", "203.0.113.200", "1.1.1.1");
const somePayload = fc.uint8Array({ maxLength: 64 });

Deno.test("Out and back is the identity on what the guest sees, and every checksum on the way is right", () => {
  const caps = { udp: 65536, tcp: 65536, icmp: 65536 };
  const echoes = fc.record({
    dst: remotes,
    srcPort: u16,
    dstPort: u16,
    payload: somePayload,
    ttl: fc.integer({ min: 3, max: 255 }),
    tos: fc.nat(255),
    id: u16,
    kind: fc.nat(2),
  });
  fc.assert(
    fc.property(sequences(echoes), (steps) => {
      const kit = natKit({ filtering: "endpoint", guestCaps: caps, totalCaps: caps });
      kit.ports.taken.add(5000);
      for (const { dst, srcPort, dstPort, payload, ttl, tos, id, kind } of steps) {
        const header = { src: GUEST, dst, ttl, tos, id };
        const original = kind === 0
          ? udpPacket({ ...header, srcPort, dstPort, payload })
          : kind === 1
          ? tcpPacket({ ...header, srcPort, dstPort, flags: TCP_ACK, data: payload })
          : echoPacket({ ...header, id: srcPort, seq: dstPort, data: payload });
        const { packet, map } = sentOf(kit.out(original));
        assertSound(packet);
        // The other side turns it round: what comes back must look to the guest like its own packet turned round.
        const got = gotOf(kit.back(turned(packet), map));
        assertSound(got);
        const expected = turned(original);
        expected[8] = got[8]!;
        setIpv4Checksum(expected, 0, ipv4HeaderLen(expected, 0));
        assertEquals(got, expected);
        assertEquals(got[8], ttl - 2);
      }
    }),
    fuzzSteps(300),
  );
});

Deno.test("No bytes of a guest or of the network throw, and no table grows past its cap", () => {
  const samples = [
    udp({ payload: pattern(30) }),
    tcpPacket({ tcpOptions: { mss: 1460 } }),
    echoPacket({ src: GUEST, dst: ROUTER }),
    udp({ dst: DNS, dstPort: 53, payload: pattern(30) }),
    udp({ dst: "255.255.255.255", dstPort: 67, payload: pattern(260) }),
    icmpErrorPacket({ type: 3, code: 3, packet: reply() }, { src: GUEST, dst: REMOTE }),
    ipPacket({ src: GUEST, dst: REMOTE, moreFragments: true, payload: pattern(64) }),
    ipPacket({ src: GUEST, dst: REMOTE, fragOffset: 64, payload: pattern(64) }),
  ];
  const inbound = [
    reply({ dstPort: 150, payload: pattern(9) }),
    icmpErrorPacket({ type: 3, code: 4, packet: reply() }),
  ];
  const packets = fc.oneof(...samples.map(damaged), fc.uint8Array({ maxLength: 100 }));
  const both = fc.tuple(packets, fc.oneof(...inbound.map(damaged), packets), fc.boolean(), fc.nat(100_000));
  fc.assert(
    fc.property(sequences(both), (steps) => {
      const kit = natKit({ guestCaps: { udp: 20, tcp: 20, icmp: 5 }, policy: { loopback: true } });
      const { map } = kit.nat.addForward("udp:100-200:100");
      const tcpMap = kit.nat.addForward("tcp:100:100").map;
      for (const [outwards, inwards, fix, later] of steps) {
        kit.now += later;
        kit.nat.expire(kit.now);
        for (const bytes of [outwards, inwards]) {
          if (fix && bytes.length >= 20 && ipv4HeaderLen(bytes, 0) <= bytes.length && ipv4HeaderLen(bytes, 0) >= 20) {
            setIpv4Checksum(bytes, 0, ipv4HeaderLen(bytes, 0));
          }
        }
        for (const outcome of [kit.out(outwards), kit.frame(outwards)]) {
          if (outcome.block !== null && outcome.map === null) throw new Error("A packet without a map");
        }
        for (const one of [map, tcpMap, ...kit.nat.table.maps()]) {
          kit.back(inwards, one);
          kit.error(inwards, one);
        }
        const { table, reassembler } = kit.nat;
        assert(table.count(0) <= 20 && table.count(1) <= 20 && table.count(2) <= 5);
        assert([...table.guests].length <= 64 && reassembler.length <= 32 && reassembler.bytes <= 1 << 20);
        assertEquals(kit.ports.maps.size, table.count());
      }
    }),
    fuzzSteps(200),
  );
});

/** The packet with its ends exchanged, as the other side would answer it with the same content. */
function turned(packet: Uint8Array): Uint8Array {
  const copy = packet.slice();
  const at = ipv4HeaderLen(copy, 0);
  copy.set(packet.subarray(16, 20), 12);
  copy.set(packet.subarray(12, 16), 16);
  if (copy[9] === 1) {
    setIcmpType(copy, at, 0);
  } else {
    copy.set(packet.subarray(at + 2, at + 4), at);
    copy.set(packet.subarray(at, at + 2), at + 2);
  }
  setIpv4Checksum(copy, 0, at);
  return copy;
}
