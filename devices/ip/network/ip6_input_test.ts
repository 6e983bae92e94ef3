/** What IPv6 input takes, refuses and tells. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block, Checksum, Segment } from "../../../kernel/block.ts";
import { concatBytes, put16 } from "../../../kernel/wire/bytes.ts";
import { ICMP6_PARAMETER_PROBLEM, icmp6ChecksumOk, parseIcmp6 } from "../../../kernel/wire/icmp6.ts";
import { IPV6_HEADER_LEN, IPV6_TOTAL_MAX, ipv6Dst, ipv6Src, parseIpv6 } from "../../../kernel/wire/ipv6.ts";
import { fuzzSteps, sequences } from "../../../tests/kit/check/fuzz.ts";
import { fragment6 } from "../../../kernel/inet/fragment6.ts";
import { ipInput } from "./ip_input.ts";
import { ip6Packet, mac, OUR_MAC, type Packet6Fields, pattern } from "../../../tests/kit/ip/packets.ts";
import { TestHost } from "../../../tests/kit/ip/link.ts";

/** A host with 2001:db8::1 that knows its peer. */
function host(): TestHost {
  const at = new TestHost();
  at.ether6Ifc();
  at.knowPeer6();
  return at;
}

/** Which counter a packet raises, beside those of what arrived and was sent. */
function raised(at: TestHost, packet: Uint8Array, dst?: string): string {
  const before = { ...at.stack.stats };
  at.receive6(packet, dst === undefined ? {} : { dst: mac(dst) });
  const others = ["inReceives", "outRequests"];
  return Object.entries(at.stack.stats).filter(([name, value]) =>
    !others.includes(name) && value !== before[name as keyof typeof before]
  ).map(([name]) => name).join(" ");
}

/** An ICMPv6 error that was sent: type, code, and the number in it; its checksum is right. */
function errors(at: TestHost): (number | undefined)[][] {
  return at.take6().map((packet) => {
    const { src, dst } = parseIpv6(packet, 0, packet.length)!;
    assertEquals(icmp6ChecksumOk(packet, IPV6_HEADER_LEN, packet.length, { src, dst }), true);
    const { type, code, rest } = parseIcmp6(packet, IPV6_HEADER_LEN, packet.length)!;
    return [type, code, rest];
  });
}

/** An extension header: what follows, and the bytes behind the first two, filled up with padding. */
function extension(nextHeader: number, bytes: readonly number[] = []): Uint8Array {
  const length = Math.ceil((2 + bytes.length) / 8) * 8;
  const header = new Uint8Array(length);
  header.set([nextHeader, length / 8 - 1, ...bytes]);
  return header;
}

function extended(nextHeader: number, ...parts: Uint8Array[]): Uint8Array {
  return ip6Packet({ nextHeader, payload: concatBytes(parts) });
}

Deno.test("input6() gives a protocol a packet that is trimmed to its payload length", () => {
  const at = host();
  at.receive6(ip6Packet({ payload: 1 }));
  const [packet] = at.received6;
  assertEquals([packet!.block.length, packet!.headerLen, packet!.protocol, packet!.cast], [41, 40, 17, "unicast"]);
  assertEquals([`${packet!.src}`, `${packet!.dst}`], ["2001:db8::2", "2001:db8::1"]);
});

Deno.test("input6() refuses malformed headers, each with its counter (defect 12)", () => {
  const at = host();
  const short = ip6Packet({ payload: 0 });
  ipInput(at.stack, Block.from(short.subarray(0, 39)), at.stack.ifcs[0]!);
  assertEquals(at.stack.stats.inShort, 1);
  const long = ip6Packet({ payload: 30 });
  put16(long, 4, 31);
  ipInput(at.stack, Block.from(long), at.stack.ifcs[0]!);
  assertEquals([at.stack.stats.inBadTotalLen, at.received6.length], [1, 0]);
});

Deno.test("input6() takes nothing from or to addresses that no honest host has", () => {
  const at = host();
  const martians: Packet6Fields[] = [
    { src: "ff02::1" },
    { src: "::" },
    { src: "::1" },
    { src: "::ffff:10.0.0.2" },
    { dst: "::ffff:10.0.0.1" },
    { src: "2001:db8::1" },
    { dst: "::1" },
    { dst: "ff01::1" },
  ];
  for (const fields of martians) assertEquals(raised(at, ip6Packet(fields)), "inMartian", JSON.stringify(fields));
  assertEquals(raised(at, ip6Packet({ dst: "2001:db8::99" })), "inNotForUs");
  assertEquals(raised(at, ip6Packet({ dst: "ff02::99" })), "inNotForUs");
  assertEquals(raised(at, ip6Packet(), "33:33:00:00:00:01"), "inLinkBroadcast");
  at.receive6(ip6Packet({ dst: "ff02::1" }));
  assertEquals(at.received6.map(({ cast }) => cast), ["multicast"]);
});

