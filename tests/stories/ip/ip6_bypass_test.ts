/**
 * Bypass over IPv6: one claim takes both versions; what is written is checked as strictly as over IPv4 (DESIGN section
 * 6).
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { Block, Checksum, Segment } from "../../../kernel/block.ts";
import { concatBytes, put16 } from "../../../kernel/wire/bytes.ts";
import { pseudoSum } from "../../../kernel/wire/checksum.ts";
import { ICMP6_PACKET_TOO_BIG, ICMP6_UNREACHABLE } from "../../../kernel/wire/icmp6.ts";
import { IPV6_HEADER_LEN } from "../../../kernel/wire/ipv6.ts";
import {
  emitTcp,
  setTcpChecksum,
  TCP_ACK,
  TCP_RST,
  TCP_SYN,
  tcpChecksumOk,
  tcpFlags,
} from "../../../kernel/wire/tcp.ts";
import { ip, pattern, udpPacket } from "../../kit/ip/ip_fixture.ts";
import { errnoOf, errorOf, type Story, type UserConv } from "../../kit/ip/story.ts";
import {
  echo6Packet,
  error6Packet,
  header6,
  inject6,
  packet6,
  type Packet6Options,
  PEER6,
  sent6,
  tell6,
  udp6Packet,
  US6,
} from "../../kit/ip/story6.ts";

const FAR = "2001:db8:9::9";

async function bypassed(...commands: string[]): Promise<{ story: Story; conv: UserConv }> {
  const story = await tell6();
  return { story, conv: story.user.conv("udp", ...(commands.length === 0 ? ["bypass 7"] : commands)) };
}

/** A datagram as the holder of port 7 may send it. */
function out(options: Packet6Options & { srcPort?: number } = {}): Uint8Array {
  return udp6Packet({ src: US6, dst: FAR, srcPort: 7, dstPort: 9, payload: pattern(20), ...options });
}

/** What was refused, by name, from the status line. */
function refused(conv: UserConv): Record<string, number> {
  const words = conv.text("status").trim().split(" refused ")[1]!.split(" ");
  const pairs = Array.from({ length: words.length / 2 }, (_, i) => [words[2 * i]!, Number(words[2 * i + 1])] as const);
  return Object.fromEntries(pairs.filter(([, count]) => count > 0));
}

function extended(nextHeader: number, header: readonly number[], rest: Uint8Array, options: Packet6Options = {}) {
  return packet6({ src: US6, dst: FAR, ...options, nextHeader, payload: concatBytes([Uint8Array.from(header), rest]) });
}

Deno.test("bypass takes whole packets of both versions, untouched, on one claim", async () => {
  const { story, conv } = await bypassed();
  await using _ = story;
  const packets = [
    udp6Packet({ hopLimit: 3, trafficClass: 0xb9, flowLabel: 0x12345, payload: pattern(30) }),
    extended(60, [17, 0, 1, 4, 0, 0, 0, 0], udp6Packet({ payload: pattern(3) }).subarray(40), { src: PEER6, dst: US6 }),
  ];
  for (const packet of packets) inject6(story.wire, packet);
  story.wire.inject(udpPacket());
  assertEquals([conv.take(), conv.take(), conv.take()], [...packets, udpPacket()]);
});

Deno.test("a claim for one version leaves the other version unclaimed (defect 17)", async () => {
  const { story, conv } = await bypassed("bypass-version 4", "bypass 7");
  await using _ = story;
  inject6(story.wire, udp6Packet());
  assertEquals([conv.bread(), sent6(story.wire)[0]?.[40]], [null, ICMP6_UNREACHABLE]);
  story.wire.inject(udpPacket());
  assertEquals(conv.take(), udpPacket());
  assertEquals(errnoOf(() => conv.bwrite(out())), "EINVAL");
  assertEquals(refused(conv), { version: 1 });
  assertEquals(errnoOf(() => conv.command("bypass-version 5")), "EINVAL");
  const tcp = story.user.conv("tcp", "bypass 80", "bypass-version 4");
  const syn = new Uint8Array(20);
  emitTcp({ srcPort: 9, dstPort: 80, seq: 1, ack: 0, flags: TCP_SYN, window: 9 }, syn, 0);
  setTcpChecksum(syn, 0, syn.length, { src: ip(PEER6), dst: ip(US6) });
  inject6(story.wire, packet6({ nextHeader: 6, payload: syn }));
  assertEquals([tcp.bread(), tcpFlags(sent6(story.wire)[0]!, 40)], [null, TCP_RST | TCP_ACK]);
});

