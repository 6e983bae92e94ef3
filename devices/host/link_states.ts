/**
 * Reads the state of one interface out of rtnetlink's messages (linux/rtnetlink.h).
 *
 * Path: link_watch → link_states → kernel/wire/bytes.
 *
 * @module
 */

import { get16le, get32le } from "../../kernel/wire/bytes.ts";

const RTM_NEWLINK = 16;
/** struct nlmsghdr, then struct ifinfomsg, then attributes (linux/rtnetlink.h). */
const NLMSGHDR_LEN = 16;
const AT_TYPE = 4;
const AT_INDEX = 20;
const AT_FLAGS = 24;
const AT_ATTRIBUTES = 32;
const RTATTR_LEN = 4;
const IFLA_MTU = 4;
const IFF_UP = 1;

/** State of an interface, as one message reports it. */
export interface LinkState {
  readonly up: boolean;
  readonly mtu: number;
}

/** The states that messages of rtnetlink report of the interface with number `index`, in order. */
export function linkStates(messages: Uint8Array, index: number): LinkState[] {
  const states: LinkState[] = [];
  for (let at = 0; at + AT_ATTRIBUTES <= messages.length;) {
    const length = get32le(messages, at);
    if (length < NLMSGHDR_LEN || at + length > messages.length) break;
    if (get16le(messages, at + AT_TYPE) === RTM_NEWLINK && get32le(messages, at + AT_INDEX) === index) {
      const mtu = mtuIn(messages, at + AT_ATTRIBUTES, at + length);
      // Other changes, such as those of a bridge's port, carry no MTU.
      if (mtu !== null) states.push({ up: (get32le(messages, at + AT_FLAGS) & IFF_UP) !== 0, mtu });
    }
    at += aligned(length);
  }
  return states;
}

/** The attribute IFLA_MTU among those from `at` to `end`. */
function mtuIn(messages: Uint8Array, at: number, end: number): number | null {
  while (at + RTATTR_LEN <= end) {
    const length = get16le(messages, at);
    if (length < RTATTR_LEN || at + length > end) return null;
    if (get16le(messages, at + 2) === IFLA_MTU && length >= RTATTR_LEN + 4) return get32le(messages, at + RTATTR_LEN);
    at += aligned(length);
  }
  return null;
}

/** Netlink's messages and attributes begin at multiples of 4. */
function aligned(length: number): number {
  return (length + 3) & ~3;
}
