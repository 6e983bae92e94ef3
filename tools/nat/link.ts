/**
 * The guest's link: frames to guests, and the services that live on it: ARP and DHCP.
 *
 * Path: inbound, outbound, errors → link → nat/guest, services/arp, wire/arp, wire/dhcp.
 *
 * @module
 */

import { Block, BLOCK_HEADROOM, Segment } from "../../kernel/block.ts";
import { ARP_LEN, type ArpPacket, emitArp, parseArp } from "../../kernel/wire/arp.ts";
import { put16 } from "../../kernel/wire/bytes.ts";
import {
  DHCP_ACK,
  DHCP_CLIENT_PORT,
  DHCP_SERVER_PORT,
  dhcpLen,
  type DhcpMessage,
  dhcpType,
  emitDhcp,
  parseDhcp,
} from "../../kernel/wire/dhcp.ts";
import { ETHER_HEADER_LEN, ETHERTYPE_ARP, ETHERTYPE_IPV4 } from "../../kernel/wire/ethernet.ts";
import { type IpAddr, IPV4_BROADCAST } from "../../kernel/wire/ip_addr.ts";
import { IP_PROTO_UDP } from "../../kernel/wire/ip_proto.ts";
import { emitIpv4, IPV4_HEADER_LEN } from "../../kernel/wire/ipv4.ts";
import { MAC_BROADCAST, type MacAddr } from "../../kernel/wire/mac_addr.ts";
import { emitUdp, setUdpChecksum, UDP_HEADER_LEN } from "../../kernel/wire/udp.ts";
import type { Nat } from "./nat.ts";
import { answerArp, arpRequest, arpSender } from "./services/arp.ts";
import { Reason } from "./counters.ts";
import { type Decision, Verdict } from "./decision.ts";
import { cutPacket } from "./fragments.ts";
import type { Guest } from "./guest.ts";
import { udpIsSound } from "./packet.ts";
import { type ErrorFields, makeError, mayAnswer } from "./icmp_error.ts";

const SRC_MAC = 6;
const TYPE = 12;
const DHCP_TTL = 64;

/**
 * Puts an IP packet (given away) into frames for `guest`: cut, if it is too large; held, if its hardware address is to
 * be asked for. False: it cannot be done.
 */
export function toGuest(nat: Nat, block: Block, guest: Guest): boolean {
  const { config, counters } = nat;
  const { mac } = guest;
  if (mac === null) {
    nat.unresolved.hold(guest, block, nat.now);
    return true;
  }
  const length = block.segment === Segment.None ? block.length : 0;
  if (length <= config.mtu) {
    sendFrame(nat, block, mac, ETHERTYPE_IPV4);
    return true;
  }
  const pieces = cutPacket(block, config.mtu, BLOCK_HEADROOM);
  if (pieces === null) {
    counters.refuse(Reason.TooBig);
    block.free();
    return false;
  }
  counters.fragmented++;
  for (const piece of pieces) sendFrame(nat, piece, mac, ETHERTYPE_IPV4);
  return true;
}

/** Puts a header before what is in `block` (given away) and hands it out. */
export function sendFrame(nat: Nat, block: Block, dst: MacAddr, type: number): void {
  const at = block.push(ETHER_HEADER_LEN);
  const { buf } = block;
  dst.put(buf, at);
  nat.config.hostMac.put(buf, at + SRC_MAC);
  put16(buf, at + TYPE, type);
  nat.counters.toGuest++;
  nat.counters.toGuestBytes += block.length;
  nat.frames.push(block);
}

function sendArp(nat: Nat, packet: ArpPacket, dst: MacAddr): void {
  const block = Block.alloc(ARP_LEN);
  block.wp += emitArp(packet, block.buf, block.rp);
  sendFrame(nat, block, dst, ETHERTYPE_ARP);
}

/** Asks for the hardware address of `guest`, of everybody on the link. */
export function askGuest(nat: Nat, guest: Guest): void {
  sendArp(nat, arpRequest(nat.config.hostMac, nat.config.router, guest.addr), MAC_BROADCAST);
}

/** Tells `guest` what is wrong with its packet in `block`, which stays the caller's; false: it may not be told. */
export function errorToGuest(
  nat: Nat,
  block: Block,
  guest: Guest,
  error: Omit<ErrorFields, "src" | "dst">,
): boolean {
  if (!mayAnswer(block)) return false;
  if (!nat.errorLimiter.take(nat.now)) {
    nat.counters.refuse(Reason.IcmpRate);
    return false;
  }
  nat.counters.errorsMade++;
  return toGuest(nat, makeError(block, { src: nat.config.router, dst: guest.addr, ...error }), guest);
}

