import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../../tests/kit/check/fuzz.ts";
import { hex } from "../../../tests/kit/ip/wire.ts";
import { Block, Checksum, Segment } from "../../../kernel/block.ts";
import { toHex } from "../../../kernel/wire/bytes.ts";
import { Feature, Features } from "./ids.ts";
import {
  type HeaderCaps,
  headersEnd,
  metadataFits,
  mustCut,
  NO_CAPS,
  putRxHeader,
  rxCaps,
  takeTxHeader,
  txCaps,
} from "./net_header.ts";

const ALL: HeaderCaps = { checksum: true, tso4: true, tso6: true, ecn: true, uso: true };
const FRAME_MAX = 1518;

/** What a segment's frame is made of. */
interface Shape {
  readonly type: string;
  readonly network: number;
  readonly transport: number;
  readonly field: number;
}
const TCP4: Shape = { type: "0800", network: 20, transport: 20, field: 16 };
const TCP6: Shape = { type: "86dd", network: 40, transport: 32, field: 16 };
const UDP4: Shape = { type: "0800", network: 24, transport: 8, field: 6 };
const UDP6: Shape = { type: "86dd", network: 40, transport: 8, field: 6 };

/** A frame of that shape with `payload` bytes; `tag`: 4 bytes of VLAN tag before its type. */
function frameOf(shape: Shape, payload: number, tag = ""): Block {
  const link = hex("525400000001 525400000002" + tag + shape.type);
  const packet = new Uint8Array(shape.network + shape.transport + payload);
  packet[0] = shape.type === "0800" ? 0x40 | shape.network / 4 : 0x60;
  if (shape.field === 16) packet[shape.network + 12] = shape.transport << 2;
  return Block.from(new Uint8Array([...link, ...packet]));
}

/** A header that owes the checksum of `shape` behind `link` bytes, to be cut by `gso` to `size`. */
function headerOf(shape: Shape, gso: number, size: number, link = 14): Uint8Array {
  const start = link + shape.network;
  return Uint8Array.of(1, gso, 0, 0, size & 255, size >> 8, start, 0, shape.field, 0, 0, 0);
}

Deno.test("takeTxHeader() gives a segment of every kind its metadata, and putRxHeader() writes the same header", () => {
  const cases: [Shape, number, Segment][] = [
    [TCP4, 1, Segment.Tcp4],
    [TCP6, 4, Segment.Tcp6],
    [UDP4, 5, Segment.Udp],
    [UDP6, 5, Segment.Udp],
  ];
  for (const [shape, gso, segment] of cases) {
    for (const tag of ["", "8100 0005"]) {
      const link = tag === "" ? 14 : 18;
      const block = frameOf(shape, 4000, tag);
      const header = headerOf(shape, gso, 1000, link);
      assertEquals(takeTxHeader(header, block, ALL), null);
      assertEquals([block.checksum, block.segment, block.segmentSize], [Checksum.Owed, segment, 1000]);
      assertEquals(block.segmentHeaderLen, shape.network + shape.transport);
      assertEquals(block.checksumField - block.rp, link + shape.network + shape.field);
      const back = new Uint8Array(12);
      putRxHeader(back, block, ALL, FRAME_MAX);
      header[2] = link + shape.network + shape.transport;
      header[10] = 1;
      assertEquals(toHex(back), toHex(header));
    }
  }
});

Deno.test("takeTxHeader() leaves a segment that fits one piece uncut, and its checksum owed", () => {
  const block = frameOf(TCP4, 1000);
  assertEquals(takeTxHeader(headerOf(TCP4, 1, 1000), block, ALL), null);
  assertEquals([block.segment, block.checksum], [Segment.None, Checksum.Owed]);
});

Deno.test("takeTxHeader() takes nothing that was not negotiated", () => {
  const refused = (caps: Partial<HeaderCaps>, shape: Shape, gso: number) =>
    takeTxHeader(headerOf(shape, gso, 500), frameOf(shape, 3000), { ...ALL, ...caps });
  assertEquals(refused({ checksum: false }, TCP4, 0), "not-negotiated");
  assertEquals(refused({ tso4: false }, TCP4, 1), "not-negotiated");
  assertEquals(refused({ tso6: false }, TCP6, 4), "not-negotiated");
  assertEquals(refused({ uso: false }, UDP4, 5), "not-negotiated");
  assertEquals(refused({ ecn: false }, TCP4, 0x81), "not-negotiated");
  assertEquals(refused({}, TCP4, 0x81), null);
});

