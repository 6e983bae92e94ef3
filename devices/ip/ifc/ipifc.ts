/**
 * Ipifc: one interface: its addresses, the link it is bound to, what crossed it.
 *
 * Path: ifc_status, ipifc_ctl, ipifc_proto → ipifc → medium, ifc_addresses, loopback_queue, segment.
 *
 * Packets are recorded for snoopers once: outgoing ones when they are handed to the link,
 * incoming ones when IP input takes them; what loops back is recorded where it comes in.
 *
 * @module
 */

import { type Block, Checksum, Segment } from "../../../kernel/block.ts";
import { KernelError } from "../../../kernel/error.ts";
import type { PortOffloads } from "../../../kernel/host.ts";
import { cutSegments, finishChecksum } from "../../../kernel/inet/segment.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { IPV4_HEADER_LEN, ipv4TotalLen } from "../../../kernel/wire/ipv4.ts";
import { IPV6_HEADER_LEN, IPV6_MTU_MIN, ipv6PayloadLen } from "../../../kernel/wire/ipv6.ts";
import type { Conv } from "../conv/conv.ts";
import type { Ifc, Link } from "../link/ifc.ts";
import { IfcAddresses } from "./ifc_addresses.ts";
import type { IfcContext, Medium } from "./medium.ts";
import { LOOPBACK_OFFLOADS, LoopbackQueue } from "./loopback_queue.ts";

/** One interface. */
export class Ipifc extends IfcAddresses implements Ifc {
  protected override readonly ifc: Ifc = this;
  medium: Medium | null = null;
  override link: Link | null = null;
  /** Most bytes in a unit of the link, its header included, as Akaros counts. */
  maxtu = 0;
  /** Bytes of an IPv6 packet that a router said the link takes (RFC 4861 4.6.4); 0: it did not. */
  advertisedMtu = 0;
  /** Whether it configures itself by router advertisements. */
  receivesAdverts = false;
  /** Put datagrams together before they are forwarded out of it. */
  reassembles = false;
  /** 127/8 is behind its link, the loopback of the machine there (Linux: route_localnet): packets come and go. */
  localnet = false;
  packetsIn = 0;
  packetsOut = 0;
  /** Units of the device that could not be read, or made no sense. */
  errorsIn = 0;
  /** Packets that the device refused. */
  errorsOut = 0;
  /** Packets that a snooper missed. */
  traceDrops = 0;
  readonly #loopback: LoopbackQueue;

  constructor(stack: IfcContext, readonly conv: Conv) {
    super(stack);
    this.#loopback = new LoopbackQueue(this);
  }

  get number(): number {
    return this.conv.number;
  }

  /** Most bytes of an IP packet on its link. */
  override get mtu(): number {
    return this.medium === null ? 0 : this.maxtu - this.medium.headerLen;
  }

  /** Most bytes of an IPv6 packet on its link. */
  get mtu6(): number {
    const { mtu, advertisedMtu } = this;
    return advertisedMtu > 0 && advertisedMtu < mtu ? advertisedMtu : mtu;
  }

  /** Binds it to a device. EFAIL: it is bound. */
  bind(medium: Medium, args: readonly string[]): void {
    if (this.medium !== null) throw new KernelError("EFAIL", `Cannot bind: it is bound to ${this.link?.device}`);
    this.medium = medium;
    try {
      this.link = medium.bind(this, args);
    } catch (error) {
      this.medium = null;
      throw error;
    }
    this.maxtu = this.link.mtu ?? medium.mtuMax;
    this.stack.routes.changed();
  }

  /** Lets go of the device, and of all addresses and groups. EFAIL: it is not bound. */
  unbind(): void {
    const { link } = this;
    if (link === null) throw new KernelError("EFAIL", "Cannot unbind: it is not bound");
    this.stack.adverts.stop(this);
    this.removeAllAddresses();
    this.leaveAllGroups();
    link.unbind();
    this.medium = this.link = null;
    this.maxtu = 0;
    this.#loopback.flush();
    this.conv.rq.flush();
    this.stack.routes.changed();
  }

  /** Sets the most bytes in a unit of the link, its header included. EFAIL: beyond what the medium allows. */
  setMaxtu(maxtu: number): void {
    const { medium, link } = this;
    if (medium === null || link === null) throw new KernelError("EFAIL", "Cannot set the MTU: it is not bound");
    const most = link.mtu ?? medium.mtuMax;
    if (maxtu < medium.mtuMin || maxtu > most) {
      throw new KernelError("EFAIL", `Cannot set the MTU to ${maxtu}: not in ${medium.mtuMin} … ${most}`);
    }
    if (maxtu - medium.headerLen < IPV6_MTU_MIN && this.speaksIpv6) {
      throw new KernelError("EFAIL", `Cannot set the MTU to ${maxtu}: IPv6 needs packets of ${IPV6_MTU_MIN} bytes`);
    }
    this.maxtu = maxtu;
  }

  /** Sends an IP packet (consumed) to the neighbour `gateway`. */
  send(block: Block, gateway: IpAddr): void {
    const { link } = this;
    if (link === null) return this.#refuse(block, "outNoLink");
    this.packetsOut++;
    if (this.conv.snoopers > 0 && link.isLoopback !== true) this.record(block);
    if (block.segment !== Segment.None) {
      for (const piece of this.#pieces(block, link.offloads)) link.write(piece, gateway);
    } else if (link.offloads.checksum || finishChecksum(block)) {
      link.write(block, gateway);
    } else {
      this.#refuse(block, "outBadOffload");
    }
  }

  /**
   * Brings a packet (consumed) to ourselves, without any link: it is for an address of ours, or a group we are in.
   */
  sendLocal(block: Block): void {
    this.packetsOut++;
    if (block.segment === Segment.None) this.#loopback.push(block);
    else for (const piece of this.#pieces(block, LOOPBACK_OFFLOADS)) this.#loopback.push(piece);
  }

  get isSnooped(): boolean {
    return this.conv.snoopers > 0;
  }

  /** Copies a packet that crosses the interface for its snoopers. */
  record(block: Block): void {
    const copy = block.clone();
    // Padding of the link is not the packet's; one that is wrong is shown as it came.
    const length = copy.wp - copy.rp;
    const version = length >= IPV4_HEADER_LEN ? copy.buf[copy.rp]! >>> 4 : 0;
    if (version === 4 && ipv4TotalLen(copy.buf, copy.rp) >= IPV4_HEADER_LEN) copy.trim(ipv4TotalLen(copy.buf, copy.rp));
    if (version === 6 && length >= IPV6_HEADER_LEN) copy.trim(IPV6_HEADER_LEN + ipv6PayloadLen(copy.buf, copy.rp));
    finishChecksum(copy);
    copy.clearOffload();
    if (this.conv.sq === null || this.conv.sq.pass(copy) !== "ok") this.traceDrops++;
  }

  /** What is to be written for a segment: itself, or its pieces, with the checksums that `offloads` leave to us. */
  #pieces(block: Block, offloads: PortOffloads): readonly Block[] {
    const canCut = block.segment === Segment.Udp ? offloads.udpSegment : offloads.tcpSegment;
    if (canCut && block.checksum === Checksum.Owed) return [block];
    const pieces = cutSegments(block, this.stack.env.blocks);
    if (pieces === null) {
      this.#refuse(block, "outBadOffload");
      return [];
    }
    block.free();
    if (!offloads.checksum) { for (const piece of pieces) finishChecksum(piece); }
    return pieces;
  }

  #refuse(block: Block, reason: "outNoLink" | "outBadOffload"): void {
    this.stack.stats[reason]++;
    block.free();
  }
}
