/**
 * Defects of the original's TCP that we must not have, each by the section of reference/akaros.md that names it,
 * through files and system calls. Those of bypass are in tcp_bypass_test.ts.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { TapEvent } from "../../../kernel/fd_tap.ts";
import { DirMode } from "../../../kernel/qid.ts";
import { put16 } from "../../../kernel/wire/bytes.ts";
import { ICMP_UNREACHABLE } from "../../../kernel/wire/icmp.ts";
import { TCP_ACK, TCP_CWR, TCP_ECE, TCP_PSH, TCP_RST, TCP_SYN } from "../../../kernel/wire/tcp.ts";
import { icmpErrorPacket, pattern, PEER, US } from "../../kit/ip/ip_fixture.ts";
import { advance, errnoOf, errorOf, meet, type Story, tell, User, type UserConv } from "../../kit/ip/story.ts";
import { headerOf } from "../../kit/ip/packets.ts";
import { fixed } from "../../kit/ip/packet_parts.ts";
import { accept, call, hear, say, segmentOf, stateOf, tcpPacket } from "../../kit/tcp/story.ts";

/** A connection from port 9 of the test to `listener`, made by hand: our next number and theirs. */
function handshake(story: Story, port: number, srcPort = 9): { seq: number; ack: number } {
  story.wire.frames();
  story.wire.inject(tcpPacket({ dstPort: port, srcPort, seq: 100 }));
  const { seq } = segmentOf(story.wire.one());
  story.wire.inject(tcpPacket({ dstPort: port, srcPort, seq: 101, ack: seq + 1, flags: TCP_ACK }));
  return { seq: 101, ack: seq + 1 };
}

/** The readiness bits of a conversation's data file. */
function readiness(conv: UserConv): number {
  const { mode } = conv.user.proc.sys.stat(`${conv.dir}/data`);
  return mode & (DirMode.Readable | DirMode.Writable);
}

Deno.test("defect 4.1: stat reports whether a bypassed, connected or announced conversation is ready", async () => {
  await using story = await tell();
  const held = story.user.conv("tcp", "bypass 4000");
  assertEquals(readiness(held), DirMode.Writable);
  story.wire.inject(tcpPacket());
  assertEquals(readiness(held), DirMode.Readable | DirMode.Writable);
  const listener = story.user.conv("tcp", "announce 80");
  assertEquals(readiness(listener) & DirMode.Readable, 0);
  const { seq, ack } = handshake(story, 80);
  assertEquals(readiness(listener) & DirMode.Readable, DirMode.Readable);
  const taken = accept(listener);
  assertEquals(readiness(taken), DirMode.Writable);
  story.wire.inject(tcpPacket({ dstPort: 80, seq, ack, flags: TCP_ACK | TCP_PSH, data: pattern(3) }));
  assertEquals(readiness(taken), DirMode.Readable | DirMode.Writable);
});

Deno.test("defect 4.2: the next owner of a slot inherits nothing", async () => {
  await using world = await meet();
  const first = world.user.conv("tcp", "nodelay on", "congestion newreno", "ecn on", "ignoreadvice", "ttl 3");
  assertMatch(first.text("status"), /congestion newreno .* options .*nodelay/);
  assertEquals(errnoOf(() => first.command(`connect ${PEER}!80`)), "EINPROGRESS");
  world.user.host.clock.jobs.run();
  first.close();
  const next = world.user.conv("tcp");
  assertEquals(next.dir, first.dir);
  assertMatch(next.text("status"), /^Closed .* congestion cubic .* options none\n$/);
  world.peer.conv("tcp", "announce 80");
  world.wire.sent();
  assertEquals(errnoOf(() => next.command(`connect ${PEER}!80`)), "EINPROGRESS");
  const syn = world.wire.sent()[0]!;
  assertEquals([headerOf(syn).ttl, segmentOf(syn).flags], [255, TCP_SYN]);
});

