/**
 * Bypass of tcp as DESIGN section 6 draws it, over two kernels on a cable: who gets a segment, what of it is changed
 * (nothing), what the kernel still says for the port (nothing), and what becomes of it all at the last close.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { Block, Checksum, Segment } from "../../../kernel/block.ts";
import { KernelError } from "../../../kernel/error.ts";
import { TapEvent } from "../../../kernel/fd_tap.ts";
import { Open } from "../../../kernel/qid.ts";
import {
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
  ICMP_UNREACHABLE_PORT,
  ICMP_UNREACHABLE_TOO_BIG,
} from "../../../kernel/wire/icmp.ts";
import { TCP_ACK, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN, TCP_URG, tcpHeaderLen } from "../../../kernel/wire/tcp.ts";
import { icmpErrorPacket, pattern, PEER, US } from "../../kit/ip/ip_fixture.ts";
import { advance, errnoOf, errorOf, meet, tell } from "../../kit/ip/story.ts";
import { headerOf } from "../../kit/ip/packets.ts";
import { payloadOf } from "../../kit/ip/packet_parts.ts";
import {
  accept,
  call,
  hear,
  PORT,
  say,
  segmentOf,
  stateOf,
  tcpAnswer,
  tcpPacket,
  textOf,
} from "../../kit/tcp/story.ts";

/** One segment of every kind that a TCP with a closed port would answer by a reset, or not at all. */
const KINDS = [TCP_SYN, TCP_ACK, TCP_SYN | TCP_ACK, TCP_FIN | TCP_ACK, TCP_FIN | TCP_PSH | TCP_URG, 0, TCP_RST];

// --- input ---

Deno.test("tcp bypass: the segments of another kernel come untouched, as whole packets, one a block", async () => {
  await using world = await meet();
  const held = world.user.conv("tcp", `bypass ${PORT}`);
  const conv = call(world.peer, `${US}!${PORT} 9`, "ttl 9", "tos 44");
  const wired = world.wire.sent();
  const packet = held.take();
  assertEquals([wired.length, packet], [1, wired[0]]);
  const { ttl, tos, dontFragment, src, dst } = headerOf(packet);
  assertEquals([ttl, tos, dontFragment, `${src}`, `${dst}`], [9, 44, true, PEER, US]);
  const { flags, options, window } = segmentOf(packet);
  assertEquals([flags, options.mss, options.sackPermitted, options.hasTimestamps], [TCP_SYN, 1460, true, true]);
  assert(window > 0 && options.windowScale > 0);
  // The kernel says nothing, so the caller asks again; and again a whole packet comes.
  advance(world.user.host, 1500);
  assertEquals([segmentOf(held.take()).flags, stateOf(conv), held.bread()], [TCP_SYN, "Syn_sent", null]);
});

Deno.test("tcp bypass: a connection made by hand over it is one to the other kernel, from SYN to FIN", async () => {
  await using world = await meet();
  const held = world.user.conv("tcp", `bypass ${PORT}`);
  const conv = call(world.peer, `${US}!${PORT} 9`);
  const syn = segmentOf(held.take());
  const from = syn.seq + 1;
  held.bwrite(tcpAnswer({ seq: 1000, ack: from, flags: TCP_SYN | TCP_ACK }));
  assertEquals([segmentOf(held.take()).ack, stateOf(conv)], [1001, "Established"]);
  say(conv, "hello");
  assertEquals(textOf(held.take()), "hello");
  const data = new TextEncoder().encode("HELLO");
  held.bwrite(tcpAnswer({ seq: 1001, ack: from + 5, flags: TCP_ACK | TCP_FIN | TCP_PSH, data }));
  assertEquals([hear(conv), hear(conv), stateOf(conv)], ["HELLO", "", "Close_wait"]);
  assertEquals(segmentOf(held.take()).ack, 1007);
  conv.close();
  const fin = segmentOf(held.take());
  held.bwrite(tcpAnswer({ seq: 1007, ack: from + 6, flags: TCP_ACK }));
  assertEquals([(fin.flags & TCP_FIN) !== 0, fin.ack, world.peer.stat("tcp", "EstabResets")], [true, 1007, 0]);
});

