/**
 * The guests' link: IP packets in frames for guests, errors for them, and refusals.
 *
 * Path: inbound, outbound, errors, link4, link6 → link → context, icmp_error, decision.
 *
 * @module
 */

import { type Block, Segment } from "../../kernel/block.ts";
import { mayReportError } from "../../kernel/inet/icmp_error.ts";
import { put16 } from "../../kernel/wire/bytes.ts";
import { ETHER_HEADER_LEN } from "../../kernel/wire/ethernet.ts";
import { MacAddr } from "../../kernel/wire/mac_addr.ts";
import type { FamilyContext, NatContext } from "./context.ts";
import { Reason } from "./counters.ts";
import { Decision } from "./decision.ts";
import type { Guest } from "./map.ts";
import type { IcmpCode } from "./packet.ts";
import { replyEcho } from "./services/echo.ts";

const SRC_MAC = 6;
const TYPE = 12;

/**
 * Puts an IP packet (consumed) into frames for `guest`: cut, if it is too large; held, if its hardware address is to be
 * asked for. False: it cannot be done.
 */
export function toGuest(ctx: FamilyContext, block: Block, guest: Guest): boolean {
  const { nat, family, link } = ctx;
  const { config, counters } = nat;
  const { mac } = guest;
  if (mac === null) {
    nat.unresolved.hold(guest, block, nat.now);
    return true;
  }
  if (block.segment !== Segment.None || block.length <= config.mtu) {
    sendFrame(nat, block, mac, link.etherType);
    return true;
  }
  const pieces = family.cut(block, config.mtu, fragmentId(ctx));
  if (pieces === null) {
    counters.refuse(Reason.TooBig);
    block.free();
    return false;
  }
  counters.fragmented++;
  for (const piece of pieces) sendFrame(nat, piece, mac, link.etherType);
  return true;
}

/** The identification of a datagram of IPv6 that is cut: unpredictable for other guests (RFC 7739 5.1). */
function fragmentId({ nat, family }: FamilyContext): number {
  return family.version === 6 ? nat.random.u32() : 0;
}

/** Puts a header before the payload in `block` (consumed) and hands the frame out. */
export function sendFrame(nat: NatContext, block: Block, dst: MacAddr, type: number): void {
  const at = block.push(ETHER_HEADER_LEN);
  const { buf } = block;
  dst.put(buf, at);
  nat.config.hostMac.put(buf, at + SRC_MAC);
  put16(buf, at + TYPE, type);
  nat.counters.toGuest++;
  nat.counters.toGuestBytes += block.length;
  nat.frames.push(block);
}

/** The station that the frame at hand came from. */
export function frameSender({ macHi, macLo }: NatContext): MacAddr {
  return new MacAddr(macHi, macLo);
}

/** Reports to `guest` what is wrong with the packet at hand, which stays; false: it may not be reported. */
export function errorToGuest(ctx: FamilyContext, guest: Guest, code: IcmpCode, rest = 0): boolean {
  const { nat, family, packet, config } = ctx;
  if (!mayReportError(packet.buf, packet.at, packet.end)) return false;
  if (!nat.errorLimiter.take(nat.now)) {
    nat.counters.refuse(Reason.IcmpRate);
    return false;
  }
  nat.counters.errorsMade++;
  const fields = { src: config.router, dst: guest.addr, type: code.type, code: code.code, rest };
  return toGuest(ctx, family.makeError(packet.block, fields), guest);
}

/** Answers the echo request at hand; without `guest` to the station that the frame came from. */
export function answerEcho(ctx: FamilyContext, guest: Guest | null): Decision {
  const { nat, packet, link } = ctx;
  if (!replyEcho(packet)) return drop(nat, packet.block, Reason.BadTransport);
  nat.counters.echo++;
  if (guest === null) sendFrame(nat, packet.block, frameSender(nat), link.etherType);
  else toGuest(ctx, packet.block, guest);
  return nat.decision.served();
}

/** Drops a block; the reason is counted. */
export function drop(nat: NatContext, block: Block, reason: Reason): Decision {
  block.free();
  return ignore(nat, reason);
}

/** Nothing is to be done; the reason is counted. */
export function ignore({ decision, counters }: NatContext, reason: Reason): Decision {
  return decision.set(Decision.Drop, counters.refuse(reason), null, null);
}
