/** The NAT over a whole host: a guest made by hand, `#ip`, a cable, and a second kernel at its other end. */

import { assertEquals } from "@std/assert";
import { Block } from "../../../kernel/block.ts";
import type { FramePort } from "../../../kernel/host.ts";
import { emitEthernet, ETHERTYPE_IPV4 } from "../../../kernel/wire/ethernet.ts";
import { HOST_MAC } from "../../../tools/nat/config.ts";
import { icmpNextHopMtu } from "../../../kernel/wire/icmp.ts";
import { ipv4Tos, ipv4Ttl } from "../../../kernel/wire/ipv4.ts";
import { echoPacket, icmpErrorPacket, pattern, udpPacket } from "../../kit/ip/ip_fixture.ts";
import { advance, type UserConv } from "../../kit/ip/story.ts";
import { headerOf } from "../../kit/ip/packets.ts";
import { dataOf, fixed, fragmentsOf } from "../../kit/ip/packet_parts.ts";
import { assertSound, endsOf, tcpPacket } from "../../kit/nat/steps.ts";
import { dnsQuestion, dnsReply } from "../../kit/nat/dns_relay.ts";
import { DNS, GUEST, HOST, must, type NatStory, REMOTE, ROUTER, tellNat } from "../../kit/nat/nat.ts";

const udp = (options: Parameters<typeof udpPacket>[0] = {}) =>
  udpPacket({ src: GUEST, dst: REMOTE, srcPort: 4000, dstPort: 7, ttl: 64, ...options });

/** Answers what waits at a conversation in `headers` mode with its own payload; the senders, as text. */
function echo(conv: UserConv): string[] {
  const senders: string[] = [];
  for (let block = conv.bread(); block !== null; block = conv.bread()) {
    const bytes = block.bytes();
    senders.push(`${[...bytes.subarray(12, 16)].join(".")}!${(bytes[48]! << 8) | bytes[49]!}`);
    conv.bwrite(bytes.slice());
  }
  return senders;
}

/** The datagram that the guest gets back from an echo at the remote, put together if it comes in pieces. */
function echoed(story: NatStory, conv: UserConv, packets: readonly Uint8Array[]): Uint8Array {
  for (const packet of packets) story.guest.send(packet);
  advance(story.host, 50);
  assertEquals(echo(conv), [`${HOST}!4000`]);
  advance(story.host, 50);
  const pieces = story.guest.packets();
  for (const piece of pieces) assertSound(piece);
  const parts = pieces.map((piece) => ({ at: headerOf(piece).fragOffset, bytes: piece.subarray(20) }));
  const whole = new Uint8Array(parts.reduce((length, { bytes }) => length + bytes.length, 0));
  for (const { at, bytes } of parts) whole.set(bytes, at);
  return whole.subarray(8);
}

Deno.test("head-to-head, 64 KiB UDP: every size goes to the remote and back, in fragments where it must", async () => {
  await using story = await tellNat();
  const conv = story.there.conv("udp", "announce 7", "headers");
  for (const size of [0, 1, 1472, 1473, 9000, 65507]) {
    const whole = udp({ payload: pattern(size), id: size });
    const packets = whole.length <= 1500 ? [whole] : fragmentsOf(whole, 1480, size);
    assertEquals(echoed(story, conv, packets), pattern(size));
  }
  assertEquals(story.stat("reassembled"), 3);
});

Deno.test("akaros 22: guest fragments in any order, twice, are one datagram (RFC 4787 REQ-14)", async () => {
  await using story = await tellNat();
  const conv = story.there.conv("udp", "announce 7", "headers");
  const pieces = fragmentsOf(udp({ payload: pattern(5000) }), 800, 9);
  assertEquals(echoed(story, conv, [...pieces.reverse(), pieces[0]!].slice(0, 8)), pattern(5000));
  assertEquals(story.stat("mapsMade"), 1);
});

