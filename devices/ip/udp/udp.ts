/**
 * UDP (RFC 768, RFC 1122 4.1; over IPv6 RFC 8200 8.1).
 *
 * Path: dev_ip → udp/udp → bypass, conv, ip_output, wire/udp.
 *
 * A connected conversation has one peer. An announced one in headers mode gets every datagram for its port, with a
 * record before the payload with the sender; without headers each new peer becomes a call, to be taken by `listen`.
 * One datagram is one message, also an empty one.
 *
 * Limits: {@link UDP_QUEUE_LIMIT} bytes wait for a reader, then datagrams are dropped and counted; a datagram has at
 * most 65507 bytes of payload, over IPv6 65527; the kernel makes no checksum-less datagrams.
 *
 * @module
 */

import { type Block, Checksum } from "../../../kernel/block.ts";
import { KernelError } from "../../../kernel/error.ts";
import type { OrWait } from "../../../kernel/rendez.ts";
import { finishChecksum, oweChecksum } from "../../../kernel/inet/segment.ts";
import { pseudoSum } from "../../../kernel/wire/checksum.ts";
import { type IpAddr, IPV4_UNSPECIFIED } from "../../../kernel/wire/ip_addr.ts";
import { IP_PROTO_UDP } from "../../../kernel/wire/ip_proto.ts";
import { IPV4_HEADER_LEN, IPV4_TOTAL_MAX } from "../../../kernel/wire/ipv4.ts";
import { IPV6_HEADER_LEN, IPV6_TOTAL_MAX } from "../../../kernel/wire/ipv6.ts";
import {
  emitUdp,
  UDP_HEADER_LEN,
  udpChecksumAt,
  udpChecksumOk,
  udpDstPort,
  udpLength,
  udpSrcPort,
} from "../../../kernel/wire/udp.ts";
import { adviseConv } from "../conv/advice.ts";
import { deliverBypass, takesVersion } from "../network/bypass.ts";
import type { Conv, Proto } from "../conv/conv.ts";
import { isMember } from "../conv/conv_groups.ts";
import type { ConvSpace } from "../conv/conv_space.ts";
import { IcmpFault } from "../packet/icmp_fault.ts";
import { sendPacket } from "../network/ip_output.ts";
import type { ProtoContext } from "../network/context.ts";
import { LogFlag } from "../env/netlog.ts";
import type { InputPacket, SendResult } from "../packet/packet.ts";
import { type Advice, type BypassRules, ConvState } from "../conv/proto.ts";
import { getRecord, HeaderMode, putRecord, recordLen, type UdpEnds } from "./udp_headers.ts";
import { sourceFor } from "../route/egress.ts";

/** Bytes that wait for a reader of one conversation (Akaros). */
export const UDP_QUEUE_LIMIT = 128 << 10;
/** Largest payload: what is left of IPv4's largest packet; and of IPv6's, whose length leaves its header out. */
export const UDP_PAYLOAD_MAX = IPV4_TOTAL_MAX - IPV4_HEADER_LEN - UDP_HEADER_LEN;
export const UDP_PAYLOAD_MAX_V6 = IPV6_TOTAL_MAX - IPV6_HEADER_LEN - UDP_HEADER_LEN;

/** What udp keeps of a conversation. */
interface UdpPriv {
  headers: HeaderMode;
}

/** Where a datagram goes, and from which address. */
interface UdpTarget {
  readonly laddr: IpAddr;
  readonly lport: number;
  readonly raddr: IpAddr;
  readonly rport: number;
}

const RULES: BypassRules = {
  sourcePort: (buf, at, end) => end - at < UDP_HEADER_LEN ? -1 : udpSrcPort(buf, at),
  destPort: (buf, at, end) => end - at < UDP_HEADER_LEN ? -1 : udpDstPort(buf, at),
};

