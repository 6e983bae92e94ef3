/**
 * EchoRelay: ping of the uplink. One ping socket of the machine (icmp(7)) stands for each identifier of the link.
 *
 * Path: tools → echo_relay → link_packet, ready_turns, idle_table, icmp_maker, host_sockets, context.
 *
 * The kernel chooses a socket's identifier and delivers replies by it: a wish for one could take another program's
 * replies, or lose ours. So the request goes out with the kernel's, and the reply and the quote of an error get the
 * guest's back. Sequence numbers and data pass. There is no reply but those that come: a host that is dead stays
 * silent.
 *
 * Where `net.ipv4.ping_group_range` leaves this process out, near hears that ping is prohibited.
 *
 * @module
 */

import { type Block, Checksum } from "../../kernel/block.ts";
import type { DatagramIn, DatagramOut, HostDatagrams, SocketFailure, SocketReport } from "../../kernel/host_sockets.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { ICMP_HEADER_LEN, icmpCode, icmpEchoId, icmpEchoSeq, icmpType } from "../../kernel/wire/icmp.ts";
import { IPV4_TTL_DEFAULT } from "../../kernel/wire/ipv4.ts";
import type { UplinkContext } from "./context.ts";
import { type DestinationPolicy, ownAddress } from "./destination.ts";
import { isShortage } from "./failure_table.ts";
import type { IcmpMaker } from "./icmp_maker.ts";
import { type IdleEntry, IdleTable } from "./idle_table.ts";
import { messagePacket, SentHeaders } from "./link_packet.ts";
import { type LinkVersion, linkVersion, versionOf, versionOfPacket } from "./link_version.ts";
import { ReadyTurns } from "./ready_turns.ts";

/** Most ping sockets: as many identifiers as the NAT has for a guest. */
export const ECHO_SOCKETS_MAX = 64;
/** Time without use after which a socket closes (RFC 5508 3.2: REQ-2, 60 s at least). */
export const ECHO_IDLE_MS = 60_000;
/** Where the sequence number stands in an echo message. */
const SEQUENCE_AT = 6;

/** Options of a relay. */
interface EchoOptions {
  readonly policy: DestinationPolicy;
  /** Makes the errors; the uplink has one for all its parts, as the rate is for all. */
  readonly icmp: IcmpMaker;
  /** Called when the machine has no descriptor and no ping socket can give one: whether something else was closed. */
  readonly relieve?: () => boolean;
}

/** A ping socket and the identifier that it stands for. */
class EchoPort implements IdleEntry {
  readonly idleMs = ECHO_IDLE_MS;
  readonly isShortLived = false;
  readonly sent: SentHeaders = new SentHeaders();
  usedMs = 0;
  isReady = false;
  isClosed = false;

  constructor(
    readonly key: number,
    readonly link: LinkVersion,
    readonly id: number,
    readonly socket: HostDatagrams,
  ) {}

  close(): void {
    this.isClosed = true;
    this.socket.onReady = null;
    this.socket.close();
  }
}

/** Echo requests from the link, and what comes of them. */
export class EchoRelay {
  readonly #context: UplinkContext;
  readonly #policy: DestinationPolicy;
  readonly #icmp: IcmpMaker;
  readonly #relieve: () => boolean;
  readonly #ports: IdleTable<EchoPort>;
  readonly #turns: ReadyTurns<EchoPort>;
  readonly #sink: (datagram: DatagramIn) => void;
  readonly #message: DatagramOut;
  #receiving: EchoPort | null = null;
  #packetId = 0;

  /** A relay without sockets. */
  constructor(context: UplinkContext, { policy, icmp, relieve = () => false }: EchoOptions) {
    this.#context = context;
    this.#policy = policy;
    this.#icmp = icmp;
    this.#relieve = relieve;
    this.#ports = new IdleTable(context.clock, () => context.counters.echoExpired++);
    this.#turns = new ReadyTurns(context.clock, (port, max) => this.#serve(port, max));
    this.#sink = (datagram) => this.#take(this.#receiving!, datagram);
    const to = { address: linkVersion(4).loopback, port: 0 };
    this.#message = { to, from: null, parts: [], ttl: 0, tos: 0, dontFragment: false, segmentSize: 0 };
  }

  /** Ping sockets that are open. */
  get sockets(): number {
    return this.#ports.size;
  }

