/**
 * AgentChannel: messages to and from the agent in a virtual machine, over a port that is not the network under test.
 *
 * Path: agent_sockets, qemu_side → agent_channel → frame_stream, guests/guest, block.
 *
 * A message is a length of 32 bits, a line of words, then bytes; the first words are a verb and the number of
 * a socket. agent.pl has the list of them.
 *
 * @module
 */

import { Block } from "../../kernel/block.ts";
import { FRAME_MAX, FrameReader, FrameWriter, MALFORMED } from "../vmm/guests/qemu/frame_stream.ts";
import { GONE, LATER, type Loop, type StreamListener, type StreamSocket } from "../vmm/guests/guest.ts";

const NEWLINE = 10;
const HELLO = "hello";

/** A message of the agent. */
export interface AgentMessage {
  readonly what: string;
  /** The number of its socket. */
  readonly socket: number;
  /** The other words of the line. */
  readonly words: readonly string[];
  /** The bytes behind the line. */
  readonly bytes: Uint8Array;
}

/** See above. */
export class AgentChannel {
  /** Settles when the agent is there; rejects when it ends before. */
  readonly ready: Promise<void>;
  /** Takes each message but the first. */
  onMessage: ((message: AgentMessage) => void) | null = null;
  /** Called with the reason when the agent has gone. */
  onEnd: ((why: string) => void) | null = null;
  readonly #ready = Promise.withResolvers<void>();
  readonly #listener: StreamListener;
  readonly #loop: Loop;
  #stream: StreamSocket | null = null;
  readonly #reader = new FrameReader((frame) => this.#take(frame));
  readonly #writer = new FrameWriter();
  /** Messages that the writer has no room for yet. */
  #waiting: Block[] = [];
  #isStalled = false;
  #isEnded = false;

  /** Waits for the one machine that connects to `listener`, which the channel closes. */
  constructor(listener: StreamListener, loop: Loop) {
    this.#listener = listener;
    this.#loop = loop;
    this.ready = this.#ready.promise;
    // A caller that does not wait for it learns of the end by `onEnd`.
    this.ready.catch(() => {});
    listener.onConnection((stream) => this.#connected(stream));
    loop.add(listener);
  }

  /** The path that the machine connects to. */
  get path(): string {
    return this.#listener.path;
  }

  /** Sends a message; `bytes` are copied. */
  say(line: string, bytes: Uint8Array = new Uint8Array()): void {
    if (this.#isEnded) return;
    const message = Block.from(new TextEncoder().encode(`${line}\n`)).append(bytes);
    if (message.length > FRAME_MAX) throw new RangeError(`Cannot say ${message.length} bytes at once`);
    this.#waiting.push(message);
    this.#flush();
  }

  #connected(stream: StreamSocket): void {
    if (this.#stream !== null || this.#isEnded) return stream.close();
    this.#stream = stream;
    stream.onReadable = (max) => this.#read(max);
    stream.onWritable = () => {
      this.#isStalled = false;
      this.#flush();
    };
    this.#loop.add(stream);
    this.#flush();
  }

  #read(max: number): number {
    let count = 0;
    while (count < max && this.#stream !== null) {
      const got = this.#stream.read(this.#reader.room());
      if (got === LATER) break;
      const frames = got === GONE ? MALFORMED : this.#reader.take(got);
      if (frames === MALFORMED) {
        this.end(got === GONE ? "its machine has hung up" : "it sent a length that no message has");
        break;
      }
      count += Math.max(1, frames);
    }
    return count;
  }

  #take(frame: Uint8Array): void {
    const end = frame.indexOf(NEWLINE);
    const [what = "", number = "", ...words] = new TextDecoder().decode(frame.subarray(0, end)).split(" ");
    if (what === HELLO) this.#ready.resolve();
    else this.onMessage?.({ what, socket: Number(number), words, bytes: frame.slice(end + 1) });
  }

  #flush(): void {
    while (this.#stream !== null && !this.#isStalled) {
      while (this.#waiting.length > 0 && this.#writer.put(this.#waiting[0]!, this.#waiting[0]!.length)) {
        this.#waiting.shift()!.free();
      }
      if (this.#writer.length === 0) return;
      const count = this.#stream.write(this.#writer.waiting);
      if (count === GONE) return this.end("its machine has hung up");
      if (count !== LATER) this.#writer.written(count);
      else {
        this.#isStalled = true;
        this.#stream.awaitWritable(this.#loop);
      }
    }
  }

  /** Ends it: no message is sent or received after this. */
  end(why: string): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#stream?.close();
    this.#stream = null;
    this.#listener.close();
    this.#waiting.length = 0;
    this.#ready.reject(new Error(`The guest's agent ended: ${why}`));
    this.onEnd?.(why);
  }
}
