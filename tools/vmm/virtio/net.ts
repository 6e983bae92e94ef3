/**
 * VirtioNet: a network card for a guest, as a virtio device behind a page of mmio registers (virtio 1.2, 5.1).
 *
 * Path: vm → net → mmio, guest_memory, ids, device.
 *
 * It carries frames and does not look into them. Its owner gets each frame of the guest by `onFrame` and sends frames
 * by `receive`. Both directions carry a Block's metadata, so that a checksum may stay owed and a segment uncut between
 * a guest and hardware that can do the work.
 *
 * Queues: 0 receive, 1 transmit, 2 control. Transmitting is a job: the guest's notify returns at once, and neither side
 * ever runs inside the other. Commands of the control queue are run inside the notify, as drivers wait for them.
 *
 * Limits: one pair of queues; 256 descriptors each (a 64 KiB frame over 2 KiB buffers takes 33), 64 for control.
 *
 * @module
 */

import { assert } from "../../../kernel/assert.ts";
import { type Block, BlockPool } from "../../../kernel/block.ts";
import type { PortOffloads } from "../../../kernel/host.ts";
import { Job, type JobQueue } from "../../../kernel/job.ts";
import { put16le } from "../../../kernel/wire/bytes.ts";
import { ETHER_MTU } from "../../../kernel/wire/ethernet.ts";
import { MAC_ADDR_LEN, MacAddr } from "../../../kernel/wire/mac_addr.ts";
import type { GuestMemory } from "./guest_memory.ts";
import { DEVICE_ID_NET, DeviceError, Feature, Features, NO_FEATURES } from "./ids.ts";
import type { VirtioDevice } from "./device.ts";
import { VirtioMmio } from "./mmio.ts";
import { NetCounters } from "./net_counters.ts";
import { CONTROL_BYTES_MAX, CONTROL_HEADER_LEN, ControlAck, runControl, RxFilter } from "./net_ctrl.ts";
import { rxCaps, txCaps } from "./net_header.ts";
import { NetRx, type RxRefusal } from "./net_rx.ts";
import { NetTx } from "./net_tx.ts";
import { DescChain } from "./queue.ts";

const RX_QUEUE = 0;
const TX_QUEUE = 1;
const CTRL_QUEUE = 2;
const DATA_QUEUE_SIZE = 256;
const CTRL_QUEUE_SIZE = 64;

// Configuration space (5.1.4): mac 6, status 2, max_virtqueue_pairs 2, mtu 2.
const CONFIG_LEN = 12;
const CONFIG_STATUS = 6;
const CONFIG_PAIRS = 8;
const CONFIG_MTU = 10;
const LINK_UP = 1;

/** Smallest MTU (5.1.4.1), and the largest that fits. */
const MTU_MIN = 68;
const MTU_MAX = 65535;

/** All features that a card can offer. */
export const NET_FEATURES: readonly number[] = Object.values(Feature);

/** Features that need another one (5.1.3.1): any of those listed. */
const NEEDS: readonly (readonly [feature: number, needed: readonly number[]])[] = [
  [Feature.GuestTso4, [Feature.GuestCsum]],
  [Feature.GuestTso6, [Feature.GuestCsum]],
  [Feature.GuestUso4, [Feature.GuestCsum]],
  [Feature.GuestUso6, [Feature.GuestCsum]],
  [Feature.GuestEcn, [Feature.GuestTso4, Feature.GuestTso6]],
  [Feature.HostTso4, [Feature.Csum]],
  [Feature.HostTso6, [Feature.Csum]],
  [Feature.HostUso, [Feature.Csum]],
  [Feature.HostEcn, [Feature.HostTso4, Feature.HostTso6]],
  [Feature.CtrlRx, [Feature.CtrlVq]],
  [Feature.CtrlRxExtra, [Feature.CtrlVq]],
  [Feature.CtrlMacAddr, [Feature.CtrlVq]],
];

/** VERSION_1 and those of `features` whose needs are among them: no others may be offered (2.2.2). */
function offerable(features: readonly number[]): Features {
  const offered = new Set([...features, Feature.Version1]);
  // A feature stands below those that it needs.
  for (const [feature, needed] of NEEDS) if (!needed.some((one) => offered.has(one))) offered.delete(feature);
  return Features.of(offered);
}

