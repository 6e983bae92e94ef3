/**
 * Domain names: labels with compression pointers (RFC 1035 3.1, 4.1.4) and their text (RFC 1035 5.1, RFC 4343 2.1).
 *
 * Path: dns → dns_name.
 *
 * As text a name has no dot at its end, and the root is `.`; a dot or a backslash inside a label is escaped by a
 * backslash, and any byte that is not printable ASCII is `\DDD` in decimal. Reading text, a dot at the end is allowed.
 *
 * Limits: 63 bytes a label, 255 and 127 pointers a name. A pointer must lead to before the labels it stands behind, so
 * that every name ends.
 *
 * @module
 */

/** Longest label, in bytes. */
export const DNS_LABEL_MAX = 63;
/** Longest name, in bytes with all its lengths. */
export const DNS_NAME_MAX = 255;

/** Longest text that can be a name: every byte escaped. */
const TEXT_MAX = 4 * DNS_NAME_MAX;
/** A name of 127 labels can need as many pointers; without a limit, one name could follow thousands. */
const POINTERS_MAX = 127;

const POINTER = 0xc0;
/** Furthest place that a pointer can lead to. */
const POINTER_OFFSET_MAX = 0x3fff;
const DOT = 0x2e;
const BACKSLASH = 0x5c;

/** A name and where the bytes behind it start. */
export interface DnsNameAt {
  /** The name, with dots. */
  readonly name: string;
  /** Offset behind it. */
  readonly next: number;
}

/**
 * Reads the name at `at` of the message that starts at `start` and ends at `end`; null if it is malformed, too long, or
 * if a pointer does not lead backwards.
 */
export function parseDnsName(buf: Uint8Array, at: number, end: number, start: number): DnsNameAt | null {
  const labels: string[] = [];
  let length = 1;
  let next = -1;
  let pointers = 0;
  // Every pointer must lead to before the labels read since the last one: they cannot go round in a circle.
  let before = at;
  let i = at;
  while (i < end && buf[i] !== 0) {
    const size = buf[i]!;
    if (size >= POINTER) {
      if (i + 1 >= end) return null;
      if (next < 0) next = i + 2;
      i = start + ((size & 0x3f) << 8 | buf[i + 1]!);
      if (i >= before || ++pointers > POINTERS_MAX) return null;
      before = i;
      continue;
    }
    length += 1 + size;
    if (size > DNS_LABEL_MAX || size >= end - i || length > DNS_NAME_MAX) return null;
    labels.push(formatLabel(buf, i + 1, i + 1 + size));
    i += 1 + size;
  }
  if (i >= end) return null;
  return { name: labels.length === 0 ? "." : labels.join("."), next: next < 0 ? i + 1 : next };
}

/** The bytes of a name, without compression; null if `name` is not one. */
export function encodeDnsName(name: string): Uint8Array | null {
  const labels = name === "." ? [] : splitLabels(name);
  if (labels === null) return null;
  const bytes = new Uint8Array(labels.reduce((length, label) => length + 1 + label.length, 1));
  if (bytes.length > DNS_NAME_MAX) return null;
  let at = 0;
  for (const label of labels) {
    if (label.length === 0 || label.length > DNS_LABEL_MAX) return null;
    bytes[at] = label.length;
    bytes.set(label, at + 1);
    at += 1 + label.length;
  }
  return bytes;
}

/** Whether two names are one, upper and lower case ASCII letters being the same (RFC 4343). */
export function sameDnsName(a: string, b: string): boolean {
  return a.length === b.length && a.toLowerCase() === b.toLowerCase();
}

/** The bytes of each label; null if an escape is malformed or a letter is not ASCII. A dot at the end adds none. */
function splitLabels(name: string): number[][] | null {
  if (name.length > TEXT_MAX) return null;
  let label: number[] = [];
  const labels = [label];
  let read = 0;
  for (const [unit, decimal, escaped, plain] of name.matchAll(/\\(\d{3})|\\(\D)|([^\\])/g)) {
    read += unit.length;
    if (plain === ".") {
      labels.push(label = []);
      continue;
    }
    const byte = decimal === undefined ? (escaped ?? plain)!.charCodeAt(0) : Number(decimal);
    if (byte > (decimal === undefined ? 0x7f : 0xff)) return null;
    label.push(byte);
  }
  if (labels.length > 1 && label.length === 0) labels.pop();
  // The pattern skipped a backslash that escapes nothing.
  return read === name.length ? labels : null;
}

function formatLabel(buf: Uint8Array, at: number, end: number): string {
  let text = "";
  for (let i = at; i < end; i++) {
    const byte = buf[i]!;
    if (byte === DOT || byte === BACKSLASH) text += "\\";
    const isPrintable = byte > 0x20 && byte < 0x7f;
    text += isPrintable ? String.fromCharCode(byte) : `\\${String(byte).padStart(3, "0")}`;
  }
  return text;
}

/**
 * The bytes of a list of names; the tail of a name that occurs earlier is a pointer, counted from the start of the list
 * (RFC 1035 4.1.4, RFC 3397 2). Null if one of them is no name.
 */
export function encodeDnsNames(names: readonly string[]): Uint8Array | null {
  const bytes: number[] = [];
  const known = new Map<string, number>();
  for (const name of names) {
    const encoded = encodeDnsName(name);
    if (encoded === null) return null;
    let at = 0;
    for (; encoded[at] !== 0; at += 1 + encoded[at]!) {
      const tail = String.fromCharCode(...encoded.subarray(at)).toLowerCase();
      const earlier = known.get(tail);
      if (earlier !== undefined) {
        bytes.push(POINTER | earlier >> 8, earlier & 0xff);
        break;
      }
      if (bytes.length <= POINTER_OFFSET_MAX) known.set(tail, bytes.length);
      bytes.push(...encoded.subarray(at, at + 1 + encoded[at]!));
    }
    if (encoded[at] === 0) bytes.push(0);
  }
  return Uint8Array.from(bytes);
}
