/**
 * Guest: whatever runs behind a NAT, seen from the NAT: a name, an end of a cable, and a way to end it.
 *
 * Path: netns_guest, qemu/guest, daemon → guests/guest → host.
 *
 * A guest of a real machine needs sockets and a loop. They are lent to it by its maker (`devices/host`), in the shape
 * that stands here: nothing in this folder opens a device of the kernel's side by itself.
 *
 * @module
 */

import type { FramePort } from "../../../kernel/host.ts";

/** One guest. */
export interface Guest {
  /** A name for people, such as `netns:web` or `qemu:/run/vm1.sock`. */
  readonly name: string;
  /** Our end of its cable: `receive` gets what the guest sends, `transmit` sends to the guest. */
  readonly port: FramePort;
  /** Ends it: its port, and what was started or made for it. Whoever is told twice does nothing the second time. */
  close(): Promise<void>;
}

/** A descriptor that a loop looks after. */
export interface Pollable {
  readonly fd: number;
  /** Takes at most `max` units of what is there; returns how many, or a negative number to be forgotten. */
  drain(max: number): number;
  /** Set by the loop, to forget it when it is closed. */
  onClose: (() => void) | null;
}

/** A loop, such as the reactor: drains what has something until that is closed. */
export interface Loop {
  add(pollable: Pollable): void;
}

/** Answers of sockets that are no counts: the other end is gone; not now. */
export const GONE = 0;
export const LATER = -1;

/** What every socket does. */
interface Socket extends Pollable {
  /** Called by `drain`; answers as it does. */
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

/** A place at which a peer connects. */
export interface StreamListener extends Pollable {
  /** What the peer is told to connect to. */
  readonly path: string;
  /** Has `take` called with each connection (given away). */
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
  /** To be called first by `onWritable`. */
  resume(): void;
}