Deno.test("defect 4.3: a connect or announce that fails leaves the conversation idle, to be tried again", async () => {
  await using world = await meet();
  const { user, peer } = world;
  const conv = user.conv("tcp");
  user.conv("tcp", "announce 90");
  assertEquals(errnoOf(() => conv.command("connect 192.0.2.1!80")), "EHOSTUNREACH");
  assertEquals(errnoOf(() => conv.command("announce 90")), "EFAIL");
  assertEquals(errnoOf(() => conv.command("announce 192.0.2.1!91")), "EFAIL");
  assertEquals(errnoOf(() => conv.command(`connect ${PEER}!80`)), "EINPROGRESS");
  user.host.clock.jobs.run();
  assertEquals([stateOf(conv), errnoOf(() => user.write(conv.data, "x"))], ["Closed", "ECONNREFUSED"]);
  peer.conv("tcp", "announce 80");
  assertEquals(errnoOf(() => conv.command(`connect ${PEER}!80`)), "EINPROGRESS");
  user.host.clock.jobs.run();
  assertEquals(stateOf(conv), "Established");
});

Deno.test("defect 4.3: what a connect without an answer gave up, the next one asks for", async () => {
  await using world = await meet();
  const conv = call(world.user, "10.0.0.77!80", "ecn on");
  advance(world.user.host, 200_000);
  assertEquals([stateOf(conv), world.wire.sent()], ["Closed", []]);
  assertEquals(errnoOf(() => conv.command(`connect ${PEER}!80`)), "EINPROGRESS");
  assertEquals(segmentOf(world.wire.sent()[0]!).flags, TCP_SYN | TCP_ECE | TCP_CWR);
});

Deno.test("defect 4.4: bind, then connect or announce: the port is kept, and no stale entry gets packets", async () => {
  await using world = await meet();
  const { user, peer } = world;
  const stack = user.host.ip.stack(0);
  const { table } = stack.space(stack.protoNamed("tcp")!);
  const listener = peer.conv("tcp", "announce 80");
  const conv = call(user, `${PEER}!80`, "bind 4000");
  assertEquals([conv.port, table.length], [4000, 1]);
  accept(listener).close();
  assertEquals(hear(conv), "");
  conv.close();
  advance(user.host, 61_000);
  const second = user.conv("tcp", "bind 4001", "announce 4001");
  assertEquals([second.port, table.length], [4001, 1]);
  second.close();
  assertEquals(table.length, 0);
});

Deno.test("defect 4.4: with 2000 connections each segment still finds its own", async () => {
  await using story = await tell();
  const listener = story.user.conv("tcp", "announce 80");
  const taken: UserConv[] = [];
  for (let i = 0; i < 2000; i++) {
    const { seq, ack } = handshake(story, 80, 10_000 + i);
    taken.push(accept(listener));
    const data = new TextEncoder().encode(`call ${i}`);
    story.wire.inject(tcpPacket({ dstPort: 80, srcPort: 10_000 + i, seq, ack, flags: TCP_ACK | TCP_PSH, data }));
  }
  assertEquals(taken.map(hear), taken.map((_, i) => `call ${i}`));
});

Deno.test("defect 4.6: a verb without its argument is EINVAL with its usage, and there is a nodelay", async () => {
  await using story = await tell();
  const conv = story.user.conv("tcp");
  for (
    const verb of [
      "checksum",
      "nodelay",
      "quickack",
      "congestion",
      "ecn",
      "sack",
      "timestamps",
      "windowscale",
      "usertimeout",
      "wqlimit",
    ]
  ) {
    const { code, message } = errorOf(() => conv.command(verb));
    assertEquals([code, message.includes("usage: ")], ["EINVAL", true], verb);
  }
  assertEquals(errnoOf(() => conv.command("tcpporthogdefense")), "EINVAL");
  assertEquals(errnoOf(() => conv.command("checksum off")), "EOPNOTSUPP");
  for (const verb of ["keepalive", "hangup", "shutdown wr"]) {
    assertEquals(errnoOf(() => conv.command(verb)), "ENOTCONN", verb);
  }
  conv.command("nodelay on");
  assertMatch(conv.text("status"), /options nodelay\n$/);
});

