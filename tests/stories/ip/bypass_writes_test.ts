/** Packets of a bypass user: its header policy, fragments, batches, refusals, metadata, and the errors about them. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { Block, Checksum, Segment } from "../../../kernel/block.ts";
import { AGAIN } from "../../../kernel/sys.ts";
import { put16 } from "../../../kernel/wire/bytes.ts";
import { echoPacket, icmpErrorPacket, ipPacket, pattern, PEER, udpPacket, US } from "../../kit/ip/ip_fixture.ts";
import { errnoOf, errorOf, meet, tell } from "../../kit/ip/story.ts";
import { headerOf } from "../../kit/ip/packets.ts";
import { dataOf, fixed, payloadOf } from "../../kit/ip/packet_parts.ts";

/** A packet that a bypass user of port 7 at US may send to PEER. */
function outgoing(options: Parameters<typeof udpPacket>[0] = {}): Uint8Array {
  return udpPacket({ src: US, dst: PEER, srcPort: 7, dstPort: 9, payload: pattern(20), ...options });
}

// --- what is written ---

Deno.test("header policy: `keep` sends the writer's fields, `kernel` ours, and both a right checksum", async () => {
  await using world = await meet();
  const held = world.user.conv("udp", "bypass 7");
  const there = world.peer.conv("udp", "bypass 9");
  const packet = outgoing({ ttl: 2, tos: 0xba, id: 999, options: new Uint8Array([0x94, 4, 0, 0]) });
  packet[10]! ^= 0xff;
  held.bwrite(packet);
  assertEquals(there.take(), fixed(packet.slice()));
  held.command("bypass-header kernel");
  held.bwrite(packet);
  const { ttl, tos, id, dontFragment, options, payloadLen } = headerOf(there.take());
  assertEquals([ttl, tos, dontFragment, options.length, payloadLen], [255, 0, true, 4, 28]);
  assert(id !== 999);
});

Deno.test("what is too large goes in fragments with one id, unless the writer said not to", async () => {
  await using world = await meet();
  const held = world.user.conv("udp", "bypass 7");
  const there = world.peer.conv("udp", "bypass 9");
  for (const id of [0, 77]) {
    held.bwrite(outgoing({ payload: pattern(5000), id }));
    const ids = new Set(world.wire.sent().map((piece) => headerOf(piece).id));
    assertEquals([ids.size, ids.has(77)], [1, id === 77]);
    assertEquals(dataOf(there.take()), pattern(5000));
  }
  const refusal = errorOf(() => held.bwrite(outgoing({ payload: pattern(5000), dontFragment: true })));
  assertEquals([refusal.code, refusal.length, held.status("toobig")], ["EMSGSIZE", 1500, 1]);
  assertMatch(refusal.message, /MTU 1500/);
});

/** Writes that are refused: the counter, the errno, and the bytes. */
function refusedWrites(): [string, string, Uint8Array][] {
  const changed = (at: number, value: number) => {
    const packet = outgoing();
    packet[at] = value;
    return packet;
  };
  const longer = new Uint8Array([...outgoing(), 0]);
  return [
    ["short", "EINVAL", new Uint8Array(0)],
    ["short", "EINVAL", outgoing().subarray(0, 19)],
    ["version", "EINVAL", changed(0, 0x55)],
    ["version", "EINVAL", changed(0, 0x00)],
    ["header", "EINVAL", changed(0, 0x44)],
    ["header", "EINVAL", changed(0, 0x4f)],
    ["length", "EINVAL", longer],
    ["length", "EINVAL", outgoing().subarray(0, 40)],
    ["length", "EINVAL", changed(3, 47)],
    ["ttl", "EINVAL", changed(8, 0)],
    ["fragment", "EPERM", outgoing({ moreFragments: true })],
    ["fragment", "EPERM", outgoing({ fragOffset: 8 })],
    ["protocol", "EPERM", changed(9, 6)],
    ["source", "EPERM", outgoing({ src: "10.0.0.3" })],
    ["source", "EPERM", outgoing({ src: PEER })],
    ["source", "EPERM", outgoing({ src: "10.0.0.255" })],
    ["source", "EPERM", outgoing({ src: "127.0.0.1" })],
    ["source", "EPERM", outgoing({ src: "0.0.0.0" })],
    ["port", "EPERM", outgoing({ srcPort: 8 })],
    ["port", "EPERM", ipPacket({ src: US, dst: PEER, protocol: 17, payload: pattern(7) })],
    ["port", "EPERM", echoPacket({ src: US, dst: PEER })],
    ["port", "EPERM", icmpErrorPacket({ type: 3, code: 3, packet: udpPacket({ dstPort: 8 }) }, { src: US, dst: PEER })],
    ["noroute", "EHOSTUNREACH", outgoing({ dst: "203.0.113.1" })],
    ["toobig", "EMSGSIZE", outgoing({ payload: pattern(1473), dontFragment: true })],
  ];
}

