/**
 * A TUN or TAP in a namespace of its own: the addresses of both sides, datagrams by hand, and waiting for what comes.
 *
 * @module
 */

import { assert } from "@std/assert";
import type { LinuxSocket, Received } from "../../../devices/host/linux_socket.ts";
import { pause } from "../../../devices/host/pause.ts";
import type { TapPort, TunPort } from "../../../devices/host/tun.ts";
import type { Block } from "../../../kernel/block.ts";
import { get16, put16 } from "../../../kernel/wire/bytes.ts";

export const LINUX = "10.99.0.1";
export const OURS = "10.99.0.2";
export const LINUX_IP = [10, 99, 0, 1];
export const OUR_IP = [10, 99, 0, 2];
export const PORT_MAC = new Uint8Array([2, 0, 0, 0, 0, 2]);
export const LINUX_MAC = new Uint8Array([2, 0, 0, 0, 0, 1]);

/** Sum of 16-bit words, folded: not yet complemented. */
export function sum16(bytes: Uint8Array, start = 0): number {
  let sum = start;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

/** A UDP datagram from us to Linux' `port`; the checksum is finished, or owed when `owed`. */
export function datagram(port: number, payload: Uint8Array, owed = false): Uint8Array {
  const length = 28 + payload.length;
  const packet = new Uint8Array(length);
  packet.set([0x45, 0, length >> 8, length, 0, 0, 0, 0, 64, 17, 0, 0, ...OUR_IP, ...LINUX_IP]);
  put16(packet, 10, ~sum16(packet.subarray(0, 20)));
  packet.set([0, 7, port >> 8, port, (length - 20) >> 8, length - 20, 0, 0], 20);
  packet.set(payload, 28);
  const pseudo = sum16(packet.subarray(12, 20), 17 + length - 20);
  put16(packet, 26, owed ? pseudo : ~sum16(packet.subarray(20), pseudo));
  return packet;
}

export function framed(packet: Uint8Array, type = 0x0800): Uint8Array {
  return new Uint8Array([...LINUX_MAC, ...PORT_MAC, type >> 8, type, ...packet]);
}

/** Whether an IPv4 packet at `at` carries UDP to our port 7. */
export function isUdp(block: Block, at = block.rp): boolean {
  return block.buf[at] === 0x45 && block.buf[at + 9] === 17 && get16(block.buf, at + 22) === 7;
}

/** Drains until a block that `wanted` takes is there; the others are dropped. */
export async function expectBlock(port: TunPort | TapPort, wanted: (block: Block) => boolean): Promise<Block> {
  let found: Block | null = null;
  port.receive = (block) => {
    if (found === null && wanted(block)) found = block;
    else block.free();
  };
  for (let i = 0; i < 1000 && found === null; i++) {
    port.drain(64);
    await pause();
  }
  port.receive = null;
  assert(found !== null, "the expected packet came");
  return found;
}

/** Waits for a message at a socket of Linux. */
export async function expectMessage(socket: LinuxSocket): Promise<Received> {
  for (let i = 0; i < 1000; i++) {
    const message = socket.receive();
    if (message !== null) return message;
    await pause();
  }
  throw new Error("No message came");
}
