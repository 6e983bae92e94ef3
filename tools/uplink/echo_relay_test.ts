/** Tests of ping over the uplink, for both versions of IP. */

import { assertEquals } from "@std/assert";
import { Block } from "../../kernel/block.ts";
import { ip, pattern } from "../../tests/kit/ip/ip_fixture.ts";
import { datagramWorld } from "../../tests/kit/uplink/datagram_world.ts";
import { ECHOES } from "../../tests/kit/uplink/fake_peer.ts";
import { LINKS } from "../../tests/kit/uplink/link_families.ts";
import { ECHO_IDLE_MS, ECHO_SOCKETS_MAX } from "./echo_relay.ts";

for (const link of LINKS) {
  const { name, remote, other, near, peer, codes } = link;

  Deno.test(`${name}: a reply has the guest's identifier, sequence number and data, its own TTL and TOS`, () => {
    const world = datagramWorld();
    world.fake.peer(remote, { answer: ({ payload }) => [{ payload, ttl: 49, tos: 0x23 }] });
    world.echo(link.echo({ id: 77, seq: 5, ttl: 21, tos: 0x8a, isWhole: true, payload: pattern(56) }));
    const { kind, to, ttl, tos, dontFragment, payload } = world.fake.sent[0]!;
    assertEquals([kind, to, ttl, tos, dontFragment], ["echo", `${remote}!0`, 21, 0x8a, true]);
    assertEquals(payload.slice(6), Uint8Array.of(0, 5, ...pattern(56)));
    const reply = world.seen()[0]!;
    assertEquals([reply.kind, reply.src, reply.dst, reply.what, reply.ttl, reply.tos], [
      ...["reply", remote, near, "77 5", 49, 0x23],
    ]);
    assertEquals(reply.payload, pattern(56));
    assertEquals([world.counters.echoOut, world.counters.echoIn, world.counters.echoOpened], [1, 1, 1]);
    world.end();
  });

  Deno.test(`${name}: the link's peer is the machine's loopback, by a socket of its own`, () => {
    const world = datagramWorld();
    for (const address of [link.loopback, remote]) world.fake.peer(address, ECHOES);
    world.echo(link.echo({ dst: peer, seq: 1 }), link.echo({ seq: 2 }), link.echo({ dst: peer, seq: 3 }));
    assertEquals(world.fake.sent.map(({ to }) => to), [`${link.loopback}!0`, `${remote}!0`, `${link.loopback}!0`]);
    assertEquals(world.lines().sort(), [`reply ${peer} 77 1`, `reply ${remote} 77 2`, `reply ${peer} 77 3`].sort());
    assertEquals(world.pings.sockets, 2);
    world.end();
  });

  Deno.test(`${name}: an identifier that near no longer uses has no socket`, () => {
    const world = datagramWorld();
    world.echo(link.echo({ dst: peer }), link.echo(), link.echo({ id: 78 }));
    world.pings.release(link.version, 77);
    world.pings.release(link.version, 99);
    world.pings.release(link.version === 4 ? 6 : 4, 78);
    assertEquals({ open: world.fake.open.size, released: world.counters.echoReleased }, { open: 1, released: 2 });
    world.end();
  });

  Deno.test(`${name}: a ping that nothing answers has no answer`, () => {
    const world = datagramWorld();
    world.echo(link.echo(), link.echo({ dst: other }));
    world.clock.advance(30_000);
    assertEquals([world.fake.sent.length, world.lines()], [2, []]);
    world.end();
  });

  Deno.test(`${name}: an error has its sender and quotes the request with the guest's identifier and TTL`, () => {
    const world = datagramWorld();
    world.fake.peer(remote, { hops: link.hops, ...ECHOES });
    world.echo(link.echo({ id: 5, seq: 1, ttl: 2, tos: 8, payload: pattern(30) }));
    const [error] = world.seen();
    assertEquals([error!.kind, error!.src, error!.what], ["error", link.hops[1], codes.hops]);
    const { kind, src, dst, what, ttl, tos, payload } = error!.quoted!;
    assertEquals({ kind, src, dst, what, ttl, tos, payload }, {
      ...{ kind: "request", src: near, dst: remote, what: "5 1", ttl: 2, tos: 8, payload: pattern(30) },
    });
    world.end();
  });

  Deno.test(`${name}: an error that comes after other requests quotes its own request all the same`, () => {
    const world = datagramWorld();
    world.fake.peer(other, { error: { type: 3, code: 1, offender: link.hops[0]! }, delayMs: 50 });
    const packet = link.echo({ id: 5, seq: 1, dst: other, payload: pattern(30) });
    world.echo(packet);
    world.echo(link.echo({ id: 5, seq: 2 }));
    world.clock.advance(50);
    const [error] = world.seen();
    const { kind, src, dst, what, payload } = error!.quoted!;
    assertEquals({ kind, src, dst, what, payload }, {
      ...{ kind: "request", src: near, dst: other, what: "5 1", payload: pattern(30) },
    });
    world.end();
  });

  Deno.test(`${name}: the quoted message is the guest's own, its checksum included`, () => {
    const world = datagramWorld();
    world.fake.peer(other, { error: { type: 3, code: 1, offender: link.hops[0]! }, delayMs: 50 });
    const packet = link.echo({ id: 5, seq: 1, dst: other, payload: pattern(30) });
    for (const between of [false, true]) {
      world.echo(packet);
      if (between) world.echo(link.echo({ id: 5, seq: 2 }));
      world.clock.advance(50);
      const [block] = world.blocks.splice(0);
      const quoted = block!.bytes().slice(link.headerLen + 8);
      assertEquals(quoted.slice(link.headerLen), packet.slice(link.headerLen));
    }
    world.end();
  });

  Deno.test(`${name}: path MTU: a hop's is sent on, the machine's own comes from the peer`, () => {
    const world = datagramWorld();
    world.fake.peer(remote, { mtu: { size: 1400, by: link.hops[0]! } });
    world.fake.peer(other, { mtu: { size: 1300, by: null } });
    const payload = pattern(1450);
    world.echo(link.echo({ payload, isWhole: true }), link.echo({ payload, isWhole: true, dst: other }));
    assertEquals(
      world.lines().sort(),
      [
        `error ${link.hops[0]} ${codes.tooBig} mtu 1400 of 77 1`,
        `error ${peer} ${codes.tooBig} mtu 1300 of 77 1`,
      ].sort(),
    );
    world.end();
  });

  Deno.test(`${name}: where the machine does not let us ping, near hears that it is prohibited`, () => {
    const world = datagramWorld();
    assertEquals(world.pings.echoAvailable(link.version), true);
    world.fake.mayPing = false;
    assertEquals(world.pings.echoAvailable(link.version), false);
    world.echo(link.echo());
    assertEquals(world.lines(), [`error ${peer} ${codes.prohibited} of 77 1`]);
    assertEquals([world.counters.echoNoSocket, world.counters.echoOpened], [1, 0]);
    world.end();
  });

  Deno.test(`${name}: a destination that is closed is prohibited`, () => {
    const world = datagramWorld();
    world.closed.add(remote);
    world.echo(link.echo());
    assertEquals(world.lines(), [`error ${peer} ${codes.prohibited} of 77 1`]);
    assertEquals([world.counters.refusedDestinations, world.counters.echoOpened], [1, 0]);
    world.end();
  });

  Deno.test(`${name}: a socket closes after a minute, and the longest idle when there are too many`, () => {
    const world = datagramWorld();
    for (let id = 0; id < ECHO_SOCKETS_MAX; id++) world.echo(link.echo({ id }));
    world.clock.advance(100);
    world.echo(link.echo({ id: 0 }), link.echo({ id: 9999 }));
    assertEquals([world.pings.sockets, world.counters.echoEvicted], [ECHO_SOCKETS_MAX, 1]);
    // 1 went, and 0 stayed: it has its socket still.
    world.echo(link.echo({ id: 0 }));
    assertEquals(world.counters.echoOpened, ECHO_SOCKETS_MAX + 1);
    world.echo(link.echo({ id: 1 }));
    assertEquals(world.counters.echoOpened, ECHO_SOCKETS_MAX + 2);
    world.clock.advance(ECHO_IDLE_MS - 1000);
    assertEquals(world.pings.sockets, ECHO_SOCKETS_MAX);
    world.clock.advance(3000);
    assertEquals([world.pings.sockets, world.counters.echoExpired], [0, ECHO_SOCKETS_MAX]);
    world.end();
  });

  Deno.test(`${name}: without a descriptor a socket of UDP closes, then one of echo, or it is lost`, () => {
    const world = datagramWorld();
    world.udp(link.udp());
    world.echo(link.echo({ id: 1 }));
    world.fake.descriptorsMax = 2;
    world.echo(link.echo({ id: 2 }));
    assertEquals([world.relay.sockets, world.pings.sockets], [0, 2]);
    world.echo(link.echo({ id: 3 }));
    assertEquals([world.pings.sockets, world.counters.echoEvicted, world.fake.sent.length], [2, 1, 4]);
    world.pings.close();
    world.fake.descriptorsMax = 0;
    world.echo(link.echo({ id: 4 }));
    assertEquals([world.counters.echoNoSocket, world.lines()], [1, []]);
    world.end();
  });

  Deno.test(`${name}: what the machine's routes lose is counted, as what a socket has no room for`, () => {
    const world = datagramWorld();
    world.fake.peer(remote, { refusal: "EINVAL" });
    world.fake.peer(other, { refusal: "ENOBUFS" });
    world.echo(link.echo(), link.echo({ dst: other }));
    assertEquals([world.counters.echoBlackHoles, world.counters.echoShortage], [1, 1]);
    world.fake.room = 0;
    world.echo(link.echo({ dst: link.hops[0]! }));
    assertEquals([world.counters.echoShortage, world.counters.echoOut, world.lines()], [2, 0, []]);
    world.end();
  });

  Deno.test(`${name}: only sound echo requests of near go further`, () => {
    const world = datagramWorld();
    const { headerLen } = link;
    const changed = (at: number, value: number) => {
      const packet = link.echo();
      packet[headerLen + at] = value;
      return packet;
    };
    world.echo(changed(9, 7));
    assertEquals([world.counters.echoBadChecksums, world.counters.badPackets], [1, 0]);
    const reply = link.version === 4 ? 0 : 129;
    world.echo(changed(0, reply), changed(1, 1), link.echo({ src: remote }), link.echo({ ttl: 0 }));
    world.echo(link.echo().subarray(0, headerLen + 7));
    assertEquals([world.counters.echoBadChecksums, world.counters.badPackets, world.fake.sent.length], [1, 5, 0]);
    world.end();
  });

  Deno.test(`${name}: what comes and is no reply is counted and dropped`, () => {
    const world = datagramWorld();
    world.echo(link.echo());
    const [socket] = world.fake.open;
    const message = new Uint8Array(8);
    message.set([link.version === 4 ? 13 : 135, 0, 0, 0, socket!.id >> 8, socket!.id & 255]);
    socket!.deliver({ from: { address: ip(remote), port: 0 }, to: ip(link.own), answer: { payload: message } });
    assertEquals([world.lines(), world.counters.echoStrays], [[], 1]);
    world.end();
  });
}

Deno.test("the largest ping of IPv4 goes out and comes back", () => {
  const world = datagramWorld();
  const link = LINKS[0]!;
  world.fake.peer(link.remote, ECHOES);
  world.echo(link.echo({ payload: pattern(65507) }));
  const [reply] = world.seen();
  assertEquals(reply!.payload, pattern(65507));
  world.end();
});

Deno.test("a request with borrowed bytes is sent whole", () => {
  const world = datagramWorld();
  const packet = LINKS[0]!.echo({ payload: pattern(50) });
  const block = Block.from(packet.subarray(0, 40));
  block.extents = [packet.slice(40)];
  world.pings.input(block);
  assertEquals(world.fake.sent.map(({ payload }) => payload.slice(8)), [pattern(50)]);
  world.end();
});
