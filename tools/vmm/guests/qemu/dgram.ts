/**
 * QemuDgramPort: the peer of QEMU's `-netdev dgram` on two unix sockets: one datagram, one frame.
 *
 * Path: dgram → frame_stream, port, guests/guest, block.
 *
 * There are no connections: the guest counts as connected from its first frame on, and as gone when a frame finds no
 * socket at its path. Linux queues only some ten datagrams for a reader (net.unix.max_dgram_qlen); more wait here.
 *
 * @module
 */

import { type Block, BlockPool } from "../../../../kernel/block.ts";
import { FRAME_MAX, WAITING_MAX } from "./frame_stream.ts";
import { type DatagramSocket, GONE, LATER, type Loop } from "../guest.ts";
import { QemuPort, type QemuPortOptions, qemuValue } from "./port.ts";

/** Frames that wait, whatever their length: small ones cost more than their bytes. */
const FRAMES_MAX = 1024;

/** A port for one guest on a pair of datagram sockets. */
export class QemuDgramPort extends QemuPort {
  readonly #socket: DatagramSocket;
  readonly #peer: string;
  #loop: Loop | null = null;
  /** One byte more than the longest frame, to detect a longer one. */
  #in = new Uint8Array(FRAME_MAX + 1);
  #blocks = new BlockPool();
  /** Frames that wait, in order; the first is at `#first`. */
  #waiting: Block[] = [];
  #first = 0;
  #waitingBytes = 0;
  #stalled = false;

  /** Owns `socket`, which sends to `peer`: the path that QEMU binds. */
  constructor(socket: DatagramSocket, peer: string, options: QemuPortOptions = {}) {
    super(socket.path, options);
    this.#socket = socket;
    this.#peer = peer;
    socket.onReadable = this.#read;
    socket.onWritable = this.#resume;
  }

  override netdev(id: string): string {
    const local = `local.type=unix,local.path=${qemuValue(this.#peer)}`;
    return `dgram,id=${id},${local},remote.type=unix,remote.path=${qemuValue(this.#socket.path)}`;
  }

  override start(loop: Loop): void {
    this.#loop = loop;
    loop.add(this.#socket);
  }

  #read = (max: number): number => {
    let count = 0;
    while (count < max && !this.closed) {
      const length = this.#socket.receive(this.#in);
      if (length === LATER) break;
      count++;
      this.setLink(true);
      this.deliver(this.#in.subarray(0, length));
    }
    return count;
  };

  protected override enqueue(block: Block, length: number): boolean {
    const frames = this.#waiting.length - this.#first;
    if (frames >= FRAMES_MAX || this.#waitingBytes + length > WAITING_MAX) {
      this.counters.overflows++;
      return false;
    }
    const copy = this.#blocks.alloc(length, 0);
    copy.append(block.bytes());
    this.#waiting.push(copy);
    this.#waitingBytes += length;
    return true;
  }

  protected override flush(): void {
    while (!this.#stalled && this.#first < this.#waiting.length) {
      const block = this.#waiting[this.#first]!;
      const answer = this.#socket.send(block.bytes());
      if (answer === LATER) {
        this.#stalled = true;
        this.counters.stalls++;
        this.#socket.awaitWritable(this.#loop!);
        return;
      }
      if (answer === GONE) return this.#lost();
      this.#first++;
      this.#waitingBytes -= block.length;
      block.free();
    }
    if (this.#first === this.#waiting.length) {
      this.#waiting.length = 0;
      this.#first = 0;
    }
  }

  #resume = (): void => {
    this.#stalled = false;
    this.#socket.resume();
    this.flush();
  };

  /** The guest is gone: its waiting frames are dropped. */
  #lost(): void {
    for (const block of this.#waiting.slice(this.#first)) block.free();
    this.#waiting.length = 0;
    this.#first = this.#waitingBytes = 0;
    this.setLink(false);
  }

  protected override shut(): void {
    this.#socket.close();
    this.#lost();
  }
}
