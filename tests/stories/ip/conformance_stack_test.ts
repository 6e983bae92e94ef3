/**
 * Sections 1 to 9 of the reference beyond its test lines: errors, ping, addresses, stacks, groups, snoop, MTU, log.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Block } from "../../../kernel/block.ts";
import { KernelError } from "../../../kernel/error.ts";
import { Open } from "../../../kernel/qid.ts";
import { ARP_LEN, ARP_REPLY, ARP_REQUEST, emitArp } from "../../../kernel/wire/arp.ts";
import { echoPacket, ip, ipPacket, pattern, PEER, udpPacket, US } from "../../kit/ip/ip_fixture.ts";
import { errnoOf, errorOf, HOST_MAC, mac, tell, User } from "../../kit/ip/story.ts";
import { headerOf } from "../../kit/ip/packets.ts";
import { fixed } from "../../kit/ip/packet_parts.ts";

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
