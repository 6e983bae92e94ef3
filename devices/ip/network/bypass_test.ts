/** Whole packets in and out of a bypassed conversation, and everything its writer is not trusted with. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import fc from "fast-check";
import { Block, Checksum, Segment } from "../../../kernel/block.ts";
import { KernelError } from "../../../kernel/error.ts";
import { TapEvent } from "../../../kernel/fd_tap.ts";
import { QUEUE_BLOCKS_MAX } from "../../../kernel/queue.ts";
import { Rendez } from "../../../kernel/rendez.ts";
import { put16 } from "../../../kernel/wire/bytes.ts";
import { checksum, pseudoSum } from "../../../kernel/wire/checksum.ts";
import { ICMP_UNREACHABLE, ICMP_UNREACHABLE_PORT, ICMP_UNREACHABLE_TOO_BIG } from "../../../kernel/wire/icmp.ts";
import {
  ipv4ChecksumOk,
  ipv4DontFragment,
  ipv4Id,
  ipv4IsFragment,
  ipv4Tos,
  ipv4TotalLen,
  ipv4Ttl,
  parseIpv4,
} from "../../../kernel/wire/ipv4.ts";
import { udpChecksumOk } from "../../../kernel/wire/udp.ts";
import { refusalCode, wakes, watch } from "../../../tests/kit/host/dev.ts";
import { fuzzSteps, sequences } from "../../../tests/kit/check/fuzz.ts";
import {
  type ConvFixture,
  echoPacket,
  icmpErrorPacket,
  ip as addr,
  type IpFixture,
  ipFixture,
  ipPacket,
  pattern,
  PEER,
  udpPacket,
  US,
} from "../../../tests/kit/ip/ip_fixture.ts";
import { REFUSAL_NAMES } from "../conv/bypass_claim.ts";
import { BYPASS_QUEUE_LIMIT } from "../conv/conv_bypass.ts";

/** A packet of ours to PEER, from port 7. */
const out = (options: Parameters<typeof udpPacket>[0] = {}) =>
  udpPacket({ src: US, dst: PEER, srcPort: 7, dstPort: 9, payload: pattern(12), ...options });

function bypassed(...commands: string[]): { ip: IpFixture; conv: ConvFixture } {
  const ip = ipFixture();
  return { ip, conv: ip.conv("udp", "bypass 7", ...commands) };
}

/** How often each refusal happened, by name; zeros left out. */
function refusals(conv: ConvFixture): Record<string, number> {
  const words = conv.text("status").trim().split(" ");
  const counts = words.slice(words.indexOf("refused") + 1);
  const pairs = REFUSAL_NAMES.map((name) => [name, Number(counts[counts.indexOf(name) + 1])] as const);
  return Object.fromEntries(pairs.filter(([, count]) => count > 0));
}

Deno.test("Conformance 4: a datagram arrives as the IP packet that was on the wire, with one event", () => {
  const { ip, conv } = bypassed();
  const tap = conv.tap(TapEvent.Readable);
  const packet = udpPacket({
    dstPort: 7,
    payload: pattern(6),
    ttl: 3,
    tos: 0x11,
    id: 77,
    options: Uint8Array.of(1, 1, 1, 0),
  });
  ip.inject(packet);
  assertEquals(tap.take(), [TapEvent.Readable]);
  assertEquals(conv.read(), packet);
  assertEquals(conv.read(), null);
});

Deno.test("Defect 4: link padding is trimmed; a total length beyond the packet never arrives", () => {
  const { ip, conv } = bypassed();
  const packet = udpPacket({ dstPort: 7, payload: pattern(6) });
  ip.inject(new Uint8Array([...packet, ...new Uint8Array(12)]));
  assertEquals(conv.read(), packet);
  ip.inject(packet.subarray(0, packet.length - 1));
  assertEquals(conv.read(), null);
});

Deno.test("Conformance 5: two datagrams before the first read are one event; none while the queue is not empty", () => {
  const { ip, conv } = bypassed();
  const tap = conv.tap(TapEvent.Readable);
  for (const size of [1, 2]) ip.inject(udpPacket({ dstPort: 7, payload: pattern(size) }));
  assertEquals(tap.take(), [TapEvent.Readable]);
  assertEquals(conv.read()?.length, 29);
  ip.inject(udpPacket({ dstPort: 7, payload: pattern(3) }));
  assertEquals(tap.take(), []);
  assertEquals([conv.read()?.length, conv.read()?.length, conv.read()], [30, 31, null]);
  ip.inject(udpPacket({ dstPort: 7 }));
  assertEquals(tap.take(), [TapEvent.Readable]);
});

