/**
 * The NAT under load and over time, for both versions of IP: expiry in virtual time, filters, caps, fairness, and
 * damage of every kind.
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block } from "../../../kernel/block.ts";
import { Job } from "../../../kernel/job.ts";
import { get16 } from "../../../kernel/wire/bytes.ts";
import type { Host } from "../../../tools/boot/boot.ts";
import { GUEST_CAPS } from "../../../tools/nat/limits.ts";
import { translateInbound } from "../../../tools/nat/nat.ts";
import { BURST } from "../../../tools/nat/program.ts";
import { fuzzSteps, sequences } from "../../kit/check/fuzz.ts";
import { ip, pattern } from "../../kit/ip/ip_fixture.ts";
import { advance, User } from "../../kit/ip/story.ts";
import { addIpv6 } from "../../kit/ip/story6.ts";
import { damaged } from "../../kit/ip/wire.ts";
import { dnsQuestion, dnsReply } from "../../kit/nat/dns_relay.ts";
import type { FamilyPacket } from "../../kit/nat/families.ts";
import { pieces } from "../../kit/nat/naive.ts";
import { countersOf, must, type NatStory } from "../../kit/nat/nat.ts";
import { endsOf } from "../../kit/nat/steps.ts";
import { STORY_FAMILIES } from "../../kit/nat/story_families.ts";

/** A packet in a frame, as the guest sends it. */
function framed(packet: Uint8Array): Block {
  const frame = Block.from(packet);
  const at = frame.push(14);
  const type = packet[0]! >>> 4 === 6 ? [0x86, 0xdd] : [8, 0];
  frame.buf.set([0, 1, 2, 3, 4, 10, 0, 1, 2, 3, 4, 11, ...type], at);
  return frame;
}

/** Another neighbour of the host, 10.0.0.3 and 2001:db8::3. */
async function neighborOf(story: NatStory): Promise<Host> {
  const other = await story.host.neighbor({ address: "10.0.0.3/24" });
  addIpv6(new User(other), "2001:db8::3");
  advance(story.host, 4000);
  return other;
}

