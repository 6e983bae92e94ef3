/**
 * What the tests of interfaces, links and IP share: a stack in virtual time, an Ethernet interface that is nothing but
 * the files its medium needs, a protocol that keeps what it gets, and packets.
 *
 * @module
 */

import { assert } from "@std/assert";
import { type Block, BlockPool } from "../../../kernel/block.ts";
import { Chan } from "../../../kernel/chan.ts";
import { splitWords } from "../../../kernel/ctl.ts";
import { Dev, type DevEnv, makeDir, textOf } from "../../../kernel/dev.ts";
import { KernelError } from "../../../kernel/error.ts";
import { type FdTap, TapEvent, TapList } from "../../../kernel/fd_tap.ts";
import { type Dir, EVE, Open, QidType } from "../../../kernel/qid.ts";
import { Queue } from "../../../kernel/queue.ts";
import { breadQueue, readQueue } from "../../../kernel/queue_file.ts";
import { SeededRandom } from "../../../kernel/random.ts";
import { type OrWait, Rendez } from "../../../kernel/rendez.ts";
import { VirtualClock } from "../../../kernel/time.ts";
import { ARP_LEN, ARP_REPLY, ARP_REQUEST, type ArpPacket, emitArp, parseArp } from "../../../kernel/wire/arp.ts";
import {
  emitEthernet,
  ETHER_HEADER_LEN,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  etherTypeAt,
} from "../../../kernel/wire/ethernet.ts";
import { setIcmp6Checksum } from "../../../kernel/wire/icmp6.ts";
import { type IpAddr, parseIpAddr } from "../../../kernel/wire/ip_addr.ts";
import { IP_PROTO_ICMP6, IP_PROTO_UDP } from "../../../kernel/wire/ip_proto.ts";
import { emitIpv4, IPV4_HEADER_MAX, type Ipv4Fields, type Ipv4Header, parseIpv4 } from "../../../kernel/wire/ipv4.ts";
import { emitIpv6, IPV6_HEADER_LEN, ipv6Dst, type Ipv6Fields, ipv6Src } from "../../../kernel/wire/ipv6.ts";
import { MAC_BROADCAST, MAC_ZERO, type MacAddr, multicastMacV6, parseMacAddr } from "../../../kernel/wire/mac_addr.ts";
import { emitNd, ND_HOP_LIMIT, ndLen, type NdMessage, parseNd } from "../../../kernel/wire/nd.ts";
import { runArpCtl } from "../../../devices/ip/neighbor/arp_ctl.ts";
import type { Conv } from "../../../devices/ip/conv/conv.ts";
import { Icmp6Proto } from "../../../devices/ip/icmp/icmp6.ts";
import type { Ipifc } from "../../../devices/ip/ifc/ipifc.ts";
import { IpifcProto } from "../../../devices/ip/files/ipifc_proto.ts";
import { IpStack } from "../../../devices/ip/ip_stack.ts";
import type { Cast } from "../../../devices/ip/env/cast.ts";
import type { InputPacket } from "../../../devices/ip/packet/packet.ts";
import type { Proto } from "../../../devices/ip/conv/conv.ts";

/** Our hardware address, and a neighbour's. */
export const OUR_MAC: MacAddr = mac("02:00:00:00:00:01");
export const PEER_MAC: MacAddr = mac("02:00:00:00:00:02");

/** The address that `text` spells. */
export function ip(text: string): IpAddr {
  const addr = parseIpAddr(text);
  assert(addr !== null, text);
  return addr;
}

/** The hardware address that `text` spells. */
export function mac(text: string): MacAddr {
  const addr = parseMacAddr(text);
  assert(addr !== null, text);
  return addr;
}

const Kind = { Root: 0, Clone: 1, Stats: 2, Dir: 3, Ctl: 4, Data: 5 } as const;

interface FakeConv {
  type: number;
  open: number;
  readonly queue: Queue;
  readonly taps: TapList;
}

