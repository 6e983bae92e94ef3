/**
 * TUN and TAP ports: packets and frames between Linux and us.
 *
 * Path: tun_taken, mod, benches → tun → large_reader, libc, netdev, netns.
 *
 * Both directions are synchronous and never wait: `drain` reads until nothing is left or enough is read, `transmit`
 * writes once. Each packet is read straight into a pooled block with head room. A reactor says when to drain.
 *
 * With offloads a 10-byte header (vnet_header) stands before each packet, and large_reader does the reading.
 *
 * An interface that is down, full or gone makes a packet fail, and is counted; nothing here throws for it.
 *
 * @module
 */

import { VNET_HEADER_LEN } from "../../kernel/inet/vnet_header.ts";
import { type Block, BLOCK_HEADROOM, BlockPool, Checksum, Segment } from "../../kernel/block.ts";
import { type FramePort, NO_OFFLOADS, type PacketPort, type PortOffloads } from "../../kernel/host.ts";
import { LargeReader } from "./large_reader.ts";
import { addressOf, EBADF, EBADFD, EINVAL, EIO, holdLibc, lastErrno, type Libc, releaseLibc } from "./libc.ts";
import { checkMac, type NetDevice } from "./netdev.ts";
import type { Netns } from "./netns.ts";
import { DRAIN_MAX } from "./pollable.ts";
import { openTunDevice, type TapOptions, TUN_F_USO, type TunHandle, type TunOptions } from "./tun_device.ts";
import { putVnetHeader, takeVnetHeader } from "./vnet_header.ts";

export type { TapOptions, TunOptions } from "./tun_device.ts";

const ETHERNET_HEADER_LEN = 14;
/** Bytes that fit the smallest pooled buffer after its head room; a frame of MTU 1500 does. */
const SMALL_ROOM = 2048 - BLOCK_HEADROOM;
/** Link header and VLAN tags on top of the MTU, and one more byte to detect a longer packet. */
const LINK_SLACK = 14 + 8 + 1;
/** Extents that one writev takes; a block with more is copied into one piece first. IOV_MAX is 1024. */
const EXTENTS_MAX = 64;
/**
 * Borrowed bytes from which on writev is cheaper than copying them: finding two addresses takes 2.7 µs, as copying 8
 * KiB.
 */
const GATHER_MIN = 8192;
/** Speed that a TUN device reports. */
const MBPS = 10_000;

/** Counters of a port. */
export interface PortCounters {
  /** Packets passed to `receive`. */
  received: number;
  /** Their bytes. */
  receivedBytes: number;
  /** Longer than the MTU allows, or with a malformed header. */
  receiveDrops: number;
  /** Packets that Linux took. */
  transmitted: number;
  /** Their bytes. */
  transmittedBytes: number;
  /** Refused by Linux or by us; see {@link TunPort.transmitErrors}. */
  transmitDrops: number;
}

/** The common part of TUN and TAP ports. */
export abstract class LinuxPort {
  /** The interface's name. */
  readonly name: string;
  /** Link speed in Mbit/s. */
  readonly mbps: number = MBPS;
  /** Work that transmitted blocks may leave to Linux. */
  readonly offloads: PortOffloads;
  /** Linux' side of it. */
  readonly device: NetDevice;
  /** The namespace it is in; null: that of the program. */
  readonly netns: Netns | null;
  /** Why Linux takes no packets for its loopback (127/8) from us; empty: it does. */
  readonly localnet: string;
  /** Its counters. */
  readonly counters: PortCounters = {
    received: 0,
    receivedBytes: 0,
    receiveDrops: 0,
    transmitted: 0,
    transmittedBytes: 0,
    transmitDrops: 0,
  };
  /** How often a write failed, by error number. */
  readonly transmitErrors: Map<number, number> = new Map();
  /** Takes each received block, and owns it. */
  receive: ((block: Block) => void) | null = null;
  /** Called when the link goes up or down. */
  onLink: ((up: boolean) => void) | null = null;
  /** For the reactor: packets in one poll, if `receive` does less with them than usual. */
  drainMax: number = DRAIN_MAX;
  /** Whether its taker has enough for now: the rest waits in Linux' queue. */
  isEnough: () => boolean = () => false;
  /** Called once when the device is found to be deleted. */
  onGone: (() => void) | null = null;
  /** For the reactor: called when the port is closed. */
  onClose: (() => void) | null = null;
  #libc: Libc;
  #fd: number;
  #mtu: number;
  #link = true;
  #gone = false;
  #pool: BlockPool;
  #ownsNetns: boolean;
  /** Bytes of link header. */
  #linkLen: number;
  /** Without offloads: where the next packet goes. */
  #next: Block | null = null;
  #room = 0n;
  #large: LargeReader | null;

