/**
 * The defects of the original's NAT that are about its whole (akaros.md sections 10 and 11, 17 to 33), as tests named
 * after them; others stand beside the file that they are about: `grep -r "akaros 2" tests tools`.
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { getRecord, HeaderMode } from "../../../devices/ip/udp/udp_headers.ts";
import { Block } from "../../../kernel/block.ts";
import { type FramePort, NO_OFFLOADS } from "../../../kernel/host.ts";
import { SeededRandom } from "../../../kernel/random.ts";
import { emitEthernet, ETHERTYPE_IPV4 } from "../../../kernel/wire/ethernet.ts";
import { boot } from "../../../tools/boot/boot.ts";
import { GUEST_MACS, HOST_MAC } from "../../../tools/nat/config.ts";
import type { FamilyPacket } from "../../kit/nat/families.ts";
import { endsOf } from "../../kit/nat/steps.ts";
import { startGuestNetwork } from "../../../tools/vmm/vm.ts";
import { echoPacket, pattern, udpPacket } from "../../kit/ip/ip_fixture.ts";
import { advance } from "../../kit/ip/story.ts";
import { dataOf } from "../../kit/ip/packet_parts.ts";
import { askDhcp, GUEST, HOST, must, REMOTE, ROUTER, tellNat } from "../../kit/nat/nat.ts";
import { STORY_FAMILIES } from "../../kit/nat/story_families.ts";

const udp = (options: Parameters<typeof udpPacket>[0] = {}) =>
  udpPacket({ src: GUEST, dst: REMOTE, srcPort: 4000, dstPort: 7, ttl: 64, ...options });

Deno.test("akaros 10.3: the guest's MAC tells the style: 0b is qemu, 0c is real, and DHCP gives that", async () => {
  assertEquals([`${GUEST_MACS.qemu}`, `${GUEST_MACS.real}`], ["00:01:02:03:04:0b", "00:01:02:03:04:0c"]);
  const real = { style: "real", subnet: "10.0.0.0/24", router: "10.0.0.254" } as const;
  for (const [nat, addr, router] of [[{}, GUEST, ROUTER], [real, HOST, "10.0.0.254"]] as const) {
    await using story = await tellNat({ nat });
    const { config } = story.program.nat;
    // What a card is made with unless it has a MAC of its own: known before the guest has said a word.
    assertEquals(`${config.guestMac}`, `${GUEST_MACS[config.style]}`);
    const guest = config.style === "qemu" ? story.guest : story.addGuest(GUEST_MACS.real);
    const offer = must(askDhcp(guest, 1));
    assertEquals([`${offer.message.yiaddr}`, `${must(config.router)}`], [addr, router]);
    assertEquals(askDhcp(guest, 3, { requested: addr })?.type, 5);
    // In real style no other guest can have an address.
    if (config.style === "real") assertEquals(askDhcp(story.guest, 1), null);
  }
});

Deno.test("akaros 30: who observes the guest's link sees each frame whole and exactly", async () => {
  await using host = await boot();
  const got: Uint8Array[] = [];
  const seen: [string, Uint8Array][] = [];
  const card: FramePort = {
    kind: "frame",
    name: "card",
    mbps: 1000,
    link: true,
    offloads: NO_OFFLOADS,
    mtu: 1500,
    receive: null,
    mac: new Uint8Array(6),
    transmit: (frame) => (got.push(frame.bytes().slice()), frame.free(), true),
    close: () => {},
  };
  const network = startGuestNetwork({
    proc: host.spawn("nat"),
    clock: host.clock,
    random: new SeededRandom(1),
    card,
    nat: { hostAddr: `${HOST}/24` },
    observe: ({ point, direction, bytes }) => {
      if (point === "guest") seen.push([direction, bytes.slice()]);
    },
  });
  const sent = [0, 1, 17, 18, 500, 1458].map((size) => {
    const packet = echoPacket({ src: GUEST, dst: ROUTER, id: size, data: pattern(size) });
    const bytes = new Uint8Array(Math.max(60, 14 + packet.length));
    emitEthernet({ dst: HOST_MAC, src: GUEST_MACS.qemu, etherType: ETHERTYPE_IPV4 }, bytes, 0);
    bytes.set(packet, 14);
    return bytes;
  });
  for (const frame of sent) {
    // As a card's chain of buffers brings it: a first piece, and others that are only borrowed.
    const block = Block.from(frame.slice(0, 37));
    block.extents = [frame.slice(37, 41), frame.slice(41)];
    card.receive!(block);
    host.clock.jobs.run();
  }
  assertEquals(seen.filter(([direction]) => direction === "out").map(([, frame]) => frame), sent);
  const answers = seen.filter(([direction]) => direction === "in").map(([, frame]) => frame);
  assertEquals(answers, got);
  // The answer to a padded frame has no padding: it ends where its packet ends.
  assertEquals(answers.map((frame) => frame.length), [0, 1, 17, 18, 500, 1458].map((size) => 14 + 28 + size));
  answers.forEach((frame, i) => assertEquals(frame.slice(42), sent[i]!.slice(42, frame.length)));
  network.close();
});

Deno.test("akaros 33: real style: the host reaches its guest by its own address and all of 127/8", async () => {
  const nat = { style: "real", subnet: "10.0.0.0/24", router: "10.0.0.254" } as const;
  await using story = await tellNat({ nat, forwards: ["udp:8053:53"] });
  const guest = story.addGuest(GUEST_MACS.real);
  guest.send(udp({ src: HOST, dst: REMOTE }));
  for (const [i, to] of ["127.0.0.1", "127.0.0.9", "127.200.0.1", HOST].entries()) {
    const conv = story.user.conv("udp", `connect ${to}!8053 ${9000 + i}`);
    conv.bwrite(pattern(i));
    advance(story.host, 20);
    const asked = must(guest.packets().at(-1));
    assertEquals([endsOf(asked), dataOf(asked)], [`10.0.0.254:${9000 + i} > ${HOST}:53`, pattern(i)]);
    guest.send(udpPacket({ src: HOST, dst: "10.0.0.254", srcPort: 53, dstPort: 9000 + i, payload: pattern(5) }));
    advance(story.host, 20);
    assertEquals([to, conv.take()], [to, pattern(5)]);
  }
});

for (const family of STORY_FAMILIES) {
  const { name, is6, host, remote, guest, loopback, ends, codes } = family;
  const packet = (options: FamilyPacket = {}) => family.udp({ dstPort: 7, ...options });
  /** A forward of UDP to the guest, in the form in which the control channel shows it. */
  const forward = (hostPort: number, guestPort: number, bound?: string) => {
    if (is6) return family.forward("udp", hostPort, guestPort, bound);
    return `udp:${bound === undefined ? "" : `${bound}:`}${hostPort}:${guestPort}`;
  };

  Deno.test(`${name}: akaros 29: one map for one guest port, however fast packets come; no forward twice`, async () => {
    await using story = await family.tell();
    for (let i = 0; i < 50; i++) story.guest.send(packet({ dstPort: 7 + i }));
    story.guest.send(family.tcp());
    story.guest.send(family.tcp({ seq: 2 }));
    assertEquals([story.stat("maps-udp"), story.stat("maps-tcp"), story.stat("mapsMade")], [1, 1, 2]);
    assertMatch(story.command(`add ${forward(53, 53)}`), /^ok/);
    const again = story.command(`add ${forward(53, 53)}`);
    assertMatch(again, /^error: /);
    assertStringIncludes(again, ` the forward ${forward(53, 53)} has the port`);
    assertMatch(story.command(`add ${forward(53, 54, loopback)}`), /^error: /);
  });

  Deno.test(`${name}: akaros 28: the queue for a guest is bounded, and so are the errors that it gets`, async () => {
    await using story = await family.tell({ forwards: [forward(1000, 1000)] });
    const conv = story.there.conv("udp", `connect ${host}!1000 9`);
    // 5000 packets without the guest's taking any: nothing is kept in the NAT itself.
    for (let i = 0; i < 5000; i++) conv.bwrite(pattern(1));
    advance(story.host, 100);
    assertEquals(story.program.nat.frames.length, 0);
    assert(story.guest.packets().length <= 5000);
    const metadata = is6 ? "fd00:ec2::254" : "169.254.169.254";
    for (let i = 0; i < 500; i++) story.guest.send(packet({ dst: metadata }));
    const errors = story.guest.packets();
    assertEquals(errors.map((error) => error[family.headerLen + 1]), errors.map(() => codes.prohibited[1]));
    assertEquals([errors.length, story.stat("refused-icmp-rate")], [50, 450]);
  });

  Deno.test(`${name}: a service of UDP moves host → guest → host, at the same address and port`, async () => {
    await using story = await family.tell();
    const client = story.there.conv("udp", `connect ${host}!7000 1234`);
    const ask = (size: number) => {
      client.bwrite(pattern(size));
      advance(story.host, 20);
    };
    const serve = () => story.user.conv("udp", "announce 7000", "headers");
    for (const size of [1, 2]) {
      const server = serve();
      ask(size);
      const asked = must(server.bread()).bytes().slice();
      assertEquals([`${getRecord(HeaderMode.Headers, asked, 0).raddr}`, asked.length], [remote, 52 + size]);
      server.bwrite(asked);
      advance(story.host, 20);
      assertEquals(client.take(), pattern(size));
      assertMatch(story.command(`add ${forward(7000, 7000)}`), /^error: .*udp\/\d+ of eve/);
      server.close();
      if (size === 2) break;
      assertMatch(story.command(`add ${forward(7000, 7000)}`), /^ok/);
      ask(30);
      assertEquals(endsOf(must(story.guest.packets()[0])), ends(remote, 1234, guest, 7000));
      story.guest.send(packet({ srcPort: 7000, dstPort: 1234, payload: pattern(31) }));
      advance(story.host, 20);
      assertEquals(client.take(), pattern(31));
      assertMatch(story.command(`remove ${forward(7000, 7000)}`), /^ok/);
    }
  });
}
