/**
 * Conversations that are echo identifiers: what the ICMP of both versions have in common.
 *
 * Path: icmp_base → echo_convs → conv, ip_output, conv/advice, bypass.
 *
 * `connect host!x [id]` (x means nothing) or `announce id`. What is written has room for an IP header, not looked at,
 * and then the message; the kernel fills in identifier and checksum. A read returns the whole packet.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import { shown } from "../../../kernel/ctl.ts";
import { KernelError } from "../../../kernel/error.ts";
import type { OrWait } from "../../../kernel/rendez.ts";
import { ICMP_HEADER_LEN, icmpEchoId, setIcmpEchoId } from "../../../kernel/wire/icmp.ts";
import type { IpEnds } from "../../../kernel/wire/checksum.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { ipv6Dst, ipv6Src } from "../../../kernel/wire/ipv6.ts";
import { adviseConv } from "../conv/advice.ts";
import { deliverBypass } from "../network/bypass.ts";
import type { Conv, Proto } from "../conv/conv.ts";
import type { ConvSpace } from "../conv/conv_space.ts";
import { sendPacket } from "../network/ip_output.ts";
import type { ProtoContext } from "../network/context.ts";
import type { InputPacket } from "../packet/packet.ts";
import type { Advice, BypassRules } from "../conv/proto.ts";
import { sourceFor } from "../route/egress.ts";

/** Bytes that wait for a reader of one conversation (Akaros). */
export const ICMP_QUEUE_LIMIT = 64 << 10;
/** Bytes of the header that every message starts with, in both versions. */
const MESSAGE_MIN = ICMP_HEADER_LEN;

/** How the ICMP of a version differs for its conversations. */
export interface EchoForm {
  /** Bytes of room for an IP header before a message that is written. */
  readonly room: number;
  /** Most bytes of a message and its room. */
  readonly max: number;
  readonly protocol: number;
  /** Whether a message of this type has an identifier, so that a user may send it. */
  hasId(type: number): boolean;
  /** Puts the checksum of the message from `at` to `end` in its place. */
  setChecksum(buf: Uint8Array, at: number, end: number, ends: IpEnds): void;
}

/** What is kept of a conversation. */
interface EchoPriv {
  /** A bypassed identifier leaves echo requests to the kernel. */
  repliesOnly: boolean;
  /** The room before a message names its ends. */
  headers: boolean;
}

/** The conversations of one ICMP of one stack. */
export abstract class EchoConvs<S extends ProtoContext = ProtoContext> implements Proto {
  abstract readonly name: string;
  abstract readonly index: number;
  abstract readonly ipProtocols: readonly number[];
  abstract readonly form: EchoForm;
  /** Akaros has 128 for IPv4 and 16 for IPv6: a NAT needs one for each program of its guests that pings (2.2 KB). */
  readonly convsMax = 1024;
  readonly bypassable = true;
  readonly anyRemotePort = true;
  readonly bypass: BypassRules = {
    sourcePort: (buf, at, end) => this.idOf(buf, at, end),
    destPort: (buf, at, end) => this.idOf(buf, at, end),
  };
  queueFull = 0;
  /** Replies without a conversation. */
  noConv = 0;
  #space: ConvSpace | null = null;

  constructor(readonly stack: S) {}

  get space(): ConvSpace {
    return this.#space ??= this.stack.space(this);
  }

  abstract input(packet: InputPacket): void;
  abstract stats(): string;
  /** Counts a message that was sent. */
  protected abstract countOut(type: number): void;

  /** Identifier of a message that has one and that a user may send; -1: none. */
  protected idOf(buf: Uint8Array, at: number, end: number): number {
    return end - at >= MESSAGE_MIN && this.form.hasId(buf[at]!) ? icmpEchoId(buf, at) : -1;
  }

  create(conv: Conv): void {
    conv.rq = conv.makeDataQueue({ limit: ICMP_QUEUE_LIMIT, message: true, account: conv.space.memory });
    conv.priv = { repliesOnly: false, headers: false } satisfies EchoPriv;
  }

  connect(conv: Conv): void {
    conv.connected();
  }

  announce(conv: Conv): void {
    conv.announced();
  }

  ctl(conv: Conv, words: readonly string[]): boolean {
    if (words[0] !== "bypass-echo") return false;
    if (words.length !== 2 || (words[1] !== "all" && words[1] !== "replies")) {
      throw new KernelError("EINVAL", `Cannot run ${shown(words.join(" "))}: want bypass-echo all|replies`);
    }
    echoOf(conv).repliesOnly = words[1] === "replies";
    return true;
  }