/** UDP of one stack. */
export class UdpProto implements Proto {
  readonly name = "udp";
  readonly index = 1;
  readonly ipProtocols: readonly number[] = [IP_PROTO_UDP];
  /** As many as TCP has. */
  readonly convsMax = 8192;
  readonly bypassable = true;
  readonly announcesRanges = true;
  readonly bypass: BypassRules = RULES;
  /** Datagrams delivered to a conversation, and to a bypassed one. */
  inDatagrams = 0;
  inBypassed = 0;
  outDatagrams = 0;
  /** Datagrams dropped, by reason. */
  noPorts = 0;
  lenErrs = 0;
  csumErrs = 0;
  notMember = 0;
  queueFull = 0;
  #space: ConvSpace | null = null;

  constructor(readonly stack: ProtoContext) {}

  get space(): ConvSpace {
    return this.#space ??= this.stack.space(this);
  }

  create(conv: Conv): void {
    conv.rq = conv.makeDataQueue({ limit: UDP_QUEUE_LIMIT, message: true, account: this.stack.memory });
    conv.priv = { headers: HeaderMode.None } satisfies UdpPriv;
  }

  connect(conv: Conv): void {
    conv.connected();
  }

  announce(conv: Conv): void {
    conv.announced();
  }

  ctl(conv: Conv, words: readonly string[]): boolean {
    const [verb] = words;
    if (verb !== "headers" && verb !== "oldheaders") return false;
    if (words.length !== 1) throw new KernelError("EINVAL", `Cannot run "${verb}": it takes no arguments`);
    privOf(conv).headers = verb === "headers" ? HeaderMode.Headers : HeaderMode.OldHeaders;
    return true;
  }

  close(_conv: Conv): void {}

  // --- output

  output(conv: Conv, block: Block): OrWait<number> {
    if (conv.rq.closed && conv.rq.reason !== "") throw new KernelError("EPIPE", conv.rq.reason);
    const length = block.wp - block.rp;
    const { headers } = privOf(conv);
    const recordBytes = recordLen(headers);
    if (length < recordBytes) {
      throw new KernelError("EINVAL", `Cannot send ${length} bytes: the record before the payload has ${recordBytes}`);
    }
    const record = headers === HeaderMode.None ? null : getRecord(headers, block.buf, block.rp);
    const raddr = record?.raddr ?? conv.raddr;
    const rport = record?.rport ?? conv.rport;
    if (raddr.isUnspecified || rport === 0) throw new KernelError("ENOTCONN", `Cannot write ${conv}: it has no peer`);
    const payloadMax = raddr.isV4 ? UDP_PAYLOAD_MAX : UDP_PAYLOAD_MAX_V6;
    if (length - recordBytes > payloadMax) {
      throw new KernelError("EMSGSIZE", `Cannot send ${length - recordBytes} bytes: the limit is ${payloadMax}`, {
        length: payloadMax + recordBytes,
      });
    }
    const laddr = this.#sourceOf(conv, record, raddr);
    if (conv.lport === 0) this.#bindAny(conv);
    const lport = sourcePort(conv, record);
    // The header overwrites the end of the record, which the caller gets back if nothing was sent.
    const saved = recordBytes === 0
      ? null
      : block.buf.slice(block.rp + recordBytes - UDP_HEADER_LEN, block.rp + recordBytes);
    block.pull(recordBytes);
    const result = this.#send(conv, block, { laddr, lport, raddr, rport });
    if (result === "sent") return length;
    block.pull(UDP_HEADER_LEN);
    if (saved !== null) block.buf.set(saved, block.push(UDP_HEADER_LEN));
    if (recordBytes > UDP_HEADER_LEN) block.push(recordBytes - UDP_HEADER_LEN);
    block.clearOffload();
    if (result === "noRoute") throw noRoute(raddr);
    throw new KernelError("EMSGSIZE", `Cannot send ${length - recordBytes} bytes to ${raddr}: too big`);
  }

