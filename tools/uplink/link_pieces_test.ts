/**
 * Pieces on the link: what near has cut comes out whole, and nothing else is made of them.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { Block, BlockPool } from "../../kernel/block.ts";
import { parseIpAddr } from "../../kernel/wire/ip_addr.ts";
import { emitIpv6Fragment, IPV6_HEADER_LEN, ipv6PayloadLen, putIpv6 } from "../../kernel/wire/ipv6.ts";
import { IP_PROTO_FRAGMENT, IP_PROTO_UDP } from "../../kernel/wire/ip_proto.ts";
import { LinkPieces } from "./link_pieces.ts";

const SRC = parseIpAddr("fd61:6b61:7269:6e6f::2")!;
const DST = parseIpAddr("2001:db8:2::2")!;

/** A piece of a datagram `id`: its payload from `from` on is `bytes`. */
function piece(id: number, from: number, bytes: Uint8Array, moreFragments: boolean): Block {
  const block = Block.alloc(IPV6_HEADER_LEN + 8 + bytes.length);
  block.wp = block.rp + IPV6_HEADER_LEN;
  putIpv6({ src: SRC, dst: DST, protocol: IP_PROTO_FRAGMENT, ttl: 63, tos: 0 }, 8 + bytes.length, block.buf, block.rp);
  const fields = { nextHeader: IP_PROTO_UDP, fragOffset: from, moreFragments, id };
  block.wp += emitIpv6Fragment(fields, block.buf, block.wp);
  return block.append(bytes);
}

const payload = (length: number) => Uint8Array.from({ length }, (_, i) => i * 7);

/** What comes of the pieces, in order: the payload of each whole datagram, or null. */
function joined(pieces: readonly Block[]): (Uint8Array | null)[] {
  const link = new LinkPieces(new BlockPool());
  return pieces.map((block) => {
    const at = LinkPieces.at(block);
    const whole = at < 0 ? block : link.take(block, at);
    if (whole === null) return null;
    assertEquals(ipv6PayloadLen(whole.buf, whole.rp), whole.length - IPV6_HEADER_LEN);
    return whole.bytes().slice(IPV6_HEADER_LEN);
  });
}

Deno.test("link pieces: a datagram comes whole with its last piece, the longest of all as well", () => {
  for (const [size, step] of [[1480, 1448], [65_515, 1232]] as const) {
    const bytes = payload(size);
    const pieces: Block[] = [];
    for (let from = 0; from < size; from += step) {
      pieces.push(piece(7, from, bytes.subarray(from, from + step), from + step < size));
    }
    const had = joined(pieces);
    assertEquals(had.slice(0, -1).every((one) => one === null), true);
    assertEquals(had.at(-1), bytes);
  }
});

Deno.test("link pieces: one whose piece was lost is forgotten, the next one comes whole", () => {
  const bytes = payload(1600);
  const [first, last] = [bytes.subarray(0, 800), bytes.subarray(800)];
  assertEquals(
    joined([piece(1, 0, first, true), piece(2, 0, first, true), piece(2, 800, last, false)]),
    [null, null, bytes],
  );
  assertEquals(joined([piece(1, 0, first, true), piece(2, 800, last, false)]), [null, null], "of two datagrams");
  assertEquals(joined([piece(3, 800, last, false)]), [null], "without its beginning");
});

Deno.test("link pieces: a whole packet that has a fragment header is none (RFC 6946)", () => {
  const whole = piece(1, 0, payload(100), false);
  assertEquals(LinkPieces.at(whole), -1);
});
