/** Whether offload metadata fit their packet, on a frame and on a packet of a bypass. */

import { assertEquals } from "@std/assert";
import { Block, Checksum, Segment } from "../block.ts";
import { ETHER_HEADER_LEN } from "../wire/ethernet.ts";
import { icmpChecksumOk } from "../wire/icmp.ts";
import { frame } from "../../tests/kit/ip/ether.ts";
import { ipPacket, pattern } from "../../tests/kit/ip/packets.ts";
import { offloadFits, settleOffload } from "./offload.ts";

/** A frame whose checksum is owed from byte 34 on, in the field at 40. */
function owed(): Block {
  const block = Block.from(frame({ fill: 7 }));
  block.checksum = Checksum.Owed;
  block.checksumStart = block.rp + 34;
  block.checksumField = block.rp + 40;
  return block;
}

/** Whether the metadata of a frame fit it. */
function frameFits(block: Block): boolean {
  return offloadFits(block, block.rp + ETHER_HEADER_LEN);
}

Deno.test("offloadFits() takes only a checksum that lies behind the Ethernet header and inside the frame", () => {
  const places: [start: number, field: number, fits: boolean][] = [
    [34, 40, true],
    [14, 14, true],
    [34, 62, true],
    [13, 40, false],
    [34, 33, false],
    [34, 63, false],
    [-1000, -1000, false],
    [NaN, 40, false],
    [34, NaN, false],
    [34, Infinity, false],
  ];
  for (const [start, field, fits] of places) {
    const block = owed();
    block.checksumStart = block.rp + start;
    block.checksumField = block.rp + field;
    assertEquals(frameFits(block), fits, `${start} ${field}`);
  }
});

Deno.test("offloadFits() takes only segments of some size behind headers inside the frame", () => {
  const sizes: [size: number, header: number, fits: boolean][] = [
    [1, 40, true],
    [1448, 49, true],
    [0, 40, false],
    [NaN, 40, false],
    [1448, 50, false],
    [1448, 0, false],
    [1448, -1, false],
  ];
  for (const [size, header, fits] of sizes) {
    const block = Block.from(frame());
    block.segment = Segment.Tcp4;
    block.segmentSize = size;
    block.segmentHeaderLen = header;
    assertEquals(frameFits(block), fits, `${size} ${header}`);
  }
});

/** A TCP packet of 20 + 20 + 200 bytes that owes its checksum and is to be cut, with `change` made to it. */
function segment(change: Partial<Block> = {}): Block {
  const block = Block.from(ipPacket({ protocol: 6, payload: pattern(220) }));
  block.checksum = Checksum.Owed;
  block.checksumStart = block.rp + 20;
  block.checksumField = block.rp + 36;
  block.segment = Segment.Tcp4;
  block.segmentSize = 100;
  block.segmentHeaderLen = 40;
  return Object.assign(block, change);
}

Deno.test("settleOffload() takes a checksum and a cut that leave the headers as they were checked", () => {
  const { rp, wp } = segment();
  const cases: readonly (readonly [name: string, change: Partial<Block>, fits: boolean])[] = [
    ["as Linux makes it", {}, true],
    ["no cut", { segment: Segment.None }, true],
    ["cut of UDP", { segment: Segment.Udp }, false],
    ["cut without a checksum", { checksum: Checksum.None }, false],
    ["pieces of nothing", { segmentSize: 0 }, false],
    ["headers end before the transport's", { segmentHeaderLen: 20 }, false],
    ["headers are all", { segmentHeaderLen: wp - rp }, false],
    ["field in the IP header", { segment: Segment.None, checksumStart: rp, checksumField: rp + 10 }, false],
    ["field in the ports", { segment: Segment.None, checksumField: rp + 20 }, false],
    ["inner checksum and a cut", { checksumStart: rp + 60, checksumField: rp + 66 }, false],
    ["inner checksum outside", { segment: Segment.None, checksumStart: rp + 60, checksumField: wp - 1 }, false],
  ];
  for (const [name, change, fits] of cases) {
    const block = segment(change);
    assertEquals(settleOffload(block, block.rp + 20, 6), fits, name);
  }
});

Deno.test("settleOffload() finishes the checksum of a packet inside the packet, behind the transport header", () => {
  const inner = new Uint8Array(40).fill(3);
  const block = Block.from(ipPacket({ payload: new Uint8Array([...new Uint8Array(8), ...inner]) }));
  block.checksum = Checksum.Owed;
  block.checksumStart = block.rp + 28;
  block.checksumField = block.rp + 30;
  block.buf.fill(0, block.rp + 30, block.rp + 32);
  assertEquals(settleOffload(block, block.rp + 20, 17), true);
  assertEquals({ checksum: block.checksum, ok: icmpChecksumOk(block.buf, block.rp + 28, block.wp) }, {
    checksum: Checksum.None,
    ok: true,
  });
});