Deno.test("bypass sends what its writer wrote, flow label, class and hop limit included", async () => {
  const { story, conv } = await bypassed();
  await using _ = story;
  const packet = out({ hopLimit: 9, trafficClass: 0xff, flowLabel: 0xfffff });
  conv.bwrite(packet);
  assertEquals(sent6(story.wire), [packet]);
  conv.command("bypass-header kernel");
  conv.bwrite(packet);
  const { hopLimit, trafficClass, flowLabel } = header6(sent6(story.wire)[0]!);
  assertEquals([hopLimit, trafficClass, flowLabel], [255, 0, 0xfffff]);
});

Deno.test("Defect 1, IPv6: nothing is sent in another's name, and nothing that cannot be checked", async () => {
  const { story, conv } = await bypassed();
  await using _ = story;
  const udp = out().subarray(IPV6_HEADER_LEN);
  const cases: [packet: Uint8Array, errno: string, name: string][] = [
    [out().subarray(0, 39), "EINVAL", "short"],
    [out().subarray(0, 60), "EINVAL", "length"],
    [concatBytes([out(), pattern(1)]), "EINVAL", "length"],
    [out({ hopLimit: 0 }), "EINVAL", "ttl"],
    [out({ src: PEER6 }), "EPERM", "source"],
    [out({ src: "::" }), "EPERM", "source"],
    [out({ src: "::ffff:10.0.0.1" }), "EPERM", "source"],
    [out({ src: "::1" }), "EPERM", "source"],
    [out({ srcPort: 8 }), "EPERM", "port"],
    [packet6({ src: US6, dst: FAR, nextHeader: 6, payload: pattern(20) }), "EPERM", "protocol"],
    [packet6({ src: US6, dst: FAR, nextHeader: 50, payload: pattern(20) }), "EPERM", "protocol"],
    [echo6Packet({ src: US6, dst: FAR }), "EPERM", "port"],
    [extended(60, [17, 9, 0, 0, 0, 0, 0, 0], udp), "EINVAL", "header"],
    [extended(43, [17, 0, 0, 1, 0, 0, 0, 0], udp), "EINVAL", "header"],
    [extended(51, [17, 0, 0, 0, 0, 0, 0, 0], udp), "EINVAL", "header"],
    [extended(44, [17, 0, 0, 1, 0, 0, 0, 1], udp), "EPERM", "fragment"],
    [extended(44, [17, 0, 0, 8, 0, 0, 0, 1], udp), "EPERM", "fragment"],
    [out({ dst: "::ffff:10.0.0.2" }), "EHOSTUNREACH", "noroute"],
  ];
  const expected: Record<string, number> = {};
  for (const [packet, errno, name] of cases) {
    assertEquals(errnoOf(() => conv.bwrite(packet)), errno, name);
    expected[name] = (expected[name] ?? 0) + 1;
  }
  assertEquals([refused(conv), sent6(story.wire)], [expected, []]);
  const padded = extended(60, [17, 0, 1, 4, 0, 0, 0, 0], udp);
  conv.bwrite(padded);
  assertEquals(sent6(story.wire), [padded]);
});

