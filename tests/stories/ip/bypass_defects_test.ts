/** The defects 1 to 8 of the reference: bypass, and calls on blocks. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { Block, Checksum } from "../../../kernel/block.ts";
import { TapEvent } from "../../../kernel/fd_tap.ts";
import { put16 } from "../../../kernel/wire/bytes.ts";
import { icmpNextHopMtu, icmpType } from "../../../kernel/wire/icmp.ts";
import { ipv4ChecksumOk } from "../../../kernel/wire/ipv4.ts";
import { echoPacket, icmpErrorPacket, ipPacket, pattern, PEER, udpPacket, US } from "../../kit/ip/ip_fixture.ts";
import { errnoOf, errorOf, tell } from "../../kit/ip/story.ts";
import { fixed, fragmentsOf, payloadOf } from "../../kit/ip/packet_parts.ts";

/** A udp packet from US to PEER, from port 7 unless told otherwise. */
function outgoing(options: Parameters<typeof udpPacket>[0] = {}): Uint8Array {
  return udpPacket({ src: US, dst: PEER, srcPort: 7, dstPort: 9, payload: pattern(20), ...options });
}

Deno.test("defect 1: a bypass writer cannot send from another address, port or protocol", async () => {
  await using story = await tell();
  const conv = story.user.conv("udp", "bypass 7");
  const cases: [string, Uint8Array][] = [
    ["source", outgoing({ src: "10.0.0.99" })],
    ["source", outgoing({ src: "127.0.0.1" })],
    ["port", outgoing({ srcPort: 8 })],
    ["protocol", ipPacket({ src: US, dst: PEER, protocol: 6, payload: pattern(40) })],
    ["port", echoPacket({ src: US, dst: PEER })],
  ];
  for (const [counter, packet] of cases) {
    const before = conv.status(counter);
    assertEquals(errnoOf(() => conv.bwrite(packet)), "EPERM");
    assertEquals(conv.status(counter), before + 1);
  }
  assertEquals([story.wire.sent(), conv.status("out")], [[], 0]);
});

Deno.test("defect 2: TTL, TOS, id, DF and options of a bypass writer reach the wire as written", async () => {
  await using story = await tell();
  const conv = story.user.conv("udp", "bypass 7");
  for (const dontFragment of [true, false]) {
    const options = new Uint8Array([0x94, 4, 0, 0, 1, 1, 1, 0]);
    const packet = outgoing({ ttl: 1, tos: 0xb9, id: 0x1234, dontFragment, options });
    conv.bwrite(packet);
    assertEquals(story.wire.one(), packet);
  }
});

Deno.test("defect 3: a reassembled datagram is one block", async () => {
  await using story = await tell();
  const conv = story.user.conv("udp", "bypass 7");
  const packet = udpPacket({ dstPort: 7, payload: pattern(4000), id: 9 });
  for (const fragment of fragmentsOf(packet, 1480, 9).reverse()) story.wire.inject(fragment);
  assertEquals([conv.take(), conv.bread()], [packet, null]);
  assertEquals(story.host.clock.timerCount, 0);
});

Deno.test("defect 4: link padding is trimmed, a wrong total length refused, the header checksum is right", async () => {
  await using story = await tell();
  const conv = story.user.conv("udp", "bypass 7");
  const packet = udpPacket({ dstPort: 7, payload: pattern(1), options: new Uint8Array([1, 1, 1, 0]) });
  story.wire.inject(packet);
  const got = conv.take();
  assertEquals(got, packet);
  assert(ipv4ChecksumOk(got, 0));
  for (const totalLen of [0, 19, 23, 200]) {
    const wrong = packet.slice();
    put16(wrong, 2, totalLen);
    story.wire.inject(fixed(wrong));
  }
  assertEquals([conv.bread(), story.user.stat("ipifc", "InBadTotalLen")], [null, 4]);
});

