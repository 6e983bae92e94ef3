/**
 * NdTable: the hardware addresses of our IPv6 neighbours, and whether they are still there (RFC 4861 7).
 *
 * Path: ether_medium.write → nd → ether_medium (resolved packets), nd_send (questions); icmp6 (messages) → nd.
 *
 * ```
 *   output to unknown ─► incomplete ──answer──► reachable ──30 s──► stale ──used──► delay ──5 s──► probe
 *                          │ 3 tries               ▲                                                │ 3 tries
 *                          └► gone: held packets   └────────────────── answer ──────────────────────┤
 *                             become unreachable                                                    └► gone
 * ```
 *
 * Nobody is believed unasked, as in ARP: an advertisement counts only while we ask; a solicitation for us may make an
 * entry, stale, but changes none; whatever contradicts an entry only makes us ask again, aloud, and the answer counts.
 * (RFC 4861 would believe a solicitation, and whoever is on the link could take a neighbour's packets for five
 * seconds.)
 *
 * Limits: {@link ND_ENTRIES_MAX} entries, {@link ND_HOLD_MAX} packets held by each, one timer for all of them.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import type { Timer } from "../../kernel/time.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { MAC_ZERO, type MacAddr } from "../../kernel/wire/mac_addr.ts";
import type { NeighborAdvert, NeighborSolicit } from "../../kernel/wire/nd.ts";
import { ALL_NODES, solicitedNode } from "./addr6.ts";
import { IcmpFault } from "./icmp_fault.ts";
import type { Dad } from "./dad.ts";
import type { IpEnv } from "./env.ts";
import type { IcmpReporter } from "./icmp_fault.ts";
import type { NdLink } from "./ifc.ts";
import { sendNeighborAdvert, sendNeighborSolicit } from "./nd_send.ts";
import { ND_STATE_WORDS, NdEntry, NdState, NdStore } from "./nd_store.ts";
import { LogFlag } from "./netlog.ts";
import type { InputPacket } from "./packet.ts";
import { packet6Of } from "./packet6.ts";

/** How long a neighbour that answered counts as there, in milliseconds (RFC 4861 10: REACHABLE_TIME). */
export const ND_REACHABLE_MS = 30_000;
/** Milliseconds between two questions (RETRANS_TIMER). */
export const ND_RETRY_MS = 1000;
/** Milliseconds in which an answer may come by itself before a neighbour is asked (DELAY_FIRST_PROBE_TIME). */
export const ND_DELAY_MS = 5000;
/** Questions before a neighbour counts as gone (MAX_MULTICAST_SOLICIT, MAX_UNICAST_SOLICIT). */
export const ND_TRIES = 3;
/** How long one is remembered that nobody wants, in milliseconds: as long as in ARP. */
export const ND_STALE_MS = 15 * 60 * 1000;
/** Packets held for one neighbour: see ARP_HOLD_MAX. */
export const ND_HOLD_MAX = 64;
/** Milliseconds between two advertisements that defend an address of ours (RFC 5227 has the number). */
export const ND_DEFEND_MS = 10_000;

/** What neighbour discovery needs of its stack. */
export interface NdContext extends IpEnv {
  readonly icmpErrors: IcmpReporter;
  readonly dad: Dad;
}

/** Neighbours of one stack. */
export class NdTable {
  readonly #store: NdStore = new NdStore();
  readonly #timer: Timer;

  constructor(readonly stack: NdContext) {
    this.#timer = stack.env.clock.timer(() => this.#expire());
  }

  /** Neighbours known or asked for. */
  get size(): number {
    return this.#store.size;
  }

  /** The hardware address of `ip` on `link`, which is used now; null if it is not known. */
  resolved(link: NdLink, ip: IpAddr): MacAddr | null {
    const entry = this.#store.find(link, ip);
    if (entry === null || entry.mac === null) return null;
    this.#use(entry);
    return entry.mac;
  }

  /** Sends an IPv6 packet (given away) to neighbour `ip`, as soon as its hardware address is known. */
  output(link: NdLink, block: Block, ip: IpAddr): void {
    const entry = this.#store.find(link, ip) ?? this.#begin(link, ip);
    if (entry === null) {
      this.#drop(block);
      return;
    }
    this.#use(entry);
    if (entry.mac !== null) {
      link.sendResolved6(block, entry.mac);
      return;
    }
    if (entry.held.length >= ND_HOLD_MAX) {
      entry.held.shift()!.free();
      this.stack.stats.ndHoldFull++;
    }
    entry.held.push(block.own());
  }

