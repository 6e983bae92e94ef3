/** Tests of UDP over the uplink, for both versions of IP. Longer ones are in tests/stories/uplink. */

import { assert, assertEquals } from "@std/assert";
import { Block, Checksum, Segment } from "../../kernel/block.ts";
import { get16, put16 } from "../../kernel/wire/bytes.ts";
import { pattern } from "../../tests/kit/ip/ip_fixture.ts";
import { datagramWorld } from "../../tests/kit/uplink/datagram_world.ts";
import { ECHOES } from "../../tests/kit/uplink/fake_peer.ts";
import { type Link, type LinkPacket, LINKS } from "../../tests/kit/uplink/link_families.ts";
import { BATCH_MAX } from "./relay_port.ts";
import { WAITING_BYTES_MAX } from "./datagram_relay.ts";

/** A block of datagrams of `size` bytes each, as a guest with UDP segmentation sends it. */
function burst(link: Link, payload: Uint8Array, size: number, packet: LinkPacket = {}): Block {
  const block = Block.from(link.udp({ ...packet, payload }));
  block.checksum = Checksum.Owed;
  block.checksumStart = block.rp + link.headerLen;
  block.checksumField = block.checksumStart + 6;
  block.segment = Segment.Udp;
  block.segmentSize = size;
  block.segmentHeaderLen = link.headerLen + 8;
  return block;
}

