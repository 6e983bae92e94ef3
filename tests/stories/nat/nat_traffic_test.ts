/**
 * The NAT over a whole host, for both versions of IP: a guest made by hand, `#ip`, a cable, and a second kernel at its
 * other end.
 */

import { assertEquals } from "@std/assert";
import { getRecord, HeaderMode } from "../../../devices/ip/udp/udp_headers.ts";
import { Block } from "../../../kernel/block.ts";
import type { FramePort } from "../../../kernel/host.ts";
import { get16 } from "../../../kernel/wire/bytes.ts";
import { emitEthernet } from "../../../kernel/wire/ethernet.ts";
import { ipv4DontFragment, ipv4Id } from "../../../kernel/wire/ipv4.ts";
import { HOST_MAC } from "../../../tools/nat/config.ts";
import { pattern, udpPacket } from "../../kit/ip/ip_fixture.ts";
import { advance, type UserConv } from "../../kit/ip/story.ts";
import { fixed, fragmentsOf } from "../../kit/ip/packet_parts.ts";
import { dnsQuestion, dnsReply } from "../../kit/nat/dns_relay.ts";
import type { FamilyPacket } from "../../kit/nat/families.ts";
import { pieces } from "../../kit/nat/naive.ts";
import { GUEST, must, type NatStory, REMOTE, tellNat } from "../../kit/nat/nat.ts";
import { assertSound, endsOf, layoutOf, partOf, tcp6, tcpPacket } from "../../kit/nat/steps.ts";
import { STORY_FAMILIES, type StoryFamily } from "../../kit/nat/story_families.ts";

const RECORD_LEN = 52;

/** Answers what waits at a conversation in `headers` mode with its own payload; the senders, as text. */
function echo(conv: UserConv): string[] {
  const senders: string[] = [];
  for (let block = conv.bread(); block !== null; block = conv.bread()) {
    const { raddr, rport } = getRecord(HeaderMode.Headers, block.buf, block.rp);
    senders.push(`${raddr}!${rport}`);
    conv.bwrite(block.bytes().slice());
  }
  return senders;
}

/** The datagram that the guest gets back from an echo at the remote, put together if it comes in pieces. */
function echoed(story: NatStory, conv: UserConv, packets: readonly Uint8Array[], host: string): Uint8Array {
  for (const packet of packets) story.guest.send(packet);
  advance(story.host, 50);
  assertEquals(echo(conv), [`${host}!4000`]);
  advance(story.host, 50);
  const came = story.guest.packets();
  for (const piece of came) assertSound(piece);
  const parts = came.map((piece) => ({ ...partOf(piece), piece }));
  const whole = new Uint8Array(parts.reduce((length, { piece, at }) => length + piece.length - at, 0));
  for (const { piece, at, offset } of parts) {
    // A whole datagram's headers are all before its data; of a piece `at` ends the header of the fragment.
    whole.set(piece.subarray(at), offset);
  }
  return whole.subarray(8);
}

/** Type and code of an ICMP error, its sender, and the ends of what it quotes. */
function errorOf(error: Uint8Array): { code: number[]; src: string; about: string } {
  assertSound(error);
  const { at, src } = layoutOf(error);
  return { code: [error[at]!, error[at + 1]!], src: `${src}`, about: endsOf(error.slice(at + 8)) };
}

/** Unreachable because a neighbour does not answer. */
function deadCode({ is6 }: StoryFamily): number[] {
  return is6 ? [1, 3] : [3, 1];
}

