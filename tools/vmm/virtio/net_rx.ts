/**
 * NetRx: the receive queue of a virtio network card (virtio 1.2, 5.1.6.3 and 4).
 *
 * Path: net → net_rx → iov, ids, mmio, net_counters.
 *
 * A frame and its header are written as one run of bytes into the driver's buffers: into one chain, or with MRG_RXBUF
 * into as many as needed, which are returned together. The boundaries between descriptors do not matter.
 *
 * Work that the guest cannot do is done here (checksums) or refused (cutting): see {@link RxRefusal}. A refused block
 * is still the caller's, and no part of it has reached the guest.
 *
 * @module
 */

import { type Block, Checksum, Segment } from "../../../kernel/block.ts";
import { finishChecksum } from "../../../kernel/inet/segment.ts";
import { put16le } from "../../../kernel/wire/bytes.ts";
import { ETHER_HEADER_LEN } from "../../../kernel/wire/ethernet.ts";
import { Iov } from "./iov.ts";
import { DeviceError } from "./ids.ts";
import type { VirtioMmio } from "./mmio.ts";
import type { NetCounters } from "./net_counters.ts";
import type { RxFilter } from "./net_ctrl.ts";
import {
  type HeaderCaps,
  linkLength,
  metadataFits,
  mustCut,
  NET_HEADER_LEN,
  NO_CAPS,
  NUM_BUFFERS,
  putRxHeader,
} from "./net_header.ts";
import { DescChain, type VirtQueue } from "./queue.ts";

const NO_EXTENTS: readonly Uint8Array[] = [];

/** Retries of one frame when buffers arrive just then: bounded, since a guest may play with its index. */
const GATHER_TRIES = 4;

/** Reasons why the guest did not get a frame. */
export type RxRefusal =
  /** There is no driver, or it must reset the card. */
  | "not-ready"
  | "link-down"
  /** Too few buffers are offered now: worth another try when there is room. */
  | "no-buffers"
  /** Longer than the MTU, or than all buffers together. */
  | "too-long"
  /** Its segments must be cut first. */
  | "must-cut"
  /** Not a frame, or its metadata are wrong. */
  | "bad-frame";

/** Options of the queue. */
interface NetRxOptions {
  readonly queue: VirtQueue;
  readonly mmio: VirtioMmio;
  readonly counters: NetCounters;
  readonly filter: RxFilter;
  /** Most bytes of payload in a frame that is not to be cut. */
  readonly mtu: number;
}

/** The receive queue. */
export class NetRx {
  /** Work that may be left to the driver. */
  caps: HeaderCaps = NO_CAPS;
  mergeable = false;
  link = true;
  /** Why the last frame was refused; null: it was not. */
  refusal: RxRefusal | null = null;
  /** Frames were refused for lack of buffers, and none were offered since. */
  starved = false;
  #options: NetRxOptions;
  #header = new Uint8Array(NET_HEADER_LEN);
  /** Chains that one frame goes into; as many as the longest so far needed. */
  #chains: DescChain[] = [];
  #room = new Iov();

  constructor(options: NetRxOptions) {
    this.#options = options;
  }

  /** As `VirtioNet.receive`. */
  receive(block: Block, more: boolean): boolean {
    const { counters, filter } = this.#options;
    const { length } = block;
    this.refusal = this.#check(block, length);
    if (this.refusal === null && !filter.accepts(block.buf, block.rp)) {
      counters.rxFiltered++;
      block.free();
      return true;
    }
    if (this.refusal === null) this.#prepare(block);
    const count = this.refusal === null ? this.#gather(length + NET_HEADER_LEN) : 0;
    if (this.refusal !== null) {
      this.#count(this.refusal);
      return false;
    }
    this.#fill(block, count);
    counters.rxFrames++;
    counters.rxBytes += length;
    block.free();
    if (!more) this.flush();
    return true;
  }

  /** Publishes the frames received since then, and interrupts the guest if it asked for that. */
  flush(): void {
    const { queue, mmio } = this.#options;
    if (queue.publish()) mmio.interruptUsed();
  }