/** An Ethernet interface of files: what is written is kept, and frames are received when a test says so. */
export class FakeEther extends Dev {
  override readonly name = "fake";
  /** Frames written, in order. */
  readonly sent: Uint8Array[] = [];
  /** Commands written to ctl files. */
  readonly commands: string[] = [];
  /** Feature words. */
  features = "";
  /** Writes of data would have to wait. */
  busy = false;
  /** Writes of data are refused. */
  failing = false;
  readonly convs: FakeConv[] = [];

  constructor(readonly mac: MacAddr = OUR_MAC) {
    super();
  }

  /** Conversations that somebody has open. */
  get openConvs(): number {
    return this.convs.filter((conv) => conv.open > 0).length;
  }

  /** Receives a frame. */
  receive(frame: Uint8Array): void {
    const type = etherTypeAt(frame, 0);
    for (const conv of this.convs) if (conv.type === type) conv.queue.pass(new BlockPool().from(frame));
  }

  override attach(): Chan {
    return new Chan(this, { path: Kind.Root, vers: 0, type: QidType.Dir });
  }

  override lookup(dir: Chan, name: string): Dir | null {
    const number = dir.qid.path >> 4;
    if ((dir.qid.path & 15) === Kind.Dir) {
      return name === "data" ? makeDir(number << 4 | Kind.Data, name) : null;
    }
    if (name === "clone") return makeDir(Kind.Clone, name);
    if (name === "stats") return makeDir(Kind.Stats, name);
    return /^\d$/.test(name) ? makeDir(Number(name) << 4 | Kind.Dir, name, { dir: true }) : null;
  }

  override list(): Dir[] {
    return [];
  }

  override stat(chan: Chan): Dir {
    return makeDir(chan.qid.path, "file", { dir: chan.isDir });
  }