  /** Whether the machine lets this process ping by a version of IP: for a message at start. Opens a socket to see. */
  echoAvailable(version: 4 | 6): boolean {
    const socket = this.#context.sockets.echo(version, null);
    if (typeof socket === "string") return false;
    socket.close();
    return true;
  }

  /** Takes a whole packet from near with an ICMP or ICMPv6 message, and owns it; only echo requests go further. */
  input(block: Block): void {
    if (block.extents !== null) block.own();
    const link = versionOfPacket(block.buf[block.rp]!);
    const at = link === null ? -1 : this.#check(link, block);
    if (link === null || at < 0) return block.free();
    const { counters, clock } = this.#context;
    const address = link.header.dst(block.buf, block.rp);
    const verdict = this.#policy(address);
    if (verdict === "closed") {
      counters.refusedDestinations++;
      this.#icmp.makeProhibited(block);
      return block.free();
    }
    const isLoopback = verdict === "loopback";
    const id = icmpEchoId(block.buf, at);
    const key = echoKey(link.version, isLoopback, id);
    const port = this.#ports.get(key) ?? this.#open(key, link, isLoopback);
    if (typeof port === "string") {
      counters.echoNoSocket++;
      this.#icmp.makeFailed(block, port);
      return block.free();
    }
    port.usedMs = clock.now();
    this.#send(port, block, at, isLoopback ? ownAddress(link, address) : address);
  }

  /** Closes the socket that has been idle longest: whether there was one. For who needs descriptors. */
  evict(): boolean {
    const count = this.#ports.evict(1);
    this.#context.counters.echoEvicted += count;
    return count > 0;
  }

  /** Near no longer uses an identifier: its sockets are not needed. */
  release(version: 4 | 6, id: number): void {
    for (const isLoopback of [false, true]) {
      if (this.#ports.release(echoKey(version, isLoopback, id))) this.#context.counters.echoReleased++;
    }
  }

  /** Closes all sockets. */
  close(): void {
    this.#turns.clear();
    this.#ports.clear();
  }

  /** Where the echo request is in a packet; -1: it is none, or not sound. */
  #check(link: LinkVersion, block: Block): number {
    const { buf, rp, wp } = block;
    const { header } = link;
    const headerLen = header.headerLen(buf, rp, wp);
    const at = rp + headerLen;
    const isEcho = headerLen >= 0 && wp - at >= ICMP_HEADER_LEN && icmpType(buf, at) === link.echoRequest &&
      icmpCode(buf, at) === 0 && header.ttl(buf, rp) > 0;
    const src = isEcho ? header.src(buf, rp) : null;
    if (src === null || !src.equals(link.ends(this.#context).near)) {
      this.#context.counters.badPackets++;
      return -1;
    }
    // The kernel makes another checksum, and must not make a broken message whole.
    const isSummed = block.checksum !== Checksum.None ||
      link.icmpChecksumOk(block, at, src, header.dst(buf, rp));
    if (isSummed) return at;
    this.#context.counters.echoBadChecksums++;
    return -1;
  }

  #open(key: number, link: LinkVersion, isLoopback: boolean): EchoPort | SocketFailure {
    const { sockets, counters, outbound } = this.#context;
    const from = isLoopback ? null : outbound(link.version);
    if (this.#ports.size >= ECHO_SOCKETS_MAX) this.evict();
    let socket = sockets.echo(link.version, from);
    if (typeof socket === "string" && isShortage(socket) && (this.#relieve() || this.evict())) {
      socket = sockets.echo(link.version, from);
    }
    if (typeof socket === "string") return socket;
    counters.echoOpened++;
    const port = new EchoPort(key, link, key & 0xffff, socket);
    port.usedMs = this.#context.clock.now();
    this.#ports.add(port);
    this.#turns.watch(port);
    return port;
  }

  /** Sends the request in `block`; one for which the machine has no room is lost, as in any queue of a router. */
  #send(port: EchoPort, block: Block, at: number, address: IpAddr): void {
    const { counters } = this.#context;
    const { link, socket } = port;
    const message = this.#message;
    message.to = { address, port: 0 };
    message.parts = [block.buf.subarray(at, block.wp)];
    message.ttl = link.header.ttl(block.buf, block.rp);
    message.tos = link.tos(block.buf, block.rp);
    message.dontFragment = link.dontFragment(block);
    const sent = socket.send([message], 1);
    message.parts = [];
    if (sent === 1) {
      counters.echoOut++;
      port.sent.keep(block, at);
    } else if (socket.refusal === null) {
      counters.echoShortage++;
    } else {
      this.#refused(port, block, socket.refusal, address);
    }
    block.free();
  }

  #refused(port: EchoPort, block: Block, refusal: SocketFailure, address: IpAddr): void {
    const { counters } = this.#context;
    const mtu = this.#takeReports(port, address);
    const { kind } = this.#icmp.makeFailed(block, refusal, mtu);
    if (kind === "drop") counters.echoShortage++;
    if (kind === "nothing") counters.echoBlackHoles++;
  }

  #serve(port: EchoPort, max: number): number {
    this.#takeReports(port, null);
    this.#receiving = port;
    const count = port.socket.receive(this.#sink, max);
    this.#receiving = null;
    return count;
  }

  #take(port: EchoPort, { from, payload, ttl, tos }: DatagramIn): void {
    const { counters, clock } = this.#context;
    const link = versionOf(from.address);
    const isReply = payload.length >= ICMP_HEADER_LEN && icmpType(payload, 0) === link.echoReply;
    if (!isReply || (from.address.isLinkLocal && !from.address.isV4)) {
      counters.echoStrays++;
      return;
    }
    port.usedMs = clock.now();
    this.#packetId = (this.#packetId + 1) & 0xffff;
    const ends = link.ends(this.#context);
    const src = from.address.isLoopback ? ends.peer : from.address;
    const id = this.#packetId;
    const block = this.#packet(link, { src, dst: ends.near, ttl: ttl || IPV4_TTL_DEFAULT, tos, id }, payload);
    const at = block.rp + link.headerLen;
    link.setEchoId(block.buf, at, port.id);
    link.setIcmpChecksum(block, at, src, ends.near);
    counters.echoIn++;
    this.#context.toNear(block);
  }

  /**
   * Empties the error queue of a port. An entry about the request to `refused`, which the machine just refused, is not
   * sent on: its MTU is the answer, or 0.
   */
  #takeReports(port: EchoPort, refused: IpAddr | null): number {
    let mtu = 0;
    for (let report = port.socket.takeReport(); report !== null; report = port.socket.takeReport()) {
      if (refused !== null && report.origin === "local" && report.to.address.equals(refused)) mtu = report.mtu;
      else if (report.payload.length >= ICMP_HEADER_LEN) this.#report(port, report);
    }
    return mtu;
  }

