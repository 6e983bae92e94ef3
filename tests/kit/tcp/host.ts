/**
 * A TCP of a stack of its own, without IP below it: segments leave through a function of the test's.
 *
 * @module
 */

import { type Block, BlockPool } from "../../../kernel/block.ts";
import { KernelError } from "../../../kernel/error.ts";
import { SeededRandom } from "../../../kernel/random.ts";
import type { Clock } from "../../../kernel/time.ts";
import { put16 } from "../../../kernel/wire/bytes.ts";
import { IP_UNSPECIFIED, IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { IP_PROTO_TCP } from "../../../kernel/wire/ip_proto.ts";
import { IPV4_HEADER_LEN } from "../../../kernel/wire/ipv4.ts";
import { IPV6_HEADER_LEN } from "../../../kernel/wire/ipv6.ts";
import type { Conv } from "../../../devices/ip/conv/conv.ts";
import { runConvCtl } from "../../../devices/ip/files/conv_ctl.ts";
import { IpStack } from "../../../devices/ip/ip_stack.ts";
import type { SendOptions, SendResult } from "../../../devices/ip/packet/packet.ts";
import { ConvState } from "../../../devices/ip/conv/proto.ts";
import type { IpSender, Tcb } from "../../../devices/ip/tcp/tcb.ts";
import { TcpProto } from "../../../devices/ip/tcp/tcp.ts";

/** 10.0.0.1, the host under test, and 10.0.0.2, its peer. */
export const HERE = IpAddr.v4(0x0a000001);
export const THERE = IpAddr.v4(0x0a000002);
/** The same two over IPv6. */
export const HERE6 = new IpAddr(0xfd000000 | 0, 0, 0, 1);
export const THERE6 = new IpAddr(0xfd000000 | 0, 0, 0, 2);
export const MTU = 1500;

const encoder = new TextEncoder();

/** Puts an IP header, of the version of the addresses and without a checksum, before a segment. */
export function putIpHeader(block: Block, { src, dst, tos }: { src: IpAddr; dst: IpAddr; tos: number }): void {
  const segmentLen = block.length;
  const headerLen = src.isV4 ? IPV4_HEADER_LEN : IPV6_HEADER_LEN;
  const at = block.push(headerLen);
  const { buf } = block;
  buf.fill(0, at, at + headerLen);
  if (src.isV4) {
    buf[at] = 0x45;
    buf[at + 1] = tos;
    put16(buf, at + 2, headerLen + segmentLen);
    buf[at + 9] = IP_PROTO_TCP;
    src.putV4(buf, at + 12);
    dst.putV4(buf, at + 16);
    return;
  }
  put16(buf, at, 0x6000 | tos << 4);
  put16(buf, at + 4, segmentLen);
  buf[at + 6] = IP_PROTO_TCP;
  src.put(buf, at + 8);
  dst.put(buf, at + 24);
}

/** TCP at one address. */
export class TcpHost implements IpSender {
  readonly stack: IpStack;
  readonly tcp: TcpProto;
  mtuNow = MTU;
  /** Takes a sent packet, IP header first, and returns the result of sending it. By default the packet is lost. */
  onSend: (block: Block, options: SendOptions) => SendResult = (block) => {
    block.free();
    return "sent";
  };

  constructor(readonly addr: IpAddr, readonly clock: Clock, seed: number) {
    const env = {
      clock,
      random: new SeededRandom(seed),
      blocks: new BlockPool(),
      open: () => {
        throw new KernelError("ENOENT", "No files here");
      },
    };
    this.stack = new IpStack(0, env);
    let tcp: TcpProto | null = null;
    this.stack.addProto((stack) => tcp = new TcpProto(stack, this));
    this.tcp = tcp!;
  }

  send(block: Block, options: SendOptions): SendResult {
    putIpHeader(block, options);
    return this.onSend(block, options);
  }

  mtu(): number {
    return this.mtuNow;
  }

  /** A packet, IP header first, has come. */
  receive(block: Block): void {
    const { buf, rp } = block;
    const isV4 = buf[rp]! >> 4 === 4;
    this.tcp.input({
      block,
      version: isV4 ? 4 : 6,
      headerLen: isV4 ? IPV4_HEADER_LEN : IPV6_HEADER_LEN,
      protocol: 6,
      src: isV4 ? IpAddr.v4At(buf, rp + 12) : IpAddr.at(buf, rp + 8),
      dst: isV4 ? IpAddr.v4At(buf, rp + 16) : IpAddr.at(buf, rp + 24),
      cast: "unicast",
      ifc: null as never,
    });
  }

  /** A conversation, after some commands on its ctl. */
  conv(...commands: string[]): Conv {
    const conv = this.tcp.space.take("eve");
    for (const command of commands) this.ctl(conv, command);
    return conv;
  }

  ctl(conv: Conv, command: string): void {
    runConvCtl({ stack: this.stack, conv, user: "eve" }, encoder.encode(command));
  }

  connect(conv: Conv, raddr: IpAddr, rport: number, lport: number): Conv {
    this.tcp.space.claim(conv, { raddr, rport, laddr: this.addr, lport });
    conv.state = ConvState.Connecting;
    this.tcp.connect(conv);
    return conv;
  }

  announce(conv: Conv, lport: number): Conv {
    this.tcp.space.claim(conv, { raddr: IP_UNSPECIFIED, rport: 0, laddr: IP_UNSPECIFIED, lport });
    conv.state = ConvState.Announcing;
    this.tcp.announce(conv);
    return conv;
  }

  /** Closes the last descriptor. */
  close(conv: Conv): void {
    this.tcp.space.drop(conv);
  }

  tcb(conv: Conv): Tcb {
    return conv.priv as Tcb;
  }

  write(conv: Conv, bytes: Uint8Array): number | "full" | "closed" {
    return conv.wq!.write(bytes, this.stack.env.blocks);
  }
}
