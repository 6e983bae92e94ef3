/**
 * FragmentFormat: what reassembly needs to know of a version of IP.
 *
 * Path: reassembly → fragment_format → wire/ipv4, wire/ipv6.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import {
  IPV4_HEADER_MAX,
  IPV4_TOTAL_MAX,
  ipv4Tos,
  setIpv4DontFragment,
  setIpv4Fragment,
  setIpv4Tos,
  setIpv4TotalLen,
} from "../../../kernel/wire/ipv4.ts";
import {
  IPV6_FRAGMENT_LEN,
  IPV6_HEADER_LEN,
  ipv6ExtensionLen,
  ipv6TrafficClass,
  setIpv6PayloadLen,
  setIpv6TrafficClass,
} from "../../../kernel/wire/ipv6.ts";
import { dropFragmentHeader, IPV6_TOTAL_MAX } from "./packet6.ts";

const NEXT_HEADER = 6;
/** The head room that every block has. */
const HEADROOM = 128;
/**
 * Most bytes before the payload of an IPv6 fragment: a header, its fragment header, and room for options and routing
 * that anybody has ever sent with a fragment.
 */
const HEADER_MAX_6 = 256;

/** One version of IP. Of a fragment, "the header" is everything up to its payload, a fragment header included. */
export interface FragmentFormat {
  /** Most bytes of header and payload of the whole. */
  readonly totalMax: number;
  readonly headerMax: number;
  /** Where the payload starts in a buffer: behind the longest header and the head room that every block has. */
  readonly dataAt: number;
  tos(buf: Uint8Array, at: number): number;
  /** Rewrites TOS or traffic class, and what depends on it. */
  setTos(buf: Uint8Array, at: number, tos: number): void;
  /** Makes the header, of `headerLen` bytes, that of a whole datagram. */
  makeWhole(block: Block, headerLen: number, dontFragment: boolean): void;
  /** Makes the header say how long the packet in `block` is: it is to be quoted. */
  setLength(block: Block): void;
}

const V4: FragmentFormat = {
  totalMax: IPV4_TOTAL_MAX,
  headerMax: IPV4_HEADER_MAX,
  dataAt: HEADROOM + IPV4_HEADER_MAX,
  tos: ipv4Tos,
  setTos: setIpv4Tos,
  makeWhole({ buf, rp, wp }, _headerLen, dontFragment) {
    setIpv4TotalLen(buf, rp, wp - rp);
    setIpv4Fragment(buf, rp, 0, false);
    setIpv4DontFragment(buf, rp, dontFragment);
  },
  setLength() {},
};

const V6: FragmentFormat = {
  totalMax: IPV6_TOTAL_MAX + IPV6_FRAGMENT_LEN,
  headerMax: HEADER_MAX_6,
  dataAt: HEADROOM + HEADER_MAX_6,
  tos: ipv6TrafficClass,
  setTos: setIpv6TrafficClass,
  makeWhole(block, headerLen) {
    const { buf, rp, wp } = block;
    const fragmentAt = rp + headerLen - IPV6_FRAGMENT_LEN;
    setIpv6PayloadLen(buf, rp, wp - rp - IPV6_HEADER_LEN);
    dropFragmentHeader(block, { fragmentAt, fragmentNamedAt: namerOf(buf, rp, fragmentAt) });
  },
  setLength({ buf, rp, wp }) {
    setIpv6PayloadLen(buf, rp, wp - rp - IPV6_HEADER_LEN);
  },
};

/** By IP version. */
export const FRAGMENT_FORMATS: Readonly<Record<4 | 6, FragmentFormat>> = { 4: V4, 6: V6 };

/** Where the byte is that names the fragment header at `fragmentAt`; the chain before it was walked when it came. */
function namerOf(buf: Uint8Array, at: number, fragmentAt: number): number {
  let namedAt = at + NEXT_HEADER;
  for (let next = at + IPV6_HEADER_LEN; next < fragmentAt;) {
    const length = ipv6ExtensionLen(buf[namedAt]!, buf[next + 1]!);
    namedAt = next;
    next += length;
  }
  return namedAt;
}
