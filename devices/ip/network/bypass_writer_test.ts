/** What the writer of a bypassed conversation may send, and everything it is not trusted with. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block, Checksum, Segment } from "../../../kernel/block.ts";
import { KernelError } from "../../../kernel/error.ts";
import { put16 } from "../../../kernel/wire/bytes.ts";
import { checksum } from "../../../kernel/wire/checksum.ts";
import { ICMP_UNREACHABLE, ICMP_UNREACHABLE_PORT } from "../../../kernel/wire/icmp.ts";
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
import { refusalCode } from "../../../tests/kit/host/dev.ts";
import { fuzzSteps, sequences } from "../../../tests/kit/check/fuzz.ts";
import {
  bypassed,
  type ConvFixture,
  echoPacket,
  icmpErrorPacket,
  ip as addr,
  ipFixture,
  ipPacket,
  pattern,
  PEER,
  udpPacket,
  US,
} from "../../../tests/kit/ip/ip_fixture.ts";
import { REFUSAL_NAMES } from "../conv/bypass_claim.ts";

/** A packet of ours to PEER, from port 7. */
const out = (options: Parameters<typeof udpPacket>[0] = {}) =>
  udpPacket({ src: US, dst: PEER, srcPort: 7, dstPort: 9, payload: pattern(12), ...options });

/** How often each refusal happened, by name; zeros left out. */
function refusals(conv: ConvFixture): Record<string, number> {
  const words = conv.text("status").trim().split(" ");
  const counts = words.slice(words.indexOf("refused") + 1);
  const pairs = REFUSAL_NAMES.map((name) => [name, Number(counts[counts.indexOf(name) + 1])] as const);
  return Object.fromEntries(pairs.filter(([, count]) => count > 0));
}

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
