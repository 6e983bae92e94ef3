import { assertEquals, assertThrows } from "@std/assert";
import { Block, Checksum, Segment } from "../../../../kernel/block.ts";
import { put32 } from "../../../../kernel/wire/bytes.ts";
import { WAITING_MAX } from "./frame_stream.ts";
import { GONE, LATER, type Loop, type Pollable, type StreamListener, type StreamSocket } from "../guest.ts";
import { QemuStreamPort } from "./stream.ts";

/** One end of a connection that a test holds the other of. */
class FakeStream implements StreamSocket {
  readonly fd = 9;
  onClose: (() => void) | null = null;
  onReadable: ((max: number) => number) | null = null;
  onWritable: (() => void) | null = null;
  /** What the peer has sent, and whether it will send more. */
  incoming: number[] = [];
  ended = false;
  /** What the peer got, and how much more the socket takes. */
  out: number[] = [];
  room = Infinity;
  writes = 0;
  waits = false;
  closed = false;

  read(into: Uint8Array): number {
    const part = this.incoming.splice(0, into.length);
    into.set(part);
    return part.length > 0 ? part.length : this.ended ? GONE : LATER;
  }

  write(bytes: Uint8Array): number {
    this.writes++;
    if (this.ended) return GONE;
    const count = Math.min(this.room, bytes.length);
    if (count === 0) return LATER;
    this.room -= count;
    this.out.push(...bytes.subarray(0, count));
    return count;
  }

  awaitWritable(): void {
    this.waits = true;
  }

  drain(max: number): number {
    return this.onReadable!(max);
  }

  close(): void {
    this.closed = true;
    this.onClose?.();
  }

  send(...frames: Uint8Array[]): number {
    this.incoming.push(...stream(...frames));
    return this.drain(64);
  }

  makeRoom(count: number): void {
    this.room += count;
    this.waits = false;
    this.onWritable!();
  }
}

class FakeListener implements StreamListener {
  readonly fd = 8;
  readonly path = "/run/a,b.sock";
  onClose: (() => void) | null = null;
  closed = false;
  #take: (stream: StreamSocket) => void = () => {};

  onConnection(take: (stream: StreamSocket) => void): void {
    this.#take = take;
  }

  drain(): number {
    return 0;
  }

  close(): void {
    this.closed = true;
  }

  connect(): FakeStream {
    const peer = new FakeStream();
    this.#take(peer);
    return peer;
  }
}

function stream(...frames: Uint8Array[]): number[] {
  return frames.flatMap((frame) => {
    const prefix = new Uint8Array(4);
    put32(prefix, 0, frame.length);
    return [...prefix, ...frame];
  });
}

const frame = (length: number, fill = 7) => new Uint8Array(length).fill(fill);
/** Microtasks run. */
const turn = () => Promise.resolve();

/** A started port, and all that happens to it. */
function started(mtu = 1500) {
  const listener = new FakeListener();
  const port = new QemuStreamPort(listener, { mtu });
  const added: Pollable[] = [];
  const loop: Loop = { add: (pollable) => added.push(pollable) };
  const received: number[] = [];
  const links: boolean[] = [];
  port.receive = (block) => received.push(block.length);
  port.onLink = (up) => links.push(up);
  port.start(loop);
  return { listener, port, added, received, links };
}

Deno.test("QemuStreamPort gives QEMU its address, with commas doubled", () => {
  const { port } = started();
  assertEquals(port.netdev("net0"), "stream,id=net0,server=off,addr.type=unix,addr.path=/run/a,,b.sock");
  assertEquals(port.name, "qemu:/run/a,b.sock");
  assertThrows(() => new QemuStreamPort(new FakeListener(), { mtu: 67 }), RangeError, "Cannot use MTU 67");
});

Deno.test("QemuStreamPort hands on what the guest sends; too short and too long frames are counted", () => {
  const { listener, port, received } = started(1400);
  const peer = listener.connect();
  assertEquals(peer.send(frame(60), frame(0), frame(13), frame(14), frame(1422), frame(1423), frame(69632)), 7);
  assertEquals(received, [60, 14, 1422]);
  const { runts, giants, received: count, receivedBytes, malformed } = port.counters;
  assertEquals([runts, giants, count, receivedBytes, malformed], [2, 2, 3, 60 + 14 + 1422, 0]);
});

Deno.test("QemuStreamPort gathers what is sent in one turn into one write", async () => {
  const { listener, port } = started();
  const peer = listener.connect();
  for (let i = 0; i < 20; i++) assertEquals(port.transmit(Block.from(frame(1000, i))), true);
  assertEquals(peer.writes, 0);
  await turn();
  assertEquals(peer.writes, 1);
  assertEquals(peer.out, stream(...Array.from({ length: 20 }, (_, i) => frame(1000, i))));
});

