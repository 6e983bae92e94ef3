/**
 * Bypass as DESIGN section 6 draws it, over two kernels on a cable (or, for packets that no kernel sends, the test):
 * what a conversation may claim, what it gets, what it may send, and what it hears when that fails.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { TapEvent } from "../../../kernel/fd_tap.ts";
import { Open } from "../../../kernel/qid.ts";
import { ipv4ChecksumOk } from "../../../kernel/wire/ipv4.ts";
import { swapEnds } from "../../../tools/boot/swap_ends.ts";
import { echoPacket, ipPacket, pattern, PEER, udpPacket, US } from "../../kit/ip/ip_fixture.ts";
import { errnoOf, errorOf, meet, tell, User, type UserConv } from "../../kit/ip/story.ts";
import { headerOf } from "../../kit/ip/packets.ts";
import { dataOf, fragmentsOf, payloadOf } from "../../kit/ip/packet_parts.ts";

/** A packet that a bypass user of port 7 at US may send to PEER. */
function outgoing(options: Parameters<typeof udpPacket>[0] = {}): Uint8Array {
  return udpPacket({ src: US, dst: PEER, srcPort: 7, dstPort: 9, payload: pattern(20), ...options });
}

/** What an icmp conversation writes for an echo request: room for a header, and the message. */
function echoRequest(seq: number, data: Uint8Array): Uint8Array {
  return new Uint8Array([...new Uint8Array(20), 8, 0, 0, 0, 0, 0, 0, seq, ...data]);
}

/** Sends back the next packet of a bypassed conversation. */
function echo(conv: UserConv): void {
  conv.bwrite(swapEnds(conv.bread()!));
}

// --- both ways ---

Deno.test("a datagram of another kernel comes as a whole packet, and what is written back is its answer", async () => {
  await using world = await meet();
  const held = world.user.conv("udp", "bypass 7");
  const conv = world.peer.conv("udp", `connect ${US}!7`, "ttl 9", "tos 46");
  for (const length of [0, 1, 1472, 1473, 9000, 65507]) {
    conv.bwrite(pattern(length));
    const packet = held.bread()!;
    const { ttl, tos, totalLen, src, moreFragments, fragOffset } = headerOf(packet.bytes());
    assertEquals([ttl, tos, totalLen, `${src}`, moreFragments, fragOffset], [9, 46, length + 28, PEER, false, 0]);
    assert(ipv4ChecksumOk(packet.bytes(), 0));
    assertEquals([held.bread(), dataOf(packet.bytes())], [null, pattern(length)]);
    held.bwrite(swapEnds(packet));
    assertEquals([conv.take(), conv.bread()], [pattern(length), null]);
  }
});

Deno.test("an identifier that is bypassed is answered by its user; all others by the kernel", async () => {
  await using world = await meet();
  const held = world.user.conv("icmp", "bypass 77");
  const [own, other] = [77, 78].map((id) => world.peer.conv("icmp", `connect ${US}!1 ${id}`));
  own!.bwrite(echoRequest(1, pattern(10)));
  other!.bwrite(echoRequest(2, pattern(11)));
  assertEquals([own!.bread(), payloadOf(other!.take()).subarray(8)], [null, pattern(11)]);
  const request = held.take();
  held.bwrite(echoPacket({ src: US, dst: PEER, id: 77, seq: 1, reply: true, data: pattern(10), ttl: 33 }));
  const reply = own!.take();
  assertEquals([headerOf(reply).ttl, payloadOf(reply).subarray(8)], [33, pattern(10)]);
  // A NAT wants the answers to its own requests only.
  held.command("bypass-echo replies");
  own!.bwrite(request.slice());
  assertEquals([held.bread(), payloadOf(own!.take())[0]], [null, 0]);
  held.bwrite(echoPacket({ src: US, dst: PEER, id: 77, seq: 3 }));
  assertEquals(payloadOf(held.take())[0], 0);
});