for (const family of STORY_FAMILIES) {
  const { name, is6, host, remote, guest, router, dns, loopback, ends, codes, headerLen } = family;
  const udp = (options: FamilyPacket = {}) => family.udp({ dstPort: 7, ...options });

  Deno.test(`${name}: a map is over after its lifetime, to the millisecond, and its port is free again`, async () => {
    await using story = await family.tell();
    story.there.conv("udp", "bypass 7");
    story.guest.send(udp());
    advance(story.host, 119_999);
    assertEquals(countersOf(story, "maps-udp", "mapsExpired"), [1, 0]);
    advance(story.host, 1);
    assertEquals(countersOf(story, "maps-udp", "mapsExpired"), [0, 1]);
    story.user.conv("udp", "announce 4000");
    assertEquals(story.program.sockets.openCount, 0);
  });

  Deno.test(`${name}: a map that becomes short-lived is not kept for its first lifetime`, async () => {
    await using story = await family.tell({ nat: { lifetimes: { dns: 1000, udp: 100_000 } } });
    story.there.conv("udp", "bypass 7");
    story.guest.send(udp());
    story.guest.send(udp({ srcPort: 4001, dstPort: 53 }));
    advance(story.host, 1000);
    assertEquals(story.stat("maps-udp"), 1);
  });

  Deno.test(`${name}: unsolicited packets are refused by the host if unmapped, else by the filter`, async () => {
    await using story = await family.tell();
    await using other = await neighborOf(story);
    story.there.conv("udp", "bypass 7");
    story.guest.ask(udp());
    const stranger = other.spawn("stranger");
    const dialled = await stranger.dial(`udp!${host}!4000`);
    stranger.sys.blockwrite(dialled.data, pattern(5));
    advance(story.host, 20);
    assertEquals([story.guest.packets(), story.stat("refused-filtered")], [[], 1]);
    const refused = story.there.conv("udp", `connect ${host}!4001`);
    refused.bwrite(pattern(5));
    advance(story.host, 20);
    assertEquals(must(refused.error())[headerLen + 1], codes.port[1]);
  });

  Deno.test(`${name}: akaros 27: filtering modes: a stranger, another port of a friend, the friend`, async () => {
    for (const [filtering, expected] of [["endpoint", 3], ["address", 2], ["address-port", 1]] as const) {
      await using story = await family.tell({ nat: { filtering } });
      await using other = await neighborOf(story);
      const friend = story.there.conv("udp", "announce 7", "headers");
      story.guest.ask(udp());
      friend.bwrite(must(friend.bread()).bytes().slice());
      story.there.conv("udp", `connect ${host}!4000 8`).bwrite(pattern(1));
      const stranger = other.spawn("stranger");
      stranger.sys.blockwrite((await stranger.dial(`udp!${host}!4000`)).data, pattern(2));
      advance(story.host, 20);
      assertEquals([filtering, story.guest.packets().length], [filtering, expected]);
    }
  });

  Deno.test(`${name}: a port of the host's that is in use is not taken: the map gets another`, async () => {
    await using story = await family.tell();
    story.user.conv("udp", "announce 4000");
    const conv = story.there.conv("udp", "bypass 7");
    story.guest.ask(udp());
    const port = Number(/:(\d+) >/.exec(endsOf(conv.take()))![1]);
    assert(port !== 4000 && port % 2 === 0, `${port} is no other even port`);
  });

  Deno.test(`${name}: UDP ports far above the cap (65,000 of them: nat_test), then DNS still works`, async () => {
    await using story = await family.tell({ nat: { guestCaps: { udp: 500 } } });
    const conv = story.there.conv("udp", "bypass 7");
    const server = story.there.conv("udp", "announce 53", "headers");
    for (let port = 1; port <= 5000; port++) {
      story.program.fromGuest(framed(udp({ srcPort: port })));
      if (port % 1000 === 0) {
        advance(story.host, 10);
        while (conv.bread() !== null);
      }
    }
    assertEquals(countersOf(story, "maps-udp", "mapsEvicted"), [500, 4500]);
    assertEquals(story.program.sockets.openCount, 500);
    advance(story.host, 10);
    while (conv.bread() !== null);
    story.guest.send(udp({ srcPort: 600, dst: dns, dstPort: 53, payload: dnsQuestion("example.com") }));
    advance(story.host, 20);
    const record = must(server.bread()).bytes().slice();
    server.bwrite(new Uint8Array([...record.subarray(0, 52), ...dnsReply(record.slice(52))]));
    advance(story.host, 20);
    assertEquals(endsOf(must(story.guest.packets().at(-1))), ends(dns, 53, guest, 600));
  });

  Deno.test(`${name}: akaros 28: a busy map does not starve the others: each has its turn after a burst`, async () => {
    await using story = await family.tell({
      forwards: [family.forward("udp", 1000, 1000), family.forward("udp", 2000, 2000)],
    });
    const busy = story.user.conv("udp", `connect ${loopback}!1000 9`);
    const quiet = story.user.conv("udp", `connect ${loopback}!2000 9`);
    // Inside a job nothing else runs: all packets wait when the NAT has its turn.
    const writer = new Job(story.host.clock.jobs, () => {
      for (let i = 0; i < 3 * BURST; i++) busy.bwrite(pattern(1));
      quiet.bwrite(pattern(1));
    });
    writer.wake();
    const ports = story.guest.packets().map((packet) => get16(packet, headerLen + 2));
    assertEquals([ports.length, ports.indexOf(2000)], [3 * BURST + 1, BURST]);
  });

  Deno.test(`${name}: akaros 17: the other version, or anything, at a forwarded port ends nothing`, async () => {
    await using story = await family.tell({ forwards: [family.forward("udp", 8053, 53)] });
    const { nat } = story.program;
    const { map } = nat.forwards.list[0]!;
    const strange = STORY_FAMILIES[is6 ? 0 : 1]!.udp();
    for (const bytes of [strange, new Uint8Array(0), new Uint8Array(1), new Uint8Array(20), pattern(60)]) {
      translateInbound(nat, Block.from(bytes), map, 0);
    }
    assertEquals(nat.takeFrames(), []);
    story.there.conv("udp", `connect ${host}!8053`).bwrite(pattern(3));
    advance(story.host, 20);
    assertEquals(must(story.guest.packets()[0]).slice(headerLen + 8), pattern(3));
  });

  Deno.test(`${name}: head-to-head, uplink down for 5 s: the same maps go on when it is back`, async () => {
    await using story = await family.tell();
    const conv = story.there.conv("udp", "announce 7", "headers");
    const echo = () => {
      story.guest.send(udp({ payload: pattern(9) }));
      advance(story.host, 20);
      for (let block = conv.bread(); block !== null; block = conv.bread()) conv.bwrite(block.bytes().slice());
      advance(story.host, 20);
      return story.guest.packets().length;
    };
    assertEquals(echo(), 1);
    const before = story.command("json maps");
    story.user.command("/net/ipifc/1/ctl", `remove ${host} ${is6 ? "/64" : "255.255.255.0"}`);
    for (let i = 0; i < 50; i++) {
      story.guest.send(udp());
      advance(story.host, 100);
    }
    story.user.command("/net/ipifc/1/ctl", `add ${host} ${is6 ? "/64" : "/24"}`);
    story.guest.packets();
    assertEquals(echo(), 1);
    assertEquals(before.includes('"4000"') || before.includes("!4000"), true);
    assertEquals(story.stat("mapsMade"), 1);
  });

  Deno.test(`${name}: random frames of a guest and random packets of the network end nothing`, async () => {
    const outwards = fc.oneof(
      ...[
        udp({ payload: pattern(40) }),
        udp({ dst: router }),
        family.echo(),
        family.error(codes.port, udp(), { src: guest, dst: remote }),
        pieces(udp({ payload: pattern(100) }), 8)[0]!,
      ].map(damaged),
    );
    const step = fc.tuple(outwards, fc.uint8Array({ maxLength: 80 }), fc.nat(2000));
    const options = {
      forwards: [family.forward("udp", 8053, 53), family.forward("tcp", 22, 22)],
      nat: { guestCaps: { udp: 8, icmp: 4 } },
    };
    await fc.assert(
      fc.asyncProperty(sequences(step), async (steps) => {
        await using story = await family.tell(options);
        for (const [packet, frame, later] of steps) {
          story.guest.send(packet);
          story.guest.sendFrame(frame);
          advance(story.host, later);
          story.guest.frames();
          const { table } = story.program.nat;
          // A damaged source may be another address of the link: a guest with limits of its own.
          for (const { counts } of table.guests) assert(counts[0]! <= 8 && counts[2]! <= 4);
          assertEquals(story.program.sockets.openCount, table.count() + 2);
        }
        story.there.conv("udp", `connect ${host}!8053`).bwrite(pattern(3));
        advance(story.host, 20);
        assert(story.guest.packets().length >= 1);
      }),
      fuzzSteps(200),
    );
  });

  Deno.test(`${name}: a forward goes away at once while its packets come, and another takes its place`, async () => {
    await using story = await family.tell({ forwards: [family.forward("udp", 1000, 1000)] });
    const conv = story.user.conv("udp", `connect ${loopback}!1000 9`);
    let frames = 0;
    story.guest.receive = () => {
      if (frames++ === 0) {
        story.program.command(`remove ${family.forward("udp", 1000, 1000)}`);
        story.program.command(`add ${family.forward("udp", 1001, 1000)}`);
      }
    };
    const writer = new Job(story.host.clock.jobs, () => {
      for (let i = 0; i < 5; i++) conv.bwrite(pattern(1));
    });
    writer.wake();
    story.host.clock.jobs.run();
    assertEquals([frames, story.program.sockets.openCount], [1, 1]);
    story.user.conv("udp", `connect ${loopback}!1001 9`).bwrite(pattern(1));
    assertEquals(frames, 2);
  });

  Deno.test(`${name}: 100 programs of the guest ping at once, and every one has its answer`, async () => {
    await using story = await family.tell({ boot: { cable: { delayMs: 5 } } });
    story.guest.ask(family.echo({ srcPort: 999 }));
    advance(story.host, 100);
    story.guest.packets();
    for (let id = 1000; id < 1100; id++) story.guest.send(family.echo({ srcPort: id }));
    assertEquals(story.guest.packets(), []);
    advance(story.host, 20);
    const ids = story.guest.packets().map((packet) => get16(packet, headerLen + 4));
    assertEquals(ids.sort((a, b) => a - b), Array.from({ length: 100 }, (_, i) => 1000 + i));
  });

  Deno.test(`${name}: the host has a conversation for each map that a guest may have, of every protocol`, async () => {
    await using story = await family.tell();
    const { udp: maps, icmp } = GUEST_CAPS;
    for (let i = 0; i < maps; i++) {
      story.program.fromGuest(framed(udp({ srcPort: 2000 + i })));
      story.program.fromGuest(framed(family.tcp({ srcPort: 2000 + i })));
      if (i < icmp) story.program.fromGuest(framed(family.echo({ srcPort: 2000 + i })));
      if (i % 1000 === 0) advance(story.host, 10);
    }
    assertEquals(countersOf(story, "maps-udp", "maps-tcp", "maps-icmp", "mapsEvicted"), [maps, maps, icmp, 0]);
    assertEquals(story.program.sockets.openCount, 2 * maps + icmp);
    // The host's own programs still get theirs.
    assertEquals(story.user.conv("udp", "announce 600").dir.startsWith("/net/udp/"), true);
  });

  Deno.test(`${name}: a limit that is met is said at once, and then once a minute in sum`, async () => {
    await using story = await family.tell({ nat: { guestCaps: { udp: 4 } } });
    for (let i = 0; i < 10; i++) story.guest.send(udp({ srcPort: 4000 + i }));
    advance(story.host, 1);
    for (let i = 0; i < 20; i++) story.guest.send(udp({ srcPort: 5000 + i }));
    advance(story.host, 59_000);
    assertEquals(story.said, [`limits met: 6 other maps ended for new ones; the last: udp of ${ip(guest)}`]);
    advance(story.host, 1000);
    assertEquals(story.said.slice(1), [`limits met: 20 other maps ended for new ones; the last: udp of ${ip(guest)}`]);
    advance(story.host, 3_600_000);
    assertEquals(story.said.length, 2);
  });
}
