/**
 * Stateless DHCPv6 (RFC 8415 18.3.4: information requests): name servers and domains to search, for guests that do not
 * take them from router advertisements. Addresses it has none: guests make their own.
 *
 *     | type 1 | transaction 3 | options: code 2, length 2, … |
 *
 * Path: link6 → dhcp6 → dns_name, wire/bytes, ip_addr, mac_addr.
 *
 * @module
 */

import { concatBytes, get16, put16 } from "../../../kernel/wire/bytes.ts";
import { encodeDnsName } from "../../../kernel/wire/dns_name.ts";
import { IP_ADDR_LEN, type IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { MAC_ADDR_LEN, type MacAddr } from "../../../kernel/wire/mac_addr.ts";

export const DHCP6_CLIENT_PORT = 546;
export const DHCP6_SERVER_PORT = 547;
const DHCP6_REPLY = 7;
export const DHCP6_INFORMATION_REQUEST = 11;
const DHCP6_OPTION_CLIENT_ID = 1;
const DHCP6_OPTION_SERVER_ID = 2;
const DHCP6_OPTION_IA_NA = 3;
const DHCP6_OPTION_REQUEST = 6;
export const DHCP6_OPTION_DNS_SERVERS = 23;
export const DHCP6_OPTION_DOMAIN_LIST = 24;

const HEADER_LEN = 4;
const OPTION_HEADER_LEN = 4;
/** RFC 8415 21.4, 21.5: who wants addresses asks otherwise; such a request is dropped (16.12). */
const ADDRESS_OPTIONS = [DHCP6_OPTION_IA_NA, 4, 25];
/** RFC 8415 11.4: a DUID made of a link-layer address, of Ethernet. */
const DUID_LL = 3;
const HARDWARE_ETHERNET = 1;
const OPTIONS_MAX = 64;
/** Most bytes of domains: with all else the reply fits an MTU of 1280. */
const DOMAINS_LEN_MAX = 1024;

/** What it tells. */
interface Dhcp6Config {
  readonly mac: MacAddr;
  readonly nameServers: readonly IpAddr[];
  readonly search: readonly string[];
}

/** The options of the message from `at` to `end`, the first of each code; null if it is malformed. */
function dhcp6Options(buf: Uint8Array, at: number, end: number): Map<number, Uint8Array> | null {
  if (end - at < HEADER_LEN) return null;
  const options = new Map<number, Uint8Array>();
  for (let i = at + HEADER_LEN; i < end;) {
    if (end - i < OPTION_HEADER_LEN || options.size >= OPTIONS_MAX) return null;
    const code = get16(buf, i);
    const length = get16(buf, i + 2);
    i += OPTION_HEADER_LEN;
    if (length > end - i) return null;
    if (!options.has(code)) options.set(code, buf.slice(i, i + length));
    i += length;
  }
  return options;
}

/** The reply to the message from `at` to `end`; null: it needs none, or none from us. */
export function answerDhcp6(config: Dhcp6Config, buf: Uint8Array, at: number, end: number): Uint8Array | null {
  const asked = dhcp6Options(buf, at, end);
  if (asked === null || buf[at] !== DHCP6_INFORMATION_REQUEST) return null;
  const own = serverId(config.mac);
  const meant = asked.get(DHCP6_OPTION_SERVER_ID);
  if (meant !== undefined && (meant.length !== own.length || meant.some((byte, i) => byte !== own[i]))) return null;
  if (ADDRESS_OPTIONS.some((code) => asked.has(code))) return null;
  const parts: Uint8Array[] = [new Uint8Array([DHCP6_REPLY, ...buf.subarray(at + 1, at + HEADER_LEN)])];
  const client = asked.get(DHCP6_OPTION_CLIENT_ID);
  if (client !== undefined) parts.push(option(DHCP6_OPTION_CLIENT_ID, client));
  parts.push(option(DHCP6_OPTION_SERVER_ID, own));
  const { nameServers, search } = config;
  if (nameServers.length > 0 && wants(asked, DHCP6_OPTION_DNS_SERVERS)) {
    const addrs = new Uint8Array(nameServers.length * IP_ADDR_LEN);
    nameServers.forEach((addr, i) => addr.put(addrs, i * IP_ADDR_LEN));
    parts.push(option(DHCP6_OPTION_DNS_SERVERS, addrs));
  }
  const names = domainList(search);
  if (names.length > 0 && wants(asked, DHCP6_OPTION_DOMAIN_LIST)) parts.push(option(DHCP6_OPTION_DOMAIN_LIST, names));
  return concatBytes(parts);
}

/** The domains, never compressed (RFC 8415 10): the first of them, if they are too many. */
function domainList(search: readonly string[]): Uint8Array {
  const list: Uint8Array[] = [];
  let length = 0;
  for (const name of search.map(encodeDnsName)) {
    if (name === null) continue;
    length += name.length;
    if (length > DOMAINS_LEN_MAX) break;
    list.push(name);
  }
  return concatBytes(list);
}

/** Whether the client listed the option, or listed nothing. */
function wants(asked: ReadonlyMap<number, Uint8Array>, code: number): boolean {
  const list = asked.get(DHCP6_OPTION_REQUEST);
  if (list === undefined) return true;
  for (let i = 0; i + 1 < list.length; i += 2) if (get16(list, i) === code) return true;
  return false;
}

function serverId(mac: MacAddr): Uint8Array {
  const id = new Uint8Array(4 + MAC_ADDR_LEN);
  put16(id, 0, DUID_LL);
  put16(id, 2, HARDWARE_ETHERNET);
  mac.put(id, 4);
  return id;
}

function option(code: number, bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array(OPTION_HEADER_LEN + bytes.length);
  put16(whole, 0, code);
  put16(whole, 2, bytes.length);
  whole.set(bytes, OPTION_HEADER_LEN);
  return whole;
}
