/**
 * Environment: the two ends of a scenario's wire: our host, and the remote that tries it: Linux on a TAP or TUN, a
 * second kernel in memory.
 *
 * Path: linux_environment, memory_environment, steps → environment → endpoint, packet_log, boot, time.
 *
 * @module
 */

import type { Clock, Timer } from "../../kernel/time.ts";
import type { Host } from "../boot/boot.ts";
import type { Endpoint } from "./endpoint.ts";
import type { PerVersion } from "./ip_family.ts";
import type { PacketLog } from "./packet_log.ts";

/** See above. */
export interface Environment {
  readonly wire: "memory" | "tap" | "tun";
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
