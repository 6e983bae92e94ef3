/**
 * IcmpBase: what ICMP and ICMPv6 do alike: checks of a message, echo, errors about packets of ours, counters.
 *
 * Path: icmp/icmp, icmp/icmp6 → icmp_base → ip_output, proto, echo_convs, conv.
 *
 * @module
 */

import { Checksum } from "../../../kernel/block.ts";
import { udpDstPort, udpSrcPort } from "../../../kernel/wire/udp.ts";
import type { IpEnds } from "../../../kernel/wire/checksum.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { TTL_DEFAULT } from "../conv/conv.ts";
import { EchoConvs, type EchoForm } from "./echo_convs.ts";
import type { IcmpErrorCounts } from "../packet/icmp_fault.ts";
import type { IcmpCounts } from "../env/icmp_counts.ts";
import { sendPacket } from "../network/ip_output.ts";
import type { ProtoContext } from "../network/context.ts";
import { LogFlag } from "../env/netlog.ts";
import type { InputPacket } from "../packet/packet.ts";
import type { Advice } from "../conv/proto.ts";

/** What differs between the versions. */
export interface IcmpForm extends EchoForm {
  /** Bytes of the header of every message. */
  readonly headerLen: number;
  readonly echoRequest: number;
  readonly echoReply: number;
  /** Whether a message of this type is an error about a packet of ours. */
  quotes(type: number): boolean;
  checksumOk(buf: Uint8Array, at: number, end: number, ends: IpEnds): boolean;
  /** Changes the type, and the checksum with it. */
  setType(buf: Uint8Array, at: number, type: number): void;
  /** TOS or traffic class of the IP header at `at`. */
  tos(buf: Uint8Array, at: number): number;
}

/** The packet that an error quotes. */
export interface Quote {
  readonly protocol: number;
  readonly src: IpAddr;
  readonly dst: IpAddr;
  /** Indices of its IP header and of its transport header, and of the end of the quote. */
  readonly ipAt: number;
  readonly transportAt: number;
  readonly end: number;
}

/** What an error means, by its type and code. */
export type Meaning = Pick<Advice, "text" | "code" | "mtu" | "unreachable" | "hard" | "refused">;

/** The ICMP of one version, of one stack. */
export abstract class IcmpBase<S extends ProtoContext = ProtoContext> extends EchoConvs<S> {
  abstract override readonly form: IcmpForm;
  /** Messages dropped, by reason. */
  csumErrs = 0;
  lenErrs = 0;
  /** Errors whose quote is malformed, or about a packet that we did not send. */
  hlenErrs = 0;
  /** Echo requests to a group. */
  groupEchos = 0;
  /** Messages of types that are not handled. */
  ignored = 0;

  protected abstract readonly version: 4 | 6;
  protected abstract readonly counts: IcmpCounts;
  /** The packet that the error at `at` quotes; null: malformed. */
  protected abstract quoteOf(buf: Uint8Array, at: number, end: number): Quote | null;
  protected abstract meaningOf(buf: Uint8Array, at: number, end: number): Meaning;

  /** A message that is neither echo nor error (its block is consumed); false: its type is not handled. */
  protected other(_packet: InputPacket, _at: number, _type: number): boolean {
    return false;
  }

  /** A protocol of ours confirmed that `advice` is about a packet of its own. */
  protected confirmed(_advice: Advice): void {}

  protected override countOut(type: number): void {
    this.counts.countOut(type);
  }

  // --- input

  override input(packet: InputPacket): void {
    const { block } = packet;
    const { form } = this;
    const at = block.rp + packet.headerLen;
    if (block.wp - at < form.headerLen) {
      this.lenErrs++;
      return block.free();
    }
    if (block.checksum === Checksum.None && !form.checksumOk(block.buf, at, block.wp, packet)) {
      this.csumErrs++;
      return block.free();
    }
    const type = block.buf[at]!;
    this.counts.countIn(type);
    if (type === form.echoRequest) this.#request(packet, at);
    else if (form.hasId(type)) this.toConv(packet, at);
    else if (form.quotes(type)) this.#error(packet, at, type);
    else if (!this.other(packet, at, type)) {
      this.ignored++;
      block.free();
    }
  }