Deno.test("tcp bypass: what is no segment, or has a wrong checksum, never reaches the reader", async () => {
  await using story = await tell();
  const held = story.user.conv("tcp", `bypass ${PORT}`);
  const short = tcpPacket();
  short.set([0x40], 20 + 12); // a data offset of 4 words
  for (const bad of [tcpPacket({ checksum: 1 }), short, tcpPacket().fill(0xff, 32, 33)]) story.wire.inject(bad);
  assertEquals([held.bread(), story.user.stat("tcp", "InErrs"), story.wire.sent()], [null, 3, []]);
  story.wire.inject(tcpPacket());
  assertEquals([held.take(), story.user.stat("tcp", "InBypassed")], [tcpPacket(), 1]);
});

Deno.test("tcp bypass: no reset is sent for the claimed port, read or not; for another port it is", async () => {
  await using story = await tell();
  const held = story.user.conv("tcp", `bypass ${PORT}`, "rqlimit 1");
  for (const flags of KINDS) story.wire.inject(tcpPacket({ flags }));
  assertEquals(story.wire.sent(), []);
  assertEquals([held.status("in"), held.status("drops"), story.user.stat("tcp", "OutRsts")], [1, KINDS.length - 1, 0]);
  for (const flags of KINDS) story.wire.inject(tcpPacket({ flags, dstPort: PORT + 1 }));
  const resets = story.wire.sent().map((packet) => segmentOf(packet).flags & TCP_RST);
  assertEquals(resets, KINDS.filter((flags) => (flags & TCP_RST) === 0).map(() => TCP_RST));
});

Deno.test("tcp bypass: segments to a group or from no station arrive, too: the reader decides", async () => {
  await using story = await tell();
  const held = story.user.conv("tcp", `bypass ${PORT}`);
  story.wire.inject(tcpPacket({}, { dst: "10.0.0.255" }));
  assertEquals([`${headerOf(held.take()).dst}`, story.wire.sent()], ["10.0.0.255", []]);
});

// --- who gets what ---

Deno.test("tcp bypass: a connection keeps its segments; all others for its port are the claim's", async () => {
  await using world = await meet();
  const listener = world.peer.conv("tcp", "announce 80");
  const conv = call(world.user, `${PEER}!80 ${PORT}`);
  const far = accept(listener);
  const held = world.user.conv("tcp", `bypass ${PORT}`);
  say(far, "still yours");
  assertEquals([hear(conv), held.bread()], ["still yours", null]);
  const stranger = call(world.peer, `${US}!${PORT} 81`);
  assertEquals([segmentOf(held.take()).srcPort, stateOf(stranger)], [81, "Syn_sent"]);
  stranger.close();
  // It keeps them until it is over, TIME-WAIT and all.
  conv.close();
  assertEquals(hear(far), "");
  far.close();
  assertEquals([stateOf(conv), held.bread()], ["Time_wait", null]);
  advance(world.user.host, 61_000);
  world.wire.inject(tcpPacket({ srcPort: 80, flags: TCP_ACK }));
  assertEquals(segmentOf(held.take()).srcPort, 80);
});

Deno.test("tcp bypass: a conversation with the address wins over one without, announced or bypassed", async () => {
  await using world = await meet();
  const any = world.user.conv("tcp", "bypass 3999-4001");
  const own = world.user.conv("tcp", `announce ${US}!${PORT}`);
  const conv = call(world.peer, `${US}!${PORT}`);
  assertEquals([stateOf(conv), stateOf(accept(own)), any.bread()], ["Established", "Established", null]);
  own.close();
  const second = world.user.conv("tcp", `bypass ${US}!${PORT}`);
  call(world.peer, `${US}!${PORT}`);
  assertEquals([segmentOf(second.take()).flags, any.bread()], [TCP_SYN, null]);
});

Deno.test("tcp bypass: a range holds each of its ports, and its status line reports what came", async () => {
  await using story = await tell();
  const held = story.user.conv("tcp", "bypass 4000-4009");
  for (const port of [3999, 4000, 4009, 4010]) story.wire.inject(tcpPacket({ dstPort: port }));
  assertEquals([segmentOf(held.take()).dstPort, segmentOf(held.take()).dstPort, held.bread()], [4000, 4009, null]);
  assertEquals(story.wire.sent().map((packet) => segmentOf(packet).srcPort), [3999, 4010]);
  held.bwrite(tcpAnswer({ srcPort: 4009 }));
  assertEquals(errnoOf(() => held.bwrite(tcpAnswer({ srcPort: 4010 }))), "EPERM");
  story.wire.inject(tcpPacket({ dstPort: 4005 }));
  assertEquals(held.text("local"), "::!4000-4009\n");
  const status = held.text("status");
  assertMatch(status, /^Bypassed local ::!4000-4009 header keep offload off qin 40 blocks 1 limit 67108864 in 3 /);
  assertMatch(status, / drops 0 out 1 refused .* port 1 noroute 0 toobig 0\n$/);
  for (const local of ["4000", "4009", "4005-4020", "1-65535"]) {
    for (const verb of ["bypass", "announce"]) {
      if (verb === "announce" && local.includes("-")) continue;
      assertMatch(errorOf(() => story.user.conv("tcp", `${verb} ${local}`)).message, /tcp\/0 of eve has bypassed it/);
    }
  }
});