Deno.test("a protocol without a directory is bypassed as a whole; without a claim it is unreachable", async () => {
  await using world = await meet();
  const [here, there] = [world.user, world.peer].map((user) => user.conv("raw", "bypass 47"));
  here!.bwrite(ipPacket({ src: US, dst: PEER, protocol: 47, payload: pattern(2000) }));
  assertEquals(payloadOf(there!.bread()!.bytes()), pattern(2000));
  there!.close();
  here!.bwrite(ipPacket({ src: US, dst: PEER, protocol: 47, payload: pattern(8) }));
  const error = payloadOf(here!.error()!);
  assertEquals([error[0], error[1]], [3, 2]);
  for (const protocol of [1, 17]) assertEquals(errnoOf(() => world.user.conv("raw", `bypass ${protocol}`)), "EBUSY");
  assertEquals(errnoOf(() => world.user.conv("raw", "bypass 256")), "EINVAL");
  assertEquals(errnoOf(() => world.user.conv("raw", "announce 50")), "EFAIL");
});

Deno.test("it works on this machine alone: to our own address, and by loopback", async () => {
  await using world = await meet();
  const held = world.user.conv("udp", "bypass 7");
  for (const address of [US, "127.0.0.1"]) {
    const conv = world.user.conv("udp", `connect ${address}!7`);
    conv.bwrite(pattern(3000));
    echo(held);
    assertEquals(conv.take(), pattern(3000));
  }
  assertEquals(world.wire.sent(), []);
});

Deno.test("a reader that sleeps on the conversation when it is bypassed gets the first packet", async () => {
  await using world = await meet();
  const { proc } = world.user;
  const conv = world.user.conv("udp");
  const data = await proc.open(`${conv.dir}/data`, Open.ReadWrite);
  const reading = proc.blockread(data);
  await Promise.resolve();
  conv.command("bypass 7");
  await Promise.resolve();
  world.peer.conv("udp", `connect ${US}!7`).bwrite(pattern(5));
  assertEquals(dataOf((await reading)!.bytes()), pattern(5));
});

// --- claims ---

Deno.test("a claim is refused where the port is in use, and picked or counted where not", async () => {
  await using world = await meet();
  const { user } = world;
  user.conv("udp", "bypass 1000-1999");
  for (const local of ["1000", "1999", "1500-1600", "900-1000", "1-65535"]) {
    const text = errorOf(() => user.conv("udp", `bypass ${local}`)).message;
    assertMatch(text, /udp\/0 of eve has bypassed it/);
  }
  user.conv("udp", "bypass 999");
  user.conv("udp", "bypass 2000-2001");
  user.conv("udp", `bypass ${US}!1500`);
  for (const local of ["0-5", "5-4", "1-65536", "65536", "x", "-1", "1-", "1-2-3", "1.5", ""]) {
    assertEquals(errnoOf(() => user.conv("udp", `bypass '${local}'`)), "EINVAL", `bypass '${local}'`);
  }
  const ports = new Set(Array.from({ length: 50 }, () => user.conv("udp", "bypass *!0").port));
  assertEquals(ports.size, 50);
});

Deno.test("the exact conversation wins, then a claim with an address, then one without", async () => {
  await using world = await meet();
  const { user, peer } = world;
  const claims = [
    user.conv("udp", `connect ${PEER}!9 ${US}!1500`),
    user.conv("udp", `bypass ${US}!1400-1600`),
    user.conv("udp", "bypass 1500"),
  ];
  const sender = peer.conv("udp", `connect ${US}!1500 9`);
  for (const claim of [...claims]) {
    sender.bwrite(pattern(1));
    assertEquals(claims.filter((one) => one.bread() !== null), [claim]);
    claim.close();
    claims.shift();
  }
  sender.bwrite(pattern(1));
  // The port is closed now: the peer gets "port unreachable".
  assertEquals(errnoOf(() => sender.read()), "EPIPE");
});

Deno.test("a range gets and sends for each of its ports, and for no other", async () => {
  await using world = await meet();
  const held = world.user.conv("udp", "bypass 1000-1003");
  for (const port of [1000, 1001, 1003]) {
    const conv = world.peer.conv("udp", `connect ${US}!${port}`);
    conv.bwrite(pattern(6));
    echo(held);
    assertEquals(conv.take(), pattern(6));
  }
  for (const srcPort of [999, 1004]) assertEquals(errnoOf(() => held.bwrite(outgoing({ srcPort }))), "EPERM");
  assertEquals([held.text("local"), held.status("port")], ["::!1000-1003\n", 2]);
});