  /** The record's local address if it is ours or may be foreign, the conversation's, or the one that fits the route. */
  #sourceOf(conv: Conv, record: UdpEnds | null, raddr: IpAddr): IpAddr {
    const named = record?.laddr;
    const isAllowed = named !== undefined && named.isV4 === raddr.isV4 &&
      (this.stack.self.isLocal(named) || (conv.allowsForeign && !named.isUnspecified));
    if (isAllowed) return named;
    const laddr = conv.laddr.isUnspecified ? sourceFor(this.stack, raddr) : conv.laddr;
    if (laddr !== null && laddr.isV4 !== raddr.isV4) {
      throw new KernelError("EINVAL", `Cannot send from ${laddr} to ${raddr}: two IP versions`);
    }
    if (laddr !== null && !laddr.isLoopback) return laddr;
    // A host that does not know its address yet asks for one from 0.0.0.0 (RFC 2131 4.1), not from its loopback.
    if (raddr.isLimitedBroadcast && this.stack.ifcs.some((ifc) => ifc.acceptsAny(4))) return IPV4_UNSPECIFIED;
    if (laddr !== null) return laddr;
    throw noRoute(raddr);
  }

  /** The implicit `bind *` of the first write. */
  #bindAny(conv: Conv): void {
    const { raddr, rport, laddr } = conv;
    this.space.setEnds(conv, { raddr, rport, laddr, lport: this.space.ports.pick() });
  }

  /** Pushes the header and sends. */
  #send(conv: Conv, block: Block, { laddr, lport, raddr, rport }: UdpTarget): SendResult {
    const payloadLen = block.wp - block.rp;
    const at = block.push(UDP_HEADER_LEN);
    emitUdp({ srcPort: lport, dstPort: rport, payloadLen }, block.buf, at);
    block.clearOffload();
    oweChecksum(block, at, udpChecksumAt(at), pseudoSum(laddr, raddr, IP_PROTO_UDP, UDP_HEADER_LEN + payloadLen));
    const { ttl, tos } = conv;
    if (this.stack.log.wants(LogFlag.Udp, raddr)) {
      this.stack.log.line(
        LogFlag.Udp,
        `udp out ${conv} ${laddr}!${lport} > ${raddr}!${rport} ${payloadLen}`,
        raddr,
      );
    }
    const result = sendPacket(this.stack, block, { src: laddr, dst: raddr, protocol: IP_PROTO_UDP, ttl, tos });
    if (result === "sent") this.outDatagrams++;
    return result;
  }

  // --- input

  input(packet: InputPacket): void {
    const { block, src, dst } = packet;
    const { buf } = block;
    const at = block.rp + packet.headerLen;
    const end = block.wp;
    const length = end - at < UDP_HEADER_LEN ? 0 : udpLength(buf, at);
    // A length field below 8 crashed Akaros; one beyond the packet would read what is not there.
    if (length < UDP_HEADER_LEN || length > end - at) {
      this.lenErrs++;
      return block.free();
    }
    if (block.checksum === Checksum.None && !udpChecksumOk(buf, at, src, dst)) {
      this.csumErrs++;
      return block.free();
    }
    const srcPort = udpSrcPort(buf, at);
    const dstPort = udpDstPort(buf, at);
    const conv = this.space.table.find(src, srcPort, dst, dstPort);
    if (conv === null || (conv.bypass !== null && !takesVersion(conv, packet.version))) {
      return this.#noPort(packet, dstPort);
    }
    if (conv.bypass !== null) {
      this.inBypassed++;
      return deliverBypass(conv, block);
    }
    if (packet.cast === "multicast" && !isMember(conv, dst)) {
      this.notMember++;
      return block.free();
    }
    this.#deliver(conv, packet, { at, length, srcPort, dstPort });
  }

  /** Notifies the sender (RFC 1122 4.1.3.1); {@link IcmpErrors} suppresses errors that must not be sent. */
  #noPort(packet: InputPacket, dstPort: number): void {
    this.noPorts++;
    if (this.stack.log.wants(LogFlag.Udp, packet.src)) {
      this.stack.log.line(LogFlag.Udp, `udp no port ${packet.src} > ${packet.dst}!${dstPort}`, packet.src);
    }
    this.stack.icmpErrors.report(packet, IcmpFault.Port);
    packet.block.free();
  }

  #deliver(
    listener: Conv,
    packet: InputPacket,
    found: { at: number; length: number; srcPort: number; dstPort: number },
  ): void {
    const { block, src, dst } = packet;
    const { at, length, srcPort, dstPort } = found;
    const { headers } = privOf(listener);
    let conv: Conv | null = listener;
    if (listener.state === ConvState.Announced && headers === HeaderMode.None) {
      const laddr = packet.cast === "unicast" ? dst : sourceFor(this.stack, src) ?? dst;
      conv = this.#call(listener, { raddr: src, rport: srcPort, laddr, lport: dstPort });
    }
    if (conv === null) return block.free();
    // Our own was checked, or never left this machine; another, of a packet inside the datagram, is the reader's.
    if (block.checksum === Checksum.Owed && block.checksumField !== udpChecksumAt(at)) finishChecksum(block);
    block.wp = at + length;
    block.rp = at + UDP_HEADER_LEN;
    block.clearOffload();
    if (headers !== HeaderMode.None) {
      const to = block.push(recordLen(headers));
      const ifcAddr = packet.cast === "unicast" ? dst : sourceFor(this.stack, src) ?? dst;
      putRecord(headers, { raddr: src, laddr: dst, ifcAddr, rport: srcPort, lport: dstPort }, block.buf, to);
    }
    if (conv.rq.pass(block) === "ok") this.inDatagrams++;
    else this.queueFull++;
  }

  /** A new peer of an announced conversation. */
  #call(listener: Conv, ends: { raddr: IpAddr; rport: number; laddr: IpAddr; lport: number }): Conv | null {
    const conv = this.space.call(listener, ends);
    conv?.connected();
    return conv;
  }

  advise(advice: Advice): boolean {
    const conv = this.space.table.find(advice.raddr, advice.rport, advice.laddr, advice.lport);
    if (conv !== null) adviseConv(conv, advice);
    return conv !== null;
  }

  // --- files

  status(conv: Conv): string {
    const word = conv.inUse > 0 ? "Open" : "Closed";
    return `${word} qin ${conv.rq.length} qout 0 drops ${conv.rq.drops}\n`;
  }

  stats(): string {
    const lines: readonly [string, number][] = [
      ["InDatagrams", this.inDatagrams],
      ["NoPorts", this.noPorts],
      ["InErrors", this.lenErrs + this.csumErrs],
      ["OutDatagrams", this.outDatagrams],
      ["InBypassed", this.inBypassed],
      ["CsumErrs", this.csumErrs],
      ["LenErrs", this.lenErrs],
      ["NotMember", this.notMember],
      ["QueueFull", this.queueFull],
      ["CallsDropped", this.space.callsDropped],
      ["Memory", this.stack.memory.bytes],
      ["MemoryMax", this.stack.memory.max],
    ];
    return lines.map(([name, value]) => `${name}: ${value}\n`).join("");
  }
}

function privOf(conv: Conv): UdpPriv {
  return conv.priv as UdpPriv;
}

/** The port that a datagram leaves from: of a range the one in its record. EINVAL: that is not in the range. */
function sourcePort(conv: Conv, record: UdpEnds | null): number {
  if (conv.lport === conv.lportEnd || conv.lportEnd === 0) return conv.lport;
  const port = record?.lport ?? 0;
  if (port >= conv.lport && port <= conv.lportEnd) return port;
  throw new KernelError("EINVAL", `Cannot send from port ${port}: it is not in ${conv.lport}-${conv.lportEnd}`);
}

function noRoute(raddr: IpAddr): KernelError {
  return new KernelError("EHOSTUNREACH", `Cannot send to ${raddr}: no route`);
}
