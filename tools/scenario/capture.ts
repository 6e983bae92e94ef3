/**
 * Captures: a pcapng file with one interface for each tap point, and the direction of each packet.
 *
 * Path: scenario → capture → scenario/options, segment, boot, observe_port.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import { KernelError } from "../../kernel/error.ts";
import { wholeBytes } from "../../kernel/inet/segment.ts";
import { Open } from "../../kernel/qid.ts";
import type { Clock } from "../../kernel/time.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { ipv4Src } from "../../kernel/wire/ipv4.ts";
import { ipv6Src } from "../../kernel/wire/ipv6.ts";
import {
  emitPcapngInterface,
  emitPcapngPacket,
  emitPcapngSection,
  LINKTYPE_ETHERNET,
  LINKTYPE_RAW,
  PCAPNG_INBOUND,
  PCAPNG_OUTBOUND,
  pcapngTimestamp,
} from "../../kernel/wire/pcapng.ts";
import type { Host } from "../boot/boot.ts";
import type { PortObserver } from "../boot/observe_port.ts";
import type { NatObserver } from "../nat/observer.ts";
import { UsageError } from "../options/given.ts";
import { SNAPLEN_MAX } from "./options.ts";

/** Bytes that are written at once: a call of Linux for each packet takes longer than the packet. */
const BUFFER_BYTES = 1 << 20;

/** The file cannot be written any more. */
export class CaptureError extends Error {
  override readonly name = "CaptureError";
}

/** Where, in which direction and when a packet was seen, and what the NAT decided about it. */
interface Seen {
  /** Number of the interface. */
  readonly at: number;
  readonly isInbound: boolean;
  readonly wallMs: number;
  readonly note?: string;
}

/** A file that is being written. */
export class Capture {
  readonly #path: string;
  #file: Deno.FsFile;
  #interfaces = 0;
  #buf = new Uint8Array(BUFFER_BYTES);
  #filled = 0;
  #failure: CaptureError | null = null;

  /** Makes or empties the file at `path`; keeps `snapLen` bytes of each packet. Throws {@link UsageError}. */
  constructor(path: string, readonly snapLen: number = SNAPLEN_MAX) {
    this.#path = path;
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
    return (direction, block, wallMs) => this.#packet({ at, isInbound: direction === "in", wallMs }, wholeBytes(block));
  }

  /** Two tap points of a NAT: frames of the guest's link, packets of its bypassed conversations; with its decisions. */
  nat(clock: Clock): NatObserver {
    const at = {
      guest: this.#addInterface("guest", LINKTYPE_ETHERNET),
      bypass: this.#addInterface("bypass", LINKTYPE_RAW),
    };
    return ({ point, direction, bytes, note }) =>
      this.#packet({ at: at[point], isInbound: direction === "in", wallMs: clock.wall(), note }, bytes);
  }

  /** A tap point between the stack and its interface `number`: what its snoop file shows, until the host ends. */
  async ip(host: Host, number: number): Promise<void> {
    const at = this.#addInterface(`ip${number}`, LINKTYPE_RAW);
    const proc = host.spawn("snoopy");
    const local = await proc.readText(`/net/ipifc/${number}/local`);
    const own = new Set(local.split("\n").map((line) => line.split(" ")[0]!));
    const fd = await proc.open(`/net/ipifc/${number}/snoop`, Open.Read);
    const isOwn = (packet: Block) => own.has(`${sourceOf(packet)}`);
    this.#readSnoop(host, proc.blocks(fd), { at, isOwn }).catch((error) => {
      // The end of the host ends the reading.
      if (!(error instanceof KernelError)) throw error;
    });
  }

  async #readSnoop(
    host: Host,
    packets: AsyncIterable<Block>,
    { at, isOwn }: { readonly at: number; readonly isOwn: (packet: Block) => boolean },
  ): Promise<void> {
    for await (const packet of packets) {
      this.#packet({ at, isInbound: !isOwn(packet), wallMs: host.clock.wall() }, packet.bytes());
      packet.free();
    }
  }

  /** Throws {@link CaptureError} if it is not whole: a full disk ends the capture, and not what is captured. */
  close(): void {
    this.flush();
    this.#file.close();
    if (this.#failure !== null) throw this.#failure;
  }

  #addInterface(name: string, linkType: number): number {
    this.#write(emitPcapngInterface({ name, linkType, snapLen: this.snapLen }));
    return this.#interfaces++;
  }

  #packet({ at: interfaceId, isInbound, wallMs, note = "" }: Seen, bytes: Uint8Array): void {
    const timestampNs = pcapngTimestamp(wallMs);
    const direction = isInbound ? PCAPNG_INBOUND : PCAPNG_OUTBOUND;
    const data = bytes.subarray(0, this.snapLen);
    const comment = note === "" ? {} : { comment: note };
    const packet = { interfaceId, timestampNs, direction, data, originalLen: bytes.length, ...comment };
    this.#write(emitPcapngPacket(packet));
  }

  #write(bytes: Uint8Array): void {
    if (this.#filled + bytes.length > this.#buf.length) this.flush();
    if (bytes.length > this.#buf.length) return this.#writeAll(bytes);
    this.#buf.set(bytes, this.#filled);
    this.#filled += bytes.length;
  }

  /** Writes what is still held: the file is whole up to here. */
  flush(): void {
    this.#writeAll(this.#buf.subarray(0, this.#filled));
    this.#filled = 0;
  }

  #writeAll(bytes: Uint8Array): void {
    if (this.#failure !== null) return;
    try {
      for (let at = 0; at < bytes.length;) at += this.#file.writeSync(bytes.subarray(at));
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      this.#failure = new CaptureError(`Cannot write "${this.#path}" of --pcap: ${error.message}`);
    }
  }
}

/** Source of an IP packet of either version. */
function sourceOf({ buf, rp }: Block): IpAddr {
  return buf[rp]! >> 4 === 6 ? ipv6Src(buf, rp) : ipv4Src(buf, rp);
}
