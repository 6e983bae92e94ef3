import { assertEquals } from "@std/assert";
import { Block } from "../../../../kernel/block.ts";
import { type DatagramSocket, GONE, LATER } from "../guest.ts";
import { QemuDgramPort } from "./dgram.ts";

class FakeDatagrams implements DatagramSocket {
  readonly fd = 9;
  readonly path = "/run/ours";
  onClose: (() => void) | null = null;
  onReadable: ((max: number) => number) | null = null;
  onWritable: (() => void) | null = null;
  incoming: Uint8Array[] = [];
  out: number[] = [];
  /** How many more datagrams the peer's queue takes; null: there is no peer. */
  room: number | null = Infinity;
  waits = false;
  resumed = 0;
  closed = false;

  receive(into: Uint8Array): number {
    const datagram = this.incoming.shift();
    if (datagram === undefined) return LATER;
    const part = datagram.subarray(0, into.length);
    into.set(part);
    return part.length;
  }

  send(bytes: Uint8Array): number {
    if (this.room === null) return GONE;
    if (this.room === 0) return LATER;
    this.room--;
    this.out.push(bytes.length);
    return 1;
  }

  awaitWritable(): void {
    this.waits = true;
  }

  resume(): void {
    this.resumed++;
  }

  drain(max: number): number {
    return this.onReadable!(max);
  }

  close(): void {
    this.closed = true;
  }

  get(...lengths: number[]): number {
    this.incoming.push(...lengths.map((length) => new Uint8Array(length)));
    return this.drain(64);
  }

  makeRoom(count: number): void {
    this.room = count;
    this.waits = false;
    this.onWritable!();
  }
}

function started() {
  const socket = new FakeDatagrams();
  const port = new QemuDgramPort(socket, "/run/theirs");
  const received: number[] = [];
  const links: boolean[] = [];
  port.receive = (block) => received.push(block.length);
  port.onLink = (up) => links.push(up);
  port.start({ add: () => {} });
  return { socket, port, received, links };
}

const send = (port: QemuDgramPort, length: number) => port.transmit(Block.from(new Uint8Array(length)));
const turn = () => Promise.resolve();

Deno.test("QemuDgramPort gives QEMU both paths", () => {
  const { port } = started();
  const local = "local.type=unix,local.path=/run/theirs";
  assertEquals(port.netdev("n"), `dgram,id=n,${local},remote.type=unix,remote.path=/run/ours`);
});

Deno.test("QemuDgramPort: one datagram, one frame; a guest is there from its first on", async () => {
  const { socket, port, received, links } = started();
  assertEquals([send(port, 60), port.counters.noGuest], [false, 1]);
  assertEquals(socket.get(60, 0, 13, 14, 1522, 1523, 80_000), 7);
  assertEquals([received, links], [[60, 14, 1522], [true]]);
  assertEquals([port.counters.runts, port.counters.giants], [2, 2]);
  send(port, 60);
  send(port, 61);
  await turn();
  assertEquals(socket.out, [60, 61]);
});

Deno.test("QemuDgramPort: what the peer's queue does not take waits, in order and bounded", async () => {
  const { socket, port } = started();
  socket.get(60);
  socket.room = 10;
  const taken: number[] = [];
  for (let i = 0; i < 2000; i++) if (send(port, 100 + i % 100)) taken.push(100 + i % 100);
  await turn();
  const { overflows, transmitted } = port.counters;
  assertEquals([transmitted, transmitted + overflows, taken.length], [1024, 2000, 1024]);
  assertEquals([socket.out.length, socket.waits], [10, true]);
  let rounds = 0;
  for (; socket.waits; rounds++) socket.makeRoom(100);
  assertEquals([socket.out, socket.resumed], [taken, rounds]);
  socket.room = 0;
  while (send(port, 60_000));
  await turn();
  assertEquals(socket.out.length, taken.length, "the bytes are bounded, too: four of these");
  socket.makeRoom(100);
  assertEquals(socket.out.slice(taken.length), [60_000, 60_000, 60_000, 60_000]);
});

Deno.test("QemuDgramPort: what waits for a guest that has gone is dropped; the next begins afresh", async () => {
  const { socket, port, links } = started();
  socket.get(60);
  socket.room = null;
  send(port, 60);
  send(port, 61);
  await turn();
  assertEquals([port.link, socket.out], [false, []]);
  socket.room = Infinity;
  socket.get(60);
  send(port, 62);
  await turn();
  assertEquals([socket.out, links], [[62], [true, false, true]]);
});

Deno.test("QemuDgramPort: a closed one takes nothing", async () => {
  const { socket, port, received } = started();
  socket.incoming.push(new Uint8Array(60), new Uint8Array(61));
  port.receive = (block) => {
    received.push(block.length);
    port.close();
  };
  socket.drain(64);
  await turn();
  assertEquals([received, socket.closed, send(port, 60)], [[60], true, false]);
});
