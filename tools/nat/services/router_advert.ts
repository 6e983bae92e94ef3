/**
 * Router advertisements for the guests' link (RFC 4861 6.2, RFC 4862, RFC 8106): what they say, and when.
 *
 * Path: link6, nat → router_advert → wire/nd, random, dns_name, wire/icmp6.
 *
 * @module
 */

import type { Random } from "../../../kernel/random.ts";
import { concatBytes, put16, put32 } from "../../../kernel/wire/bytes.ts";
import { encodeDnsName } from "../../../kernel/wire/dns_name.ts";
import { ICMP6_ROUTER_ADVERT } from "../../../kernel/wire/icmp6.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { IPV6_HEADER_LEN } from "../../../kernel/wire/ipv6.ts";
import type { MacAddr } from "../../../kernel/wire/mac_addr.ts";
import { emitNd, ndLen, type RouterAdvert } from "../../../kernel/wire/nd.ts";

/** How long the router, and the name servers, may be used (RFC 4861 6.2.1, RFC 8106 5.1: three times the interval). */
export const LIFETIME_S = 1800;
/** RFC 4861 6.2.1 has 30 and 7 days, and hosts keep what they have; a NAT's guests need no more than these. */
const VALID_S = 86_400;
const PREFERRED_S = 14_400;
const HOP_LIMIT = 64;
/** RFC 4861 6.2.1: between two unsolicited advertisements. */
const INTERVAL_MIN_MS = 200_000;
const INTERVAL_MAX_MS = 600_000;
/** RFC 4861 10: the first of them come sooner. */
const INITIAL_COUNT = 3;
const INITIAL_INTERVAL_MS = 16_000;
const OPTION_DNSSL = 31;
/** Length of an option in units of 8 bytes: one byte. */
const UNITS_MAX = 255;

/** What the link is. */
interface AdvertConfig {
  readonly mac: MacAddr;
  readonly mtu: number;
  /** A /64. */
  readonly prefix: IpAddr;
  readonly nameServers: readonly IpAddr[];
  readonly search: readonly string[];
}

/** The message, without its checksum. Names that cannot be written are left out. */
export function routerAdvert({ mac, mtu, prefix, nameServers, search }: AdvertConfig): Uint8Array {
  const advert: RouterAdvert = {
    type: ICMP6_ROUTER_ADVERT,
    hopLimit: HOP_LIMIT,
    ...{ managed: false, otherConfig: nameServers.length > 0 || search.length > 0, lifetimeS: LIFETIME_S },
    ...{ reachableMs: 0, retransMs: 0, sourceMac: mac, mtu },
    prefixes: [{ prefix, length: 64, onLink: true, autonomous: true, validS: VALID_S, preferredS: PREFERRED_S }],
    dnsServers: nameServers,
    dnsLifetimeS: LIFETIME_S,
  };
  const bytes = new Uint8Array(ndLen(advert));
  emitNd(advert, bytes, 0);
  return concatBytes([bytes, searchOption(search, mtu - IPV6_HEADER_LEN - bytes.length)]);
}

/**
 * The domains to search (RFC 8106 5.2), uncompressed, padded to units of 8 bytes: the first of them, as many as fit
 * `room` bytes and one option, as an advertisement must not be cut (RFC 6980).
 */
function searchOption(search: readonly string[], room: number): Uint8Array {
  const unitsMax = Math.min(UNITS_MAX, Math.floor(room / 8));
  const fitting: Uint8Array[] = [];
  let length = 0;
  for (const name of search.map(encodeDnsName)) {
    if (name === null) continue;
    if (1 + Math.ceil((length + name.length) / 8) > unitsMax) break;
    fitting.push(name);
    length += name.length;
  }
  const names = concatBytes(fitting);
  const units = 1 + Math.ceil(names.length / 8);
  if (names.length === 0) return new Uint8Array(0);
  const option = new Uint8Array(units * 8);
  put16(option, 0, OPTION_DNSSL << 8 | units);
  put32(option, 4, LIFETIME_S);
  option.set(names, 8);
  return option;
}

/** When the next unsolicited advertisement is due. */
export class AdvertTimer {
  /** In milliseconds; at once at first. */
  next = 0;
  #count = 0;
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Whether one is due at `now`; if so, the next is set. */
  take(now: number): boolean {
    if (now < this.next) return false;
    this.#count++;
    this.next = now +
      (this.#count < INITIAL_COUNT
        ? INITIAL_INTERVAL_MS
        : INTERVAL_MIN_MS + this.#random.below(INTERVAL_MAX_MS - INTERVAL_MIN_MS));
    return true;
  }
}
