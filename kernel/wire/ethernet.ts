/**
 * Ethernet II frames (RFC 894, IEEE 802.3 3.2) and the 802.1Q tag.
 *
 * Path: ether, ether_medium → ethernet → mac_addr.
 *
 *     | destination 6 | source 6 | type 2 | payload …          a frame as software sees it: no preamble, no FCS
 *     | destination 6 | source 6 | 0x8100 2 | tag 2 | type 2 | payload …
 *
 * Limits: a type below 0x0600 is a length (802.3 with LLC); it is parsed like any other, and LLC is not supported.
 *
 * @module
 */

import { get16, getWord, put16 } from "./bytes.ts";
import { MacAddr } from "./mac_addr.ts";

const DST = 0;
const SRC = 6;
const TYPE = 12;

/** Length of the header without a tag. */
export const ETHER_HEADER_LEN = 14;
/** Length of an 802.1Q tag control word and the type behind it. */
export const VLAN_TAG_LEN = 4;
/** Largest payload (RFC 894). */
export const ETHER_MTU = 1500;
/** Shortest frame that may go on a wire, in bytes without the FCS; shorter ones are padded. */
export const ETH_ZLEN = 60;
/** Longest frame without a tag, in bytes without the FCS. */
export const ETHER_FRAME_MAX: number = ETHER_HEADER_LEN + ETHER_MTU;

/** IPv4. */
export const ETHERTYPE_IPV4 = 0x0800;
/** ARP. */
export const ETHERTYPE_ARP = 0x0806;
/** An 802.1Q tag. */
export const ETHERTYPE_VLAN = 0x8100;
/** IPv6. */
export const ETHERTYPE_IPV6 = 0x86dd;
/** Smaller values of the type field are lengths. */
export const ETHERTYPE_MIN = 0x0600;

/** The first 14 bytes of a frame. */
export interface EthernetHeader {
  /** Whom the frame is for. */
  readonly dst: MacAddr;
  /** Its sender. */
  readonly src: MacAddr;
  /** What the payload is; `ETHERTYPE_VLAN` if a tag follows. */
  readonly etherType: number;
}

/** An 802.1Q tag, as it follows a type of `ETHERTYPE_VLAN`. */
export interface VlanTag {
  /** Priority, 0 to 7. */
  readonly priority: number;
  /** May be dropped first when a queue is full (DEI). */
  readonly dropEligible: boolean;
  /** VLAN, 0 (none, priority only) to 4095. */
  readonly vlanId: number;
  /** The type of what follows the tag. */
  readonly etherType: number;
}

/** Reads a header; null if it does not fit. The payload starts at `at + ETHER_HEADER_LEN`. */
export function parseEthernet(buf: Uint8Array, at: number, end: number): EthernetHeader | null {
  if (end - at < ETHER_HEADER_LEN) return null;
  return { dst: MacAddr.at(buf, at + DST), src: MacAddr.at(buf, at + SRC), etherType: get16(buf, at + TYPE) };
}

/** Writes 14 bytes and returns 14. */
export function emitEthernet(header: EthernetHeader, buf: Uint8Array, at: number): number {
  header.dst.put(buf, at + DST);
  header.src.put(buf, at + SRC);
  put16(buf, at + TYPE, header.etherType);
  return ETHER_HEADER_LEN;
}

/** Reads the tag at `at`, right behind the type that announced it; null if it does not fit. */
export function parseVlanTag(buf: Uint8Array, at: number, end: number): VlanTag | null {
  if (end - at < VLAN_TAG_LEN) return null;
  const control = get16(buf, at);
  return {
    priority: control >>> 13,
    dropEligible: (control & 0x1000) !== 0,
    vlanId: control & 0x0fff,
    etherType: get16(buf, at + 2),
  };
}

/** Writes 4 bytes (control word and type) and returns 4. */
export function emitVlanTag(tag: VlanTag, buf: Uint8Array, at: number): number {
  put16(buf, at, (tag.priority << 13) | (tag.dropEligible ? 0x1000 : 0) | tag.vlanId);
  put16(buf, at + 2, tag.etherType);
  return VLAN_TAG_LEN;
}

/** The type of the frame at `at`. */
export function etherTypeAt(buf: Uint8Array, at: number): number {
  return get16(buf, at + TYPE);
}

/** The destination of the frame at `at`. */
export function etherDst(buf: Uint8Array, at: number): MacAddr {
  return MacAddr.at(buf, at + DST);
}

/** The source of the frame at `at`. */
export function etherSrc(buf: Uint8Array, at: number): MacAddr {
  return MacAddr.at(buf, at + SRC);
}

/** Whether the destination of the frame at `at` is `mac`, without an address for it. */
export function etherDstIs(buf: Uint8Array, at: number, mac: MacAddr): boolean {
  return isMacAt(buf, at + DST, mac);
}

/** Whether the source of the frame at `at` is `mac`, without an address for it. */
export function etherSrcIs(buf: Uint8Array, at: number, mac: MacAddr): boolean {
  return isMacAt(buf, at + SRC, mac);
}

function isMacAt(buf: Uint8Array, at: number, { hi, lo }: MacAddr): boolean {
  return get16(buf, at) === hi && getWord(buf, at + 2) === lo;
}

/** Rewrites the destination. */
export function setEtherDst(buf: Uint8Array, at: number, dst: MacAddr): void {
  dst.put(buf, at + DST);
}

/** Rewrites the source. */
export function setEtherSrc(buf: Uint8Array, at: number, src: MacAddr): void {
  src.put(buf, at + SRC);
}

/** Rewrites the type. */
export function setEtherType(buf: Uint8Array, at: number, etherType: number): void {
  put16(buf, at + TYPE, etherType);
}

/** One line of text: `52:54:00:12:34:56 > ff:ff:ff:ff:ff:ff type 0806`. */
export function formatEthernet(header: EthernetHeader): string {
  return `${header.src} > ${header.dst} type ${header.etherType.toString(16).padStart(4, "0")}`;
}
