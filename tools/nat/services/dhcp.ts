/**
 * DHCP server (RFC 2131 4.3, options of RFC 2132, RFC 3397): a function of a message, the leases, and the time.
 *
 * Path: context, nat → dhcp → dhcp_options, wire/dhcp.
 *
 * Leases are by hardware address; a client gets the address it had, then the one it asks for, then the next free one.
 * It is the only server of its link, so it says no to every request that it cannot grant, also to those it knows
 * nothing of (authoritative). Of the options, those that the client lists are sent if we have them, in its order;
 * without a list all. The client's identifier comes back to it (RFC 6842).
 *
 * A message without a type is BOOTP's (RFC 1534): it gets an address for good, options that are not DHCP's own, and 300
 * bytes.
 *
 * Of a search list that a client has no room for the first names are sent (RFC 3397, compressed).
 *
 * Limits: {@link LEASES_MAX} leases, {@link BOOTP_MAX} of them without an end; an offer is held for {@link OFFER_MS},
 * a declined address kept away for {@link DECLINED_MS}. No relays (`giaddr`).
 *
 * @module
 */

import {
  DHCP_ACK,
  DHCP_BOOT_REPLY,
  DHCP_BOOT_REQUEST,
  DHCP_DECLINE,
  DHCP_DISCOVER,
  DHCP_INFORM,
  DHCP_NAK,
  DHCP_OFFER,
  DHCP_OPTION_CLIENT_ID,
  DHCP_OPTION_DOMAIN,
  DHCP_OPTION_DOMAIN_SEARCH,
  DHCP_OPTION_HOST_NAME,
  DHCP_OPTION_LEASE_TIME,
  DHCP_OPTION_MAX_LEN,
  DHCP_OPTION_MESSAGE,
  DHCP_OPTION_PARAMETERS,
  DHCP_OPTION_REBINDING_TIME,
  DHCP_OPTION_RENEWAL_TIME,
  DHCP_OPTION_REQUESTED_ADDR,
  DHCP_OPTION_ROUTERS,
  DHCP_OPTION_SERVER_ID,
  DHCP_OPTION_SUBNET_MASK,
  DHCP_OPTION_TYPE,
  DHCP_RELEASE,
  DHCP_REQUEST,
  dhcpAddrs,
  dhcpLen,
  type DhcpMessage,
  dhcpNumber,
  dhcpType,
  encodeDhcpAddrs,
  encodeDhcpNumber,
  encodeDhcpText,
} from "../../../kernel/wire/dhcp.ts";
import { encodeDnsNames } from "../../../kernel/wire/dns_name.ts";
import { IpAddr, IPV4_UNSPECIFIED } from "../../../kernel/wire/ip_addr.ts";
import { type DhcpNetwork, namesOf, optionsOf } from "./dhcp_options.ts";

/** Most leases: a /24 without its router. */
export const LEASES_MAX = 253;
/** Most addresses that are given for good, so that BOOTP cannot take them all away from DHCP. */
export const BOOTP_MAX = 64;
/** IP packets that every client takes (RFC 2131 2); headers before a message. */
const LEN_MIN = 576;
const UDP_IP_HEADERS = 28;
/** Every message of BOOTP (RFC 951 3): 64 bytes for options. */
const BOOTP_LEN = 300;
/** How long an offered address waits for its request. */
export const OFFER_MS = 60_000;
/** How long an address stays away after a client found somebody else there. */
export const DECLINED_MS = 600_000;

/** What the server gives. Its own address, as server identifier, is the router's. */
export interface DhcpConfig extends DhcpNetwork {
  /** First and last address to give. */
  readonly first: IpAddr;
  readonly last: IpAddr;
  /** Addresses among them that are taken. */
  readonly taken: readonly IpAddr[];
  readonly leaseSeconds: number;
  /** Fixed addresses by `MacAddr.key`. */
  readonly reservations: ReadonlyMap<number, IpAddr>;
  /** Whether a host that is not the client `mac` uses an address without a lease (RFC 2131 2.2). Default: none does. */
  readonly isInUse?: (word: number, mac: number) => boolean;
}

/** An address and who has it. */
interface Lease {
  readonly addr: IpAddr;
  /** `MacAddr.key`; -1: no client, the address was declined. */
  readonly mac: number;
  /** When it is over, in milliseconds. */
  readonly expires: number;
  /** Offered only. */
  readonly isOffer: boolean;
}

