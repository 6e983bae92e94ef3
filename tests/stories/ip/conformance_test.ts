/**
 * Conformance: the observable sequences of the original (reference/akaros.md section 13) by their numbers, and some
 * facts of its other sections, through files and system calls. "Ours" marks where we differ on purpose, as DESIGN or
 * the issue say. Those that need TCP (the rest of 10, 12 to 14) or a NAT (18 to 20) are in other files.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Block } from "../../../kernel/block.ts";
import { KernelError } from "../../../kernel/error.ts";
import { TapEvent } from "../../../kernel/fd_tap.ts";
import { Open } from "../../../kernel/qid.ts";
import { AGAIN } from "../../../kernel/sys.ts";
import { ARP_LEN, ARP_REPLY, ARP_REQUEST, emitArp } from "../../../kernel/wire/arp.ts";
import { ipv4ChecksumOk } from "../../../kernel/wire/ipv4.ts";
import { echoPacket, ip, ipPacket, pattern, PEER, udpPacket, US } from "../../kit/ip/ip_fixture.ts";
import { errnoOf, errorOf, HOST_MAC, mac, tell, User } from "../../kit/ip/story.ts";
import { headerOf } from "../../kit/ip/packets.ts";
import { fixed } from "../../kit/ip/packet_parts.ts";

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

Deno.test("section 2: an error carries its number and text to the caller, awaiting or not", async () => {
  await using story = await tell();
  const { proc } = story.user;
  const sync = errorOf(() => proc.sys.open("/net/udp/99/ctl"));
  const late = await proc.open("/net/udp/99/ctl").then(() => null, (error) => error);
  assert(late instanceof KernelError);
  assertEquals([late.code, late.errno, late.message], [sync.code, 2, sync.message]);
});

Deno.test("section 7: a ping to us is answered with its own bytes, and one for others is not", async () => {
  await using story = await tell();
  story.wire.inject(echoPacket({ id: 5, seq: 6, data: pattern(40) }));
  const reply = story.wire.one();
  const request = echoPacket({ id: 5, seq: 6, data: pattern(40), reply: true, src: US, dst: PEER });
  assertEquals(reply.subarray(20), request.subarray(20));
  story.wire.inject(echoPacket({ dst: "10.0.0.77" }));
  story.wire.inject(ipPacket({ dst: "10.0.0.77", protocol: 99 }));
  assertEquals(story.wire.sent(), []);
});

Deno.test("section 5: an address that is added is announced, answered for, and gone when it is removed", async () => {
  await using story = await tell();
  const { user, wire } = story;
  user.command("/net/ipifc/1/ctl", "add 10.0.0.9 /24");
  const [announcement] = wire.frames();
  assertEquals([announcement![13], announcement!.slice(28, 32), announcement!.slice(38, 42)], [
    0x06,
    new Uint8Array([10, 0, 0, 9]),
    new Uint8Array([10, 0, 0, 9]),
  ]);
  wire.inject(echoPacket({ dst: "10.0.0.9" }));
  assertEquals(`${headerOf(wire.one()).src}`, "10.0.0.9");
  user.command("/net/ipifc/1/ctl", "remove 10.0.0.9 /24");
  wire.inject(echoPacket({ dst: "10.0.0.9" }));
  assertEquals(wire.sent(), []);
  assertEquals(errnoOf(() => user.command("/net/ipifc/1/ctl", "remove 10.0.0.9 /24")), "EFAIL");
});

Deno.test("section 8: a reader that sleeps when the packet comes gets it as one block", async () => {
  await using story = await tell();
  const conv = await story.user.proc.bypass("udp!*!7");
  const reading: Promise<Block | null> = story.user.proc.blockread(conv.data);
  await Promise.resolve();
  const packet = fixed(udpPacket({ dstPort: 7, payload: pattern(100), ttl: 9 }));
  story.wire.inject(packet);
  assertEquals((await reading)!.bytes(), packet);
});

Deno.test("section 1.3: each #ip.N is a stack of its own, with no way from one to the other", async () => {
  await using story = await tell();
  const { user } = story;
  user.conv("udp", "announce 7");
  const [ctl, other] = ["#ip.1/udp/clone", "#ip.1/ipifc/clone"].map((path) => user.open(path, Open.ReadWrite));
  assertEquals([user.readText(ctl!), user.readText(other!)], ["0", "0"]);
  assertEquals(errnoOf(() => user.write(ctl!, "connect 127.0.0.1!7")), "EHOSTUNREACH");
  user.write(other!, "bind loopback");
  user.write(other!, "add 127.0.0.1 /8");
  user.write(ctl!, "connect 127.0.0.1!7");
  const data = user.open("#ip.1/udp/0/data");
  user.write(data, "anybody?");
  assertMatch(errorOf(() => user.read(data)).message, /port unreachable/);
  assertEquals(user.text("#ip.1/ipselftab").includes("10.0.0.1"), false);
});

Deno.test("section 4.3: a conversation hears a group from `addmulti` until `remmulti` or its last close", async () => {
  await using story = await tell();
  const { user, wire } = story;
  const group = "224.0.0.251";
  const groupMac = mac("01005e0000fb");
  const conv = user.conv("udp", "headers", "announce 5353");
  const hear = () => {
    wire.inject(udpPacket({ dst: group, dstPort: 5353, payload: pattern(4) }), { dst: groupMac });
    return conv.bread() !== null;
  };
  const heard = [hear()];
  conv.command(`addmulti ${US} ${group}`);
  heard.push(hear());
  assertMatch(user.text("/net/ipselftab"), /^224\.0\.0\.251 1 4m$/m);
  conv.command(`remmulti ${US} ${group}`);
  heard.push(hear());
  conv.command(`addmulti ${US} ${group}`);
  conv.close();
  assertEquals([heard, user.text("/net/ipselftab").includes(group)], [[false, true, false], false]);
  assertEquals(errnoOf(() => user.conv("udp", `addmulti ${US} 10.0.0.2`)), "EFAIL");
});

Deno.test("section 4.5: snoop shows what crosses the interface, both ways and whole, to eve alone", async () => {
  await using story = await tell();
  const { user, wire } = story;
  const snoop = user.open("/net/ipifc/1/snoop", Open.Read | Open.NonBlock);
  const request = echoPacket({ data: pattern(20) });
  wire.inject(request);
  const reply = wire.one();
  assertEquals([user.read(snoop), user.read(snoop), user.read(snoop)], [request, reply, null]);
  const alice = new User(story.host, "alice");
  assertEquals(errnoOf(() => alice.open("/net/ipifc/1/snoop", Open.Read)), "EACCES");
});

Deno.test("section 5.1: `mtu` makes smaller pieces of what is sent, within what the medium allows", async () => {
  await using story = await tell();
  const { user, wire } = story;
  for (const mtu of [0, 59, 1515, 65535]) {
    assertEquals(errnoOf(() => user.command("/net/ipifc/1/ctl", `mtu ${mtu}`)), "EFAIL");
  }
  // With its 14 bytes of header, as Akaros counts.
  user.command("/net/ipifc/1/ctl", "mtu 614");
  user.conv("udp", `connect ${PEER}!9`).bwrite(pattern(1000));
  assertEquals(wire.sent().map((piece) => piece.length), [596, 20 + 1008 - 576]);
});

Deno.test("section 5.5: the log is live for the subjects that were set; ndb keeps 1023 bytes", async () => {
  await using story = await tell();
  const { user, wire } = story;
  const log = user.open("/net/log");
  assertEquals(user.read(log), null);
  user.write(log, "set udp");
  wire.inject(udpPacket({ dstPort: 9999 }));
  assertMatch(user.readText(log), /^udp no port 10\.0\.0\.2 > 10\.0\.0\.1!9999\n$/);
  user.write(log, "clear udp");
  wire.inject(udpPacket({ dstPort: 9999 }));
  assertEquals(user.read(log), null);
  assertEquals(errnoOf(() => user.write(log, "set")), "EINVAL");
  const text = "x".repeat(1023);
  user.command("/net/ndb", text);
  assertEquals(user.text("/net/ndb"), text);
  assertEquals(errnoOf(() => user.command("/net/ndb", text + "x")), "EIO");
});

Deno.test("section 9.4: (ours) ARP ignores unsolicited replies, and defends an address of ours", async () => {
  await using story = await tell();
  const { user, wire } = story;
  const say = (op: number, senderIp: string, sender: string, targetIp = US) => {
    const packet = new Uint8Array(ARP_LEN);
    const fields = { op, senderMac: mac(sender), targetMac: HOST_MAC, senderIp: ip(senderIp), targetIp: ip(targetIp) };
    emitArp(fields, packet, 0);
    wire.inject(packet, { type: 0x806 });
  };
  const before = user.text("/net/arp");
  say(ARP_REPLY, "10.0.0.8", "020000000008");
  say(ARP_REPLY, PEER, "020000000066");
  say(ARP_REQUEST, PEER, "020000000066", "10.0.0.8");
  assertEquals(user.text("/net/arp"), before);
  wire.frames();
  // Who claims our address is contradicted, once in ten seconds.
  say(ARP_REQUEST, US, "020000000066", US);
  say(ARP_REQUEST, US, "020000000066", US);
  assertEquals(wire.frames().map((frame) => [frame[13], frame[31]]), [[6, 1]]);
  assertEquals([user.stat("ipifc", "ArpUnsolicited"), user.stat("ipifc", "ArpConflict")], [1, 2]);
  // Who asks us for our address is a neighbour that may be answered without asking back.
  say(ARP_REQUEST, "10.0.0.8", "020000000008");
  assertMatch(user.text("/net/arp"), /^ether OK 10\.0\.0\.8 020000000008$/m);
});
