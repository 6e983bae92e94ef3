/**
 * The two sides of a scenario: our host, and the remote that tries it: Linux on a TAP or TUN, a second kernel in
 * memory.
 *
 * Path: linux_environment, memory_environment, steps → environment → endpoint, packet_log, boot, time.
 *
 * @module
 */

import type { Clock, Timer } from "../../kernel/time.ts";
import type { Host } from "../boot/boot.ts";
import type { Endpoint } from "./endpoint.ts";
import type { PacketLog } from "./packet_log.ts";

/** A UDP end of the remote. */
export interface RemoteUdp {
  /** Sends `payload` to `port` of the host and answers what comes back from there. Throws when nothing does. */
  exchange(payload: Uint8Array, port: number): Promise<Uint8Array>;
  close(): void;
}

/** What an echo request was answered with. */
export interface EchoAnswer {
  /** TTL of the answer's IP header, as it arrived. */
  readonly ttl: number;
  readonly payload: Uint8Array;
}

/** Who tries the host. */
export interface Remote {
  readonly name: string;
  readonly address: string;
  /** The hardware address that the remote has found for the host, or null if it has none (yet). */
  resolved(): Promise<string | null>;
  /** Sends one echo request with identifier `id` to the host. Throws when no answer comes. */
  ping(id: number, seq: number, payload: Uint8Array): Promise<EchoAnswer>;
  openUdp(): Promise<RemoteUdp>;
}

/** Both sides and the wire between. */
export interface Environment {
  readonly wire: "memory" | "tap" | "tun";
  readonly host: Host;
  readonly remote: Remote;
  /** The remote as one who has sockets of every kind. */
  readonly endpoint: Endpoint;
  /** What crosses the wire, seen from the host. */
  readonly log: PacketLog;
  close(): Promise<void>;
}

/** How long the remote waits for an answer, in milliseconds of the host's clock. */
export const ANSWER_MS = 3000;

/** Something did not come in time. */
export class TimedOut extends Error {
  override readonly name = "TimedOut";
}

/** A guest that is a program of its own came to an end. */
export class GuestFailed extends Error {
  override readonly name = "GuestFailed";
}

/** The user has had enough of what takes seconds. */
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