for (const family of STORY_FAMILIES) {
  const { name, is6, host, remote, guest, router, dns, loopback, dead, other, ends, codes, headerLen, hopsAt } = family;
  const udp = (options: FamilyPacket = {}) => family.udp({ dstPort: 7, ...options });
  const dataOf = (packet: Uint8Array) => packet.slice(headerLen + 8);
  const tosOf = (packet: Uint8Array) => is6 ? (get16(packet, 0) >>> 4) & 0xff : packet[1]!;

  Deno.test(`${name}: head-to-head, 64 KiB UDP: every size goes there and back, in pieces if it must`, async () => {
    await using story = await family.tell();
    const conv = story.there.conv("udp", "announce 7", "headers");
    for (const size of [0, 1, 1500 - headerLen - 8, 1500 - headerLen - 7, 9000, 65507]) {
      const whole = udp({ payload: pattern(size) });
      const packets = whole.length <= 1500 ? [whole] : pieces(whole, 180);
      assertEquals(echoed(story, conv, packets, host), pattern(size));
    }
    assertEquals(story.stat("reassembled"), 3);
  });

  Deno.test(`${name}: akaros 22: guest fragments in any order, twice, are one datagram (RFC 4787 REQ-14)`, async () => {
    await using story = await family.tell();
    const conv = story.there.conv("udp", "announce 7", "headers");
    const all = pieces(udp({ payload: pattern(5000) }), 100);
    assertEquals(echoed(story, conv, [...all.reverse(), all[0]!].slice(0, 8), host), pattern(5000));
    assertEquals(story.stat("mapsMade"), 1);
  });

  Deno.test(`${name}: ping of the router and of the remote`, async () => {
    await using story = await family.tell();
    const request = (dst: string) => family.echo({ dst, srcPort: 7, payload: pattern(56) });
    assertEquals(endsOf(story.guest.askOne(request(router))), ends(router, 7, guest, 7));
    const answer = story.guest.askOne(request(remote));
    const type = answer[headerLen];
    assertEquals([endsOf(answer), type, dataOf(answer)], [ends(remote, 7, guest, 7), is6 ? 129 : 0, pattern(56)]);
    assertSound(answer);
  });

  Deno.test(`${name}: head-to-head, a dead address: unreachable when it was not resolved, no fake answer`, async () => {
    await using story = await family.tell();
    const asked = [
      family.echo({ dst: dead, srcPort: 7, payload: pattern(56) }),
      udp({ dst: dead }),
      family.tcp({ dst: dead }),
    ];
    for (const packet of asked) assertEquals(story.guest.ask(packet), []);
    advance(story.host, 10_000);
    const errors = story.guest.packets().map(errorOf);
    assertEquals(errors, asked.map((packet) => ({ code: deadCode(family), src: host, about: endsOf(packet) })));
  });

  Deno.test(`${name}: a closed port at the remote: the guest gets its ICMP error, about its own packet`, async () => {
    await using story = await family.tell();
    const error = errorOf(story.guest.askOne(udp({ dstPort: 99, payload: pattern(40) })));
    assertEquals(error, { code: codes.port, src: remote, about: ends(guest, 4000, remote, 99) });
  });

  Deno.test(`${name}: head-to-head, traceroute: it shows our hop and then the remote`, async () => {
    await using story = await family.tell();
    const probe = (hops: number) => story.guest.askOne(udp({ hops, dstPort: 33434 }));
    const hops = [1, 2].map((count) => errorOf(probe(count))).map(({ src, code }) => ({ src, code }));
    assertEquals(hops, [{ src: router, code: codes.hops }, { src: remote, code: codes.port }]);
  });

  Deno.test(`${name}: head-to-head, ECN: it, DSCP and hops arrive as they were sent, less one hop`, async () => {
    await using story = await family.tell();
    const conv = story.there.conv("udp", "bypass 7");
    const packet = udp({ tos: 0xb9, hops: 20, isWhole: true });
    story.guest.ask(packet);
    const came = conv.take();
    assertEquals([came[hopsAt], tosOf(came)], [19, 0xb9]);
    if (!is6) assertEquals([ipv4Id(came, 0), ipv4DontFragment(came, 0)], [ipv4Id(packet, 0), true]);
    conv.bwrite(family.udpIn({ tos: 0x03, hops: 9 }));
    advance(story.host, 20);
    const got = must(story.guest.packets()[0]);
    assertEquals([got[hopsAt], tosOf(got)], [8, 3]);
  });

  Deno.test(`${name}: head-to-head, a forward shows the guest the client's address, and its port`, async () => {
    await using story = await family.tell({ forwards: [family.forward("udp", 8053, 53)] });
    const conv = story.there.conv("udp", `connect ${host}!8053 1234`);
    conv.bwrite(pattern(30));
    advance(story.host, 20);
    const got = must(story.guest.packets()[0]);
    assertEquals([endsOf(got), dataOf(got)], [ends(remote, 1234, guest, 53), pattern(30)]);
    story.guest.ask(udp({ srcPort: 53, dstPort: 1234, payload: pattern(10) }));
    assertEquals(conv.take(), pattern(10));
  });

  Deno.test(`${name}: a TCP segment to a forwarded port reaches the guest as it is but for its ends`, async () => {
    await using story = await family.tell({ forwards: [family.forward("tcp", 2222, 22)] });
    const syn = story.there.conv("tcp", "bypass 5555");
    const tcpOptions = { mss: 1400, windowScale: 7, sackPermitted: true };
    const make = is6 ? tcp6 : tcpPacket;
    const sent = make({ src: remote, dst: host, srcPort: 5555, dstPort: 2222, seq: 77, tcpOptions });
    syn.bwrite(sent);
    advance(story.host, 20);
    const got = must(story.guest.packets()[0]);
    assertSound(got);
    assertEquals(endsOf(got), ends(remote, 5555, guest, 22));
    // But for ports and checksum.
    const textOf = (
      packet: Uint8Array,
    ) => [...packet.subarray(headerLen + 4, headerLen + 16), ...packet.subarray(headerLen + 18)];
    assertEquals(textOf(got), textOf(sent));
    story.guest.ask(make({ srcPort: 22, dst: remote, dstPort: 5555, flags: 0x12, seq: 9, ack: 78, tcpOptions }));
    assertEquals(endsOf(syn.take()), ends(host, 2222, remote, 5555));
  });

  Deno.test(`${name}: the host's loopback is reached by the router's address, not from outside`, async () => {
    await using story = await family.tell({ nat: { policy: { loopback: true } } });
    const conv = story.user.conv("udp", `announce ${loopback}!9`, "headers");
    story.guest.send(udp({ dst: router, dstPort: 9, payload: pattern(5) }));
    advance(story.host, 20);
    const senders = echo(conv);
    advance(story.host, 20);
    const got = must(story.guest.packets()[0]);
    assertEquals([senders[0]!.split("!")[0], endsOf(got)], [loopback, ends(router, 9, guest, 4000)]);
    const hostPort = Number(senders[0]!.split("!")[1]);
    const outside = story.there.conv("udp", `connect ${host}!${hostPort}`);
    outside.bwrite(pattern(5));
    advance(story.host, 20);
    assertEquals(story.guest.packets(), []);
  });

  Deno.test(`${name}: a question to the router's name server is answered by the host's, bytes unchanged`, async () => {
    await using story = await family.tell({ nat: { nameServers: [remote] } });
    const server = story.there.conv("udp", "announce 53", "headers");
    const query = dnsQuestion("example.com", { id: 77, type: 65280, edns: 0 });
    story.guest.send(udp({ dst: dns, dstPort: 53, payload: query }));
    advance(story.host, 20);
    const record = must(server.bread()).bytes().slice();
    assertEquals(record.slice(RECORD_LEN + 2), query.slice(2), "all but the id, which is drawn");
    const reply = dnsReply(record.slice(RECORD_LEN), { answers: [] });
    server.bwrite(new Uint8Array([...record.subarray(0, RECORD_LEN), ...reply]));
    advance(story.host, 20);
    const got = must(story.guest.packets()[0]);
    assertEquals([endsOf(got), dataOf(got)], [ends(dns, 53, guest, 4000), dnsReply(query, { answers: [] })]);
  });

  Deno.test(`${name}: head-to-head, MTU 1280 path: what may not be cut is answered, the rest cut`, async () => {
    await using story = await family.tell({ boot: { mtu: 1280 } });
    const conv = story.there.conv("udp", "announce 7", "headers");
    const error = story.guest.askOne(udp({ payload: pattern(1400), isWhole: true }));
    assertEquals(errorOf(error), { code: codes.tooBig, src: router, about: ends(guest, 4000, remote, 7) });
    assertEquals(get16(error, headerLen + 6), 1280);
    // Over IPv6 the guest itself cuts; what was put together is cut again.
    const packet = udp({ payload: pattern(1400) });
    assertEquals(echoed(story, conv, is6 ? pieces(packet, 150) : [packet], host), pattern(1400));
  });

  Deno.test(`${name}: too big from a router behind the host comes to the guest with its MTU`, async () => {
    await using story = await family.tell();
    const conv = story.there.conv("udp", "bypass 7");
    story.guest.ask(udp({ payload: pattern(1200), isWhole: true }));
    const rest = is6 ? 1300 : 600;
    conv.bwrite(family.error(codes.tooBig, conv.take(), { src: remote, dst: host, rest }));
    advance(story.host, 20);
    const error = must(story.guest.packets()[0]);
    assertEquals([errorOf(error).code, get16(error, headerLen + 6)], [codes.tooBig, rest]);
    assertEquals(errorOf(error).about, ends(guest, 4000, remote, 7));
  });

  Deno.test(`${name}: the guest's own port unreachable reaches the remote that sent`, async () => {
    await using story = await family.tell({ forwards: [family.forward("udp", 8053, 53)] });
    const conv = story.there.conv("udp", `connect ${host}!8053 1234`);
    conv.bwrite(pattern(30));
    advance(story.host, 20);
    const got = must(story.guest.packets()[0]);
    story.guest.ask(family.error(codes.port, got, { src: guest, dst: remote }));
    const { code, about } = errorOf(must(conv.error()));
    assertEquals({ code, about }, { code: codes.port, about: ends(remote, 1234, host, 8053) });
  });

  Deno.test(`${name}: no route: the guest gets an error`, async () => {
    await using story = await family.tell();
    const { code, src } = errorOf(story.guest.askOne(udp({ dst: other })));
    assertEquals({ code, src }, { code: codes.noRoute, src: router });
    assertEquals(story.stat("refused-no-route"), 1);
  });

  Deno.test(`${name}: a guest reaches its own forward by the host's address (RFC 4787 REQ-9)`, async () => {
    const forwards = [family.forward("udp", 8053, 53)];
    await using story = await family.tell({ forwards, nat: { policy: { host: false } } });
    assertEquals(errorOf(story.guest.askOne(udp({ dst: host, dstPort: 8054 }))).code, codes.prohibited);
    const got = story.guest.askOne(udp({ dst: host, dstPort: 8053, payload: pattern(9) }));
    assertEquals([endsOf(got), dataOf(got)], [ends(host, 4000, guest, 53), pattern(9)]);
    const back = story.guest.askOne(udp({ dst: host, srcPort: 53, dstPort: 4000, payload: pattern(8) }));
    assertEquals(endsOf(back), ends(host, 8053, guest, 4000));
  });

  Deno.test(`${name}: a packet that waits for its turn while a new map is made spoils neither`, async () => {
    await using story = await family.tell();
    const { host: kernel, remote: far, guest: station, program } = story;
    const conv = story.there.conv("udp", "announce 7", "headers");
    station.ask(udp({ srcPort: 4000 }));
    assertEquals(echo(conv), [`${host}!4000`]);
    advance(kernel, 20);
    station.packets();
    // From the wire, as a reactor gives it: it waits. Then a new flow's first packet: its system calls run what waits.
    const inbound = family.udpIn({ payload: pattern(30) });
    const [to, from] = [kernel.port as FramePort, far.port as FramePort];
    const etherType = is6 ? 0x86dd : 0x800;
    to.receive!(Block.from(new Uint8Array([...to.mac, ...from.mac, etherType >> 8, etherType & 255, ...inbound])));
    assertEquals(kernel.clock.jobs.pending, true);
    const outbound = udp({ srcPort: 4001, payload: pattern(10) });
    const head = new Uint8Array(14);
    emitEthernet({ dst: HOST_MAC, src: station.mac, etherType }, head, 0);
    program.fromGuest(Block.from(new Uint8Array([...head, ...outbound])));
    const got = station.packets();
    assertEquals(got.map(endsOf), [ends(remote, 7, guest, 4000)]);
    assertSound(got[0]!);
    assertEquals(dataOf(got[0]!), pattern(30));
    advance(kernel, 20);
    assertEquals(echo(conv), [`${host}!4001`], "nor is it lost");
    assertEquals(story.stat("refused-host-refused"), 0);
  });
}

Deno.test("RFC 791 3.2: a guest's fragments with DF set are cut again for a smaller uplink", async () => {
  await using story = await tellNat({ boot: { mtu: 1000 } });
  const conv = story.there.conv("udp", "announce 7", "headers");
  for (const size of [1000, 1200, 1452, 3000]) {
    const packet = udpPacket({ src: GUEST, dst: REMOTE, srcPort: 4000, dstPort: 7, ttl: 64, payload: pattern(size) });
    const all = fragmentsOf(packet, 800, size);
    for (const piece of all) {
      piece[6]! |= 0x40;
      fixed(piece);
    }
    assertEquals(echoed(story, conv, all, "10.0.0.1"), pattern(size));
  }
  assertEquals(story.stat("refused-too-big"), 0);
});