// --- output ---

Deno.test("tcp bypass: only a tcp packet from our address and the claimed port leaves, as it was written", async () => {
  await using story = await tell();
  const held = story.user.conv("tcp", `bypass ${PORT}`);
  const packet = tcpAnswer({ flags: TCP_SYN }, { ttl: 3, tos: 0x11, id: 77 });
  held.bwrite(packet);
  assertEquals(story.wire.one(), packet);
  const refused = [
    tcpAnswer({ srcPort: PORT + 1 }),
    tcpAnswer({}, { src: "10.0.0.9" }),
    tcpAnswer({}, { protocol: 17 }),
    tcpAnswer({}, { moreFragments: true }),
    tcpAnswer({}, { payload: new Uint8Array(19) }),
  ];
  for (const bad of refused) assertEquals(errnoOf(() => held.bwrite(bad)), "EPERM");
  for (const bad of [packet.subarray(0, 30), new Uint8Array(0)]) {
    assertEquals(errnoOf(() => held.bwrite(bad)), "EINVAL");
  }
  assertEquals(story.wire.sent(), []);
  held.command("bypass-header kernel");
  held.bwrite(packet.slice());
  const { ttl, tos, dontFragment, id } = headerOf(story.wire.one());
  assertEquals([ttl, tos, dontFragment, id === 77], [255, 0, true, false]);
});

Deno.test("tcp bypass: with offload on, 64 KiB cross two kernels as one block, and are cut for the wire", async () => {
  await using world = await meet();
  const held = world.user.conv("tcp", `bypass ${PORT}`, "offload on");
  const data = pattern(50_000);
  const packet = tcpAnswer({ seq: 7, flags: TCP_ACK | TCP_PSH, data });
  const block = Block.from(packet.slice());
  block.checksum = Checksum.Owed;
  block.checksumStart = block.rp + 20;
  block.checksumField = block.rp + 36;
  block.segment = Segment.Tcp4;
  block.segmentSize = 1460;
  block.segmentHeaderLen = 40;
  held.bwrite(block);
  const pieces = world.wire.sent().filter((one) => `${headerOf(one).src}` === US);
  assertEquals(pieces.length, Math.ceil(50_000 / 1460));
  let at = 0;
  for (const piece of pieces) {
    assertEquals(segmentOf(piece).seq, 7 + at);
    at += payloadOf(piece).length - tcpHeaderLen(payloadOf(piece), 0);
  }
  assertEquals(at, data.length);
});

Deno.test("tcp bypass: errors come from the write where they are known, else as ICMP on err", async () => {
  await using story = await tell({ address: "10.0.0.1/24" });
  const held = story.user.conv("tcp", `bypass ${PORT}`);
  const large = tcpAnswer({ flags: TCP_ACK, data: pattern(1500) }, { dontFragment: true });
  const tooBig = errorOf(() => held.bwrite(large));
  assertEquals([tooBig.code, tooBig.length], ["EMSGSIZE", 1500]);
  const sent = tcpAnswer({ flags: TCP_ACK, data: pattern(900) }, { dontFragment: true });
  const events = story.user.tap(held.data, TapEvent.Error | TapEvent.Hangup);
  for (
    const [type, code] of [
      [ICMP_UNREACHABLE, ICMP_UNREACHABLE_TOO_BIG],
      [ICMP_TIME_EXCEEDED, 0],
      [ICMP_UNREACHABLE, ICMP_UNREACHABLE_PORT],
    ] as const
  ) {
    held.bwrite(sent.slice());
    const error = icmpErrorPacket({ type, code, rest: 576, packet: story.wire.one() }, { src: "10.0.0.254" });
    story.wire.inject(error);
    const told = held.error()!;
    assertEquals([told[20], told[21], `${headerOf(told).src}`], [type, code, "10.0.0.254"]);
    assertEquals(events.poll()?.events, TapEvent.Error);
  }
  // None of them ended it.
  held.bwrite(sent);
  assertEquals(story.wire.sent().length, 1);
  story.user.command("/net/iproute", "remove 0.0.0.0 /0");
  assertEquals(errnoOf(() => held.bwrite(tcpAnswer({}, { dst: "192.0.2.1" }))), "EHOSTUNREACH");
});

