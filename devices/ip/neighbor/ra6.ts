/**
 * RouterAdverts: an interface configures itself by what routers say (RFC 4861 6.3, RFC 4862 5.5, RFC 8106): addresses,
 * nets on the link, a default route, the MTU, and DNS servers in `ndb`.
 *
 * Path: icmp/icmp6, medium, ip_stack → ra6 → nd_send, ndb, route, dad.
 *
 * Only interfaces with `recvra6 on` listen: on any other link a stranger could take all our packets.
 * A router does not listen either (RFC 4861 6.2.7). A default route that a person or a program set stays.
 *
 * Limits: {@link ROUTERS_MAX} routers, {@link PREFIXES_MAX} nets and {@link DNS_MAX} servers of one interface; what
 * comes beyond is not taken. One timer for all.
 *
 * @module
 */

import { KernelError } from "../../../kernel/error.ts";
import type { Timer } from "../../../kernel/time.ts";
import { IP_UNSPECIFIED, type IpAddr, prefixMask } from "../../../kernel/wire/ip_addr.ts";
import { IPV6_MTU_MIN } from "../../../kernel/wire/ipv6.ts";
import type { NdPrefix, RouterAdvert } from "../../../kernel/wire/nd.ts";
import { eui64, LINK_LOCAL_PREFIX, MASK_64 } from "../../../kernel/inet/addr6.ts";
import type { Ifc, NdLink } from "../link/ifc.ts";
import type { Iplifc } from "../link/iplifc.ts";
import type { Dad } from "./dad.ts";
import type { IpEnv } from "../env/env.ts";
import type { NdTable } from "./nd.ts";
import type { Ndb } from "../env/ndb.ts";
import { sendRouterSolicit } from "./nd_send.ts";
import { RouteKind } from "../route/route.ts";
import type { RouteTable } from "../route/route_table.ts";

/** Default routers of one interface (Akaros). */
export const ROUTERS_MAX = 3;
/** Nets of one interface. */
export const PREFIXES_MAX = 16;
/** DNS servers of one interface: more than three are of no use (RFC 8106 5.3.1), and ndb is small. */
export const DNS_MAX = 4;
/** Solicitations, and milliseconds between them (RFC 4861 10). */
export const SOLICITS_MAX = 3;
export const SOLICIT_GAP_MS = 4000;
/** No advertisement, which may be forged, makes what is left of a lifetime shorter than this (RFC 4862 5.5.3 e). */
const VALID_LEAST_MS = 2 * 60 * 60 * 1000;
const FOREVER = 0xffffffff;
/** The tag of default routes that were learnt. */
const ROUTE_TAG_RA = "ra";
/** A month: a clock need not take more at once. */
const TIMER_MAX_MS = 30 * 24 * 60 * 60 * 1000;
const DEFAULT_ROUTE_MASK = prefixMask(0);
const HOST_MASK = prefixMask(128);

interface Router {
  readonly addr: IpAddr;
  untilMs: number;
}

/** One net that routers advertised: a route to it, an address in it, or both. */
interface Net {
  readonly prefix: IpAddr;
  readonly length: number;
  /** It has a route of its own, since no address of ours brings one. */
  hasRoute: boolean;
  lifc: Iplifc | null;
  validUntilMs: number;
  preferredUntilMs: number;
}

/** What one interface has learnt. */
interface Listener {
  readonly ifc: Ifc;
  readonly link: NdLink;
  solicitsLeft: number;
  solicitAtMs: number;
  readonly routers: Router[];
  readonly nets: Net[];
  dns: { addr: IpAddr; untilMs: number }[];
  /** What stands in ndb for it. */
  ndbText: string;
}

/** What router advertisements need of their stack. */
interface AdvertsContext extends IpEnv {
  readonly routes: RouteTable;
  readonly dad: Dad;
  readonly nd: NdTable;
  readonly ndb: Ndb;
}

/** The listening interfaces of one stack. */
export class RouterAdverts {
  readonly #listeners: Listener[] = [];
  readonly #timer: Timer;

  constructor(readonly stack: AdvertsContext) {
    this.#timer = stack.env.clock.timer(() => this.#expire());
  }

  /** Routers, nets and servers known. */
  get size(): number {
    return this.#listeners.reduce((sum, one) => sum + one.routers.length + one.nets.length + one.dns.length, 0);
  }

  /** Makes `ifc` listen, and solicits its routers. EFAIL: it has no hardware address to make others of. */
  start(ifc: Ifc): void {
    if (ifc.receivesAdverts) return;
    const link = ifc.link?.ndLink;
    if (link === undefined) throw new KernelError("EFAIL", "Cannot receive advertisements: no hardware address");
    const { stack } = this;
    const listener: Listener = {
      ...{ ifc, link, solicitsLeft: SOLICITS_MAX, solicitAtMs: Infinity },
      ...{ routers: [], nets: [], dns: [], ndbText: "" },
    };
    const ask = () => {
      listener.solicitAtMs = stack.env.clock.now();
      this.#expire();
    };
    if (!ifc.lifcs.some(({ local }) => !local.isV4 && local.isLinkLocal)) {
      const fields = { mask: MASK_64, remote: LINK_LOCAL_PREFIX, proxy: false };
      stack.dad.start(ifc, { local: eui64(LINK_LOCAL_PREFIX, link.mac), ...fields }, ask);
      ifc.receivesAdverts = true;
      this.#listeners.push(listener);
      return;
    }
    ifc.receivesAdverts = true;
    this.#listeners.push(listener);
    ask();
  }

