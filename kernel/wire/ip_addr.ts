/**
 * An IP address: 128 bits, whatever its version; IPv4 is carried as an IPv4-mapped address (RFC 4291 2.5.5.2).
 *
 * Path: everywhere → ip_addr.
 *
 * The bits are four signed 32-bit words in network order, so that comparing and hashing an address allocates nothing.
 * Printed as people write them: dotted quad for IPv4, RFC 5952 for IPv6.
 *
 * @module
 */

/** Length of an address in bytes. */
export const IP_ADDR_LEN = 16;

/** Second word of the IPv4-mapped prefix `::ffff:0:0/96`. */
const MAPPED = 0xffff;

/** An immutable 128-bit IP address. */
export class IpAddr {
  /** Four signed 32-bit words, most significant first. */
  constructor(readonly w0: number, readonly w1: number, readonly w2: number, readonly w3: number) {}

  /** An IPv4 address from its 32-bit value (signed or unsigned). */
  static v4(value: number): IpAddr {
    return new IpAddr(0, 0, MAPPED, value | 0);
  }

  /** The IPv4 address in 4 bytes of `buf` at `at`, network order. */
  static v4At(buf: Uint8Array, at: number): IpAddr {
    return new IpAddr(0, 0, MAPPED, word(buf, at));
  }

  /** The address in 16 bytes of `buf` at `at`, network order. */
  static at(buf: Uint8Array, at: number): IpAddr {
    return new IpAddr(word(buf, at), word(buf, at + 4), word(buf, at + 8), word(buf, at + 12));
  }

  /** Whether this is an IPv4 address (IPv4-mapped). */
  get isV4(): boolean {
    return this.w2 === MAPPED && this.w0 === 0 && this.w1 === 0;
  }

  /** Whether this is the unspecified address: `::` or `0.0.0.0`. */
  get isUnspecified(): boolean {
    return this.w3 === 0 && this.w0 === 0 && this.w1 === 0 && (this.w2 === 0 || this.w2 === MAPPED);
  }

  /** 224.0.0.0/4 or ff00::/8. */
  get isMulticast(): boolean {
    return this.isV4 ? (this.w3 >>> 28) === 0xe : (this.w0 >>> 24) === 0xff;
  }

  /** 127.0.0.0/8 or ::1. */
  get isLoopback(): boolean {
    if (this.isV4) return (this.w3 >>> 24) === 127;
    return this.w3 === 1 && this.w0 === 0 && this.w1 === 0 && this.w2 === 0;
  }

  /** 169.254.0.0/16 or fe80::/10. */
  get isLinkLocal(): boolean {
    return this.isV4 ? (this.w3 >>> 16) === 0xa9fe : (this.w0 >>> 22) === 0x3fa;
  }

  /** 255.255.255.255. */
  get isLimitedBroadcast(): boolean {
    return this.w3 === -1 && this.isV4;
  }

  /** Whether the two are the same address. */
  equals(other: IpAddr): boolean {
    return this.w3 === other.w3 && this.w2 === other.w2 && this.w1 === other.w1 && this.w0 === other.w0;
  }

  /** A signed 32-bit hash; addresses of one network spread well. */
  hash(): number {
    let h = this.w3 ^ Math.imul(this.w2, 0x85ebca6b) ^ Math.imul(this.w1, 0xc2b2ae35) ^ Math.imul(this.w0, 0x27d4eb2f);
    h = Math.imul(h ^ (h >>> 16), 0x45d9f3b);
    return h ^ (h >>> 15);
  }

  /** The bits that are set in both: `address.and(mask)` is the network. */
  and(mask: IpAddr): IpAddr {
    return new IpAddr(this.w0 & mask.w0, this.w1 & mask.w1, this.w2 & mask.w2, this.w3 & mask.w3);
  }

  /** The bits that are set in either. */
  or(other: IpAddr): IpAddr {
    return new IpAddr(this.w0 | other.w0, this.w1 | other.w1, this.w2 | other.w2, this.w3 | other.w3);
  }

  /** Every bit inverted: `network.or(mask.not())` is the network's last address. */
  not(): IpAddr {
    return new IpAddr(~this.w0, ~this.w1, ~this.w2, ~this.w3);
  }

  /** Whether `this` and `other` agree in every bit of `mask`. */
  sameNet(other: IpAddr, mask: IpAddr): boolean {
    return ((this.w3 ^ other.w3) & mask.w3) === 0 && ((this.w2 ^ other.w2) & mask.w2) === 0 &&
      ((this.w1 ^ other.w1) & mask.w1) === 0 && ((this.w0 ^ other.w0) & mask.w0) === 0;
  }

  /** Orders addresses as unsigned 128-bit numbers: negative, zero or positive. */
  compare(other: IpAddr): number {
    return (this.w0 >>> 0) - (other.w0 >>> 0) || (this.w1 >>> 0) - (other.w1 >>> 0) ||
      (this.w2 >>> 0) - (other.w2 >>> 0) || (this.w3 >>> 0) - (other.w3 >>> 0);
  }

  /** Writes 16 bytes, network order. */
  put(buf: Uint8Array, at: number): void {
    putWord(buf, at, this.w0);
    putWord(buf, at + 4, this.w1);
    putWord(buf, at + 8, this.w2);
    putWord(buf, at + 12, this.w3);
  }

  /** Writes the last 4 bytes, network order: the IPv4 form. */
  putV4(buf: Uint8Array, at: number): void {
    putWord(buf, at, this.w3);
  }

  /** Dotted quad, or the canonical text of RFC 5952. */
  toString(): string {
    return this.isV4 ? formatV4(this.w3) : formatV6(this);
  }
}

