/**
 * Packet captures in the pcapng format (draft-ietf-opsawg-pcapng), as Wireshark reads and writes them.
 *
 * Path: scenario/capture → pcapng → bytes.
 *
 *     section header | interface description … | enhanced packet … |     any number of sections
 *     block: | type 4 | length 4 | body, padded to 4 | length 4 |
 *     option: | code 2 | length 2 | value, padded to 4 |                 code 0 ends the list
 *
 * Written: little endian, timestamps in nanoseconds, one block a call; concatenated they are a file.
 *
 * Limits: big-endian sections are not read. Blocks of other types are skipped, simple packets are read with time 0.
 * Reading stops at the first block that is malformed, and reports where: a truncated capture is still useful.
 *
 * @module
 */

import { concatBytes, get16le, get32le, put16le, put32le } from "./bytes.ts";

const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE = 1;
const SIMPLE_PACKET = 3;
const ENHANCED_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;

/** Type and length before the body, the length again behind it. */
const BODY = 8;
const FRAME_LEN = 12;
const SECTION_FIXED_LEN = 16;
const INTERFACE_FIXED_LEN = 8;
const SIMPLE_FIXED_LEN = 4;
const ENHANCED_FIXED_LEN = 20;

const OPTION_END = 0;
const OPTION_COMMENT = 1;
const SECTION_APPLICATION = 4;
const INTERFACE_NAME = 2;
const INTERFACE_DESCRIPTION = 3;
const INTERFACE_RESOLUTION = 9;
const INTERFACE_TIME_OFFSET = 14;
const PACKET_FLAGS = 2;

/** 10^-9 s. Readers take 10^-6 when the option is missing. */
const RESOLUTION_NS = 9;
const RESOLUTION_DEFAULT = 6;

/** Packets begin with an Ethernet header. */
export const LINKTYPE_ETHERNET = 1;
/** Packets begin with an IPv4 or IPv6 header. */
export const LINKTYPE_RAW = 101;

/** Direction of a packet, as seen by its interface; the numbers are those of epb_flags. */
export const PCAPNG_UNKNOWN = 0;
/** The interface received it. */
export const PCAPNG_INBOUND = 1;
/** The interface sent it. */
export const PCAPNG_OUTBOUND = 2;

/** An interface on which packets were captured. */
export interface PcapngInterface {
  /** Its name. */
  readonly name: string;
  /** A text for people. */
  readonly description?: string;
  /** LINKTYPE_ETHERNET or LINKTYPE_RAW; others are possible. */
  readonly linkType: number;
  /** Most bytes kept of a packet; 0: all of them. */
  readonly snapLen?: number;
}

/** A packet to write. */
export interface PcapngPacketFields {
  /** The index of its interface in this section. */
  readonly interfaceId: number;
  /** Nanoseconds since 1970. */
  readonly timestampNs: bigint;
  /** The bytes that were kept. */
  readonly data: Uint8Array;
  /** Its length on the wire, if more than was kept. */
  readonly originalLen?: number;
  /** PCAPNG_INBOUND, PCAPNG_OUTBOUND; unknown if left out. */
  readonly direction?: number;
  /** A text for people. */
  readonly comment?: string;
}

/** A packet that was read. */
export interface PcapngPacket extends Required<PcapngPacketFields> {
  /** Where it was captured. */
  readonly interface: Required<PcapngInterface>;
}

/** The contents of a file. */
export interface PcapngFile {
  /** Of all sections. */
  readonly interfaces: readonly Required<PcapngInterface>[];
  /** Of all sections, in the order of the file. */
  readonly packets: readonly PcapngPacket[];
  /** Where reading stopped: the length of the file if all of it is well-formed. */
  readonly end: number;
}

/** The block that begins a section. */
export function emitPcapngSection(application = ""): Uint8Array {
  const fixed = new Uint8Array(SECTION_FIXED_LEN);
  put32le(fixed, 0, BYTE_ORDER_MAGIC);
  put16le(fixed, 4, 1); // version 1.0
  fixed.fill(0xff, 8, 16); // section length: not said
  return block(SECTION_HEADER, fixed, [text(SECTION_APPLICATION, application)]);
}

/** The block that describes an interface; its packets' times are in nanoseconds. */
export function emitPcapngInterface(described: PcapngInterface): Uint8Array {
  const fixed = new Uint8Array(INTERFACE_FIXED_LEN);
  put16le(fixed, 0, described.linkType);
  put32le(fixed, 4, described.snapLen ?? 0);
  return block(INTERFACE, fixed, [
    text(INTERFACE_NAME, described.name),
    text(INTERFACE_DESCRIPTION, described.description ?? ""),
    option(INTERFACE_RESOLUTION, Uint8Array.of(RESOLUTION_NS)),
  ]);
}

