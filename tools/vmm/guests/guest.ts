/**
 * Guest: a machine behind a NAT, as the NAT uses it: a name, an end of a cable, and a way to end it.
 *
 * Path: netns_guest, qemu/guest, daemon → guests/guest → host.
 *
 * A guest of a real machine needs sockets and a loop. Its maker passes them in (from `devices/host`), by the interfaces
 * below: nothing in this folder opens a device of the kernel's side by itself.
 *
 * @module
 */

import type { FramePort } from "../../../kernel/host.ts";

/** One guest. */
export interface Guest {
  /** A name for messages, such as `netns:web` or `qemu:/run/vm1.sock`. */
  readonly name: string;
  /** Our end of its cable: `receive` gets what the guest sends, `transmit` sends to the guest. */
  readonly port: FramePort;
  /** Ends it: its port, and everything that was started or made for it. A second call does nothing. */
  close(): Promise<void>;
}

/** A descriptor that a loop polls. */
export interface Pollable {
  readonly fd: number;
  /** Takes at most `max` units of what is there; returns how many, or a negative number to be removed. */
  drain(max: number): number;
  /** Set by the loop, to remove it when it is closed. */
  onClose: (() => void) | null;
}

/** A loop, such as the reactor: drains readable descriptors until they are closed. */
export interface Loop {
  add(pollable: Pollable): void;
}

/** Results of sockets that are no counts: the other end is gone; not now. */
export const GONE = 0;
export const LATER = -1;

/** Members of every socket. */
interface Socket extends Pollable {
  /** Called by `drain`; returns the same. */
  onReadable: ((max: number) => number) | null;
  /** Called once after `awaitWritable` when there is room again. */
  onWritable: (() => void) | null;
  awaitWritable(loop: Loop): void;
  close(): void;
}

/** A connection that never waits. */
export interface StreamSocket extends Socket {
  /** A count; {@link GONE} at the end or after a failure; {@link LATER}. */
  read(into: Uint8Array): number;
  /** As `read`: how much of `bytes` was taken. */
  write(bytes: Uint8Array): number;
}

/** A path that a peer connects to. */
export interface StreamListener extends Pollable {
  /** The address for the peer to connect to. */
  readonly path: string;
  /** Calls `take` with each connection, which the callee owns. */
  onConnection(take: (stream: StreamSocket) => void): void;
  close(): void;
}

/** A datagram socket with one peer that never waits. */
export interface DatagramSocket extends Socket {
  /** Where the peer sends to. */
  readonly path: string;
  /** Length of the next datagram, which may be 0; {@link LATER}. */
  receive(into: Uint8Array): number;
  /** 1; {@link GONE}: there is no peer now; {@link LATER}. */
  send(bytes: Uint8Array): number;
  /** `onWritable` calls it first. */
  resume(): void;
}