Deno.test("takeTxHeader() refuses a kind of segment that the frame is not", () => {
  assertEquals(takeTxHeader(headerOf(TCP4, 4, 500), frameOf(TCP4, 3000), ALL), "bad-header");
  assertEquals(takeTxHeader(headerOf(TCP6, 1, 500), frameOf(TCP6, 3000), ALL), "bad-header");
  assertEquals(takeTxHeader(headerOf(UDP4, 1, 500), frameOf(UDP4, 3000), ALL), "bad-header");
  assertEquals(takeTxHeader(headerOf(UDP4, 5, 20), frameOf(UDP4, 3000), ALL), "bad-header", "150 datagrams");
  assertEquals(takeTxHeader(headerOf(TCP4, 1, 47), frameOf(TCP4, 3000), ALL), "bad-header");
  for (const [payload, transport] of [[3000, 16], [3000, 0], [10, 60]]) {
    const block = frameOf(TCP4, payload!);
    block.buf[block.rp + 34 + 12] = transport! << 2;
    assertEquals(takeTxHeader(headerOf(TCP4, 1, 500), block, ALL), "bad-header", "TCP header of no such length");
  }
});

Deno.test("takeTxHeader() never throws and keeps all metadata inside the frame", () => {
  const frames = fc.constantFrom(TCP4, TCP6, UDP4, UDP6).chain((shape) =>
    fc.tuple(fc.integer({ min: 60, max: 3000 }), fc.nat(60), fc.uint8Array({ minLength: 60, maxLength: 60 })).map(
      ([payload, at, noise]) => {
        const block = frameOf(shape, payload);
        if (at < 50) block.buf.set(noise.subarray(0, Math.min(8, block.length - at)), block.rp + at);
        return { block, shape };
      },
    )
  );
  const gsos = fc.constantFrom(0, 1, 4, 5, 0x81, 3, 0xff);
  fc.assert(
    fc.property(frames, gsos, fc.nat(3000), fc.nat(0xffff), ({ block, shape }, gso, size, other) => {
      const header = headerOf(shape, gso, size);
      if (other % 3 === 0) header[6 + other % 5] = other >> 8;
      const fault = takeTxHeader(header, block, ALL);
      if (fault !== null || block.checksum !== Checksum.Owed) return;
      assertEquals(block.checksumStart >= block.rp + 14 && block.checksumField + 2 <= block.wp, true);
      assertEquals(headersEnd(header) >= block.checksumField + 2 - block.rp, true);
      if (block.segment !== Segment.None) {
        assertEquals(
          block.segmentHeaderLen >= 28 && 14 + block.segmentHeaderLen + block.segmentSize < block.length,
          true,
        );
      }
      assertEquals(metadataFits(block), true);
    }),
    fuzz(400),
  );
});

Deno.test("putRxHeader() reports a checksum as verified or not at all, and only to a guest that takes it", () => {
  const header = new Uint8Array(12).fill(0xff);
  const block = frameOf(TCP4, 10);
  putRxHeader(header, block, ALL, FRAME_MAX);
  assertEquals(toHex(header), "000000000000000000000100");
  block.checksum = Checksum.Verified;
  putRxHeader(header, block, ALL, FRAME_MAX);
  assertEquals(header[0], 2);
  putRxHeader(header, block, NO_CAPS, FRAME_MAX);
  assertEquals(header[0], 0);
});

Deno.test("mustCut() is true of segments that the guest does not take whole, and of no others", () => {
  const segment = (shape: Shape, kind: Segment, cwr = false) => {
    const block = frameOf(shape, 3000);
    block.checksum = Checksum.Owed;
    block.checksumStart = block.rp + 14 + shape.network;
    block.checksumField = block.checksumStart + shape.field;
    block.segment = kind;
    block.segmentSize = 1000;
    if (cwr) block.buf[block.checksumStart + 13] = 0x80;
    return block;
  };
  const tcp = segment(TCP4, Segment.Tcp4);
  assertEquals(mustCut(tcp, ALL, FRAME_MAX), false);
  assertEquals(mustCut(tcp, { ...ALL, tso4: false }, FRAME_MAX), true);
  assertEquals(mustCut(tcp, { ...ALL, tso4: false }, 4000), false, "It fits as it is");
  assertEquals(mustCut(tcp, { ...ALL, tso6: false, uso: false }, FRAME_MAX), false);
  assertEquals(mustCut(segment(TCP6, Segment.Tcp6), { ...ALL, tso6: false }, FRAME_MAX), true);
  assertEquals(mustCut(segment(UDP4, Segment.Udp), { ...ALL, uso: false }, FRAME_MAX), true);
  assertEquals(mustCut(segment(TCP4, Segment.Tcp4, true), { ...ALL, ecn: false }, FRAME_MAX), true);
  assertEquals(mustCut(segment(TCP4, Segment.Tcp4, true), ALL, FRAME_MAX), false);
  tcp.checksum = Checksum.Verified;
  assertEquals(mustCut(tcp, ALL, FRAME_MAX), true, "GSO needs an owed checksum");
});

Deno.test("txCaps() and rxCaps() read what was negotiated", () => {
  assertEquals(txCaps(Features.of([Feature.Csum, Feature.HostTso6])), { ...NO_CAPS, checksum: true, tso6: true });
  assertEquals(rxCaps(Features.of([Feature.GuestCsum, Feature.GuestUso4])), { ...NO_CAPS, checksum: true });
  assertEquals(rxCaps(Features.of(Object.values(Feature))), ALL);
});
