/**
 * Unsigned integers in a byte array, in network order and in little-endian order; and bytes as hex text.
 *
 * Path: kernel/wire → bytes.
 *
 * Nothing here checks a bound: the caller checks the length first. Bytes are read one by one and not through a DataView
 * because that would be a second object beside each buffer, and is no faster.
 *
 * @module
 */

/** Reads 16 bits, network order. */
export function get16(buf: Uint8Array, at: number): number {
  return (buf[at]! << 8) | buf[at + 1]!;
}

/** Writes the low 16 bits of `value`, network order. */
export function put16(buf: Uint8Array, at: number, value: number): void {
  buf[at] = value >>> 8;
  buf[at + 1] = value;
}

/** Reads 32 bits as an unsigned number, network order. */
export function get32(buf: Uint8Array, at: number): number {
  return getWord(buf, at) >>> 0;
}

/** Reads 32 bits as a signed number, network order: the form an `IpAddr` and a `MacAddr` keep. */
export function getWord(buf: Uint8Array, at: number): number {
  return (buf[at]! << 24) | (buf[at + 1]! << 16) | (buf[at + 2]! << 8) | buf[at + 3]!;
}

/** Writes the low 32 bits of `value` (signed or unsigned), network order. */
export function put32(buf: Uint8Array, at: number, value: number): void {
  buf[at] = value >>> 24;
  buf[at + 1] = value >>> 16;
  buf[at + 2] = value >>> 8;
  buf[at + 3] = value;
}

/** The two bytes of a 16-bit number in the other order. */
export function swap16(value: number): number {
  return ((value & 0xff) << 8) | (value >>> 8);
}

/** Reads 16 bits, little endian. */
export function get16le(buf: Uint8Array, at: number): number {
  return buf[at]! | (buf[at + 1]! << 8);
}

/** Writes the low 16 bits of `value`, little endian. */
export function put16le(buf: Uint8Array, at: number, value: number): void {
  buf[at] = value;
  buf[at + 1] = value >>> 8;
}

/** Reads 32 bits as an unsigned number, little endian. */
export function get32le(buf: Uint8Array, at: number): number {
  return (buf[at]! | (buf[at + 1]! << 8) | (buf[at + 2]! << 16) | (buf[at + 3]! << 24)) >>> 0;
}

/** Writes the low 32 bits of `value` (signed or unsigned), little endian. */
export function put32le(buf: Uint8Array, at: number, value: number): void {
  buf[at] = value;
  buf[at + 1] = value >>> 8;
  buf[at + 2] = value >>> 16;
  buf[at + 3] = value >>> 24;
}

/** Reads 64 bits, little endian; from 2^53 on the number is rounded, and never to less than 2^53. */
export function get64le(buf: Uint8Array, at: number): number {
  return get32le(buf, at + 4) * 0x100000000 + get32le(buf, at);
}

/** Writes 64 bits, little endian, of a whole number below 2^53. */
export function put64le(buf: Uint8Array, at: number, value: number): void {
  put32le(buf, at, value);
  put32le(buf, at + 4, Math.floor(value / 0x100000000));
}

/** Whether `bytes` stand in `buf` at `at`. */
export function hasBytesAt(buf: Uint8Array, at: number, bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) {
    if (buf[at + i] !== bytes[i]) return false;
  }
  return true;
}

/** The bytes of all parts, one after the other, in an array of their own. */
export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** The bytes of `buf` from `at` to `end`, two hex digits each, parted by `separator`. */
export function toHex(buf: Uint8Array, at = 0, end = buf.length, separator = ""): string {
  let text = "";
  for (let i = at; i < end; i++) {
    if (i > at) text += separator;
    text += buf[i]!.toString(16).padStart(2, "0");
  }
  return text;
}

/**
 * The bytes that `text` spells in hex. White space and `:` may part them, and `#` starts a comment that ends with the
 * line, so that a packet can be written down with its fields named. Null if what remains is not whole bytes.
 */
export function fromHex(text: string): Uint8Array | null {
  const digits = text.replace(/#.*$/gm, "").replace(/[\s:]+/g, "");
  if (digits.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(digits)) return null;
  const bytes = new Uint8Array(digits.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = parseInt(digits.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}
