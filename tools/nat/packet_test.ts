/** Reading and rewriting a packet in place: incremental checksums against full ones; owed ones; bytes of anybody. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block, Checksum, Segment } from "../../kernel/block.ts";
import { finishChecksum } from "../../kernel/inet/segment.ts";
import { put16 } from "../../kernel/wire/bytes.ts";
import { pseudoSum } from "../../kernel/wire/checksum.ts";
import { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { setIpv4Checksum } from "../../kernel/wire/ipv4.ts";
import { TCP_ACK, TCP_SYN } from "../../kernel/wire/tcp.ts";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { ip, ipPacket, pattern, udpPacket } from "../../tests/kit/ip/ip_fixture.ts";
import { damaged, u16 } from "../../tests/kit/ip/wire.ts";
import { REASON_NAMES } from "./counters.ts";
import { FAMILIES } from "../../tests/kit/nat/families.ts";
import { assertSound, endsOf } from "../../tests/kit/nat/packets.ts";
import { FAMILY4 } from "./family4.ts";
import { FAMILY6 } from "./family6.ts";
import { Kind, NatPacket } from "./packet.ts";

const read = (packet: Uint8Array | Block, is6 = false) => {
  const one = new NatPacket(is6 ? FAMILY6 : FAMILY4);
  return { one, reason: REASON_NAMES[one.read(packet instanceof Block ? packet : Block.from(packet))] };
};

/** An address of the family, of two random words. */
const addrOf = (is6: boolean, a: number, b: number) => is6 ? new IpAddr(0x20010db8, a, b | 1, 1) : IpAddr.v4(b);