  /** Somebody asks for an address (RFC 4861 7.2.3, 7.2.4); the message is valid. */
  solicited(link: NdLink, packet: InputPacket, message: NeighborSolicit): void {
    const { src } = packet;
    const { target, sourceMac } = message;
    if (this.stack.dad.isTrying(link.ifc, target)) {
      // Two who try it at once: RFC 4862 5.4.3. Who has an address already only looks for it.
      if (src.isUnspecified) this.stack.dad.taken(link.ifc, target);
      return;
    }
    if (!link.ifc.hasAddress(target)) return;
    if (src.isUnspecified) return sendNeighborAdvert(this.stack, link, { target, dst: ALL_NODES, solicited: false });
    if (sourceMac !== null) {
      if (sourceMac.isGroup || sourceMac.isZero || link.ifc.hasAddress(src)) {
        this.stack.stats.ndBadSender++;
        return;
      }
      this.#hear(link, src, sourceMac);
    }
    sendNeighborAdvert(this.stack, link, { target, dst: src, solicited: true });
  }

  /** Somebody says that it has an address (RFC 4861 7.2.5); the message is valid. */
  advertised(link: NdLink, message: NeighborAdvert): void {
    const { stats, log, dad } = this.stack;
    const { target, targetMac } = message;
    if (dad.isTrying(link.ifc, target)) return dad.taken(link.ifc, target);
    if (link.ifc.hasAddress(target)) {
      stats.ndConflict++;
      if (log.wants(LogFlag.Arp, target)) log.line(LogFlag.Arp, `nd: ${targetMac} claims our ${target}`, target);
      return this.#defend(link, target);
    }
    if (targetMac !== null && (targetMac.isGroup || targetMac.isZero)) {
      stats.ndBadSender++;
      return;
    }
    const entry = this.#store.find(link, target);
    if (entry === null || entry.permanent) {
      stats.ndUnsolicited++;
      return;
    }
    this.#answer(entry, message);
  }

  /** Tells everybody on `link` that `ip` is ours (RFC 4861 7.2.6). */
  announce(link: NdLink, ip: IpAddr): void {
    sendNeighborAdvert(this.stack, link, { target: ip, dst: ALL_NODES, solicited: false });
  }

  /** A router's advertisement or solicitation named its hardware address: as good as a solicitation. */
  hear(link: NdLink, ip: IpAddr, mac: MacAddr): void {
    if (!mac.isGroup && !mac.isZero && !link.ifc.hasAddress(ip)) this.#hear(link, ip, mac);
  }

  /** Forgets the neighbours on `link`. */
  removeLink(link: NdLink): void {
    for (const entry of this.#store.entries()) if (entry.link === link) this.remove(entry);
  }

  /** Forgets `entry`; what it holds is dropped. */
  remove(entry: NdEntry): void {
    this.#store.remove(entry);
    for (const block of entry.held.splice(0)) this.#drop(block);
    if (this.#store.size === 0) this.#timer.disarm();
  }

  /** Makes `ip` on `link` resolve to `mac` for good. False: no entry can be given up for it. */
  addPermanent(link: NdLink, ip: IpAddr, mac: MacAddr): boolean {
    const entry = this.#store.find(link, ip) ?? this.#insert(link, ip);
    if (entry === null) return false;
    entry.permanent = true;
    this.#learn(entry, mac, NdState.Reachable);
    return true;
  }

  /** All entries, in the order of their addresses. */
  entries(): NdEntry[] {
    return this.#store.entries().sort((a, b) => a.ip.compare(b.ip));
  }

  /** Its part of the `arp` file: medium, state, IP address, hardware address. */
  format(): string {
    return this.entries().map(({ link, state, ip, mac }) =>
      `${link.medium} ${ND_STATE_WORDS[state]} ${ip} ${(mac ?? MAC_ZERO).toHex()}\n`
    ).join("");
  }

  /** Somebody wants it: one that may have gone is asked soon, if it says nothing by itself. */
  #use(entry: NdEntry): void {
    this.#store.touch(entry);
    if (entry.state !== NdState.Stale) return;
    entry.state = NdState.Delay;
    this.#setDeadline(entry, ND_DELAY_MS);
  }

  /** A neighbour spoke of itself: worth an entry that is yet to be confirmed. */
  #hear(link: NdLink, ip: IpAddr, mac: MacAddr): void {
    const entry = this.#store.find(link, ip) ?? this.#insert(link, ip);
    if (entry === null || entry.permanent) return;
    if (entry.mac === null) this.#learn(entry, mac, NdState.Stale);
    else if (!entry.mac.equals(mac)) this.#contradict(entry);
  }