Deno.test("input6() takes a link-local address on its own link only, and frames of our own on none", () => {
  const at = host();
  at.ifc("bind ether /net/ether1", "add fe80::7 /64");
  at.run();
  at.receive6(ip6Packet({ src: "fe80::2", dst: "fe80::7" }));
  assertEquals([at.received6.length, at.stack.stats.inNotForUs], [0, 1]);
  at.receive6(ip6Packet({ src: "fe80::2", dst: "fe80::7" }), { number: 1 });
  // A global address is ours wherever it is asked for.
  at.receive6(ip6Packet(), { number: 1 });
  assertEquals(at.received6.length, 2);
  at.receive6(ip6Packet(), { src: OUR_MAC });
  assertEquals(at.received6.length, 2);
});

Deno.test("input6() walks over extension headers to the transport (defect 15)", () => {
  const at = host();
  const padding = [1, 4, 0, 0, 0, 0];
  const packet = extended(0, extension(60, padding), extension(43, padding), extension(17, [4, 0]), pattern(9));
  at.receive6(packet);
  const [got] = at.received6;
  assertEquals([got!.protocol, got!.headerLen, got!.block.length], [17, 64, 73]);
});

Deno.test("input6() refuses chains that do not fit, and says where a header or an option is wrong", () => {
  const at = host();
  assertEquals(raised(at, extended(0, Uint8Array.of(17, 9, 0, 0, 0, 0, 0, 0))), "inBadExtension");
  assertEquals(raised(at, extended(60, extension(0), extension(17))), "inBadExtension");
  assertEquals(errors(at), []);
  // RFC 5095: type 0 would send the packet on.
  assertEquals(raised(at, extended(43, extension(17, [0, 1]), pattern(8))), "inBadExtension");
  assertEquals(errors(at), [[ICMP6_PARAMETER_PROBLEM, 0, 42]]);
  const cases: [option: number, answer: number[][]][] = [
    [0x1e, []],
    [0x5e, []],
    [0x9e, [[ICMP6_PARAMETER_PROBLEM, 2, 42]]],
    [0xde, [[ICMP6_PARAMETER_PROBLEM, 2, 42]]],
  ];
  for (const [option, answer] of cases) {
    const packet = extended(60, extension(17, [option, 0, 1, 2, 0, 0]), pattern(8));
    assertEquals(raised(at, packet), option === 0x1e ? "inDelivers" : "inBadExtension", `${option}`);
    assertEquals(errors(at), answer);
  }
  assertEquals(raised(at, extended(60, extension(17, [0x1e, 9, 0, 0, 0, 0]), pattern(8))), "inBadExtension");
});

Deno.test("input6() says where an unknown protocol was named; of 'nothing follows' it says nothing", () => {
  const at = host();
  assertEquals(raised(at, ip6Packet({ nextHeader: 99 })), "inUnknownProtos");
  assertEquals(raised(at, extended(60, extension(99, [1, 4, 0, 0, 0, 0]))), "inUnknownProtos");
  assertEquals(errors(at), [[ICMP6_PARAMETER_PROBLEM, 1, 6], [ICMP6_PARAMETER_PROBLEM, 1, 40]]);
  assertEquals(raised(at, ip6Packet({ nextHeader: 59 })), "inUnknownProtos");
  assertEquals(errors(at), []);
});

/** The fragments of a packet with `size` bytes of payload. */
function fragments(size: number, mtu: number, id = 7, fields: Packet6Fields = {}): Uint8Array[] {
  const block = Block.from(ip6Packet({ payload: pattern(size), ...fields }));
  return fragment6(block, mtu, id, new TestHost().stack.env.blocks)!.map((piece) => piece.bytes().slice());
}

Deno.test("input6() puts fragments together, whatever their order, into the packet that was sent", () => {
  for (const size of [1300, 3000, 65_000, IPV6_TOTAL_MAX - IPV6_HEADER_LEN]) {
    const at = host();
    for (const piece of fragments(size, 1280).reverse()) at.receive6(piece);
    assertEquals(at.received6.map(({ block }) => block.bytes()), [ip6Packet({ payload: pattern(size) })]);
  }
});

