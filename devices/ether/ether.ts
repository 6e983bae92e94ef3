/**
 * EtherController: one NIC; which conversations get a frame, and how a frame is sent (Akaros `ether`).
 *
 * Path: host → ether → ether_conv, offload; dev_ether → ether.
 *
 * A conversation gets a frame if it wants its type, and if the frame is for us (our address, broadcast, a group that a
 * conversation joined) or the conversation is promiscuous. Frames that we send to ourselves, to all, or while a
 * conversation is promiscuous are looped back by the same rule, in a job: a writer is never called from its own write.
 * A frame that is looped back only because of promiscuity reaches promiscuous conversations alone, so that monitoring a
 * NIC changes nothing for others.
 *
 * Limits: 8 conversations; 256 KiB of frames that wait to be looped back. No VLANs: a tagged frame has type 0x8100.
 *
 * @module
 */

import { type Block, type BlockPool, Checksum, Segment } from "../../kernel/block.ts";
import { KernelError } from "../../kernel/error.ts";
import type { FramePort } from "../../kernel/host.ts";
import { finishChecksum } from "../../kernel/inet/segment.ts";
import { Job } from "../../kernel/job.ts";
import { Queue } from "../../kernel/queue.ts";
import type { Clock } from "../../kernel/time.ts";
import { get16, getWord } from "../../kernel/wire/bytes.ts";
import {
  ETH_ZLEN,
  ETHER_HEADER_LEN,
  etherDstIs,
  etherSrcIs,
  etherTypeAt,
  setEtherSrc,
} from "../../kernel/wire/ethernet.ts";
import { MAC_BROADCAST, MacAddr } from "../../kernel/wire/mac_addr.ts";
import { EtherConv, GROUPS_MAX, TYPE_NONE } from "./ether_conv.ts";
import { headersOf } from "./headers_only.ts";
import { cutToFrames, makePlain, portCuts } from "./offload.ts";

/** Conversations of one NIC (Akaros). */
export const CONVS_MAX = 8;
/** Bytes of the loop-back queue: more than a burst of broadcasts, and small for an idle kernel. */
export const LOOP_LIMIT = 256 * 1024;

/** Services that a controller uses. */
export interface EtherEnv {
  readonly clock: Clock;
  readonly blocks: BlockPool;
}

/** Counters of a NIC; each dropped frame is in exactly one of them. */
class EtherCounters {
  /** Frames from the wire, dropped ones included. */
  inFrames = 0;
  inBytes = 0;
  /** Frames that the port took. */
  outFrames = 0;
  outBytes = 0;
  /**
   * Dropped for their length: from the wire, shorter than an Ethernet header; or a segment longer than the MTU that
   * cannot be cut for a reader without `offload on`, counted once for each such reader.
   */
  lengthErrors = 0;
  /** Not for us, and no conversation is promiscuous: dropped. */
  filtered = 0;
  /** For us, but no conversation wants the type: dropped. */
  unclaimed = 0;
  /** Did not fit the queue of a conversation; counted once for each. */
  softOverflows = 0;
  /** Frames that were looped back. */
  looped = 0;
  /** Found no room in the loop-back queue. */
  loopOverflows = 0;
  /** Frames that the port could not send. */
  outputErrors = 0;
}

/** One NIC. */
export class EtherController {
  readonly counters: EtherCounters = new EtherCounters();
  /** Its address. */
  readonly mac: MacAddr;
  /** Conversations by number; null: never used. */
  readonly convs: readonly (EtherConv | null)[];
  /** Why the NIC is gone; null: it is there. */
  gone: string | null = null;
  #convs: (EtherConv | null)[] = new Array<EtherConv | null>(CONVS_MAX).fill(null);
  #env: EtherEnv;
  /** For each type that a conversation asked for: that one, and those that want every type. */
  #byType = new Map<number, readonly EtherConv[]>();
  /** Conversations that want every type. */
  #everyType: readonly EtherConv[] = [];
  /** Joined multicast addresses, and by how many conversations. */
  #groups = new Map<number, number>();
  #promiscuous = 0;
  #loop = new Queue({ limit: LOOP_LIMIT, message: true });
  #loopJob: Job;

  constructor(readonly number: number, readonly port: FramePort, env: EtherEnv) {
    this.#env = env;
    this.mac = MacAddr.at(port.mac, 0);
    this.convs = this.#convs;
    this.#loopJob = new Job(env.clock.jobs, () => this.#drainLoop());
    port.receive = (block) => this.etherInput(block);
  }

  /** How many conversations are promiscuous. */
  get promiscuous(): number {
    return this.#promiscuous;
  }