Deno.test("RFC 791 3.2: a guest's fragments with DF set are cut again for a smaller uplink", async () => {
  await using story = await tellNat({ boot: { mtu: 1000 } });
  const conv = story.there.conv("udp", "announce 7", "headers");
  for (const size of [1000, 1200, 1452, 3000]) {
    const pieces = fragmentsOf(udp({ payload: pattern(size) }), 800, size);
    for (const piece of pieces) {
      piece[6]! |= 0x40;
      fixed(piece);
    }
    assertEquals(echoed(story, conv, pieces), pattern(size));
  }
  assertEquals(story.stat("refused-too-big"), 0);
});

Deno.test("ping of the router and of the remote", async () => {
  await using story = await tellNat();
  const request = (dst: string) => echoPacket({ src: GUEST, dst, id: 7, seq: 1, data: pattern(56), ttl: 64 });
  assertEquals(endsOf(story.guest.askOne(request(ROUTER))), `${ROUTER}:7 > ${GUEST}:7`);
  const answer = story.guest.askOne(request(REMOTE));
  assertEquals([endsOf(answer), answer[20], answer.slice(28)], [`${REMOTE}:7 > ${GUEST}:7`, 0, pattern(56)]);
  assertSound(answer);
});

Deno.test("head-to-head, ping to a dead address: host unreachable when ARP has failed, no fake answer", async () => {
  await using story = await tellNat();
  const dead = "10.0.0.77";
  const tcp = tcpPacket({ dst: dead });
  const asked = [
    echoPacket({ src: GUEST, dst: dead, id: 7, seq: 1, data: pattern(56), ttl: 64 }),
    udp({ dst: dead }),
    tcp,
  ];
  for (const packet of asked) assertEquals(story.guest.ask(packet), []);
  advance(story.host, 10_000);
  const errors = story.guest.packets();
  assertEquals(errors.map((error) => [error[9], error[20], error[21]]), [[1, 3, 1], [1, 3, 1], [1, 3, 1]]);
  errors.forEach((error, i) => {
    assertSound(error);
    assertEquals([`${headerOf(error).src}`, endsOf(error.slice(28))], [HOST, endsOf(asked[i]!)]);
  });
});

Deno.test("A closed port at the remote: the guest gets its ICMP error, about its own packet", async () => {
  await using story = await tellNat();
  const sent = udp({ dstPort: 99, payload: pattern(40) });
  const error = story.guest.askOne(sent);
  assertSound(error);
  assertEquals([`${headerOf(error).src}`, error[20], error[21]], [REMOTE, 3, 3]);
  assertEquals(endsOf(error.slice(28)), `${GUEST}:4000 > ${REMOTE}:99`);
});

Deno.test("head-to-head, traceroute: it shows our hop and then the remote", async () => {
  await using story = await tellNat();
  const probe = (ttl: number) => story.guest.askOne(udp({ ttl, dstPort: 33434 }));
  const hops = [1, 2].map((ttl) => probe(ttl)).map((error) => [`${headerOf(error).src}`, error[20], error[21]]);
  assertEquals(hops, [[ROUTER, 11, 0], [REMOTE, 3, 3]]);
});

Deno.test("head-to-head, ECN: it, DSCP and TTL arrive as they were sent, less one hop", async () => {
  await using story = await tellNat();
  const conv = story.there.conv("udp", "bypass 7");
  story.guest.ask(udp({ tos: 0xb9, ttl: 20, id: 77, dontFragment: true }));
  const packet = conv.take();
  const { ttl, tos, id, dontFragment } = headerOf(packet);
  assertEquals([ttl, tos, id, dontFragment], [19, 0xb9, 77, true]);
  const answer = udpPacket({ src: REMOTE, dst: HOST, srcPort: 7, dstPort: 4000, tos: 0x03, ttl: 9 });
  conv.bwrite(answer);
  advance(story.host, 20);
  const got = must(story.guest.packets()[0]);
  assertEquals([ipv4Ttl(got, 0), ipv4Tos(got, 0)], [8, 3]);
});