/** `::`, the unspecified address of every version. */
export const IP_UNSPECIFIED = new IpAddr(0, 0, 0, 0);
/** `0.0.0.0`. */
export const IPV4_UNSPECIFIED: IpAddr = IpAddr.v4(0);
/** `255.255.255.255`. */
export const IPV4_BROADCAST: IpAddr = IpAddr.v4(-1);
/** `127.0.0.1`. */
export const IPV4_LOOPBACK: IpAddr = IpAddr.v4(0x7f000001);
/** `::1`. */
export const IPV6_LOOPBACK = new IpAddr(0, 0, 0, 1);

/**
 * The address that `text` spells: dotted quad or RFC 4291 IPv6 (with `::` and a trailing dotted quad), or null.
 * Leading zeros in a dotted quad are refused: some systems read them as octal.
 */
export function parseIpAddr(text: string): IpAddr | null {
  if (!text.includes(":")) {
    const value = parseQuad(text);
    return value === null ? null : IpAddr.v4(value);
  }
  return parseV6(text);
}

/**
 * The mask that `text` spells: `/24` (a length in the version of the address it belongs to), or a dotted quad, or an
 * IPv6 address whose bits are contiguous. Null if it is none of these.
 */
export function parseIpMask(text: string, isV4: boolean): IpAddr | null {
  if (text.startsWith("/")) {
    if (!/^\/\d{1,3}$/.test(text)) return null;
    const length = Number(text.slice(1));
    return length > (isV4 ? 32 : 128) ? null : prefixMask(isV4 ? length + 96 : length);
  }
  const parsed = parseIpAddr(text);
  if (parsed === null || parsed.isV4 !== isV4) return null;
  const mask = isV4 ? new IpAddr(-1, -1, -1, parsed.w3) : parsed;
  return prefixLength(mask) === null ? null : mask;
}

/** The mask of `length` leading ones out of 128 (an IPv4 /24 has 120). */
export function prefixMask(length: number): IpAddr {
  const part = (n: number) => n <= 0 ? 0 : n >= 32 ? -1 : -1 << (32 - n);
  return new IpAddr(part(length), part(length - 32), part(length - 64), part(length - 96));
}

/** How many leading ones `mask` has out of 128, or null if its ones are not contiguous. */
export function prefixLength(mask: IpAddr): number | null {
  let length = 0;
  for (const w of [mask.w0, mask.w1, mask.w2, mask.w3]) {
    if (length % 32 !== 0 && w !== 0) return null;
    const ones = Math.clz32(~w);
    if (ones < 32 && (w << ones) !== 0) return null;
    length += ones;
  }
  return prefixMask(length).equals(mask) ? length : null;
}

/** A mask as people write it: `/24` of an IPv4 network, `/64` of an IPv6 one. */
export function formatMask(mask: IpAddr, isV4: boolean): string {
  const length = prefixLength(mask);
  if (length === null) return mask.toString();
  return `/${isV4 ? Math.max(0, length - 96) : length}`;
}

function word(buf: Uint8Array, at: number): number {
  return (buf[at]! << 24) | (buf[at + 1]! << 16) | (buf[at + 2]! << 8) | buf[at + 3]!;
}

function putWord(buf: Uint8Array, at: number, w: number): void {
  buf[at] = w >>> 24;
  buf[at + 1] = w >>> 16;
  buf[at + 2] = w >>> 8;
  buf[at + 3] = w;
}

function parseQuad(text: string): number | null {
  const parts = text.split(".");
  if (parts.length !== 4) return null;
  let value = 0;
  for (const part of parts) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return null;
    value = (value << 8) | Number(part);
  }
  return value;
}

function parseV6(text: string): IpAddr | null {
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const head = parseGroups(halves[0]!, halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1]!, true) : [];
  if (head === null || tail === null) return null;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return null;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail];
  const pair = (i: number) => (groups[i]! << 16) | groups[i + 1]!;
  return new IpAddr(pair(0), pair(2), pair(4), pair(6));
}

/** 16-bit groups of one side of `::`; a dotted quad may end the text and counts as two. */
function parseGroups(text: string, mayEndInQuad: boolean): number[] | null {
  if (text === "") return [];
  const groups: number[] = [];
  const parts = text.split(":");
  for (const [i, part] of parts.entries()) {
    if (part.includes(".")) {
      const value = mayEndInQuad && i === parts.length - 1 ? parseQuad(part) : null;
      if (value === null) return null;
      groups.push(value >>> 16, value & 0xffff);
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return null;
      groups.push(parseInt(part, 16));
    }
  }
  return groups.length > 8 ? null : groups;
}

function formatV4(w: number): string {
  return `${w >>> 24}.${(w >>> 16) & 255}.${(w >>> 8) & 255}.${w & 255}`;
}

function formatV6(a: IpAddr): string {
  const groups = [a.w0, a.w1, a.w2, a.w3].flatMap((w) => [w >>> 16, w & 0xffff]);
  const { start, length } = longestZeroRun(groups);
  const hex = (part: number[]) => part.map((g) => g.toString(16)).join(":");
  // RFC 5952 4.2.2: a single zero group is not shortened.
  if (length < 2) return hex(groups);
  return `${hex(groups.slice(0, start))}::${hex(groups.slice(start + length))}`;
}

function longestZeroRun(groups: number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let i = 0; i < groups.length; i++) {
    let end = i;
    while (end < groups.length && groups[end] === 0) end++;
    if (end - i > best.length) best = { start: i, length: end - i };
    if (end > i) i = end;
  }
  return best;
}