  override open(chan: Chan, flags: number): OrWait<Chan> {
    if (chan.qid.path === Kind.Clone) chan.qid = { path: this.#clone() << 4 | Kind.Ctl, vers: 0, type: 0 };
    const conv = this.convs[chan.qid.path >> 4];
    if ((chan.qid.path & 15) >= Kind.Ctl && conv !== undefined) conv.open++;
    return this.markOpen(chan, flags);
  }

  override close(chan: Chan): void {
    if (chan.opened && (chan.qid.path & 15) >= Kind.Ctl) this.convs[chan.qid.path >> 4]!.open--;
  }

  override read(chan: Chan, buf: Uint8Array): OrWait<number> {
    const kind = chan.qid.path & 15;
    if (kind === Kind.Data) return readQueue(this.#conv(chan).queue, buf);
    const stats = `in: 0\nlink: 1\naddr: ${this.mac.toHex()}\nfeat: ${this.features}\n`;
    return new TextEncoder().encodeInto(kind === Kind.Ctl ? `${chan.qid.path >> 4}\0` : stats, buf).written;
  }

  override bread(chan: Chan, max: number): OrWait<Block | null> {
    return breadQueue(this.#conv(chan).queue, max);
  }

  override write(chan: Chan, bytes: Uint8Array): OrWait<number> {
    const text = textOf(bytes);
    this.commands.push(text);
    const type = /^connect (0x[0-9a-f]+)$/.exec(text)?.[1];
    if (type !== undefined) this.#conv(chan).type = Number(type);
    else if (!/^(addmulti|remmulti) /.test(text)) throw new KernelError("EINVAL", `Unknown "${text}"`);
    return bytes.length;
  }

  override bwrite(chan: Chan, block: Block): OrWait<number> {
    if (this.busy) return new Rendez();
    if (this.failing) throw new KernelError("EIO", `Cannot write "${chan.path}"`);
    this.sent.push(block.bytes().slice());
    const { length } = block;
    block.free();
    return length;
  }

  override tapfd(chan: Chan, tap: FdTap, command: "add" | "remove" | "modify"): number {
    const { taps, queue } = this.#conv(chan);
    if (command === "remove") taps.remove(tap);
    else taps.add(tap, TapEvent.Readable | TapEvent.Hangup | TapEvent.Writable);
    return queue.level & TapEvent.Readable;
  }

  #conv(chan: Chan): FakeConv {
    return this.convs[chan.qid.path >> 4]!;
  }

  #clone(): number {
    const taps = new TapList();
    const queue = new Queue({ limit: 1 << 20, message: true });
    queue.onEdge = (events) => taps.fire(events);
    return this.convs.push({ type: 0, open: 0, queue, taps }) - 1;
  }
}

/** What {@link ip6Packet} is made from; by default UDP from fe80::2 to 2001:db8::1. */
export interface Packet6Fields extends Partial<Omit<Ipv6Fields, "payloadLen" | "src" | "dst">> {
  readonly src?: string;
  readonly dst?: string;
  /** Bytes behind the header, or how many. */
  readonly payload?: Uint8Array | number;
}

/** An IPv6 packet. */
export function ip6Packet(fields: Packet6Fields = {}): Uint8Array {
  const { src = "2001:db8::2", dst = "2001:db8::1", payload = 8, nextHeader = IP_PROTO_UDP, ...rest } = fields;
  const bytes = typeof payload === "number" ? pattern(payload) : payload;
  const buf = new Uint8Array(IPV6_HEADER_LEN + bytes.length);
  emitIpv6({ ...rest, nextHeader, src: ip(src), dst: ip(dst), payloadLen: bytes.length }, buf, 0);
  buf.set(bytes, IPV6_HEADER_LEN);
  return buf;
}

/** An ICMPv6 packet with a right checksum. */
export function icmp6Packet(message: Uint8Array, fields: Packet6Fields = {}): Uint8Array {
  const packet = ip6Packet({ ...fields, nextHeader: IP_PROTO_ICMP6, payload: message });
  setIcmp6Checksum(packet, IPV6_HEADER_LEN, packet.length, ipv6Src(packet, 0), ipv6Dst(packet, 0));
  return packet;
}

/** A message of neighbour discovery as a packet from the link. */
export function ndPacket(message: NdMessage, fields: Packet6Fields = {}): Uint8Array {
  const bytes = new Uint8Array(ndLen(message));
  emitNd(message, bytes, 0);
  return icmp6Packet(bytes, { hopLimit: ND_HOP_LIMIT, ...fields });
}

/** What a protocol was given. */
export interface Received {
  readonly bytes: Uint8Array;
  readonly header: Ipv4Header;
  readonly cast: Cast;
  readonly ifc: number;
  readonly block: Block;
}

/** A protocol that keeps what it gets. */
class KeepingProto implements Proto {
  readonly name = "keep";
  readonly index = 9;
  readonly ipProtocols: readonly number[] = [IP_PROTO_UDP];
  readonly convsMax = 1;
  readonly bypassable = false;
  readonly received: Received[] = [];
  /** IPv6 packets. */
  readonly received6: InputPacket[] = [];
  create(): void {}
  close(): void {}
  status(): string {
    return "";
  }
  stats(): string {
    return "";
  }
  input(packet: InputPacket): void {
    if (packet.version === 6) this.received6.push(packet);
    else this.#keep(packet);
  }
  #keep({ block, cast, ifc }: InputPacket): void {
    const bytes = block.bytes().slice();
    const header = parseIpv4(bytes, 0, bytes.length);
    assert(header !== null, "A protocol gets a valid packet");
    assert(header.totalLen === bytes.length, "A protocol gets a trimmed packet");
    this.received.push({ bytes, header, cast, ifc: ifc.number, block });
  }
}

/** An interface and its ctl file. */
export interface TestIfc {
  readonly ifc: Ipifc;
  readonly conv: Conv;
  /** Writes a command. */
  ctl(text: string): void;
}

/** One stack in virtual time, with interfaces of files at `/net/ether0` and `/net/ether1`. */
export class TestHost {
  readonly clock: VirtualClock = new VirtualClock();
  readonly ethers: readonly FakeEther[] = [new FakeEther(), new FakeEther(mac("02:00:00:00:00:11"))];
  readonly stack: IpStack;
  readonly proto: IpifcProto;
  readonly received: Received[];
  readonly received6: InputPacket[];
  readonly icmp6: Icmp6Proto;

