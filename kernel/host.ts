/**
 * What an operating system must supply: implemented by devices/host for Linux, and by the in-memory cable.
 *
 * Path: devices/host, ether/cable → host → ether, packet_medium, kernel.
 *
 * @module
 */

import type { Block } from "./block.ts";

/** Work that a port does in the place of software: checksums and segmentation. */
export interface PortOffloads {
  /** Blocks with an owed transport checksum may be transmitted. */
  readonly checksum: boolean;
  /** Blocks with TCP over IPv4 or IPv6 segmentation may be transmitted. */
  readonly tcpSegment: boolean;
  /** Blocks with UDP segmentation may be transmitted. */
  readonly udpSegment: boolean;
}

/** A port that offers nothing: every packet must be finished. */
export const NO_OFFLOADS: PortOffloads = { checksum: false, tcpSegment: false, udpSegment: false };

/** Members of both kinds of port. */
export interface Port {
  /** A name for messages and captures, such as `tap0`. */
  readonly name: string;
  /** Most bytes of IP packet in one unit (1500), without any link header. */
  readonly mtu: number;
  /** Work that transmitted blocks may leave to the port. */
  readonly offloads: PortOffloads;
  /** Link speed in Mbit/s, for queue limits and `stats`. */
  readonly mbps: number;
  /** Whether the link is up. */
  readonly link: boolean;
  /**
   * Takes over a block and sends it. False: it could not be sent now and was freed; the caller counts it. Never throws,
   * whatever the block holds.
   */
  transmit(block: Block): boolean;
  /** Called by the port with each received block, which the callee owns. The user of the port sets it. */
  receive: ((block: Block) => void) | null;
  /** Closes the port; nothing is received after it. */
  close(): void;
}

/** The host's end of a cable: whole Ethernet frames without checksum sequence, at least 14 bytes. */
export interface FramePort extends Port {
  /** Its units are Ethernet frames. */
  readonly kind: "frame";
  /** Its hardware address, 6 bytes. */
  readonly mac: Uint8Array;
}

/** A port of whole IP packets: a TUN device, or a user program in the place of the wire. */
export interface PacketPort extends Port {
  /** Its units are IP packets. */
  readonly kind: "packet";
}
