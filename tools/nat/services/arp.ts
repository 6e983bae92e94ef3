/**
 * ARP on the guest's link (RFC 826, RFC 5227): the router answers for itself, and for whom it stands.
 *
 * Path: link4 → arp.
 *
 * Never answered: a guest's announcement (its sender is its target) and a probe for a guest's own address, or the guest
 * would find a conflict and give its address up. Probes for the router's addresses are: those are taken.
 *
 * @module
 */

import { ARP_REPLY, ARP_REQUEST, type ArpPacket } from "../../../kernel/wire/arp.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { MAC_ZERO, type MacAddr } from "../../../kernel/wire/mac_addr.ts";

/** Who answers, and for which addresses. */
interface ArpService {
  readonly mac: MacAddr;
  /** Whether packets to `addr` are to go to the router. */
  answersFor(addr: IpAddr): boolean;
}

/** The answer to `packet`, or null. */
export function answerArp(service: ArpService, packet: ArpPacket): ArpPacket | null {
  const { op, senderIp, senderMac, targetIp } = packet;
  if (op !== ARP_REQUEST || senderMac.isGroup || senderMac.isZero) return null;
  if (senderIp.equals(targetIp) || !service.answersFor(targetIp)) return null;
  return { op: ARP_REPLY, senderMac: service.mac, senderIp: targetIp, targetMac: senderMac, targetIp: senderIp };
}

/** The address that `packet` shows its sender to have; null: it says none (a probe), or none that can be. */
export function arpSender(packet: ArpPacket): { addr: IpAddr; mac: MacAddr } | null {
  const { senderIp, senderMac } = packet;
  if (senderIp.isUnspecified || senderIp.isMulticast || senderMac.isGroup || senderMac.isZero) return null;
  return { addr: senderIp, mac: senderMac };
}

/** The question who has `addr`, from the router. */
export function arpRequest(mac: MacAddr, router: IpAddr, addr: IpAddr): ArpPacket {
  return { op: ARP_REQUEST, senderMac: mac, senderIp: router, targetMac: MAC_ZERO, targetIp: addr };
}