  constructor() {
    const env: DevEnv = {
      clock: this.clock,
      random: new SeededRandom(1),
      blocks: new BlockPool(),
      open: (path, flags) => this.#open(path, flags),
    };
    this.stack = new IpStack(0, env);
    this.proto = this.stack.addProto((stack) => new IpifcProto(stack)) as IpifcProto;
    const keeping = new KeepingProto();
    this.stack.addProto(() => keeping);
    this.received = keeping.received;
    this.received6 = keeping.received6;
    this.icmp6 = this.stack.addProto((stack) => new Icmp6Proto(stack)) as Icmp6Proto;
  }

  /** The first Ethernet. */
  get ether(): FakeEther {
    return this.ethers[0]!;
  }

  /** A new interface, on which `commands` are run. */
  ifc(...commands: string[]): TestIfc {
    const conv = this.stack.space(this.proto).take(EVE);
    const ctl = (text: string) => {
      if (!this.proto.ctl(conv, splitWords(text))) throw new KernelError("EINVAL", `Unknown "${text}"`);
    };
    for (const command of commands) ctl(command);
    return { ifc: conv.priv as Ipifc, conv, ctl };
  }

  /** An interface on the first Ethernet with 10.0.0.1/24; what it announced is forgotten. */
  etherIfc(): TestIfc {
    const made = this.ifc("bind ether /net/ether0", "add 10.0.0.1 /24");
    this.run();
    this.ether.sent.length = 0;
    return made;
  }

  /** As {@link etherIfc}, with 2001:db8::1/64 and fe80::1/64. */
  ether6Ifc(): TestIfc {
    const made = this.ifc("bind ether /net/ether0", "add fe80::1 /64", "add 2001:db8::1 /64");
    // The groups of the addresses are told twice.
    this.clock.advance(1000);
    this.ether.sent.length = 0;
    return made;
  }

  /** Makes fe80::2 and 2001:db8::2 known at {@link PEER_MAC}. */
  knowPeer6(): void {
    for (const addr of ["fe80::2", "2001:db8::2"]) runArpCtl(this.stack, ["add", addr, PEER_MAC.toString()]);
  }

  /** Makes 10.0.0.2 known at {@link PEER_MAC}. */
  knowPeer(): void {
    runArpCtl(this.stack, ["add", "10.0.0.2", PEER_MAC.toString()]);
  }

  /** Runs what is due now. */
  run(): void {
    this.clock.advance(0);
  }

  /** Receives an IP packet on Ethernet `number`. */
  receiveIp(packet: Uint8Array, options: { number?: number; dst?: MacAddr; pad?: boolean } = {}): void {
    const ether = this.ethers[options.number ?? 0]!;
    const dst = options.dst ?? ether.mac;
    ether.receive(
      etherFrame({ dst, src: PEER_MAC, etherType: ETHERTYPE_IPV4, payload: packet, pad: options.pad ?? false }),
    );
    this.run();
  }

  /** Receives an IPv6 packet on Ethernet `number`. */
  receive6(packet: Uint8Array, options: { number?: number; dst?: MacAddr; src?: MacAddr } = {}): void {
    const ether = this.ethers[options.number ?? 0]!;
    const to = ipv6Dst(packet, 0);
    const { dst = to.isMulticast ? multicastMacV6(to) : ether.mac, src = PEER_MAC } = options;
    ether.receive(etherFrame({ dst, src, etherType: ETHERTYPE_IPV6, payload: packet, pad: true }));
    this.run();
  }

  /** Receives an ARP packet on the first Ethernet. */
  receiveArp(packet: Partial<ArpPacket>): void {
    const full = {
      op: ARP_REPLY,
      senderMac: PEER_MAC,
      senderIp: ip("10.0.0.2"),
      targetMac: OUR_MAC,
      targetIp: ip("10.0.0.1"),
      ...packet,
    };
    const payload = new Uint8Array(ARP_LEN);
    emitArp(full, payload, 0);
    const dst = full.op === ARP_REQUEST ? MAC_BROADCAST : OUR_MAC;
    this.ether.receive(etherFrame({ dst, src: full.senderMac, etherType: ETHERTYPE_ARP, payload, pad: true }));
    this.run();
  }

