/**
 * DatagramRelay: UDP of the uplink. One unconnected socket of the machine stands for each source port of the link, so
 * that the world sees one port for all its peers (RFC 4787 REQ-1).
 *
 * Path: tools → datagram_relay → relay_port, datagram_answers, udp_forwards, idle_table, icmp_maker.
 *
 * A socket is made by the first datagram, and bound to the same number if that may be had. Datagrams of one turn are
 * gathered and sent in one call a socket. A socket without room keeps a batch; more is dropped, as UDP has no
 * back-pressure. TTL, TOS and "don't fragment" go with each datagram, both ways.
 *
 * Sockets that lie idle close; when there are too many, or the machine has no more, the longest idle quarter closes at
 * once, those for name servers first.
 *
 * @module
 */

import { type Block, Checksum, Segment } from "../../kernel/block.ts";
import type { SocketFailure, SocketReport } from "../../kernel/host_sockets.ts";
import { cutSegments } from "../../kernel/inet/segment.ts";
import { Job } from "../../kernel/job.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import {
  parseUdp,
  UDP_HEADER_LEN,
  udpChecksumOk,
  udpDstPort,
  type UdpHeader,
  udpSrcPort,
} from "../../kernel/wire/udp.ts";
import type { UplinkContext } from "./context.ts";
import { DatagramAnswers } from "./datagram_answers.ts";
import { type DestinationPolicy, ownAddress } from "./destination.ts";
import { isShortage } from "./failure_table.ts";
import type { IcmpMaker } from "./icmp_maker.ts";
import { IdleTable } from "./idle_table.ts";
import { type LinkVersion, versionOfPacket } from "./link_version.ts";
import { ReadyTurns } from "./ready_turns.ts";
import { BATCH_MAX, Outbox, portKey, RelayPort, type Route } from "./relay_port.ts";
import { type ForwardRequest, type UdpForward, UdpForwards } from "./udp_forwards.ts";

/** Most sockets for source ports of the link; each is a descriptor and 2.7 KiB of the machine's kernel. */
export const UDP_SOCKETS_MAX = 4096;
/**
 * The part of them that closes at once when there is no room, so that a flood of flows does not sort them each time.
 */
const EVICTED_PART = 4;
/** Ports below this are the administrator's (RFC 6335 6): the same number is not asked for. */
const OWN_PORT_MIN = 1024;
/** Memory of datagrams that wait for sockets without room, over all sockets. */
export const WAITING_BYTES_MAX = 1 << 24;

/** Options of a relay. */
interface RelayOptions {
  readonly policy: DestinationPolicy;
  /** Makes the errors; the uplink has one for all its parts, as the rate is for all. */
  readonly icmp: IcmpMaker;
  /** Most sockets, without those of forwards; default {@link UDP_SOCKETS_MAX}. */
  readonly socketsMax?: number;
}

/** UDP between the link and the machine. */
export class DatagramRelay {
  readonly #context: UplinkContext;
  readonly #policy: DestinationPolicy;
  readonly #icmp: IcmpMaker;
  readonly #socketsMax: number;
  readonly #ports: IdleTable<RelayPort>;
  readonly #forwards: UdpForwards;
  readonly #answers: DatagramAnswers;
  readonly #outbox = new Outbox();
  readonly #flushJob: Job;
  readonly #turns: ReadyTurns<RelayPort>;
  #dirty: RelayPort[] = [];

  /** A relay without sockets. */
  constructor(context: UplinkContext, { policy, icmp, socketsMax = UDP_SOCKETS_MAX }: RelayOptions) {
    this.#context = context;
    this.#policy = policy;
    this.#icmp = icmp;
    this.#socketsMax = socketsMax;
    this.#ports = new IdleTable(context.clock, () => context.counters.udpExpired++);
    this.#forwards = new UdpForwards(context, this.#outbox, (port) => this.#turns.watch(port));
    this.#answers = new DatagramAnswers(context, (port) => this.#ports.expect(port));
    this.#flushJob = new Job(context.clock.jobs, () => this.#flush());
    this.#turns = new ReadyTurns(context.clock, (port, max) => this.#serve(port, max));
  }

  /** Sockets for source ports of the link. */
  get sockets(): number {
    return this.#ports.size;
  }

  /** The ports with a socket: their number on the link, and on the machine by `socket.local`. */
  ports(): Iterable<Pick<RelayPort, "link" | "linkPort" | "socket" | "usedMs">> {
    return this.#ports.values();
  }

