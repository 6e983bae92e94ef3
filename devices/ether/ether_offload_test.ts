/** Frames whose checksum is owed or that are uncut, to a port and to readers of `#ether`. */

import { assertEquals } from "@std/assert";
import { Block, Checksum, Segment } from "../../kernel/block.ts";
import { get16, put16 } from "../../kernel/wire/bytes.ts";
import { checksum, pseudoSum, sum } from "../../kernel/wire/checksum.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import type { MacAddr } from "../../kernel/wire/mac_addr.ts";
import { ALL_OFFLOADS, Bench, frame, OUR_MAC, PEER_MAC, refusal } from "../../tests/kit/ip/ether.ts";
import { ip, ipPacket, pattern } from "../../tests/kit/ip/packets.ts";

/** A frame to the peer whose checksum is owed from the payload on, in its first two bytes. */
function owed(length = 50): Block {
  const block = Block.from(frame({ dst: PEER_MAC, length }));
  block.checksum = Checksum.Owed;
  block.checksumStart = block.checksumField = block.rp + 14;
  block.buf.fill(0, block.checksumField, block.checksumField + 2);
  return block;
}

Deno.test("output() finishes an owed checksum for a port that cannot, and leaves it to one that can", () => {
  const bench = new Bench();
  const { data } = bench.conv();
  bench.bwrite(data, owed(20));
  bench.port.offloads = ALL_OFFLOADS;
  bench.bwrite(data, owed(20));
  const [finished, left] = bench.port.sent;
  assertEquals([finished!.checksum, left!.checksum], [Checksum.None, Checksum.Owed]);
  assertEquals(checksum(finished!.buf, finished!.rp + 14, finished!.rp + 34), 0);
});

Deno.test("output() lets a segment pass that the port cuts, and forgets one that need not be cut", () => {
  const bench = new Bench();
  const { data } = bench.conv();
  const segment = (length: number) => {
    const block = owed(length);
    block.segment = Segment.Tcp4;
    block.segmentSize = 1448;
    block.segmentHeaderLen = 40;
    return block;
  };
  bench.bwrite(data, segment(1000));
  assertEquals(bench.port.sent[0]!.segment, Segment.None);
  assertEquals(refusal(() => bench.bwrite(data, segment(3000))), "EMSGSIZE");
  bench.port.offloads = ALL_OFFLOADS;
  assertEquals(bench.bwrite(data, segment(60_000)), 60_014);
  assertEquals([bench.port.sent[1]!.segment, bench.port.sent[1]!.segmentSize], [Segment.Tcp4, 1448]);
  assertEquals(refusal(() => bench.bwrite(data, segment(65_537))), "EMSGSIZE");
});

Deno.test("a reader with offload on gets a frame with its checksum owed; another gets it finished", () => {
  const bench = new Bench();
  const { data: plain } = bench.conv("connect 0x800");
  const { data: unfinished } = bench.conv("connect -1", "promiscuous", "offload on");
  const block = owed();
  OUR_MAC.put(block.buf, block.rp);
  const bytes = block.bytes().slice();
  bench.port.receive!(block);
  const finished = bench.dev.bread(plain, 2000) as Block;
  assertEquals(finished.checksum, Checksum.None);
  assertEquals(checksum(finished.buf, finished.rp + 14, finished.wp), 0);
  const left = bench.dev.bread(unfinished, 2000) as Block;
  assertEquals({ checksum: left.checksum, bytes: left.bytes() }, { checksum: Checksum.Owed, bytes });
});

/** A kind of segment: the ethertype, its IP source and destination, and where its transport header begins. */
interface SegmentKind {
  readonly title: string;
  readonly segment: Segment;
  readonly src: IpAddr;
  readonly dst: IpAddr;
  readonly transport: number;
}

const V4 = { src: ip("10.0.0.2"), dst: ip("10.0.0.1"), transport: 34 };
const V6 = { src: ip("2001:db8::2"), dst: ip("2001:db8::1"), transport: 54 };
const SEGMENT_KINDS: readonly SegmentKind[] = [
  { title: "TCP over IPv4", segment: Segment.Tcp4, ...V4 },
  { title: "TCP over IPv6", segment: Segment.Tcp6, ...V6 },
  { title: "UDP over IPv4", segment: Segment.Udp, ...V4 },
  { title: "UDP over IPv6", segment: Segment.Udp, ...V6 },
];

