/**
 * ArpTable: the hardware addresses of our IPv4 neighbours (RFC 826; RFC 1122 2.3.2; RFC 5227).
 *
 * Path: ether_medium.write → arp → ether_medium (resolved packets, requests); ether_medium (received ARP) → arp.
 *
 * An entry is *waiting* until its neighbour has answered: packets for it are held, and the question is put again each
 * second. A *resolved* entry is asked again, by unicast, when its life is over and somebody used it meanwhile.
 *
 * ```
 *   output to unknown ─► waiting ──reply──► resolved ──15 min, used──► verifying ──reply──► resolved
 *                          │ 3 tries                │ unused              │ 3 tries
 *                          └► gone: held packets    └► gone               └► gone
 *                             become unreachable
 * ```
 *
 * Nobody is believed unasked: replies count only while we ask; a request addressed to us may make an entry or confirm
 * it; whatever contradicts a resolved entry only makes us ask again, aloud, and the answer counts.
 *
 * Limits: {@link ARP_ENTRIES_MAX} entries, {@link ARP_HOLD_MAX} packets held by each, one timer for all of them.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import type { Timer } from "../../kernel/time.ts";
import { ARP_REPLY, ARP_REQUEST, type ArpPacket } from "../../kernel/wire/arp.ts";
import { type IpAddr, IPV4_UNSPECIFIED } from "../../kernel/wire/ip_addr.ts";
import { MAC_BROADCAST, MAC_ZERO, type MacAddr } from "../../kernel/wire/mac_addr.ts";
import { ArpEntry, ArpStore } from "./arp_store.ts";
import { IcmpFault } from "./icmp_fault.ts";
import type { ArpLink } from "./ifc.ts";
import type { RouteTable } from "./route.ts";
import type { IpEnv } from "./env.ts";
import type { IcmpReporter } from "./icmp_fault.ts";
import { LogFlag } from "./netlog.ts";
import { packet4 } from "./packet4.ts";

/** How long a neighbour is believed after it answered (Akaros), in milliseconds. */
export const ARP_LIFE_MS = 15 * 60 * 1000;
/** Milliseconds between two questions for one address (RFC 1122 2.3.2.1: at most one a second). */
export const ARP_RETRY_MS = 1000;
/** Questions before a neighbour counts as gone. */
export const ARP_TRIES = 3;
/**
 * Packets held for one neighbour. All fragments of one largest datagram are 45, and dropping one of them drops them
 * all; Linux holds about 200 KiB for the same reason.
 */
export const ARP_HOLD_MAX = 64;
/** Milliseconds between two announcements that defend an address of ours (RFC 5227 1.1, DEFEND_INTERVAL). */
export const ARP_DEFEND_MS = 10_000;

/** What ARP needs of its stack. */
export interface ArpContext extends IpEnv {
  readonly routes: RouteTable;
  readonly icmpErrors: IcmpReporter;
}

/** Neighbours of one stack. */
export class ArpTable {
  readonly #store: ArpStore = new ArpStore();
  readonly #timer: Timer;

  constructor(readonly stack: ArpContext) {
    this.#timer = stack.env.clock.timer(() => this.#expire());
  }

  /** Neighbours known or asked for. */
  get size(): number {
    return this.#store.size;
  }

  /** The entry for `ip` on `link`, marked as used; null if there is none or it waits. */
  resolved(link: ArpLink, ip: IpAddr): ArpEntry | null {
    const entry = this.#store.find(link, ip);
    if (entry === null || entry.mac === null) return null;
    this.#store.touch(entry);
    return entry;
  }

