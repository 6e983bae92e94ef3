/**
 * The guests' link, IPv4: the services that live on it, ARP and DHCP.
 *
 * Path: nat, outbound → link4 → link, services/arp, context, wire/arp.
 *
 * @module
 */

import { Block } from "../../kernel/block.ts";
import { ARP_LEN, type ArpPacket, emitArp, parseArp } from "../../kernel/wire/arp.ts";
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
import { ETHERTYPE_ARP, ETHERTYPE_IPV4 } from "../../kernel/wire/ethernet.ts";
import { type IpAddr, IPV4_BROADCAST } from "../../kernel/wire/ip_addr.ts";
import { MAC_BROADCAST, type MacAddr } from "../../kernel/wire/mac_addr.ts";
import { UDP_HEADER_LEN } from "../../kernel/wire/udp.ts";
import type { FamilyContext, NatContext, NatLink } from "./context.ts";
import { Reason } from "./counters.ts";
import type { Decision } from "./decision.ts";
import { mayBeGuest } from "./family_config.ts";
import { ignore, sendFrame } from "./link.ts";
import type { Guest } from "./map.ts";
import { MapProto } from "./map_class.ts";
import { Kind, udpIsSound } from "./packet.ts";
import { answerArp, arpRequest, arpSender } from "./services/arp.ts";

/** See above. */
class Link4 implements NatLink {
  readonly etherType = ETHERTYPE_IPV4;

  serve(ctx: FamilyContext): Decision | null {
    return isDhcp(ctx) ? dhcpPacket(ctx) : null;
  }

  isAnothers({ nat }: FamilyContext, addr: IpAddr, mac: MacAddr): boolean {
    return nat.dhcp.isAnothers(addr.w3, mac.key, nat.now);
  }

  ask({ nat, config }: FamilyContext, guest: Guest): void {
    sendArp(nat, arpRequest(nat.config.hostMac, config.router, guest.addr), MAC_BROADCAST);
  }
}

/** The link of every NAT. */
export const LINK4: NatLink = new Link4();

function sendArp(nat: NatContext, packet: ArpPacket, dst: MacAddr): void {
  const block = Block.alloc(ARP_LEN);
  block.wp += emitArp(packet, block.buf, block.rp);
  sendFrame(nat, block, dst, ETHERTYPE_ARP);
}

/** An ARP frame of a guest (consumed), `rp` at its payload. */
export function arpFrame(nat: NatContext, frame: Block): Decision {
  const { config, counters, decision } = nat;
  frame.own();
  const packet = parseArp(frame.buf, frame.rp, frame.wp);
  frame.free();
  const answer = packet === null
    ? null
    : answerArp({ mac: config.hostMac, answersFor: (addr) => isBehind(nat, addr) }, packet);
  if (packet !== null && !learn(nat, packet)) return ignore(nat, Reason.Spoofed);
  if (answer === null) return ignore(nat, Reason.Arp);
  counters.arp++;
  sendArp(nat, answer, answer.targetMac);
  return decision.served();
}

/** Whether guests are to send packets for `addr` to the router: its own; in real style all but the guest's. */
function isBehind({ config }: NatContext, addr: IpAddr): boolean {
  const { onlyGuest, router, dns } = config;
  if (addr.equals(router) || (dns !== null && addr.equals(dns))) return true;
  return onlyGuest !== null && !addr.equals(onlyGuest) && !addr.isUnspecified;
}

/** Learns the sender's hardware address; false: it claims to be another guest. */
function learn(nat: NatContext, packet: ArpPacket): boolean {
  const sender = arpSender(packet);
  if (sender === null || !mayBeGuest(nat.config, sender.addr)) return true;
  if (!isFrom(nat, sender.mac) || nat.dhcp.isAnothers(sender.addr.w3, sender.mac.key, nat.now)) return false;
  nat.meet(sender.addr, sender.mac);
  return true;
}

/** Whether the frame at hand came from the station `mac`. */
function isFrom(nat: NatContext, mac: MacAddr): boolean {
  return mac.hi === nat.macHi && mac.lo === nat.macLo;
}

/** To the server's port, and to the router or to everybody: a packet for somebody else's server is routed. */
function isDhcp({ packet, config }: FamilyContext): boolean {
  return packet.kind === Kind.Ports && packet.proto === MapProto.Udp && packet.dstPort === DHCP_SERVER_PORT &&
    (packet.dst.isLimitedBroadcast || packet.dst.equals(config.router));
}

/** A DHCP message of a guest in the packet that was just read (consumed). */
function dhcpPacket(ctx: FamilyContext): Decision {
  const { nat, packet } = ctx;
  const { block } = packet;
  block.own();
  packet.read(block);
  const message = udpIsSound(packet) ? parseDhcp(block.buf, packet.transport + UDP_HEADER_LEN, block.wp) : null;
  block.free();
  // No station gives back, or asks for, an address that another station has.
  const answer = message === null || !isFrom(nat, message.chaddr) ? null : nat.dhcp.answer(message, nat.now);
  if (answer === null) return ignore(nat, Reason.Dhcp);
  nat.counters.dhcp++;
  const type = dhcpType(answer);
  if ((type === DHCP_ACK || type === 0) && !answer.yiaddr.isUnspecified) {
    nat.meet(answer.yiaddr, answer.chaddr, true);
  }
  sendDhcp(ctx, answer);
  return nat.decision.served();
}

/** RFC 2131 4.1: to the client's address if it has one, to everybody if it says so, else to its new address. */
function sendDhcp({ nat, config, family }: FamilyContext, answer: DhcpMessage): void {
  const { ciaddr, yiaddr, chaddr, broadcast } = answer;
  const known = ciaddr.isUnspecified ? yiaddr : ciaddr;
  const isForAll = known.isUnspecified || (broadcast && ciaddr.isUnspecified);
  const data = new Uint8Array(dhcpLen(answer));
  emitDhcp(answer, data, 0);
  const dst = isForAll ? IPV4_BROADCAST : known;
  const ends = { src: config.router, dst, srcPort: DHCP_SERVER_PORT, dstPort: DHCP_CLIENT_PORT };
  sendFrame(nat, family.makeDatagram(ends, data), isForAll ? MAC_BROADCAST : chaddr, ETHERTYPE_IPV4);
}
