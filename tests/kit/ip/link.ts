/**
 * What the tests of interfaces, links and IP share: a stack in virtual time with interfaces of files, and a protocol
 * that keeps what it gets.
 *
 * @module
 */

import { assert } from "@std/assert";
import { type Block, BlockPool } from "../../../kernel/block.ts";
import type { Chan } from "../../../kernel/chan.ts";
import { splitWords } from "../../../kernel/ctl.ts";
import type { DevEnv } from "../../../kernel/dev.ts";
import { KernelError } from "../../../kernel/error.ts";
import { EVE, Open } from "../../../kernel/qid.ts";
import { SeededRandom } from "../../../kernel/random.ts";
import { VirtualClock } from "../../../kernel/time.ts";
import { ARP_LEN, ARP_REPLY, ARP_REQUEST, type ArpPacket, emitArp, parseArp } from "../../../kernel/wire/arp.ts";
import {
  ETHER_HEADER_LEN,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  etherTypeAt,
} from "../../../kernel/wire/ethernet.ts";
import { IP_PROTO_UDP } from "../../../kernel/wire/ip_proto.ts";
import { type Ipv4Header, parseIpv4 } from "../../../kernel/wire/ipv4.ts";
import { IPV6_HEADER_LEN, ipv6Dst } from "../../../kernel/wire/ipv6.ts";
import { MAC_BROADCAST, type MacAddr, multicastMacV6 } from "../../../kernel/wire/mac_addr.ts";
import { type NdMessage, parseNd } from "../../../kernel/wire/nd.ts";
import { runArpCtl } from "../../../devices/ip/neighbor/arp_ctl.ts";
import type { Conv, Proto } from "../../../devices/ip/conv/conv.ts";
import { Icmp6Proto } from "../../../devices/ip/icmp/icmp6.ts";
import type { Ipifc } from "../../../devices/ip/ifc/ipifc.ts";
import { IpifcProto } from "../../../devices/ip/files/ipifc_proto.ts";
import { IpStack } from "../../../devices/ip/ip_stack.ts";
import type { Cast } from "../../../devices/ip/env/cast.ts";
import type { InputPacket } from "../../../devices/ip/packet/packet.ts";
import { FakeEther } from "./fake_ether.ts";
import { etherFrame, ip, mac, OUR_MAC, PEER_MAC } from "./packets.ts";

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
    // Membership of the addresses' groups is reported twice.
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