  /** Takes a whole packet from near with a UDP datagram, and owns it. */
  input(block: Block): void {
    if (block.extents !== null) block.own();
    const link = versionOfPacket(block.buf[block.rp]!);
    const at = link === null ? -1 : this.#check(link, block);
    if (link === null || at < 0) return block.free();
    const src = udpSrcPort(block.buf, at);
    const key = portKey(link.version, src);
    const address = link.header.dst(block.buf, block.rp);
    const dstPort = udpDstPort(block.buf, at);
    const caller = this.#forwards.answering(key, address, dstPort);
    // Answers to a caller are not for the policy: the forward has allowed them.
    if (caller !== null) return this.#push(caller.port, block, caller);
    const verdict = this.#policy(address);
    if (verdict === "closed") return this.#prohibited(block);
    const port = this.#ports.get(key) ?? this.#forwards.anywhere(key) ?? this.#open(link, src);
    if (typeof port === "string") return this.#unopened(block, port);
    const to = { address: verdict === "loopback" ? ownAddress(link, address) : address, port: dstPort };
    this.#push(port, block, { to, from: null });
  }

  /**
   * Opens a UDP port of the machine whose datagrams go to a port of near, from who sent them. The answer has `close`;
   * or it is why the port cannot be opened.
   */
  openForward(request: ForwardRequest): UdpForward | SocketFailure {
    const forward = this.#forwards.open(request);
    if (typeof forward !== "string" || !isShortage(forward) || this.evict() === 0) return forward;
    return this.#forwards.open(request);
  }

  /**
   * Closes the longest idle quarter of the sockets, those for name servers first: how many. For who needs descriptors.
   */
  evict(): number {
    const count = this.#ports.evict(Math.ceil(this.#ports.size / EVICTED_PART));
    this.#context.counters.udpEvicted += count;
    return count;
  }

  /** Near no longer uses a port: its socket is not needed. A forward stays. */
  release(version: 4 | 6, port: number): void {
    if (this.#ports.release(portKey(version, port))) this.#context.counters.udpReleased++;
  }

  /** Closes all sockets, forwards as well. */
  close(): void {
    this.#turns.clear();
    this.#ports.clear();
    this.#forwards.close();
    this.#dirty = [];
  }

  // --- to the machine

  /** Where the datagram of a packet is, cut to its length; -1: it is not sound. */
  #check(link: LinkVersion, block: Block): number {
    const { counters } = this.#context;
    const { buf, rp } = block;
    const headerLen = link.header.headerLen(buf, rp, block.wp);
    const at = rp + headerLen;
    const isSegments = block.segment !== Segment.None;
    const datagram = headerLen < 0 || isSegments ? null : parseUdp(buf, at, block.wp);
    const isSound = isSegments ? isBurst(block, at) : datagram !== null;
    const src = isSound ? link.header.src(buf, rp) : null;
    if (src === null || !src.equals(link.ends(this.#context).near) || link.header.ttl(buf, rp) === 0) {
      counters.badPackets++;
      return -1;
    }
    if (datagram !== null && !this.#isSummed(link, block, { at, datagram, src })) {
      counters.udpBadChecksums++;
      return -1;
    }
    return at;
  }

  /** Whether the checksum is right; Linux makes another, and must not make a broken datagram whole. */
  #isSummed(
    { header }: LinkVersion,
    block: Block,
    { at, datagram, src }: { at: number; datagram: UdpHeader; src: IpAddr },
  ): boolean {
    const { buf, rp, checksum } = block;
    block.wp = at + UDP_HEADER_LEN + datagram.payloadLen;
    return checksum !== Checksum.None || udpChecksumOk(buf, at, src, header.dst(buf, rp));
  }

  #push(port: RelayPort, block: Block, route: Route): void {
    // A batch that is full goes at once: only a socket without room makes datagrams wait.
    if (!port.hasRoom && !port.isBlocked) this.#send(port);
    if (port.isClosed) return block.free();
    if (!port.hasRoom || (port.isBlocked && this.#outbox.waitingBytes > WAITING_BYTES_MAX)) {
      this.#context.counters.udpQueueFull++;
      return block.free();
    }
    port.usedMs = this.#context.clock.now();
    port.push(block, route);
    if (port.isDirty) return;
    port.isDirty = true;
    this.#dirty.push(port);
    this.#flushJob.wake();
  }

  #flush(): void {
    const turn = this.#dirty;
    this.#dirty = [];
    for (const port of turn) {
      port.isDirty = false;
      if (!port.isBlocked && !port.isClosed) this.#send(port);
    }
  }