/** Options of a card. */
export interface VirtioNetOptions {
  /** The guest's memory. */
  readonly memory: GuestMemory;
  /** The card's address, 6 bytes. */
  readonly mac: Uint8Array;
  /** Most bytes of IP packet in a frame. Default: 1500. */
  readonly mtu?: number;
  /** Queue of its jobs: that of the clock that drives it. */
  readonly jobs: JobQueue;
  /** Gets each frame of the guest, and owns it; extents are valid until it returns. */
  readonly onFrame: (block: Block) => void;
  /** The interrupt line went up; the register page has the reason. */
  readonly onInterrupt: () => void;
  /** There is room again after `receive` returned "no-buffers". */
  readonly onRoom?: () => void;
  /**
   * Feature bits to offer, VERSION_1 besides; one whose needs are missing is left out. Default: {@link NET_FEATURES}.
   */
  readonly features?: readonly number[];
  /** Where blocks of received frames come from. */
  readonly blocks?: BlockPool;
}

/** A network card. */
export class VirtioNet implements VirtioDevice {
  /** What kind of device it is. */
  readonly deviceId: number = DEVICE_ID_NET;
  readonly offered: Features;
  readonly config: Uint8Array = new Uint8Array(CONFIG_LEN);
  readonly queueSizes: readonly number[];
  /** The registers: the machine gives them the guest's loads and stores. */
  readonly mmio: VirtioMmio;
  /** What it has sent, received and refused. */
  readonly counters: NetCounters = new NetCounters();
  /** Bytes of IP packet in a frame. */
  readonly mtu: number;
  /** Which frames the guest wants. */
  readonly filter: RxFilter = new RxFilter();
  #mac: MacAddr;
  #link = true;
  #rx: NetRx;
  #tx: NetTx;
  #txJob: Job;
  #ctrlJob: Job;
  #roomJob: Job | null;
  #command = new Uint8Array(CONTROL_BYTES_MAX);
  #answer = new Uint8Array(1);
  #chain = new DescChain();

  /** A card that waits for a driver. */
  constructor(options: VirtioNetOptions) {
    const { memory, mac, mtu = ETHER_MTU, jobs, onFrame, onInterrupt, onRoom, blocks = new BlockPool() } = options;
    assert(mac.length === MAC_ADDR_LEN && (mac[0]! & 1) === 0, "a card has the address of one interface");
    assert(mtu >= MTU_MIN && mtu <= MTU_MAX, "a card has an MTU that its driver can take");
    this.mtu = mtu;
    this.offered = offerable(options.features ?? NET_FEATURES);
    const sizes = [DATA_QUEUE_SIZE, DATA_QUEUE_SIZE];
    this.queueSizes = this.offered.has(Feature.CtrlVq) ? [...sizes, CTRL_QUEUE_SIZE] : sizes;
    this.#mac = MacAddr.at(mac, 0);
    this.#writeConfig();
    this.filter.reset(this.#mac.key);
    const { counters, filter } = this;
    const mmio = new VirtioMmio(this, { memory, onInterrupt });
    this.mmio = mmio;
    this.#rx = new NetRx({ queue: mmio.queues[RX_QUEUE]!, mmio, counters, filter, mtu });
    this.#tx = new NetTx({ queue: mmio.queues[TX_QUEUE]!, mmio, counters, blocks, onFrame });
    this.#txJob = new Job(jobs, () => {
      if (this.#tx.drain()) this.#txJob.wake();
    });
    this.#ctrlJob = new Job(jobs, () => this.#runControls());
    this.#roomJob = onRoom === undefined ? null : new Job(jobs, onRoom);
  }

  /** Its address: the one it was made with, until the driver sets another. */
  get mac(): MacAddr {
    return new MacAddr(Math.floor(this.filter.mac / 0x1_0000_0000), this.filter.mac | 0);
  }

  /** Offloads of the guest's driver; other work must be done before `receive`, or is done there. */
  get offloads(): PortOffloads {
    const { checksum, tso4, tso6, uso } = this.#rx.caps;
    return { checksum, tcpSegment: tso4 && tso6, udpSegment: uso };
  }

  /** Whether a driver is ready to receive frames. */
  get ready(): boolean {
    return this.mmio.live && this.mmio.queues[RX_QUEUE]!.ready;
  }

  /** Whether the cable is plugged in. */
  get link(): boolean {
    return this.#link;
  }

