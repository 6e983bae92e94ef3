/**
 * Conformance: the observable sequences of the original (reference/akaros.md section 13) by their numbers, through
 * files and system calls; facts of its other sections are in conformance_stack_test. "Ours" marks where we differ on
 * purpose, as DESIGN or the issue say. Those that need TCP (the rest of 10, 12 to 14) or a NAT (18 to 20) are in other
 * files.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { TapEvent } from "../../../kernel/fd_tap.ts";
import { Open } from "../../../kernel/qid.ts";
import { AGAIN } from "../../../kernel/sys.ts";
import { ipv4ChecksumOk } from "../../../kernel/wire/ipv4.ts";
import { pattern, PEER, udpPacket, US } from "../../kit/ip/ip_fixture.ts";
import { errnoOf, errorOf, mac, tell, User } from "../../kit/ip/story.ts";
import { headerOf } from "../../kit/ip/packets.ts";

/** A udp packet that a bypass user of port 7 at US sends to PEER. */
function outgoing(options: Parameters<typeof udpPacket>[0] = {}): Uint8Array {
  return udpPacket({ src: US, dst: PEER, srcPort: 7, dstPort: 9, payload: pattern(12), ...options });
}

Deno.test("1: a new conversation reads as its number, once, and reports an empty status and no ends", async () => {
  await using story = await tell();
  const ctl = story.user.open("/net/udp/clone", Open.ReadWrite);
  assertEquals(story.user.readText(ctl), "0");
  assertEquals(story.user.readText(ctl), "");
  assertMatch(story.user.text("/net/udp/0/status"), /^Open qin 0 qout 0\b.*\n$/);
  assertEquals(story.user.text("/net/udp/0/local"), "::!0\n");
  assertEquals(story.user.text("/net/udp/0/remote"), "::!0\n");
});

Deno.test("2: bypass *!0 needs no permission, takes a free port, and yields to an announced address", async () => {
  await using story = await tell();
  const alice = new User(story.host, "alice");
  const held = alice.conv("udp", "bypass *!0");
  assertMatch(held.text("status"), /^Bypassed\b/);
  assertMatch(held.text("local"), /^::!\d+\n$/);
  const { port } = held;
  assert(port >= 5000 && port <= 65535, `port ${port} is in the automatic range`);
  assertEquals(errnoOf(() => alice.conv("udp", `announce *!${port}`)), "EFAIL");
  assertEquals(errnoOf(() => alice.conv("udp", `bypass ${port}`)), "EFAIL");
  const exact = story.user.conv("udp", "headers", `announce ${US}!${port}`);
  story.wire.inject(udpPacket({ dstPort: port, payload: pattern(3) }));
  assertEquals([exact.take().length, held.bread()], [52 + 3, null]);
  exact.close();
  story.wire.inject(udpPacket({ dstPort: port, payload: pattern(3) }));
  assertEquals(held.take().length, 31);
});

Deno.test("3: bypass *!* is eve's, and a bypass that is refused leaves the conversation idle", async () => {
  await using story = await tell();
  const alice = new User(story.host, "alice");
  assertEquals(errnoOf(() => alice.conv("udp", "bypass *!*")), "EPERM");
  const any = story.user.conv("udp", "bypass *!*");
  assert(any.port >= 5000);
  const conv = story.user.conv("udp");
  assertEquals(errnoOf(() => conv.command("bypass")), "EINVAL");
  assertEquals(errnoOf(() => conv.command("bypass 9.9.9.9!7")), "EFAIL");
  assertMatch(conv.text("status"), /^Open\b/);
  conv.command("bypass 7");
  assertMatch(conv.text("status"), /^Bypassed\b/);
  // Ours: an ICMP identifier can be claimed; what has no ports cannot.
  assertMatch(story.user.conv("icmp", "bypass 7").text("status"), /^Bypassed\b/);
  assertEquals(errnoOf(() => story.user.command("/net/ipifc/1/ctl", "bypass 7")), "EFAIL");
});

Deno.test("4: a padded datagram is one READABLE event and one read of (ours) its own length", async () => {
  await using story = await tell();
  const conv = story.user.conv("udp", "bypass 7");
  const events = conv.tap(TapEvent.Readable);
  assertEquals(conv.read(), null);
  const packet = udpPacket({ dstPort: 7, payload: pattern(6) });
  assertEquals(packet.length, 34);
  story.wire.inject(packet);
  assertEquals(events.poll(), { id: conv.data, events: TapEvent.Readable, data: undefined });
  assertEquals(events.poll(), null);
  assertEquals(conv.read(2000), packet);
  assertEquals(conv.read(), null);
});

Deno.test("5: events come on the edge from empty to not empty only", async () => {
  await using story = await tell();
  const conv = story.user.conv("udp", "bypass 7");
  const events = conv.tap(TapEvent.Readable);
  const deliver = () => {
    story.wire.inject(udpPacket({ dstPort: 7 }));
    return events.poll()?.events ?? 0;
  };
  assertEquals([deliver(), deliver()], [TapEvent.Readable, 0]);
  conv.take();
  assertEquals(deliver(), 0);
  assertEquals([conv.take().length, conv.take().length, conv.read()], [28, 28, null]);
  assertEquals(deliver(), TapEvent.Readable);
});