  /** Sends what waits, until it is sent or the socket has no room. */
  #send(port: RelayPort): void {
    const { counters } = this.#context;
    port.isBlocked = false;
    while (port.waiting > 0 && !port.isClosed) {
      const waiting = Math.min(port.waiting, BATCH_MAX);
      const sent = port.send();
      counters.udpOut += sent;
      if (sent === waiting) continue;
      const { refusal } = port.socket;
      if (refusal === null) {
        port.isBlocked = true;
        return;
      }
      this.#refused(port, refusal);
    }
  }

  /** The machine did not take the first datagram that waits. */
  #refused(port: RelayPort, refusal: SocketFailure): void {
    const { block, route } = port.takeRefused();
    if (block.segment !== Segment.None && !isShortage(refusal)) {
      // Linux takes no burst whose datagrams are larger than the way: each is sent, and fails, for itself.
      const pieces = cutSegments(block, this.#context.blocks);
      if (pieces === null) this.#context.counters.badPackets++;
      else port.unshift(pieces, route);
      return block.free();
    }
    const mtu = this.#takeReports(port, route);
    this.#failed(block, refusal, mtu);
  }

  #failed(block: Block, failure: SocketFailure, mtu: number): void {
    const { counters } = this.#context;
    const { kind } = this.#icmp.makeFailed(block, failure, mtu);
    if (kind === "drop") counters.udpShortage++;
    if (kind === "nothing") counters.udpBlackHoles++;
    block.free();
  }

  #unopened(block: Block, failure: SocketFailure): void {
    this.#context.counters.udpNoSocket++;
    this.#icmp.makeFailed(block, failure);
    block.free();
  }

  #prohibited(block: Block): void {
    this.#context.counters.refusedDestinations++;
    this.#icmp.makeProhibited(block);
    block.free();
  }

  // --- sockets

  /** A socket for a source port of the link; a failure's name if there is none to be had. */
  #open(link: LinkVersion, linkPort: number): RelayPort | SocketFailure {
    const { sockets, counters, outbound } = this.#context;
    const bind = (port: number) => sockets.datagrams({ version: link.version, address: outbound(link.version), port });
    const once = () => {
      const socket = linkPort >= OWN_PORT_MIN ? bind(linkPort) : "EADDRINUSE";
      return typeof socket === "string" && !isShortage(socket) ? bind(0) : socket;
    };
    if (this.#ports.size >= this.#socketsMax) this.evict();
    let socket = once();
    if (typeof socket === "string" && isShortage(socket) && this.evict() > 0) socket = once();
    if (typeof socket === "string") return socket;
    counters.udpOpened++;
    const port = new RelayPort(link, linkPort, socket, { outbox: this.#outbox });
    port.usedMs = this.#context.clock.now();
    this.#ports.add(port);
    this.#turns.watch(port);
    return port;
  }

  #serve(port: RelayPort, max: number): number {
    this.#takeReports(port, null);
    if (port.isBlocked) this.#send(port);
    return this.#answers.receive(port, max);
  }

  /**
   * Empties the error queue of a port. An entry about `refused`, the datagram that the machine just refused, is not
   * sent on: its MTU is the answer, or 0.
   */
  #takeReports(port: RelayPort, refused: Route | null): number {
    let mtu = 0;
    for (let report = port.socket.takeReport(); report !== null; report = port.socket.takeReport()) {
      if (refused !== null && isAbout(report, refused)) mtu = report.mtu;
      else this.#report(port, report);
    }
    return mtu;
  }

  #report(port: RelayPort, report: SocketReport): void {
    const quoted = this.#answers.quote(port, report);
    this.#icmp.makeReported(quoted, report);
    quoted.free();
  }
}

/** Whether the machine reported what it refused. */
function isAbout({ origin, to }: SocketReport, refused: Route): boolean {
  return origin === "local" && to.port === refused.to.port && to.address.equals(refused.to.address);
}

/** Whether a block that is to be cut is a burst of datagrams, whose header is at `at`. */
function isBurst({ buf, rp, wp, segment, segmentSize, segmentHeaderLen, checksum, checksumStart }: Block, at: number) {
  const payloadAt = at + UDP_HEADER_LEN;
  return segment === Segment.Udp && checksum === Checksum.Owed && checksumStart === at && segmentSize > 0 &&
    rp + segmentHeaderLen === payloadAt && payloadAt < wp && buf.length >= wp;
}