Deno.test("Defect 6, IPv6: too big is refused with the MTU, unless the writer allows fragmentation", async () => {
  const { story, conv } = await bypassed();
  await using _ = story;
  const payload = pattern(1600);
  const large = out({ payload });
  assertEquals([errorOf(() => conv.bwrite(large)).code, refused(conv)], ["EMSGSIZE", { toobig: 1 }]);
  const cut = extended(44, [17, 0, 0, 0, 0, 0, 0, 0], large.subarray(IPV6_HEADER_LEN));
  conv.bwrite(cut);
  assertEquals(sent6(story.wire).map(({ length }) => length), [1496, 208]);
  const fits = out({ payload: pattern(1452) });
  conv.bwrite(fits);
  inject6(story.wire, error6Packet({ type: ICMP6_PACKET_TOO_BIG, code: 0, rest: 1280, packet: fits }));
  assertEquals(sent6(story.wire).length, 1);
  assertEquals(conv.error()?.[IPV6_HEADER_LEN], ICMP6_PACKET_TOO_BIG);
  const error = errorOf(() => conv.bwrite(fits));
  assertEquals([error.code, error.message.includes("1280")], ["EMSGSIZE", true]);
});

Deno.test("Defect 15: a writer that knows offloads sends one large segment, and the wire sees packets", async () => {
  await using story = await tell6();
  const conv = story.user.conv("tcp", "bypass 80", "offload on");
  const segment = new Uint8Array(20 + 3000);
  emitTcp({ srcPort: 80, dstPort: 9, seq: 1, ack: 1, flags: TCP_ACK, window: 9 }, segment, 0);
  segment.set(pattern(3000), 20);
  const block = Block.from(packet6({ src: US6, dst: FAR, nextHeader: 6, payload: segment }));
  put16(block.buf, block.rp + 56, pseudoSum(ip(US6), ip(FAR), 6, segment.length));
  block.checksum = Checksum.Owed;
  block.checksumStart = block.rp + 40;
  block.checksumField = block.rp + 56;
  block.segment = Segment.Tcp6;
  block.segmentSize = 1400;
  block.segmentHeaderLen = 60;
  conv.bwrite(block);
  const packets = sent6(story.wire);
  assertEquals(packets.map(({ length }) => length), [1460, 1460, 260]);
  for (const packet of packets) {
    assertEquals(tcpChecksumOk(packet, 40, packet.length, { src: ip(US6), dst: ip(FAR) }), true);
  }
});

Deno.test("bypass may send ICMP errors about packets to its claim", async () => {
  const { story, conv } = await bypassed();
  await using _ = story;
  const got = udp6Packet({ payload: pattern(9) });
  const about = (packet: Uint8Array) =>
    error6Packet({ type: ICMP6_UNREACHABLE, code: 4, packet }, { src: US6, dst: PEER6 });
  conv.bwrite(about(got));
  assertEquals(sent6(story.wire), [about(got)]);
  assertEquals(errnoOf(() => conv.bwrite(about(udp6Packet({ dstPort: 8 })))), "EPERM");
  assertEquals(errnoOf(() => conv.bwrite(about(udp6Packet({ dst: FAR })))), "EPERM");
});

Deno.test("an echo identifier can be bypassed, requests included or not; others are the kernel's", async () => {
  await using story = await tell6();
  const { user, wire } = story;
  const conv = user.conv("icmpv6", "bypass 70-79");
  inject6(wire, echo6Packet({ id: 75 }));
  inject6(wire, echo6Packet({ id: 80 }));
  assertEquals([conv.take(), sent6(wire).length], [echo6Packet({ id: 75 }), 1]);
  conv.command("bypass-echo replies");
  inject6(wire, echo6Packet({ id: 75 }));
  inject6(wire, echo6Packet({ id: 75, reply: true }));
  assertEquals([sent6(wire).length, conv.take()], [1, echo6Packet({ id: 75, reply: true })]);
  const ping = echo6Packet({ src: US6, dst: FAR, id: 71 });
  conv.bwrite(ping);
  assertEquals(sent6(wire), [ping]);
  assertEquals(errnoOf(() => conv.bwrite(echo6Packet({ src: US6, dst: FAR, id: 80 }))), "EPERM");
});