Deno.test("6: a short read loses the rest of a message; (ours) a short blockread reports its length", async () => {
  await using story = await tell();
  const conv = story.user.conv("udp", "bypass 7");
  const packet = udpPacket({ dstPort: 7, payload: pattern(6) });
  story.wire.inject(packet);
  assertEquals(conv.read(10), packet.subarray(0, 10));
  assertEquals(conv.read(), null);
  story.wire.inject(packet);
  const refusal = errorOf(() => conv.bread(10));
  assertEquals([refusal.code, refusal.length], ["EMSGSIZE", 34]);
  assertEquals(conv.take(), packet);
});

Deno.test("7: what the wire shows of a packet, with the kernel's header and (ours) with the writer's", async () => {
  await using story = await tell();
  const conv = story.user.conv("udp", "bypass 7");
  const packet = outgoing({ ttl: 3, tos: 0x10, id: 7 });
  assertEquals(packet.length, 40);
  conv.bwrite(packet);
  assertEquals(story.wire.one(), packet);
  const first = outgoing({ ttl: 3, tos: 0x10, id: 7, moreFragments: true });
  assertEquals(errnoOf(() => conv.bwrite(first)), "EPERM");
  conv.command("bypass-header kernel");
  conv.bwrite(first);
  const sent = story.wire.one();
  const { ttl, tos, id, dontFragment, moreFragments, totalLen, src } = headerOf(sent);
  assertEquals([ttl, tos, dontFragment, moreFragments, totalLen, `${src}`], [255, 0, true, false, 40, US]);
  assert(id !== 7, "the id is fresh");
  assert(ipv4ChecksumOk(sent, 0));
  assertEquals(sent.subarray(20), packet.subarray(20));
});

Deno.test("8: no packets are EINVAL; a destination without route is counted and (ours) told", async () => {
  await using story = await tell();
  const conv = story.user.conv("udp", "bypass 7");
  assertEquals(errnoOf(() => conv.bwrite(new Uint8Array([0x45, 0, 0]))), "EINVAL");
  assertEquals(errnoOf(() => conv.bwrite(new Uint8Array(40).fill(0x50, 0, 1))), "EINVAL");
  assertEquals(errnoOf(() => conv.bwrite(new Uint8Array(0))), "EINVAL");
  story.user.command("/net/iproute", "remove 0.0.0.0 /0");
  const before = story.user.stat("ipifc", "OutNoRoutes");
  assertEquals(errnoOf(() => conv.bwrite(outgoing({ dst: "192.0.2.1" }))), "EHOSTUNREACH");
  assertEquals(story.user.stat("ipifc", "OutNoRoutes"), before + 1);
  assertEquals(story.wire.sent(), []);
});

Deno.test("9: (ours) IP options that a writer sets stay options", async () => {
  await using story = await tell();
  const conv = story.user.conv("udp", "bypass 7");
  // Router alert (RFC 2113).
  const packet = outgoing({ options: new Uint8Array([0x94, 4, 0, 0]) });
  assertEquals(packet[0], 0x46);
  conv.bwrite(packet);
  assertEquals(story.wire.one(), packet);
});

Deno.test("10: a connection keeps its packets when its port is bypassed; all others are the bypass'", async () => {
  await using story = await tell();
  const connected = story.user.conv("udp", `connect ${PEER}!9`);
  const { port } = connected;
  const held = story.user.conv("udp", `bypass *!${port}`);
  story.wire.inject(udpPacket({ srcPort: 9, dstPort: port, payload: pattern(3) }));
  story.wire.inject(udpPacket({ srcPort: 10, dstPort: port, payload: pattern(4) }));
  assertEquals([connected.take(), connected.bread()], [pattern(3), null]);
  assertEquals([held.take().length, held.bread()], [32, null]);
});

Deno.test("11: the last close frees the slot and the port, and the status says Closed", async () => {
  await using story = await tell();
  const conv = story.user.conv("udp", "bypass 7");
  conv.close();
  assertMatch(story.user.text(`${conv.dir}/status`), /^Closed\b/);
  const next = story.user.conv("udp", "bypass 7");
  assertEquals(next.dir, conv.dir);
  assertMatch(next.text("status"), /^Bypassed\b/);
});

Deno.test("12: listen without a call is EAGAIN; a call is READABLE on its tap, and opening takes it", async () => {
  await using story = await tell();
  const { user, wire } = story;
  const conv = user.conv("udp", "announce *!80");
  const events = user.tap(user.open(`${conv.dir}/listen`, Open.Path), TapEvent.Readable);
  assertEquals(user.proc.sys.open(`${conv.dir}/listen`, Open.ReadWrite | Open.NonBlock), AGAIN);
  wire.inject(udpPacket({ srcPort: 9, dstPort: 80, payload: pattern(3) }));
  assertEquals(events.poll()?.events, TapEvent.Readable);
  const call = user.open(`${conv.dir}/listen`, Open.ReadWrite);
  assertEquals(user.readText(call), "1");
  assertMatch(user.text("/net/udp/1/status"), /^Open\b/);
  assertEquals(user.text("/net/udp/1/remote"), `${PEER}!9\n`);
  assertEquals(user.read(user.open("/net/udp/1/data")), pattern(3));
});

