/** Stories about UDP over ordinary sockets: what a guest's program sees of the world, in both versions of IP. */

import { assert, assertEquals } from "@std/assert";
import { UDP_SOCKETS_MAX } from "../../../tools/uplink/datagram_relay.ts";
import { pattern } from "../../kit/ip/ip_fixture.ts";
import { datagramWorld } from "../../kit/uplink/datagram_world.ts";
import { ECHOES, type FakePeer } from "../../kit/uplink/fake_peer.ts";
import { LINKS } from "../../kit/uplink/link_families.ts";

const text = new TextEncoder();
const decoder = new TextDecoder();
/** A STUN server (RFC 8489): it says from where it was asked. */
const STUN: FakePeer = { answer: ({ from }) => [{ payload: text.encode(from) }] };

for (const link of LINKS) {
  const { name, version, remote, other, hops, near, peer, own, codes } = link;
  /** ICMP errors that Linux hands on, as `type/code`. */
  const errors = version === 4
    ? ["3/0", "3/1", "3/2", "3/3", "3/5", "3/9", "3/10", "3/13", "11/0", "11/1", "12/0"]
    : ["1/0", "1/1", "1/3", "1/4", "1/5", "1/6", "3/0", "3/1", "4/0", "4/1"];
  const errorOf = (code: string) => {
    const [type, minor] = code.split("/").map(Number);
    return { type: type!, code: minor! };
  };

  Deno.test(`${name}: every server sees a guest's port as the same one, and a third party may use it`, () => {
    const world = datagramWorld();
    const servers = [remote, other, ...hops];
    for (const server of servers) world.fake.peer(server, STUN);
    world.udp(...servers.map((dst) => link.udp({ dst, dstPort: 3478 })));
    const answers = world.seen().map(({ payload }) => decoder.decode(payload));
    assertEquals(answers, servers.map(() => `${own}!4000`));
    // A third party that learned it sends: the NAT's filter decides, the uplink hands it on.
    assert(world.fake.arrive(`${hops[0]}!999`, answers[0]!, { payload: pattern(3) }));
    assertEquals(world.lines(), [`udp ${hops[0]} 999 > 4000`]);
    world.end();
  });

  Deno.test(`${name}: traceroute by UDP shows each hop, and at last the host`, () => {
    const world = datagramWorld();
    world.fake.peer(remote, { hops, error: { ...errorOf(codes.port), offender: remote } });
    const found: string[] = [];
    for (let ttl = 1; ttl <= 3; ttl++) {
      const dstPort = 33_433 + ttl;
      world.udp(link.udp({ dst: remote, dstPort, ttl, payload: pattern(32) }));
      const [error] = world.seen();
      const { what, ttl: quotedTtl, payload } = error!.quoted!;
      assertEquals({ what, quotedTtl, payload }, { what: `4000 > ${dstPort}`, quotedTtl: ttl, payload: pattern(32) });
      found.push(`${error!.src} ${error!.what}`);
    }
    assertEquals(found, [`${hops[0]} ${codes.hops}`, `${hops[1]} ${codes.hops}`, `${remote} ${codes.port}`]);
    world.end();
  });

  Deno.test(`${name}: three probes at a time, of three ports, have each their own answer`, () => {
    const world = datagramWorld();
    world.fake.peer(remote, { hops, delayMs: 20 });
    for (const ttl of [1, 2, 1]) {
      const srcPort = 40_000 + world.fake.sent.length;
      world.udp(link.udp({ srcPort, ttl, dstPort: 33_434 }));
    }
    world.clock.advance(20);
    assertEquals(world.lines(), [
      `error ${hops[0]} ${codes.hops} of 40000 > 33434`,
      `error ${hops[1]} ${codes.hops} of 40001 > 33434`,
      `error ${hops[0]} ${codes.hops} of 40002 > 33434`,
    ]);
    world.end();
  });

  Deno.test(`${name}: every ICMP error comes with its type, its code and its sender`, () => {
    for (const code of errors) {
      const world = datagramWorld();
      world.fake.peer(remote, { error: { ...errorOf(code), offender: hops[1]! } });
      world.udp(link.udp({ payload: pattern(40), tos: 0x28 }));
      const [error, ...others] = world.seen();
      assertEquals([error!.src, error!.dst, error!.what, others.length], [hops[1], near, code, 0]);
      const { src, dst, what, tos, payload } = error!.quoted!;
      assertEquals({ src, dst, what, tos, payload }, {
        ...{ src: near, dst: remote, what: "4000 > 9", tos: 0x28, payload: pattern(40) },
      });
      world.end();
    }
  });

  Deno.test(`${name}: the errors of one peer take no datagram from another, whatever the order`, () => {
    const world = datagramWorld();
    world.fake.peer(remote, ECHOES);
    world.fake.peer(other, { error: { ...errorOf(codes.port), offender: other } });
    world.fake.peer(hops[0]!, { refusal: "EPERM" });
    for (let i = 0; i < 200; i++) {
      const payload = pattern(2, i);
      const order = [other, remote, hops[0]!].map((dst) => link.udp({ dst, payload }));
      world.udp(...order.slice(i % 3), ...order.slice(0, i % 3));
    }
    const seen = world.seen();
    const answers = seen.filter(({ kind }) => kind === "udp");
    assertEquals(answers.map(({ payload }) => payload[0]), Array.from({ length: 200 }, (_, i) => i));
    const of = (dst: string) => seen.filter(({ quoted }) => quoted?.dst === dst);
    assertEquals([of(other).length, of(hops[0]!).length, seen.length], [200, 200, 600]);
    assert(of(other).every(({ src, what }) => src === other && what === codes.port));
    assert(of(hops[0]!).every(({ src, what }) => src === peer && what === codes.prohibited));
    world.end();
  });

  Deno.test(`${name}: datagrams of no byte, of one, and of the most that there may be, go out and come back`, () => {
    const world = datagramWorld();
    world.fake.peer(remote, ECHOES);
    // Over IPv6 the last three are at, and beyond, the link's MTU of 65535.
    for (const length of [0, 1, 1472, 1473, 9000, 65_487, ...version === 4 ? [65_507] : [65_488, 65_507, 65_527]]) {
      const payload = pattern(length);
      world.udp(link.udp({ payload }));
      assertEquals(world.fake.sent.at(-1)!.payload, payload);
      assertEquals(world.seen().map(({ payload }) => payload), [payload]);
    }
    world.end();
  });

  Deno.test(`${name}: a port that near no longer uses has no socket, and a forward stays`, () => {
    const world = datagramWorld();
    world.relay.openForward({ version, address: null, port: 9000, toPort: 53, toVersion: version });
    world.udp(link.udp({ srcPort: 4000 }), link.udp({ srcPort: 4001 }));
    for (const port of [4000, 53, 4002]) world.relay.release(version, port);
    world.relay.release(version === 4 ? 6 : 4, 4001);
    assertEquals({ open: world.fake.open.size, released: world.counters.udpReleased }, { open: 2, released: 1 });
    // The port may be used again at once.
    world.udp(link.udp({ srcPort: 4000 }));
    assertEquals(world.fake.open.size, 3);
    world.end();
  });

  Deno.test(`${name}: the ECN bits and the DSCP pass both ways as they are`, () => {
    const world = datagramWorld();
    world.fake.peer(remote, { answer: ({ tos }) => [{ payload: pattern(1), tos: tos ^ 0xff }] });
    for (let tos = 0; tos < 256; tos++) {
      world.udp(link.udp({ tos }));
      assertEquals([world.fake.sent.at(-1)!.tos, world.seen()[0]!.tos], [tos, tos ^ 0xff]);
    }
    world.end();
  });

  Deno.test(`${name}: path MTU: a hop's comes from the hop, the machine's own from the peer`, () => {
    const world = datagramWorld();
    world.fake.peer(remote, { mtu: { size: 1400, by: hops[1]! }, ...ECHOES });
    world.fake.peer(other, { mtu: { size: 1300, by: null }, ...ECHOES });
    const large = { payload: pattern(1450), isWhole: true };
    world.udp(link.udp(large));
    assertEquals(world.lines(), [`error ${hops[1]} ${codes.tooBig} mtu 1400 of 4000 > 9`]);
    world.udp(link.udp({ ...large, dst: other }));
    assertEquals(world.lines(), [`error ${peer} ${codes.tooBig} mtu 1300 of 4000 > 9`]);
    const small = { payload: pattern(1200), isWhole: true };
    world.udp(link.udp(small), link.udp({ ...small, dst: other }));
    assertEquals(world.lines(), [`udp ${remote} 9 > 4000`, `udp ${other} 9 > 4000`]);
    world.end();
  });

  Deno.test(`${name}: after 65,000 flows a name is still found, at once`, () => {
    const world = datagramWorld();
    world.fake.peer(`${remote}!53`, ECHOES);
    for (let i = 0; i < 65_000; i++) world.udp(link.udp({ srcPort: 500 + i }));
    assertEquals(world.fake.sent.length, 65_000);
    assert(world.relay.sockets <= UDP_SOCKETS_MAX && world.fake.open.size === world.relay.sockets);
    world.udp(link.udp({ srcPort: 65_530, dstPort: 53, payload: pattern(30) }));
    assertEquals(world.lines(), [`udp ${remote} 53 > 65530`]);
    assertEquals(world.counters.udpNoSocket, 0);
    world.end();
  });

  Deno.test(`${name}: without descriptors the longest idle flows make room, names first`, () => {
    const world = datagramWorld();
    world.fake.peer(remote, ECHOES);
    world.fake.descriptorsMax = 16;
    for (let i = 0; i < 16; i++) {
      world.clock.advance(1);
      world.udp(link.udp({ srcPort: 4000 + i, dstPort: i === 7 ? 53 : 9 }));
    }
    world.clock.advance(1);
    world.udp(link.udp({ srcPort: 5000 }));
    const ports = [...world.relay.ports()].map(({ linkPort }) => linkPort);
    // Four went: that for names, and the three that were idle longest.
    assertEquals(ports, [4003, 4004, 4005, 4006, ...Array.from({ length: 8 }, (_, i) => 4008 + i), 5000]);
    assertEquals([world.counters.udpEvicted, world.counters.udpNoSocket], [4, 0]);
    assertEquals(world.lines().length, 17);
    // Someone else has all of them: it is lost and counted, and the guest sends again.
    world.relay.close();
    world.fake.descriptorsMax = 0;
    world.udp(link.udp());
    assertEquals([world.counters.udpNoSocket, world.lines()], [1, []]);
    world.fake.descriptorsMax = 1;
    world.udp(link.udp());
    assertEquals(world.lines(), [`udp ${remote} 9 > 4000`]);
    world.end();
  });

  Deno.test(`${name}: closing gives every socket back, with datagrams that wait and answers on their way`, () => {
    const world = datagramWorld();
    world.fake.peer(remote, { ...ECHOES, delayMs: 100 });
    world.fake.room = 1;
    for (let port = 4000; port < 4100; port++) {
      for (let i = 0; i < 3; i++) world.udp(link.udp({ srcPort: port }));
    }
    world.relay.openForward({ version, address: null, port: 9000, toPort: 53, toVersion: version });
    world.end();
    assertEquals(world.blocks.length, 0);
  });
}

Deno.test("a flow of each version from one port are two, and do not meet", () => {
  const world = datagramWorld();
  for (const { remote } of LINKS) world.fake.peer(remote, STUN);
  world.udp(...LINKS.map((link) => link.udp()));
  assertEquals(world.seen().map(({ src, payload }) => [src, decoder.decode(payload)]), [
    ...LINKS.map(({ remote, own }) => [remote, `${own}!4000`]),
  ]);
  assertEquals(world.relay.sockets, 2);
  world.end();
});
