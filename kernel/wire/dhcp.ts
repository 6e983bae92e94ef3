/**
 * DHCP for IPv4: the BOOTP message (RFC 2131 2) and its options (RFC 2132).
 *
 * Path: services/dhcp → dhcp → bytes.
 *
 *     | op, htype, hlen, hops | xid 4 | secs 2, flags 2 | ciaddr 4 | yiaddr 4 | siaddr 4 | giaddr 4 |
 *     | chaddr 16 | sname 64 | file 128 | magic cookie 4 | options: code, length, bytes … , 255 |
 *
 * Read: options of all fields that option 52 names (RFC 2131 4.1), and the pieces of a repeated option joined (RFC
 * 3396). Written: everything in the options field, an option of more than 255 bytes in pieces, and padding to the 300
 * bytes that some BOOTP relays insist on (RFC 1542 2.1).
 *
 * Limits: Ethernet only. BOOTP without the cookie has no options, and the 300 bytes of RFC 951. A missing end option is
 * accepted.
 *
 * @module
 */

import { concatBytes, get16, get32, put16, put32 } from "./bytes.ts";
import { IpAddr } from "./ip_addr.ts";
import { MacAddr } from "./mac_addr.ts";

const HTYPE = 1;
const HLEN = 2;
const HOPS = 3;
const XID = 4;
const SECS = 8;
const FLAGS = 10;
const CIADDR = 12;
const YIADDR = 16;
const SIADDR = 20;
const GIADDR = 24;
const CHADDR = 28;
const SNAME = 44;
const FILE = 108;
const COOKIE = 236;
const OPTIONS = 240;

const SNAME_LEN = FILE - SNAME;
const FILE_LEN = COOKIE - FILE;
const HTYPE_ETHERNET = 1;
const HLEN_ETHERNET = 6;
const FLAG_BROADCAST = 0x8000;
const MAGIC_COOKIE = 0x63825363;

/** Shortest message that is sent, and length of every message of BOOTP (RFC 951 3), in bytes. */
export const DHCP_LEN_MIN = 300;
/** UDP port of servers. */
export const DHCP_SERVER_PORT = 67;
/** UDP port of clients. */
export const DHCP_CLIENT_PORT = 68;

/** `op`: from a client. */
export const DHCP_BOOT_REQUEST = 1;
/** `op`: from a server. */
export const DHCP_BOOT_REPLY = 2;

// Message types: the values of DHCP_OPTION_TYPE.
/** A client looks for servers. */
export const DHCP_DISCOVER = 1;
/** A server offers an address. */
export const DHCP_OFFER = 2;
/** A client asks for the offered address, or for its own again. */
export const DHCP_REQUEST = 3;
/** A client found the address in use. */
export const DHCP_DECLINE = 4;
/** A server grants the lease. */
export const DHCP_ACK = 5;
/** A server refuses it. */
export const DHCP_NAK = 6;
/** A client gives its address back. */
export const DHCP_RELEASE = 7;
/** A client that has an address asks for the options only. */
export const DHCP_INFORM = 8;

// Option codes (RFC 2132, RFC 3397, RFC 3442).
/** Mask of the network. */
export const DHCP_OPTION_SUBNET_MASK = 1;
/** Default routers. */
export const DHCP_OPTION_ROUTERS = 3;
/** Name servers. */
export const DHCP_OPTION_DNS_SERVERS = 6;
/** The client's name. */
export const DHCP_OPTION_HOST_NAME = 12;
/** The client's domain. */
export const DHCP_OPTION_DOMAIN = 15;
/** MTU of the interface. */
export const DHCP_OPTION_MTU = 26;
/** Broadcast address. */
export const DHCP_OPTION_BROADCAST = 28;
/** The address that a client asks for. */
export const DHCP_OPTION_REQUESTED_ADDR = 50;
/** Length of the lease, in seconds. */
export const DHCP_OPTION_LEASE_TIME = 51;
/** Message type. */
export const DHCP_OPTION_TYPE = 53;
/** Address of the server that is meant. */
export const DHCP_OPTION_SERVER_ID = 54;
/** Codes of the options that a client asks for. */
export const DHCP_OPTION_PARAMETERS = 55;
/** A text for people. */
export const DHCP_OPTION_MESSAGE = 56;
/** Longest message that the sender takes. */
export const DHCP_OPTION_MAX_LEN = 57;
/** When to renew (T1), in seconds. */
export const DHCP_OPTION_RENEWAL_TIME = 58;
/** When to ask any server (T2), in seconds. */
export const DHCP_OPTION_REBINDING_TIME = 59;
/** The client's identifier. */
export const DHCP_OPTION_CLIENT_ID = 61;
/** Domains to search (RFC 3397). */
export const DHCP_OPTION_DOMAIN_SEARCH = 119;
/** Routes with prefix lengths (RFC 3442). */
export const DHCP_OPTION_CLASSLESS_ROUTES = 121;

const OPTION_PAD = 0;
const OPTION_OVERLOAD = 52;
const OPTION_END = 255;
/** Most bytes that one option, or one piece of it, can hold. */
const PIECE_MAX = 255;