  /** An echo request: answered here, unless its identifier is bypassed. */
  #request(packet: InputPacket, at: number): void {
    const { block, src, dst, cast } = packet;
    const { form } = this;
    if (this.bypassedRequest(packet, at)) return;
    if (cast !== "unicast") {
      this.groupEchos++;
      return block.free();
    }
    const tos = form.tos(block.buf, block.rp);
    block.pull(packet.headerLen);
    // Source and destination change places, which a pseudo-header's sum does not show.
    form.setType(block.buf, at, form.echoReply);
    block.clearOffload();
    const options = { src: dst, dst: src, protocol: form.protocol, ttl: TTL_DEFAULT, tos };
    const result = sendPacket(this.stack, block, options);
    if (result === "sent") this.countOut(form.echoReply);
    else block.free();
  }

  /** An error: the protocol of the quoted packet is notified. */
  #error(packet: InputPacket, at: number, type: number): void {
    const { stack } = this;
    const advice = this.#adviceOf(packet, at, type);
    if (advice === null) {
      this.hlenErrs++;
    } else {
      if (stack.protocolFor(advice.protocol)?.advise?.(advice) === true) this.confirmed(advice);
      if (stack.log.wants(LogFlag.Icmp, advice.raddr)) {
        stack.log.line(LogFlag.Icmp, `${this.name} in ${advice.text} about ${advice.raddr}`, advice.raddr);
      }
    }
    packet.block.free();
  }

  /** The message's content, if it quotes a packet of ours (RFC 5927 4: a forger must at least know that). */
  #adviceOf({ block }: InputPacket, at: number, type: number): Advice | null {
    const { buf, wp } = block;
    const quote = this.quoteOf(buf, at, wp);
    if (quote === null || !this.stack.self.isLocal(quote.src)) return null;
    const { protocol, transportAt } = quote;
    const isIcmp = protocol === this.form.protocol;
    return {
      ...this.meaningOf(buf, at, wp),
      version: this.version,
      type,
      protocol,
      laddr: quote.src,
      raddr: quote.dst,
      // TCP begins with the same two ports as UDP.
      lport: isIcmp ? Math.max(0, this.idOf(buf, transportAt, quote.end)) : udpSrcPort(buf, transportAt),
      rport: isIcmp ? 0 : udpDstPort(buf, transportAt),
      block,
      quotedAt: quote.ipAt,
      transportAt,
    };
  }

  // --- files

  /** The `stats` file: counters, `more` of the version's own among them, then messages in and out by type. */
  protected format(
    more: readonly (readonly [string, number])[],
    types: readonly (readonly [number, string])[],
  ): string {
    const { counts, csumErrs, lenErrs, hlenErrs, groupEchos, noConv, queueFull, ignored } = this;
    const errors: IcmpErrorCounts = this.stack.icmpErrors[this.version === 4 ? "v4" : "v6"];
    const lines: readonly (readonly [string, number])[] = [
      ["InMsgs", counts.inMsgs + csumErrs + lenErrs],
      ["InErrors", csumErrs + lenErrs + hlenErrs],
      ["OutMsgs", counts.outMsgs + errors.sent],
      ["CsumErrs", csumErrs],
      ["LenErrs", lenErrs],
      ["HlenErrs", hlenErrs],
      ...more,
      ["GroupEchos", groupEchos],
      ["NoConv", noConv],
      ["QueueFull", queueFull],
      ["Ignored", ignored],
      ["OutErrors", errors.sent],
      ["OutSuppressed", errors.suppressed],
    ];
    const byType = types.map(([type, name]) => {
      const out = (counts.out[type] ?? 0) + (errors.byType[type] ?? 0);
      return `${name}: ${counts.in[type] ?? 0} ${out}\n`;
    });
    return lines.map(([name, value]) => `${name}: ${value}\n`).join("") + byType.join("");
  }
}