Deno.test("close undoes it once, at the last descriptor: the slot, its queues and its port are as before", async () => {
  await using world = await meet();
  const { user, peer } = world;
  const { sys } = user.proc;
  const held = user.conv("udp", "bypass 7");
  const sender = peer.conv("udp", `connect ${US}!7`, "ignoreadvice");
  sys.close(held.ctl);
  sender.bwrite(pattern(5));
  assertEquals(held.take().length, 33);
  sender.bwrite(pattern(5));
  sys.close(held.data);
  const again = user.conv("udp", "headers", "announce 7");
  assertEquals([again.dir, again.bread()], [held.dir, null]);
  sender.bwrite(pattern(5));
  assertEquals(again.take().length, 52 + 5);
  again.close();
  const { table, ports } = user.host.ip.stack(0).space(user.host.ip.stack(0).protoNamed("udp")!);
  assertEquals([table.length, ports.length], [0, 0]);
});

Deno.test("the status line reports what is held and what came of it", async () => {
  await using world = await meet();
  const held = world.user.conv("udp", `bypass ${US}!7`, "bypass-header kernel");
  const sender = world.peer.conv("udp", `connect ${US}!7`);
  for (let i = 0; i < 3; i++) sender.bwrite(pattern(10));
  held.take();
  held.bwrite(outgoing());
  assertEquals(errnoOf(() => held.bwrite(outgoing({ srcPort: 1 }))), "EPERM");
  assertEquals(
    held.text("status"),
    `Bypassed local ${US}!7 header kernel offload off qin 76 blocks 2 limit 67108864 in 3 drops 0 out 1 refused ` +
      "short 0 version 0 header 0 length 0 ttl 0 offload 0 fragment 0 protocol 0 source 0 port 1 noroute 0 toobig 0\n",
  );
});

Deno.test("taps that were set before bypass fire after it: readable, error, and on err", async () => {
  await using world = await meet();
  const { user, peer } = world;
  const conv = user.conv("udp");
  const data = conv.tap(TapEvent.Readable | TapEvent.Error);
  const err = user.tap(user.open(`${conv.dir}/err`, Open.Read), TapEvent.Readable);
  conv.command("bypass 7");
  peer.conv("udp", `connect ${US}!7`).bwrite(pattern(1));
  assertEquals(data.poll()?.events, TapEvent.Readable);
  conv.bwrite(outgoing({ dstPort: 4242 }));
  assertEquals([data.poll()?.events, err.poll()?.events], [TapEvent.Error, TapEvent.Readable]);
});

Deno.test("a full queue drops and counts what is newer; the kernel answers nothing in its user's place", async () => {
  await using world = await meet();
  const held = world.user.conv("udp", "bypass 7", "rqlimit 200");
  const sender = world.peer.conv("udp", `connect ${US}!7`);
  for (let i = 0; i < 10; i++) sender.bwrite(pattern(72, i));
  assertEquals([held.status("blocks"), held.status("drops")], [2, 8]);
  assertEquals([dataOf(held.take())[0], dataOf(held.take())[0], sender.error()], [0, 1, null]);
});

Deno.test("bad packets never reach the reader: checksums, lengths, fragments that do not meet", async () => {
  await using story = await tell();
  const held = story.user.conv("udp", "bypass 7");
  const good = udpPacket({ dstPort: 7, payload: pattern(50) });
  for (const at of [10, 25, 26, 40]) {
    const bad = good.slice();
    bad[at]! ^= 1;
    story.wire.inject(bad);
  }
  const [first, second] = fragmentsOf(udpPacket({ dstPort: 7, payload: pattern(50) }), 32, 3);
  const overlap = ipPacket({ ...headerOptions(second!), fragOffset: 24, payload: pattern(34, 9) });
  for (const piece of [first!, overlap, second!]) story.wire.inject(piece);
  assertEquals(held.bread(), null);
  // None is wrong over IPv4 (RFC 768).
  story.wire.inject(udpPacket({ dstPort: 7, checksum: 0 }));
  assertEquals(held.take().length, 28);
});

function headerOptions(packet: Uint8Array): Parameters<typeof ipPacket>[0] {
  const { id, protocol } = headerOf(packet);
  return { id, protocol };
}

Deno.test("a user without permission can neither read a claim nor take it over", async () => {
  await using world = await meet();
  const held = world.user.conv("udp", "bypass 7");
  const alice = new User(world.user.host, "alice");
  for (const file of ["ctl", "data", "err"]) assertEquals(errnoOf(() => alice.open(`${held.dir}/${file}`)), "EACCES");
  assertEquals(errnoOf(() => alice.conv("udp", "bypass 7")), "EFAIL");
  alice.conv("udp", `announce ${US}!7`);
});
