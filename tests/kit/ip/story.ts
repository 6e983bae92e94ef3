/**
 * Kit for stories: a booted host as its users use it, through files and system calls, and the far end of its cable,
 * which is the test itself.
 *
 *     await using story = await tell();
 *     const udp = story.user.conv("udp", "bypass 7");
 *     story.wire.inject(udpPacket({ dstPort: 7 }));
 *     udp.bread(); // the whole packet
 *
 * Between two sleeps of a test no time passes by itself: the clock moves by `advance`, or while an `await` has to wait.
 *
 * @module
 */

import { assertEquals, fail } from "@std/assert";
import type { Cable } from "../../../devices/ether/cable.ts";
import type { CablePort } from "../../../devices/ether/cable_port.ts";
import type { IpStack } from "../../../devices/ip/ip_stack.ts";
import { Block, type BlockPool } from "../../../kernel/block.ts";
import { KernelError } from "../../../kernel/error.ts";
import { EventQueue } from "../../../kernel/fd_tap.ts";
import type { Proc } from "../../../kernel/proc.ts";
import { Open } from "../../../kernel/qid.ts";
import { AGAIN, type Again } from "../../../kernel/sys.ts";
import { Tap } from "../../../kernel/syscall_table.ts";
import type { VirtualClock } from "../../../kernel/time.ts";
import { ARP_LEN, ARP_REPLY, emitArp, parseArp } from "../../../kernel/wire/arp.ts";
import {
  emitEthernet,
  ETH_ZLEN,
  ETHER_HEADER_LEN,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
} from "../../../kernel/wire/ethernet.ts";
import { type MacAddr, parseMacAddr } from "../../../kernel/wire/mac_addr.ts";
import { boot, type BootOptions, type Host } from "../../../tools/boot/boot.ts";
import { PEER } from "./ip_fixture.ts";
import { headerOf } from "./packets.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Hardware address of the first host of a world, and of the test's end of the cable. */
export const HOST_MAC = mac("020000000001");
export const WIRE_MAC = mac("020000000063");

/** The hardware address that `text` spells. */
export function mac(text: string): MacAddr {
  return parseMacAddr(text) ?? fail(`"${text}" is no hardware address`);
}

/** Lets `ms` of virtual time pass on the host and all its neighbours. */
export function advance(host: Host, ms: number): void {
  (host.clock as VirtualClock).advance(ms);
}

/** The errno of what `fn` throws, by name; an error if it throws nothing, or anything but a KernelError. */
export function errnoOf(fn: () => unknown): string {
  return errorOf(fn).code;
}

/** The KernelError that `fn` throws. */
export function errorOf(fn: () => unknown): KernelError {
  try {
    fn();
  } catch (error) {
    if (error instanceof KernelError) return error;
    throw error;
  }
  fail("Nothing was refused");
}

/** The answer of a call that does not sleep. */
export function done<T>(answer: T | Again): T {
  if (answer === AGAIN) fail("The call would sleep");
  return answer as T;
}

/** Fill of freed memory. */
const POISON = 0xdb;

/**
 * Overwrites freed memory, and makes a double free an error: so a story detects code that uses a block that he gave
 * away.
 */
export function guardPool(pool: BlockPool): void {
  const free = new WeakSet<Uint8Array>();
  const { alloc, release } = pool;
  pool.alloc = (size, headroom) => {
    const block = alloc.call(pool, size, headroom);
    free.delete(block.buf);
    return block;
  };
  pool.release = (buf) => {
    if (free.has(buf)) throw new Error("Memory was given back twice");
    free.add(buf);
    buf.fill(POISON);
    release.call(pool, buf);
  };
}

/** One user at one host: system calls that never sleep, in fewer words. */
export class User {
  readonly proc: Proc;

  constructor(readonly host: Host, readonly name: string = "eve") {
    this.proc = host.spawn(`${name}'s`, { user: name });
  }

  /** Opens `path` for reading and writing, without sleeping afterwards either. */
  open(path: string, flags: number = Open.ReadWrite | Open.NonBlock): number {
    return done(this.proc.sys.open(path, flags));
  }

  /** One write of a text, or of bytes, to a descriptor. */
  write(fd: number, data: string | Uint8Array): number | Again {
    return this.proc.sys.write(fd, typeof data === "string" ? encoder.encode(data) : data);
  }

