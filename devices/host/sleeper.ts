/**
 * Sleeper: waits for a descriptor in a ppoll(2) on another thread, until a time, or until it is woken by an eventfd.
 *
 * Path: reactor → sleeper → libc.
 *
 * The descriptor is an epoll set that watches the eventfd, too. The other thread touches none of our state but the two
 * buffers of the call.
 *
 * @module
 */

import { call, libc } from "./libc.ts";

const POLLIN = 1;
const CLOEXEC_NONBLOCK = 0x8_0800;
/** The value written to an eventfd: 1 in 64 bits. */
const ONE = new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]);

/** One thread's sleep at a time. Its caller holds libc from {@link open} to {@link close}. */
export class Sleeper {
  /** Whether it sleeps. */
  isAsleep = false;
  /** The eventfd; -1: it is closed. */
  fd = -1;
  /** It was woken and is still asleep. */
  #isWoken = false;
  /** struct pollfd and struct timespec, which are the other thread's while it sleeps. */
  #pollfd = new Uint8Array(8);
  #timespec = new BigInt64Array(2);
  #timespecBytes = new Uint8Array(this.#timespec.buffer);

  /** Makes the eventfd. Throws HostError. */
  open(): void {
    this.fd = call("Cannot make an eventfd", libc().eventfd(0, CLOEXEC_NONBLOCK));
  }

  /** Sleeps until `epoll` is readable, for `ms` at the most; settles when it has returned. */
  async sleep(epoll: number, ms: number): Promise<void> {
    const seconds = Math.floor(ms / 1000);
    this.#timespec[0] = BigInt(seconds);
    this.#timespec[1] = BigInt(Math.ceil((ms - seconds * 1000) * 1e6));
    const pollfd = new DataView(this.#pollfd.buffer);
    pollfd.setInt32(0, epoll, true);
    pollfd.setInt16(4, POLLIN, true);
    this.isAsleep = true;
    // Safe because both buffers are members, and nothing writes to them while it sleeps.
    await libc().ppoll(this.#pollfd, 1n, this.#timespecBytes, null);
    this.isAsleep = false;
    if (!this.#isWoken) return;
    this.#isWoken = false;
    // Safe because an eventfd gives 8 bytes, and there are 8.
    libc().read(this.fd, new Uint8Array(8), 8n);
  }

  /** Ends the sleep: the eventfd becomes readable. Returns whether it was not woken before. */
  wake(): boolean {
    if (this.#isWoken) return false;
    this.#isWoken = true;
    // Safe because an eventfd takes 8 bytes; it has room for 2^64 - 2 wakes.
    libc().write(this.fd, ONE, 8n);
    return true;
  }

  /** Closes the eventfd. */
  close(): void {
    if (this.fd >= 0) libc().close(this.fd);
    this.fd = -1;
    this.#isWoken = false;
  }
}
