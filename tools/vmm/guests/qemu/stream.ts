/**
 * QemuStreamPort: the server for QEMU's `-netdev stream` on a unix socket, and for other programs with the same
 * protocol (clients of passt and gvproxy): a length of 32 bits, then the frame.
 *
 * Path: open_guest, qemu_side → stream → frame_stream, port, guests/guest, block.
 *
 * One guest at a time: a cable has two ends. When it disconnects the next may connect; a second one meanwhile is
 * refused. A length that no frame has ends the connection, since the stream cannot be parsed any further.
 *
 * @module
 */

import type { Block } from "../../../../kernel/block.ts";
import { FrameReader, FrameWriter, MALFORMED } from "./frame_stream.ts";
import { GONE, LATER, type Loop, type StreamListener, type StreamSocket } from "../guest.ts";
import { QemuPort, type QemuPortOptions, qemuValue } from "./port.ts";

/** Waiting bytes that are written without waiting for the end of the turn: this keeps the peer busy. */
const WRITE_EARLY = 64 * 1024;

/** Frames of a disconnected guest that are still taken before the next guest is accepted: more than a socket holds. */
const LAST_FRAMES_MAX = 65536;

/** A port for one guest at a time on a stream socket. */
export class QemuStreamPort extends QemuPort {
  readonly #listener: StreamListener;
  #loop: Loop | null = null;
  #stream: StreamSocket | null = null;
  #reader = new FrameReader(this.deliver);
  #writer = new FrameWriter();
  /** The socket is full: nothing is written until there is room. */
  #stalled = false;

  /** Owns `listener`. */
  constructor(listener: StreamListener, options: QemuPortOptions = {}) {
    super(listener.path, options);
    this.#listener = listener;
    listener.onConnection(this.#connected);
  }

  override netdev(id: string): string {
    return `stream,id=${id},server=off,addr.type=unix,addr.path=${qemuValue(this.#listener.path)}`;
  }

  override start(loop: Loop): void {
    this.#loop = loop;
    loop.add(this.#listener);
  }

  #connected = (stream: StreamSocket): void => {
    // The previous one may have disconnected in the same turn: reading detects its end.
    if (this.#stream !== null) this.#read(LAST_FRAMES_MAX, true);
    if (this.#stream !== null || this.closed) {
      this.counters.refused++;
      stream.close();
      return;
    }
    this.#stream = stream;
    stream.onReadable = this.#read;
    stream.onWritable = this.#resume;
    this.#loop!.add(stream);
    this.setLink(true);
  };

  /** Reads up to some `max` frames; until there are no more, or with `toEnd` until the end of the stream. */
  #read = (max: number, toEnd = false): number => {
    let count = 0;
    while (count < max && this.#stream !== null) {
      const room = this.#reader.room();
      const got = this.#stream.read(room);
      if (got === LATER) break;
      if (got === GONE) {
        this.#disconnect();
        break;
      }
      const isAll = got < room.length;
      const frames = this.#reader.take(got);
      if (frames === MALFORMED) {
        this.counters.malformed++;
        this.#disconnect();
        break;
      }
      // A part of a frame counts as work, too: the rest follows soon.
      count += Math.max(1, frames);
      if (isAll && !toEnd) break;
    }
    return count;
  };

  protected override enqueue(block: Block, length: number): boolean {
    if (!this.#writer.put(block, length)) {
      this.counters.overflows++;
      return false;
    }
    if (this.#writer.length >= WRITE_EARLY) this.flush();
    return true;
  }

  protected override flush(): void {
    while (!this.#stalled && this.#stream !== null && this.#writer.length > 0) {
      const count = this.#stream.write(this.#writer.waiting);
      if (count === LATER) this.#stall(this.#stream);
      else if (count === GONE) this.#disconnect();
      else this.#writer.written(count);
    }
  }

  #stall(stream: StreamSocket): void {
    this.#stalled = true;
    this.counters.stalls++;
    stream.awaitWritable(this.#loop!);
  }

  #resume = (): void => {
    this.#stalled = false;
    this.flush();
  };

  #disconnect(): void {
    const stream = this.#stream;
    if (stream === null) return;
    this.#stream = null;
    this.#stalled = false;
    this.#reader.reset();
    this.#writer.reset();
    stream.close();
    this.setLink(false);
  }

  protected override shut(): void {
    this.#listener.close();
    this.#disconnect();
  }
}
