/**
 * EtherConv: one numbered conversation of a NIC: which frames it wants, the queue they wait in, and who owns it.
 *
 * Path: ether → ether_conv → queue; dev_ether → ether_conv.
 *
 * A conversation is made when it is first needed and used again after its last close (Akaros `netfile`).
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import { TapEvent, TapList } from "../../kernel/fd_tap.ts";
import { Queue } from "../../kernel/queue.ts";

/** The type of a conversation that is not connected and gets no frames. */
export const TYPE_NONE = 0;
/** Permission bits of the files of a conversation without an owner; the first opener becomes the owner. */
export const PERM_UNOWNED = 0o666;
/** Permission bits of the files of a conversation with an owner. */
export const PERM_OWNED = 0o660;
/** Most multicast addresses of one conversation (Plan 9's Nmaxaddr). */
export const GROUPS_MAX = 64;

/** Input queue limits in bytes: each entry is for links slower than its Mbit/s (Akaros `netif`). */
const QUEUE_LIMITS: readonly (readonly [belowMbps: number, bytes: number])[] = [
  [100, 64 * 1024],
  [1000, 256 * 1024],
  [10_000, 1024 * 1024],
  [Infinity, 8 * 1024 * 1024],
];

/** One conversation of a NIC. */
export class EtherConv {
  /** Ethertype it wants; negative: every type; {@link TYPE_NONE}: nothing. */
  type: number = TYPE_NONE;
  /** It gets frames to other stations, too. */
  promiscuous = false;
  /** It gets records of 68 bytes instead of frames. */
  headersOnly = false;
  /** It is a bridge: it does not get frames that bridges wrote. */
  bridge = false;
  /** Its reader takes checksum and segmentation metadata. */
  offload = false;
  /** Multicast addresses that it joined, by `MacAddr.key`. */
  readonly groups: Set<number> = new Set();
  /** Empty: no owner. */
  owner = "";
  /** Permission bits of ctl and data. */
  perm: number = PERM_UNOWNED;
  /** Open chans of ctl and data. */
  inUse = 0;
  /** Frames and records delivered. */
  received = 0;
  /** Frames and records that found its queue full. */
  overflows = 0;
  /** Frames and records that wait to be read. */
  readonly queue: Queue;
  /** Taps on the data file. */
  readonly taps: TapList = new TapList();

  /** Bytes that the input queue of a conversation on a link of `mbps` holds. */
  static inputLimit(mbps: number): number {
    for (const [belowMbps, bytes] of QUEUE_LIMITS) if (mbps < belowMbps) return bytes;
    return QUEUE_LIMITS[0]![1];
  }

  constructor(readonly number: number) {
    this.queue = new Queue({ limit: EtherConv.inputLimit(0), message: true });
    this.queue.onEdge = (events) => this.#edge(events);
  }

  /** Claims it for `user`, on a link of `mbps`; an open conversation is shared. */
  claim(user: string, mbps: number): void {
    if (this.inUse++ > 0) return;
    this.queue.reopen();
    this.queue.setLimit(EtherConv.inputLimit(mbps));
    this.owner = user;
    this.perm = PERM_OWNED;
  }

  /** Resets it after the last close. */
  reset(): void {
    this.type = TYPE_NONE;
    this.promiscuous =
      this.headersOnly =
      this.bridge =
      this.offload =
        false;
    this.groups.clear();
    this.owner = "";
    this.perm = PERM_UNOWNED;
    this.received = this.overflows = 0;
    this.queue.close();
  }

  /** Queues a frame or record; false if the queue was full. */
  take(block: Block): boolean {
    const result = this.queue.pass(block);
    if (result === "ok") this.received++;
    return result !== "full";
  }

  /** Readiness of data now, bits of {@link TapEvent}. Writing never waits: the port takes a frame or drops it. */
  get level(): number {
    const { queue } = this;
    const readable = queue.blocks > 0 ? TapEvent.Readable : 0;
    return readable | (queue.closed ? TapEvent.Hangup | TapEvent.RdHup : TapEvent.Writable);
  }

  /** Writers do not use this queue: room in it is no event. */
  #edge(events: number): void {
    const hungUp = (events & TapEvent.Hangup) !== 0;
    const news = (events & TapEvent.Readable) | (hungUp ? TapEvent.Hangup | TapEvent.RdHup : 0);
    if (news !== 0) this.taps.fire(news);
  }
}
