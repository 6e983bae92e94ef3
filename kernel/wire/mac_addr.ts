/**
 * IEEE 802 MAC addresses (EUI-48), and the ones that IP multicast groups map to (RFC 1112 6.4, RFC 2464 7).
 *
 * Path: ethernet, arp, nd, dhcp → mac_addr.
 *
 * An address is two numbers, so that comparing or looking up an address allocates nothing.
 *
 * @module
 */

import { get16, getWord, put16, put32 } from "./bytes.ts";
import type { IpAddr } from "./ip_addr.ts";

/** Length of an address in bytes. */
export const MAC_ADDR_LEN = 6;

/** An immutable 48-bit address. */
export class MacAddr {
  /** `hi` is the first 16 bits, unsigned; `lo` the last 32, signed. */
  constructor(readonly hi: number, readonly lo: number) {}

  /** The address in 6 bytes of `buf` at `at`. */
  static at(buf: Uint8Array, at: number): MacAddr {
    return new MacAddr(get16(buf, at), getWord(buf, at + 2));
  }

  /** A number below 2^48 that is the address: a key for tables. */
  get key(): number {
    return this.hi * 0x100000000 + (this.lo >>> 0);
  }

  /** ff:ff:ff:ff:ff:ff. */
  get isBroadcast(): boolean {
    return this.lo === -1 && this.hi === 0xffff;
  }

  /** Whether it names a group (multicast or broadcast), which no frame may come from. */
  get isGroup(): boolean {
    return (this.hi & 0x0100) !== 0;
  }

  /** Whether it is 00:00:00:00:00:00, the unset address. */
  get isZero(): boolean {
    return this.lo === 0 && this.hi === 0;
  }

  /** Whether the two are the same address. */
  equals(other: MacAddr): boolean {
    return this.lo === other.lo && this.hi === other.hi;
  }

  /** Writes 6 bytes. */
  put(buf: Uint8Array, at: number): void {
    put16(buf, at, this.hi);
    put32(buf, at + 2, this.lo);
  }

  /** Twelve hex digits, the form of Plan 9's files. */
  toHex(): string {
    return this.key.toString(16).padStart(12, "0");
  }

  /** Six pairs of hex digits separated by colons. */
  toString(): string {
    return this.toHex().replace(/..(?=.)/g, "$&:");
  }
}

/** 00:00:00:00:00:00: in ARP, "not known yet". */
export const MAC_ZERO = new MacAddr(0, 0);
/** ff:ff:ff:ff:ff:ff. */
export const MAC_BROADCAST = new MacAddr(0xffff, -1);

/** The address that `text` spells, as six pairs of hex digits separated by colons or as twelve digits; or null. */
export function parseMacAddr(text: string): MacAddr | null {
  if (!/^([0-9a-f]{12}|[0-9a-f]{2}(:[0-9a-f]{2}){5})$/i.test(text)) return null;
  const digits = text.replaceAll(":", "");
  return new MacAddr(parseInt(digits.slice(0, 4), 16), parseInt(digits.slice(4), 16) | 0);
}

/** Where frames to an IPv4 multicast group go: 01:00:5e and the low 23 bits (RFC 1112 6.4). */
export function multicastMacV4(group: IpAddr): MacAddr {
  return new MacAddr(0x0100, 0x5e000000 | (group.w3 & 0x7fffff));
}

/** Where frames to an IPv6 multicast group go: 33:33 and the low 32 bits (RFC 2464 7). */
export function multicastMacV6(group: IpAddr): MacAddr {
  return new MacAddr(0x3333, group.w3);
}
