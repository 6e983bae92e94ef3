import { VNET_HEADER_LEN } from "../../kernel/inet/vnet_header.ts";
import { assert, assertEquals, assertFalse } from "@std/assert";
import { Block, Checksum, Segment } from "../../kernel/block.ts";
import { putVnetHeader, takeVnetHeader } from "./vnet_header.ts";

/** Ethernet, IPv4, TCP with the given flags, and `payload` bytes. */
function tcpFrame(payload: number, flags = 0x18): Block {
  const block = Block.from(new Uint8Array(14 + 20 + 20 + payload));
  block.buf[block.rp + 14 + 20 + 12] = 0x50;
  block.buf[block.rp + 14 + 20 + 13] = flags;
  block.checksum = Checksum.Owed;
  block.checksumStart = block.rp + 34;
  block.checksumField = block.rp + 50;
  block.segment = Segment.Tcp4;
  block.segmentSize = 1448;
  block.segmentHeaderLen = 40;
  return block;
}

/** Puts the header of `block`, takes it on a block of the same bytes elsewhere in its buffer, and returns that one. */
function crossed(block: Block, linkLen: number): Block {
  const header = new Uint8Array(VNET_HEADER_LEN);
  assert(putVnetHeader(header, 0, block, linkLen));
  const other = Block.from(block.bytes(), 200);
  assert(takeVnetHeader(header, 0, other, linkLen));
  return other;
}

Deno.test("putVnetHeader() writes what Linux expects for a TCP segment of three pieces", () => {
  const header = new Uint8Array(VNET_HEADER_LEN).fill(0xee);
  assert(putVnetHeader(header, 0, tcpFrame(3000), 14));
  // deno-fmt-ignore
  assertEquals([...header], [
    1,          // flags: NEEDS_CSUM
    1,          // gso_type: TCPV4
    54, 0,      // hdr_len: 14 + 20 + 20
    0xa8, 0x05, // gso_size: 1448
    34, 0,      // csum_start
    16, 0,      // csum_offset
  ]);
});

Deno.test("putVnetHeader() says nothing about a plain packet and clears what was there", () => {
  const header = new Uint8Array(VNET_HEADER_LEN).fill(0xee);
  assert(putVnetHeader(header, 0, Block.from(new Uint8Array(60)), 14));
  assertEquals(header, new Uint8Array(VNET_HEADER_LEN));
});

Deno.test("putVnetHeader() does not ask to cut what fits one piece", () => {
  const header = new Uint8Array(VNET_HEADER_LEN);
  assert(putVnetHeader(header, 0, tcpFrame(1448), 14));
  assertEquals([header[0], header[1]], [1, 0]);
});

Deno.test("putVnetHeader() marks a TCP segment with CWR so that only its first piece keeps it", () => {
  const header = new Uint8Array(VNET_HEADER_LEN);
  assert(putVnetHeader(header, 0, tcpFrame(3000, 0x98), 14));
  assertEquals(header[1], 0x81);
});

Deno.test("putVnetHeader() refuses metadata outside of the block", () => {
  const header = new Uint8Array(VNET_HEADER_LEN);
  for (const [start, field] of [[-1, 5], [34, 33], [34, 3053], [90_000, 90_016]] as const) {
    const block = tcpFrame(3000);
    block.checksumStart = block.rp + start;
    block.checksumField = block.rp + field;
    assertFalse(putVnetHeader(header, 0, block, 14), `${start} ${field}`);
  }
  for (const size of [0, -1, 70_000]) {
    const block = tcpFrame(80_000);
    block.segmentSize = size;
    assertFalse(putVnetHeader(header, 0, block, 14), `${size}`);
  }
});

Deno.test("metadata cross unchanged, wherever the bytes lie in their buffers", () => {
  for (const segment of [Segment.Tcp4, Segment.Tcp6, Segment.Udp]) {
    const block = tcpFrame(3000);
    block.segment = segment;
    if (segment === Segment.Udp) {
      block.checksumField = block.checksumStart + 6;
      block.segmentHeaderLen = 28;
    }
    const other = crossed(block, 14);
    assertEquals(
      [other.checksum, other.checksumStart - other.rp, other.checksumField - other.rp],
      [Checksum.Owed, 34, block.checksumField - block.rp],
    );
    assertEquals([other.segment, other.segmentSize], [segment, 1448]);
    assertEquals(other.segmentHeaderLen, block.segmentHeaderLen);
  }
  const verified = Block.from(new Uint8Array(60));
  verified.checksum = Checksum.Verified;
  assertEquals(crossed(verified, 0).checksum, Checksum.Verified);
});

Deno.test("takeVnetHeader() refuses a header that does not fit its packet", () => {
  const good = new Uint8Array(VNET_HEADER_LEN);
  assert(putVnetHeader(good, 0, tcpFrame(3000), 14));
  const take = (change: (header: Uint8Array, block: Block) => void, length = 3054) => {
    const header = good.slice();
    const block = Block.from(tcpFrame(3000).bytes().subarray(0, length));
    change(header, block);
    return takeVnetHeader(header, 0, block, 14);
  };
  assert(take(() => {}));
  assertFalse(take((header) => header[0] = 0), "cut without an owed checksum");
  assertFalse(take((header) => header[1] = 3), "UFO");
  assertFalse(take((header) => header.fill(0, 4, 6)), "no size");
  assertFalse(take((header) => header[7] = 0xff), "checksum behind the end");
  assertFalse(take((header) => header[9] = 0xff), "checksum field behind the end");
  assertFalse(take(() => {}, 52), "TCP header cut off");
  assertFalse(take((_, block) => block.buf[block.rp + 46] = 0xf0, 60), "TCP options behind the end");
  assertFalse(take((header) => header[6] = 0, 3054), "transport inside of the link header");
});
