/**
 * ARP for IPv4 over Ethernet (RFC 826), with the announcements and probes of RFC 5227.
 *
 * Path: ether_medium, services/arp → arp → bytes.
 *
 *     | htype 2 | ptype 2 | hlen 1 | plen 1 | op 2 | sender MAC 6 | sender IP 4 | target MAC 6 | target IP 4 |
 *
 * Limits: other hardware and protocol types are refused. Any operation is accepted: receivers decide.
 *
 * @module
 */

import { get16, get32, put16, put32 } from "./bytes.ts";
import { IpAddr } from "./ip_addr.ts";
import { MacAddr } from "./mac_addr.ts";

const OP = 6;
const SENDER_MAC = 8;
const SENDER_IP = 14;
const TARGET_MAC = 18;
const TARGET_IP = 24;

/** Hardware type 1 (Ethernet) and protocol type 0x0800 (IPv4). */
const ETHERNET_IPV4 = 0x0001_0800;
/** Address lengths: 6 and 4. */
const LENGTHS = 0x0604;

/** Length of a packet. */
export const ARP_LEN = 28;

/** Operation: who has this address? */
export const ARP_REQUEST = 1;
/** Operation: the sender has it. */
export const ARP_REPLY = 2;

/** One packet. */
export interface ArpPacket {
  /** `ARP_REQUEST` or `ARP_REPLY`. */
  readonly op: number;
  /** The sender's hardware address. */
  readonly senderMac: MacAddr;
  /** The sender's IPv4 address. */
  readonly senderIp: IpAddr;
  /** The target's hardware address; zero in a request. */
  readonly targetMac: MacAddr;
  /** The target's IPv4 address. */
  readonly targetIp: IpAddr;
}

/** Reads a packet; null if it does not fit or is not about IPv4 on Ethernet. Padding behind it is ignored. */
export function parseArp(buf: Uint8Array, at: number, end: number): ArpPacket | null {
  if (end - at < ARP_LEN) return null;
  if (get32(buf, at) !== ETHERNET_IPV4 || get16(buf, at + 4) !== LENGTHS) return null;
  return {
    op: get16(buf, at + OP),
    senderMac: MacAddr.at(buf, at + SENDER_MAC),
    senderIp: IpAddr.v4At(buf, at + SENDER_IP),
    targetMac: MacAddr.at(buf, at + TARGET_MAC),
    targetIp: IpAddr.v4At(buf, at + TARGET_IP),
  };
}

/** Writes 28 bytes and returns 28. */
export function emitArp(packet: ArpPacket, buf: Uint8Array, at: number): number {
  put32(buf, at, ETHERNET_IPV4);
  put16(buf, at + 4, LENGTHS);
  put16(buf, at + OP, packet.op);
  packet.senderMac.put(buf, at + SENDER_MAC);
  packet.senderIp.putV4(buf, at + SENDER_IP);
  packet.targetMac.put(buf, at + TARGET_MAC);
  packet.targetIp.putV4(buf, at + TARGET_IP);
  return ARP_LEN;
}

/** One line of text: `arp who-has 10.0.0.2 tell 10.0.0.1 (52:54:00:12:34:56)`. */
export function formatArp(packet: ArpPacket): string {
  const sender = `${packet.senderIp}`;
  if (packet.op === ARP_REQUEST) return `arp who-has ${packet.targetIp} tell ${sender} (${packet.senderMac})`;
  if (packet.op === ARP_REPLY) return `arp ${sender} is-at ${packet.senderMac} for ${packet.targetIp}`;
  return `arp op ${packet.op} ${sender} (${packet.senderMac}) ${packet.targetIp} (${packet.targetMac})`;
}
