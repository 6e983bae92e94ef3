/**
 * LocalAddresses: which addresses are the machine's own, by asking Linux to bind them.
 *
 * Path: linux_sockets → local_addresses → calls, ip_addr, time.
 *
 * @module
 */

import type { Clock } from "../../../kernel/time.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { EACCES, isShortage, lastErrno, libc } from "../libc.ts";
import type { Netns } from "../netns.ts";
import { bindTo, openInside } from "./calls.ts";
import { sockaddrOf, socketFamily } from "./family.ts";

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
    // Without a descriptor it is not known: what is the machine's own is closed to guests, so that is the safe answer.
    if (isLocal === null) return true;
    this.#answers[place] = { address, isLocal, untilMs: now + ANSWER_MS };
    return isLocal;
  }

  /** Null: it cannot be asked now. */
  #ask(address: IpAddr): boolean | null {
    if (address.isUnspecified || address.isMulticast || address.isLimitedBroadcast) return false;
    const family = socketFamily(address.isV4 ? 4 : 6);
    const fd = openInside(this.#netns, { family, type: SOCK_DGRAM, protocol: 0 });
    if (fd < 0) return isShortage(-fd) ? null : false;
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
