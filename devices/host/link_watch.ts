/**
 * LinkWatch: reports when an interface goes down, comes up, or gets another MTU, however short the change.
 *
 * Path: kept → link_watch → polled_fd, link_states, libc, netdev, netns, pollable.
 *
 * Polling would miss an `ip link set X down` that an `up` follows at once, and yet Linux drops the IPv6 addresses and
 * the routes of X on it.
 *
 * @module
 */

import { put16le, put32le } from "../../kernel/wire/bytes.ts";
import { call, EAGAIN, EINTR, holdLibc, lastErrno, libc, releaseLibc } from "./libc.ts";
import { type LinkState, linkStates } from "./link_states.ts";
import type { NetDevice } from "./netdev.ts";
import type { Netns } from "./netns.ts";
import { PolledFd } from "./polled_fd.ts";
import type { Pollable } from "./pollable.ts";

const AF_NETLINK = 16;
const SOCK_RAW_NONBLOCK_CLOEXEC = 0o2004003;
const NETLINK_ROUTE = 0;
const RTMGRP_LINK = 1;
const SOCKADDR_NL_LEN = 12;
/** Longest batch of messages: an interface's takes about 1.5 KiB. */
const MESSAGES_MAX = 32768;

/** A netlink socket that reports each change of one interface. */
export class LinkWatch extends PolledFd implements Pollable {
  readonly #index: number;
  readonly #heard: (state: LinkState | null) => void;
  readonly #buf = new Uint8Array(MESSAGES_MAX);

  /**
   * Calls `heard` with each change of `device`, which is in `netns`, once a reactor polls it. Null: changes were
   * missed. Throws HostError.
   */
  constructor(device: NetDevice, netns: Netns | null, heard: (state: LinkState | null) => void) {
    super(openHeld(netns));
    this.#index = device.index;
    this.#heard = heard;
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
}

/** Opens the socket in `netns`; it holds libc. */
function openHeld(netns: Netns | null): number {
  holdLibc();
  try {
    return netns === null ? openSocket() : netns.run(openSocket);
  } catch (error) {
    releaseLibc();
    throw error;
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
