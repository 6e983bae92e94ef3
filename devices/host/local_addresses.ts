/**
 * LocalAddresses: which addresses are the machine's own, by asking Linux to bind them.
 *
 * Path: host_sockets → local_addresses → socket_calls, ip_addr, time.
 *
 * @module
 */

import type { Clock } from "../../kernel/time.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { EACCES, lastErrno, libc } from "./libc.ts";
import type { Netns } from "./netns.ts";
import { bindTo, openInside } from "./socket_calls.ts";
import { sockaddrOf, socketFamily } from "./socket_family.ts";

/** How long an answer counts. */
const ANSWER_MS = 10_000;
/** Answers that are kept, each in the place that its address has: a power of two. */
const PLACES = 1024;
const SOCK_DGRAM = 2;
/** Any port: nothing is sent there. */
const DISCARD_PORT = 9;

interface Answer {
  readonly address: IpAddr;
  readonly isLocal: boolean;
  readonly untilMs: number;
}

/** Answers, and for how long they count. */
export class LocalAddresses {
  readonly #clock: Clock;
  readonly #netns: Netns | null;
  readonly #answers: (Answer | undefined)[] = new Array(PLACES);

  /** For the addresses in `netns` (null: where the program is). */
  constructor(clock: Clock, netns: Netns | null) {
    this.#clock = clock;
    this.#netns = netns;
  }

  /** Whether packets to `address` end here, as of at most 10 s ago; broadcast and group addresses do not count. */
  has(address: IpAddr): boolean {
    const now = this.#clock.now();
    const place = address.hash() & PLACES - 1;
    const known = this.#answers[place];
    if (known !== undefined && now < known.untilMs && known.address.equals(address)) return known.isLocal;
    const isLocal = this.#ask(address);
    this.#answers[place] = { address, isLocal, untilMs: now + ANSWER_MS };
    return isLocal;
  }

  #ask(address: IpAddr): boolean {
    if (address.isUnspecified || address.isMulticast || address.isLimitedBroadcast) return false;
    const family = socketFamily(address.isV4 ? 4 : 6);
    const fd = openInside(this.#netns, { family, type: SOCK_DGRAM, protocol: 0 });
    if (fd < 0) return false;
    const isBound = bindTo(fd, family, { address, port: 0 }) === 0;
    const isLocal = isBound && !isBroadcast(fd, sockaddrOf(family.version, { address, port: DISCARD_PORT }));
    libc().close(fd);
    return isLocal;
  }
}

/** Whether Linux wants SO_BROADCAST (socket(7)) to send there: a network's broadcast address can be bound, too. */
function isBroadcast(fd: number, name: Uint8Array<ArrayBuffer>): boolean {
  // Safe because the length is that of the struct.
  return libc().connect(fd, name, name.length) < 0 && lastErrno() === EACCES;
}
