/** Reading and rewriting a packet in place: incremental checksums against full ones; owed ones; bytes of anybody. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block, Checksum, Segment } from "../../kernel/block.ts";
import { finishChecksum } from "../../kernel/inet/segment.ts";
import { put16 } from "../../kernel/wire/bytes.ts";
import { pseudoSum } from "../../kernel/wire/checksum.ts";
import { setIpv4Checksum } from "../../kernel/wire/ipv4.ts";
import { TCP_ACK, TCP_SYN } from "../../kernel/wire/tcp.ts";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { echoPacket, ip, ipPacket, pattern, udpPacket } from "../../tests/kit/ip/ip_fixture.ts";
import { damaged, ipv4Addrs, u16 } from "../../tests/kit/ip/wire.ts";
import { REASON_NAMES } from "./counters.ts";
import { assertSound, endsOf, tcpPacket } from "../../tests/kit/nat/steps.ts";
import { icmpHasId, icmpIsQuery, Kind, mapProtoOf, NatPacket } from "./packet.ts";

const read = (packet: Uint8Array | Block) => {
  const one = new NatPacket();
  return { one, reason: REASON_NAMES[one.read(packet instanceof Block ? packet : Block.from(packet))] };
};

Deno.test("Rewriting both ends leaves every checksum right, as a full sum finds it", () => {
  const kinds = fc.constantFrom(udpPacket, tcpPacket as typeof udpPacket, echoPacket as typeof udpPacket);
  const args = fc.record({ srcPort: u16, dstPort: u16, payload: fc.uint8Array({ maxLength: 50 }) });
  fc.assert(
    fc.property(kinds, args, ipv4Addrs, ipv4Addrs, u16, u16, (make, fields, from, to, srcPort, dstPort) => {
      const { one, reason } = read(make({ src: "10.1.1.1", dst: "10.1.1.2", ...fields }));
      assertEquals(reason, "none");
      one.setSource(from, srcPort);
      one.setDestination(to, one.kind === Kind.Query ? srcPort : dstPort);
      const packet = one.block.bytes();
      assertSound(packet);
      const ports = one.kind === Kind.Query ? [srcPort, srcPort] : [srcPort, dstPort];
      assertEquals(endsOf(packet), `${from}:${ports[0]} > ${to}:${ports[1]}`);
    }),
    fuzz(300),
  );
});

Deno.test("An owed checksum is paid right after its ends were rewritten", () => {
  for (const [make, field] of [[tcpPacket, 16], [udpPacket, 6]] as const) {
    const block = Block.from(make({ src: "10.1.1.1", dst: "10.1.1.2" }));
    block.checksum = Checksum.Owed;
    block.checksumStart = block.rp + 20;
    block.checksumField = block.rp + 20 + field;
    const length = block.length - 20;
    put16(block.buf, block.checksumField, pseudoSum(ip("10.1.1.1"), ip("10.1.1.2"), field === 16 ? 6 : 17, length));
    const { one, reason } = read(block);
    assertEquals(reason, "none");
    one.setSource(ip("192.0.2.1"), 77);
    one.setDestination(ip("198.51.100.9"), 99);
    assert(finishChecksum(block));
    assertSound(block.bytes());
  }
});

Deno.test("Packets that make no sense are told apart", () => {
  const cases: [string, Uint8Array][] = [
    ["short", new Uint8Array(19)],
    ["bad-ip", new Uint8Array(20)],
    ["ipv6", Uint8Array.from({ length: 40 }, () => 0x60)],
    ["bad-ip", udpPacket().subarray(0, 27)],
    ["ip-checksum", changed(udpPacket(), 8)],
    ["protocol", ipPacket({ protocol: 47 })],
    ["bad-transport", ipPacket({ protocol: 17, payload: pattern(7) })],
    ["bad-transport", ipPacket({ protocol: 17, payload: new Uint8Array([0, 1, 0, 2, 0, 9, 0, 0]) })],
    ["bad-transport", ipPacket({ protocol: 17, payload: new Uint8Array([0, 1, 0, 2, 0, 7, 0, 0]) })],
    ["bad-transport", ipPacket({ protocol: 6, payload: new Uint8Array(20) })],
    ["bad-transport", ipPacket({ protocol: 1, payload: pattern(7) })],
    ["icmp-type", ipPacket({ protocol: 1, payload: new Uint8Array([10, 0, 0, 0, 0, 0, 0, 0]) })],
  ];
  for (const [expected, packet] of cases) assertEquals([expected, read(packet).reason], [expected, expected]);
});

Deno.test("Offload metadata that points elsewhere is refused", () => {
  const owed = (change: (block: Block) => void, flags = TCP_ACK) => {
    const block = Block.from(tcpPacket({ flags, data: pattern(100) }));
    block.checksum = Checksum.Owed;
    block.checksumStart = block.rp + 20;
    block.checksumField = block.rp + 36;
    change(block);
    return read(block).reason;
  };
  assertEquals(owed(() => {}), "none");
  assertEquals(owed((block) => block.checksumStart--), "offload");
  assertEquals(owed((block) => block.checksumField = block.wp), "offload");
  assertEquals(owed((block) => block.segment = Segment.Tcp4), "offload");
  const noSum = (block: Block) => {
    block.checksum = Checksum.None;
    block.segment = Segment.Tcp4;
    block.segmentSize = 9;
    block.segmentHeaderLen = 40;
  };
  assertEquals(owed(noSum), "offload");
  assertEquals(
    owed((block) => (block.segment = Segment.Tcp4, block.segmentSize = 9, block.segmentHeaderLen = 40)),
    "none",
  );
  const whole = (block: Block) => (block.segment = Segment.Tcp4, block.segmentSize = 9, block.segmentHeaderLen = 40);
  assertEquals(owed(whole, TCP_SYN), "offload");
  assertEquals(owed((block) => (whole(block), block.segmentSize = 0)), "offload");
  assertEquals(owed((block) => (whole(block), block.segmentHeaderLen = 9999)), "offload");
});

Deno.test("Link padding is cut; nothing behind the packet is looked at; no bytes throw", () => {
  const padded = Block.from(new Uint8Array([...udpPacket({ payload: pattern(3) }), ...new Uint8Array(15)]));
  assertEquals([read(padded).reason, padded.length], ["none", 31]);
  const samples = [udpPacket(), tcpPacket(), echoPacket()].map(damaged);
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 90 }), ...samples), fc.boolean(), fc.nat(60), (bytes, fix, own) => {
      if (fix && bytes.length >= 60) setIpv4Checksum(bytes, 0, (bytes[0]! & 15) * 4 || 20);
      const block = Block.from(bytes.slice(0, own));
      block.extents = [bytes.slice(own)];
      const { one, reason } = read(block);
      if (reason !== "none" || one.kind === Kind.Fragment || one.kind === Kind.Error) return;
      one.setSource(ip("1.2.3.4"), 5);
      one.setDestination(ip("1.2.3.4"), 5);
    }),
    fuzz(500),
  );
});

Deno.test("Protocols and ICMP types are what their numbers say", () => {
  assertEquals([17, 6, 1, 2].map(mapProtoOf), [0, 1, 2, -1]);
  assertEquals([0, 3, 8, 13, 14].map(icmpHasId), [true, false, true, true, true]);
  assertEquals([0, 8, 13, 14].map(icmpIsQuery), [false, true, true, false]);
});

function changed(packet: Uint8Array, at: number): Uint8Array {
  packet[at]! ^= 1;
  return packet;
}