Deno.test("Conformance 6: a short read loses the rest of a packet, a short blockread leaves it queued", () => {
  const { ip, conv } = bypassed();
  for (let i = 0; i < 2; i++) ip.inject(udpPacket({ dstPort: 7, payload: pattern(18) }));
  assertEquals(ip.dev.read(conv.data, new Uint8Array(10), 0), 10);
  try {
    ip.dev.bread(conv.data, 10);
  } catch (error) {
    assertEquals(error instanceof KernelError ? [error.code, error.length] : error, ["EMSGSIZE", 46]);
  }
  assertEquals(conv.bread()?.length, 46);
});

Deno.test("Defect 2: the writer's TTL, TOS, id, DF and options leave as they were written", () => {
  const { ip, conv } = bypassed();
  const packet = out({ ttl: 3, tos: 0x11, id: 77, dontFragment: true, options: Uint8Array.of(1, 1, 1, 0) });
  conv.send(packet);
  assertEquals(ip.sent(), [packet]);
});

Deno.test("A wrong header checksum is the kernel's to put right", () => {
  const { ip, conv } = bypassed();
  const packet = out();
  put16(packet, 10, 0x1234);
  conv.send(packet);
  const [sent] = ip.sent();
  assert(ipv4ChecksumOk(sent!, 0));
});

Deno.test("Conformance 7: bypass-header kernel puts in TTL 255, TOS 0, a fresh id and DF, and leaves the rest", () => {
  const { ip, conv } = bypassed("bypass-header kernel");
  const packet = out({ ttl: 3, tos: 0x10, id: 7, moreFragments: true });
  conv.send(packet);
  const [sent] = ip.sent();
  assert(sent !== undefined && ipv4ChecksumOk(sent, 0));
  assertEquals([ipv4Ttl(sent, 0), ipv4Tos(sent, 0), ipv4TotalLen(sent, 0)], [255, 0, 40]);
  assertEquals([ipv4DontFragment(sent, 0), ipv4IsFragment(sent, 0), ipv4Id(sent, 0) !== 7], [true, false, true]);
  assertEquals(sent.subarray(12), packet.subarray(12));
  assertEquals(refusalCode(() => conv.send(out({ fragOffset: 8 }))), "EPERM");
  assertEquals(refusalCode(() => conv.command("bypass-header other")), "EINVAL");
});

Deno.test("Conformance 8: what is no packet is EINVAL, a packet without a route EHOSTUNREACH", () => {
  const ip = ipFixture({ defaultRoute: false });
  const conv = ip.conv("udp", "bypass 7");
  const whole = out();
  const bad = [[], [0x45, 0, 0], [0x50], [0x65, ...whole.subarray(1)]];
  for (const bytes of bad) assertEquals(refusalCode(() => conv.send(Uint8Array.from(bytes))), "EINVAL");
  assertEquals(refusalCode(() => conv.send(out({ dst: "9.9.9.9" }))), "EHOSTUNREACH");
  assertEquals(ip.sent(), []);
  assertEquals(refusals(conv), { short: 2, version: 1, header: 1, noroute: 1 });
});

Deno.test("Conformance 10: an exact conversation wins over the bypass of its port", () => {
  const { ip, conv } = bypassed();
  const udp = ip.conv("udp", `connect ${PEER}!9 7`);
  ip.inject(udpPacket({ srcPort: 9, dstPort: 7, payload: pattern(2) }));
  ip.inject(udpPacket({ srcPort: 10, dstPort: 7, payload: pattern(2) }));
  assertEquals([udp.read()?.length, udp.read(), conv.read()?.length, conv.read()], [2, null, 30, null]);
});