Deno.test("defect 7.1: an old call in the SYN queue is answered again although younger ones are there", async () => {
  await using story = await tell();
  story.user.conv("tcp", "announce 80");
  story.wire.inject(tcpPacket({ dstPort: 80, srcPort: 1000 }));
  story.wire.frames();
  const resent: number[] = [];
  for (let i = 1; i <= 40; i++) {
    advance(story.host, 50);
    story.wire.inject(tcpPacket({ dstPort: 80, srcPort: 1000 + i }));
    for (const packet of story.wire.sent()) {
      const { dstPort } = segmentOf(packet);
      if (dstPort !== 1000 + i) resent.push(dstPort);
    }
  }
  assertEquals(resent[0], 1000);
});

Deno.test("defect 7.1: sequence numbers start from a keyed hash of the ends and the time", async () => {
  await using story = await tell();
  story.user.conv("tcp", "announce 80");
  const start = (srcPort: number): number => {
    story.wire.inject(tcpPacket({ dstPort: 80, srcPort }));
    return segmentOf(story.wire.one()).seq;
  };
  const first = start(1);
  assertNotEquals(start(2) - first, start(3) - start(2));
  // The same ends later: further on, by 250,000 a second (RFC 6528 3), so that no old segment fits.
  advance(story.host, 120_000);
  story.wire.frames();
  const later = start(1);
  assertEquals(Math.round(((later - first) >>> 0) / 120_000), 250);
});

Deno.test("defect 7.1: a checksum of 0 is a wrong one", async () => {
  await using story = await tell();
  story.user.conv("tcp", "announce 80");
  story.wire.inject(tcpPacket({ dstPort: 80, checksum: 0 }));
  assertEquals([story.wire.sent(), story.user.stat("tcp", "CsumErrs")], [[], 1]);
});

Deno.test("defect 7.1: closing with unread data resets, so that the peer does not think they were read", async () => {
  await using world = await meet();
  const listener = world.peer.conv("tcp", "announce 80");
  const conv = call(world.user, `${PEER}!80`);
  const far = accept(listener);
  say(conv, "never read");
  far.close();
  assertEquals([errnoOf(() => hear(conv)), errnoOf(() => world.user.write(conv.data, "x"))], [
    "ECONNRESET",
    "ECONNRESET",
  ]);
});

Deno.test("defect 7.1: refused, reset and timed out are three errors, and a blind reset is none", async () => {
  await using story = await tell();
  const { user, wire } = story;
  const refused = call(user, `${PEER}!9 4000`);
  const { seq } = segmentOf(wire.one());
  wire.inject(tcpPacket({ seq: 0, ack: seq + 1, flags: TCP_RST | TCP_ACK }));
  assertEquals(errnoOf(() => hear(refused)), "ECONNREFUSED");
  const listener = user.conv("tcp", "announce 80");
  const ends = handshake(story, 80);
  const taken = accept(listener);
  wire.inject(tcpPacket({ dstPort: 80, seq: ends.seq + 5, ack: ends.ack, flags: TCP_RST | TCP_ACK }));
  assertEquals(stateOf(taken), "Established");
  wire.inject(tcpPacket({ dstPort: 80, seq: ends.seq, ack: ends.ack, flags: TCP_RST | TCP_ACK }));
  assertEquals(errnoOf(() => hear(taken)), "ECONNRESET");
  const silent = call(user, `${PEER}!9 4001`, "usertimeout 5000");
  advance(story.host, 10_000);
  assertEquals(errnoOf(() => hear(silent)), "ETIMEDOUT");
});

