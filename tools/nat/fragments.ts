/**
 * Fragments of both versions: where a guest's belongs, and cutting what is too large for the guests' link (RFC 791 3.2,
 * RFC 8200 4.5).
 *
 * Path: family4, family6 → fragments → nat/packet, fragment_format, fragment4, fragment6, segment, block.
 *
 * A datagram of IPv6 that was put together keeps a fragment header, of the whole: by it the host knows that it may cut
 * (RFC 6946; ip(3), Bypass). One of IPv4 never says "don't fragment": the guest has cut it.
 *
 * @module
 */

import { Block, BLOCK_HEADROOM } from "../../kernel/block.ts";
import { type BlockSource, fragment4 } from "../../kernel/inet/fragment4.ts";
import { dropFragmentHeader, fragment6 } from "../../kernel/inet/fragment6.ts";
import {
  FRAGMENT_FORMATS,
  type FragmentFormat,
  fragmentPlace4,
  fragmentPlace6,
} from "../../kernel/inet/fragment_format.ts";
import { finishChecksum } from "../../kernel/inet/segment.ts";
import { IP_PROTO_FRAGMENT } from "../../kernel/wire/ip_proto.ts";
import {
  emitIpv6Fragment,
  IPV6_FRAGMENT_LEN,
  IPV6_HEADER_LEN,
  IPV6_TOTAL_MAX,
  parseIpv6Fragment,
  setIpv6PayloadLen,
  walkIpv6,
} from "../../kernel/wire/ipv6.ts";
import type { NatFragment, NatPacket } from "./packet.ts";

/** As kernel/inet's, but the fragment header stays. */
export const FORMAT_6: FragmentFormat = {
  ...FRAGMENT_FORMATS[6],
  totalMax: IPV6_TOTAL_MAX,
  makeWhole({ buf, rp, wp }, headerLen) {
    const at = rp + headerLen - IPV6_FRAGMENT_LEN;
    setIpv6PayloadLen(buf, rp, wp - rp - IPV6_HEADER_LEN);
    emitIpv6Fragment({ ...parseIpv6Fragment(buf, at, wp)!, moreFragments: false }, buf, at);
  },
};

/** The fragment that was read. */
export function fragmentOf4({ block, headerLen, protocol }: NatPacket): NatFragment {
  return { headerLen, protocol, place: { ...fragmentPlace4(block), dontFragment: false } };
}

/** The same of IPv6. */
export function fragmentOf6({ buf, at, end, fragmentAt }: NatPacket): NatFragment {
  const place = fragmentPlace6(parseIpv6Fragment(buf, fragmentAt, end)!);
  return { headerLen: fragmentAt + IPV6_FRAGMENT_LEN - at, protocol: IP_PROTO_FRAGMENT, place };
}

/** Pieces have room for what the link puts before them. */
const PIECES: BlockSource = { alloc: (size) => Block.alloc(size, BLOCK_HEADROOM) };

/** Cuts a whole packet (consumed) into pieces of at most `mtu` bytes; null (and not consumed) if it cannot be cut. */
export function cutPacket4(block: Block, mtu: number): Block[] | null {
  return finishChecksum(block) ? consumed(block, fragment4(block, mtu, PIECES)) : null;
}

/** The same of IPv6. What a guest's fragments became says already that it may be cut: that header gives way. */
export function cutPacket6(block: Block, mtu: number, id: number): Block[] | null {
  if (!finishChecksum(block)) return null;
  const { buf, rp, wp } = block.own();
  const walk = walkIpv6(buf, rp, wp);
  if (walk !== null && walk.fragmentAt >= 0) dropFragmentHeader(block, walk);
  return consumed(block, fragment6(block, mtu, id, PIECES));
}

function consumed(block: Block, pieces: Block[] | null): Block[] | null {
  if (pieces !== null) block.free();
  return pieces;
}
