/**
 * Ipifc: one interface: its addresses, the link it is bound to, what crossed it.
 *
 * Path: ip_output, forward → ipifc.send → medium's Link.write; links → ip_input (with the interface).
 *
 * Everything that having an address means is done and undone here together: the self table, the routes, the link's
 * announcements and groups. Packets are recorded for snoopers once: outgoing ones when they are handed to the link,
 * incoming ones when IP input takes them; what loops back is recorded where it comes in.
 *
 * Limits: {@link IPLIFCS_MAX} addresses and {@link IFC_GROUPS_MAX} groups on one interface.
 *
 * @module
 */

import { type Block, Checksum, Segment } from "../../kernel/block.ts";
import { KernelError } from "../../kernel/error.ts";
import type { PortOffloads } from "../../kernel/host.ts";
import { cutSegments, finishChecksum } from "../../kernel/inet/segment.ts";
import { formatMask, type IpAddr, prefixMask } from "../../kernel/wire/ip_addr.ts";
import { IPV4_HEADER_LEN, ipv4TotalLen } from "../../kernel/wire/ipv4.ts";
import { IPV6_HEADER_LEN, IPV6_MTU_MIN, ipv6PayloadLen } from "../../kernel/wire/ipv6.ts";
import type { Conv } from "./conv.ts";
import type { IpStack } from "./ip_stack.ts";
import { Iplifc, type IplifcFields } from "./iplifc.ts";
import { LOOPBACK_OFFLOADS, LoopbackQueue } from "./loopback_queue.ts";
import type { Link, Medium } from "./medium.ts";
import type { Cast } from "./packet.ts";
import type { Reassembly } from "./reassembly.ts";
import { Route, RouteKind } from "./route.ts";
import { source6 } from "./source6.ts";

/** Most addresses of one interface. */
export const IPLIFCS_MAX = 64;
/** Most multicast groups of one interface; a NIC filters some dozens. */
export const IFC_GROUPS_MAX = 256;

const ALL_ONES = prefixMask(128);
/** Router advertisement parameters before anybody set one (Akaros). */
const ROUTER_DEFAULTS: readonly (readonly [string, number])[] = [
  ["mflag", 0],
  ["oflag", 0],
  ["maxraint", 600_000],
  ["minraint", 200_000],
  ["linkmtu", 0],
  ["reachtime", 0],
  ["rxmitra", 0],
  ["ttl", 255],
  ["routerlt", 1_800_000],
];
const KIND_OF_CAST: Readonly<Record<Cast, RouteKind>> = {
  unicast: RouteKind.Unicast,
  broadcast: RouteKind.Broadcast,
  multicast: RouteKind.Multicast,
};

/** One interface. */
export class Ipifc {
  medium: Medium | null = null;
  link: Link | null = null;
  /** Most bytes in a unit of the link, its header included, as Akaros counts. */
  maxtu = 0;
  /** Its addresses, in the order in which they were added. */
  readonly lifcs: Iplifc[] = [];
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
  /** The way to everything on its link, for broadcasts and groups that no other route decides. */
  readonly direct: Route;
  readonly #loopback: LoopbackQueue;
  #groups: IpAddr[] = [];
  #unspecified = 0;
  #addresses6 = 0;

  constructor(readonly stack: IpStack, readonly conv: Conv, readonly reassembly: Reassembly) {
    const anything = prefixMask(0);
    this.direct = new Route(anything, anything, 0, RouteKind.OnLink, null, "ifc", this);
    this.#loopback = new LoopbackQueue(this);
  }

  get number(): number {
    return this.conv.number;
  }

  /** Most bytes of an IP packet on its link. */
  get mtu(): number {
    return this.medium === null ? 0 : this.maxtu - this.medium.headerLen;
  }

  /** Whether it has an IPv6 address, be it tentative: without one there is nothing to be said to it in IPv6. */
  get speaksIpv6(): boolean {
    return this.#addresses6 > 0;
  }

  /** Most bytes of an IPv6 packet on its link. */
  get mtu6(): number {
    const { mtu, advertisedMtu } = this;
    return advertisedMtu > 0 && advertisedMtu < mtu ? advertisedMtu : mtu;
  }

