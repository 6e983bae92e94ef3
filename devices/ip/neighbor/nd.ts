/**
 * NdTable: the hardware addresses of our IPv6 neighbours, and whether they are still there (RFC 4861 7).
 *
 * Path: icmp/icmp6, arp_ctl, ra6 → neighbor/nd → nd_send, neighbor_table, wire/nd, dad.
 *
 * ```
 *   output to unknown ─► incomplete ──answer──► reachable ──30 s──► stale ──used──► delay ──5 s──► probe
 *                          │ 3 tries               ▲                                                │ 3 tries
 *                          └► gone: held packets   └────────────────── answer ──────────────────────┤
 *                             become unreachable                                                    └► gone
 * ```
 *
 * A solicitation for us may make an entry, stale, but changes none. (RFC 4861 would accept it, and any station on the
 * link could take a neighbour's packets for five seconds.) What both versions of IP share is in neighbor_table.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import type { MacAddr } from "../../../kernel/wire/mac_addr.ts";
import type { NeighborAdvert, NeighborSolicit } from "../../../kernel/wire/nd.ts";
import { ALL_NODES, solicitedNode } from "../../../kernel/inet/addr6.ts";
import type { Dad } from "./dad.ts";
import type { NdLink } from "../link/ifc.ts";
import { sendNeighborAdvert, sendNeighborSolicit } from "./nd_send.ts";
import { Neighbor } from "./neighbor_store.ts";
import { NEIGHBOR_TRIES, type NeighborContext, NeighborTable } from "./neighbor_table.ts";
import { LogFlag } from "../env/netlog.ts";
import type { InputPacket } from "../packet/packet.ts";
import { packet6Of } from "../packet/packet6.ts";

/** How long a neighbour that answered counts as there, in milliseconds (RFC 4861 10: REACHABLE_TIME). */
export const ND_REACHABLE_MS = 30_000;
/** Milliseconds in which an answer may come by itself before a neighbour is asked (DELAY_FIRST_PROBE_TIME). */
export const ND_DELAY_MS = 5000;
/** How long an entry is kept that is not used, in milliseconds: as long as in ARP. */
export const ND_STALE_MS = 15 * 60 * 1000;

/** What is known of a neighbour (RFC 4861 7.3.2). */
const NdState = {
  /** Asked for, no answer yet. */
  Incomplete: 0,
  /** It answered a short while ago. */
  Reachable: 1,
  /** It may have gone, and has not been used since. */
  Stale: 2,
  /** It is used: it is about to be asked. */
  Delay: 3,
  /** It is being asked, and used meanwhile. */
  Probe: 4,
} as const;
type NdState = typeof NdState[keyof typeof NdState];

/** The states in the `arp` file. */
const STATE_WORDS = ["WAIT", "OK", "STALE", "DELAY", "PROBE"] as const;

/** What neighbour discovery needs of its stack. */
interface NdContext extends NeighborContext {
  readonly dad: Dad;
}

/** One neighbour. */
class NdEntry extends Neighbor<NdLink> {
  state: NdState = NdState.Incomplete;
  /** Its advertisement had the router flag. */
  isRouter = false;
}

/** The IPv6 neighbours of one stack. */
export class NdTable extends NeighborTable<NdLink, NdEntry> {
  constructor(readonly stack: NdContext) {
    super(stack, { holdFull: "ndHoldFull", unresolved: "ndUnresolved", contradiction: "ndContradiction" });
  }