  /** Makes `ifc` deaf again; what it learnt is forgotten, but its link-local address stays. */
  stop(ifc: Ifc): void {
    ifc.receivesAdverts = false;
    ifc.advertisedMtu = 0;
    const at = this.#listeners.findIndex((one) => one.ifc === ifc);
    if (at < 0) return;
    const listener = this.#listeners[at]!;
    this.#listeners.splice(at, 1);
    listener.dns = [];
    for (const net of listener.nets.splice(0)) this.#forget(listener, net);
    listener.routers.length = 0;
    this.#chooseRouter(listener);
    this.#writeNdb(listener);
    this.#arm();
  }

  /** An advertisement of a router at `src` on `link`; the message is valid. */
  advertised(link: NdLink, src: IpAddr, advert: RouterAdvert): void {
    const listener = this.#listeners.find((one) => one.link === link);
    if (listener === undefined || this.stack.forwarding) return;
    listener.solicitAtMs = Infinity;
    if (advert.sourceMac !== null) this.stack.nd.hear(link, src, advert.sourceMac);
    this.#learnRouter(listener, src, advert.lifetimeS);
    if (advert.mtu >= IPV6_MTU_MIN && advert.mtu <= listener.ifc.mtu) listener.ifc.advertisedMtu = advert.mtu;
    for (const prefix of advert.prefixes) this.#learnPrefix(listener, prefix);
    this.#learnDns(listener, advert);
    this.#arm();
  }

  // --- routers

