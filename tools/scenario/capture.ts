/**
 * Captures: a pcapng file with one interface for each tap point, and the direction of each packet.
 *
 * Path: port_tap (wire), ipifc snoop (ip), vm (guest) → capture → file.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import { Open } from "../../kernel/chan.ts";
import { KernelError } from "../../kernel/error.ts";
import { IpAddr } from "../../kernel/wire/ip_addr.ts";
import {
  emitPcapngInterface,
  emitPcapngPacket,
  emitPcapngSection,
  LINKTYPE_ETHERNET,
  LINKTYPE_RAW,
  PCAPNG_INBOUND,
  PCAPNG_OUTBOUND,
} from "../../kernel/wire/pcapng.ts";
import type { Host } from "../boot.ts";
import type { PortObserver } from "../port_tap.ts";
import { UsageError } from "./options.ts";

const NS_PER_MS = 1e6;
const IPV4_SRC_AT = 12;

/** A file that is being written. */
export class Capture {
  #file: Deno.FsFile;
  #interfaces = 0;

  /** Makes or empties the file at `path`. Throws {@link UsageError} where that cannot be. */
  constructor(path: string) {
    try {
      this.#file = Deno.openSync(path, { write: true, create: true, truncate: true });
    } catch (error) {
      throw new UsageError(`Cannot write "${path}" of --pcap: ${error instanceof Error ? error.message : error}`);
    }
    this.#write(emitPcapngSection("akarino scenario"));
  }

  /** A tap point at a port: frames of a FramePort, packets of a PacketPort. */
  wire(name: string, kind: "frame" | "packet"): PortObserver {
    const at = this.#addInterface(name, kind === "frame" ? LINKTYPE_ETHERNET : LINKTYPE_RAW);
    return (direction, block, wallMs) => this.#packet(at, direction === "in", block.bytes(), wallMs);
  }

  /** A tap point between the stack and its interface `number`: what its snoop file shows, until the host ends. */
  async ip(host: Host, number: number): Promise<void> {
    const at = this.#addInterface(`ip${number}`, LINKTYPE_RAW);
    const proc = host.spawn("snoopy");
    const fd = await proc.open(`/net/ipifc/${number}/snoop`, Open.Read);
    this.#readSnoop(host, proc.blocks(fd), at).catch((error) => {
      // The end of the host ends the reading.
      if (!(error instanceof KernelError)) throw error;
    });
  }

  async #readSnoop(host: Host, packets: AsyncIterable<Block>, at: number): Promise<void> {
    for await (const packet of packets) {
      const isOurs = IpAddr.v4At(packet.buf, packet.rp + IPV4_SRC_AT).toString() === host.address;
      this.#packet(at, !isOurs, packet.bytes(), host.clock.wall());
      packet.free();
    }
  }

  close(): void {
    this.#file.close();
  }

  #addInterface(name: string, linkType: number): number {
    this.#write(emitPcapngInterface({ name, linkType }));
    return this.#interfaces++;
  }

  #packet(at: number, isInbound: boolean, data: Uint8Array, wallMs: number): void {
    const timestampNs = BigInt(Math.floor(wallMs)) * 1_000_000n + BigInt(Math.round((wallMs % 1) * NS_PER_MS));
    const direction = isInbound ? PCAPNG_INBOUND : PCAPNG_OUTBOUND;
    this.#write(emitPcapngPacket({ interfaceId: at, timestampNs, direction, data }));
  }

  #write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) at += this.#file.writeSync(bytes.subarray(at));
  }
}