/** The bytes of each option by its code; pad, end and overload are not among them. */
export type DhcpOptions = ReadonlyMap<number, Uint8Array>;

/** One message. Fields have the names of RFC 2131. */
export interface DhcpMessage {
  /** DHCP_BOOT_REQUEST or DHCP_BOOT_REPLY. */
  readonly op: number;
  /** Relays that it has crossed. */
  readonly hops: number;
  /** 32 bits that a client chooses and a server repeats. */
  readonly xid: number;
  /** Seconds since the client began. */
  readonly secs: number;
  /** The client cannot take unicast yet: replies are broadcast. */
  readonly broadcast: boolean;
  /** The client's address, if it already has one. */
  readonly ciaddr: IpAddr;
  /** The address that the server gives. */
  readonly yiaddr: IpAddr;
  /** The server of the next boot step. */
  readonly siaddr: IpAddr;
  /** The relay's address. */
  readonly giaddr: IpAddr;
  /** The client's hardware address. */
  readonly chaddr: MacAddr;
  /** Server name, at most 64 characters of Latin-1; empty if the field holds options. */
  readonly sname: string;
  /** Boot file, at most 128 characters of Latin-1; empty if the field holds options. */
  readonly file: string;
  /** The options that it has. */
  readonly options: DhcpOptions;
}

/** Reads a message; null if it is malformed, neither DHCP nor BOOTP, or not for Ethernet. */
export function parseDhcp(buf: Uint8Array, at: number, end: number): DhcpMessage | null {
  const hasCookie = end - at >= OPTIONS && get32(buf, at + COOKIE) === MAGIC_COOKIE;
  if (!hasCookie && end - at < DHCP_LEN_MIN) return null;
  if (buf[at + HTYPE] !== HTYPE_ETHERNET || buf[at + HLEN] !== HLEN_ETHERNET) return null;
  const pieces = new Map<number, Uint8Array[]>();
  if (hasCookie && !collectOptions(buf, at + OPTIONS, end, pieces)) return null;
  // RFC 3396 5: the order of the fields is options, file, sname. What is found there cannot overload again.
  const overload = pieces.get(OPTION_OVERLOAD)?.[0]?.[0] ?? 0;
  const fileHasOptions = (overload & 1) !== 0;
  const snameHasOptions = (overload & 2) !== 0;
  if (fileHasOptions && !collectOptions(buf, at + FILE, at + COOKIE, pieces)) return null;
  if (snameHasOptions && !collectOptions(buf, at + SNAME, at + FILE, pieces)) return null;
  pieces.delete(OPTION_OVERLOAD);
  const options = new Map<number, Uint8Array>();
  for (const [code, parts] of pieces) options.set(code, parts.length === 1 ? parts[0]! : concatBytes(parts));
  return {
    op: buf[at]!,
    hops: buf[at + HOPS]!,
    xid: get32(buf, at + XID),
    secs: get16(buf, at + SECS),
    broadcast: (get16(buf, at + FLAGS) & FLAG_BROADCAST) !== 0,
    ciaddr: IpAddr.v4At(buf, at + CIADDR),
    yiaddr: IpAddr.v4At(buf, at + YIADDR),
    siaddr: IpAddr.v4At(buf, at + SIADDR),
    giaddr: IpAddr.v4At(buf, at + GIADDR),
    chaddr: MacAddr.at(buf, at + CHADDR),
    sname: snameHasOptions ? "" : latin1(buf, at + SNAME, at + FILE),
    file: fileHasOptions ? "" : latin1(buf, at + FILE, at + COOKIE),
    options,
  };
}

/** Writes a message, its type before all other options, and returns its length (`dhcpLen`). */
export function emitDhcp(message: DhcpMessage, buf: Uint8Array, at: number): number {
  const length = dhcpLen(message);
  buf.fill(0, at, at + length);
  buf[at] = message.op;
  buf[at + HTYPE] = HTYPE_ETHERNET;
  buf[at + HLEN] = HLEN_ETHERNET;
  buf[at + HOPS] = message.hops;
  put32(buf, at + XID, message.xid);
  put16(buf, at + SECS, message.secs);
  put16(buf, at + FLAGS, message.broadcast ? FLAG_BROADCAST : 0);
  message.ciaddr.putV4(buf, at + CIADDR);
  message.yiaddr.putV4(buf, at + YIADDR);
  message.siaddr.putV4(buf, at + SIADDR);
  message.giaddr.putV4(buf, at + GIADDR);
  message.chaddr.put(buf, at + CHADDR);
  buf.set(encodeDhcpText(message.sname.slice(0, SNAME_LEN)), at + SNAME);
  buf.set(encodeDhcpText(message.file.slice(0, FILE_LEN)), at + FILE);
  put32(buf, at + COOKIE, MAGIC_COOKIE);
  let i = at + OPTIONS;
  const type = message.options.get(DHCP_OPTION_TYPE);
  if (type !== undefined) i += emitOption(DHCP_OPTION_TYPE, type, buf, i);
  for (const [code, bytes] of message.options) {
    if (code !== DHCP_OPTION_TYPE) i += emitOption(code, bytes, buf, i);
  }
  buf[i] = OPTION_END;
  return length;
}