Deno.test("every refusal has its errno and counter, sends nothing, and leaves the block to its writer", async () => {
  await using world = await meet();
  const held = world.user.conv("udp", "bypass 7");
  for (const [counter, errno, bytes] of refusedWrites()) {
    const before = held.status(counter);
    const block = Block.from(bytes);
    assertEquals(errnoOf(() => held.bwrite(block)), errno, counter);
    assertEquals([block.bytes(), held.status(counter) - before], [bytes, 1], counter);
    assertEquals(errnoOf(() => held.bwrite(bytes)), errno);
  }
  assertEquals([world.wire.sent(), held.status("out")], [[], 0]);
});

Deno.test("in a batch the good ones go, and the error is that of the first alone", async () => {
  await using world = await meet();
  const { sys } = world.user.proc;
  const held = world.user.conv("udp", "bypass 7");
  world.peer.conv("udp", "bypass 9");
  const bad = outgoing({ srcPort: 8 });
  assertEquals(sys.blockwritev(held.data, [outgoing(), outgoing(), bad, outgoing()]), 2);
  assertEquals(errnoOf(() => sys.blockwritev(held.data, [bad, outgoing()])), "EPERM");
  assertEquals([world.wire.sent().length, sys.blockreadv(held.data, 4)], [2, AGAIN]);
});

Deno.test("checksum and segment metadata cannot change what was checked: ports, identifiers, lengths", async () => {
  await using story = await tell();
  const udp = story.user.conv("udp", "bypass 7", "offload on");
  const icmp = story.user.conv("icmp", "bypass 77", "offload on");
  const owed = (bytes: Uint8Array, field: number, segment: Segment = Segment.None) => {
    const block = Block.from(bytes);
    block.checksum = Checksum.Owed;
    block.checksumStart = block.rp + 20;
    block.checksumField = block.rp + 20 + field;
    block.segment = segment;
    block.segmentSize = 8;
    block.segmentHeaderLen = 28;
    return block;
  };
  const request = echoPacket({ src: US, dst: PEER, id: 77, data: pattern(40) });
  // A checksum that is written over the port, or over the identifier.
  for (const field of [0, 1, 2, 4, 7]) assertEquals(errnoOf(() => udp.bwrite(owed(outgoing(), field))), "EINVAL");
  assertEquals(errnoOf(() => icmp.bwrite(owed(request, 4))), "EINVAL");
  // A cutter that takes the identifier for a UDP length, or a UDP header for one of TCP.
  assertEquals(errnoOf(() => icmp.bwrite(owed(request, 2, Segment.Udp))), "EINVAL");
  assertEquals(errnoOf(() => udp.bwrite(owed(outgoing(), 6, Segment.Tcp4))), "EINVAL");
  assertEquals([story.wire.sent(), udp.status("offload"), icmp.status("offload")], [[], 6, 2]);
  const sum = outgoing();
  put16(sum, 26, 0);
  udp.bwrite(owed(sum, 6));
  udp.bwrite(owed(sum, 6, Segment.Udp));
  assertEquals(story.wire.sent().map((packet) => packet.length), [48, 36, 36, 32]);
});

// --- what comes back ---

Deno.test("ICMP errors about its packets are blocks on err, whole packets that quote the one in error", async () => {
  await using world = await meet();
  const held = world.user.conv("udp", "bypass 7");
  const packet = outgoing({ dstPort: 4242, ttl: 5, id: 31 });
  held.bwrite(packet);
  const error = held.error()!;
  const message = payloadOf(error);
  assertEquals([`${headerOf(error).src}`, message[0], message[1]], [PEER, 3, 3]);
  assertEquals([message.subarray(8), held.error(), held.bread()], [packet, null, null]);
  // An error about somebody else's packet is not for it.
  world.wire.inject(icmpErrorPacket({ type: 3, code: 3, packet: outgoing({ srcPort: 8 }) }));
  world.wire.inject(icmpErrorPacket({ type: 3, code: 3, packet: outgoing({ src: "10.0.0.9" }) }));
  assertEquals(held.error(), null);
});

Deno.test("a bypass user may refuse a packet itself: its ICMP error reaches the sender's conversation", async () => {
  await using world = await meet();
  const held = world.user.conv("udp", "bypass 7");
  const conv = world.peer.conv("udp", `connect ${US}!7`);
  conv.bwrite(pattern(9));
  const packet = held.take();
  held.bwrite(icmpErrorPacket({ type: 3, code: 3, packet }, { src: US, dst: PEER }));
  assertMatch(errorOf(() => conv.read()).message, /Connection refused/);
});
