/**
 * IPv6 as a host's users see it: two kernels on a cable, and packets from the test.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { Cable } from "../../../devices/ether/cable.ts";
import { UDP_PAYLOAD_MAX_V6 } from "../../../devices/ip/udp/udp.ts";
import { NEIGHBOR_RETRY_MS, NEIGHBOR_TRIES } from "../../../devices/ip/neighbor/neighbor_table.ts";
import { Mount } from "../../../kernel/namespace.ts";
import { SeededRandom } from "../../../kernel/random.ts";
import {
  emitIcmp6Echo,
  ICMP6_ECHO_REPLY,
  ICMP6_PACKET_TOO_BIG,
  ICMP6_TIME_EXCEEDED,
  ICMP6_UNREACHABLE,
  ICMP6_UNREACHABLE_PORT,
} from "../../../kernel/wire/icmp6.ts";
import { IPV6_HEADER_LEN } from "../../../kernel/wire/ipv6.ts";
import { boot } from "../../../tools/boot/boot.ts";
import { ip, pattern, PEER, US } from "../../kit/ip/ip_fixture.ts";
import { advance, errnoOf, User, type UserConv } from "../../kit/ip/story.ts";
import {
  addIpv6,
  echo6Packet,
  error6Packet,
  header6,
  inject6,
  meet6,
  PEER6,
  sent6,
  tell6,
  udp6Packet,
  US6,
} from "../../kit/ip/story6.ts";
import { accept, call, hear, say, stateOf } from "../../kit/tcp/story.ts";

/** An echo request as the writer of a conversation gives it: room for an IP header, then the message. */
function request(size: number, seq = 1): Uint8Array {
  const bytes = new Uint8Array(IPV6_HEADER_LEN + 8 + size);
  emitIcmp6Echo({ reply: false, id: 0, seq, data: pattern(size) }, bytes, IPV6_HEADER_LEN);
  return bytes;
}

/** What a conversation reads, as far as it is there: the whole packet's length, source, and its ICMP type. */
function answers(conv: UserConv): (string | number)[][] {
  const all = [];
  for (let packet = conv.bread(); packet !== null; packet = conv.bread()) {
    const bytes = packet.bytes();
    all.push([bytes.length, `${header6(bytes).src}`, bytes[IPV6_HEADER_LEN]!]);
  }
  return all;
}

// --- addresses

Deno.test("an interface has addresses of both versions, and the files show them", async () => {
  await using world = await meet6();
  const { user } = world;
  assertEquals(user.text("/net/ipifc/1/status").split("\n").slice(1, 4).map((line) => line.split(" ").slice(0, 3)), [
    ["\t10.0.0.1", "/24", "10.0.0.0"],
    ["\t2001:db8::1", "/64", "2001:db8::"],
    ["\tfe80::ff:fe00:1", "/64", "fe80::"],
  ]);
  const table = user.text("/net/ipselftab");
  for (const line of ["::1 1 6u", "2001:db8::1 1 6u", "ff02::1 2 6m", "ff02::1:ff00:1 2 6m", "10.0.0.1 1 4u"]) {
    assertStringIncludes(table, `${line}\n`);
  }
  assertStringIncludes(user.text("/net/iproute"), "2001:db8:: /64 2001:db8:: 6i   ifc 1\n");
});

// --- ICMP

Deno.test("a program pings over IPv6: its neighbour, ::1, and itself; the answer is the whole packet", async () => {
  await using world = await meet6();
  const { user } = world;
  for (const [host, size] of [[PEER6, 10], ["::1", 20], [US6, 30]] as const) {
    const conv = user.conv("icmpv6", `connect ${host}!1`);
    conv.bwrite(request(size));
    advance(user.host, 1);
    assertEquals(answers(conv), [[IPV6_HEADER_LEN + 8 + size, host, ICMP6_ECHO_REPLY]]);
    conv.close();
  }
  assertMatch(user.text("/net/arp"), /^ether OK 2001:db8::2 020000000002$/m);
  assertMatch(world.peer.text("/net/icmpv6/stats"), /^EchoRequest: 1 0$/m);
});

Deno.test("an echo of the largest size goes in fragments, both ways", async () => {
  await using world = await meet6();
  const conv = world.user.conv("icmpv6", `connect ${PEER6}!1`);
  conv.bwrite(request(65_527));
  advance(world.user.host, 10);
  assertEquals(answers(conv), [[IPV6_HEADER_LEN + 65_535, PEER6, ICMP6_ECHO_REPLY]]);
  assertEquals(errnoOf(() => conv.bwrite(request(65_528))), "EMSGSIZE");
});