/** How many bytes `emitDhcp` writes. */
export function dhcpLen(message: DhcpMessage): number {
  let length = OPTIONS + 1;
  for (const [code, bytes] of message.options) length += optionLen(code, bytes);
  return Math.max(length, DHCP_LEN_MIN);
}

/** The message's type, DHCP_DISCOVER and so on; 0 if it has none. */
export function dhcpType(message: DhcpMessage): number {
  return dhcpNumber(message.options, DHCP_OPTION_TYPE) ?? 0;
}

/** An option of 1, 2 or 4 bytes as an unsigned number; null if it is not there or of another length. */
export function dhcpNumber(options: DhcpOptions, code: number): number | null {
  const bytes = options.get(code);
  if (bytes?.length === 1) return bytes[0]!;
  if (bytes?.length === 2) return get16(bytes, 0);
  return bytes?.length === 4 ? get32(bytes, 0) : null;
}

/** An option that holds addresses; none if it is not there or of another form. */
export function dhcpAddrs(options: DhcpOptions, code: number): IpAddr[] {
  const bytes = options.get(code);
  if (bytes === undefined || bytes.length % 4 !== 0) return [];
  return Array.from({ length: bytes.length / 4 }, (_, i) => IpAddr.v4At(bytes, 4 * i));
}

/** An option that holds text, read as Latin-1 up to a zero byte; null if it is not there. */
export function dhcpText(options: DhcpOptions, code: number): string | null {
  const bytes = options.get(code);
  return bytes === undefined ? null : latin1(bytes, 0, bytes.length);
}

/** The bytes of an option that holds a number in `size` bytes (1, 2 or 4). */
export function encodeDhcpNumber(value: number, size: 1 | 2 | 4): Uint8Array {
  const bytes = new Uint8Array(4);
  put32(bytes, 0, value);
  return bytes.subarray(4 - size);
}

/** The bytes of an option that holds IPv4 addresses. */
export function encodeDhcpAddrs(addrs: readonly IpAddr[]): Uint8Array {
  const bytes = new Uint8Array(4 * addrs.length);
  addrs.forEach((addr, i) => addr.putV4(bytes, 4 * i));
  return bytes;
}

/** The bytes of an option that holds text (Latin-1). */
export function encodeDhcpText(text: string): Uint8Array {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

const TYPE_NAMES = ["bootp", "discover", "offer", "request", "decline", "ack", "nak", "release", "inform"];

/** One line of text: `dhcp offer xid 3903f326 52:54:00:12:34:56 yours 10.0.2.15`. */
export function formatDhcp(message: DhcpMessage): string {
  const type = dhcpType(message);
  let text = `dhcp ${TYPE_NAMES[type] ?? `type ${type}`} xid ${message.xid.toString(16)} ${message.chaddr}`;
  if (!message.ciaddr.isUnspecified) text += ` client ${message.ciaddr}`;
  if (!message.yiaddr.isUnspecified) text += ` yours ${message.yiaddr}`;
  const requested = dhcpAddrs(message.options, DHCP_OPTION_REQUESTED_ADDR)[0];
  if (requested !== undefined) text += ` wants ${requested}`;
  return text;
}

/** Adds the options from `at` to `end` to `pieces`; false if one of them leads out. */
function collectOptions(buf: Uint8Array, at: number, end: number, pieces: Map<number, Uint8Array[]>): boolean {
  for (let i = at; i < end && buf[i] !== OPTION_END;) {
    const code = buf[i]!;
    if (code === OPTION_PAD) {
      i++;
      continue;
    }
    if (end - i < 2 || buf[i + 1]! > end - i - 2) return false;
    const next = i + 2 + buf[i + 1]!;
    const parts = pieces.get(code);
    const part = buf.subarray(i + 2, next);
    if (parts === undefined) pieces.set(code, [part]);
    else parts.push(part);
    i = next;
  }
  return true;
}

/** Writes an option, in pieces if it is long, and returns its length. */
function emitOption(code: number, bytes: Uint8Array, buf: Uint8Array, at: number): number {
  if (optionLen(code, bytes) === 0) return 0;
  let i = at;
  let from = 0;
  do {
    const piece = bytes.subarray(from, from + PIECE_MAX);
    buf[i] = code;
    buf[i + 1] = piece.length;
    buf.set(piece, i + 2);
    i += 2 + piece.length;
    from += PIECE_MAX;
  } while (from < bytes.length);
  return i - at;
}

/** Bytes that an option takes; none for the codes that are no options. */
function optionLen(code: number, bytes: Uint8Array): number {
  if (code === OPTION_PAD || code === OPTION_END || code === OPTION_OVERLOAD) return 0;
  return bytes.length + 2 * Math.max(1, Math.ceil(bytes.length / PIECE_MAX));
}

/** The characters from `at` to `end` or to a zero byte. */
function latin1(buf: Uint8Array, at: number, end: number): string {
  let text = "";
  for (let i = at; i < end && buf[i] !== 0; i++) text += String.fromCharCode(buf[i]!);
  return text;
}
