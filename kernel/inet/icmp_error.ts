/**
 * ICMP errors of both versions: about which packets one may be sent (RFC 1122 3.2.2, RFC 4443 2.4), and the message
 * that quotes as much of the packet as the version allows.
 *
 * Path: icmp_errors, inbound, link → icmp_error → ip_header, wire/icmp, wire/icmp6, block.
 *
 * An IPv4 error quotes so much that it fits 576 bytes (RFC 1812 4.3.2.3), one of IPv6 so much that it fits 1280 (RFC
 * 4443 2.4 c).
 *
 * @module
 */

import { Block } from "../block.ts";
import { emitIcmpError, icmpErrorLen } from "../wire/icmp.ts";
import { emitIcmp6Error, icmp6ErrorLen, setIcmp6Checksum } from "../wire/icmp6.ts";
import type { IpAddr } from "../wire/ip_addr.ts";
import { IP_HEADERS } from "./ip_header.ts";

/** What an error says, and between which hosts it goes. */
interface IcmpErrorFields {
  readonly src: IpAddr;
  readonly dst: IpAddr;
  readonly type: number;
  readonly code: number;
  /** The MTU of "too big", the pointer of a parameter problem, as they stand in the message; 0 for the others. */
  readonly rest: number;
}

/**
 * Whether an error may be sent about the packet from `at` to `end`, as far as its headers say: not about a later
 * fragment, an ICMP error or what may be one, nor to or about an address that is no single host's.
 */
export function mayReportError(buf: Uint8Array, at: number, end: number): boolean {
  const header = IP_HEADERS[buf[at]! >>> 4];
  if (header === undefined || end - at < header.minLen) return false;
  const src = header.src(buf, at);
  // Class E addresses are reserved (RFC 1122 3.2.1.3 and 3.2.2); the last of them is the limited broadcast.
  if (src.isUnspecified || src.isMulticast || (src.isV4 && src.w3 >>> 28 === 0xf)) return false;
  const dst = header.dst(buf, at);
  if (dst.isMulticast || dst.isLimitedBroadcast || header.fragOffset(buf, at, end) !== 0) return false;
  if (header.protocol(buf, at, end) !== header.icmp) return true;
  // An ICMP packet too short to show its type might be an error.
  const headerLen = header.headerLen(buf, at, end);
  return headerLen >= 0 && headerLen < end - at && !header.icmpIsError(buf[at + headerLen]!);
}

/** The message of an error about the packet in `block`, without an IP header; the block stays the caller's. */
export function icmpErrorMessage(block: Block, fields: IcmpErrorFields): Block {
  const { buf, rp, wp } = block;
  const { type, code, rest } = fields;
  const error = { type, code, rest, packet: buf.subarray(rp, wp) };
  if (buf[rp]! >>> 4 === 4) {
    const message = Block.alloc(icmpErrorLen(error));
    message.wp += emitIcmpError(error, message.buf, message.rp);
    return message;
  }
  const message = Block.alloc(icmp6ErrorLen(error));
  message.wp += emitIcmp6Error(error, message.buf, message.rp);
  setIcmp6Checksum(message.buf, message.rp, message.wp, fields);
  return message;
}
