/** Stories of a real near stack over the uplink: what it sends is taken, and what comes back it accepts. */

import { assertEquals } from "@std/assert";
import { Block } from "../../../kernel/block.ts";
import { DatagramRelay } from "../../../tools/uplink/datagram_relay.ts";
import { EchoRelay } from "../../../tools/uplink/echo_relay.ts";
import { IcmpMaker } from "../../../tools/uplink/icmp_maker.ts";
import { writeText } from "../../kit/host/dev.ts";
import { type ConvFixture, ip, ipFixture, pattern, PEER, takeMessage, US } from "../../kit/ip/ip_fixture.ts";
import { linkContext, withoutTcp } from "../../kit/uplink/datagram_world.ts";
import { FakeDatagrams } from "../../kit/uplink/fake_datagrams.ts";
import { ECHOES } from "../../kit/uplink/fake_peer.ts";
import { LINKS, packetsOf, see, type Seen } from "../../kit/uplink/link_families.ts";

/** A stack with addresses of both versions whose wire is the uplink. */
function nearStack() {
  const near = ipFixture();
  const [, v6] = LINKS;
  writeText(near.ifcCtl, `add ${v6!.near} /64`);
  const routes = near.open("iproute");
  writeText(routes, `add :: /0 ${v6!.peer}`);
  near.dev.close(routes);
  const { clock } = near.env;
  const fake = new FakeDatagrams(clock);
  const back: Uint8Array[] = [];
  const context = {
    ...linkContext(clock, withoutTcp(fake), (block) => void back.push(...packetsOf(block))),
    v4: { near: ip(US), peer: ip(PEER) },
  };
  const icmp = new IcmpMaker(context);
  const policy = () => "ok" as const;
  const relay = new DatagramRelay(context, { policy, icmp });
  const pings = new EchoRelay(context, { policy, icmp });
  return {
    ...{ near, fake, relay, pings },
    /** Carries packets both ways until there are no more. */
    run() {
      for (const packet of near.sent()) {
        const protocol = packet[packet[0]! >>> 4 === 4 ? 9 : 6];
        if (protocol === 17) relay.input(Block.from(packet));
        else pings.input(Block.from(packet));
      }
      clock.advance(0);
      for (const packet of back.splice(0)) near.inject(packet);
    },
    /** The ICMP error that a conversation has; null: none. */
    error(conv: ConvFixture): Seen | null {
      const err = conv.err();
      const packet = takeMessage(err);
      near.dev.close(err);
      return packet === null ? null : see(packet);
    },
    end() {
      relay.close();
      pings.close();
      assertEquals(fake.open.size, 0);
    },
  };
}

for (const { name, remote, other, codes } of LINKS) {
  Deno.test(`${name}: a program's datagram on near reaches the world, and its answer the program`, () => {
    const world = nearStack();
    world.fake.peer(remote, ECHOES);
    const conv = world.near.conv("udp", `connect ${remote}!9`);
    for (const length of [1, 700, 1400]) {
      conv.send(pattern(length));
      world.run();
      assertEquals(conv.read(), pattern(length));
    }
    assertEquals(world.fake.sent.map(({ from }) => Number(from.split("!")[1])), Array(3).fill(conv.port()));
    world.end();
  });

  Deno.test(`${name}: near takes an error of the world for its conversation's`, () => {
    const world = nearStack();
    const [type, code] = codes.port.split("/").map(Number);
    world.fake.peer(other, { error: { type: type!, code: code!, offender: other } });
    const conv = world.near.conv("udp", `connect ${other}!9`);
    conv.send(pattern(10));
    assertEquals(world.error(conv), null);
    world.run();
    const error = world.error(conv);
    assertEquals([error?.src, error?.what, error?.quoted?.dst, error?.quoted?.payload], [
      ...[other, codes.port, other, pattern(10)],
    ]);
    world.end();
  });
}