/** A DHCP server. */
export class DhcpServer {
  readonly #leases = new Map<number, Lease>();
  #options: ReadonlyMap<number, Uint8Array>;
  /** Domains that can be written. */
  #search: readonly string[];

  constructor(readonly config: DhcpConfig) {
    this.#search = namesOf(config.search);
    this.#options = optionsOf(config);
  }

  /** There are other name servers and domains now: clients hear of them when they renew. */
  setNames(names: Pick<DhcpConfig, "nameServers" | "domain" | "search">): void {
    this.#search = namesOf(names.search);
    this.#options = optionsOf({ ...this.config, ...names });
  }

  /** Addresses that are leased, offered or declined. */
  get leases(): readonly Lease[] {
    return [...this.#leases.values()];
  }

  /** Whether the address `word` is another client's than `mac`: kept for it, or leased to it for the time being. */
  isAnothers(word: number, mac: number, now: number): boolean {
    for (const [owner, addr] of this.config.reservations) if (addr.w3 === word) return owner !== mac;
    const lease = this.#leases.get(word);
    return lease !== undefined && !lease.isOffer && lease.mac >= 0 && lease.mac !== mac && lease.expires > now;
  }

  /** The clients have gone: their addresses are free for the next. */
  vacate(): void {
    for (const [word, lease] of this.#leases) if (lease.mac >= 0) this.#leases.delete(word);
  }

  /** The answer to `message`, or null if it gets none. */
  answer(message: DhcpMessage, now: number): DhcpMessage | null {
    if (message.op !== DHCP_BOOT_REQUEST || !message.giaddr.isUnspecified || message.chaddr.isGroup) return null;
    const { options, ciaddr } = message;
    const server = dhcpAddrs(options, DHCP_OPTION_SERVER_ID)[0];
    const isForUs = server === undefined || server.equals(this.config.router);
    if (!options.has(DHCP_OPTION_TYPE)) return this.#bootp(message, now);
    switch (dhcpType(message)) {
      case DHCP_DISCOVER:
        return this.#offer(message, now);
      case DHCP_REQUEST:
        if (isForUs) return this.#request(message, now);
        // RFC 2131 3.1.3: another server's offer was taken.
        this.#free(message.chaddr.key, (lease) => lease.isOffer);
        return null;
      case DHCP_INFORM:
        return this.#reply(message, DHCP_ACK, { yiaddr: IPV4_UNSPECIFIED, lease: false });
      case DHCP_RELEASE:
        if (isForUs) this.#free(message.chaddr.key, (lease) => lease.addr.equals(ciaddr));
        return null;
      case DHCP_DECLINE:
        this.#decline(message, now);
        return null;
      default:
        return null;
    }
  }

  /** RFC 951 7.3, RFC 1534 2: a client that knows its address only wants options; a server with a name is another. */
  #bootp(message: DhcpMessage, now: number): DhcpMessage | null {
    const { chaddr, ciaddr, sname } = message;
    if (sname !== "") return null;
    if (!ciaddr.isUnspecified) return this.#bootpReply(message, IPV4_UNSPECIFIED);
    const addr = this.#choose(chaddr.key, undefined, now);
    if (addr === null) return null;
    const isOld = this.#leases.get(addr.w3)?.expires === Infinity;
    const forGood = [...this.#leases.values()].filter(({ expires }) => expires === Infinity);
    if (!isOld && forGood.length >= BOOTP_MAX) return null;
    this.#free(chaddr.key, () => true);
    this.#leases.set(addr.w3, { addr, mac: chaddr.key, expires: Infinity, isOffer: false });
    return this.#bootpReply(message, addr);
  }

  #bootpReply(message: DhcpMessage, yiaddr: IpAddr): DhcpMessage {
    const { xid, broadcast, ciaddr, chaddr } = message;
    const addrs = { ciaddr, yiaddr, siaddr: IPV4_UNSPECIFIED, giaddr: IPV4_UNSPECIFIED, chaddr };
    const fields = { op: DHCP_BOOT_REPLY, hops: 0, xid, secs: 0, broadcast, sname: "", file: "" };
    return this.#fitted({ ...fields, ...addrs, options: new Map(this.#wanted(message)) }, BOOTP_LEN);
  }

  #offer(message: DhcpMessage, now: number): DhcpMessage | null {
    const mac = message.chaddr.key;
    const addr = this.#choose(mac, dhcpAddrs(message.options, DHCP_OPTION_REQUESTED_ADDR)[0], now);
    if (addr === null) return null;
    this.#free(mac, (lease) => lease.isOffer && !lease.addr.equals(addr));
    const held = this.#leases.get(addr.w3);
    if (held === undefined || held.isOffer || held.expires <= now || held.mac !== mac) {
      this.#leases.set(addr.w3, { addr, mac, expires: now + OFFER_MS, isOffer: true });
    }
    return this.#reply(message, DHCP_OFFER, { yiaddr: addr, lease: true });
  }

