/**
 * NetContext: what the IP layer and the protocols above it need of a stack.
 *
 * Path: deliver, network/forward, icmp_errors → context → ip_id, conv_space, conv, icmp_fault.
 *
 * @module
 */

import type { ConvSpace } from "../conv/conv_space.ts";
import type { Proto } from "../conv/conv.ts";
import type { IpIds } from "./ip_id.ts";
import type { IcmpReporter } from "../packet/icmp_fault.ts";
import type { MemoryAccount } from "../env/memory.ts";
import type { FragmentPlace } from "../../../kernel/inet/fragment_format.ts";
import type { InputPacket } from "../packet/packet.ts";
import type { Block } from "../../../kernel/block.ts";
import type { RouteContext } from "../route/egress.ts";

/** One stack, as its IP layer sees it. */
export interface NetContext extends RouteContext {
  readonly icmpErrors: IcmpReporter;
  readonly reassembly: Reassembler;
  /** The protocol that receives packets of IP protocol `number`, or null. */
  protocolFor(number: number): Proto | null;
  /** Identifications of IPv4 packets that may be cut on their way. */
  readonly ipIds: IpIds;
}

/** Puts datagrams together. */
interface Reassembler {
  /** Takes a fragment (consumed); the whole datagram if this was the last that was missing, else null. */
  add(packet: InputPacket, place: FragmentPlace): Block | null;
}

/** One stack, as a protocol sees it. */
export interface ProtoContext extends NetContext {
  /** Messages that wait for readers of udp, icmp and `err` files. */
  readonly memory: MemoryAccount;
  /** Conversations, ports and demultiplexing of `proto`. */
  space(proto: Proto): ConvSpace;
  /** Gives packets of IP protocol `number` to `proto`, or to none. */
  setReceiver(number: number, proto: Proto | null): void;
}