  /** For {@link openTun} and {@link openTap}. */
  constructor(kind: "tun" | "tap", options: TapOptions, opened: TunHandle | null = null) {
    this.#libc = holdLibc();
    let handle: TunHandle;
    try {
      handle = opened ?? openTunDevice(kind, options);
    } catch (error) {
      releaseLibc();
      throw error;
    }
    this.#fd = handle.fd;
    this.device = handle.device;
    this.netns = handle.netns;
    this.localnet = handle.localnet;
    this.name = handle.device.name;
    this.#mtu = handle.device.mtu;
    this.#pool = options.pool ?? new BlockPool();
    this.#ownsNetns = options.netns === "new";
    this.#linkLen = kind === "tap" ? ETHERNET_HEADER_LEN : 0;
    this.#large = options.offload === true ? new LargeReader(this.#libc, this.#pool) : null;
    this.offloads = options.offload === true
      ? { checksum: true, tcpSegment: true, udpSegment: (handle.offloads & TUN_F_USO) !== 0 }
      : NO_OFFLOADS;
  }

  /** The descriptor, for the reactor; -1 when closed. */
  get fd(): number {
    return this.#fd;
  }

  /** Most bytes of IP packet in one unit, as of the last query. */
  get mtu(): number {
    return this.#mtu;
  }

  /** Whether the device was deleted: detected by the next read or write. */
  get gone(): boolean {
    return this.#gone;
  }