  /** The quoted request has the guest's identifier again, and where the headers are known, its own checksum. */
  #report(port: EchoPort, report: SocketReport): void {
    const { payload, to } = report;
    const { link } = port;
    const { near, peer } = link.ends(this.#context);
    const dst = to.address.isLoopback ? peer : to.address;
    const isTo = { dst, offset: SEQUENCE_AT, word: icmpEchoSeq(payload, 0) };
    const { blocks } = this.#context;
    const quoted = port.sent.quote(link, blocks, payload.subarray(ICMP_HEADER_LEN), isTo) ??
      this.#rebuilt(port, { src: near, dst }, payload);
    this.#icmp.makeReported(quoted, report);
    quoted.free();
  }

  #rebuilt(port: EchoPort, { src, dst }: { src: IpAddr; dst: IpAddr }, payload: Uint8Array): Block {
    const { link, id } = port;
    const quoted = this.#packet(link, { src, dst, ttl: port.sent.ttl || IPV4_TTL_DEFAULT, tos: 0, id: 0 }, payload);
    const at = quoted.rp + link.headerLen;
    link.setEchoId(quoted.buf, at, id);
    link.setIcmpChecksum(quoted, at, src, dst);
    return quoted;
  }

  #packet(
    link: LinkVersion,
    fields: { src: IpAddr; dst: IpAddr; ttl: number; tos: number; id: number },
    message: Uint8Array,
  ): Block {
    return messagePacket({ link, blocks: this.#context.blocks, fields }, message);
  }
}

/** The key of a socket: the machine's loopback has one of its own. */
function echoKey(version: 4 | 6, isLoopback: boolean, id: number): number {
  return (version << 17) | (Number(isLoopback) << 16) | id;
}