  /** From now on the room before a message names its ends, where an IPv6 header has them (Akaros). */
  protected useHeaders(conv: Conv): void {
    echoOf(conv).headers = true;
  }

  close(_conv: Conv): void {}

  output(conv: Conv, block: Block): OrWait<number> {
    if (conv.rq.closed && conv.rq.reason !== "") throw new KernelError("EPIPE", conv.rq.reason);
    const { room, max, hasId } = this.form;
    const length = block.wp - block.rp;
    if (length < room + MESSAGE_MIN) {
      throw new KernelError(
        "EINVAL",
        `Cannot send ${length} bytes: room for an IP header and a message are ${room + MESSAGE_MIN} at least`,
      );
    }
    if (length > max) {
      throw new KernelError("EMSGSIZE", `Cannot send ${length} bytes: the limit is ${max}`, { length: max });
    }
    const asked = echoOf(conv).headers ? endsIn(block) : null;
    const raddr = asked?.raddr ?? conv.raddr;
    if (raddr.isUnspecified) throw new KernelError("ENOTCONN", `Cannot write ${conv}: it has no peer`);
    const type = block.buf[block.rp + room]!;
    if (!hasId(type)) throw new KernelError("EPERM", `Cannot send ICMP type ${type}: only messages with an identifier`);
    const named = asked !== null && this.stack.self.isLocal(asked.laddr) ? asked.laddr : conv.laddr;
    const src = named.isUnspecified ? sourceFor(this.stack, raddr) : named;
    if (src === null) throw noRoute(raddr);
    this.#send(conv, block, { src, raddr, type });
    return length;
  }

  #send(conv: Conv, block: Block, to: { src: IpAddr; raddr: IpAddr; type: number }): void {
    const { src, raddr, type } = to;
    const { room, protocol } = this.form;
    block.pull(room);
    block.clearOffload();
    const { buf, rp } = block;
    const written = buf.slice(rp, rp + MESSAGE_MIN);
    setIcmpEchoId(buf, rp, conv.lport);
    const header = { src, dst: raddr, protocol, ttl: conv.ttl, tos: conv.tos };
    this.form.setChecksum(buf, rp, block.wp, header);
    const result = sendPacket(this.stack, block, header);
    if (result === "sent") return this.countOut(type);
    buf.set(written, rp);
    block.push(room);
    if (result === "noRoute") throw noRoute(raddr);
    throw new KernelError("EMSGSIZE", `Cannot send to ${raddr}: too big`);
  }

  /** Whether a bypassed identifier takes this echo request. */
  protected bypassedRequest(packet: InputPacket, at: number): boolean {
    const { block, dst } = packet;
    const holder = this.space.table.findLocal(dst, icmpEchoId(block.buf, at));
    if (holder === null || holder.bypass === null || echoOf(holder).repliesOnly) return false;
    deliverBypass(holder, block);
    return true;
  }

  /** A message with an identifier goes to the conversation that has it. */
  protected toConv(packet: InputPacket, at: number): void {
    const { block, src, dst } = packet;
    const conv = this.space.table.find(src, 0, dst, icmpEchoId(block.buf, at));
    if (conv === null) {
      this.noConv++;
      return block.free();
    }
    if (conv.bypass !== null) return deliverBypass(conv, block);
    block.clearOffload();
    if (conv.rq.pass(block) !== "ok") this.queueFull++;
  }

  advise(advice: Advice): boolean {
    const conv = this.space.table.find(advice.raddr, 0, advice.laddr, advice.lport);
    if (conv !== null) adviseConv(conv, advice);
    return conv !== null;
  }

  status(conv: Conv): string {
    return `Datagram qin ${conv.rq.length} qout 0 drops ${conv.rq.drops}\n`;
  }
}

/** The ends in the room before a message: where an IPv6 header has them. */
function endsIn({ buf, rp }: Block): { laddr: IpAddr; raddr: IpAddr } {
  return { laddr: ipv6Src(buf, rp), raddr: ipv6Dst(buf, rp) };
}

function noRoute(raddr: IpAddr): KernelError {
  return new KernelError("EHOSTUNREACH", `Cannot send to ${raddr}: no route`);
}

function echoOf(conv: Conv): EchoPriv {
  return conv.priv as EchoPriv;
}