  #learnRouter(listener: Listener, addr: IpAddr, lifetimeS: number): void {
    const { routers } = listener;
    const known = routers.find((one) => one.addr.equals(addr));
    const untilMs = this.#after(lifetimeS);
    if (known !== undefined) known.untilMs = untilMs;
    else if (lifetimeS > 0 && routers.length < ROUTERS_MAX) routers.push({ addr, untilMs });
    this.#expireRouters(listener);
  }

  #expireRouters(listener: Listener): void {
    const now = this.stack.env.clock.now();
    const left = listener.routers.filter((one) => one.untilMs > now);
    listener.routers.splice(0, Infinity, ...left);
    this.#chooseRouter(listener);
  }

  /** The default route is by the first router that is left; a route that is not ours is let alone. */
  #chooseRouter({ ifc, routers }: Listener): void {
    const { routes } = this.stack;
    const gateway = routers[0]?.addr ?? null;
    const now = routes.staticTo(IP_UNSPECIFIED, DEFAULT_ROUTE_MASK);
    if (now !== null && (now.tag !== ROUTE_TAG_RA || now.via !== ifc)) return;
    if (gateway === null) {
      if (now !== null) routes.removeStatic(now);
    } else if (now === null || !now.gateway!.equals(gateway)) {
      const kind = RouteKind.Static;
      mayRefuse(() =>
        routes.add({ dest: IP_UNSPECIFIED, mask: DEFAULT_ROUTE_MASK, kind, gateway, tag: ROUTE_TAG_RA, ifc })
      );
    }
  }

  // --- nets

  #learnPrefix(listener: Listener, advertised: NdPrefix): void {
    const { length, onLink, autonomous, validS, preferredS } = advertised;
    const prefix = advertised.prefix.and(prefixMask(length));
    if (prefix.isLinkLocal || prefix.isMulticast || prefix.isV4 || prefix.isUnspecified || preferredS > validS) return;
    let net = listener.nets.find((one) => one.length === length && one.prefix.equals(prefix));
    if (net === undefined) {
      if (validS === 0 || listener.nets.length >= PREFIXES_MAX) return;
      net = { prefix, length, hasRoute: false, lifc: null, validUntilMs: 0, preferredUntilMs: 0 };
      listener.nets.push(net);
    }
    const now = this.stack.env.clock.now();
    const left = net.validUntilMs - now;
    const validMs = validS === FOREVER ? Infinity : validS * 1000;
    // A net without an address of ours obeys at once; an address does not die by one message.
    if (net.lifc === null || validMs > VALID_LEAST_MS || validMs > left) net.validUntilMs = now + validMs;
    else if (left > VALID_LEAST_MS) net.validUntilMs = now + VALID_LEAST_MS;
    net.preferredUntilMs = this.#after(preferredS);
    if (net.validUntilMs > now) this.#use(listener, net, { onLink, autonomous });
    if (net.lifc !== null) {
      net.lifc.validLifetimeS = seconds(net.validUntilMs - now);
      net.lifc.preferredLifetimeS = seconds(net.preferredUntilMs - now);
    }
    this.#expireNets(listener);
  }

  /** An address in it, and a route to it, as far as they are offered and wanted. */
  #use({ ifc, link }: Listener, net: Net, { onLink, autonomous }: Pick<NdPrefix, "onLink" | "autonomous">): void {
    const { prefix, length } = net;
    const { routes, dad } = this.stack;
    // RFC 4862 5.5.3 d: prefix and interface identifier must make 128 bits.
    if (autonomous && length === 64 && net.lifc === null) {
      const local = eui64(prefix, link.mac);
      // RFC 5942 4: an address alone says nothing of what is on the link.
      const mask = onLink ? MASK_64 : HOST_MASK;
      if (!ifc.lifcs.some((lifc) => lifc.local.equals(local))) {
        const fields = { local, mask, remote: onLink ? prefix : local, proxy: false };
        mayRefuse(() => net.lifc = dad.start(ifc, fields));
      }
    }
    if (!onLink || net.hasRoute || (net.lifc !== null && net.lifc.mask.equals(MASK_64))) return;
    mayRefuse(() => {
      routes.add({ dest: prefix, mask: prefixMask(length), kind: RouteKind.OnLink, ifc });
      net.hasRoute = true;
    });
  }

  #expireNets(listener: Listener): void {
    const now = this.stack.env.clock.now();
    for (const net of [...listener.nets]) {
      if (net.lifc !== null) net.lifc.isDeprecated = net.preferredUntilMs <= now;
      if (net.validUntilMs > now) continue;
      listener.nets.splice(listener.nets.indexOf(net), 1);
      this.#forget(listener, net);
    }
  }

  #forget({ ifc }: Listener, { prefix, length, hasRoute, lifc }: Net): void {
    if (lifc !== null) ifc.dropAddress(lifc);
    if (hasRoute) this.stack.routes.removeOwn(prefix, prefixMask(length), ifc, RouteKind.OnLink);
  }

  // --- DNS servers

  #learnDns(listener: Listener, { dnsServers, dnsLifetimeS }: RouterAdvert): void {
    const untilMs = this.#after(dnsLifetimeS);
    for (const addr of dnsServers) {
      const known = listener.dns.find((one) => one.addr.equals(addr));
      if (known !== undefined) known.untilMs = untilMs;
      else if (dnsLifetimeS > 0 && listener.dns.length < DNS_MAX) listener.dns.push({ addr, untilMs });
    }
    this.#expireDns(listener);
  }

  #expireDns(listener: Listener): void {
    const now = this.stack.env.clock.now();
    listener.dns = listener.dns.filter((one) => one.untilMs > now);
    this.#writeNdb(listener);
  }

  #writeNdb(listener: Listener): void {
    const { ndb, env } = this.stack;
    const text = listener.dns.map(({ addr }) => `\tdns=${addr}\n`).join("");
    if (ndb.replace(listener.ndbText, text, env.clock.wall())) listener.ndbText = text;
  }

  // --- time

  #after(lifetimeS: number): number {
    return lifetimeS === FOREVER ? Infinity : this.stack.env.clock.now() + lifetimeS * 1000;
  }

  #expire(): void {
    const now = this.stack.env.clock.now();
    for (const listener of this.#listeners) {
      if (listener.solicitAtMs <= now) this.#solicit(listener, now);
      this.#expireRouters(listener);
      this.#expireNets(listener);
      this.#expireDns(listener);
    }
    this.#arm();
  }

  #solicit(listener: Listener, now: number): void {
    const { link, ifc } = listener;
    listener.solicitsLeft--;
    listener.solicitAtMs = listener.solicitsLeft > 0 ? now + SOLICIT_GAP_MS : Infinity;
    sendRouterSolicit(this.stack, link, ifc.sourceFor(LINK_LOCAL_PREFIX));
  }

  #arm(): void {
    const now = this.stack.env.clock.now();
    let next = Infinity;
    for (const { solicitAtMs, routers, nets, dns } of this.#listeners) {
      next = Math.min(next, solicitAtMs);
      for (const { untilMs } of routers) next = Math.min(next, untilMs);
      for (const { untilMs } of dns) next = Math.min(next, untilMs);
      for (const { validUntilMs, preferredUntilMs } of nets) {
        next = Math.min(next, validUntilMs, preferredUntilMs > now ? preferredUntilMs : Infinity);
      }
    }
    if (next === Infinity) this.#timer.disarm();
    else this.#timer.arm(Math.min(TIMER_MAX_MS, Math.max(0, next - now)));
  }
}

/** Does what a table may refuse, being full or having another route: then the advertisement has no effect. */
function mayRefuse(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
  }
}

function seconds(ms: number): number {
  return ms === Infinity ? Infinity : Math.max(0, Math.floor(ms / 1000));
}