Deno.test("14: (ours) after `shutdown rd` a read finds the end, not EPIPE", async () => {
  await using story = await tell();
  const conv = story.user.conv("udp", `connect ${PEER}!9`);
  conv.command("shutdown rd");
  assertEquals(conv.read(), new Uint8Array(0));
  assertEquals(conv.bread(), null);
});

Deno.test("15: a pipe with room takes a write whole; the writer sleeps until it is below its limit", async () => {
  await using story = await tell();
  const { proc } = story.user;
  const pipe = story.user.open("#pipe", Open.Path);
  const writer = await proc.openat(pipe, "data", Open.ReadWrite);
  const reader = await proc.openat(pipe, "data1", Open.ReadWrite | Open.NonBlock);
  let finished = false;
  const writing = proc.write(writer, pattern(40000)).then((count) => {
    finished = true;
    return count;
  });
  await Promise.resolve();
  assertEquals(proc.sys.fstat(reader).length, 40000);
  assertEquals([story.user.read(reader, 7000)?.length, finished], [7000, false]);
  await new Promise((resolve) => setTimeout(resolve, 0));
  assertEquals(finished, false);
  assertEquals(story.user.read(reader, 300)?.length, 300);
  assertEquals(await writing, 40000);

  story.user.read(reader, 40000);
  const other = story.user.open("#pipe", Open.Path);
  const fast = await proc.openat(other, "data", Open.ReadWrite | Open.NonBlock);
  const slow = await proc.openat(other, "data1", Open.ReadWrite | Open.NonBlock);
  const events = story.user.tap(fast, TapEvent.Writable);
  assertEquals([story.user.write(fast, pattern(40000)), story.user.write(fast, "x")], [40000, AGAIN]);
  story.user.read(slow, 7000);
  assertEquals(events.poll(), null);
  story.user.read(slow, 300);
  assertEquals(events.poll()?.events, TapEvent.Writable);
});

Deno.test("16: a oneblock pipe keeps each write apart, and one of no bytes is never seen", async () => {
  await using story = await tell();
  const { user } = story;
  const pipe = user.open("#pipe", Open.Path);
  const [ctl, data, data1] = ["ctl", "data", "data1"].map((name) =>
    user.proc.sys.openat(pipe, name, Open.ReadWrite | Open.NonBlock) as number
  );
  user.write(ctl!, "oneblock");
  user.write(data!, "12345");
  user.write(data!, "");
  user.write(data!, "1234567");
  assertEquals([user.readText(data1!, 100), user.readText(data1!, 100)], ["12345", "1234567"]);
  assertEquals(user.read(data1!, 100), null);
});

Deno.test("17: #ether: one conversation a type; -1 sees all types for us, promiscuous everything", async () => {
  await using story = await tell();
  const { user, wire } = story;
  const open = (...commands: string[]) => {
    const ctl = user.open("/net/ether0/clone", Open.ReadWrite);
    const dir = `/net/ether0/${user.readText(ctl)}`;
    for (const command of commands) user.write(ctl, command);
    const data = user.open(`${dir}/data`);
    const count = () => {
      let frames = 0;
      while (user.proc.sys.blockread(data) !== AGAIN) frames++;
      return frames;
    };
    return { dir, data, count };
  };
  assertEquals(errnoOf(() => open("connect 0x800")), "EBUSY");
  const all = open("connect -1");
  // Ours: the type reads as it was written.
  assertEquals(user.text(`${all.dir}/type`), "-1");
  wire.inject(udpPacket({ dstPort: 9999 }));
  wire.inject(new Uint8Array(50), { type: 0x88b5 });
  wire.inject(new Uint8Array(50), { type: 0x88b5, dst: mac("ffffffffffff") });
  wire.inject(new Uint8Array(50), { type: 0x88b5, dst: mac("020000000042") });
  assertEquals(all.count(), 3);
  // Its own broadcasts come back.
  const broadcast = new Uint8Array(60).fill(0xff, 0, 6);
  user.write(all.data, broadcast);
  assertEquals(all.count(), 1);
  // Frames to others, both ways, only with promiscuous.
  const toOther = broadcast.slice();
  mac("020000000042").put(toOther, 0);
  user.write(all.data, toOther);
  assertEquals(all.count(), 0);
  const everything = open("connect -1", "promiscuous");
  user.write(all.data, toOther);
  wire.inject(new Uint8Array(50), { type: 0x88b5, dst: mac("020000000042") });
  assertEquals([everything.count(), all.count()], [2, 0]);
});