  /** Opens `path`, writes one command, closes it. */
  command(path: string, text: string): void {
    const fd = this.open(path, Open.Write);
    try {
      this.write(fd, text);
    } finally {
      this.proc.sys.close(fd);
    }
  }

  /** One read; null if it would sleep. */
  read(fd: number, max = 1 << 17): Uint8Array | null {
    const buf = new Uint8Array(max);
    const count = this.proc.sys.read(fd, buf);
    return count === AGAIN ? null : buf.slice(0, count as number);
  }

  /** One read, as text; it must not sleep. */
  readText(fd: number, max = 1 << 17): string {
    return decoder.decode(this.read(fd, max) ?? fail("The read would sleep"));
  }

  /** The whole text of the file `path`. */
  text(path: string): string {
    const fd = this.open(path, Open.Read);
    try {
      let text = "";
      for (let part = this.readText(fd); part !== ""; part = this.readText(fd)) text += part;
      return text;
    } finally {
      this.proc.sys.close(fd);
    }
  }

  /** The value of a line `name: value` of /net/PROTO/stats. */
  stat(proto: string, name: string): number {
    const line = this.text(`/net/${proto}/stats`).split("\n").find((one) => one.startsWith(`${name}: `));
    return Number(line?.slice(name.length + 2) ?? fail(`${proto}/stats has no line "${name}"`));
  }

  /** Taps a descriptor. */
  tap(fd: number, filter: number, options: { id?: number; level?: boolean } = {}): EventQueue {
    const queue = new EventQueue();
    this.proc.sys.tapFds([{ fd, command: Tap.Add, filter, queue, ...options }]);
    return queue;
  }

  /** A new conversation with its ctl and data file open; `commands` are written to ctl. */
  conv(proto: string, ...commands: string[]): UserConv {
    const ctl = this.open(`/net/${proto}/clone`, Open.ReadWrite);
    try {
      const dir = `/net/${proto}/${this.readText(ctl)}`;
      for (const command of commands) this.write(ctl, command);
      return new UserConv(this, dir, ctl, this.open(`${dir}/data`));
    } catch (error) {
      this.proc.sys.close(ctl);
      throw error;
    }
  }

  /** How many conversation directories a protocol has. */
  slots(proto: string): number {
    return this.proc.sys.list(`/net/${proto}`).filter(({ name }) => /^\d+$/.test(name)).length;
  }
}

/** A conversation that a user has open. */
export class UserConv {
  constructor(readonly user: User, readonly dir: string, readonly ctl: number, readonly data: number) {}

  command(text: string): void {
    this.user.write(this.ctl, text);
  }

  /** The text of one of its files. */
  text(file: string): string {
    return this.user.text(`${this.dir}/${file}`);
  }

  /** Its local port. */
  get port(): number {
    return parseInt(this.text("local").split("!")[1]!, 10);
  }

  /** The number behind `name` in its status line. */
  status(name: string): number {
    return Number(new RegExp(`\\b${name} (\\d+)`).exec(this.text("status"))?.[1] ?? fail(`No "${name}" in status`));
  }

  /** One read of data; null if it would sleep. */
  read(max?: number): Uint8Array | null {
    return this.user.read(this.data, max);
  }

  /** One block of data; null if there is none now. */
  bread(max?: number): Block | null {
    const block = this.user.proc.sys.blockread(this.data, max);
    return block === AGAIN ? null : block as Block | null;
  }

  /** The bytes of one block of data; an error if there is none. */
  take(): Uint8Array {
    return (this.bread() ?? fail(`${this.dir}/data has no block`)).bytes().slice();
  }

  /** Writes one block, all of it. */
  bwrite(bytes: Uint8Array | Block): void {
    const { length } = bytes;
    assertEquals(this.user.proc.sys.blockwrite(this.data, bytes), length);
  }

  /** One block of its err file; null if there is none. */
  error(): Uint8Array | null {
    const fd = this.user.open(`${this.dir}/err`, Open.Read | Open.NonBlock);
    const block = this.user.proc.sys.blockread(fd);
    this.user.proc.sys.close(fd);
    return block === AGAIN ? null : (block as Block).bytes().slice();
  }

  /** Taps its data file. */
  tap(filter: number): EventQueue {
    return this.user.tap(this.data, filter);
  }

