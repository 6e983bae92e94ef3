/**
 * The control queue of a network card (virtio 1.2, 5.1.6.5), and the receive filter that it sets.
 *
 * Path: net, net_rx → net_ctrl → ids, wire/bytes, mac_addr.
 *
 * A command is {class 1, command 1, data …} to read and one byte to write the answer to. It is read only after it was
 * copied out of the guest's memory.
 *
 * Until the driver sets a filter the card is promiscuous, like QEMU's: a driver without filter commands loses nothing.
 *
 * @module
 */

import { get16, get32, get32le } from "../../../kernel/wire/bytes.ts";
import { MAC_ADDR_LEN, MacAddr } from "../../../kernel/wire/mac_addr.ts";
import { Feature, type Features } from "./ids.ts";

/**
 * Addresses of one table that are kept; for a longer one the whole kind (unicast, multicast) is accepted, as in QEMU.
 */
export const MAC_TABLE_MAX = 64;
/** Longest command: both tables, each four times as long as what is kept. */
export const CONTROL_BYTES_MAX = 2 + 2 * (4 + 4 * MAC_TABLE_MAX * MAC_ADDR_LEN);
/** Bytes of class and command. */
export const CONTROL_HEADER_LEN = 2;

/** Answers to a command. */
export const ControlAck = { Ok: 0, Err: 1 } as const;

/** Classes and commands, as the two bytes that a command begins with (5.1.6.5.1 and 2). */
export const Control = {
  RxPromisc: 0x0000,
  RxAllMulti: 0x0001,
  RxAllUni: 0x0002,
  RxNoMulti: 0x0003,
  RxNoUni: 0x0004,
  RxNoBcast: 0x0005,
  MacTableSet: 0x0100,
  MacAddrSet: 0x0101,
} as const;

/** The receive filter of the guest. */
export class RxFilter {
  /** Every frame is wanted. */
  promiscuous = true;
  /** Every multicast frame is wanted. */
  allMulti = false;
  /** Every unicast frame is wanted. */
  allUni = false;
  /** No multicast frame is wanted. */
  noMulti = false;
  /** No unicast frame is wanted. */
  noUni = false;
  /** No broadcast frame is wanted. */
  noBcast = false;
  /** The card's own address, as {@link MacAddr.key}. */
  mac = 0;
  /** The list of that kind was longer than the table. */
  #unicastOverflow = false;
  #multicastOverflow = false;
  #unicast: ReadonlySet<number> = new Set();
  #multicast: ReadonlySet<number> = new Set();

  /** Resets it to its state at power on. */
  reset(mac: number): void {
    this.promiscuous = true;
    this.allMulti =
      this.allUni =
      this.noMulti =
      this.noUni =
      this.noBcast =
        false;
    this.mac = mac;
    this.#unicast = this.#multicast = new Set();
    this.#unicastOverflow = this.#multicastOverflow = false;
  }

  /** Addresses besides its own; lists longer than {@link MAC_TABLE_MAX} accept all of their kind. */
  setTables(unicast: ReadonlySet<number>, multicast: ReadonlySet<number>): void {
    this.#unicastOverflow = unicast.size > MAC_TABLE_MAX;
    this.#multicastOverflow = multicast.size > MAC_TABLE_MAX;
    this.#unicast = this.#unicastOverflow ? new Set() : unicast;
    this.#multicast = this.#multicastOverflow ? new Set() : multicast;
  }

  /** Whether the filter accepts the frame whose destination is in `buf` at `at`. */
  accepts(buf: Uint8Array, at: number): boolean {
    if (this.promiscuous) return true;
    const dst = get16(buf, at) * 0x100000000 + get32(buf, at + 2);
    if ((buf[at]! & 1) === 0) {
      if (this.noUni) return false;
      return dst === this.mac || this.allUni || this.#unicastOverflow || this.#unicast.has(dst);
    }
    if (dst === 0xffffffffffff) return !this.noBcast;
    if (this.noMulti) return false;
    return this.allMulti || this.#multicastOverflow || this.#multicast.has(dst);
  }
}

/** Runs a command; false: refused. `bytes` are the first `length` of the copied command, at least two. */
export function runControl(bytes: Uint8Array, length: number, filter: RxFilter, features: Features): boolean {
  const command = get16(bytes, 0);
  switch (command) {
    case Control.MacTableSet:
      return features.has(Feature.CtrlRx) && setTables(bytes, length, filter);
    case Control.MacAddrSet: {
      if (!features.has(Feature.CtrlMacAddr) || length !== CONTROL_HEADER_LEN + MAC_ADDR_LEN) return false;
      const mac = MacAddr.at(bytes, CONTROL_HEADER_LEN);
      if (mac.isGroup || mac.isZero) return false;
      filter.mac = mac.key;
      return true;
    }
    default: {
      if (length !== CONTROL_HEADER_LEN + 1) return false;
      const needed = command <= Control.RxAllMulti ? Feature.CtrlRx : Feature.CtrlRxExtra;
      return features.has(needed) && setMode(command, bytes[CONTROL_HEADER_LEN]! !== 0, filter);
    }
  }
}

/** 5.1.6.5.1. */
function setMode(command: number, on: boolean, filter: RxFilter): boolean {
  switch (command) {
    case Control.RxPromisc:
      filter.promiscuous = on;
      return true;
    case Control.RxAllMulti:
      filter.allMulti = on;
      return true;
    case Control.RxAllUni:
      filter.allUni = on;
      return true;
    case Control.RxNoMulti:
      filter.noMulti = on;
      return true;
    case Control.RxNoUni:
      filter.noUni = on;
      return true;
    case Control.RxNoBcast:
      filter.noBcast = on;
      return true;
    default:
      return false;
  }
}

/** 5.1.6.5.2: tables of unicast and of other addresses, each {entries 4 little endian, addresses}; no byte more. */
function setTables(bytes: Uint8Array, length: number, filter: RxFilter): boolean {
  const unicast = new Set<number>();
  const multicast = new Set<number>();
  const next = takeTable(bytes, CONTROL_HEADER_LEN, length, { table: unicast, group: 0 });
  if (next < 0 || takeTable(bytes, next, length, { table: multicast, group: 1 }) !== length) return false;
  filter.setTables(unicast, multicast);
  return true;
}

/** Reads one table at `at`; answers where it ends, -1 if it is not all there or has an address of the other kind. */
function takeTable(
  bytes: Uint8Array,
  at: number,
  length: number,
  { table, group }: { table: Set<number>; group: number },
): number {
  if (at + 4 > length) return -1;
  const end = at + 4 + get32le(bytes, at) * MAC_ADDR_LEN;
  if (end > length) return -1;
  for (let i = at + 4; i < end; i += MAC_ADDR_LEN) {
    if ((bytes[i]! & 1) !== group) return -1;
    table.add(get16(bytes, i) * 0x100000000 + get32(bytes, i + 2));
  }
  return end;
}
