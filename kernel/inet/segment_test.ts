import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block, BlockPool, Checksum, Segment } from "../block.ts";
import { cutSegments, finishChecksum, pieceLength } from "./segment.ts";
import { get16, get32, put16, put32 } from "../wire/bytes.ts";
import { pseudoSum, sum } from "../wire/checksum.ts";
import type { IpAddr } from "../wire/ip_addr.ts";
import { ipv4ChecksumOk } from "../wire/ipv4.ts";
import { udpChecksumOk } from "../wire/udp.ts";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { headerOf, ip, ipPacket, pattern } from "../../tests/kit/ip/packets.ts";

const pool = new BlockPool();
const FIN_PSH_ACK_CWR = 0x99;

/** A TCP header of 20 bytes over `payload`. */
function tcp(payload: Uint8Array, flags: number): Uint8Array {
  const bytes = new Uint8Array(20 + payload.length);
  put16(bytes, 0, 1000);
  put16(bytes, 2, 80);
  put32(bytes, 4, 0xfffffff0);
  bytes[12] = 0x50;
  bytes[13] = flags;
  bytes.set(payload, 20);
  return bytes;
}

/** Makes `packet` a block to be cut, that owes the checksum whose field is `field` bytes into its transport header. */
function toCut(packet: Uint8Array, segment: Segment, transport: number, size: number): Block {
  const block = Block.from(packet);
  const isTcp = segment !== Segment.Udp;
  block.segment = segment;
  block.segmentSize = size;
  block.segmentHeaderLen = transport + (isTcp ? 20 : 8);
  block.checksum = Checksum.Owed;
  block.checksumStart = block.rp + transport;
  block.checksumField = block.checksumStart + (isTcp ? 16 : 6);
  return block;
}

/** Whether the TCP checksum from `at` on is right. */
function tcpOk(bytes: Uint8Array, at: number, src: IpAddr, dst: IpAddr): boolean {
  return sum(bytes, at, bytes.length, pseudoSum(src, dst, 6, bytes.length - at)) === 0xffff;
}

Deno.test("cutSegments() cuts TCP over IPv4: ids and sequence numbers go on, FIN and PSH last, CWR first", () => {
  const packet = ipPacket({ protocol: 6, id: 0xffff, dontFragment: true, payload: tcp(pattern(250), FIN_PSH_ACK_CWR) });
  const pieces = cutSegments(toCut(packet, Segment.Tcp4, 20, 100), pool)!;
  assertEquals(pieces.map((piece) => piece.length), [140, 140, 90]);
  const bytes = pieces.map((piece) => {
    assertEquals(piece.checksum, Checksum.Owed);
    assert(finishChecksum(piece));
    return piece.bytes();
  });
  assertEquals(bytes.map((one) => headerOf(one).id), [0xffff, 0, 1]);
  assertEquals(bytes.map((one) => get32(one, 24)), [0xfffffff0, 0x54, 0xb8]);
  assertEquals(bytes.map((one) => one[33]!), [0x90, 0x10, 0x19]);
  for (const one of bytes) {
    assert(ipv4ChecksumOk(one, 0) && headerOf(one).dontFragment);
    assert(tcpOk(one, 20, ip("10.0.0.2"), ip("10.0.0.1")));
  }
  assertEquals(bytes.flatMap((one) => [...one.subarray(40)]), [...pattern(250)]);
});

Deno.test("cutSegments() keeps IPv4 options in every piece", () => {
  const options = Uint8Array.of(0x94, 4, 0, 0);
  const packet = ipPacket({ protocol: 6, options, payload: tcp(pattern(30), 0x18) });
  const pieces = cutSegments(toCut(packet, Segment.Tcp4, 24, 16), pool)!;
  assertEquals(pieces.map((piece) => [...headerOf(piece.bytes()).options]), [[...options], [...options]]);
  for (const piece of pieces) {
    finishChecksum(piece);
    assert(tcpOk(piece.bytes(), 24, ip("10.0.0.2"), ip("10.0.0.1")));
  }
});

