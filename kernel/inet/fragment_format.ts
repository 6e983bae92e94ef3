/**
 * FragmentFormat: what reassembly needs to know of a version of IP; and the place of a fragment in its datagram.
 *
 * Path: inet/reassembly, family4, ip6_input → fragment_format → fragment6, wire/ipv4, wire/ipv6.
 *
 * @module
 */

import type { Block } from "../block.ts";
import {
  IPV4_HEADER_MAX,
  IPV4_TOTAL_MAX,
  ipv4DontFragment,
  ipv4FragOffset,
  ipv4Id,
  ipv4MoreFragments,
  ipv4Tos,
  setIpv4DontFragment,
  setIpv4Fragment,
  setIpv4Tos,
  setIpv4TotalLen,
} from "../wire/ipv4.ts";
import {
  IPV6_FRAGMENT_LEN,
  IPV6_HEADER_LEN,
  IPV6_TOTAL_MAX,
  ipv6ExtensionLen,
  type Ipv6Fragment,
  ipv6NextHeaderAt,
  ipv6TrafficClass,
  setIpv6PayloadLen,
  setIpv6TrafficClass,
} from "../wire/ipv6.ts";
import { dropFragmentHeader } from "./fragment6.ts";

/** The head room that every block has. */
const HEADROOM = 128;
/**
 * Most bytes before the payload of an IPv6 fragment: a header, its fragment header, and more room for options and
 * routing headers than any known sender needs.
 */
const HEADER_MAX_6 = 256;

/** Where a fragment belongs. */
export interface FragmentPlace {
  /** Identification of the datagram: 16 bits (IPv6: 32). */
  readonly id: number;
  /** Where its payload belongs, in bytes. */
  readonly offset: number;
  /** Whether more follows. */
  readonly more: boolean;
  readonly dontFragment: boolean;
}

/** Where the IPv4 fragment in `block` belongs. */
export function fragmentPlace4({ buf, rp }: Block): FragmentPlace {
  return {
    id: ipv4Id(buf, rp),
    offset: ipv4FragOffset(buf, rp),
    more: ipv4MoreFragments(buf, rp),
    dontFragment: ipv4DontFragment(buf, rp),
  };
}

/** Where the payload of an IPv6 fragment belongs. IPv6 has no "don't fragment": only the source ever fragments. */
export function fragmentPlace6({ fragOffset, moreFragments, id }: Ipv6Fragment): FragmentPlace {
  return { id, offset: fragOffset, more: moreFragments, dontFragment: false };
}

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
  let namedAt = ipv6NextHeaderAt(at);
  for (let next = at + IPV6_HEADER_LEN; next < fragmentAt;) {
    const length = ipv6ExtensionLen(buf[namedAt]!, buf[next + 1]!);
    namedAt = next;
    next += length;
  }
  return namedAt;
}
