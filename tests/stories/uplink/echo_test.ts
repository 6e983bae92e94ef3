/** Stories about ping over ordinary sockets, in both versions of IP. */

import { assertEquals } from "@std/assert";
import { Block } from "../../../kernel/block.ts";
import { VirtualClock } from "../../../kernel/time.ts";
import { EchoRelay } from "../../../tools/uplink/echo_relay.ts";
import { IcmpMaker } from "../../../tools/uplink/icmp_maker.ts";
import { pattern } from "../../kit/ip/ip_fixture.ts";
import { datagramWorld, linkContext, withoutTcp } from "../../kit/uplink/datagram_world.ts";
import { FakeDatagrams } from "../../kit/uplink/fake_datagrams.ts";
import { ECHOES } from "../../kit/uplink/fake_peer.ts";
import { LINKS, packetsOf, see } from "../../kit/uplink/link_families.ts";

for (const link of LINKS) {
  const { name, version, remote, other, hops, codes } = link;

  Deno.test(`${name}: traceroute by ping shows each hop, and at last the host's reply`, () => {
    const world = datagramWorld();
    world.fake.peer(remote, { hops, ...ECHOES });
    for (let ttl = 1; ttl <= 3; ttl++) world.echo(link.echo({ ttl, seq: ttl }));
    assertEquals(world.lines(), [
      `error ${hops[0]} ${codes.hops} of 77 1`,
      `error ${hops[1]} ${codes.hops} of 77 2`,
      `reply ${remote} 77 3`,
    ]);
    world.end();
  });

  Deno.test(`${name}: many probes at a time of one identifier, as mtr sends them, have each their own hop`, () => {
    const world = datagramWorld();
    world.fake.peer(remote, { hops, ...ECHOES, delayMs: 30 });
    world.echo(...[1, 2, 3, 1, 2, 3].map((ttl, i) => link.echo({ ttl, seq: i })));
    world.clock.advance(30);
    assertEquals(
      world.lines().sort(),
      [
        ...[0, 3].map((seq) => `error ${hops[0]} ${codes.hops} of 77 ${seq}`),
        ...[1, 4].map((seq) => `error ${hops[1]} ${codes.hops} of 77 ${seq}`),
        ...[2, 5].map((seq) => `reply ${remote} 77 ${seq}`),
      ].sort(),
    );
    world.end();
  });

  Deno.test(`${name}: two guests of two uplinks with one identifier have each their own replies`, () => {
    const clock = new VirtualClock();
    const fake = new FakeDatagrams(clock);
    fake.peer(remote, ECHOES);
    const guests = ["a", "b"].map((who) => {
      const got: string[] = [];
      const context = linkContext(clock, withoutTcp(fake), (block) => {
        for (const { what, payload } of packetsOf(block).map(see)) got.push(`${what} ${payload[0]}`);
      });
      const relay = new EchoRelay(context, { policy: () => "ok", icmp: new IcmpMaker(context) });
      return { who, got, relay };
    });
    for (let seq = 1; seq <= 3; seq++) {
      guests.forEach(({ relay }, i) => relay.input(Block.from(link.echo({ id: 9, seq, payload: pattern(9, i) }))));
    }
    clock.advance(0);
    assertEquals(guests.map(({ got }) => got), [["9 1 0", "9 2 0", "9 3 0"], ["9 1 1", "9 2 1", "9 3 1"]]);
    for (const { relay } of guests) relay.close();
    assertEquals(fake.open.size, 0);
  });

  Deno.test(`${name}: two identifiers that guests chose have each their own replies, late ones too`, () => {
    const world = datagramWorld();
    world.fake.peer(remote, { ...ECHOES, delayMs: 40 });
    world.fake.peer(other, ECHOES);
    world.echo(link.echo({ id: 1, seq: 1 }), link.echo({ id: 2, seq: 1, dst: other }));
    world.echo(link.echo({ id: 2, seq: 2 }), link.echo({ id: 1, seq: 2, dst: other }));
    world.clock.advance(40);
    assertEquals(
      world.lines().sort(),
      [
        ...[`reply ${remote} 1 1`, `reply ${other} 2 1`, `reply ${remote} 2 2`, `reply ${other} 1 2`],
      ].sort(),
    );
    world.end();
  });

  Deno.test(`${name}: a dead host stays silent, beside one that answers`, () => {
    const world = datagramWorld();
    world.fake.peer(remote, ECHOES);
    for (let seq = 0; seq < 20; seq++) {
      world.echo(link.echo({ seq, dst: other }), link.echo({ seq }));
      world.clock.advance(1000);
    }
    assertEquals(world.lines(), Array.from({ length: 20 }, (_, seq) => `reply ${remote} 77 ${seq}`));
    world.end();
  });

  Deno.test(`${name}: the machine reports a dead neighbour three seconds later, in the peer's name`, () => {
    const world = datagramWorld();
    const code = version === 4 ? { type: 3, code: 1 } : { type: 1, code: 3 };
    world.fake.peer(remote, { error: { ...code, offender: link.own }, delayMs: 3000 });
    world.echo(link.echo());
    assertEquals(world.lines(), []);
    world.clock.advance(3000);
    assertEquals(world.lines(), [`error ${link.peer} ${codes.host} of 77 1`]);
    world.end();
  });
}