  /** Longest frame without segmentation, in bytes. */
  get frameMax(): number {
    return this.port.mtu + ETHER_HEADER_LEN;
  }

  /** Takes a frame from the wire; consumes it. */
  etherInput(block: Block): void {
    if (block.extents !== null) block.own();
    const length = block.wp - block.rp;
    const { counters } = this;
    counters.inFrames++;
    counters.inBytes += length;
    if (length < ETHER_HEADER_LEN) {
      counters.lengthErrors++;
      block.free();
      return;
    }
    this.#demux(block, true);
  }

  /** Gives a frame to every conversation that wants it: clones, and the block itself to the last. */
  #demux(block: Block, fromWire: boolean): void {
    const { buf, rp } = block;
    const forUs = this.#isForUs(buf, rp, fromWire);
    if (!forUs && this.#promiscuous === 0) {
      this.counters.filtered++;
      block.free();
      return;
    }
    const mayBridge = fromWire || etherSrcIs(buf, rp, this.mac);
    const convs = this.#byType.get(etherTypeAt(buf, rp)) ?? this.#everyType;
    let last: EtherConv | null = null;
    let wanted = false;
    for (let i = 0; i < convs.length; i++) {
      const conv = convs[i]!;
      if (!(forUs || conv.promiscuous) || (conv.bridge && !mayBridge)) continue;
      wanted = true;
      if (!conv.queue.canWrite) {
        this.#overflow(conv);
      } else if (conv.headersOnly) {
        this.#give(conv, headersOf(block, this.#env));
      } else {
        if (last !== null) this.#give(last, block.clone());
        last = conv;
      }
    }
    if (last !== null) return this.#give(last, block);
    if (!wanted) this.counters.unclaimed++;
    block.free();
  }

  /** Whether a frame is for every conversation of its type. */
  #isForUs(buf: Uint8Array, at: number, fromWire: boolean): boolean {
    const hi = get16(buf, at);
    const lo = getWord(buf, at + 2);
    if ((hi & 0x0100) === 0) return hi === this.mac.hi && lo === this.mac.lo;
    if (hi === 0xffff && lo === -1) return true;
    return fromWire && this.#groups.size > 0 && this.#groups.has(hi * 0x100000000 + (lo >>> 0));
  }

  /** Gives a frame to one conversation; a reader that did not ask for offload metadata gets it as on the wire. */
  #give(conv: EtherConv, block: Block): void {
    if (!conv.offload && (block.checksum !== Checksum.None || block.segment !== Segment.None)) {
      if (block.segment !== Segment.None && block.length > this.frameMax) return this.#giveCut(conv, block);
      makePlain(block);
    }
    if (!conv.take(block)) this.#overflow(conv);
  }

  /** Cuts a segment that is longer than the wire allows. */
  #giveCut(conv: EtherConv, segment: Block): void {
    const frames = cutToFrames(segment, this.frameMax, this.#env.blocks);
    if (frames.length === 0) this.counters.lengthErrors++;
    for (const frame of frames) if (!conv.take(frame)) this.#overflow(conv);
  }

  #overflow(conv: EtherConv): void {
    conv.overflows++;
    this.counters.softOverflows++;
  }

  /** Sends a copy of a frame, with our address as its source. The caller has checked the length. */
  write(bytes: Uint8Array): void {
    const block = this.#env.blocks.alloc(Math.max(bytes.length, ETH_ZLEN)).append(bytes);
    setEtherSrc(block.buf, block.rp, this.mac);
    this.output(block);
  }

  /** Sends a frame as it is; consumes it. The caller has checked the length and that the metadata fit. */
  output(block: Block): void {
    const { port, counters } = this;
    if (block.extents !== null && block.wp - block.rp < ETHER_HEADER_LEN) block.own();
    this.#finish(block);
    if (etherDstIs(block.buf, block.rp, this.mac)) return this.#loopBack(block);
    const toAll = etherDstIs(block.buf, block.rp, MAC_BROADCAST);
    if (toAll || this.#promiscuous > 0) this.#loopBack(block.clone());
    const length = block.length;
    if (port.transmit(block)) {
      counters.outFrames++;
      counters.outBytes += length;
    } else {
      counters.outputErrors++;
    }
  }

  /** Does in software what the port cannot, and pads a short frame with zeros (IEEE 802.3 4.2.3.3). */
  #finish(block: Block): void {
    const { offloads } = this.port;
    if (!portCuts(block, offloads)) block.segment = Segment.None;
    if (!offloads.checksum) finishChecksum(block);
    const missing = ETH_ZLEN - block.length;
    if (missing <= 0) return;
    if (block.extents !== null) block.own();
    if (block.tailroom < missing) {
      block.append(PADDING.subarray(0, missing));
      return;
    }
    block.buf.fill(0, block.wp, block.wp + missing);
    block.wp += missing;
  }

  #loopBack(block: Block): void {
    if (this.#loop.pass(block) === "ok") {
      this.counters.looped++;
      this.#loopJob.wake();
    } else {
      this.counters.loopOverflows++;
    }
  }

  /** The job: frames that were looped back arrive; those looped back meanwhile wait for the next one. */
  #drainLoop(): void {
    for (let left = this.#loop.blocks; left > 0; left--) {
      const block = this.#loop.bread();
      if (typeof block === "string") return;
      this.#demux(block, false);
    }
  }

  /** A conversation that is not in use. ENODEV: all are busy, or the NIC is gone. */
  freeConv(): EtherConv {
    this.checkThere();
    const at = this.#convs.findIndex((conv) => conv === null || conv.inUse === 0);
    if (at < 0) {
      throw new KernelError("ENODEV", `Cannot open ether${this.number}: all ${CONVS_MAX} conversations are in use`);
    }
    return this.#convs[at] ??= new EtherConv(at);
  }

  /** ENODEV if the NIC is gone. */
  checkThere(): void {
    if (this.gone !== null) throw new KernelError("ENODEV", `Cannot use ether${this.number}: ${this.gone}`);
  }

  /** Takes `conv` for one open file of `user`. */
  claim(conv: EtherConv, user: string): void {
    this.checkThere();
    conv.claim(user, this.port.mbps);
  }

  /** An open file of `conv` was closed; with the last one it is free again. */
  release(conv: EtherConv): void {
    if (--conv.inUse > 0) return;
    if (conv.promiscuous) this.#promiscuous--;
    for (const group of conv.groups) this.#leave(group);
    conv.reset();
    this.#sortTypes();
  }

  /** Gives `conv` the frames of `type`; a negative one stands for all. EBUSY: another has that type. */
  connect(conv: EtherConv, type: number): void {
    const busy = type > 0 && this.#convs.some((other) => other !== null && other !== conv && other.type === type);
    if (busy) throw new KernelError("EBUSY", `Cannot connect to type 0x${type.toString(16)}: it is in use`);
    conv.type = type;
    this.#sortTypes();
  }

  /** Rebuilds the tables of types. They are replaced, not changed: an input may be going through one. */
  #sortTypes(): void {
    const convs = this.#convs.filter((conv) => conv !== null);
    this.#everyType = convs.filter((conv) => conv.type < TYPE_NONE);
    this.#byType.clear();
    for (const { type } of convs) {
      if (type > TYPE_NONE) this.#byType.set(type, convs.filter((conv) => conv.type === type || conv.type < TYPE_NONE));
    }
  }

  /** Delivers every frame on the wire to `conv`. */
  setPromiscuous(conv: EtherConv): void {
    if (!conv.promiscuous) this.#promiscuous++;
    conv.promiscuous = true;
  }

  /** Joins a multicast address. EFAIL: not one; ENOSPC: `conv` has too many. */
  addGroup(conv: EtherConv, mac: MacAddr): void {
    if (!mac.isGroup) throw new KernelError("EFAIL", `Cannot add "${mac}": not a multicast address`);
    if (conv.groups.has(mac.key)) return;
    if (conv.groups.size >= GROUPS_MAX) {
      throw new KernelError("ENOSPC", `Cannot add "${mac}": the conversation has ${GROUPS_MAX} addresses`);
    }
    conv.groups.add(mac.key);
    this.#groups.set(mac.key, (this.#groups.get(mac.key) ?? 0) + 1);
  }

  /** Leaves a multicast address. EFAIL: `conv` had not joined it. */
  removeGroup(conv: EtherConv, mac: MacAddr): void {
    if (!conv.groups.delete(mac.key)) throw new KernelError("EFAIL", `Cannot remove "${mac}": it was not added`);
    this.#leave(mac.key);
  }

  #leave(group: number): void {
    const users = this.#groups.get(group)! - 1;
    if (users > 0) this.#groups.set(group, users);
    else this.#groups.delete(group);
  }

  /** The port is gone, for `reason`: open conversations are hung up and nothing is sent or received any more. */
  hangup(reason: string): void {
    if (this.gone !== null) return;
    this.gone = reason;
    this.port.receive = null;
    this.#loop.close();
    for (const conv of this.#convs) if (conv !== null && conv.inUse > 0) conv.queue.hangup(reason);
  }
}

const PADDING = new Uint8Array(ETH_ZLEN);