  #check(block: Block, length: number): RxRefusal | null {
    const { queue, mmio } = this.#options;
    if (!queue.ready || !mmio.live) return "not-ready";
    if (!this.link) return "link-down";
    if (block.wp - block.rp < ETHER_HEADER_LEN || !metadataFits(block)) return "bad-frame";
    const frameMax = this.#options.mtu + linkLength(block);
    if (length <= frameMax) return null;
    if (mustCut(block, this.caps, frameMax)) return "must-cut";
    return block.segment === Segment.None ? "too-long" : null;
  }

  /** Does the work that the guest cannot, and writes the header. */
  #prepare(block: Block): void {
    if (block.checksum === Checksum.Owed && !this.caps.checksum) {
      finishChecksum(block);
      this.#options.counters.rxChecksums++;
    }
    putRxHeader(this.#header, block, this.caps, this.#options.mtu + linkLength(block));
  }

  /** Takes chains with room for `length` bytes; returns how many, or sets `refusal` and has taken none. */
  #gather(length: number): number {
    const { queue, mmio } = this.#options;
    let room = 0;
    let count = 0;
    let tries = GATHER_TRIES;
    while (room < length) {
      const chain = this.#chains[count] ??= new DescChain();
      const popped = queue.pop(chain);
      if (popped === "empty") {
        if (count < queue.size && queue.wantNotify() && --tries > 0) continue;
        return this.#refuse(count, count < queue.size ? "no-buffers" : "too-long");
      }
      const error = popped === "ok" ? badBuffer(chain) : popped;
      if (error !== null) {
        mmio.fault(error);
        return this.#refuse(0, "not-ready");
      }
      room += chain.writable.length;
      count++;
      if (room < length && !this.mergeable) return this.#refuse(count, "too-long");
    }
    return count;
  }

  #refuse(taken: number, refusal: RxRefusal): number {
    this.#options.queue.unpop(taken);
    this.refusal = refusal;
    if (refusal === "no-buffers") this.starved = true;
    return 0;
  }

  /** Writes header and frame into the first `count` chains and returns them. */
  #fill(block: Block, count: number): void {
    const { queue } = this.#options;
    if (count > 1) put16le(this.#header, NUM_BUFFERS, count);
    const room = count === 1 ? this.#chains[0]!.writable : this.#roomOf(count);
    room.copyIn(0, this.#header, 0, NET_HEADER_LEN);
    let at = NET_HEADER_LEN + block.wp - block.rp;
    room.copyIn(NET_HEADER_LEN, block.buf, block.rp, block.wp - block.rp);
    for (const extent of block.extents ?? NO_EXTENTS) {
      room.copyIn(at, extent, 0, extent.length);
      at += extent.length;
    }
    for (let i = 0; i < count; i++) {
      const { head, writable } = this.#chains[i]!;
      queue.push(head, Math.min(at, writable.length));
      at -= writable.length;
    }
  }

  /** The bytes of the first `count` chains, one after the other. */
  #roomOf(count: number): Iov {
    const room = this.#room;
    room.clear();
    for (let i = 0; i < count; i++) room.addAll(this.#chains[i]!.writable);
    return room;
  }

  #count(refusal: RxRefusal): void {
    const { counters } = this.#options;
    switch (refusal) {
      case "not-ready":
        counters.rxNotReady++;
        break;
      case "link-down":
        counters.rxLinkDown++;
        break;
      case "no-buffers":
        counters.rxNoBuffers++;
        break;
      case "too-long":
        counters.rxLong++;
        break;
      case "must-cut":
        counters.rxMustCut++;
        break;
      case "bad-frame":
        counters.rxBadFrame++;
        break;
    }
  }
}

/** Whether a receive buffer is valid (5.1.6.3.1): each may be the first of a frame, which holds the header. */
function badBuffer(chain: DescChain): DeviceError | null {
  const { readable, writable } = chain;
  return readable.count > 0 || writable.length < NET_HEADER_LEN ? DeviceError.BadRxBuffer : null;
}