for (const link of LINKS) {
  const { name, remote, near, peer } = link;

  Deno.test(`${name}: a datagram goes out with its TTL, TOS and DF, and its answer comes back with its own`, () => {
    const world = datagramWorld();
    world.fake.peer(`${remote}!9`, { answer: () => [{ payload: pattern(7), ttl: 51, tos: 0x1b }] });
    world.udp(link.udp({ ttl: 33, tos: 0xba, isWhole: true, payload: pattern(5) }));
    assertEquals(world.fake.sent, [{
      ...{ kind: "udp", from: `${link.own}!4000`, to: `${remote}!9`, payload: pattern(5) },
      ...{ ttl: 33, tos: 0xba, dontFragment: true },
    }]);
    const { kind, src, dst, ttl, tos, what, payload } = world.seen()[0]!;
    assertEquals({ kind, src, dst, ttl, tos, what, payload }, {
      ...{ kind: "udp", src: remote, dst: near, ttl: 51, tos: 0x1b, what: "9 > 4000", payload: pattern(7) },
    });
    assertEquals([world.counters.udpOut, world.counters.udpIn, world.counters.udpOpened], [1, 1, 1]);
    world.end();
  });

  Deno.test(`${name}: a port keeps its number on the machine unless it is taken or the administrator's`, () => {
    const world = datagramWorld();
    world.fake.taken.add(4001);
    world.udp(link.udp({ srcPort: 4000 }), link.udp({ srcPort: 4001 }), link.udp({ srcPort: 500 }));
    const ports = [...world.relay.ports()].map(({ linkPort, socket }) => [linkPort, socket.local.port]);
    assertEquals(ports, [[4000, 4000], [4001, 32768], [500, 32769]]);
    world.end();
  });

  Deno.test(`${name}: the link's peer is the machine's loopback, both ways`, () => {
    const world = datagramWorld();
    world.fake.peer(link.loopback, ECHOES);
    world.udp(link.udp({ dst: peer, dstPort: 53, payload: pattern(3) }));
    assertEquals(world.fake.sent.map(({ to, from }) => [from, to]), [[`${link.loopback}!4000`, `${link.loopback}!53`]]);
    assertEquals(world.lines(), [`udp ${peer} 53 > 4000`]);
    world.end();
  });

  Deno.test(`${name}: an address of the machine is reached, and answers, as itself`, () => {
    const world = datagramWorld();
    world.fake.peer(link.own, ECHOES);
    world.udp(link.udp({ dst: link.own }));
    assertEquals(world.lines(), [`udp ${link.own} 9 > 4000`]);
    world.end();
  });

  Deno.test(`${name}: a destination that is closed is prohibited, and costs no socket`, () => {
    const world = datagramWorld();
    world.closed.add(remote);
    world.udp(link.udp());
    assertEquals(world.lines(), [`error ${peer} ${link.codes.prohibited} of 4000 > 9`]);
    assertEquals([world.counters.refusedDestinations, world.counters.udpOpened], [1, 0]);
    world.end();
  });

  Deno.test(`${name}: datagrams of one turn go in one call a socket, in order`, () => {
    const world = datagramWorld();
    const packets = Array.from({ length: 3 * BATCH_MAX + 1 }, (_, i) => link.udp({ payload: pattern(2, i) }));
    world.udp(...packets, link.udp({ srcPort: 5000 }));
    assertEquals(world.fake.sends, 5);
    const payloads = world.fake.sent.filter(({ from }) => from.endsWith("!4000")).map(({ payload }) => payload[0]);
    assertEquals(payloads, packets.map((_, i) => i & 255));
    world.end();
  });

  Deno.test(`${name}: a socket without room keeps a batch and counts what it drops, and goes on with room`, () => {
    const world = datagramWorld();
    world.fake.room = 2;
    const packets = Array.from({ length: 4 }, (_, i) => link.udp({ payload: pattern(2, i) }));
    world.udp(...packets);
    assertEquals(world.fake.sent.length, 2);
    for (let i = 4; i < 100; i++) world.udp(link.udp({ payload: pattern(2, i) }));
    assertEquals([world.fake.sent.length, world.counters.udpQueueFull], [2, 100 - 2 - BATCH_MAX]);
    // The machine is not asked again until it says that there is room.
    assertEquals(world.fake.sends, 1);
    world.fake.unblock();
    world.clock.advance(0);
    assertEquals(world.fake.sent.map(({ payload }) => payload[0]), Array.from({ length: BATCH_MAX + 2 }, (_, i) => i));
    world.udp(link.udp({ payload: pattern(2, 200) }));
    assertEquals(world.fake.sent.at(-1)!.payload[0], 200);
    world.end();
  });

  Deno.test(`${name}: what waits over all sockets is bounded, and closing a socket gives its part back`, () => {
    const world = datagramWorld();
    world.fake.room = 0;
    const big = pattern(60_000);
    const fill = (from: number) => {
      for (let port = from; port < from + 6; port++) {
        for (let i = 0; i < BATCH_MAX; i++) world.udp(link.udp({ srcPort: port, payload: big }));
      }
    };
    fill(6000);
    const most = WAITING_BYTES_MAX / 60_000;
    const { udpQueueFull } = world.counters;
    assert(6 * BATCH_MAX - udpQueueFull <= most + 8, `${udpQueueFull} dropped`);
    // Idle sockets close, and their datagrams with them: as many may wait again.
    world.clock.advance(600_000);
    assertEquals(world.relay.sockets, 0);
    fill(7000);
    assertEquals(world.counters.udpQueueFull, 2 * udpQueueFull);
    world.end();
  });

  Deno.test(`${name}: a burst of datagrams goes out in one piece and arrives as many`, () => {
    const world = datagramWorld();
    const payload = pattern(1000);
    world.relay.input(burst(link, payload, 300));
    world.clock.advance(0);
    assertEquals(world.fake.sends, 1);
    assertEquals(world.fake.sent.map(({ payload }) => payload.length), [300, 300, 300, 100]);
    assertEquals(world.fake.sent[1]!.payload, payload.slice(300, 600));
    assertEquals(world.counters.udpOut, 1);
    world.end();
  });

  Deno.test(`${name}: a burst that the machine does not take whole is cut, each datagram for itself`, () => {
    const world = datagramWorld();
    // More segments than a call takes.
    world.relay.input(burst(link, pattern(130 * 10), 10));
    world.clock.advance(0);
    assertEquals(world.fake.sent.map(({ payload }) => payload.length), Array(130).fill(10));
    // Larger than the way: the last one is not.
    world.fake.sent.length = 0;
    world.fake.peer(link.other, { mtu: { size: 1400, by: null } });
    world.relay.input(burst(link, pattern(2 * 1500 + 100), 1500, { dst: link.other, isWhole: true }));
    world.clock.advance(0);
    assertEquals(world.fake.sent.map(({ payload }) => payload.length), [100]);
    const error = `error ${peer} ${link.codes.tooBig} mtu 1400 of 4000 > 9`;
    assertEquals(world.lines(), [error, error]);
    world.end();
  });

  Deno.test(`${name}: datagrams that the machine joined come to near as a burst`, () => {
    const world = datagramWorld();
    const payload = pattern(250);
    world.fake.peer(remote, { answer: () => [{ payload, segmentSize: 100 }] });
    world.udp(link.udp());
    assertEquals(world.blocks.map(({ segment, segmentSize }) => [segment, segmentSize]), [[Segment.Udp, 100]]);
    const seen = world.seen();
    assertEquals(seen.map(({ what }) => what), Array(3).fill("9 > 4000"));
    assertEquals(seen.map(({ payload }) => payload), [
      payload.slice(0, 100),
      payload.slice(100, 200),
      payload.slice(200),
    ]);
    world.end();
  });

  Deno.test(`${name}: what is not sound goes no further: checksum, length, source, TTL, metadata`, () => {
    const world = datagramWorld();
    const { headerLen } = link;
    const broken = (change: (packet: Uint8Array) => void) => {
      const packet = link.udp({ payload: pattern(9) });
      change(packet);
      return packet;
    };
    world.udp(broken((packet) => packet[headerLen + 12]! ^= 1));
    assertEquals([world.counters.udpBadChecksums, world.counters.badPackets], [1, 0]);
    world.udp(
      broken((packet) => put16(packet, headerLen + 4, 7)),
      broken((packet) => put16(packet, headerLen + 4, get16(packet, headerLen + 4) + 1)),
      link.udp({ src: remote }),
      link.udp({ ttl: 0 }),
      link.udp().subarray(0, headerLen + 7),
    );
    const bad = [{ segmentSize: 0 }, { segmentHeaderLen: headerLen }, { segment: Segment.Tcp4 }, {
      checksum: Checksum.None,
    }];
    for (const change of bad) world.relay.input(Object.assign(burst(link, pattern(99), 10), change));
    world.clock.advance(0);
    assertEquals([world.counters.udpBadChecksums, world.counters.badPackets], [1, 9]);
    assertEquals([world.fake.sent.length, world.counters.udpOpened], [0, 0]);
    world.end();
  });

  Deno.test(`${name}: a datagram without a checksum is IPv4's alone; one whose checksum is owed needs none`, () => {
    const world = datagramWorld();
    const packet = link.udp({ payload: pattern(9) });
    put16(packet, link.headerLen + 6, 0);
    world.udp(packet);
    assertEquals([world.fake.sent.length, world.counters.udpBadChecksums], link.version === 4 ? [1, 0] : [0, 1]);
    world.relay.input(Object.assign(Block.from(packet), { checksum: Checksum.Owed }));
    world.clock.advance(0);
    assertEquals(world.fake.sent.at(-1)!.payload, pattern(9));
    world.end();
  });

  Deno.test(`${name}: padding behind a datagram is not sent`, () => {
    const world = datagramWorld();
    const packet = link.udp({ payload: pattern(9) });
    const padded = new Uint8Array(packet.length + 5).fill(0xaa);
    padded.set(packet);
    world.udp(padded);
    assertEquals(world.fake.sent.map(({ payload }) => payload), [pattern(9)]);
    world.end();
  });

  Deno.test(`${name}: a machine without this version of IP says so at once`, () => {
    const world = datagramWorld();
    world.fake.versions = [];
    world.udp(link.udp());
    assertEquals(world.lines(), [`error ${peer} ${link.codes.net} of 4000 > 9`]);
    assertEquals(world.counters.udpNoSocket, 1);
    world.end();
  });

  Deno.test(`${name}: a socket closes after five idle minutes, one for names half a minute after the answer`, () => {
    const world = datagramWorld();
    world.fake.peer(`${remote}!53`, ECHOES);
    world.udp(link.udp({ srcPort: 4000 }), link.udp({ srcPort: 4001, dstPort: 53 }));
    world.udp(link.udp({ srcPort: 4002, dstPort: 53, dst: link.other }));
    world.udp(link.udp({ srcPort: 4003, dstPort: 53 }), link.udp({ srcPort: 4003 }));
    const ports = () => [...world.relay.ports()].map(({ linkPort }) => linkPort);
    assertEquals(world.lines().length, 2);
    world.clock.advance(29_999);
    assertEquals(ports(), [4000, 4001, 4002, 4003]);
    world.clock.advance(1001);
    assertEquals(ports(), [4000, 4002, 4003]);
    world.clock.advance(200_000);
    world.udp(link.udp({ srcPort: 4000 }));
    world.clock.advance(70_000);
    assertEquals(ports(), [4000]);
    world.clock.advance(300_000);
    assertEquals([ports(), world.counters.udpExpired], [[], 4]);
    world.end();
  });

  Deno.test(`${name}: one socket with much to read keeps no other waiting`, () => {
    const world = datagramWorld();
    world.udp(link.udp({ srcPort: 4000 }), link.udp({ srcPort: 4001 }));
    for (let i = 0; i < 2000; i++) world.fake.arrive(`${remote}!9`, `${link.own}!4000`, { payload: pattern(1, i) });
    world.fake.arrive(`${remote}!9`, `${link.own}!4001`, { payload: pattern(1) });
    world.clock.jobs.run();
    const first = world.blocks.length;
    assert(first < 300, `${first} datagrams in one turn`);
    const seen = world.seen();
    assertEquals(seen.length, 2001);
    assert(seen.findIndex(({ what }) => what === "9 > 4001") < 64);
    const order = seen.filter(({ what }) => what === "9 > 4000").map(({ payload }) => payload[0]!);
    assertEquals(order, Array.from({ length: 2000 }, (_, i) => i & 255));
    world.end();
  });

  Deno.test(`${name}: more busy sockets than one turn serves are all served, in turn`, () => {
    const world = datagramWorld();
    const ports = Array.from({ length: 20 }, (_, i) => 4000 + i);
    world.udp(...ports.map((srcPort) => link.udp({ srcPort })));
    for (const port of ports) {
      for (let i = 0; i < 100; i++) world.fake.arrive(`${remote}!9`, `${link.own}!${port}`, { payload: pattern(1, i) });
    }
    const seen = world.seen();
    assertEquals(seen.length, 2000);
    // No second share before each had its first.
    assertEquals(new Set(seen.slice(0, 20 * 32).map(({ what }) => what)).size, 20);
    world.end();
  });

  Deno.test(`${name}: a question that follows an answer keeps its socket as long as the first`, () => {
    const world = datagramWorld();
    world.fake.peer(`${remote}!53`, ECHOES);
    world.udp(link.udp({ dstPort: 53 }));
    assertEquals(world.lines().length, 1);
    world.udp(link.udp({ dstPort: 53, dst: link.other }));
    world.clock.advance(200_000);
    assertEquals(world.relay.sockets, 1);
    world.end();
  });

  Deno.test(`${name}: a late error quotes the datagram that it is about, not the shorter one that followed`, () => {
    const world = datagramWorld();
    const [type, code] = link.codes.port.split("/").map(Number);
    world.fake.peer(remote, { error: { type: type!, code: code!, offender: remote }, delayMs: 20 });
    world.udp(link.udp({ payload: pattern(100) }));
    world.udp(link.udp({ payload: pattern(3) }));
    world.clock.advance(20);
    // Length of UDP in the quotes, and payload.
    const at = 2 * link.headerLen + 8;
    const quotes = world.blocks.splice(0).map((block) => block.bytes().slice(at));
    assertEquals(quotes.map((quote) => get16(quote, 4)), [108, 11]);
    assertEquals(quotes.map((quote) => quote.slice(8)), [pattern(100), pattern(3)]);
    world.end();
  });

  Deno.test(`${name}: an error about one datagram of a burst quotes that one`, () => {
    const world = datagramWorld();
    const [type, code] = link.codes.port.split("/").map(Number);
    world.fake.peer(remote, { error: { type: type!, code: code!, offender: remote } });
    world.relay.input(burst(link, pattern(250), 100));
    world.clock.advance(0);
    const quotes = world.blocks.splice(0).map((block) => block.bytes().slice(link.headerLen + 8));
    const lengths = quotes.map((quote) => get16(quote, link.headerLen + 4));
    assertEquals(lengths, [108, 108, 58]);
    assertEquals(quotes[1]!.slice(link.headerLen + 8), pattern(250).slice(100, 200));
    world.end();
  });
}

Deno.test("IPv6: what comes from a link-local address cannot be shown to near", () => {
  const world = datagramWorld();
  const link = LINKS[1]!;
  world.udp(link.udp());
  world.fake.arrive("fe80::5!9", `${link.own}!4000`, { payload: pattern(1) });
  assertEquals([world.lines(), world.counters.udpStrays], [[], 1]);
  world.end();
});

Deno.test("a block with borrowed bytes is sent whole", () => {
  const world = datagramWorld();
  const packet = LINKS[0]!.udp({ payload: pattern(50) });
  const block = Block.from(packet.subarray(0, 40));
  block.extents = [packet.slice(40)];
  world.relay.input(block);
  world.clock.advance(0);
  assertEquals(world.fake.sent.map(({ payload }) => payload), [pattern(50)]);
  world.end();
});