  /** Whether Linux' side is up. Asked again only after a packet failed: a port that works costs no call. */
  get link(): boolean {
    if (!this.#link && !this.#gone && this.#fd >= 0 && this.device.up) this.#setLink(true);
    return this.#link && this.#fd >= 0;
  }

  /**
   * Reads up to `max` packets that are there and gives each to `receive`; returns how many, or -1 if the device is gone
   * for good.
   */
  drain(max: number): number {
    let count = 0;
    while (count < max && this.#fd >= 0 && !this.isEnough()) {
      const block = this.#large === null ? this.#readPlain() : this.#readLarge(this.#large);
      if (block === null) break;
      count++;
      if (block.wp === block.rp) {
        this.counters.receiveDrops++;
        block.free();
        continue;
      }
      this.counters.received++;
      this.counters.receivedBytes += block.wp - block.rp;
      if (this.receive === null) block.free();
      else this.receive(block);
    }
    return this.#gone && count === 0 ? -1 : count;
  }

  /** Sends a frame or packet. False: Linux did not take it, and it is gone. */
  transmit(block: Block): boolean {
    const length = block.length;
    const errno = this.#send(block);
    block.free();
    if (errno === 0) {
      this.counters.transmitted++;
      this.counters.transmittedBytes += length;
      if (!this.#link) this.#setLink(true);
      return true;
    }
    this.counters.transmitDrops++;
    this.transmitErrors.set(errno, (this.transmitErrors.get(errno) ?? 0) + 1);
    if (errno === EIO || errno === EBADFD) this.#lost(errno);
    return false;
  }

  /** Closes the port; a device that is not persistent goes, and so does a namespace made for it. */
  close(): void {
    if (this.#fd < 0) return;
    this.#libc.close(this.#fd);
    this.#fd = -1;
    this.device.close();
    this.#next?.free();
    this.#next = null;
    this.#large?.close();
    const onClose = this.onClose;
    this.onClose = null;
    onClose?.();
    if (this.#ownsNetns) this.netns?.close();
    releaseLibc();
  }

  /** As {@link close}. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** One read. Null: nothing there. A block of no bytes: it was dropped. */
  #readPlain(): Block | null {
    let block = this.#next;
    if (block === null) {
      block = this.#next = this.#pool.alloc(Math.max(SMALL_ROOM, this.#mtu + LINK_SLACK));
      this.#room = BigInt(block.tailroom);
    }
    // Safe because #room is the number of bytes from rp to the end of the buffer.
    const count = this.#libc.read(this.#fd, block.buf.subarray(block.rp) as Uint8Array<ArrayBuffer>, this.#room);
    if (count < 0) return this.#readFailed(lastErrno());
    this.#next = null;
    // A packet that fills the room was cut: the MTU has grown since we looked.
    if (count === block.tailroom) this.#mtu = this.device.mtu;
    else block.wp += count;
    return block;
  }

  #readLarge(reader: LargeReader): Block | null {
    const count = reader.read(this.#fd);
    if (count < 0) return this.#readFailed(lastErrno());
    const block = reader.take(count);
    if (!takeVnetHeader(reader.head, 0, block, this.#linkLen)) block.wp = block.rp;
    return block;
  }

  #readFailed(errno: number): null {
    if (errno === EIO || errno === EBADFD) this.#lost(errno);
    return null;
  }

  /** Writes it; returns 0 or the error number. */
  #send(block: Block): number {
    if (this.#fd < 0) return EBADF;
    if (block.extents !== null && (block.extents.length > EXTENTS_MAX || block.length < GATHER_MIN)) block.own();
    if (this.#large !== null) {
      const at = block.rp - VNET_HEADER_LEN;
      if (at < 0) return this.#sendGrown(block);
      if (!putVnetHeader(block.buf, at, block, this.#linkLen)) return EINVAL;
      return this.#write(block, at);
    }
    // Without offloads Linux would not finish it.
    if (block.checksum === Checksum.Owed || block.segment !== Segment.None) return EINVAL;
    return this.#write(block, block.rp);
  }

  /** Sends a block without room for a header before its bytes. */
  #sendGrown(block: Block): number {
    block.push(VNET_HEADER_LEN);
    block.pull(VNET_HEADER_LEN);
    return this.#send(block);
  }

  #write(block: Block, start: number): number {
    const bytes = block.buf.subarray(start, block.wp) as Uint8Array<ArrayBuffer>;
    if (block.extents !== null) return this.#gather(bytes, block.extents);
    // Safe because the length is that of the view.
    return this.#libc.write(this.#fd, bytes, BigInt(bytes.length)) < 0 ? lastErrno() : 0;
  }

  #gather(first: Uint8Array<ArrayBuffer>, extents: readonly Uint8Array[]): number {
    const parts = [first, ...extents as Uint8Array<ArrayBuffer>[]];
    const iov = new BigUint64Array(2 * parts.length);
    parts.forEach((part, i) => {
      iov[2 * i] = addressOf(part);
      iov[2 * i + 1] = BigInt(part.length);
    });
    // Safe because the block, freed only after this, holds everything whose address was taken.
    return this.#libc.writev(this.#fd, new Uint8Array(iov.buffer), parts.length) < 0 ? lastErrno() : 0;
  }

  /** Linux' side is down (EIO), which may pass, or deleted (EBADFD), which does not. */
  #lost(errno: number): void {
    const isNew = errno === EBADFD && !this.#gone;
    if (isNew) this.#gone = true;
    this.#setLink(false);
    if (isNew) this.onGone?.();
  }

  #setLink(up: boolean): void {
    if (this.#link === up) return;
    this.#link = up;
    this.onLink?.(up);
  }
}

/** A TUN device: whole IP packets. */
export class TunPort extends LinuxPort implements PacketPort {
  /** Packets without a link header. */
  readonly kind = "packet";

  /** See {@link openTun}. */
  constructor(options: TunOptions = {}) {
    super("tun", options);
  }
}

/** A TAP device: whole Ethernet frames. */
export class TapPort extends LinuxPort implements FramePort {
  /** Frames with an Ethernet header. */
  readonly kind = "frame";
  /** Hardware address of our side of the wire. */
  readonly mac: Uint8Array;

  /** See {@link openTap}; `opened`: a device that was opened with these options, which the port owns from now on. */
  constructor(options: TapOptions = {}, opened: TunHandle | null = null) {
    const mac = options.portMac ?? randomMac();
    checkMac(mac);
    super("tap", options, opened);
    this.mac = mac;
  }
}

/** Opens a TUN device. Throws {@link HostError}: EPERM, EACCES, ENOENT, EBUSY, ENAMETOOLONG, EINVAL. */
export function openTun(options: TunOptions = {}): TunPort {
  return new TunPort(options);
}

/** Opens a TAP device. Throws {@link HostError}: EPERM, EACCES, ENOENT, EBUSY, ENAMETOOLONG, EINVAL. */
export function openTap(options: TapOptions = {}): TapPort {
  return new TapPort(options);
}

/** A locally administered address of one station (IEEE 802, 8.2). */
function randomMac(): Uint8Array {
  const mac = crypto.getRandomValues(new Uint8Array(6));
  mac[0] = (mac[0]! & 0xfc) | 0x02;
  return mac;
}