Deno.test("Defect 1: nothing is sent in another's name: protocol, source address, source port, loopback", () => {
  const { ip, conv } = bypassed();
  const refused: [Uint8Array, string][] = [
    [out({ src: "10.0.0.9" }), "source"],
    [out({ src: "0.0.0.0" }), "source"],
    [out({ src: "255.255.255.255" }), "source"],
    [out({ src: "10.0.0.255" }), "source"],
    [out({ srcPort: 8 }), "port"],
    [ipPacket({ src: US, dst: PEER, protocol: 6, payload: pattern(20) }), "protocol"],
    [ipPacket({ src: US, dst: PEER, protocol: 17, payload: pattern(7) }), "port"],
    [echoPacket({ src: US, dst: PEER, id: 7 }), "port"],
  ];
  for (const [packet, name] of refused) {
    const before = refusals(conv)[name] ?? 0;
    assertEquals(refusalCode(() => conv.send(packet)), "EPERM", name);
    assertEquals(refusals(conv)[name], before + 1, name);
  }
  assertEquals(ip.sent(), []);
});

Deno.test("Defect 1: a claim of one address sends from that address only", () => {
  const ip = ipFixture();
  const conv = ip.conv("udp", `bypass ${US}!7`);
  conv.send(out());
  assertEquals(ip.sent().length, 1);
  assertEquals(refusalCode(() => conv.send(out({ src: "10.0.0.3" }))), "EPERM");
});

Deno.test("Defect 1: header length, total length, TTL 0 and fragments are refused, each with its counter", () => {
  const { ip, conv } = bypassed();
  const header = out();
  header[0] = 0x44;
  const beyond = out();
  beyond[0] = 0x4f;
  const long = out();
  put16(long, 2, long.length + 1);
  const refused: [Uint8Array, string][] = [
    [header, "EINVAL"],
    [beyond, "EINVAL"],
    [long, "EINVAL"],
    [new Uint8Array([...out(), 0]), "EINVAL"],
    [out({ ttl: 0 }), "EINVAL"],
    [out({ moreFragments: true }), "EPERM"],
    [out({ fragOffset: 64 }), "EPERM"],
  ];
  for (const [packet, code] of refused) assertEquals(refusalCode(() => conv.send(packet)), code);
  assertEquals(refusals(conv), { header: 2, length: 2, ttl: 1, fragment: 2 });
  assertEquals(ip.sent(), []);
});

Deno.test("An ICMP error may be sent about a packet that came to the claim, and about no other", () => {
  const { ip, conv } = bypassed();
  const error = { type: ICMP_UNREACHABLE, code: ICMP_UNREACHABLE_PORT };
  const back = { src: US, dst: PEER };
  const good = icmpErrorPacket({ ...error, packet: udpPacket({ dstPort: 7 }) }, back);
  conv.send(good);
  assertEquals(ip.sent(), [good]);
  const others = [
    icmpErrorPacket({ ...error, packet: udpPacket({ dstPort: 8 }) }, back),
    icmpErrorPacket({ ...error, packet: udpPacket({ dstPort: 7, dst: "10.0.0.9" }) }, back),
    icmpErrorPacket({ ...error, packet: echoPacket({ id: 7 }) }, back),
    icmpErrorPacket({ ...error, packet: udpPacket({ dstPort: 7, fragOffset: 8 }) }, back),
    icmpErrorPacket({ type: 5, code: 1, packet: udpPacket({ dstPort: 7 }) }, back),
    icmpErrorPacket({ ...error, packet: udpPacket({ dstPort: 7 }).subarray(0, 27) }, back),
    ipPacket({ ...back, protocol: 1, payload: pattern(4) }),
  ];
  for (const packet of others) assertEquals(refusalCode(() => conv.send(packet)), "EPERM");
  assertEquals(ip.sent(), []);
});

Deno.test("Defect 3: a reassembled datagram is one block", () => {
  const { ip, conv } = bypassed();
  const whole = udpPacket({ dstPort: 7, payload: pattern(2000), id: 5 });
  const body = whole.subarray(20);
  ip.inject(ipPacket({ id: 5, payload: body.subarray(1000), fragOffset: 1000 }));
  ip.inject(ipPacket({ id: 5, payload: body.subarray(0, 1000), moreFragments: true }));
  const block = conv.bread();
  assertEquals([block?.length, conv.bread()], [2028, null]);
  const header = parseIpv4(block!.buf, block!.rp, block!.wp);
  assertEquals([header?.totalLen, header?.moreFragments, header?.fragOffset], [2028, false, 0]);
  assert(ipv4ChecksumOk(block!.buf, block!.rp));
  assert(udpChecksumOk(block!.buf, block!.rp + 20, addr(PEER), addr(US)));
});

