/**
 * LinkPieces: the datagrams of IPv6 that the near stack has cut, put together again. It cuts what a guest has cut
 * before, to the size of the guest's pieces or of the path; the machine's sockets take the whole, and cut it for the
 * real path.
 *
 * Path: uplink → link_pieces → reassembly, fragment_format, wire/ipv6.
 *
 * The link is in order, and near sends the pieces of one datagram in one go: one datagram at a time is incomplete. A
 * piece that the link had no room for takes its datagram with it.
 *
 * @module
 */

import type { Block, BlockPool } from "../../kernel/block.ts";
import { FRAGMENT_FORMATS, fragmentPlace6 } from "../../kernel/inet/fragment_format.ts";
import { isSoundFragment, PartialDatagram } from "../../kernel/inet/reassembly.ts";
import {
  IPV6_FRAGMENT_LEN,
  ipv6IsPiece,
  ipv6NextHeader,
  isIpv6Extension,
  parseIpv6Fragment,
  walkIpv6,
} from "../../kernel/wire/ipv6.ts";

/** Payload that a datagram begins with room for: most that are cut are of a few pieces. */
const FIRST_ROOM = 8192;

/** See above. */
export class LinkPieces {
  readonly #blocks: BlockPool;
  #partial: PartialDatagram | null = null;
  #id = 0;

  constructor(blocks: BlockPool) {
    this.#blocks = blocks;
  }

  /** Where the fragment header of a piece is in an IPv6 packet; -1: the packet is whole. */
  static at({ buf, rp, wp }: Block): number {
    if (!isIpv6Extension(ipv6NextHeader(buf, rp))) return -1;
    const fragmentAt = walkIpv6(buf, rp, wp)?.fragmentAt ?? -1;
    return fragmentAt >= 0 && ipv6IsPiece(buf, fragmentAt) ? fragmentAt : -1;
  }

  /** Takes a piece, whose fragment header is at `at`; the whole datagram if it was the last, else null. */
  take(block: Block, at: number): Block | null {
    const place = fragmentPlace6(parseIpv6Fragment(block.buf, at, block.wp)!);
    const piece = { block, headerLen: at + IPV6_FRAGMENT_LEN - block.rp };
    const format = FRAGMENT_FORMATS[6];
    if (place.offset === 0 || place.id !== this.#id) this.clear();
    if (isSoundFragment(piece, place, format)) {
      this.#id = place.id;
      this.#partial ??= new PartialDatagram(format, this.#blocks, FIRST_ROOM);
      if (this.#partial.add(piece, place) !== null) this.clear();
    }
    block.free();
    if (this.#partial?.isComplete !== true) return null;
    const whole = this.#partial.finish();
    if (whole === null) this.#partial.free();
    this.#partial = null;
    return whole;
  }

  /** Forgets what is incomplete. */
  clear(): void {
    this.#partial?.free();
    this.#partial = null;
  }
}