  /** A solicitation for an address (RFC 4861 7.2.3, 7.2.4); the message is valid. */
  solicited(link: NdLink, packet: InputPacket, message: NeighborSolicit): void {
    const { src } = packet;
    const { target, sourceMac } = message;
    if (this.stack.dad.isTrying(link.ifc, target)) {
      // Two stations try it at once: RFC 4862 5.4.3. One with an address of its own only looks for it.
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

  /** An advertisement of an address (RFC 4861 7.2.5); the message is valid. */
  advertised(link: NdLink, message: NeighborAdvert): void {
    const { stats, log, dad } = this.stack;
    const { target, targetMac } = message;
    if (dad.isTrying(link.ifc, target)) return dad.taken(link.ifc, target);
    if (link.ifc.hasAddress(target)) {
      stats.ndConflict++;
      if (log.wants(LogFlag.Arp, target)) log.line(LogFlag.Arp, `nd: ${targetMac} claims our ${target}`, target);
      return this.defend(link, target);
    }
    if (targetMac !== null && (targetMac.isGroup || targetMac.isZero)) {
      stats.ndBadSender++;
      return;
    }
    const entry = this.store.find(link, target);
    if (entry === null || entry.permanent) {
      stats.ndUnsolicited++;
      return;
    }
    this.#answer(entry, message);
  }

  /** Announces to every station on `link` that `ip` is ours (RFC 4861 7.2.6). */
  override announce(link: NdLink, ip: IpAddr): void {
    sendNeighborAdvert(this.stack, link, { target: ip, dst: ALL_NODES, solicited: false });
  }

  /** A router's advertisement or solicitation named its hardware address: as good as a solicitation. */
  hear(link: NdLink, ip: IpAddr, mac: MacAddr): void {
    if (!mac.isGroup && !mac.isZero && !link.ifc.hasAddress(ip)) this.#hear(link, ip, mac);
  }

  /** Also, one that may have gone is asked soon, unless it sends something by itself. */
  protected override used(entry: NdEntry): void {
    super.used(entry);
    if (entry.state !== NdState.Stale) return;
    entry.state = NdState.Delay;
    this.setDeadline(entry, ND_DELAY_MS);
  }

  /** A neighbour spoke of itself: worth an entry that is yet to be confirmed. */
  #hear(link: NdLink, ip: IpAddr, mac: MacAddr): void {
    const entry = this.findOrInsert(link, ip);
    if (entry === null || entry.permanent) return;
    if (entry.mac === null) this.#learnAs(entry, mac, NdState.Stale);
    else if (!entry.mac.equals(mac)) this.contradicted(entry);
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
      return this.#learnAs(entry, targetMac, solicited ? NdState.Reachable : NdState.Stale);
    }
    const isOther = targetMac !== null && !targetMac.equals(entry.mac);
    if (isOther && !(entry.isAsking && solicited && override)) return this.contradicted(entry);
    if (!solicited || !entry.isAsking) {
      if (!solicited) this.stack.stats.ndUnsolicited++;
      return;
    }
    entry.isRouter = isRouter;
    this.#learnAs(entry, targetMac ?? entry.mac, NdState.Reachable);
  }

  protected override learn(entry: NdEntry, mac: MacAddr): void {
    this.#learnAs(entry, mac, NdState.Reachable);
  }

  #learnAs(entry: NdEntry, mac: MacAddr, state: NdState): void {
    entry.state = state;
    this.settle(entry, mac, state === NdState.Reachable ? ND_REACHABLE_MS : ND_STALE_MS);
    if (entry.held.length > 0) this.used(entry);
    this.sendHeld(entry);
  }

  protected override create(link: NdLink, ip: IpAddr): NdEntry {
    return new NdEntry(link, ip);
  }

  /** To a known address alone, unless that is in doubt; else to the group of all stations that may have it. */
  protected override solicit(entry: NdEntry): void {
    const { link, ip, mac, doubted } = entry;
    if (mac !== null) entry.state = NdState.Probe;
    const src = link.ifc.sourceFor(ip);
    if (src === null) return;
    const known = doubted ? null : mac;
    sendNeighborSolicit(this.stack, link, {
      target: ip,
      src,
      dst: known === null ? solicitedNode(ip) : ip,
      mac: known,
    });
  }

  protected override expired(entry: NdEntry): void {
    if (entry.state === NdState.Reachable) {
      entry.state = NdState.Stale;
      this.setDeadline(entry, ND_STALE_MS);
    } else if (entry.state !== NdState.Stale && entry.tries < NEIGHBOR_TRIES) this.ask(entry);
    else this.giveUp(entry);
  }

  protected override packetOf(block: Block, link: NdLink): InputPacket {
    return packet6Of(block, link.ifc, "unicast");
  }

  protected override stateWord(entry: NdEntry): string {
    return STATE_WORDS[entry.state];
  }
}