Deno.test("Defect 2: a packet above the MTU is fragmented by the kernel, unless DF says no", () => {
  const ip = ipFixture({ mtu: 614 });
  const conv = ip.conv("udp", "bypass 7");
  conv.send(out({ payload: pattern(1000) }));
  assertEquals(ip.sent().map((packet) => packet.length), [596, 452]);
  try {
    conv.send(out({ payload: pattern(1000), dontFragment: true }));
  } catch (error) {
    assertEquals(error instanceof KernelError ? [error.code, error.length] : error, ["EMSGSIZE", 600]);
  }
  assertEquals([ip.sent(), refusals(conv)], [[], { toobig: 1 }]);
});

Deno.test("Defect 6: ICMP errors about its packets come whole to the err file, and leave its conversation open", () => {
  const { ip, conv } = bypassed();
  const err = conv.err();
  const tap = watch(err, TapEvent.Readable);
  const dataTap = conv.tap(TapEvent.Error);
  const packet = icmpErrorPacket({ type: ICMP_UNREACHABLE, code: ICMP_UNREACHABLE_TOO_BIG, rest: 1400, packet: out() });
  ip.inject(packet);
  assertEquals([tap.take(), dataTap.take()], [[TapEvent.Readable], [TapEvent.Error]]);
  const block = ip.dev.bread(err, 2000);
  assertEquals((block as Block).bytes(), packet);
  ip.inject(icmpErrorPacket({ type: ICMP_UNREACHABLE, code: ICMP_UNREACHABLE_PORT, packet: out() }));
  assertEquals(conv.read(), null);
});

Deno.test("Defect 7: taps set before bypass, and a reader asleep on the old queue, hear of packets", async () => {
  const ip = ipFixture();
  const conv = ip.conv("udp");
  const tap = conv.tap(TapEvent.Readable);
  const asleep = ip.dev.bread(conv.data, 2000);
  assert(asleep instanceof Rendez);
  assert(await wakes(asleep, () => conv.command("bypass 7")));
  ip.inject(udpPacket({ dstPort: 7 }));
  assertEquals(tap.take(), [TapEvent.Readable]);
});

Deno.test("Defect 7: the last close undoes bypass once: own queues, no entry, no port", () => {
  const { ip, conv } = bypassed();
  const { table, ports } = conv.conv.space;
  conv.close();
  assertEquals([conv.conv.bypass, table.length, ports.length], [null, 0, 0]);
  const again = ip.conv("udp", "headers", "announce 7");
  assertEquals(again.dir, conv.dir);
  ip.inject(udpPacket({ dstPort: 7, payload: pattern(2) }));
  assertEquals(again.read()?.length, 54);
});

Deno.test("Defect 7: a refused blockwrite leaves its block to the caller, byte for byte", () => {
  const ip = ipFixture({ defaultRoute: false });
  const conv = ip.conv("udp", "bypass 7");
  for (const bytes of [out({ src: "10.0.0.9" }), out({ dst: "9.9.9.9" })]) {
    const block = Block.from(bytes);
    refusalCode(() => ip.dev.bwrite(conv.data, block));
    assertEquals(block.bytes(), bytes);
  }
});

Deno.test("Defect 8: the queue has a limit, drops are counted, and status says all of it", () => {
  const { ip, conv } = bypassed();
  for (let i = 0; i < QUEUE_BLOCKS_MAX + 10; i++) ip.inject(udpPacket({ dstPort: 7 }));
  conv.send(out());
  assertMatch(
    conv.text("status"),
    new RegExp(
      `^Bypassed local ::!7 header keep offload off qin ${28 * QUEUE_BLOCKS_MAX} blocks ${QUEUE_BLOCKS_MAX} ` +
        `limit ${BYPASS_QUEUE_LIMIT} in ${QUEUE_BLOCKS_MAX} drops 10 out 1 refused short 0 .*toobig 0\n$`,
    ),
  );
});

Deno.test("A datagram with a bad UDP checksum or length never reaches the reader", () => {
  const { ip, conv } = bypassed();
  const bad = udpPacket({ dstPort: 7, payload: pattern(4), checksum: 1 });
  ip.inject(bad);
  const short = udpPacket({ dstPort: 7, payload: pattern(4), checksum: 0 });
  put16(short, 24, 7);
  ip.inject(short);
  assertEquals(conv.read(), null);
  assertEquals([ip.stat("udp", "CsumErrs"), ip.stat("udp", "LenErrs")], [1, 1]);
});

