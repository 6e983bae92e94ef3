/** What happens at the limits, the same for both versions of IP: what makes room, who keeps what, and what is said. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { MacAddr } from "../../kernel/wire/mac_addr.ts";
import { TCP_ACK, TCP_FIN, TCP_SYN } from "../../kernel/wire/tcp.ts";
import { echoPacket, udpPacket } from "../../tests/kit/ip/ip_fixture.ts";
import { echo6Packet, udp6Packet } from "../../tests/kit/ip/story6.ts";
import { echo6, GUEST6, HOST6, natKit6, REMOTE6, tcp6, udp6 } from "../../tests/kit/nat/steps.ts";
import type { NatOptions } from "./config.ts";
import { STATION_GUESTS_MAX } from "./guest_table.ts";
import { framed, GUEST, HOST, natKit, type Outcome, REMOTE, sentOf, tcpPacket } from "../../tests/kit/nat/steps.ts";
import type { NatMap } from "./map.ts";

/** What a test needs of a version: packets of the guest and of the network, by the ports that matter. */
interface Version {
  readonly name: string;
  start(options: Partial<NatOptions>): Sides;
}

interface Sides {
  readonly kit: ReturnType<typeof natKit>;
  tcp(srcPort: number, flags: number): Outcome;
  tcpBack(map: NatMap, flags: number): Outcome;
  udp(srcPort: number, to?: { dst?: number; dstPort?: number }): Outcome;
  udpBack(map: NatMap, from?: { src?: number; srcPort?: number }): Outcome;
  ping(id: number): Outcome;
  pong(map: NatMap): Outcome;
  /** A datagram from the `n`th address of the link, and the station `mac`. */
  from(n: number, mac: MacAddr): Outcome;
}

const VERSIONS: readonly Version[] = [
  {
    name: "IPv4",
    start(options) {
      const kit = natKit(options);
      const peer = (n: number | undefined) => n === undefined ? REMOTE : `203.0.${n >> 8}.${n & 0xff}`;
      const back = { dst: HOST, ttl: 64 };
      return {
        kit,
        tcp: (srcPort, flags) => kit.out(tcpPacket({ srcPort, flags })),
        tcpBack: (map, flags) =>
          kit.back(tcpPacket({ src: REMOTE, dst: HOST, srcPort: 80, dstPort: map.hostPort, flags }), map),
        udp: (srcPort, { dst, dstPort = 9 } = {}) =>
          kit.out(udpPacket({ src: GUEST, dst: peer(dst), srcPort, dstPort, ttl: 64 })),
        udpBack: (map, { src, srcPort = 9 } = {}) =>
          kit.back(udpPacket({ ...back, src: peer(src), srcPort, dstPort: map.hostPort }), map),
        ping: (id) => kit.out(echoPacket({ src: GUEST, dst: REMOTE, id })),
        pong: (map) => kit.back(echoPacket({ ...back, src: REMOTE, id: map.hostPort, reply: true }), map),
        from: (n, mac) => {
          const packet = udpPacket({
            src: `10.0.${2 + (n >> 8)}.${n & 0xff}`,
            dst: REMOTE,
            srcPort: 4000 + n,
            ttl: 64,
          });
          return kit.frame(framed(packet, { src: mac }));
        },
      };
    },
  },
  {
    name: "IPv6",
    start(options) {
      const kit = natKit6(options);
      const peer = (n: number | undefined) => n === undefined ? REMOTE6 : `2001:db8:a::${n.toString(16)}`;
      return {
        kit,
        tcp: (srcPort, flags) => kit.out(tcp6({ srcPort, flags })),
        tcpBack: (map, flags) =>
          kit.back(tcp6({ src: REMOTE6, dst: HOST6, srcPort: 80, dstPort: map.hostPort, flags }), map),
        udp: (srcPort, { dst, dstPort = 9 } = {}) => kit.out(udp6({ dst: peer(dst), srcPort, dstPort })),
        udpBack: (map, { src, srcPort = 9 } = {}) =>
          kit.back(udp6Packet({ src: peer(src), dst: HOST6, srcPort, dstPort: map.hostPort }), map),
        ping: (id) => kit.out(echo6({ id })),
        pong: (map) => kit.back(echo6Packet({ src: REMOTE6, dst: HOST6, id: map.hostPort, reply: true }), map),
        from: (n, mac) =>
          kit.out(udp6({ src: GUEST6.replace(/15$/, (0x1000 + n).toString(16)), srcPort: 4000 + n }), { src: mac }),
      };
    },
  },
];

/** A test of each version. */
function both(name: string, test: (start: Version["start"]) => void): void {
  for (const version of VERSIONS) Deno.test(`${version.name}: ${name}`, () => test(version.start));
}

/** An open connection from the guest's `port`. */
function connect({ tcp, tcpBack }: Sides, port: number): NatMap {
  const { map } = sentOf(tcp(port, TCP_SYN));
  tcpBack(map, TCP_SYN | TCP_ACK);
  tcp(port, TCP_ACK);
  return map;
}

/** Ports of the guest's maps of TCP, in order. */
const portsOf = ({ kit }: Sides) => [...kit.nat.table.maps()].map(({ guestPort }) => guestPort).sort((a, b) => a - b);

