/**
 * ArpTable: the hardware addresses of our IPv4 neighbours (RFC 826; RFC 1122 2.3.2; RFC 5227).
 *
 * Path: ether_medium → arp → neighbor_table.
 *
 * An entry *waits* until its neighbour has answered: packets for it are held, and the request is repeated each
 * second. A *resolved* entry is verified, by unicast, when its life is over and it was used meanwhile.
 *
 * ```
 *   output to unknown ─► waiting ──reply──► resolved ──15 min, used──► verifying ──reply──► resolved
 *                          │ 3 tries                │ unused              │ 3 tries
 *                          └► gone: held packets    └► gone               └► gone
 *                             become unreachable
 * ```
 *
 * A request addressed to us may make an entry or confirm it (RFC 826). What both versions of IP share is in
 * neighbor_table.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import { ARP_REPLY, ARP_REQUEST, type ArpPacket } from "../../../kernel/wire/arp.ts";
import { type IpAddr, IPV4_UNSPECIFIED } from "../../../kernel/wire/ip_addr.ts";
import { MAC_BROADCAST, MAC_ZERO, type MacAddr } from "../../../kernel/wire/mac_addr.ts";
import type { ArpLink } from "../link/ifc.ts";
import { Neighbor } from "./neighbor_store.ts";
import { NEIGHBOR_TRIES, type NeighborContext, NeighborTable } from "./neighbor_table.ts";
import { LogFlag } from "../env/netlog.ts";
import type { InputPacket } from "../packet/packet.ts";
import { packet4 } from "../packet/packet4.ts";
import type { RouteTable } from "../route/route_table.ts";

/** How long a neighbour's answer counts (Akaros), in milliseconds. */
export const ARP_LIFE_MS = 15 * 60 * 1000;

/** What ARP needs of its stack. */
interface ArpContext extends NeighborContext {
  readonly routes: RouteTable;
}

/** One neighbour. */
class ArpEntry extends Neighbor<ArpLink> {
  /** What `lastUse` was at the last answer. */
  usesSeen = 0;
}

/** The IPv4 neighbours of one stack. */
export class ArpTable extends NeighborTable<ArpLink, ArpEntry> {
  constructor(readonly stack: ArpContext) {
    super(stack, { holdFull: "arpHoldFull", unresolved: "arpUnresolved", contradiction: "arpContradiction" });
  }

  /** Takes an ARP packet that arrived on `link`. */
  input(link: ArpLink, packet: ArpPacket): void {
    const { stats, log } = this.stack;
    const { senderMac, senderIp } = packet;
    // Our own broadcast comes back from #ether.
    if (senderMac.equals(link.mac)) return;
    const isStray = senderIp.isLoopback && !link.ifc.localnet;
    if (senderMac.isGroup || senderMac.isZero || senderIp.isMulticast || isStray) {
      stats.arpBadSender++;
      return;
    }
    if (link.ifc.hasAddress(senderIp)) {
      stats.arpConflict++;
      if (log.wants(LogFlag.Arp, senderIp)) log.line(LogFlag.Arp, `arp: ${senderMac} claims our ${senderIp}`, senderIp);
      this.defend(link, senderIp);
      return;
    }
    if (packet.op === ARP_REQUEST) this.#request(link, packet);
    else if (packet.op === ARP_REPLY) this.#reply(link, packet);
    else stats.arpMalformed++;
  }

  /** Announces to every station on `link` that `ip` is ours (RFC 5227 3). */
  override announce(link: ArpLink, ip: IpAddr): void {
    const packet = { op: ARP_REQUEST, senderMac: link.mac, senderIp: ip, targetMac: MAC_ZERO, targetIp: ip };
    link.sendArp(packet, MAC_BROADCAST);
  }

  /** A question: for an address of ours, or for one we answer for? */
  #request(link: ArpLink, packet: ArpPacket): void {
    const { senderMac, senderIp, targetIp } = packet;
    const isOurs = link.ifc.hasAddress(targetIp);
    if (!isOurs && !this.#isProxied(link, targetIp)) {
      this.#contradict(link, senderIp, senderMac);
      return;
    }
    // RFC 5227 2.1.1: a probe has no sender address; there is nothing to learn from it.
    if (isOurs && !senderIp.isUnspecified && link.ifc.isOnLink(senderIp)) this.#hear(link, senderIp, senderMac);
    const reply = { op: ARP_REPLY, senderMac: link.mac, senderIp: targetIp, targetMac: senderMac, targetIp: senderIp };
    link.sendArp(reply, senderMac);
  }

  /** An answer: only to what we asked. */
  #reply(link: ArpLink, packet: ArpPacket): void {
    const entry = this.store.find(link, packet.senderIp);
    if (entry !== null && entry.isAsking) this.learn(entry, packet.senderMac);
    else if (!this.#contradict(link, packet.senderIp, packet.senderMac)) this.stack.stats.arpUnsolicited++;
  }

  /** A neighbour spoke to us of itself: as good as an answer, unless we know otherwise. */
  #hear(link: ArpLink, ip: IpAddr, mac: MacAddr): void {
    if (this.#contradict(link, ip, mac)) return;
    const entry = this.findOrInsert(link, ip);
    if (entry !== null) this.learn(entry, mac);
  }

  /** Whether `mac` is not what we know of `ip`; if so we ask again. */
  #contradict(link: ArpLink, ip: IpAddr, mac: MacAddr): boolean {
    const entry = this.store.find(link, ip);
    if (entry === null || entry.mac === null || entry.mac.equals(mac)) return false;
    this.contradicted(entry);
    return true;
  }

  protected override learn(entry: ArpEntry, mac: MacAddr): void {
    entry.usesSeen = entry.lastUse;
    this.settle(entry, mac, ARP_LIFE_MS);
    this.sendHeld(entry);
  }

  /** Whether `ip` is on another interface of ours for which we answer here. */
  #isProxied(link: ArpLink, ip: IpAddr): boolean {
    const route = this.stack.routes.lookupOnLink(ip);
    return route !== null && route.proxy && route.ifc !== link.ifc;
  }

  protected override create(link: ArpLink, ip: IpAddr): ArpEntry {
    return new ArpEntry(link, ip);
  }

  /** The first question goes to the known address alone, unless that is in doubt; the others to every station. */
  protected override solicit({ link, ip, mac, doubted, tries }: ArpEntry): void {
    const isUnicast = mac !== null && !doubted && tries === 1;
    const senderIp = link.ifc.sourceFor(ip) ?? IPV4_UNSPECIFIED;
    const packet = { op: ARP_REQUEST, senderMac: link.mac, senderIp, targetMac: MAC_ZERO, targetIp: ip };
    link.sendArp(packet, isUnicast ? mac : MAC_BROADCAST);
  }

  protected override expired(entry: ArpEntry): void {
    const wanted = entry.isAsking || entry.lastUse > entry.usesSeen;
    if (wanted && entry.tries < NEIGHBOR_TRIES) this.ask(entry);
    else this.giveUp(entry);
  }

  protected override packetOf(block: Block, link: ArpLink): InputPacket {
    return packet4(block, link.ifc, "unicast");
  }

  protected override stateWord(entry: ArpEntry): string {
    return entry.mac === null ? "WAIT" : "OK";
  }
}