  /** Plugs the cable in or out, and notifies the driver. */
  set link(up: boolean) {
    if (up === this.#link) return;
    this.#link = this.#rx.link = this.#tx.link = up;
    this.#writeConfig();
    this.mmio.configChanged();
  }

  /** Why the last `receive` returned false. */
  get refusal(): RxRefusal | null {
    return this.#rx.refusal;
  }

  /**
   * Sends a frame to the guest. True: the block is consumed, by the guest or by its filter. False: see `refusal`, which
   * is counted; the block is still the caller's, to cut, to keep until there is room, or to drop. With `more` the guest
   * is notified only by the next `receive` without it, or by `flush`.
   */
  receive(block: Block, more = false): boolean {
    return this.#rx.receive(block, more);
  }

  /** Notifies the guest of frames that were received with `more`. */
  flush(): void {
    this.#rx.flush();
  }

  /** For the register page: 5.1.3.1. */
  featuresFit(features: Features): boolean {
    return NEEDS.every(([feature, needed]) => !features.has(feature) || needed.some((one) => features.has(one)));
  }

  /** For the register page: the driver is ready. */
  activate(features: Features): void {
    this.#configure(features);
    this.#roomJob?.wake();
  }

  /** Applies the negotiated features to both directions. */
  #configure(features: Features): void {
    this.#rx.caps = rxCaps(features);
    this.#rx.mergeable = features.has(Feature.MrgRxbuf);
    this.#tx.configure(txCaps(features), features.has(Feature.Mtu) ? this.mtu : null);
  }

  /** For the register page: there are buffers in `queue`. */
  notify(queue: number): void {
    if (queue === TX_QUEUE) this.#txJob.wake();
    else if (queue === CTRL_QUEUE) this.#runControls();
    else this.#offerRoom();
  }

  /** Receive buffers matter only after a refusal for lack of them, so no more notifies are needed. */
  #offerRoom(): void {
    this.mmio.queues[RX_QUEUE]!.stopNotify();
    if (!this.#rx.starved) return;
    this.#rx.starved = false;
    this.#roomJob?.wake();
  }

  /** For the register page: resets everything that the driver set. */
  reset(): void {
    this.filter.reset(this.#mac.key);
    this.#rx.starved = false;
    this.#configure(NO_FEATURES);
    this.#writeConfig();
  }

  #writeConfig(): void {
    const { config } = this;
    this.#mac.put(config, 0);
    put16le(config, CONFIG_STATUS, this.#link ? LINK_UP : 0);
    put16le(config, CONFIG_PAIRS, 1);
    put16le(config, CONFIG_MTU, this.mtu);
  }

  /** 5.1.6.5: no more commands than the queue has descriptors, then other jobs run. */
  #runControls(): void {
    const { mmio } = this;
    if (!mmio.live) return;
    const queue = mmio.queues[CTRL_QUEUE]!;
    for (let left = queue.size; left > 0; left--) {
      const popped = queue.pop(this.#chain);
      if (popped === "empty") break;
      const error = popped === "ok" ? this.#runControl() : popped;
      if (error !== null) return mmio.fault(error);
      queue.push(this.#chain.head, 1);
    }
    // Called after a full round, too: with an event index the driver would not notify again.
    if (queue.wantNotify()) this.#ctrlJob.wake();
    if (queue.publish()) mmio.interruptUsed();
  }

  #runControl(): DeviceError | null {
    const { readable, writable } = this.#chain;
    const { length } = readable;
    if (length < CONTROL_HEADER_LEN || writable.length < 1) return DeviceError.BadControl;
    const { mac } = this.filter;
    let done = false;
    if (length <= CONTROL_BYTES_MAX) {
      readable.copyOut(0, this.#command, 0, length);
      done = runControl(this.#command, length, this.filter, this.mmio.features);
    }
    if (done) this.counters.ctrlDone++;
    else this.counters.ctrlRefused++;
    if (this.filter.mac !== mac) this.#takeMac();
    this.#answer[0] = done ? ControlAck.Ok : ControlAck.Err;
    writable.copyIn(0, this.#answer, 0, 1);
    return null;
  }

  /** The driver has set the card's address: the configuration has it before the command is returned (5.1.6.5.2). */
  #takeMac(): void {
    this.mac.put(this.config, 0);
    this.mmio.nextGeneration();
  }
}