/** A frame from `src` to `dst` with 3000 bytes of payload, to be cut into pieces of `size`. */
function segmentFrame(kind: SegmentKind, size: number, dst: MacAddr = OUR_MAC): Block {
  const isTcp = kind.segment !== Segment.Udp;
  const protocol = isTcp ? 6 : 17;
  const upper = new Uint8Array([...new Uint8Array(isTcp ? 20 : 8), ...pattern(3000)]);
  if (isTcp) upper[12] = 0x50;
  const packet = kind.src.isV4
    ? ipPacket({ protocol, payload: upper })
    : new Uint8Array([...new Uint8Array(40), ...upper]);
  if (!kind.src.isV4) {
    packet[0] = 0x60;
    packet[6] = protocol;
    put16(packet, 4, upper.length);
    kind.src.put(packet, 8);
    kind.dst.put(packet, 24);
  }
  const head = frame({ dst, type: kind.src.isV4 ? 0x800 : 0x86dd, length: 0 });
  const block = Block.from(new Uint8Array([...head, ...packet]));
  block.segment = kind.segment;
  block.segmentSize = size;
  block.segmentHeaderLen = kind.transport - 14 + (isTcp ? 20 : 8);
  block.checksum = Checksum.Owed;
  block.checksumStart = block.rp + kind.transport;
  block.checksumField = block.checksumStart + (isTcp ? 16 : 6);
  return block;
}

for (const kind of SEGMENT_KINDS) {
  Deno.test(`#ether cuts ${kind.title} for a reader without offload on: no frame exceeds the MTU`, () => {
    const bench = new Bench();
    const { data } = bench.conv("connect -1");
    const { data: whole } = bench.conv("connect -2", "offload on");
    const isTcp = kind.segment !== Segment.Udp;
    const headers = kind.transport + (isTcp ? 20 : 8);
    bench.port.receive!(segmentFrame(kind, 1400));
    const frames: Block[] = [];
    for (let next = bench.dev.bread(data, 65_536); next instanceof Block; next = bench.dev.bread(data, 65_536)) {
      frames.push(next);
    }
    assertEquals(frames.map(({ length }) => length), [headers + 1400, headers + 1400, headers + 200]);
    for (const { buf, rp, wp, checksum, segment } of frames) {
      assertEquals({ checksum, segment }, { checksum: Checksum.None, segment: Segment.None });
      const pseudo = pseudoSum(kind.src, kind.dst, isTcp ? 6 : 17, wp - rp - kind.transport);
      assertEquals(sum(buf, rp + kind.transport, wp, pseudo), 0xffff);
      assertEquals(get16(buf, rp + 12), kind.src.isV4 ? 0x800 : 0x86dd);
    }
    assertEquals(frames.flatMap((one) => [...one.bytes().subarray(headers)]), [...pattern(3000)]);
    const left = bench.dev.bread(whole, 65_536) as Block;
    assertEquals({ length: left.length, segment: left.segment }, { length: headers + 3000, segment: kind.segment });
  });
}

Deno.test("#ether cuts a looped-back segment for a promiscuous reader without offload on, and sends it whole", () => {
  const bench = new Bench();
  bench.port.offloads = ALL_OFFLOADS;
  const { data } = bench.conv("connect -1", "promiscuous");
  bench.bwrite(data, segmentFrame(SEGMENT_KINDS[0]!, 1400, PEER_MAC));
  bench.run();
  assertEquals(bench.port.sent.map(({ length }) => length), [3054]);
  const lengths: number[] = [];
  for (let next = bench.next(data); next !== null; next = bench.next(data)) lengths.push(next.length);
  assertEquals(lengths, [1454, 1454, 254]);
});

Deno.test("without offload on, #ether drops and counts a segment over the MTU that cannot be cut", () => {
  const bench = new Bench();
  const { data } = bench.conv("connect -1");
  bench.port.receive!(segmentFrame(SEGMENT_KINDS[0]!, 1461));
  bench.port.receive!(Object.assign(segmentFrame(SEGMENT_KINDS[0]!, 1400), { segment: Segment.Tcp6 }));
  assertEquals({ read: bench.count(data), errors: bench.counter("rx_length_errors") }, { read: 0, errors: 2 });
});
