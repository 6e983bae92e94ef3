/**
 * Bypass: the claim of one bypassed conversation: its rules, what it sent, and what was refused and why.
 *
 * Path: conv, conv_bypass, bypass → bypass_claim → proto, error.
 *
 * @module
 */

import type { ErrnoName } from "../../../kernel/error.ts";
import type { BypassRules } from "./proto.ts";

/** Why a packet of a bypass writer was not sent; index of {@link REFUSALS} and of {@link Bypass.refused}. */
export const Refusal = {
  None: 0,
  Short: 1,
  Version: 2,
  Header: 3,
  Length: 4,
  Ttl: 5,
  Offload: 6,
  Fragment: 7,
  Protocol: 8,
  Source: 9,
  Port: 10,
  NoRoute: 11,
  TooBig: 12,
} as const;
export type Refusal = typeof Refusal[keyof typeof Refusal];

/** Counter name, errno and reason of each {@link Refusal}. */
export const REFUSALS: readonly { readonly name: string; readonly errno: ErrnoName; readonly why: string }[] = [
  { name: "none", errno: "EFAIL", why: "nothing" },
  { name: "short", errno: "EINVAL", why: "shorter than an IP header" },
  { name: "version", errno: "EINVAL", why: "its first nibble is no IP version we have" },
  { name: "header", errno: "EINVAL", why: "its header length is wrong, or a header may not be sent" },
  { name: "length", errno: "EINVAL", why: "its total length is not the block's" },
  { name: "ttl", errno: "EINVAL", why: "its TTL is 0" },
  { name: "offload", errno: "EINVAL", why: "its checksum or segment metadata do not fit it" },
  { name: "fragment", errno: "EPERM", why: "a fragment: write the whole datagram" },
  { name: "protocol", errno: "EPERM", why: "its protocol is not the conversation's" },
  { name: "source", errno: "EPERM", why: "its source address is not the conversation's" },
  { name: "port", errno: "EPERM", why: "its source port is not the conversation's" },
  { name: "noroute", errno: "EHOSTUNREACH", why: "no route" },
  { name: "toobig", errno: "EMSGSIZE", why: "larger than the next hop takes, and not to be fragmented" },
];

/** Counter names of the `status` line. */
export const REFUSAL_NAMES: readonly string[] = REFUSALS.slice(1).map(({ name }) => name);

/** The claim of one conversation, and what came of it. */
export class Bypass {
  /** Packets sent. */
  packetsOut = 0;
  /** Packets not sent, by {@link Refusal}; null: none. */
  refused: number[] | null = null;

  constructor(
    /** Where a packet's ends are. */
    readonly rules: BypassRules,
    /** The protocol number its packets have; -1: any that its rules take (raw). */
    readonly protocol: number,
  ) {}
}