Deno.test("QemuStreamPort: a slow reader gets all that was taken, in order; the rest is refused", async () => {
  const { listener, port } = started();
  const peer = listener.connect();
  peer.room = 1003;
  const taken: Uint8Array[] = [];
  for (let i = 0; i < 400; i++) {
    const bytes = frame(1514, i & 0xff);
    if (port.transmit(Block.from(bytes))) taken.push(bytes);
    await turn();
  }
  const { overflows, transmitted, stalls } = port.counters;
  assertEquals([transmitted + overflows, transmitted, stalls], [400, taken.length, 1]);
  assertEquals(taken.length, Math.floor((WAITING_MAX + 1003) / 1518));
  assertEquals([peer.waits, peer.out.length], [true, 1003]);
  assertEquals(peer.writes, 2, "nothing is tried while it is known to be full");
  while (peer.waits) peer.makeRoom(77_777);
  assertEquals(peer.out, stream(...taken));
  assertEquals(port.transmit(Block.from(frame(60))), true);
});

Deno.test("QemuStreamPort sends only whole, finished frames, and nothing without a guest", () => {
  const { listener, port } = started();
  assertEquals([port.transmit(Block.from(frame(60))), port.counters.noGuest], [false, 1]);
  listener.connect();
  const owed = Block.from(frame(60));
  owed.checksum = Checksum.Owed;
  const large = Block.from(frame(60));
  large.segment = Segment.Tcp4;
  for (const block of [owed, large, Block.from(frame(13)), Block.from(frame(69633))]) {
    assertEquals(port.transmit(block), false);
  }
  assertEquals([port.counters.unsendable, port.counters.transmitted], [4, 0]);
});

Deno.test("QemuStreamPort: a length that no frame has ends the connection, and the next guest may come", () => {
  const { listener, port, received, links } = started();
  const peer = listener.connect();
  peer.incoming.push(...stream(frame(60)), 0, 1, 0x10, 1, 1, 2, 3);
  peer.drain(64);
  assertEquals([peer.closed, port.counters.malformed, received], [true, 1, [60]]);
  const next = listener.connect();
  next.send(frame(61));
  assertEquals([received, links], [[60, 61], [true, false, true]]);
});

Deno.test("QemuStreamPort: guests come and go; nothing of one reaches the next", async () => {
  const { listener, port, received, links } = started();
  const first = listener.connect();
  first.incoming.push(...stream(frame(100)).slice(0, 50));
  first.drain(64);
  first.room = 0;
  port.transmit(Block.from(frame(99)));
  await turn();
  assertEquals(first.waits, true);
  first.ended = true;
  first.drain(64);
  assertEquals([first.closed, port.link], [true, false]);
  const second = listener.connect();
  second.send(frame(60));
  port.transmit(Block.from(frame(61)));
  await turn();
  assertEquals([received, second.out], [[60], stream(frame(61))]);
  assertEquals(links, [true, false, true]);
  assertEquals([port.counters.arrivals, port.counters.departures], [2, 1]);
});

Deno.test("QemuStreamPort: one guest at a time, but one that has just gone is no obstacle", () => {
  const { listener, port, received } = started();
  const first = listener.connect();
  const second = listener.connect();
  assertEquals([first.closed, second.closed, port.counters.refused], [false, true, 1]);
  first.incoming.push(...stream(frame(60), frame(61)));
  first.ended = true;
  const third = listener.connect();
  assertEquals([first.closed, third.closed, port.link], [true, false, true]);
  assertEquals(received, [60, 61], "its last words are heard");
});

Deno.test("QemuStreamPort: a write without a peer ends the connection", async () => {
  const { listener, port, links } = started();
  const peer = listener.connect();
  peer.ended = true;
  port.transmit(Block.from(frame(60)));
  await turn();
  assertEquals([peer.closed, links], [true, [true, false]]);
});

Deno.test("QemuStreamPort may be closed by its receiver, and is quiet then", async () => {
  const { listener, port, received, links } = started();
  const peer = listener.connect();
  port.receive = (block) => {
    received.push(block.length);
    port.close();
  };
  port.transmit(Block.from(frame(99)));
  peer.send(frame(60), frame(61));
  await turn();
  assertEquals([received, links, peer.out], [[60], [true, false], []]);
  assertEquals([peer.closed, listener.closed], [true, true]);
  port.close();
  assertEquals([port.transmit(Block.from(frame(60))), port.counters.noGuest], [false, 1]);
});
