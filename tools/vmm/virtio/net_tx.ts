/**
 * NetTx: the transmit queue of a virtio network card (virtio 1.2, 5.1.6.2).
 *
 * Path: net → net_tx → ids, net_header, net_counters, mmio.
 *
 * The header and the packet's own headers are copied out of the guest's memory once, before anything looks at them. A
 * short frame is copied whole; of a long one the payload stays where it is and travels as borrowed extents, valid until
 * `onFrame` returns. Only then is the chain given back.
 *
 * `onFrame` may call back into the card in any way, a reset included: a queue that was reset meanwhile is not touched.
 *
 * Limits: `TX_BURST` frames in one run, then others get their turn.
 *
 * @module
 */

import { type Block, BLOCK_HEADROOM, type BlockPool, Segment } from "../../../kernel/block.ts";
import { ETHER_HEADER_LEN, VLAN_TAG_LEN } from "../../../kernel/wire/ethernet.ts";
import { DeviceError } from "./ids.ts";
import { type HeaderCaps, headersEnd, linkLength, NET_HEADER_LEN, NO_CAPS, takeTxHeader } from "./net_header.ts";
import type { NetCounters } from "./net_counters.ts";
import type { VirtioMmio } from "./mmio.ts";
import { DescChain, type VirtQueue } from "./queue.ts";

/** Frames handled before others get their turn: a full ring of the usual size. */
export const TX_BURST = 256;
/** Frames whose buffers go back together: the driver may refill while we go on. */
const PUBLISH_EVERY = 64;
/** Longest frame: the largest IP packet and a tagged link header. */
const TX_FRAME_MAX = 65535 + ETHER_HEADER_LEN + VLAN_TAG_LEN;
/** Bytes copied of a long frame: link header with tag, and IP and TCP headers with all options (18 + 60 + 60). */
export const TX_HEADERS_COPIED = 192;
/** Frames up to here are copied whole, into the pool's smallest buffer: views would take 35 ns more (measured). */
export const TX_COPIED_WHOLE = 2048 - BLOCK_HEADROOM;

/** Options of the queue. */
interface NetTxOptions {
  readonly queue: VirtQueue;
  readonly mmio: VirtioMmio;
  readonly blocks: BlockPool;
  readonly counters: NetCounters;
  /** Gets each frame, and owns it; extents are valid until it returns. */
  readonly onFrame: (block: Block) => void;
}

/** The transmit queue. */
export class NetTx {
  /** Work that the driver may leave to the device. */
  caps: HeaderCaps = NO_CAPS;
  /** Most bytes behind the link header of a frame that is not to be cut. */
  packetMax = 0;
  link = true;
  #options: NetTxOptions;
  #chain = new DescChain();
  #header = new Uint8Array(NET_HEADER_LEN);

  constructor(options: NetTxOptions) {
    this.#options = options;
  }

  /** Sets the limits for a driver that negotiated `caps`, and on the MTU (null: it chose its own). */
  configure(caps: HeaderCaps, mtu: number | null): void {
    this.caps = caps;
    this.packetMax = mtu ?? TX_FRAME_MAX;
  }

  /** Handles up to `TX_BURST` waiting frames; true: more may wait, and the driver will not notify of them. */
  drain(): boolean {
    const { queue, mmio } = this.#options;
    // The driver made a mistake elsewhere after its notify.
    if (!mmio.live) return false;
    const more = this.#burst();
    if (queue.publish()) mmio.interruptUsed();
    return more;
  }

  #burst(): boolean {
    const { queue, mmio } = this.#options;
    const { epoch } = queue;
    queue.stopNotify();
    for (let left = TX_BURST - 1; left >= 0; left--) {
      const popped = queue.pop(this.#chain);
      if (popped === "empty") {
        if (queue.wantNotify()) continue;
        return false;
      }
      const error = popped === "ok" ? this.#send() : popped;
      // The frame's receiver may have let the driver run.
      if (queue.epoch !== epoch || !mmio.live) return false;
      if (error !== null) {
        mmio.fault(error);
        return false;
      }
      queue.push(this.#chain.head, 0);
      if (left % PUBLISH_EVERY !== 0 || !queue.publish()) continue;
      mmio.interruptUsed();
      if (queue.epoch !== epoch || !mmio.live) return false;
    }
    return true;
  }

  /** Hands on the frame of the chain; an unusable frame is counted, an invalid chain is an error. */
  #send(): DeviceError | null {
    const { counters } = this.#options;
    const { readable, writable } = this.#chain;
    const length = readable.length - NET_HEADER_LEN;
    if (length < 0 || writable.count > 0) return DeviceError.BadTxBuffer;
    if (!this.link) counters.txLinkDown++;
    else if (length < ETHER_HEADER_LEN) counters.txShort++;
    else if (length > TX_FRAME_MAX) counters.txLong++;
    else this.#take(length);
    return null;
  }

  #take(length: number): void {
    const { blocks, counters, onFrame } = this.#options;
    const { readable } = this.#chain;
    const header = this.#header;
    readable.copyOut(0, header, 0, NET_HEADER_LEN);
    let own = length;
    if (length > TX_COPIED_WHOLE) own = Math.min(length, Math.max(TX_HEADERS_COPIED, headersEnd(header)));
    // Room for all of it: a receiver that makes the rest its own (a queue must) then does so in place.
    const block = blocks.alloc(length);
    readable.copyOut(NET_HEADER_LEN, block.buf, block.rp, own);
    block.wp += own;
    if (own < length) block.extents = readable.views(NET_HEADER_LEN + own);
    const fault = takeTxHeader(header, block, this.caps);
    if (fault === null && (block.segment !== Segment.None || length <= this.packetMax + linkLength(block))) {
      counters.txFrames++;
      counters.txBytes += length;
      return onFrame(block);
    }
    if (fault === null) counters.txLong++;
    else if (fault === "not-negotiated") counters.txNotNegotiated++;
    else counters.txBadHeader++;
    block.free();
  }
}