Deno.test("head-to-head, client address kept: a forward shows the guest the client's address, port too", async () => {
  await using story = await tellNat({ forwards: ["udp:8053:53"] });
  const conv = story.there.conv("udp", `connect ${HOST}!8053 1234`);
  conv.bwrite(pattern(30));
  advance(story.host, 20);
  const got = must(story.guest.packets()[0]);
  assertEquals([endsOf(got), dataOf(got)], [`${REMOTE}:1234 > ${GUEST}:53`, pattern(30)]);
  story.guest.ask(udp({ srcPort: 53, dstPort: 1234, payload: pattern(10) }));
  assertEquals(conv.take(), pattern(10));
});

Deno.test("A TCP segment to a forwarded port reaches the guest as it is but for its ends", async () => {
  await using story = await tellNat({ forwards: ["tcp:2222:22"] });
  const conv = story.there.conv("raw", "bypass 200");
  conv.close();
  const syn = story.there.conv("tcp", "bypass 5555");
  const tcpOptions = { mss: 1460, windowScale: 7, sackPermitted: true };
  syn.bwrite(tcpPacket({ src: REMOTE, dst: HOST, srcPort: 5555, dstPort: 2222, seq: 77, tcpOptions }));
  advance(story.host, 20);
  const got = must(story.guest.packets()[0]);
  assertSound(got);
  assertEquals(endsOf(got), `${REMOTE}:5555 > ${GUEST}:22`);
  story.guest.ask(tcpPacket({ srcPort: 22, dst: REMOTE, dstPort: 5555, flags: 0x12, seq: 9, ack: 78, tcpOptions }));
  assertEquals(endsOf(syn.take()), `${HOST}:2222 > ${REMOTE}:5555`);
});

Deno.test("A service of the host's loopback is reached by the router's address, and not from outside", async () => {
  await using story = await tellNat({ nat: { policy: { loopback: true } } });
  const conv = story.user.conv("udp", "announce 127.0.0.1!9", "headers");
  story.guest.send(udp({ dst: ROUTER, dstPort: 9, payload: pattern(5) }));
  advance(story.host, 20);
  const senders = echo(conv);
  advance(story.host, 20);
  const got = must(story.guest.packets()[0]);
  assertEquals([senders[0]!.split("!")[0], endsOf(got)], ["127.0.0.1", `${ROUTER}:9 > ${GUEST}:4000`]);
  const hostPort = Number(senders[0]!.split("!")[1]);
  const outside = story.there.conv("udp", `connect ${HOST}!${hostPort}`);
  outside.bwrite(pattern(5));
  advance(story.host, 20);
  assertEquals(story.guest.packets(), []);
});

Deno.test("A question to 10.0.2.3 is answered by the host's name server, bytes unchanged", async () => {
  await using story = await tellNat();
  const server = story.there.conv("udp", "announce 53", "headers");
  const query = dnsQuestion("example.com", { id: 77, type: 65280, edns: 0 });
  story.guest.send(udp({ dst: DNS, dstPort: 53, payload: query }));
  advance(story.host, 20);
  const record = must(server.bread()).bytes().slice();
  assertEquals(record.slice(54), query.slice(2), "all but the id, which is drawn");
  const reply = dnsReply(record.slice(52), { answers: [] });
  server.bwrite(new Uint8Array([...record.subarray(0, 52), ...reply]));
  advance(story.host, 20);
  const got = must(story.guest.packets()[0]);
  assertEquals([endsOf(got), dataOf(got)], [`${DNS}:53 > ${GUEST}:4000`, dnsReply(query, { answers: [] })]);
});

Deno.test("head-to-head, MTU 1280 path: DF is answered with the MTU, without DF the host cuts", async () => {
  await using story = await tellNat({ boot: { mtu: 1280 } });
  const conv = story.there.conv("udp", "announce 7", "headers");
  const error = story.guest.askOne(udp({ payload: pattern(1400), dontFragment: true }));
  assertEquals([error[20], error[21], icmpNextHopMtu(error, 20)], [3, 4, 1280]);
  assertEquals(endsOf(error.slice(28)), `${GUEST}:4000 > ${REMOTE}:7`);
  assertEquals(`${headerOf(error).src}`, ROUTER);
  assertEquals(echoed(story, conv, [udp({ payload: pattern(1400), id: 5 })]), pattern(1400));
});