/** An ARP frame of a guest (given away), `rp` at its payload. */
export function arpFrame(nat: Nat, frame: Block): Decision {
  const { config, counters, decision } = nat;
  frame.own();
  const packet = parseArp(frame.buf, frame.rp, frame.wp);
  frame.free();
  const answer = packet === null
    ? null
    : answerArp({ mac: config.hostMac, answersFor: (addr) => nat.isBehind(addr) }, packet);
  if (packet !== null && !learn(nat, packet)) {
    return decision.set(Verdict.Drop, counters.refuse(Reason.Spoofed), null, null);
  }
  if (answer === null) return decision.set(Verdict.Drop, counters.refuse(Reason.Arp), null, null);
  counters.arp++;
  sendArp(nat, answer, answer.targetMac);
  return decision.set(Verdict.Service, Reason.None, null, null);
}

/** Learns the sender's hardware address; false: it says to be another guest. */
function learn(nat: Nat, packet: ArpPacket): boolean {
  const sender = arpSender(packet);
  if (sender === null || !nat.mayBeGuest(sender.addr.w3)) return true;
  if (!isFrom(nat, sender.mac) || nat.dhcp.isAnothers(sender.addr.w3, sender.mac.key, nat.now)) return false;
  nat.meet(sender.addr, sender.mac);
  return true;
}

/** Whether the frame at hand came from the station `mac`. */
function isFrom(nat: Nat, mac: MacAddr): boolean {
  return mac.hi === nat.macHi && mac.lo === nat.macLo;
}

/** A DHCP message of a guest in the packet that was just read (given away). */
export function dhcpPacket(nat: Nat, block: Block): Decision {
  const { packet, counters, decision } = nat;
  block.own();
  packet.read(block);
  const message = udpIsSound(packet) ? parseDhcp(block.buf, packet.transport + UDP_HEADER_LEN, block.wp) : null;
  block.free();
  // Nobody gives back, or asks for, what another station has.
  const answer = message === null || !isFrom(nat, message.chaddr) ? null : nat.dhcp.answer(message, nat.now);
  if (answer === null) return decision.set(Verdict.Drop, counters.refuse(Reason.Dhcp), null, null);
  counters.dhcp++;
  const type = dhcpType(answer);
  if ((type === DHCP_ACK || type === 0) && !answer.yiaddr.isUnspecified) {
    nat.meet(answer.yiaddr, answer.chaddr, true);
  }
  sendDhcp(nat, answer);
  return decision.set(Verdict.Service, Reason.None, null, null);
}

/** RFC 2131 4.1: to the client's address if it has one, to everybody if it says so, else to its new address. */
function sendDhcp(nat: Nat, answer: DhcpMessage): void {
  const { ciaddr, yiaddr, chaddr, broadcast } = answer;
  const known = ciaddr.isUnspecified ? yiaddr : ciaddr;
  const isForAll = known.isUnspecified || (broadcast && ciaddr.isUnspecified);
  const data = new Uint8Array(dhcpLen(answer));
  emitDhcp(answer, data, 0);
  const ports = { srcPort: DHCP_SERVER_PORT, dstPort: DHCP_CLIENT_PORT };
  const packet = udpBlock({ src: nat.config.router, dst: isForAll ? IPV4_BROADCAST : known, ...ports, data });
  sendFrame(nat, packet, isForAll ? MAC_BROADCAST : chaddr, ETHERTYPE_IPV4);
}

/** A UDP packet of our own. */
export function udpBlock(
  fields: { src: IpAddr; dst: IpAddr; srcPort: number; dstPort: number; data: Uint8Array },
): Block {
  const { src, dst, srcPort, dstPort, data } = fields;
  const payloadLen = UDP_HEADER_LEN + data.length;
  const block = Block.alloc(IPV4_HEADER_LEN + payloadLen);
  const { buf, rp } = block;
  const udpAt = rp + emitIpv4({ src, dst, protocol: IP_PROTO_UDP, payloadLen, ttl: DHCP_TTL }, buf, rp);
  emitUdp({ srcPort, dstPort, payloadLen: data.length }, buf, udpAt);
  buf.set(data, udpAt + UDP_HEADER_LEN);
  block.wp = udpAt + payloadLen;
  setUdpChecksum(buf, udpAt, src, dst);
  return block;
}