Deno.test("defect 7.1: ICMP that quotes data not in flight aborts no SYN and no connection", async () => {
  await using story = await tell();
  const conv = call(story.user, `${PEER}!9 4000`);
  const syn = story.wire.one();
  const { seq } = segmentOf(syn);
  const forged = tcpPacket({ srcPort: 4000, dstPort: 9, seq: seq + 77 }, { src: US, dst: PEER });
  story.wire.inject(icmpErrorPacket({ type: ICMP_UNREACHABLE, code: 3, packet: forged }));
  assertEquals(stateOf(conv), "Syn_sent");
  assert(story.user.stat("tcp", "AdviceIgnored") > 0);
  story.wire.inject(icmpErrorPacket({ type: ICMP_UNREACHABLE, code: 3, packet: syn }));
  assertEquals(errnoOf(() => hear(conv)), "ECONNREFUSED");
});

Deno.test("defect 7.1: an idle connection is not probed unless that was asked for", async () => {
  await using world = await meet();
  const listener = world.peer.conv("tcp", "announce 80");
  const conv = call(world.user, `${PEER}!80`);
  const far = accept(listener);
  advance(world.user.host, 1000);
  world.wire.frames();
  advance(world.user.host, 24 * 3600 * 1000);
  assertEquals(world.wire.sent(), []);
  conv.command("keepalive 10000");
  advance(world.user.host, 60_000);
  assert(world.user.stat("tcp", "Keepalives") >= 5);
  assertEquals([stateOf(conv), stateOf(far)], ["Established", "Established"]);
});

Deno.test("defect 11, 9: a write answers how many bytes were taken, and the rest when there is room", async () => {
  await using world = await meet();
  const listener = world.peer.conv("tcp", "announce 80");
  const conv = call(world.user, `${PEER}!80`);
  const far = accept(listener);
  const chunk = new Uint8Array(100_000);
  let sent = 0;
  for (let count = 1; count > 0 && sent < 1 << 26;) {
    const taken = world.user.write(conv.data, chunk);
    count = typeof taken === "number" ? taken : 0;
    sent += count;
  }
  assert(sent < 1 << 26);
  const events = conv.tap(TapEvent.Writable);
  let got = 0;
  for (let part = far.read(); part === null || part.length > 0; part = far.read()) {
    got += part?.length ?? 0;
    if (got === sent) conv.command("shutdown wr");
    if (part === null) advance(world.user.host, 100);
  }
  assertEquals(events.poll()?.events, TapEvent.Writable);
  assertEquals(got, sent);
});

Deno.test("defect 11, 11: others are kept out of a connection, and one user cannot have all", async () => {
  await using world = await meet();
  const { user, peer } = world;
  const bob = new User(user.host, "bob");
  const mallory = new User(user.host, "mallory");
  const listener = bob.conv("tcp", "announce 8080");
  const conv = call(peer, `${US}!8080`);
  for (const file of ["ctl", "data", "err", "listen"]) {
    assertEquals(errnoOf(() => mallory.open(`${listener.dir}/${file}`)), "EACCES", file);
  }
  const taken = accept(listener);
  assertEquals(errnoOf(() => mallory.open(`${taken.dir}/data`)), "EACCES");
  assertEquals(mallory.text(`${taken.dir}/remote`), `${PEER}!${conv.port}\n`);
  let count = 0;
  assertEquals(
    errnoOf(() => {
      for (;;) {
        mallory.conv("tcp");
        count++;
      }
    }),
    "EFAIL",
  );
  assertEquals(count, 6144);
  user.conv("tcp");
});

Deno.test("defect 11, 12: a segment with wrong lengths is counted and dropped", async () => {
  await using story = await tell();
  story.user.conv("tcp", "announce 4000");
  const cut = (packet: Uint8Array, length: number): Uint8Array => {
    put16(packet, 2, length);
    return fixed(packet.slice(0, length));
  };
  story.wire.inject(cut(tcpPacket(), 20 + 19));
  story.wire.inject(cut(tcpPacket(), 20));
  for (const words of [0, 4, 15]) {
    const packet = tcpPacket({ checksum: 0 });
    packet[32] = words << 4;
    story.wire.inject(packet);
  }
  const count = (name: string): number => story.user.stat("tcp", name);
  assertEquals([count("InSegs"), count("LenErrs"), count("HlenErrs"), story.wire.sent()], [5, 2, 3, []]);
});