Deno.test("Too big from a router behind the host comes to the guest with its MTU", async () => {
  await using story = await tellNat();
  const conv = story.there.conv("udp", "bypass 7");
  story.guest.ask(udp({ payload: pattern(1200), dontFragment: true }));
  const packet = conv.take();
  conv.bwrite(icmpErrorPacket({ type: 3, code: 4, rest: 600, packet }, { src: REMOTE, dst: HOST }));
  advance(story.host, 20);
  const error = must(story.guest.packets()[0]);
  assertEquals([error[21], icmpNextHopMtu(error, 20)], [4, 600]);
  assertEquals(endsOf(error.slice(28)), `${GUEST}:4000 > ${REMOTE}:7`);
});

Deno.test("The guest's own port unreachable reaches the remote that sent", async () => {
  await using story = await tellNat({ forwards: ["udp:8053:53"] });
  const conv = story.there.conv("udp", `connect ${HOST}!8053 1234`);
  conv.bwrite(pattern(30));
  advance(story.host, 20);
  const got = must(story.guest.packets()[0]);
  story.guest.ask(icmpErrorPacket({ type: 3, code: 3, packet: got }, { src: GUEST, dst: REMOTE }));
  const told = must(conv.error());
  assertEquals([told[20], told[21], endsOf(told.slice(28))], [3, 3, `${REMOTE}:1234 > ${HOST}:8053`]);
});

Deno.test("No route: the guest gets an error", async () => {
  await using story = await tellNat();
  const error = story.guest.askOne(udp({ dst: "198.51.100.7" }));
  assertEquals([error[20], error[21], `${headerOf(error).src}`], [3, 0, ROUTER]);
  assertEquals(story.stat("refused-no-route"), 1);
});

Deno.test("Hairpin: a guest reaches its own forward by the host's address (RFC 4787 REQ-9)", async () => {
  await using story = await tellNat({ forwards: ["udp:8053:53"], nat: { policy: { host: false } } });
  assertEquals(story.guest.askOne(udp({ dst: HOST, dstPort: 8054 }))[21], 13);
  const got = story.guest.askOne(udp({ dst: HOST, dstPort: 8053, payload: pattern(9) }));
  assertEquals([endsOf(got), dataOf(got)], [`${HOST}:4000 > ${GUEST}:53`, pattern(9)]);
  const back = story.guest.askOne(udp({ dst: HOST, srcPort: 53, dstPort: 4000, payload: pattern(8) }));
  assertEquals(endsOf(back), `${HOST}:8053 > ${GUEST}:4000`);
});

Deno.test("A packet that waits for its turn while a new map is made spoils neither", async () => {
  await using story = await tellNat();
  const { host, remote, guest, program } = story;
  const conv = story.there.conv("udp", "announce 7", "headers");
  guest.ask(udp({ srcPort: 4000 }));
  assertEquals(echo(conv), [`${HOST}!4000`]);
  advance(host, 20);
  guest.packets();
  // From the wire, as a reactor gives it: it waits. Then a new flow's first packet, whose system calls run what waits.
  const inbound = udpPacket({ src: REMOTE, dst: HOST, srcPort: 7, dstPort: 4000, payload: pattern(30) });
  const [to, from] = [host.port as FramePort, remote.port as FramePort];
  to.receive!(Block.from(new Uint8Array([...to.mac, ...from.mac, 8, 0, ...inbound])));
  assertEquals(host.clock.jobs.pending, true);
  const outbound = udp({ srcPort: 4001, payload: pattern(10) });
  const head = new Uint8Array(14);
  emitEthernet({ dst: HOST_MAC, src: guest.mac, etherType: ETHERTYPE_IPV4 }, head, 0);
  program.fromGuest(Block.from(new Uint8Array([...head, ...outbound])));
  const got = guest.packets();
  assertEquals(got.map(endsOf), [`${REMOTE}:7 > ${GUEST}:4000`]);
  assertSound(got[0]!);
  assertEquals(got[0]!.slice(28), pattern(30));
  advance(host, 20);
  assertEquals(echo(conv), [`${HOST}!4001`], "nor is it lost");
  assertEquals(story.stat("refused-host-refused"), 0);
});