Deno.test("headers mode: an announced identifier writes to whom the room before the message names", async () => {
  await using world = await meet6();
  const conv = world.user.conv("icmpv6", "headers", "announce 77");
  const message = request(4);
  ip(PEER6).put(message, 24);
  conv.bwrite(message);
  advance(world.user.host, 1);
  assertEquals(answers(conv), [[52, PEER6, ICMP6_ECHO_REPLY]]);
  assertEquals(errnoOf(() => conv.bwrite(request(4))), "ENOTCONN");
});

Deno.test("a neighbour that is not there makes an error for the writer", async () => {
  await using world = await meet6();
  const conv = world.user.conv("udp", "connect 2001:db8::99!7");
  assertEquals(world.user.write(conv.data, "hello"), 5);
  advance(world.user.host, NEIGHBOR_RETRY_MS * NEIGHBOR_TRIES + 1);
  const error = conv.error()!;
  assertEquals([error[IPV6_HEADER_LEN], error[IPV6_HEADER_LEN + 1]], [ICMP6_UNREACHABLE, 3]);
  assertEquals(errnoOf(() => world.user.write(conv.data, "hello")), "EPIPE");
});

Deno.test("no error is sent about errors or groups, nor more often than allowed (defect 13)", async () => {
  await using story = await tell6();
  const { wire, user } = story;
  inject6(wire, udp6Packet({ dst: "ff02::1", dstPort: 99 }));
  inject6(wire, error6Packet({ type: ICMP6_UNREACHABLE, code: 4, packet: udp6Packet({ src: US6, dst: PEER6 }) }));
  inject6(wire, echo6Packet({ dst: "ff02::1" }));
  assertEquals(sent6(wire), []);
  for (let i = 0; i < 70; i++) inject6(wire, udp6Packet({ dstPort: 99 }));
  const errors = sent6(wire);
  assertEquals([errors.length, user.stat("icmpv6", "OutSuppressed")], [50, 20]);
  const code = ICMP6_UNREACHABLE_PORT;
  assertEquals([errors[0]![40], errors[0]![41], header6(errors[0]!).dst], [ICMP6_UNREACHABLE, code, ip(PEER6)]);
});

// --- UDP

Deno.test("udp over IPv6: connected, announced with headers, and a call for each peer", async () => {
  await using world = await meet6();
  const { user, peer } = world;
  const server = peer.conv("udp", "headers", "announce 7");
  const client = user.conv("udp", `connect ${PEER6}!7`);
  assertEquals(user.write(client.data, "ping"), 4);
  advance(user.host, 1);
  const asked = server.read()!;
  assertEquals([asked.length, asked.subarray(0, 16), asked.subarray(16, 32)], [56, bytesOf(US6), bytesOf(PEER6)]);
  asked.set(new TextEncoder().encode("pong"), 52);
  peer.write(server.data, asked);
  advance(user.host, 1);
  assertEquals(new TextDecoder().decode(client.read()!), "pong");
  // One announcement takes both versions, as in Plan 9.
  const old = user.conv("udp", `connect ${PEER}!7`);
  user.write(old.data, "old");
  advance(user.host, 1);
  assertEquals(server.read()!.subarray(0, 16), bytesOf(US));
});

function bytesOf(addr: string): Uint8Array {
  const bytes = new Uint8Array(16);
  ip(addr).put(bytes, 0);
  return bytes;
}

Deno.test("udp over IPv6 takes no datagram without a checksum, and sends the largest there is", async () => {
  await using world = await meet6();
  const { user, peer } = world;
  const server = peer.conv("udp", "headers", "announce 7");
  const client = user.conv("udp", `connect ${PEER6}!7`);
  client.bwrite(pattern(UDP_PAYLOAD_MAX_V6));
  advance(user.host, 10);
  assertEquals(server.read()?.length, UDP_PAYLOAD_MAX_V6 + 52);
  assertEquals(errnoOf(() => client.bwrite(pattern(UDP_PAYLOAD_MAX_V6 + 1))), "EMSGSIZE");
  await using story = await tell6();
  const conv = story.user.conv("udp", "headers", "announce 7");
  inject6(story.wire, udp6Packet({ checksum: 0 }));
  assertEquals([conv.read(), story.user.stat("udp", "CsumErrs")], [null, 1]);
});

