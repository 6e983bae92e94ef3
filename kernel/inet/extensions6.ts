/**
 * Faults in the extension headers of a received IPv6 packet: options and routing headers that forbid to go on with it
 * (RFC 8200 4.2 to 4.4).
 *
 * Path: ip6_input, family6 → extensions6 → ipv6, ip_proto.
 *
 * No option is acted upon. The two highest bits of an unknown option say what to do with its packet. A routing header
 * of any type that would send the packet on is refused, type 0 above all (RFC 5095).
 *
 * @module
 */

import { IP_PROTO_DEST_OPTIONS, IP_PROTO_HOP_BY_HOP, IP_PROTO_ROUTING } from "../wire/ip_proto.ts";
import { IPV6_HEADER_LEN, ipv6ExtensionLen, ipv6NextHeader } from "../wire/ipv6.ts";

const OPTION_PAD1 = 0;
const OPTION_PADN = 1;
/** RFC 2711: a hint to routers, of no meaning to us. */
const OPTION_ROUTER_ALERT = 5;
/** The two bits of an option that say what to do if it is not known. */
const ACTION = 0xc0;
const ACTION_SKIP = 0x00;
const ACTION_DISCARD = 0x40;
const ACTION_TELL_UNICAST = 0xc0;

/** What to do about a packet. */
interface ExtensionFault {
  /** "header": a field is wrong; "option": one is not known; "silent": no error is sent. */
  readonly what: "header" | "option" | "silent";
  /** Index in the buffer of what is at fault. */
  readonly at: number;
}

/**
 * The first fault in the extension headers from behind the fixed header at `at` up to `end`, which have been walked
 * before: they fit. Null: there is none. `hopsOnly`: only the options for every hop, as a router looks.
 */
export function extensionFault(
  buf: Uint8Array,
  at: number,
  end: number,
  options: { isMulticast: boolean; hopsOnly?: boolean },
): ExtensionFault | null {
  let next = ipv6NextHeader(buf, at);
  for (let from = at + IPV6_HEADER_LEN; from < end;) {
    if (options.hopsOnly === true && next !== IP_PROTO_HOP_BY_HOP) return null;
    const length = ipv6ExtensionLen(next, buf[from + 1]!);
    // Segments left: with none the header has done its work, of any type.
    if (next === IP_PROTO_ROUTING && buf[from + 3] !== 0) return { what: "header", at: from + 2 };
    if (next === IP_PROTO_HOP_BY_HOP || next === IP_PROTO_DEST_OPTIONS) {
      const fault = optionFault(buf, from + 2, from + length, options.isMulticast);
      if (fault !== null) return fault;
    }
    next = buf[from]!;
    from += length;
  }
  return null;
}

function optionFault(buf: Uint8Array, from: number, end: number, isMulticast: boolean): ExtensionFault | null {
  for (let at = from; at < end;) {
    const kind = buf[at]!;
    if (kind === OPTION_PAD1) {
      at++;
      continue;
    }
    const next = at + 1 < end ? at + 2 + buf[at + 1]! : end + 1;
    if (next > end) return { what: "header", at };
    const action = kind & ACTION;
    if (kind !== OPTION_PADN && kind !== OPTION_ROUTER_ALERT && action !== ACTION_SKIP) {
      const isSilent = action === ACTION_DISCARD || (action === ACTION_TELL_UNICAST && isMulticast);
      return { what: isSilent ? "silent" : "option", at };
    }
    at = next;
  }
  return null;
}