both("dead connections make room: the longest idle half-closed, then the longest idle established", (start) => {
  const sides = start({ guestCaps: { tcp: 4 } });
  const { kit, tcp, tcpBack } = sides;
  const maps = [1001, 1002, 1003, 1004].map((port, i) => {
    kit.now = 1000 * i;
    return connect(sides, port);
  });
  // Each by the side that never closes: the guest's end, and the peer's.
  kit.now = 5000;
  tcpBack(maps[2]!, TCP_FIN | TCP_ACK);
  tcp(1004, TCP_FIN | TCP_ACK);
  kit.now = 60_000 - 1;
  assertEquals([tcp(2000, TCP_SYN).reason, portsOf(sides)], ["guest-cap", [1001, 1002, 1003, 1004]]);
  // The first has not had a packet for a minute: that is idle, but the half-closed are not.
  kit.now = 60_000;
  connect(sides, 2001);
  assertEquals(portsOf(sides), [1002, 1003, 1004, 2001]);
  kit.now = 65_000;
  for (const [port, ...left] of [[2002, 1002, 1004, 2001, 2002], [2003, 1002, 2001, 2002, 2003]]) {
    connect(sides, port!);
    assertEquals(portsOf(sides), left);
  }
  connect(sides, 2004);
  assertEquals([portsOf(sides), tcp(2005, TCP_SYN).reason], [[2001, 2002, 2003, 2004], "guest-cap"]);
  const { mapsEvicted, evictedHalfClosed, evictedEstablished } = kit.nat.counters;
  assertEquals({ mapsEvicted, evictedHalfClosed, evictedEstablished }, {
    ...{ mapsEvicted: 4, evictedHalfClosed: 2, evictedEstablished: 2 },
  });
  assertMatch(kit.nat.limits.take(1e9), /^limits met: 2 refused as the guest .*2 idle half-closed .*tcp of /);
});

both("a guest that was restarted with its table full is cut off for a minute, not for two hours", (start) => {
  const sides = start({ guestCaps: { tcp: 700 } });
  for (let port = 1000; port < 1700; port++) connect(sides, port);
  sides.kit.now = 60_000;
  for (let port = 2000; port < 2700; port++) assert(connect(sides, port).live);
  assertEquals([sides.kit.nat.table.count(1), sides.kit.nat.counters.evictedEstablished], [700, 700]);
});

both("a flood of ports that nothing answers takes no map that was answered, and no fresh question", (start) => {
  const sides = start({ guestCaps: { udp: 10 } });
  const { kit, udp, udpBack } = sides;
  const answered = sentOf(udp(1000)).map;
  udpBack(answered);
  for (let i = 0; i < 100; i++) {
    kit.now = 10 * i;
    udp(2000 + i);
    const question = sentOf(udp(3000 + i, { dstPort: 53 })).map;
    udp(4000 + i);
    assert(question.live && answered.live);
  }
});

both("echo: the map that was not used for longest goes", (start) => {
  const { kit, ping } = start({ guestCaps: { icmp: 3 } });
  for (const id of [1, 2, 3, 1, 4]) ping(id);
  assertEquals([...kit.nat.table.maps()].map(({ guestPort }) => guestPort), [3, 1, 4]);
});

both("100 pings at once have 100 answers", (start) => {
  const { ping, pong } = start({});
  const maps = Array.from({ length: 100 }, (_, i) => sentOf(ping(5000 + i)).map);
  assertEquals(maps.filter((map) => map.live && pong(map).toGuest.length === 1).length, 100);
});

both("one UDP port has a thousand peers, and all of them get in", (start) => {
  const { kit, udp, udpBack } = start({});
  const maps = Array.from({ length: 1000 }, (_, i) => sentOf(udp(6881, { dst: i + 1 })).map);
  assertEquals(new Set(maps).size, 1);
  const heard = maps.filter((map, i) => udpBack(map, { src: i + 1 }).toGuest.length === 1);
  assertEquals([heard.length, udpBack(maps[0]!, { src: 1001 }).reason, kit.nat.table.remotes], [
    1000,
    "filtered",
    1000,
  ]);
});

both("200 stations have an address each; one station has its share, however many it sends from", (start) => {
  const { kit, from } = start({ subnet: "10.0.2.0/23" });
  const station = (n: number) => new MacAddr(0x0200, n);
  for (let n = 20; n < 200; n++) assertEquals([n, from(n, station(n)).reason], [n, "none"]);
  const greedy = station(9999);
  const reasons = Array.from({ length: 250 }, (_, i) => from(256 + i, greedy).reason);
  const places = reasons.filter((reason) => reason === "none").length;
  assert(places <= STATION_GUESTS_MAX && places >= 10, `${places} places`);
  assertEquals(new Set(reasons.slice(places)), new Set(["guests"]));
  // Those who were there go on.
  for (let n = 20; n < 200; n++) assertEquals([n, from(n, station(n)).reason], [n, "none"]);
  assertMatch(
    kit.nat.limits.take(1e9),
    new RegExp(`^limits met: ${250 - places} packets refused as there are too many`),
  );
});

both("what one guest leaves is the others', and when all is taken the greediest gives up first", (start) => {
  const { kit, from, udp } = start({
    subnet: "10.0.2.0/23",
    guestCaps: { udp: 6 },
    totalCaps: { udp: 8 },
  });
  const greedy = Array.from({ length: 20 }, (_, i) => udp(1000 + i).map).findLast((map) => map !== null);
  const others = [21, 22, 23, 24].map((n) => sentOf(from(n, new MacAddr(0x0200, n))).map);
  assertEquals([greedy?.guest.counts[0], others.every(({ live }) => live), kit.nat.table.count()], [4, true, 8]);
});
