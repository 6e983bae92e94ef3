/**
 * LinkWatch: hears when an interface goes down, comes up, or gets another MTU, however short it was.
 *
 * Path: kept → link_watch → libc, netdev, netns, reactor.
 *
 * Looking from time to time would miss an `ip link set X down` with an `up` right after it, by which Linux forgets the
 * IPv6 addresses and the routes of X all the same.
 *
 * @module
 */

import { get16le, get32le, put16le, put32le } from "../../kernel/wire/bytes.ts";
import { call, EAGAIN, EINTR, holdLibc, lastErrno, libc, releaseLibc } from "./libc.ts";
import type { NetDevice } from "./netdev.ts";
import type { Netns } from "./netns.ts";
import type { Pollable } from "./reactor.ts";

const AF_NETLINK = 16;
const SOCK_RAW_NONBLOCK_CLOEXEC = 0o2004003;
const NETLINK_ROUTE = 0;
const RTMGRP_LINK = 1;
const SOCKADDR_NL_LEN = 12;
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
/** Longest batch of messages: an interface's takes about 1.5 KiB. */
const MESSAGES_MAX = 32768;

/** What is heard of an interface. */
export interface LinkState {
  readonly up: boolean;
  readonly mtu: number;
}

/** See above. */
export class LinkWatch implements Pollable {
  /** The netlink socket; -1 when closed. */
  fd: number;
  onClose: (() => void) | null = null;
  readonly #index: number;
  readonly #heard: (state: LinkState | null) => void;
  readonly #buf = new Uint8Array(MESSAGES_MAX);

  /**
   * Has `heard` called with each change of `device`, which is in `netns`, once a reactor looks after it; null: some
   * were missed. Throws HostError.
   */
  constructor(device: NetDevice, netns: Netns | null, heard: (state: LinkState | null) => void) {
    this.#index = device.index;
    this.#heard = heard;
    holdLibc();
    try {
      this.fd = netns === null ? openSocket() : netns.run(openSocket);
    } catch (error) {
      releaseLibc();
      throw error;
    }
  }

  /** For the reactor. */
  drain(max: number): number {
    for (let count = 0; count < max; count++) {
      // Safe because the length is that of the buffer.
      const length = libc().read(this.fd, this.#buf, BigInt(this.#buf.length));
      if (length < 0) {
        const errno = lastErrno();
        if (errno === EAGAIN || errno === EINTR) return count;
        // ENOBUFS: more has happened than there was room for.
        this.#heard(null);
        return count + 1;
      }
      for (const state of linkStates(this.#buf.subarray(0, length), this.#index)) this.#heard(state);
    }
    return max;
  }

  close(): void {
    if (this.fd < 0) return;
    this.onClose?.();
    libc().close(this.fd);
    this.fd = -1;
    releaseLibc();
  }
}

function openSocket(): number {
  const attempt = "Cannot hear of changes of interfaces";
  const fd = call(attempt, libc().socket(AF_NETLINK, SOCK_RAW_NONBLOCK_CLOEXEC, NETLINK_ROUTE));
  const address = new Uint8Array(SOCKADDR_NL_LEN);
  put16le(address, 0, AF_NETLINK);
  put32le(address, 8, RTMGRP_LINK);
  try {
    call(attempt, libc().bind(fd, address, address.length));
    return fd;
  } catch (error) {
    libc().close(fd);
    throw error;
  }
}

/** What messages of rtnetlink say of the interface with number `index`. */
export function linkStates(messages: Uint8Array, index: number): LinkState[] {
  const states: LinkState[] = [];
  for (let at = 0; at + AT_ATTRIBUTES <= messages.length;) {
    const length = get32le(messages, at);
    if (length < NLMSGHDR_LEN || at + length > messages.length) break;
    if (get16le(messages, at + AT_TYPE) === RTM_NEWLINK && get32le(messages, at + AT_INDEX) === index) {
      const mtu = mtuIn(messages, at + AT_ATTRIBUTES, at + length);
      // Other changes (of a bridge's port, say) come without one.
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