  /**
   * Whether it has the address 0.0.0.0: then whatever arrives is for us (a host that does not know its address yet).
   */
  get acceptsAny(): boolean {
    return this.#unspecified > 0;
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
    for (const group of [...this.#groups]) this.#dropGroup(group);
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

  /**
   * Adds an address; for one that it has, only proxy is new. `tentative`: it is not ours before {@link confirmAddress}.
   * EFAIL: not bound, or a link too small for IPv6; ENOSPC: too many.
   */
  addAddress(fields: IplifcFields, tentative = false): Iplifc {
    if (this.link === null) throw new KernelError("EFAIL", `Cannot add ${fields.local}: the interface is not bound`);
    const old = this.lifcs.find((lifc) => lifc.local.equals(fields.local));
    if (old !== undefined) {
      old.proxy = fields.proxy;
      return old;
    }
    if (this.lifcs.length >= IPLIFCS_MAX) {
      throw new KernelError("ENOSPC", `Cannot add ${fields.local}: the interface has ${IPLIFCS_MAX} addresses`);
    }
    if (!fields.local.isV4 && this.mtu < IPV6_MTU_MIN) {
      throw new KernelError("EFAIL", `Cannot add ${fields.local}: an MTU of ${this.mtu} is too small for IPv6`);
    }
    const lifc = new Iplifc(fields);
    const claims = lifc.claims();
    // Looked at before, so that nothing has to be undone.
    this.stack.self.requireRoom(claims.length);
    this.stack.routes.requireRoom(claims.length + 1);
    lifc.tentative = tentative;
    this.lifcs.push(lifc);
    this.#claim(lifc);
    if (!lifc.local.isV4) this.#addresses6++;
    if (!tentative) this.#settle(lifc);
    return lifc;
  }

  /** A tentative address turned out to be nobody else's. */
  confirmAddress(lifc: Iplifc): void {
    if (!lifc.tentative || !this.lifcs.includes(lifc)) return;
    lifc.tentative = false;
    try {
      this.#own(lifc.local, "unicast");
      this.#settle(lifc);
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      // A table has become full since it was tried, and nobody waits to be told.
      this.#dropAddress(lifc);
    }
  }

  /** Removes an address; mask and remote must be its own. EFAIL: there is none such. */
  removeAddress(local: IpAddr, mask: IpAddr, remote: IpAddr | null): void {
    const lifc = this.lifcs.find((one) =>
      one.local.equals(local) && one.mask.equals(mask) && (remote === null || one.net.equals(remote.and(mask)))
    );
    if (lifc === undefined) throw new KernelError("EFAIL", `Cannot remove ${local}: the interface has no such address`);
    this.#dropAddress(lifc);
  }

  /** Takes `lifc` away; nothing if it is gone. */
  dropAddress(lifc: Iplifc): void {
    if (this.lifcs.includes(lifc)) this.#dropAddress(lifc);
  }

  removeAllAddresses(): void {
    for (const lifc of [...this.lifcs]) this.#dropAddress(lifc);
  }

  /** Whether `addr` is an address of this interface. */
  hasAddress(addr: IpAddr): boolean {
    for (const lifc of this.lifcs) if (lifc.local.equals(addr)) return !addr.isUnspecified && !lifc.tentative;
    return false;
  }

  /** Whether `addr` is on its link. */
  isOnLink(addr: IpAddr): boolean {
    for (const lifc of this.lifcs) if (lifc.reaches(addr)) return true;
    return false;
  }

  /**
   * Our address for talking to the neighbour `addr`: of the same net if there is one, else the first; or null. Of IPv6
   * that for talking to any host, by scope and likeness.
   */
  sourceFor(addr: IpAddr): IpAddr | null {
    if (!addr.isV4) return source6(this.lifcs, addr);
    let first: IpAddr | null = null;
    for (const lifc of this.lifcs) {
      if (lifc.local.isUnspecified || !lifc.local.isV4) continue;
      if (lifc.reaches(addr)) return lifc.local;
      first ??= lifc.local;
    }
    return first;
  }

  /** Lets packets to `group` in. EINVAL: not multicast; EFAIL: not bound; ENOSPC: too many. */
  joinGroup(group: IpAddr): void {
    if (!group.isMulticast) throw new KernelError("EINVAL", `Cannot join ${group}: not a multicast address`);
    if (this.link === null) throw new KernelError("EFAIL", `Cannot join ${group}: the interface is not bound`);
    if (this.#groups.length >= IFC_GROUPS_MAX) throw new KernelError("ENOSPC", `Cannot join ${group}: too many groups`);
    this.stack.self.requireRoom(1);
    this.stack.routes.requireRoom(1);
    this.#own(group, "multicast");
    this.#groups.push(group);
  }

  /** Takes one `joinGroup` back. EFAIL: it was not joined. */
  leaveGroup(group: IpAddr): void {
    if (!this.#groups.some((one) => one.equals(group))) {
      throw new KernelError("EFAIL", `Cannot leave ${group}: the interface did not join it`);
    }
    this.#dropGroup(group);
  }

  /** Sends an IP packet (given away) to the neighbour `gateway`. */
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
   * Brings a packet (given away) to ourselves, without any link: it is for an address of ours, or a group we are in.
   */
  sendLocal(block: Block): void {
    this.packetsOut++;
    if (block.segment === Segment.None) this.#loopback.push(block);
    else for (const piece of this.#pieces(block, LOOPBACK_OFFLOADS)) this.#loopback.push(piece);
  }

  /** Copies a packet that crosses the interface for whoever snoops. */
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

  /** The `status` file (Akaros' labels): one line for the interface, one for each address or an empty one. */
  status(): string {
    const values: readonly (readonly [string, string | number])[] = [
      ["device", this.link?.device ?? ""],
      ["maxtu", this.maxtu],
      ["sendra", 0],
      ["recvra", this.receivesAdverts ? 1 : 0],
      ...ROUTER_DEFAULTS,
      ["pktin", this.packetsIn],
      ["pktout", this.packetsOut],
      ["errin", this.errorsIn],
      ["errout", this.errorsOut],
      ["tracedrop", this.traceDrops],
    ];
    const lines = this.lifcs.map((lifc) => lifc.format(formatMask(lifc.mask, lifc.local.isV4)));
    return `${values.map(([name, value]) => `${name} ${value}`).join(" ")}\n${lines.join("") || "\n"}`;
  }

  /** The `local` file: one line for each address: it, and every address that is ours by it. */
  localText(): string {
    return this.lifcs.map((lifc) => `${lifc.local} -> ${lifc.claims().map(([addr]) => addr).join(" ")}\n`).join("");
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

  /** Makes everything ours that `lifc` means; the link may refuse a group, and then nothing was done. */
  #claim(lifc: Iplifc): void {
    const done: (readonly [IpAddr, Cast])[] = [];
    try {
      for (const claim of lifc.claims()) {
        this.#own(claim[0], claim[1]);
        done.push(claim);
      }
    } catch (error) {
      for (const [addr, cast] of done) this.#disown(addr, cast);
      this.lifcs.splice(this.lifcs.indexOf(lifc), 1);
      throw error;
    }
  }

  /** `lifc` is ours: its net is on the link, and the neighbours are told. */
  #settle(lifc: Iplifc): void {
    this.#changeOnLink(lifc, "add");
    if (lifc.local.isUnspecified) this.#unspecified++;
    else this.link?.addAddress?.(lifc.local);
  }

  #dropAddress(lifc: Iplifc): void {
    this.lifcs.splice(this.lifcs.indexOf(lifc), 1);
    if (!lifc.local.isV4) this.#addresses6--;
    for (const [addr, cast] of lifc.claims()) this.#disown(addr, cast);
    if (lifc.tentative) return;
    this.#changeOnLink(lifc, "remove");
    if (lifc.local.isUnspecified) this.#unspecified--;
    else this.link?.removeAddress?.(lifc.local);
  }

  /** Adds or removes the route to the net of `lifc`, which several addresses may share. */
  #changeOnLink(lifc: Iplifc, change: "add" | "remove"): void {
    const { net: dest, mask, isPointToPoint, proxy } = lifc;
    const isShared = this.lifcs.some((one) =>
      one !== lifc && !one.tentative && one.net.equals(dest) && one.mask.equals(mask)
    );
    // A single host as its own other end is no net.
    if (isShared || lifc.local.isUnspecified || (isPointToPoint && dest.equals(lifc.local))) return;
    const kind = isPointToPoint ? RouteKind.PointToPoint : RouteKind.OnLink;
    if (change === "add") this.stack.routes.add({ dest, mask, kind, ifc: this, proxy });
    else this.stack.routes.removeOwn(dest, mask, this, kind);
  }

  #dropGroup(group: IpAddr): void {
    this.#groups.splice(this.#groups.findIndex((one) => one.equals(group)), 1);
    this.#disown(group, "multicast");
  }

  /** Makes `addr` ours once more; what the link throws leaves nothing done. */
  #own(addr: IpAddr, cast: Cast): void {
    const { self, routes } = this.stack;
    if (!self.add(addr, this, cast)) return;
    try {
      if (cast === "multicast") this.link?.joinGroup?.(addr);
    } catch (error) {
      self.remove(addr, this, cast);
      throw error;
    }
    routes.add({ dest: addr, mask: ALL_ONES, kind: KIND_OF_CAST[cast], ifc: this });
  }

  #disown(addr: IpAddr, cast: Cast): void {
    if (!this.stack.self.remove(addr, this, cast)) return;
    this.stack.routes.removeOwn(addr, ALL_ONES, this, KIND_OF_CAST[cast]);
    if (cast === "multicast") this.link?.leaveGroup?.(addr);
  }
}