Deno.test("an end of IPv4 and an end of IPv6 do not meet", async () => {
  await using world = await meet6();
  const { user } = world;
  const udp = user.conv("udp");
  assertEquals(errnoOf(() => udp.command(`connect ${PEER6}!7 ${US}!9`)), "EINVAL");
  const old = user.conv("udp", "headers", `announce ${US}!9`);
  const record = new Uint8Array(60);
  ip(PEER6).put(record, 0);
  record[49] = 7;
  assertEquals(errnoOf(() => old.bwrite(record)), "EINVAL");
});

Deno.test("udp remembers the path MTU that a router reports, and cuts its datagrams itself", async () => {
  await using story = await tell6();
  const { user, wire } = story;
  const conv = user.conv("udp", "connect 2001:db8:9::9!7 9");
  conv.bwrite(pattern(1452));
  const [whole] = sent6(wire);
  assertEquals(whole!.length, 1500);
  const tooBig = { type: ICMP6_PACKET_TOO_BIG, code: 0, rest: 1400 };
  // About a packet that was not sent here: ignored.
  const other = udp6Packet({ src: US6, dst: "2001:db8:9::9", srcPort: 8 });
  inject6(wire, error6Packet({ ...tooBig, packet: other }));
  conv.bwrite(pattern(1452));
  assertEquals(sent6(wire).map(({ length }) => length), [1500]);
  inject6(wire, error6Packet({ ...tooBig, packet: whole! }));
  conv.bwrite(pattern(1452));
  assertEquals(sent6(wire).map(({ length }) => length), [1400, 156]);
  assert(conv.error() !== null, "The program gets it, too");
  // And it is not hung up.
  conv.bwrite(pattern(3));
});

// --- TCP

Deno.test("tcp over IPv6: a connection from call to close, beside one of IPv4 at the same listener", async () => {
  await using world = await meet6();
  const { user, peer } = world;
  const listener = peer.conv("tcp", "announce *!80");
  for (const [host, us, mss] of [[PEER6, US6, 1428], [PEER, US, 1448]] as const) {
    const conv = call(user, `${host}!80`);
    advance(user.host, 1);
    assertEquals([stateOf(conv), conv.status("mss")], ["Established", mss]);
    const served = accept(listener);
    assertEquals(served.text("remote"), `${us}!${conv.port}\n`);
    say(conv, "hello");
    advance(user.host, 1);
    assertEquals(hear(served), "hello");
    served.close();
    advance(user.host, 1);
    assertEquals([hear(conv), stateOf(conv)], ["", "Close_wait"]);
    conv.close();
  }
});

Deno.test("tcp over IPv6 moves a megabyte, whole segments and in order", async () => {
  await using world = await meet6();
  const { user, peer } = world;
  const listener = peer.conv("tcp", "announce *!80");
  const conv = call(user, `${PEER6}!80`);
  advance(user.host, 1);
  const served = accept(listener);
  const bytes = pattern(1 << 20);
  let written = 0;
  const got: Uint8Array[] = [];
  for (let i = 0; i < 2000 && got.reduce((sum, { length }) => sum + length, 0) < bytes.length; i++) {
    if (written < bytes.length) {
      const count = user.write(conv.data, bytes.subarray(written, written + 65_536));
      if (typeof count === "number") written += count;
    }
    advance(user.host, 1);
    for (let part = served.read(); part !== null && part.length > 0; part = served.read()) got.push(part);
  }
  assertEquals(new Uint8Array(await new Blob(got as BlobPart[]).arrayBuffer()), bytes);
  assertEquals(peer.stat("tcp", "RetransSegs") + user.stat("tcp", "RetransSegs"), 0);
});

Deno.test("tcp over IPv6 is refused by a reset, and by an ICMP error while it opens", async () => {
  await using world = await meet6();
  const conv = call(world.user, `${PEER6}!81`);
  advance(world.user.host, 1);
  assertEquals(stateOf(conv), "Closed");
  await using story = await tell6();
  const opening = call(story.user, `${PEER6}!81`);
  const [syn] = sent6(story.wire);
  inject6(story.wire, error6Packet({ type: ICMP6_UNREACHABLE, code: ICMP6_UNREACHABLE_PORT, packet: syn! }));
  assertEquals(stateOf(opening), "Closed");
});

Deno.test("a program learns of a hop limit that ran out (traceroute)", async () => {
  await using story = await tell6();
  const conv = story.user.conv("udp", "connect 2001:db8:9::9!7 9", "ttl 1");
  conv.bwrite(pattern(4));
  const [probe] = sent6(story.wire);
  assertEquals(header6(probe!).hopLimit, 1);
  inject6(story.wire, error6Packet({ type: ICMP6_TIME_EXCEEDED, code: 0, packet: probe! }));
  assertEquals(conv.error()?.[IPV6_HEADER_LEN], ICMP6_TIME_EXCEEDED);
  // And it is not hung up.
  conv.bwrite(pattern(4));
});

