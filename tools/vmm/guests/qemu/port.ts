/**
 * QemuPort: the common part of the stream and the datagram port: the FramePort, and its counters.
 *
 * Path: qemu/guest, dgram, qemu/arguments → port → guests/guest, frame_stream, block, host.
 *
 * A frame costs one copy: frames to the guest are gathered during a turn of the loop, and sent together in a microtask,
 * so that a batch costs one system call.
 *
 * @module
 */

import { type Block, BlockPool, Checksum, Segment } from "../../../../kernel/block.ts";
import { type FramePort, NO_OFFLOADS } from "../../../../kernel/host.ts";
import { ETHER_HEADER_LEN } from "../../../../kernel/wire/ethernet.ts";
import { FRAME_MAX } from "./frame_stream.ts";
import type { Loop } from "../guest.ts";

/** Link header and two VLAN tags, which come on top of the MTU. */
const LINK_ROOM = ETHER_HEADER_LEN + 8;
/** Least MTU that IPv4 can use (RFC 791), and the most that leaves room for the header in QEMU's longest frame. */
const MTU_MIN = 68;
const MTU_MAX = 65535;
/** Speed that QEMU reports for its cards. */
const MBPS = 1000;
/** Our end of the cable: locally administered. Only a kernel at this end uses it; a NAT has its own. */
const DEFAULT_MAC = new Uint8Array([0x52, 0x55, 0, 0, 0, 1]);

/** Options of a port. */
export interface QemuPortOptions {
  /** A name for messages. Default: `qemu:` and the path. */
  name?: string;
  /** Bytes of IP packet in one frame; longer ones are dropped. Default 1500. */
  mtu?: number;
  /** Hardware address of our end, 6 bytes. */
  mac?: Uint8Array;
  /** Where received blocks come from. Default: a pool of its own. */
  pool?: BlockPool;
}

/** Counters of a port. Each dropped frame is in exactly one of them. */
class QemuCounters {
  /** Frames passed to `receive`, and their bytes. */
  received = 0;
  receivedBytes = 0;
  /** From the guest, shorter than an Ethernet header. */
  runts = 0;
  /** From the guest, longer than the MTU allows. */
  giants = 0;
  /** Frames taken to be sent, and their bytes; those that wait when a guest disconnects are lost. */
  transmitted = 0;
  transmittedBytes = 0;
  /** Not sent: there is no guest. */
  noGuest = 0;
  /** Not sent: the guest does not keep up, and its buffer is full. */
  overflows = 0;
  /** Not sent: no whole frame, or one with unfinished offloads. */
  unsendable = 0;
  /** How often a guest connected, and how often one disconnected. */
  arrivals = 0;
  departures = 0;
  /** Connections refused because there is a guest already. */
  refused = 0;
  /** Connections ended because of a length that no frame has. */
  malformed = 0;
  /** How often a guest did not keep up, so that frames waited. */
  stalls = 0;
}

/** A cable whose other end is a card of QEMU. */
export abstract class QemuPort implements FramePort {
  readonly kind = "frame";
  readonly name: string;
  readonly mac: Uint8Array;
  readonly mtu: number;
  readonly offloads = NO_OFFLOADS;
  readonly mbps = MBPS;
  readonly counters = new QemuCounters();
  /** Takes each received block, and owns it. */
  receive: ((block: Block) => void) | null = null;
  /** Called when a guest connects or disconnects. */
  onLink: ((up: boolean) => void) | null = null;
  readonly #pool: BlockPool;
  readonly #frameMax: number;
  #link = false;
  #flushSet = false;
  protected closed = false;

  constructor(where: string, options: QemuPortOptions) {
    const { mtu = 1500, mac = DEFAULT_MAC } = options;
    if (!Number.isInteger(mtu) || mtu < MTU_MIN || mtu > MTU_MAX) {
      throw new RangeError(`Cannot use MTU ${mtu}: a whole number of ${MTU_MIN} to ${MTU_MAX} is needed`);
    }
    this.name = options.name ?? `qemu:${where}`;
    this.mtu = mtu;
    this.mac = mac;
    this.#pool = options.pool ?? new BlockPool();
    this.#frameMax = mtu + LINK_ROOM;
  }

  /** Whether there is a guest. */
  get link(): boolean {
    return this.#link;
  }

  /** The value of QEMU's option `-netdev` for a machine that is to be this guest. */
  abstract netdev(id: string): string;

  /** Lets `loop` drain it. */
  abstract start(loop: Loop): void;

  /** Sends a frame to the guest, if there is one and it keeps up. */
  transmit(block: Block): boolean {
    const { counters } = this;
    const length = block.length;
    const sent = this.#maySend(block, length) && this.enqueue(block, length);
    block.free();
    if (!sent) return false;
    counters.transmitted++;
    counters.transmittedBytes += length;
    if (!this.#flushSet) {
      this.#flushSet = true;
      queueMicrotask(this.#flushSoon);
    }
    return true;
  }

  #maySend(block: Block, length: number): boolean {
    if (!this.#link) {
      this.counters.noGuest++;
      return false;
    }
    const unfinished = block.checksum === Checksum.Owed || block.segment !== Segment.None;
    if (!unfinished && length >= ETHER_HEADER_LEN && length <= FRAME_MAX) return true;
    this.counters.unsendable++;
    return false;
  }

  #flushSoon = (): void => {
    this.#flushSet = false;
    if (!this.closed) this.flush();
  };

  /** Queues a copy of a frame; false, counted as an overflow, if there is no room. */
  protected abstract enqueue(block: Block, length: number): boolean;

  /** Sends as many waiting frames as there is room for. */
  protected abstract flush(): void;

  /** Passes a frame of the guest to `receive`, as a block of its own. */
  protected deliver = (frame: Uint8Array): void => {
    const { counters } = this;
    const { length } = frame;
    if (length < ETHER_HEADER_LEN) counters.runts++;
    else if (length > this.#frameMax) counters.giants++;
    else {
      counters.received++;
      counters.receivedBytes += length;
      if (this.receive !== null) this.receive(this.#pool.from(frame));
    }
  };

  /** Sets whether there is a guest. */
  protected setLink(up: boolean): void {
    if (this.#link === up) return;
    this.#link = up;
    if (up) this.counters.arrivals++;
    else this.counters.departures++;
    this.onLink?.(up);
  }

  /** Closes it: nothing is received after it, and no guest can connect. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.shut();
    this.setLink(false);
  }

  /** Closes the sockets. */
  protected abstract shut(): void;

  [Symbol.dispose](): void {
    this.close();
  }
}

/** `text` as a value in an option of QEMU, where a comma stands for itself only when doubled. */
export function qemuValue(text: string): string {
  return text.replaceAll(",", ",,");
}