  /** Frames sent on Ethernet `number` since last looked at. */
  takeFrames(number = 0): Uint8Array[] {
    return this.ethers[number]!.sent.splice(0);
  }

  /** IP packets among the frames sent on Ethernet `number`. */
  takePackets(number = 0): Uint8Array[] {
    const frames = this.takeFrames(number).filter((frame) => etherTypeAt(frame, 0) === ETHERTYPE_IPV4);
    return frames.map((frame) => frame.subarray(ETHER_HEADER_LEN));
  }

  /** IPv6 packets among the frames sent on Ethernet `number`. */
  take6(number = 0): Uint8Array[] {
    const frames = this.takeFrames(number).filter((frame) => etherTypeAt(frame, 0) === ETHERTYPE_IPV6);
    return frames.map((frame) => frame.subarray(ETHER_HEADER_LEN));
  }

  /** Messages of neighbour discovery among them, in words. */
  takeNd(number = 0): NdMessage[] {
    return this.take6(number).flatMap((packet) => parseNd(packet, IPV6_HEADER_LEN, packet.length) ?? []);
  }

  /** ARP packets among the frames sent on Ethernet `number`, in words. */
  takeArp(number = 0): ArpPacket[] {
    const frames = this.takeFrames(number).filter((frame) => etherTypeAt(frame, 0) === ETHERTYPE_ARP);
    return frames.map((frame) => parseArp(frame, ETHER_HEADER_LEN, frame.length)!);
  }

  #open(path: string, flags: number): Chan {
    const found = /^\/net\/ether([01])\/(.*)$/.exec(path);
    const ether = this.ethers[Number(found?.[1] ?? -1)];
    const { chan } = ether?.walk(ether.attach(), found![2]!.split("/")) ?? { chan: null };
    if (chan === null) throw new KernelError("ENOENT", `Cannot find "${path}"`);
    return ether!.open(chan, flags & ~Open.NonBlock) as Chan;
  }
}

interface FrameFields {
  readonly dst: MacAddr;
  readonly src: MacAddr;
  readonly etherType: number;
  readonly payload: Uint8Array;
  /** Fill up to the least length of a frame. */
  readonly pad: boolean;
}

/** An Ethernet frame; padding is not of zeros, so that it is seen. */
export function etherFrame({ payload, pad, ...header }: FrameFields): Uint8Array {
  const frame = new Uint8Array(Math.max(pad ? 60 : 0, ETHER_HEADER_LEN + payload.length)).fill(0xee);
  emitEthernet(header, frame, 0);
  frame.set(payload, ETHER_HEADER_LEN);
  return frame;
}

/** What {@link ipPacket} is made from; by default UDP from 10.0.0.2 to 10.0.0.1. */
export interface PacketFields extends Partial<Omit<Ipv4Fields, "payloadLen" | "src" | "dst">> {
  readonly src?: string;
  readonly dst?: string;
  /** Bytes behind the header, or how many. */
  readonly payload?: Uint8Array | number;
}

/** An IPv4 packet. */
export function ipPacket(fields: PacketFields = {}): Uint8Array {
  const { src = "10.0.0.2", dst = "10.0.0.1", payload = 8, protocol = IP_PROTO_UDP, ...rest } = fields;
  const bytes = typeof payload === "number" ? pattern(payload) : payload;
  const buf = new Uint8Array(IPV4_HEADER_MAX + bytes.length);
  const header = { ...rest, protocol, src: ip(src), dst: ip(dst), payloadLen: bytes.length };
  const headerLen = emitIpv4(header, buf, 0);
  buf.set(bytes, headerLen);
  return buf.subarray(0, headerLen + bytes.length);
}

/** `length` bytes of which each shows its place. */
export function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8)) & 0xff);
}

/** The header of `packet`, which must be right, checksum included. */
export function headerOf(packet: Uint8Array): Ipv4Header {
  const header = parseIpv4(packet, 0, packet.length);
  assert(header !== null, "A packet on the wire has a valid header");
  return header;
}

/** Nothing: for ARP questions. */
export const NO_MAC: MacAddr = MAC_ZERO;