Deno.test("cutSegments() cuts TCP over IPv6: payload lengths, and no ids", () => {
  const src = ip("2001:db8::1");
  const dst = ip("2001:db8::2");
  const segment = tcp(pattern(90), 0x11);
  const packet = new Uint8Array(40 + segment.length);
  packet[0] = 0x60;
  packet[6] = 6;
  put16(packet, 4, segment.length);
  src.put(packet, 8);
  dst.put(packet, 24);
  packet.set(segment, 40);
  const pieces = cutSegments(toCut(packet, Segment.Tcp6, 40, 64), pool)!;
  assertEquals(pieces.map((piece) => get16(piece.bytes(), 4)), [84, 46]);
  assertEquals(pieces.map((piece) => piece.bytes()[53]!), [0x10, 0x11]);
  for (const piece of pieces) {
    finishChecksum(piece);
    assert(tcpOk(piece.bytes(), 40, src, dst));
  }
});

Deno.test("cutSegments() cuts UDP into datagrams of their own", () => {
  const udp = new Uint8Array(8 + 25);
  put16(udp, 4, udp.length);
  udp.set(pattern(25), 8);
  const pieces = cutSegments(toCut(ipPacket({ payload: udp }), Segment.Udp, 20, 10), pool)!;
  assertEquals(pieces.map((piece) => get16(piece.bytes(), 24)), [18, 18, 13]);
  for (const piece of pieces) {
    finishChecksum(piece);
    assert(udpChecksumOk(piece.bytes(), 20, ip("10.0.0.2"), ip("10.0.0.1")));
  }
});

Deno.test("cutSegments() refuses metadata that do not fit the block", () => {
  const whole = () => toCut(ipPacket({ protocol: 6, payload: tcp(pattern(100), 0x10) }), Segment.Tcp4, 20, 50);
  const broken: ((block: Block) => void)[] = [
    (block) => block.segmentSize = 0,
    (block) => block.segmentSize = -1,
    (block) => block.segmentHeaderLen = 140,
    (block) => block.segmentHeaderLen = 30,
    (block) => block.segmentHeaderLen = 8,
    (block) => block.checksumStart = block.rp,
    (block) => block.checksumStart = block.wp,
    (block) => block.segment = Segment.Tcp6,
    (block) => block.buf[block.rp] = 0x55,
    (block) => block.buf[block.rp] = 0x41,
  ];
  for (const breakIt of broken) {
    const block = whole();
    breakIt(block);
    assertEquals(cutSegments(block, pool), null, breakIt.toString());
  }
  const tiny = toCut(ipPacket({ protocol: 6, payload: tcp(pattern(600), 0x10) }), Segment.Tcp4, 20, 1);
  assertEquals(cutSegments(tiny, pool), null, "More pieces than the limit");
});

Deno.test("cutSegments() then joining the payloads is the identity, and every piece fits", () => {
  const cases = fc.record({
    length: fc.integer({ min: 1, max: 3000 }),
    size: fc.integer({ min: 8, max: 1460 }),
    isTcp: fc.boolean(),
  });
  fc.assert(
    fc.property(cases, ({ length, size, isTcp }) => {
      const payload = isTcp ? tcp(pattern(length), 0x18) : new Uint8Array([...new Uint8Array(8), ...pattern(length)]);
      const packet = ipPacket({ protocol: isTcp ? 6 : 17, payload });
      const block = toCut(packet, isTcp ? Segment.Tcp4 : Segment.Udp, 20, size);
      const longest = pieceLength(block);
      const pieces = cutSegments(block, pool)!;
      const headerLen = isTcp ? 40 : 28;
      assertEquals(pieces.flatMap((piece) => [...piece.bytes().subarray(headerLen)]), [...pattern(length)]);
      assertEquals(Math.max(...pieces.map((piece) => piece.length)), longest);
    }),
    fuzz(100),
  );
});

Deno.test("finishChecksum() writes 0xffff to UDP where zero would say that there is none, and zero to TCP", () => {
  for (const [field, written] of [[6, 0xff], [16, 0]] as const) {
    const block = Block.from(new Uint8Array(20).fill(0xff, 0, 2));
    block.checksum = Checksum.Owed;
    block.checksumStart = block.rp;
    block.checksumField = block.rp + field;
    assert(finishChecksum(block));
    assertEquals([...block.bytes().subarray(field, field + 2)], [written, written]);
    assertEquals(block.checksum, Checksum.None);
  }
});

Deno.test("finishChecksum() refuses a field outside of the block, and leaves alone what owes nothing", () => {
  const block = Block.from(new Uint8Array(4));
  assert(finishChecksum(block));
  block.checksum = Checksum.Owed;
  block.checksumStart = block.rp;
  block.checksumField = block.wp - 1;
  assertEquals(finishChecksum(block), false);
  block.checksumStart = block.rp - 1;
  block.checksumField = block.rp;
  assertEquals(finishChecksum(block), false);
});
