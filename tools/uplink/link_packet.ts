/**
 * The packets that the uplink makes for near: a UDP datagram with its headers, an ICMP message with its header, and the
 * packet that an error quotes.
 *
 * Path: datagram_answers, echo_relay → link_packet → link_version, segment, wire/udp, block.
 *
 * A datagram owes its checksum: the machine has checked the one that came, and the guest's card need not check it
 * again. Datagrams that the machine has joined stay joined, to be cut where a reader or a link cannot take them so.
 *
 * @module
 */

import { type Block, type BlockPool, Segment } from "../../kernel/block.ts";
import { oweChecksum } from "../../kernel/inet/segment.ts";
import { get16 } from "../../kernel/wire/bytes.ts";
import { pseudoSum } from "../../kernel/wire/checksum.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { IP_PROTO_UDP } from "../../kernel/wire/ip_proto.ts";
import { emitUdp, UDP_HEADER_LEN, udpChecksumAt } from "../../kernel/wire/udp.ts";
import { type LinkVersion, versionOfPacket } from "./link_version.ts";

/** Headers of a datagram to near. */
interface DatagramFields {
  readonly src: IpAddr;
  readonly dst: IpAddr;
  readonly srcPort: number;
  readonly dstPort: number;
  readonly ttl: number;
  readonly tos: number;
  /** Identification of IPv4. */
  readonly id: number;
}

/** A packet with the UDP datagram `payload`; with a `segmentSize` above 0, of datagrams of that many bytes. */
export function datagramPacket(
  { link, blocks, fields, segmentSize }: {
    readonly link: LinkVersion;
    readonly blocks: BlockPool;
    readonly fields: DatagramFields;
    readonly segmentSize: number;
  },
  payload: Uint8Array,
): Block {
  const { src, dst, srcPort, dstPort, ttl, tos, id } = fields;
  const headerLen = link.headerLen + UDP_HEADER_LEN;
  const length = UDP_HEADER_LEN + payload.length;
  const block = blocks.alloc(headerLen + payload.length);
  link.putHeader({ src, dst, protocol: IP_PROTO_UDP, ttl, tos }, length, id, block);
  const at = block.rp + link.headerLen;
  emitUdp({ srcPort, dstPort, payloadLen: payload.length }, block.buf, at);
  block.buf.set(payload, at + UDP_HEADER_LEN);
  block.wp = at + length;
  oweChecksum(block, at, udpChecksumAt(at), pseudoSum(src, dst, IP_PROTO_UDP, length));
  allowCuts(link, block);
  if (segmentSize > 0 && segmentSize < payload.length) {
    block.segment = Segment.Udp;
    block.segmentSize = segmentSize;
    block.segmentHeaderLen = headerLen;
  }
  return block;
}

/** A packet with the ICMP message `message`, whose checksum is not yet right. */
export function messagePacket(
  { link, blocks, fields }: {
    readonly link: LinkVersion;
    readonly blocks: BlockPool;
    readonly fields: Omit<DatagramFields, "srcPort" | "dstPort">;
  },
  message: Uint8Array,
): Block {
  const { src, dst, ttl, tos, id } = fields;
  const block = blocks.alloc(link.headerLen + message.length);
  link.putHeader({ src, dst, protocol: link.header.icmp, ttl, tos }, message.length, id, block);
  block.buf.set(message, block.rp + link.headerLen);
  block.wp = block.rp + link.headerLen + message.length;
  allowCuts(link, block);
  return block;
}

/**
 * Linux has put the packet together: it came in fragments, or never left the machine. So it may be cut for the guest's
 * link; of IPv4 the header says so, of IPv6 nothing in the packet does.
 */
function allowCuts(link: LinkVersion, block: Block): void {
  if (link.version === 6 && block.length > link.mtuMin) block.fragmentMax = link.mtuMin;
}

/** Headers longer than this are not kept: IPv4's longest and eight bytes of the transport's. */
const KEPT_MAX = 68;
/** Bytes of the transport header that are kept: all of UDP's and of echo's. */
const TRANSPORT_LEN = 8;

/**
 * The headers of the packet that a socket sent last. Linux gives back the payload of a packet in error, but not its
 * headers: TTL, identification, "don't fragment" and checksum of the quote are taken from here.
 */
export class SentHeaders {
  readonly #bytes = new Uint8Array(KEPT_MAX);
  #length = 0;
  #transport = 0;

  /** Keeps the headers of the packet in `block`, whose transport header is at `transport`. */
  keep(block: Block, transport: number): void {
    const length = transport + TRANSPORT_LEN - block.rp;
    if (length > KEPT_MAX || block.segment !== Segment.None) {
      this.#length = 0;
      return;
    }
    this.#bytes.set(block.buf.subarray(block.rp, block.rp + length));
    this.#length = length;
    this.#transport = transport - block.rp;
  }

  /** TTL of the last packet; 0: it is not known. */
  get ttl(): number {
    return this.#length === 0 ? 0 : versionOfPacket(this.#bytes[0]!)!.header.ttl(this.#bytes, 0);
  }

  /**
   * A packet with these headers and `payload`, of which the end may be missing; null: the last packet was not one to
   * `dst` whose transport header has `word` at `offset`.
   */
  quote(
    link: LinkVersion,
    blocks: BlockPool,
    payload: Uint8Array,
    { dst, offset, word }: { readonly dst: IpAddr; readonly offset: number; readonly word: number },
  ): Block | null {
    const kept = this.#bytes;
    const length = this.#length;
    if (length === 0 || !link.header.dst(kept, 0).equals(dst)) return null;
    if (get16(kept, this.#transport + offset) !== word || length + payload.length > link.header.totalLen(kept, 0)) {
      return null;
    }
    const block = blocks.alloc(length + payload.length);
    block.append(kept.subarray(0, length)).append(payload);
    return block;
  }
}
