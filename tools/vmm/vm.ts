/**
 * Vm: the assembly: a guest's network card on one side, the NAT as a program of the host on the other.
 *
 * Path: boot/guest, guest_benches, guest_network → vm → host, proc, guest_memory, driver.
 *
 * Two parts, which a caller combines with a host of its own (tools/boot):
 * - {@link modelCard}: a memory, a virtio card on it, and the driver for the model guest's kernel. The two ends share
 *   nothing but that memory and the register page.
 * - {@link startGuestNetwork}: the NAT, and frames of any card to and from it.
 *
 * Limits: one guest card; several networks may be started on one host, each with a control channel of its own name.
 *
 * @module
 */

import { type Block, BlockPool } from "../../kernel/block.ts";
import type { FramePort, PortOffloads } from "../../kernel/host.ts";
import { cutFrame, finishFrame, isUnfinished } from "../../kernel/inet/frame.ts";
import type { JobQueue } from "../../kernel/job.ts";
import type { Proc } from "../../kernel/proc.ts";
import type { Random } from "../../kernel/random.ts";
import type { Clock } from "../../kernel/time.ts";
import { GuestMemory } from "./virtio/guest_memory.ts";
import { driverBytes, ModelDriver } from "./guests/model/driver.ts";
import type { NatOptions } from "../nat/config.ts";
import type { NatObserver } from "../nat/observer.ts";
import { NatProgram } from "../nat/program.ts";
import { Reg } from "./virtio/ids.ts";
import { VirtioNet } from "./virtio/net.ts";

/** Where the model guest's memory begins: as on QEMU's `virt` machines; and the driver's part of it. */
const RAM_BASE = 0x4000_0000;
const DRIVER_AT = 0x1000;
const QUEUES = 3;

/** Options of a guest's network. */
export interface GuestNetworkOptions {
  /** Process of the host that the NAT runs as. */
  readonly proc: Proc;
  /** The clock that the host runs by. */
  readonly clock: Clock;
  /** For ports and identifiers. */
  readonly random: Random;
  /** Our end of the guest's card: `receive` gets what the guest sends. */
  readonly card: FramePort;
  /** How the NAT is made, see nat(4). */
  readonly nat: NatOptions;
  /** Forwards from the start. */
  readonly forwards?: readonly string[];
  /** Whether frames may be left unfinished between guest and host. Default: if the card can finish them. */
  readonly offload?: boolean;
  /** Name of the control channel in `#srv`; null: none. Default `nat`. */
  readonly name?: string | null;
  /** Sees every frame of the guest's link, every packet of the bypassed conversations, and every decision. */
  readonly observe?: NatObserver;
}

/** A running network of a guest. */
export interface GuestNetwork {
  /** The NAT. */
  readonly program: NatProgram;
  /** The guest's card, as it was given. */
  readonly card: FramePort;
  /** Ends the NAT; the card is the caller's. */
  close(): void;
}

/** Starts the NAT and connects the card. Throws KernelError for invalid options and forwards. */
export function startGuestNetwork(options: GuestNetworkOptions): GuestNetwork {
  const { card, observe, proc, clock, random, nat, forwards = [], name = "nat" } = options;
  const { offload = card.offloads.checksum && card.offloads.tcpSegment } = options;
  const program = new NatProgram({
    proc,
    clock,
    random,
    nat,
    forwards,
    offload,
    name,
    toGuest: (frame) => void card.transmit(frame),
    ...(observe === undefined ? {} : { observe }),
  });
  card.receive = (frame) => {
    if (offload || !isUnfinished(frame)) return program.fromGuest(frame);
    // The guest's driver may leave work to its card even if nothing may be left to the guest.
    for (const whole of finishFrame(frame, proc.kernel.blocks)) program.fromGuest(whole);
  };
  return {
    program,
    card,
    close: () => {
      card.receive = null;
      program.close();
    },
  };
}

/** Options of a model guest's card. */
export interface ModelCardOptions {
  /** Of the clock that both sides run by. */
  readonly jobs: JobQueue;
  /** The card's address, 6 bytes. */
  readonly mac: Uint8Array;
  /** Bytes of IP packet in a frame. Default 1500. */
  readonly mtu?: number;
  /** Of the host's side; the guest's driver has a pool of its own. */
  readonly blocks?: BlockPool;
}

/** A virtio card: the host's end of it, and the guest's. */
export class ModelCard {
  /** The guest's memory. */
  readonly ram: Uint8Array<ArrayBuffer>;
  /** The card, on the host's side. */
  readonly device: VirtioNet;
  /** For the guest's kernel. */
  readonly driver: ModelDriver;
  /** For {@link startGuestNetwork}. */
  readonly port: FramePort;

  /** Makes memory, device and driver, and starts the driver. */
  constructor(options: ModelCardOptions) {
    const { jobs, mac, mtu = 1500, blocks = new BlockPool() } = options;
    const bytes = this.ram = new Uint8Array(DRIVER_AT + driverBytes());
    const device = this.device = new VirtioNet({
      memory: new GuestMemory([{ base: RAM_BASE, bytes }]),
      mac,
      mtu,
      jobs,
      blocks,
      onFrame: (frame) => this.#fromGuest(frame),
      onInterrupt: () => this.driver.interrupt(),
    });
    this.driver = new ModelDriver({ ram: { bytes, base: RAM_BASE }, at: DRIVER_AT, page: device.mmio, jobs });
    this.port = new CardPort(device, mac, blocks);
    this.driver.start();
  }

  #fromGuest(frame: Block): void {
    if (this.port.receive === null) frame.free();
    else this.port.receive(frame);
  }

  /** Writes `garbage` over the driver's rings, again and again, and notifies the device of all queues. */
  spoil(garbage: Uint8Array): void {
    const end = this.ram.length;
    for (let at = DRIVER_AT; at < end; at += garbage.length) this.ram.set(garbage.subarray(0, end - at), at);
    for (let queue = 0; queue < QUEUES; queue++) this.device.mmio.write(Reg.QueueNotify, queue);
  }
}

/** The host's end of a virtio card, with any driver; `blocks` is for the pieces of cut segments. */
export class CardPort implements FramePort {
  readonly kind = "frame";
  readonly name = "virtio";
  readonly mbps = 10_000;
  receive: ((block: Block) => void) | null = null;

  #blocks: BlockPool;

  /** The host side of `device`. */
  constructor(readonly device: VirtioNet, readonly mac: Uint8Array, blocks: BlockPool) {
    this.#blocks = blocks;
  }

  get mtu(): number {
    return this.device.mtu;
  }

  get link(): boolean {
    return this.device.link && this.device.ready;
  }

  get offloads(): PortOffloads {
    return this.device.offloads;
  }

  transmit(block: Block): boolean {
    if (this.device.receive(block)) return true;
    // A driver that was set up again may take fewer offloads than the one at the start.
    const sent = this.device.refusal === "must-cut" && this.#transmitPieces(block);
    // A frame without guest buffers is dropped, and counted by the card.
    block.free();
    return sent;
  }

  /** Sends `block`, which stays the caller's, as segments with the link header of the whole. */
  #transmitPieces(block: Block): boolean {
    const pieces = cutFrame(block, this.#blocks);
    let sent = pieces !== null;
    for (const piece of pieces ?? []) {
      if (this.device.receive(piece, true)) continue;
      piece.free();
      sent = false;
    }
    this.device.flush();
    return sent;
  }

  close(): void {
    this.receive = null;
    this.device.link = false;
  }
}