// --- one way, and back ---

Deno.test("tcp bypass: it is for idle conversations, once; and no verb of tcp reaches it", async () => {
  await using world = await meet();
  const held = world.user.conv("tcp", `bypass ${PORT}`);
  for (const verb of ["bypass 4001", "announce 4001", `connect ${PEER}!80`, "bind 4001"]) {
    assertEquals(errnoOf(() => held.command(verb)), "EBUSY", verb);
  }
  for (const verb of ["hangup", "keepalive", "nodelay on", "congestion newreno", "usertimeout 5000", "checksum on"]) {
    assertEquals(errnoOf(() => held.command(verb)), "EINVAL", verb);
  }
  assertEquals(errnoOf(() => world.user.open(`${held.dir}/listen`)), "EFAIL");
  const listener = world.peer.conv("tcp", "announce 80");
  const busy = [listener, call(world.peer, `${US}!${PORT}`), call(world.peer, `${PEER}!80`)];
  for (const conv of busy) assertEquals(errnoOf(() => conv.command("bypass 4002")), "EBUSY");
  assertMatch(held.text("status"), /^Bypassed local ::!4000 /);
  assertEquals(segmentOf(held.take()).flags, TCP_SYN);
});

Deno.test("tcp bypass: the last close undoes it: resets again, a free port, a stream again", async () => {
  await using world = await meet();
  const { user, peer, wire } = world;
  const slots = () => user.slots("tcp");
  for (let i = 0; i < 3; i++) {
    const held = user.conv("tcp", `bypass ${PORT}`);
    const first = call(peer, `${US}!${PORT}`);
    assertEquals(stateOf(first), "Syn_sent");
    held.close();
    advance(user.host, 1500);
    assertEquals(errorOf(() => first.command("connect")).code, "EINVAL");
    assertEquals(stateOf(first), "Closed");
    first.close();
    wire.sent();
    const listener = user.conv("tcp", `announce ${PORT}`);
    const conv = call(peer, `${US}!${PORT}`);
    const taken = accept(listener);
    say(conv, "a stream");
    assertEquals([listener.dir, hear(taken)], [held.dir, "a stream"]);
    for (const one of [conv, taken, listener]) one.close();
    advance(user.host, 61_000);
  }
  assertEquals([slots(), user.host.ip.stack(0).space(user.host.ip.stack(0).protoNamed("tcp")!).table.length], [2, 0]);
});

Deno.test("tcp bypass: a tap and a reader from before it get the first packet", async () => {
  await using world = await meet();
  const { proc } = world.user;
  const conv = world.user.conv("tcp");
  const data = await proc.open(`${conv.dir}/data`, Open.ReadWrite);
  const events = world.user.tap(data, TapEvent.Readable);
  const reading = proc.blockread(data);
  await Promise.resolve();
  conv.command(`bypass ${PORT}`);
  await Promise.resolve();
  world.wire.inject(tcpPacket());
  assertEquals((await reading)!.bytes(), tcpPacket());
  assertEquals(events.poll()?.events, TapEvent.Readable);
  const second = proc.blockread(data);
  conv.close();
  await proc.close(data);
  assertEquals((await assertRejects(() => second, KernelError)).code, "EBADF");
});

Deno.test("tcp bypass: a slot that was bypassed is closed, and as good as new to its next user", async () => {
  await using world = await meet();
  const held = world.user.conv("tcp", `bypass ${PORT}`);
  const { dir } = held;
  held.close();
  assertEquals(world.user.text(`${dir}/status`).split(" ")[0], "Closed");
  const listener = world.user.conv("tcp", `announce ${PORT}`);
  assertEquals(listener.dir, dir);
  const conv = call(world.peer, `${US}!${PORT}`);
  say(conv, "hello");
  assertEquals(hear(accept(listener)), "hello");
  world.user.conv("tcp", "bypass 81").close();
  world.user.conv("tcp", "bypass 81");
});