  /** Sends an IP packet (given away) to neighbour `ip`, as soon as its hardware address is known. */
  output(link: ArpLink, block: Block, ip: IpAddr): void {
    const entry = this.#store.find(link, ip) ?? this.#begin(link, ip);
    if (entry === null) {
      this.#drop(block);
      return;
    }
    this.#store.touch(entry);
    if (entry.mac !== null) {
      link.sendResolved(block, entry.mac);
      return;
    }
    if (entry.held.length >= ARP_HOLD_MAX) {
      // The oldest: its sender is the likeliest to have given up (RFC 1122 2.3.2.2 wants the latest kept).
      entry.held.shift()!.free();
      this.stack.stats.arpHoldFull++;
    }
    entry.held.push(block.own());
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
      this.#defend(link, senderIp);
      return;
    }
    if (packet.op === ARP_REQUEST) this.#request(link, packet);
    else if (packet.op === ARP_REPLY) this.#reply(link, packet);
    else stats.arpMalformed++;
  }

  /** Tells everybody on `link` that `ip` is ours (RFC 5227 3). */
  announce(link: ArpLink, ip: IpAddr): void {
    const packet = { op: ARP_REQUEST, senderMac: link.mac, senderIp: ip, targetMac: MAC_ZERO, targetIp: ip };
    link.sendArp(packet, MAC_BROADCAST);
  }

  /** Forgets the neighbours on `link`. */
  removeLink(link: ArpLink): void {
    for (const entry of this.#store.entries()) if (entry.link === link) this.remove(entry);
  }

  /** Forgets `entry`; what it holds is dropped. */
  remove(entry: ArpEntry): void {
    this.#store.remove(entry);
    for (const block of entry.held.splice(0)) this.#drop(block);
    if (this.#store.size === 0) this.#timer.disarm();
  }

  /** Makes `ip` on `link` resolve to `mac` for good. False: no entry can be given up for it. */
  addPermanent(link: ArpLink, ip: IpAddr, mac: MacAddr): boolean {
    const entry = this.#store.find(link, ip) ?? this.#insert(link, ip);
    if (entry === null) return false;
    entry.permanent = true;
    this.#learn(entry, mac);
    return true;
  }

  /** All entries, in the order of their addresses. */
  entries(): ArpEntry[] {
    return this.#store.entries().sort((a, b) => a.ip.compare(b.ip));
  }

  /** The `arp` file: medium, `OK` or `WAIT`, IP address, hardware address. */
  format(): string {
    return this.entries().map(({ link, ip, mac }) =>
      `${link.medium} ${mac === null ? "WAIT" : "OK"} ${ip} ${(mac ?? MAC_ZERO).toHex()}\n`
    ).join("");
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
    const entry = this.#store.find(link, packet.senderIp);
    if (entry !== null && entry.isAsking) this.#learn(entry, packet.senderMac);
    else if (!this.#contradict(link, packet.senderIp, packet.senderMac)) this.stack.stats.arpUnsolicited++;
  }

  /** A neighbour spoke to us of itself: as good as an answer, unless we know otherwise. */
  #hear(link: ArpLink, ip: IpAddr, mac: MacAddr): void {
    if (this.#contradict(link, ip, mac)) return;
    const entry = this.#store.find(link, ip) ?? this.#insert(link, ip);
    if (entry !== null) this.#learn(entry, mac);
  }

  /** Whether `mac` is not what we know of `ip`; if so we ask again. */
  #contradict(link: ArpLink, ip: IpAddr, mac: MacAddr): boolean {
    const entry = this.#store.find(link, ip);
    if (entry === null || entry.mac === null || entry.mac.equals(mac)) return false;
    this.stack.stats.arpContradiction++;
    if (entry.permanent || entry.isAsking) return true;
    entry.doubted = true;
    this.#ask(entry);
    return true;
  }

  #learn(entry: ArpEntry, mac: MacAddr): void {
    entry.mac = mac;
    entry.doubted = false;
    entry.tries = 0;
    entry.usesSeen = entry.lastUse;
    if (entry.permanent) entry.deadlineMs = Infinity;
    else this.#setDeadline(entry, ARP_LIFE_MS);
    for (const block of entry.held.splice(0)) entry.link.sendResolved(block, mac);
  }

  /** Whether `ip` is on another interface of ours for which we answer here. */
  #isProxied(link: ArpLink, ip: IpAddr): boolean {
    const route = this.stack.routes.lookupOnLink(ip);
    return route !== null && route.proxy && route.ifc !== link.ifc;
  }

  #defend(link: ArpLink, ip: IpAddr): void {
    const now = this.stack.env.clock.now();
    if (now - link.defendedMs < ARP_DEFEND_MS) return;
    link.defendedMs = now;
    this.announce(link, ip);
  }

  /** A waiting entry, with the first question sent; null if there is no room. */
  #begin(link: ArpLink, ip: IpAddr): ArpEntry | null {
    const entry = this.#insert(link, ip);
    if (entry !== null) this.#ask(entry);
    return entry;
  }

  #insert(link: ArpLink, ip: IpAddr): ArpEntry | null {
    if (this.#store.isFull) {
      const victim = this.#store.victim();
      if (victim === null) return null;
      this.remove(victim);
    }
    return this.#store.insert(new ArpEntry(link, ip));
  }

  /** Puts the question. First to the known address alone, unless that is in doubt; then to everybody. */
  #ask(entry: ArpEntry): void {
    const { link, ip, mac } = entry;
    entry.tries++;
    this.#setDeadline(entry, ARP_RETRY_MS);
    const quietly = mac !== null && !entry.doubted && entry.tries === 1;
    const senderIp = link.ifc.sourceFor(ip) ?? IPV4_UNSPECIFIED;
    const packet = { op: ARP_REQUEST, senderMac: link.mac, senderIp, targetMac: MAC_ZERO, targetIp: ip };
    link.sendArp(packet, quietly ? mac : MAC_BROADCAST);
  }

  #setDeadline(entry: ArpEntry, delayMs: number): void {
    entry.deadlineMs = this.stack.env.clock.now() + delayMs;
    if (entry.deadlineMs < (this.#timer.armed ? this.#timer.deadlineMs : Infinity)) this.#timer.arm(delayMs);
  }

  #expire(): void {
    const now = this.stack.env.clock.now();
    for (const entry of this.#store.entries()) if (entry.deadlineMs <= now) this.#expireEntry(entry);
    const next = this.#store.nextDeadline();
    if (next < Infinity) this.#timer.arm(next - now);
  }

  #expireEntry(entry: ArpEntry): void {
    const wanted = entry.isAsking || entry.lastUse > entry.usesSeen;
    if (wanted && entry.tries < ARP_TRIES) return this.#ask(entry);
    const held = entry.held.splice(0);
    this.remove(entry);
    for (const block of held) {
      this.stack.icmpErrors.report(packet4(block, entry.link.ifc, "unicast"), IcmpFault.Host);
      this.#drop(block);
    }
  }

  #drop(block: Block): void {
    this.stack.stats.arpUnresolved++;
    block.free();
  }
}