  close(): void {
    this.user.proc.sys.close(this.data);
    this.user.proc.sys.close(this.ctl);
  }
}

/** An end of a cable that is the test's: sees what the others send, and sends what no kernel would. */
export class Wire {
  readonly port: CablePort;
  #frames: Uint8Array[] = [];

  constructor(readonly host: Host, readonly cable: Cable, readonly mac: MacAddr = WIRE_MAC) {
    const bytes = new Uint8Array(6);
    mac.put(bytes, 0);
    this.port = cable.attach({ name: "test", mac: bytes, mtu: 65535 });
    this.port.receive = (block) => {
      this.#frames.push(block.bytes().slice());
      block.free();
    };
  }

  /** Sends a frame, and lets everything happen that follows from it now. */
  sendFrame(frame: Uint8Array): void {
    this.port.transmit(Block.from(frame));
    this.host.clock.jobs.run();
  }

  /** Sends an IP packet in a frame to the host, padded as Ethernet pads. */
  inject(packet: Uint8Array, options: { dst?: MacAddr; type?: number } = {}): void {
    const { dst = HOST_MAC, type = ETHERTYPE_IPV4 } = options;
    const frame = new Uint8Array(Math.max(ETH_ZLEN, ETHER_HEADER_LEN + packet.length));
    emitEthernet({ dst, src: this.mac, etherType: type }, frame, 0);
    frame.set(packet, ETHER_HEADER_LEN);
    this.sendFrame(frame);
  }

  /** Answers the ARP request in `frame`, as the station `mac`. */
  answerArp(frame: Uint8Array, mac: MacAddr): void {
    const request = parseArp(frame, ETHER_HEADER_LEN, frame.length) ?? fail("Not an ARP packet");
    const packet = new Uint8Array(ARP_LEN);
    const { senderMac, senderIp, targetIp } = request;
    emitArp({ op: ARP_REPLY, senderMac: mac, senderIp: targetIp, targetMac: senderMac, targetIp: senderIp }, packet, 0);
    this.inject(packet, { dst: senderMac, type: ETHERTYPE_ARP });
  }

  /** Takes the frames that others sent since last asked. */
  frames(): Uint8Array[] {
    this.host.clock.jobs.run();
    return this.#frames.splice(0);
  }

  /** Takes the IP packets that others sent since last asked, without padding. */
  sent(): Uint8Array[] {
    const packets = this.frames().filter((frame) => frame[12] === 8 && frame[13] === 0);
    return packets.map((frame) => {
      const packet = frame.subarray(ETHER_HEADER_LEN);
      return packet.slice(0, headerOf(packet).totalLen);
    });
  }

  /** The only packet that others sent since last asked. */
  one(): Uint8Array {
    const packets = this.sent();
    assertEquals(packets.length, 1);
    return packets[0]!;
  }
}

/** A host on a cable with the test. */
export interface Story extends AsyncDisposable {
  readonly host: Host;
  /** eve at the host. */
  readonly user: User;
  readonly wire: Wire;
  /** The stack, to look at its limits. */
  readonly stack: IpStack;
}

/** Boots a host at 10.0.0.1/24 whose only neighbour, 10.0.0.2, is the test, and the gateway of everything else. */
export async function tell(options: BootOptions = {}): Promise<Story> {
  const host = await boot({ gateway: PEER, ...options });
  guardPool(host.kernel.blocks);
  const user = new User(host);
  const wire = new Wire(host, host.cable!);
  // For good: a story about something else must not wait for ARP.
  user.command("/net/arp", `add ${PEER} ${WIRE_MAC.toHex()}`);
  wire.frames();
  return { host, user, wire, stack: host.ip.stack(0), [Symbol.asyncDispose]: () => host.world.close() };
}

/** Two kernels on one cable, and the test that listens to it. */
export interface Meeting extends AsyncDisposable {
  /** eve at the first host, 10.0.0.1, and at the second, 10.0.0.2. */
  readonly user: User;
  readonly peer: User;
  readonly wire: Wire;
}

/** Boots two hosts on one cable. */
export async function meet(options: BootOptions = {}): Promise<Meeting> {
  const host = await boot(options);
  guardPool(host.kernel.blocks);
  const other = await host.neighbor();
  const wire = new Wire(host, host.cable!);
  return { user: new User(host), peer: new User(other), wire, [Symbol.asyncDispose]: () => host.world.close() };
}