  /** RFC 2131 4.3.2: selecting, after a reboot, renewing and rebinding differ in where the address stands. */
  #request(message: DhcpMessage, now: number): DhcpMessage | null {
    const mac = message.chaddr.key;
    const requested = dhcpAddrs(message.options, DHCP_OPTION_REQUESTED_ADDR)[0];
    const addr = requested ?? message.ciaddr;
    if (addr.isUnspecified) return null;
    if (!this.#isFor(addr, mac, now)) {
      const text = this.#isOurs(addr) ? "address is taken" : "wrong network";
      return this.#reply(message, DHCP_NAK, { yiaddr: IPV4_UNSPECIFIED, lease: false, text });
    }
    // One address a client: the one that it asked for last.
    this.#free(mac, () => true);
    const expires = now + this.config.leaseSeconds * 1000;
    this.#leases.set(addr.w3, { addr, mac, expires, isOffer: false });
    return this.#reply(message, DHCP_ACK, { yiaddr: addr, lease: true });
  }

  #decline(message: DhcpMessage, now: number): void {
    const addr = dhcpAddrs(message.options, DHCP_OPTION_REQUESTED_ADDR)[0];
    if (addr === undefined || this.#leases.get(addr.w3)?.mac !== message.chaddr.key) return;
    this.#leases.set(addr.w3, { addr, mac: -1, expires: now + DECLINED_MS, isOffer: false });
  }

  /** The address that the client `mac` gets; null: there is none left. */
  #choose(mac: number, wish: IpAddr | undefined, now: number): IpAddr | null {
    const reserved = this.config.reservations.get(mac);
    if (reserved !== undefined) return reserved;
    for (const lease of this.#leases.values()) {
      if (lease.mac === mac && this.#isFor(lease.addr, mac, now)) return lease.addr;
    }
    if (wish !== undefined && this.#isFor(wish, mac, now)) return wish;
    const { first, last } = this.config;
    let stale: IpAddr | null = null;
    for (let word = first.w3 >>> 0; word <= last.w3 >>> 0 && this.#leases.size < LEASES_MAX; word++) {
      const addr = IpAddr.v4(word);
      if (!this.#isFor(addr, mac, now)) continue;
      if (!this.#leases.has(addr.w3)) return addr;
      stale ??= addr;
    }
    if (stale !== null) return stale;
    for (const { addr, expires } of this.#leases.values()) {
      if (expires <= now && this.#isFor(addr, mac, now)) return addr;
    }
    return null;
  }

  #isOurs(addr: IpAddr): boolean {
    const { first, last, taken, reservations } = this.config;
    const inRange = addr.isV4 && addr.compare(first) >= 0 && addr.compare(last) <= 0;
    if (taken.some((one) => one.equals(addr))) return false;
    return inRange || [...reservations.values()].some((one) => one.equals(addr));
  }

  /** Whether the client `mac` may have `addr`. */
  #isFor(addr: IpAddr, mac: number, now: number): boolean {
    if (!this.#isOurs(addr)) return false;
    for (const [owner, reserved] of this.config.reservations) {
      if (reserved.equals(addr)) return owner === mac;
      if (owner === mac) return false;
    }
    const lease = this.#leases.get(addr.w3);
    const isOwn = lease?.mac === mac;
    if (isOwn && !lease.isOffer && lease.expires > now) return true;
    if (lease === undefined ? this.#leases.size >= LEASES_MAX : lease.expires > now && !isOwn) return false;
    return this.config.isInUse?.(addr.w3, mac) !== true;
  }

  #free(mac: number, which: (lease: Lease) => boolean): void {
    for (const [word, lease] of this.#leases) if (lease.mac === mac && which(lease)) this.#leases.delete(word);
  }

  #reply(
    message: DhcpMessage,
    type: number,
    options: { yiaddr: IpAddr; lease: boolean; text?: string },
  ): DhcpMessage {
    const { router, leaseSeconds } = this.config;
    const isNak = type === DHCP_NAK;
    const all = new Map<number, Uint8Array>([
      [DHCP_OPTION_TYPE, encodeDhcpNumber(type, 1)],
      [DHCP_OPTION_SERVER_ID, encodeDhcpAddrs([router])],
    ]);
    if (options.lease) {
      // RFC 2131 4.4.5: T1 is half of the lease, T2 seven eighths.
      all.set(DHCP_OPTION_LEASE_TIME, encodeDhcpNumber(leaseSeconds, 4));
      all.set(DHCP_OPTION_RENEWAL_TIME, encodeDhcpNumber(Math.floor(leaseSeconds / 2), 4));
      all.set(DHCP_OPTION_REBINDING_TIME, encodeDhcpNumber(Math.floor(leaseSeconds * 7 / 8), 4));
    }
    if (options.text !== undefined) all.set(DHCP_OPTION_MESSAGE, encodeDhcpText(options.text));
    if (!isNak) { for (const [code, bytes] of this.#wanted(message)) all.set(code, bytes); }
    const id = message.options.get(DHCP_OPTION_CLIENT_ID);
    if (id !== undefined) all.set(DHCP_OPTION_CLIENT_ID, id);
    const asked = dhcpNumber(message.options, DHCP_OPTION_MAX_LEN) ?? 0;
    return this.#fitted(
      {
        ...{ op: DHCP_BOOT_REPLY, hops: 0, xid: message.xid, secs: 0, broadcast: message.broadcast || isNak },
        ciaddr: dhcpType(message) === DHCP_DISCOVER || isNak ? IPV4_UNSPECIFIED : message.ciaddr,
        yiaddr: options.yiaddr,
        siaddr: IPV4_UNSPECIFIED,
        giaddr: IPV4_UNSPECIFIED,
        chaddr: message.chaddr,
        ...{ sname: "", file: "", options: all },
      },
      Math.min(this.config.mtu, Math.max(LEN_MIN, asked)) - UDP_IP_HEADERS,
    );
  }

  /** `message` in `max` bytes: of the search list the first names, then without what a client can do without. */
  #fitted(message: DhcpMessage, max: number): DhcpMessage {
    const options = new Map(message.options);
    const isTooLong = () => dhcpLen({ ...message, options }) > max;
    for (let count = this.#search.length - 1; count >= 0 && options.has(DHCP_OPTION_DOMAIN_SEARCH); count--) {
      if (!isTooLong()) break;
      if (count === 0) options.delete(DHCP_OPTION_DOMAIN_SEARCH);
      else options.set(DHCP_OPTION_DOMAIN_SEARCH, encodeDnsNames(this.#search.slice(0, count))!);
    }
    for (const code of DISPENSABLE) if (isTooLong()) options.delete(code);
    return { ...message, options };
  }

  /** The options that the client listed, in its order (but the mask before the routers); all if it listed none. */
  #wanted(message: DhcpMessage): [number, Uint8Array][] {
    const list = message.options.get(DHCP_OPTION_PARAMETERS);
    if (list === undefined) return [...this.#options];
    const wanted: [number, Uint8Array][] = [];
    const put = (code: number) => {
      const bytes = this.#options.get(code);
      if (bytes !== undefined) wanted.push([code, bytes]);
    };
    for (const code of list) {
      // RFC 2132 3.3. That it comes again in its own place does no harm: each is sent once, where it stands first.
      if (code === DHCP_OPTION_ROUTERS && list.includes(DHCP_OPTION_SUBNET_MASK)) put(DHCP_OPTION_SUBNET_MASK);
      put(code);
    }
    return wanted;
  }
}

/** What is left out first of a message that a client cannot take: names are of use, addresses are needed. */
const DISPENSABLE = [
  ...[DHCP_OPTION_DOMAIN, DHCP_OPTION_HOST_NAME, DHCP_OPTION_MESSAGE, DHCP_OPTION_CLIENT_ID],
];
