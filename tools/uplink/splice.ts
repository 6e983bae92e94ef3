/**
 * Splice: the bytes of one connection, between its conversation of the far stack and its socket of the machine.
 *
 * Path: tcp_relay → splice → far_conv, host_sockets, block.
 *
 * ```
 *   guest ─ near ─ link ─ far conversation ── read ──► write ── socket ─▶ world
 *                                          ◄─ write ── read ◄─
 * ```
 *
 * Each direction goes until one side has nothing, or no room: then the other waits in its own queue, and the sender's
 * window closes by itself. An end of one half passes as an end of that half, a reset as a reset: what came before it is
 * delivered first.
 *
 * @module
 */

import type { Block, BlockPool } from "../../kernel/block.ts";
import { KernelError } from "../../kernel/error.ts";
import { FAILED, type HostStream, NOT_NOW } from "../../kernel/host_sockets.ts";
import { AGAIN } from "../../kernel/sys.ts";
import type { FarConv } from "./far_conv.ts";

/** Bytes of one read of a socket. Behind one that is filled they are as many as a packet of the link carries. */
const READ_BYTES = 65_536;
/** A shorter read is copied, so that a queue of small texts does not hold 64 KiB for each. */
const COPY_BELOW = 16_384;
/** Reads, and writes, of one turn: after about a MiB the others have theirs. */
const STEPS_PER_TURN = 16;
/** A conversation whose guest is gone ends after this, in ms; each probe that is answered restarts it. */
const KEEPALIVE_MS = 120_000;

/** The guest's end, a conversation of the far stack. */
type GuestEnd = Pick<FarConv, "data" | "read" | "write" | "tell" | "unsent" | "isClosed" | "packetBytes" | "close">;

/** What a splice tells, and what it works with. */
export interface SpliceOwner {
  readonly blocks: BlockPool;
  /** Both directions are over, or one side failed: descriptors are given back. */
  ended(splice: Splice): void;
  /** The far side has something to deliver before it may be reset: see {@link Splice.resetWhenSent}. */
  draining(splice: Splice): void;
  /** There is more to do, in the next turn. */
  again(splice: Splice): void;
}

/** See above. */
export class Splice {
  readonly conv: GuestEnd;
  readonly socket: HostStream;
  readonly #owner: SpliceOwner;
  /** Blocks on their way to the socket; the first is at `#first`, and `#done` bytes of it are written. */
  #up: Block[] = [];
  #first = 0;
  #done = 0;
  #views: Uint8Array[] = [];
  /** The block that the far conversation had no room for. */
  #down: Block | null = null;
  #guestEnded = false;
  #socketEnded = false;
  /** The socket takes no more. What came to it before it broke can still be read. */
  #isDeaf = false;
  #isOver = false;
  #readBytes = READ_BYTES;
  /** The socket is broken: what is queued for the guest goes first. */
  #isDraining = false;

