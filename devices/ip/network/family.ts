/**
 * IpFamily: what output and forwarding ask of a version of IP.
 *
 * Path: family4, family6, network/forward → family → route, egress, context, block.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import type { NetContext } from "./context.ts";
import type { InputPacket, SendOptions } from "../packet/packet.ts";
import type { Route } from "../route/route.ts";
import type { RouteContext } from "../route/egress.ts";

/** Counters of IpStats: why a packet is not forwarded. */
export type ForwardReason =
  | "forwRefused"
  | "forwSourceRoute"
  | "forwSameIfc"
  | "ttlExpired"
  | "outNoRoutes"
  | "fragFails"
  | "inBadExtension";

/** One version of IP. */
export interface IpFamily {
  /** Bytes of the header of a new packet. */
  readonly headerLen: number;
  /** Most bytes of a packet. */
  readonly totalMax: number;

  /** Most bytes of a packet to `dst` by `route`: as far as the next hop, or as far as path MTU discovery knows. */
  mtu(stack: RouteContext, route: Route, dst: IpAddr): number;
  /** Puts the header of a new packet before the transport header at `block.rp`. */
  pushHeader(stack: NetContext, block: Block, options: SendOptions): void;

  // --- packets that a user wrote, header included

  /** Makes the bytes of the header ours to change. */
  own(block: Block): void;
  /** Whether the addresses of the header are of this version. */
  isSound(buf: Uint8Array, at: number): boolean;
  src(buf: Uint8Array, at: number): IpAddr;
  dst(buf: Uint8Array, at: number): IpAddr;
  /** Bytes of the packet on the wire if it need not be fragmented. */
  wireLength(block: Block): number;
  /** Most bytes of its fragments, if it must be fragmented. */
  fragmentMax(block: Block): number;
  /** Whether it may be fragmented; `kernelHeader`: fields that its writer chose do not count. */
  mayFragment(block: Block, kernelHeader: boolean): boolean;
  /** Fills in the fields that are the kernel's; `fits`: it goes out whole. */
  finishHeader(stack: NetContext, block: Block, kernelHeader: boolean, fits: boolean): void;

  // --- forwarding

  /** Whether packets from and to `addr` may be forwarded. */
  isForwardable(addr: IpAddr): boolean;
  /** The reason if options or extension headers forbid forwarding; the sender is notified where it is to be. */
  optionFault(stack: NetContext, packet: InputPacket): ForwardReason | null;
  /** TTL or hop limit. */
  hops(buf: Uint8Array, at: number): number;
  setHops(buf: Uint8Array, at: number, hops: number): void;
  /** Whether a router may fragment it for a link of `mtu`. */
  routerMayFragment(block: Block, mtu: number): boolean;
  /** Most bytes of a packet that leaves by `route`. */
  linkMtu(route: Route): number;
  /** The datagram that a fragment completes, where `route` wants whole ones; null: more is missing. */
  reassembled(stack: NetContext, packet: InputPacket, route: Route): InputPacket | null;
}
