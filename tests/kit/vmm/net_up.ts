/** A network card whose driver is up, and frames with a checksum owed or a tag. */

import { assert } from "@std/assert";
import { Block, Checksum, Segment } from "../../../kernel/block.ts";
import { put16 } from "../../../kernel/wire/bytes.ts";
import { BUFFERS, type HostileDriver, RAM_BASE, RX, WRITE } from "./hostile_driver.ts";
import { NetRig, type NetRigOptions, testFrame } from "./net_rig.ts";

export const HERE = RAM_BASE + BUFFERS;

/** CSUM, GUEST_CSUM, GUEST_TSO4, HOST_TSO4. */
export const OFFLOADS = 1 | 2 | (1 << 7) | (1 << 11);

/** A rig with a driver that agreed on the feature bits `low`, and `buffers` receive buffers of `bytes` each. */
export function upRig(
  low = 0,
  options: NetRigOptions & { buffers?: number; bytes?: number; size?: number } = {},
): { rig: NetRig; driver: HostileDriver } {
  const { buffers = 0, bytes = 2048, size = 64, ...rest } = options;
  const rig = new NetRig(rest);
  const driver = rig.hostile();
  assert(driver.bringUp({ features: [low, 1], size, count: (low & (1 << 17)) === 0 ? 2 : 3 }));
  for (let i = 0; i < buffers; i++) {
    driver.describe(RX, i, { addr: HERE + i * bytes, len: bytes, flags: WRITE });
    driver.offer(RX, i);
  }
  return { rig, driver };
}

/** A block of TCP over IPv4 with `payload` bytes that owes its checksum, to be cut to `size` if that is not 0. */
export function tcpBlock(payload: number, size = 0): Block {
  const bytes = testFrame(54 + payload);
  bytes[14] = 0x45;
  bytes[46] = 0x50;
  bytes[47] = 0;
  const block = Block.from(bytes);
  block.checksum = Checksum.Owed;
  block.checksumStart = block.rp + 34;
  block.checksumField = block.rp + 50;
  if (size > 0) {
    block.segment = Segment.Tcp4;
    block.segmentSize = size;
    block.segmentHeaderLen = 40;
  }
  return block;
}

/** A frame of `length` bytes with a VLAN tag, which does not count towards an MTU. */
export function taggedFrame(length: number): Uint8Array {
  const frame = testFrame(length);
  put16(frame, 12, 0x8100);
  return frame;
}
