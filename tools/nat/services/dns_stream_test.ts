/** Messages over a stream: cut anywhere, held while there is no room, and the end of either side. */

import { assertEquals } from "@std/assert";
import { KernelError } from "../../../kernel/error.ts";
import { AGAIN, type Sys } from "../../../kernel/sys.ts";
import { DnsStream, OUT_MAX } from "./dns_stream.ts";

/** A conversation: what is read from it in turn, how much it takes at a time, and what was written. */
class FakeConv {
  /** Chunks to be read; null: an error. An empty one is the end. */
  incoming: (Uint8Array | null)[] = [];
  /** Bytes that each write takes; 0: none now. */
  room = Infinity;
  written: number[] = [];
  closed = 0;

  read(_fd: number, buf: Uint8Array): number | typeof AGAIN {
    const chunk = this.incoming.shift();
    if (chunk === undefined) return AGAIN;
    if (chunk === null) throw new KernelError("ECONNRESET", "Connection reset");
    buf.set(chunk);
    return chunk.length;
  }

  write(_fd: number, bytes: Uint8Array): number | typeof AGAIN {
    if (this.room === 0) return AGAIN;
    const count = Math.min(this.room, bytes.length);
    this.written.push(...bytes.subarray(0, count));
    return count;
  }

  close(): void {
    this.closed++;
  }
}

function streamOver(conv: FakeConv, isConnected = true): DnsStream {
  return new DnsStream(conv as unknown as Sys, 7, isConnected);
}

const framed = (...bytes: number[]) => [bytes.length >> 8, bytes.length & 255, ...bytes];

Deno.test("Messages come whole however the stream is cut", () => {
  const all = [...framed(1, 2, 3), ...framed(), ...framed(4)];
  for (let size = 1; size <= all.length; size++) {
    const conv = new FakeConv();
    for (let at = 0; at < all.length; at += size) conv.incoming.push(Uint8Array.from(all.slice(at, at + size)));
    const stream = streamOver(conv);
    const messages: number[][] = [];
    for (let turn = 0; turn < 2; turn++) messages.push(...stream.read().messages.map((one) => [...one]));
    assertEquals({ size, messages }, { size, messages: [[1, 2, 3], [], [4]] });
  }
});

Deno.test("A side that sends without end is read in turns", () => {
  const conv = new FakeConv();
  for (let i = 0; i < 20; i++) conv.incoming.push(Uint8Array.from(framed(i)));
  const stream = streamOver(conv);
  const first = stream.read();
  assertEquals({ count: first.messages.length, isMore: first.isMore }, { count: 16, isMore: true });
  const second = stream.read();
  assertEquals({ count: second.messages.length, isMore: second.isMore }, { count: 4, isMore: false });
});

Deno.test("The end of the stream leaves it to be written, an error does not", () => {
  const ended = new FakeConv();
  ended.incoming.push(new Uint8Array(0));
  const stream = streamOver(ended);
  stream.read();
  assertEquals({ isEnded: stream.isEnded, isOpen: stream.isOpen }, { isEnded: true, isOpen: true });
  const broken = new FakeConv();
  broken.incoming.push(null);
  const other = streamOver(broken);
  other.read();
  assertEquals({ isEnded: other.isEnded, isOpen: other.isOpen }, { isEnded: true, isOpen: false });
});

Deno.test("Before the call is answered nothing is written; then all of it in order, as there is room", () => {
  const conv = new FakeConv();
  const stream = streamOver(conv, false);
  stream.write(Uint8Array.from([1, 2, 3]));
  stream.write(Uint8Array.from([4]));
  assertEquals(conv.written, []);
  conv.room = 2;
  stream.flush();
  assertEquals(conv.written, [...framed(1, 2, 3), ...framed(4)]);
  conv.room = 0;
  stream.write(Uint8Array.from([5]));
  assertEquals(conv.written.length, 8);
  conv.room = Infinity;
  stream.flush();
  assertEquals(conv.written.slice(8), framed(5));
});

Deno.test("A side that does not read ends the stream at the limit, and closing closes the conversation", () => {
  const conv = new FakeConv();
  conv.room = 0;
  const stream = streamOver(conv);
  const large = new Uint8Array(65_535);
  for (let bytes = 0; bytes + large.length + 2 <= OUT_MAX; bytes += large.length + 2) stream.write(large);
  assertEquals(stream.isOpen, true);
  stream.write(large);
  assertEquals(stream.isOpen, false);
  stream.close();
  assertEquals({ closed: conv.closed, isEnded: stream.isEnded }, { closed: 1, isEnded: true });
});