for (const family of FAMILIES) {
  const { is6, name } = family;

  Deno.test(`${name}: rewriting both ends leaves every checksum right, as a full sum finds it`, () => {
    const args = fc.record({
      kind: fc.constantFrom("udp", "tcp", "echo"),
      payload: fc.uint8Array({ maxLength: 50 }),
      ports: fc.record({ srcPort: u16, dstPort: u16 }),
      to: fc.record({ srcPort: u16, dstPort: u16 }),
      words: fc.array(fc.integer({ min: 0x01000000, max: 0x7effffff }), { minLength: 4, maxLength: 4 }),
    });
    fc.assert(
      fc.property(args, ({ kind, payload, ports, to, words: [a, b, c, d] }) => {
        const make = kind === "udp" ? family.udp : kind === "tcp" ? family.tcp : family.echo;
        const { one, reason } = read(make({ ...ports, payload }), is6);
        assertEquals(reason, "none");
        const [src, dst] = [addrOf(is6, a!, b!), addrOf(is6, c!, d!)];
        const isQuery = one.kind === Kind.Query;
        one.setSource(src, to.srcPort);
        one.setDestination(dst, isQuery ? to.srcPort : to.dstPort);
        const packet = one.block.bytes();
        assertSound(packet);
        assertEquals(endsOf(packet), family.ends(`${src}`, to.srcPort, `${dst}`, isQuery ? to.srcPort : to.dstPort));
        assertEquals([`${one.src}`, `${one.dst}`], [`${src}`, `${dst}`]);
      }),
      fuzz(300),
    );
  });

  Deno.test(`${name}: an owed checksum is finished right after its ends were rewritten`, () => {
    for (const [make, field] of [[family.tcp, 16], [family.udp, 6]] as const) {
      const block = Block.from(make({ src: family.guest, dst: family.remote }));
      block.checksum = Checksum.Owed;
      block.checksumStart = block.rp + family.headerLen;
      block.checksumField = block.checksumStart + field;
      const length = block.length - family.headerLen;
      const pseudo = pseudoSum(ip(family.guest), ip(family.remote), field === 16 ? 6 : 17, length);
      put16(block.buf, block.checksumField, pseudo);
      const { one, reason } = read(block, is6);
      assertEquals(reason, "none");
      one.setSource(ip(family.host), 77);
      one.setDestination(ip(family.other), 99);
      assert(finishChecksum(block));
      assertSound(block.bytes());
    }
  });

  Deno.test(`${name}: offload metadata that points elsewhere is refused`, () => {
    const segment = is6 ? Segment.Tcp6 : Segment.Tcp4;
    const owed = (change: (block: Block) => void, flags = TCP_ACK) => {
      const block = Block.from(family.tcp({ flags, payload: pattern(100) }));
      block.checksum = Checksum.Owed;
      block.checksumStart = block.rp + family.headerLen;
      block.checksumField = block.checksumStart + 16;
      change(block);
      return read(block, is6).reason;
    };
    const whole = (block: Block) => {
      block.segment = segment;
      block.segmentSize = 9;
      block.segmentHeaderLen = family.headerLen + 20;
    };
    assertEquals(owed(() => {}), "none");
    assertEquals(owed((block) => block.checksumStart--), "offload");
    assertEquals(owed((block) => block.checksumField = block.wp), "offload");
    assertEquals(owed((block) => block.segment = segment), "offload");
    assertEquals(owed((block) => (whole(block), block.checksum = Checksum.None)), "offload");
    assertEquals(owed(whole), "none");
    assertEquals(owed(whole, TCP_SYN), "offload");
    assertEquals(owed((block) => (whole(block), block.segmentSize = 0)), "offload");
    assertEquals(owed((block) => (whole(block), block.segmentHeaderLen = 9999)), "offload");
  });

  Deno.test(`${name}: link padding is cut; nothing behind the packet is looked at; no bytes throw`, () => {
    const padded = Block.from(new Uint8Array([...family.udp({ payload: pattern(3) }), ...new Uint8Array(15)]));
    assertEquals([read(padded, is6).reason, padded.length], ["none", family.headerLen + 11]);
    const samples = [family.udp(), family.tcp(), family.echo()].map(damaged);
    const bytesOf = fc.oneof(fc.uint8Array({ maxLength: 90 }), ...samples);
    fc.assert(
      fc.property(bytesOf, fc.boolean(), fc.nat(60), (bytes, fix, own) => {
        if (!is6 && fix && bytes.length >= 60) setIpv4Checksum(bytes, 0, (bytes[0]! & 15) * 4 || 20);
        const block = Block.from(bytes.slice(0, own));
        block.extents = [bytes.slice(own)];
        const { one, reason } = read(block, is6);
        if (reason !== "none" || one.kind === Kind.Fragment || one.kind === Kind.Error) return;
        one.setSource(ip(family.host), 5);
        one.setDestination(ip(family.other), 5);
      }),
      fuzz(500),
    );
  });
}

Deno.test("Each malformed packet has its own reason", () => {
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

Deno.test("Protocols and ICMP types are what their numbers say", () => {
  const protocols = (is6: boolean) => {
    const packet = new NatPacket(is6 ? FAMILY6 : FAMILY4);
    return [17, 6, 1, 58, 2].map((protocol) => packet.protoOf(protocol));
  };
  assertEquals({ v4: protocols(false), v6: protocols(true) }, { v4: [0, 1, 2, -1, -1], v6: [0, 1, -1, 2, -1] });
  assertEquals([0, 3, 8, 13, 14, 10].map((type) => FAMILY4.icmpKind(type)), [1, 2, 1, 1, 1, -1]);
  assertEquals([0, 8, 13, 14].map((type) => FAMILY4.icmpAsks(type)), [false, true, true, false]);
  assertEquals([1, 127, 128, 129, 133, 137].map((type) => FAMILY6.icmpKind(type)), [2, 2, 1, 1, 4, 4]);
  assertEquals([128, 129].map((type) => FAMILY6.icmpAsks(type)), [true, false]);
});

function changed(packet: Uint8Array, at: number): Uint8Array {
  packet[at]! ^= 1;
  return packet;
}