/** The block of one packet. */
export function emitPcapngPacket(packet: PcapngPacketFields): Uint8Array {
  const { data } = packet;
  const fixed = new Uint8Array(ENHANCED_FIXED_LEN + padded(data.length));
  put32le(fixed, 0, packet.interfaceId);
  put32le(fixed, 4, Number(packet.timestampNs >> 32n));
  put32le(fixed, 8, Number(packet.timestampNs & 0xffffffffn));
  put32le(fixed, 12, data.length);
  put32le(fixed, 16, packet.originalLen ?? data.length);
  fixed.set(data, ENHANCED_FIXED_LEN);
  const flags = Uint8Array.of(packet.direction ?? PCAPNG_UNKNOWN, 0, 0, 0);
  return block(ENHANCED_PACKET, fixed, [
    text(OPTION_COMMENT, packet.comment ?? ""),
    flags[0] === PCAPNG_UNKNOWN ? NOTHING : option(PACKET_FLAGS, flags),
  ]);
}

/**
 * The timestamp of a time in milliseconds since 1970, as a clock's `wall` gives it; parts of a nanosecond are
 * rounded.
 */
export function pcapngTimestamp(wallMs: number): bigint {
  const wholeMs = Math.floor(wallMs);
  return BigInt(wholeMs) * 1_000_000n + BigInt(Math.round((wallMs - wholeMs) * 1_000_000));
}

/**
 * Reads a file up to the first malformed block, data as views of it; null if it does not begin with a little-endian
 * section.
 */
export function parsePcapng(buf: Uint8Array): PcapngFile | null {
  if (buf.length < BODY + 4 || get32le(buf, 0) !== SECTION_HEADER) return null;
  if (get32le(buf, BODY) !== BYTE_ORDER_MAGIC) return null;
  const reader = new Reader(buf);
  let at = 0;
  for (let length = blockLen(buf, at); length > 0; length = blockLen(buf, at)) {
    if (!reader.readBlock(get32le(buf, at), at + BODY, at + length - 4)) break;
    at += length;
  }
  return { interfaces: reader.interfaces, packets: reader.packets, end: at };
}

/** One line of text: `eth0 in 1.000000001 len 60`, and the comment. */
export function formatPcapngPacket(packet: PcapngPacket): string {
  const seconds = packet.timestampNs / 1_000_000_000n;
  const fraction = String(packet.timestampNs % 1_000_000_000n).padStart(9, "0");
  const direction = ["", " in", " out"][packet.direction] ?? "";
  const comment = packet.comment === "" ? "" : ` ${JSON.stringify(packet.comment)}`;
  return `${packet.interface.name}${direction} ${seconds}.${fraction} len ${packet.originalLen}${comment}`;
}

/** An interface of the section being read, with its time format. */
interface Source {
  readonly described: Required<PcapngInterface>;
  /** The if_tsresol byte. */
  readonly resolution: number;
  /** Nanoseconds to add. */
  readonly offsetNs: bigint;
}

/** The state of reading. */
class Reader {
  readonly interfaces: Required<PcapngInterface>[] = [];
  readonly packets: PcapngPacket[] = [];
  #sources: Source[] = [];
  readonly #buf: Uint8Array;

  constructor(buf: Uint8Array) {
    this.#buf = buf;
  }

  /** Takes the block whose body is from `at` to `end`; false if it is malformed. */
  readBlock(type: number, at: number, end: number): boolean {
    if (type === SECTION_HEADER) return this.#readSection(at, end);
    if (type === INTERFACE) return this.#readInterface(at, end);
    if (type === ENHANCED_PACKET) return this.#readEnhanced(at, end);
    return type !== SIMPLE_PACKET || this.#readSimple(at, end);
  }

