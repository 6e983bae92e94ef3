/**
 * Environment: the two ends of a scenario's wire: our host, and the remote that tries it: Linux on a TAP or TUN, a
 * second kernel in memory, programs of this machine by its sockets.
 *
 * Path: linux_environment, socket_environment, memory_environment, steps → environment → endpoint, packet_log, boot,
 * time.
 *
 * @module
 */

import type { Clock, Timer } from "../../kernel/time.ts";
import type { Host } from "../boot/boot.ts";
import type { Endpoint } from "./endpoint.ts";
import type { ForwardDoors } from "../nat/forward.ts";
import type { IpVersion, PerVersion } from "./ip_family.ts";
import type { PacketLog } from "./packet_log.ts";

/** What sockets carry in the place of a wire: the guest's connections and datagrams, and calls of its forwards. */
interface SocketWire {
  /** Opens forwards as ports of the machine. */
  readonly doors: ForwardDoors;
  /** Where the remote finds these ports. */
  readonly doorAddresses: PerVersion<string>;
  /** Why the guest cannot ping; null: it can. */
  noPings(version: IpVersion): string | null;
  /** Why the remote cannot have a port below 1024; null: it can. */
  readonly noLowPorts: string | null;
}

/** See above. */
export interface Environment {
  readonly wire: "memory" | "tap" | "tun" | "socket";
  /** Null: a wire, which carries any packet both ways. */
  readonly sockets: SocketWire | null;
  readonly host: Host;
  /** The host's addresses on the wire. */
  readonly addresses: PerVersion<string>;
  readonly remote: Endpoint;
  /** What crosses the wire, seen from the host. */
  readonly log: PacketLog;
  close(): Promise<void>;
}

/** How long an endpoint waits for an answer, in milliseconds of the host's clock. */
export const ANSWER_MS = 3000;

/** Prefix length of an IPv6 network. */
export const PREFIX6 = 64;

/** Something did not come in time. */
export class TimedOut extends Error {
  override readonly name = "TimedOut";
}

/** A guest that is a program of its own came to an end. */
export class GuestFailed extends Error {
  override readonly name = "GuestFailed";
}

/** The user ended what takes seconds. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
}

/** What `promise` gives, or {@link TimedOut} after `ms` of `clock`; `what` completes "No … within …". */
export async function within<T>(clock: Clock, ms: number, what: string, promise: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer: Timer = clock.timer(() => late.reject(new TimedOut(`No ${what} within ${ms} ms`)));
  timer.arm(ms);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    timer.disarm();
  }
}

/** Lets `ms` of `clock` pass. */
export function sleep(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => clock.timer(resolve).arm(ms));
}

/** Asks `look` every `periodMs` of `clock`, until it returns something; {@link TimedOut} after `limitMs`. */
export async function poll<T>(
  clock: Clock,
  { what, limitMs, periodMs }: { readonly what: string; readonly limitMs: number; readonly periodMs: number },
  look: () => Promise<T | null> | T | null,
): Promise<T> {
  for (let leftMs = limitMs; leftMs > 0; leftMs -= periodMs) {
    const found = await look();
    if (found !== null) return found;
    await sleep(clock, periodMs);
  }
  throw new TimedOut(`No ${what} within ${limitMs} ms`);
}