Deno.test("input6() keeps extension headers of both sides of a fragment header", () => {
  const at = host();
  const hops = extension(60, [1, 4, 0, 0, 0, 0]);
  const whole = extended(0, hops, extension(17, [1, 4, 0, 0, 0, 0]), pattern(2000));
  const pieces = fragment6(Block.from(whole), 1280, 9, at.stack.env.blocks)!;
  assertEquals(pieces.map(({ length }) => length), [1280, 840]);
  for (const piece of pieces) at.receive6(piece.bytes());
  assertEquals(at.received6.map(({ block, headerLen }) => [block.bytes(), headerLen]), [[whole, 56]]);
});

Deno.test("input6() takes an atomic fragment by itself (RFC 6946), whatever else has its id", () => {
  const at = host();
  const [first, second] = fragments(1300, 1280, 0);
  at.receive6(first!);
  at.receive6(
    ip6Packet({ nextHeader: 44, payload: concatBytes([Uint8Array.of(17, 0, 0, 0, 0, 0, 0, 0), pattern(5)]) }),
  );
  assertEquals(at.received6.map(({ block }) => block.bytes()), [ip6Packet({ payload: pattern(5) })]);
  at.receive6(second!);
  assertEquals(at.received6.length, 2);
});

Deno.test("input6() gives a datagram up whose fragments overlap (RFC 5722), and one that does not end in time", () => {
  const at = host();
  const [first, second] = fragments(1300, 1280);
  const overlapping = second!.slice();
  // The fragment's offset: one unit lower.
  put16(overlapping, 42, (overlapping[42]! << 8 | overlapping[43]!) - 8);
  at.receive6(first!);
  assertEquals(raised(at, overlapping), "reasmReqds reasmOverlap");
  at.receive6(second!);
  assertEquals([at.received6.length, at.stack.reassembly.size], [0, 1]);
  at.receive6(first!.map((byte, i) => i === 47 ? 8 : byte));
  at.clock.advance(31_000);
  // The error needs a first fragment to quote.
  assertEquals(errors(at), [[3, 1, 0]]);
  const odd = first!.slice(0, first!.length - 1);
  put16(odd, 4, odd.length - 40);
  assertEquals(raised(at, odd), "reasmReqds inBadFragment");
  assertEquals(errors(at), [[ICMP6_PARAMETER_PROBLEM, 0, 4]]);
});

Deno.test("input6() takes datagrams that came merged for as many messages", () => {
  const at = host();
  const block = Block.from(
    ip6Packet({ payload: concatBytes([Uint8Array.of(0, 9, 0, 7, 0, 108, 0, 0), pattern(100)]) }),
  );
  block.checksum = Checksum.Owed;
  block.checksumStart = block.rp + 40;
  block.checksumField = block.rp + 46;
  block.segment = Segment.Udp;
  block.segmentSize = 40;
  block.segmentHeaderLen = 48;
  ipInput(at.stack, block, at.stack.ifcs[0]!);
  assertEquals(at.received6.map((packet) => [packet.block.length, packet.headerLen]), [[88, 40], [88, 40], [68, 40]]);
});

Deno.test("input6() marks a reassembled packet as congested if a fragment was (RFC 3168 5.3)", () => {
  const at = host();
  const [first, second] = fragments(1300, 1280, 3, { trafficClass: 2 });
  second![1]! |= 0x10;
  at.receive6(first!);
  at.receive6(second!);
  assertEquals(parseIpv6(at.received6[0]!.block.bytes(), 0, 1340)?.trafficClass, 3);
});

Deno.test("input6() never throws and leaves nothing above a limit, whatever comes", () => {
  const packets = [
    ip6Packet(),
    ...fragments(1300, 1280),
    extended(0, extension(60, [1, 4, 0, 0, 0, 0]), extension(43, [4, 0]), extension(17), pattern(9)),
    ip6Packet({ dst: "ff02::1:ff00:1", nextHeader: 58, payload: 40 }),
  ];
  const changed = fc.array(fc.tuple(fc.nat(90), fc.nat(255)), { maxLength: 4 });
  fc.assert(
    fc.property(sequences(fc.tuple(fc.constantFrom(...packets), changed, fc.nat(1400))), (steps) => {
      const at = host();
      for (const [packet, changes, length] of steps) {
        const bytes = packet.slice(0, Math.max(40, Math.min(length, packet.length)));
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        bytes[0] = 0x60 | bytes[0]! & 15;
        at.receive6(bytes);
        at.received6.length = at.ether.sent.length = 0;
        at.clock.advance(7);
        assert(at.stack.reassembly.size <= 100);
      }
    }),
    fuzzSteps(500),
  );
  assertEquals(`${ipv6Src(packets[0]!, 0)} ${ipv6Dst(packets[0]!, 0)}`, "2001:db8::2 2001:db8::1");
});