  /** Joins a conversation and a socket that are connected. */
  constructor(owner: SpliceOwner, conv: GuestEnd, socket: HostStream) {
    this.#owner = owner;
    this.conv = conv;
    this.socket = socket;
    // A guest that is gone must not keep a socket.
    conv.tell(`keepalive ${KEEPALIVE_MS}`);
    socket.setTtl(0);
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Moves what can be moved, both ways. */
  run(): void {
    if (this.#isOver) return;
    const more = this.#toSocket() || (!this.#isOver && this.#toGuest());
    if (this.#isOver) return;
    // Behind its end a socket has only a reset to say.
    if (this.#socketEnded && this.socket.failure !== null) this.#broken();
    else if (this.#guestEnded && this.#socketEnded && this.#first === this.#up.length && this.#down === null) {
      this.#finish();
    } else if (more) this.#owner.again(this);
  }

  /** The conversation was hung up: behind the guest's end that is a reset, which no read tells. */
  hungUp(): void {
    if (this.#guestEnded && !this.#isOver && this.conv.isClosed) this.#abort();
    else this.run();
  }

  /** Guest to world. True: there is more, but the turn is over. */
  #toSocket(): boolean {
    for (let step = 0; step < STEPS_PER_TURN; step++) {
      if (this.#first === this.#up.length && !this.#refill()) return false;
      const count = this.socket.write(this.#views, this.#views.length);
      if (count === NOT_NOW) return false;
      if (count === FAILED) {
        this.#isDeaf = true;
        this.#dropUp();
        return false;
      }
      this.#advance(count);
    }
    return true;
  }

  /** Takes blocks of the conversation; false: there are none now, or no more. */
  #refill(): boolean {
    if (this.#guestEnded || this.#isDeaf || this.#isDraining) return false;
    let blocks: ReturnType<GuestEnd["read"]>;
    try {
      blocks = this.conv.read();
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      // The guest has reset it, or is gone. What it sent before has been written, as far as the machine took it.
      this.#abort();
      return false;
    }
    if (blocks === AGAIN) return false;
    if (blocks === null) {
      this.#guestEnded = true;
      this.socket.shutdownWrite();
      return false;
    }
    this.#up = blocks as Block[];
    this.#first = this.#done = 0;
    this.#views = this.#up.map((block) => block.bytes());
    return true;
  }

  /** `count` bytes were written. */
  #advance(count: number): void {
    let left = count;
    while (this.#first < this.#up.length) {
      const block = this.#up[this.#first]!;
      const rest = block.length - this.#done;
      if (left < rest) break;
      left -= rest;
      block.free();
      this.#first++;
      this.#done = 0;
    }
    this.#done += left;
    this.#views = this.#up.slice(this.#first).map((block) => block.bytes());
    if (this.#done > 0) this.#views[0] = this.#views[0]!.subarray(this.#done);
  }

  /** World to guest. True: there is more, but the turn is over. */
  #toGuest(): boolean {
    for (let step = 0; step < STEPS_PER_TURN; step++) {
      if (this.#down !== null && !this.#give(this.#down)) return false;
      if (this.#socketEnded || this.#isOver || this.#isDraining) return false;
      const block = this.#owner.blocks.alloc(READ_BYTES, 0);
      const count = this.socket.read(block.buf.subarray(block.rp, block.rp + this.#readBytes));
      if (count <= 0) {
        block.free();
        if (count === FAILED) this.#broken();
        else if (count === 0) this.#endGuest();
        return false;
      }
      // A rest of every read would go as a packet of its own.
      if (count === READ_BYTES) this.#readBytes = this.conv.packetBytes;
      block.wp = block.rp + count;
      this.#down = block;
      if (count < COPY_BELOW) {
        this.#down = this.#owner.blocks.from(block.bytes(), 0);
        block.free();
      }
    }
    return true;
  }

  /** Gives a block to the conversation; false: there is no room now, or no guest. */
  #give(block: Block): boolean {
    try {
      if (!this.conv.write(block)) return false;
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      this.#abort();
      return false;
    }
    this.#down = null;
    return true;
  }

  /** The world has sent its last byte, and the guest has been given it. */
  #endGuest(): void {
    this.#socketEnded = true;
    this.conv.tell("shutdown wr");
  }

  /** The socket has failed: the guest gets what is queued for it, and then a reset. */
  #broken(): void {
    if (this.#isDraining || this.#isOver) return;
    this.#isDraining = true;
    this.#dropUp();
    if (this.#down === null && this.conv.unsent === 0) this.#resetGuest();
    else this.#owner.draining(this);
  }

  /** Resets the guest's half once all is delivered, or with `now`; true: that is done. */
  resetWhenSent(now: boolean): boolean {
    if (this.#isOver) return true;
    if (this.#down !== null) this.#give(this.#down);
    if (this.#isOver) return true;
    if (!now && (this.#down !== null || this.conv.unsent > 0)) return false;
    this.#resetGuest();
    return true;
  }

  #resetGuest(): void {
    // First, since the command lets the far stack's events come in.
    this.#isOver = true;
    this.conv.tell("hangup");
    this.#release();
  }

  /** The guest has failed: what it has sent is written as far as that goes now, then the socket is reset. */
  #abort(): void {
    if (this.#first < this.#up.length) this.socket.write(this.#views, this.#views.length);
    this.socket.reset();
    this.#finish();
  }

  #dropUp(): void {
    for (; this.#first < this.#up.length; this.#first++) this.#up[this.#first]!.free();
    this.#up = [];
    this.#views = [];
    this.#first = 0;
  }

  #finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#release();
  }

  #release(): void {
    this.#dropUp();
    this.#down?.free();
    this.#down = null;
    this.socket.close();
    this.conv.close();
    this.#owner.ended(this);
  }

  /** Ends it at once, both ways. */
  close(): void {
    if (this.#isOver) return;
    this.socket.reset();
    this.#resetGuest();
  }
}