// --- forwarding

/** Three kernels in a row: left, a router with `iprouting` on, right. The right net takes packets of `mtu` bytes. */
async function row(mtu: number): Promise<{ left: User; router: User; right: User } & AsyncDisposable> {
  const host = await boot({ address: "10.0.0.1/24" });
  const far = new Cable(host.clock, new SeededRandom(7));
  const attach = (cable: Cable, station: number, size = 1500) =>
    cable.attach({ name: `${station}`, mac: new Uint8Array([2, 0, 0, 0, 1, station]), mtu: size });
  const router = new User(await host.neighbor({ address: "10.0.0.254/24", port: attach(host.cable!, 254) }));
  router.host.ether.attachPort(attach(far, 253, mtu));
  router.proc.sys.nbind("#ether.1", "/net", Mount.After);
  router.conv("ipifc", "bind ether /net/ether1", "add 2001:db8:2::fd /64", "iprouting on").close();
  const left = new User(host);
  const right = new User(await host.neighbor({ address: "10.0.1.1/24", port: attach(far, 1, mtu) }));
  for (
    const [user, address] of [[left, "2001:db8:1::1"], [router, "2001:db8:1::fe"], [right, "2001:db8:2::1"]] as const
  ) {
    addIpv6(user, address);
  }
  left.command("/net/iproute", "add :: /0 2001:db8:1::fe");
  right.command("/net/iproute", "add :: /0 2001:db8:2::fd");
  return { left, router, right, [Symbol.asyncDispose]: () => host.world.close() };
}

Deno.test("a router forwards IPv6, one hop fewer, and reports where a packet ended (traceroute)", async () => {
  await using world = await row(1500);
  const { left, right } = world;
  const server = right.conv("udp", "bypass 7");
  const client = left.conv("udp", "connect 2001:db8:2::1!7", "ttl 9");
  client.bwrite(pattern(9));
  advance(left.host, 5);
  assertEquals(header6(server.take()).hopLimit, 8);
  const probe = left.conv("udp", "connect 2001:db8:2::1!7", "ttl 1");
  probe.bwrite(pattern(9));
  const lost = left.conv("udp", "connect 2001:db8:3::1!7");
  lost.bwrite(pattern(9));
  advance(left.host, 5);
  const [exceeded, unreachable] = [probe.error()!, lost.error()!];
  assertEquals([exceeded[40], `${header6(exceeded).src}`], [ICMP6_TIME_EXCEEDED, "2001:db8:1::fe"]);
  assertEquals([unreachable[40], unreachable[41]], [ICMP6_UNREACHABLE, 0]);
});

Deno.test("a router never fragments an IPv6 packet: it reports the MTU, and the sender fragments", async () => {
  await using world = await row(1280);
  const { left, router, right } = world;
  const server = right.conv("udp", "headers", "announce 7");
  const client = left.conv("udp", "connect 2001:db8:2::1!7");
  for (let i = 0; i < 2; i++) {
    client.bwrite(pattern(1400));
    advance(left.host, 5);
  }
  assertEquals([server.read()?.length, server.read()], [1452, null]);
  assertEquals([router.stat("ipifc", "FragFails"), router.stat("ipifc", "FragCreates")], [1, 0]);
  const listener = right.conv("tcp", "announce 80");
  const conv = call(left, "2001:db8:2::1!80");
  advance(left.host, 5);
  say(conv, "x".repeat(5000));
  advance(left.host, 20);
  assertEquals([hear(accept(listener))?.length, conv.status("mss")], [5000, 1208]);
});

Deno.test("a router forwards no link-local, loopback or multicast address", async () => {
  await using world = await row(1500);
  const { left, router, right } = world;
  right.conv("udp", "bypass 9");
  const bypass = left.conv("udp", "bypass 7");
  const before = router.stat("ipifc", "ForwDatagrams");
  const far = { dst: "2001:db8:2::1", srcPort: 7, dstPort: 9 };
  bypass.bwrite(udp6Packet({ ...far, src: "2001:db8:1::1" }));
  bypass.bwrite(udp6Packet({ ...far, src: "fe80::ff:fe00:1" }));
  advance(left.host, 5);
  assertEquals([router.stat("ipifc", "ForwDatagrams") - before, router.stat("ipifc", "ForwRefused")], [1, 1]);
});
