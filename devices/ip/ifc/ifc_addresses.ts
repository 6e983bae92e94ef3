/**
 * IfcAddresses: the addresses and groups of an interface, and everything that having one means.
 *
 * Path: ipifc → ifc_addresses → route, medium, iplifc, source6.
 *
 * The self table, the routes and the link's announcements and groups are changed here together, and undone together.
 *
 * Limits: {@link IPLIFCS_MAX} addresses and {@link IFC_GROUPS_MAX} groups on one interface.
 *
 * @module
 */

import { KernelError } from "../../../kernel/error.ts";
import { type IpAddr, prefixMask } from "../../../kernel/wire/ip_addr.ts";
import { IPV6_MTU_MIN } from "../../../kernel/wire/ipv6.ts";
import type { Cast } from "../env/cast.ts";
import type { Ifc, Link } from "../link/ifc.ts";
import { Iplifc, type IplifcFields } from "../link/iplifc.ts";
import type { IfcContext } from "./medium.ts";
import { RouteKind } from "../route/route.ts";
import { source6 } from "../route/source6.ts";

/** Most addresses of one interface. */
export const IPLIFCS_MAX = 64;
/** Most multicast groups of one interface; a NIC filters some dozens. */
export const IFC_GROUPS_MAX = 256;

/** The mask of a route to one host. */
const HOST_MASK = prefixMask(128);
const KIND_OF_CAST: Readonly<Record<Cast, RouteKind>> = {
  unicast: RouteKind.Unicast,
  broadcast: RouteKind.Broadcast,
  multicast: RouteKind.Multicast,
};

/** The addresses of an interface. */
export abstract class IfcAddresses {
  /** Its addresses, in the order in which they were added. */
  readonly lifcs: Iplifc[] = [];
  #groups: IpAddr[] = [];
  #unspecified4 = 0;
  #unspecified6 = 0;
  #addresses6 = 0;

  constructor(readonly stack: IfcContext) {}

  /** Null while the interface is not bound. */
  abstract readonly link: Link | null;
  /** Most bytes of an IP packet on its link. */
  abstract readonly mtu: number;
  /** The interface that these are the addresses of. */
  protected abstract readonly ifc: Ifc;

  /** True if it has an IPv6 address, even a tentative one; without one it accepts no IPv6 packets. */
  get speaksIpv6(): boolean {
    return this.#addresses6 > 0;
  }

  /**
   * Whether it has 0.0.0.0 or `::`: every unicast packet of that version which arrives is for us, because our address
   * is not known yet, or because we stand for all others.
   */
  acceptsAny(version: 4 | 6): boolean {
    return (version === 4 ? this.#unspecified4 : this.#unspecified6) > 0;
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

  /** A tentative address turned out to be free: it is ours from now on. */
  confirmAddress(lifc: Iplifc): void {
    if (!lifc.tentative || !this.lifcs.includes(lifc)) return;
    lifc.tentative = false;
    try {
      this.#own(lifc.local, "unicast");
      this.#settle(lifc);
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      // A table has become full since it was tried, and no caller waits for an error.
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

  /** Leaves every group. */
  leaveAllGroups(): void {
    for (const group of [...this.#groups]) this.#dropGroup(group);
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

  /** `lifc` is ours: its net is on the link, and the neighbours are notified. */
  #settle(lifc: Iplifc): void {
    this.#changeOnLink(lifc, "add");
    if (lifc.local.isUnspecified) this.#countUnspecified(lifc, 1);
    else this.link?.addAddress?.(lifc.local);
  }

  #dropAddress(lifc: Iplifc): void {
    this.lifcs.splice(this.lifcs.indexOf(lifc), 1);
    if (!lifc.local.isV4) this.#addresses6--;
    for (const [addr, cast] of lifc.claims()) this.#disown(addr, cast);
    if (lifc.tentative) return;
    this.#changeOnLink(lifc, "remove");
    if (lifc.local.isUnspecified) this.#countUnspecified(lifc, -1);
    else this.link?.removeAddress?.(lifc.local);
  }

  #countUnspecified({ local }: Iplifc, change: 1 | -1): void {
    if (local.isV4) this.#unspecified4 += change;
    else this.#unspecified6 += change;
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
    if (change === "add") this.stack.routes.add({ dest, mask, kind, ifc: this.ifc, proxy });
    else this.stack.routes.removeOwn(dest, mask, this.ifc, kind);
  }

  #dropGroup(group: IpAddr): void {
    this.#groups.splice(this.#groups.findIndex((one) => one.equals(group)), 1);
    this.#disown(group, "multicast");
  }

  /** Makes `addr` ours once more; what the link throws leaves nothing done. */
  #own(addr: IpAddr, cast: Cast): void {
    const { self, routes } = this.stack;
    if (!self.add(addr, this.ifc, cast)) return;
    try {
      if (cast === "multicast") this.link?.joinGroup?.(addr);
    } catch (error) {
      self.remove(addr, this.ifc, cast);
      throw error;
    }
    routes.add({ dest: addr, mask: HOST_MASK, kind: KIND_OF_CAST[cast], ifc: this.ifc });
  }

  #disown(addr: IpAddr, cast: Cast): void {
    if (!this.stack.self.remove(addr, this.ifc, cast)) return;
    this.stack.routes.removeOwn(addr, HOST_MASK, this.ifc, KIND_OF_CAST[cast]);
    if (cast === "multicast") this.link?.leaveGroup?.(addr);
  }
}