Deno.test("Only its reader answers for a bypassed port", () => {
  const { ip } = bypassed();
  ip.inject(udpPacket({ dstPort: 7 }));
  assertEquals(ip.sent(), []);
});

Deno.test("Defect 5: a checksum that is owed is finished for a reader that did not say offload on", () => {
  for (const offload of [false, true]) {
    const { ip, conv } = bypassed(`offload ${offload ? "on" : "off"}`);
    const bytes = udpPacket({ dstPort: 7, payload: pattern(9) });
    put16(bytes, 26, pseudoSum(addr(PEER), addr(US), 17, 17));
    const block = Block.from(bytes);
    block.checksum = Checksum.Owed;
    block.checksumStart = block.rp + 20;
    block.checksumField = block.rp + 26;
    ip.stack.protocolFor(17)!.input!({
      block,
      version: 4,
      headerLen: 20,
      protocol: 17,
      src: addr(PEER),
      dst: addr(US),
      cast: "unicast",
      ifc: ip.stack.ifcs[0]!,
    });
    const got = conv.bread()!;
    assertEquals(got.checksum, offload ? Checksum.Owed : Checksum.None);
    assertEquals(udpChecksumOk(got.buf, got.rp + 20, addr(PEER), addr(US)), !offload);
  }
});

Deno.test("Defect 5: metadata of a writer count only with offload on, and only if they fit the packet", () => {
  const { ip, conv } = bypassed();
  const owed = (start: number, field: number): Block => {
    const block = Block.from(out({ checksum: 0x4242 }));
    block.checksum = Checksum.Owed;
    block.checksumStart = block.rp + start;
    block.checksumField = block.rp + field;
    return block;
  };
  ip.dev.bwrite(conv.data, owed(0, 5000));
  assertEquals(ip.sent().map((packet) => [packet[26], packet[27]]), [[0x42, 0x42]]);
  conv.command("offload on");
  for (const [start, field] of [[0, 26], [20, 5000], [20, 19], [20, 39]]) {
    assertEquals(refusalCode(() => ip.dev.bwrite(conv.data, owed(start!, field!))), "EINVAL");
  }
  const merged = owed(20, 26);
  merged.segment = Segment.Udp;
  assertEquals(refusalCode(() => ip.dev.bwrite(conv.data, merged)), "EINVAL");
  assertEquals(refusals(conv), { offload: 5 });
  ip.dev.bwrite(conv.data, owed(20, 26));
  assertEquals(ip.sent().length, 1);
});

Deno.test("A checksum that a writer owes behind the transport header, as a tunnel does, is finished", () => {
  const { ip, conv } = bypassed();
  conv.command("offload on");
  const block = Block.from(out({ payload: pattern(40, 0) }));
  put16(block.buf, block.rp + 40, 0);
  const sum = checksum(block.buf, block.rp + 36, block.wp);
  Object.assign(block, { checksum: Checksum.Owed, checksumStart: block.rp + 36, checksumField: block.rp + 40 });
  ip.dev.bwrite(conv.data, block);
  assertEquals(ip.sent().map((packet) => packet[40]! << 8 | packet[41]!), [sum]);
  assertEquals(refusals(conv), {});
});

Deno.test("Random packets of a bypass writer throw only KernelError and never leave in another's name", () => {
  const sample = out({ payload: pattern(40) });
  const damaged = fc.array(fc.tuple(fc.nat(sample.length - 1), fc.nat(255)), { maxLength: 3 }).map((changes) => {
    const bytes = sample.slice();
    for (const [at, value] of changes) bytes[at] = value;
    return bytes;
  });
  for (const policy of ["keep", "kernel"]) {
    fc.assert(
      fc.property(sequences(fc.oneof(fc.uint8Array({ maxLength: 100 }), damaged)), (steps) => {
        const { ip, conv } = bypassed(`bypass-header ${policy}`);
        for (const bytes of steps) {
          try {
            conv.send(bytes);
          } catch (error) {
            assert(error instanceof KernelError);
          }
          for (const packet of ip.sent()) {
            const header = parseIpv4(packet, 0, packet.length);
            assert(header !== null && header.protocol === 17 && header.src.equals(addr(US)));
            const at = header.headerLen;
            assert(header.fragOffset > 0 || packet[at]! * 256 + packet[at + 1]! === 7);
          }
        }
      }),
      fuzzSteps(300),
    );
  }
});