  /** An advertisement about a neighbour that we know or ask for. */
  #answer(entry: NdEntry, { targetMac, solicited, override, isRouter }: NeighborAdvert): void {
    if (entry.mac === null) {
      // RFC 4861 7.2.5: without a hardware address it is no answer.
      if (targetMac === null) {
        this.stack.stats.ndBadSender++;
        return;
      }
      entry.isRouter = isRouter;
      return this.#learn(entry, targetMac, solicited ? NdState.Reachable : NdState.Stale);
    }
    const isOther = targetMac !== null && !targetMac.equals(entry.mac);
    if (isOther && !(entry.isAsking && solicited && override)) return this.#contradict(entry);
    if (!solicited || !entry.isAsking) {
      if (!solicited) this.stack.stats.ndUnsolicited++;
      return;
    }
    entry.isRouter = isRouter;
    this.#learn(entry, targetMac ?? entry.mac, NdState.Reachable);
  }

  /** Somebody says otherwise than we know: we ask. */
  #contradict(entry: NdEntry): void {
    this.stack.stats.ndContradiction++;
    if (entry.isAsking) return;
    entry.doubted = true;
    entry.state = NdState.Probe;
    this.#ask(entry);
  }

  #learn(entry: NdEntry, mac: MacAddr, state: NdState): void {
    entry.mac = mac;
    entry.state = state;
    entry.doubted = false;
    entry.tries = 0;
    if (entry.permanent) entry.deadlineMs = Infinity;
    else this.#setDeadline(entry, state === NdState.Reachable ? ND_REACHABLE_MS : ND_STALE_MS);
    const held = entry.held.splice(0);
    if (held.length > 0) this.#use(entry);
    for (const block of held) entry.link.sendResolved6(block, mac);
  }

  #defend(link: NdLink, ip: IpAddr): void {
    const now = this.stack.env.clock.now();
    if (now - link.defended6Ms < ND_DEFEND_MS) return;
    link.defended6Ms = now;
    this.announce(link, ip);
  }

  /** An entry that waits, with the first question sent; null if there is no room. */
  #begin(link: NdLink, ip: IpAddr): NdEntry | null {
    const entry = this.#insert(link, ip);
    if (entry !== null) this.#ask(entry);
    return entry;
  }

  #insert(link: NdLink, ip: IpAddr): NdEntry | null {
    if (this.#store.isFull) {
      const victim = this.#store.victim();
      if (victim === null) return null;
      this.remove(victim);
    }
    return this.#store.insert(new NdEntry(link, ip));
  }

  /** Puts the question: to a known address alone, unless that is in doubt; else to the group of all who may have it. */
  #ask(entry: NdEntry): void {
    const { link, ip, mac } = entry;
    entry.tries++;
    this.#setDeadline(entry, ND_RETRY_MS);
    const src = link.ifc.sourceFor(ip);
    if (src === null) return;
    const quietly = mac !== null && !entry.doubted;
    sendNeighborSolicit(this.stack, link, {
      target: ip,
      src,
      dst: quietly ? ip : solicitedNode(ip),
      mac: quietly ? mac : null,
    });
  }

  #setDeadline(entry: NdEntry, delayMs: number): void {
    entry.deadlineMs = this.stack.env.clock.now() + delayMs;
    if (entry.deadlineMs < (this.#timer.armed ? this.#timer.deadlineMs : Infinity)) this.#timer.arm(delayMs);
  }

  #expire(): void {
    const now = this.stack.env.clock.now();
    for (const entry of this.#store.entries()) if (entry.deadlineMs <= now) this.#expireEntry(entry);
    const next = this.#store.nextDeadline();
    if (next < Infinity) this.#timer.arm(next - now);
  }

  #expireEntry(entry: NdEntry): void {
    if (entry.state === NdState.Reachable) {
      entry.state = NdState.Stale;
      return this.#setDeadline(entry, ND_STALE_MS);
    }
    if (entry.state === NdState.Delay) entry.state = NdState.Probe;
    if (entry.state !== NdState.Stale && entry.tries < ND_TRIES) return this.#ask(entry);
    const held = entry.held.splice(0);
    this.remove(entry);
    for (const block of held) {
      this.stack.icmpErrors.report(packet6Of(block, entry.link.ifc, "unicast"), IcmpFault.Host);
      this.#drop(block);
    }
  }

  #drop(block: Block): void {
    this.stack.stats.ndUnresolved++;
    block.free();
  }
}
