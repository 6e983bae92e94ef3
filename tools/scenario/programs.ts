/**
 * The user programs that run on the host: echoes, over a normal UDP conversation and over bypassed ones.
 *
 * Path: scenario → programs → system calls.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import { KernelError } from "../../kernel/error.ts";
import type { Proc } from "../../kernel/proc.ts";
import { updateChecksum16 } from "../../kernel/wire/checksum.ts";
import { get16, put16 } from "../../kernel/wire/bytes.ts";
import { setIpv4Ttl } from "../../kernel/wire/ipv4.ts";
import { swapEnds } from "../boot/swap_ends.ts";

/** Bytes of the record before each datagram in `headers` mode (Akaros). */
const UDP_HEADERS_LEN = 52;
const ICMP_ECHO_REQUEST = 8;
const ICMP_ECHO_REPLY = 0;

/** Refusals that are the asker's doing: from port 0, to a broadcast address, from nowhere, too big to go back whole. */
const UNANSWERABLE: ReadonlySet<string> = new Set(["EINVAL", "EPERM", "ENOTCONN", "EHOSTUNREACH", "EMSGSIZE"]);

/** TTL of what the ICMP program answers: shows that it was the program, and that its TTL was kept. */
export const PROGRAM_TTL = 77;

/** Answers every datagram to `port` with its own payload, on one announced conversation. */
export async function udpEcho(proc: Proc, port: number): Promise<void> {
  const conv = await proc.announce(`udp!*!${port}`, { ctl: ["headers"] });
  for await (const datagram of proc.blocks(conv.data)) {
    // The record names both ends, seen from here; sent back as it is it names the peer as the destination.
    if (datagram.length >= UDP_HEADERS_LEN) await answer(proc, conv.data, datagram);
  }
}

/** Claims UDP `port` and answers every packet, whole IP packets in and out. */
export async function bypassUdpEcho(proc: Proc, port: number): Promise<void> {
  const conv = await proc.bypass(`udp!*!${port}`);
  for await (const packet of proc.blocks(conv.data)) {
    await answer(proc, conv.data, swapEnds(packet));
  }
}

/** Claims the ICMP identifier `id` and answers echo requests with it. */
export async function bypassPing(proc: Proc, id: number): Promise<void> {
  const conv = await proc.bypass(`icmp!${id}`);
  for await (const packet of proc.blocks(conv.data)) {
    const { buf, rp } = packet;
    const icmpAt = rp + (buf[rp]! & 15) * 4;
    if (buf[icmpAt] !== ICMP_ECHO_REQUEST) continue;
    const old = get16(buf, icmpAt);
    buf[icmpAt] = ICMP_ECHO_REPLY;
    put16(buf, icmpAt + 2, updateChecksum16(get16(buf, icmpAt + 2), old, get16(buf, icmpAt)));
    setIpv4Ttl(buf, rp, PROGRAM_TTL);
    await answer(proc, conv.data, swapEnds(packet));
  }
}

/** Sends an answer. One that the kernel refuses is not sent: nobody who asks may end a program. */
async function answer(proc: Proc, data: number, block: Block): Promise<void> {
  try {
    await proc.blockwrite(data, block);
  } catch (error) {
    if (!(error instanceof KernelError) || !UNANSWERABLE.has(error.code)) throw error;
    block.free();
  }
}