  #readSection(at: number, end: number): boolean {
    if (end - at < SECTION_FIXED_LEN || get32le(this.#buf, at) !== BYTE_ORDER_MAGIC) return false;
    this.#sources = [];
    return get16le(this.#buf, at + 4) === 1;
  }

  #readInterface(at: number, end: number): boolean {
    if (end - at < INTERFACE_FIXED_LEN) return false;
    const options = parseOptions(this.#buf, at + INTERFACE_FIXED_LEN, end);
    if (options === null) return false;
    const described = {
      name: textOf(options, INTERFACE_NAME),
      description: textOf(options, INTERFACE_DESCRIPTION),
      linkType: get16le(this.#buf, at),
      snapLen: get32le(this.#buf, at + 4),
    };
    const offset = options.get(INTERFACE_TIME_OFFSET);
    const offsetNs = offset?.length === 8 ? BigInt.asIntN(64, get64(offset, 0)) * 1_000_000_000n : 0n;
    this.interfaces.push(described);
    this.#sources.push({
      described,
      resolution: options.get(INTERFACE_RESOLUTION)?.[0] ?? RESOLUTION_DEFAULT,
      offsetNs,
    });
    return true;
  }

  #readEnhanced(at: number, end: number): boolean {
    const buf = this.#buf;
    if (end - at < ENHANCED_FIXED_LEN) return false;
    const interfaceId = get32le(buf, at);
    const source = this.#sources[interfaceId];
    const length = get32le(buf, at + 12);
    const dataAt = at + ENHANCED_FIXED_LEN;
    if (source === undefined || padded(length) > end - dataAt) return false;
    const options = parseOptions(buf, dataAt + padded(length), end);
    if (options === null) return false;
    const flags = options.get(PACKET_FLAGS);
    const ticks = (BigInt(get32le(buf, at + 4)) << 32n) | BigInt(get32le(buf, at + 8));
    this.packets.push({
      interfaceId,
      interface: source.described,
      timestampNs: nanoseconds(ticks, source.resolution) + source.offsetNs,
      data: buf.subarray(dataAt, dataAt + length),
      originalLen: get32le(buf, at + 16),
      direction: flags?.length === 4 ? flags[0]! & 3 : PCAPNG_UNKNOWN,
      comment: textOf(options, OPTION_COMMENT),
    });
    return true;
  }

  #readSimple(at: number, end: number): boolean {
    const source = this.#sources[0];
    if (source === undefined || end - at < SIMPLE_FIXED_LEN) return false;
    const originalLen = get32le(this.#buf, at);
    const room = end - at - SIMPLE_FIXED_LEN;
    const snapLen = source.described.snapLen === 0 ? Infinity : source.described.snapLen;
    const length = Math.min(originalLen, snapLen);
    if (length > room) return false;
    this.packets.push({
      interfaceId: 0,
      interface: source.described,
      timestampNs: 0n,
      data: this.#buf.subarray(at + SIMPLE_FIXED_LEN, at + SIMPLE_FIXED_LEN + length),
      originalLen,
      direction: PCAPNG_UNKNOWN,
      comment: "",
    });
    return true;
  }
}

const NOTHING = new Uint8Array(0);

/** Length of the block at `at`, frame included; 0 if there is none or if its two lengths are malformed. */
function blockLen(buf: Uint8Array, at: number): number {
  if (buf.length - at < FRAME_LEN) return 0;
  const length = get32le(buf, at + 4);
  if (length < FRAME_LEN || length % 4 !== 0 || length > buf.length - at) return 0;
  return get32le(buf, at + length - 4) === length ? length : 0;
}

/** A whole block; without options there is no end of options either. */
function block(type: number, fixed: Uint8Array, options: readonly Uint8Array[]): Uint8Array {
  const list = concatBytes(options);
  const whole = new Uint8Array(FRAME_LEN + fixed.length + (list.length === 0 ? 0 : list.length + 4));
  put32le(whole, 0, type);
  put32le(whole, 4, whole.length);
  whole.set(fixed, BODY);
  whole.set(list, BODY + fixed.length);
  put32le(whole, whole.length - 4, whole.length);
  return whole;
}

function option(code: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + padded(value.length));
  put16le(bytes, 0, code);
  put16le(bytes, 2, value.length);
  bytes.set(value, 4);
  return bytes;
}

/** A text option, or nothing for an empty text; longer than an option can be, it is cut. */
function text(code: number, value: string): Uint8Array {
  return value === "" ? NOTHING : option(code, new TextEncoder().encode(value).subarray(0, 0xffff));
}

/** The options from `at` to `end` by code, of repeated ones the first; null if one of them leads out. */
function parseOptions(buf: Uint8Array, at: number, end: number): Map<number, Uint8Array> | null {
  const options = new Map<number, Uint8Array>();
  for (let i = at; i < end;) {
    if (end - i < 4) return null;
    const code = get16le(buf, i);
    const length = get16le(buf, i + 2);
    if (code === OPTION_END) break;
    if (padded(length) > end - i - 4) return null;
    if (!options.has(code)) options.set(code, buf.subarray(i + 4, i + 4 + length));
    i += 4 + padded(length);
  }
  return options;
}

function textOf(options: ReadonlyMap<number, Uint8Array>, code: number): string {
  const value = options.get(code);
  return value === undefined ? "" : new TextDecoder().decode(value);
}

/** Ticks of 10^-n s, or of 2^-n s if the upper bit of `resolution` is set. */
function nanoseconds(ticks: bigint, resolution: number): bigint {
  const power = BigInt(resolution & 0x7f);
  return ticks * 1_000_000_000n / ((resolution & 0x80) !== 0 ? 2n ** power : 10n ** power);
}

function get64(buf: Uint8Array, at: number): bigint {
  return (BigInt(get32le(buf, at + 4)) << 32n) | BigInt(get32le(buf, at));
}

function padded(length: number): number {
  return Math.ceil(length / 4) * 4;
}
