/** Kit for the tests of devices/ether: a port that keeps sent frames, frames, and files opened by path. */

import { assert, assertThrows } from "@std/assert";
import { EtherDev } from "../../../devices/ether/dev_ether.ts";
import { Block, BlockPool } from "../../../kernel/block.ts";
import type { Chan } from "../../../kernel/chan.ts";
import { KernelError } from "../../../kernel/error.ts";
import { type FramePort, NO_OFFLOADS, type PortOffloads } from "../../../kernel/host.ts";
import { Open } from "../../../kernel/qid.ts";
import { Rendez } from "../../../kernel/rendez.ts";
import { VirtualClock } from "../../../kernel/time.ts";
import { emitEthernet } from "../../../kernel/wire/ethernet.ts";
import { type MacAddr, parseMacAddr } from "../../../kernel/wire/mac_addr.ts";

export const OUR_MAC: MacAddr = parseMacAddr("52:54:00:00:00:01")!;
export const PEER_MAC: MacAddr = parseMacAddr("52:54:00:00:00:02")!;
export const GROUP_MAC: MacAddr = parseMacAddr("33:33:00:00:00:05")!;
export const ALL_OFFLOADS: PortOffloads = { checksum: true, tcpSegment: true, udpSegment: true };

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Six bytes of `mac`. */
export function macBytes(mac: MacAddr): Uint8Array {
  const bytes = new Uint8Array(6);
  mac.put(bytes, 0);
  return bytes;
}

/** A port without a wire; it keeps sent frames as bytes and as blocks. */
export class FakePort implements FramePort {
  readonly kind = "frame";
  readonly name = "fake0";
  mtu = 1500;
  mbps = 1000;
  link = true;
  offloads: PortOffloads = NO_OFFLOADS;
  receive: ((block: Block) => void) | null = null;
  sent: Block[] = [];

  constructor(readonly mac: Uint8Array = macBytes(OUR_MAC)) {}

  transmit(block: Block): boolean {
    if (this.link) this.sent.push(block.own());
    else block.free();
    return this.link;
  }

  close(): void {}

  /** A frame comes from the wire. */
  arrives(frame: Uint8Array): void {
    this.receive!(Block.from(frame));
  }
}

/** A frame whose payload is `length` bytes of `fill`. */
export function frame(
  options: { dst?: MacAddr; src?: MacAddr; type?: number; length?: number; fill?: number } = {},
): Uint8Array {
  const { dst = OUR_MAC, src = PEER_MAC, type = 0x0800, length = 50, fill = 7 } = options;
  const bytes = new Uint8Array(14 + length).fill(fill);
  emitEthernet({ dst, src, etherType: type }, bytes, 0);
  return bytes;
}

/** A device with one NIC, and its files by path. */
export class Bench {
  readonly clock: VirtualClock = new VirtualClock();
  readonly blocks: BlockPool = new BlockPool();
  readonly dev: EtherDev = new EtherDev({ clock: this.clock, blocks: this.blocks });
  readonly port: FakePort = new FakePort();

  constructor() {
    this.dev.attachPort(this.port);
  }

  /** Opens a file below `#ether.0/ether0`. */
  open(path: string, options: { flags?: number; user?: string } = {}): Chan {
    const { flags = Open.ReadWrite, user = "ann" } = options;
    const walked = this.dev.walk(this.dev.attach("0", user), ["ether0", ...path.split("/")]);
    assert(walked.chan !== null, `no ${path}`);
    return this.dev.open(walked.chan, flags, user) as Chan;
  }

  /** Opens a conversation, runs `commands` on its ctl, and opens its data. */
  conv(...commands: string[]): { ctl: Chan; data: Chan; number: number } {
    const ctl = this.open("clone");
    for (const command of commands) this.tell(ctl, command);
    const number = Number(this.text(ctl));
    return { ctl, data: this.open(`${number}/data`), number };
  }

  tell(ctl: Chan, command: string): void {
    this.dev.write(ctl, encoder.encode(command), 0);
  }

  /** All of a text file. */
  text(chan: Chan): string {
    const buf = new Uint8Array(8192);
    return decoder.decode(buf.subarray(0, this.dev.read(chan, buf, 0) as number));
  }

  /** The text of a file below `#ether.0/ether0`. */
  textOf(path: string): string {
    return this.text(this.open(path, { flags: Open.Read }));
  }

  /** The value of one line of `stats` or `ifstats`. */
  counter(name: string): number {
    const line = new RegExp(`^${name}: (\\d+)$`, "m").exec(this.textOf("stats") + this.textOf("ifstats"));
    assert(line !== null, `no line ${name}`);
    return Number(line[1]);
  }

  /** The next frame of a data file, or null if it would sleep. */
  next(data: Chan): Uint8Array | null {
    const block = this.dev.bread(data, 65536);
    return block instanceof Rendez || block === null ? null : block.bytes();
  }

  /** How many frames wait; they are taken. */
  count(data: Chan): number {
    let count = 0;
    while (this.next(data) !== null) count++;
    return count;
  }

  write(data: Chan, bytes: Uint8Array): number {
    return this.dev.write(data, bytes, 0) as number;
  }

  bwrite(data: Chan, bytes: Uint8Array | Block): number {
    return this.dev.bwrite(data, bytes instanceof Block ? bytes : Block.from(bytes)) as number;
  }

  /** Lets jobs run. */
  run(): void {
    this.clock.jobs.run();
  }
}

/** The name of the error that `fn` throws. */
export function refusal(fn: () => unknown): string {
  return assertThrows(fn, KernelError).code;
}