Deno.test("defect 5: block calls keep messages, report what did not fit, batch, and can show offloads", async () => {
  await using story = await tell();
  const { user, wire } = story;
  const { sys } = user.proc;
  const conv = user.conv("udp", "bypass 7");
  const packets = [0, 1, 100].map((length) => udpPacket({ dstPort: 7, payload: pattern(length) }));
  for (const packet of packets) wire.inject(packet);
  assertEquals(errorOf(() => sys.blockread(conv.data, 20)).length, 28);
  const blocks = sys.blockreadv(conv.data, 10) as Block[];
  assertEquals(blocks.map((block) => block.bytes().slice()), packets);
  const out = [1, 2, 3].map((length) => outgoing({ payload: pattern(length) }));
  assertEquals(sys.blockwritev(conv.data, out), 3);
  assertEquals(wire.sent(), out);
  // To ourselves, the checksum is never computed: who asks for offloads sees that it is owed.
  const sender = user.conv("udp", `connect ${US}!7`);
  sender.bwrite(pattern(10));
  assertEquals([conv.bread()!.checksum], [Checksum.None]);
  conv.command("offload on");
  sender.bwrite(pattern(10));
  assertEquals(conv.bread()!.checksum, Checksum.Owed);
});

Deno.test("defect 6: a bypass writer learns of no route, of too big with the MTU, and of ICMP errors", async () => {
  await using story = await tell();
  const { user, wire } = story;
  const conv = user.conv("udp", "bypass 7");
  const big = errorOf(() => conv.bwrite(outgoing({ payload: pattern(1473), dontFragment: true })));
  assertEquals([big.code, big.length], ["EMSGSIZE", 1500]);
  const packet = outgoing({ dst: "192.0.2.9" });
  conv.bwrite(packet);
  wire.frames();
  const error = icmpErrorPacket({ type: 3, code: 4, rest: 1400, packet }, { src: "192.0.2.1" });
  wire.inject(error);
  assertEquals([conv.error(), conv.error()], [error, null]);
  assertEquals(icmpNextHopMtu(payloadOf(error), 0), 1400);
  user.command("/net/iproute", "flush");
  assertEquals(errnoOf(() => conv.bwrite(packet)), "EHOSTUNREACH");
});

Deno.test("defect 7: bypass is for idle conversations, taps survive it, and close undoes it wholly", async () => {
  await using story = await tell();
  const { user, wire } = story;
  for (const busy of [`connect ${PEER}!9`, "announce 70", "bypass 71"]) {
    const conv = user.conv("udp", busy);
    assertEquals(errnoOf(() => conv.command("bypass 72")), "EBUSY");
  }
  const conv = user.conv("udp");
  const events = conv.tap(TapEvent.Readable);
  conv.command("bypass 7");
  for (const verb of ["bypass 7", "bind 8", `connect ${PEER}!9`, "announce 8"]) {
    assertEquals(errnoOf(() => conv.command(verb)), "EBUSY");
  }
  wire.inject(udpPacket({ dstPort: 7 }));
  assertEquals(events.poll()?.events, TapEvent.Readable);
  // What is refused is still the writer's, whole.
  const block = Block.from(outgoing({ srcPort: 8 }));
  assertEquals(errnoOf(() => conv.bwrite(block)), "EPERM");
  assertEquals(block.bytes(), outgoing({ srcPort: 8 }));
  const entries = story.stack.space(story.stack.protoNamed("udp")!).table.length;
  conv.close();
  assertEquals(story.stack.space(story.stack.protoNamed("udp")!).table.length, entries - 1);
  wire.inject(udpPacket({ dstPort: 7 }));
  assertEquals(icmpType(payloadOf(wire.one()), 0), 3);
});

Deno.test("defect 8: identifiers, ranges and protocols can be bypassed, with limit, counters, status", async () => {
  await using story = await tell();
  const { user, wire } = story;
  const id = user.conv("icmp", "bypass 77");
  wire.inject(echoPacket({ id: 77 }));
  assertEquals([id.take(), wire.sent()], [echoPacket({ id: 77 }), []]);
  const range = user.conv("udp", "bypass 1000-1999");
  for (const dstPort of [999, 1000, 1999, 2000]) wire.inject(udpPacket({ dstPort }));
  assertEquals([range.take()[23], range.take()[23], range.bread()], [0xe8, 0xcf, null]);
  const gre = user.conv("raw", "bypass 47");
  wire.inject(ipPacket({ protocol: 47, payload: pattern(9) }));
  assertEquals(gre.take().length, 29);
  range.command("rqlimit 100");
  for (let i = 0; i < 6; i++) wire.inject(udpPacket({ dstPort: 1500 }));
  assertEquals([range.status("blocks"), range.status("drops"), range.status("limit")], [4, 2, 100]);
  assertMatch(range.text("status"), /^Bypassed local ::!1000-1999 header keep .* refused short 0 /);
});
