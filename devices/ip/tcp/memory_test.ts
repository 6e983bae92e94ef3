import { assertEquals, assertLess } from "@std/assert";
import { TapEvent } from "../../../kernel/fd_tap.ts";
import type { TcpPeer } from "../../../tests/kit/tcp/peer.ts";
import { peerEstablished } from "../../../tests/kit/tcp/peer_states.ts";
import { QUEUE_SHARE } from "../env/memory.ts";
import { WINDOW_SHARE } from "./memory.ts";

const BYTES = new Uint8Array(100_000);

/** A connection, and others that have taken all memory but the reserve. */
function withoutMemory(): TcpPeer {
  const peer = peerEstablished();
  peer.host.tcp.env.memory.bytes += peer.host.tcp.env.memory.shared;
  return peer;
}

function write(peer: TcpPeer): number | "full" | "closed" {
  return peer.host.write(peer.conv, BYTES);
}

Deno.test("a writer without memory gets one buffer's worth in, waits, and goes on when that is acknowledged", () => {
  const peer = withoutMemory();
  const { wq } = peer.tcb;
  assertEquals([write(peer), write(peer)], [WINDOW_SHARE, "full"]);
  assertEquals(wq.level & TapEvent.Writable, 0);
  assertEquals(peer.host.tcp.env.memory.waits, 1);
  const edges: number[] = [];
  wq.onEdge = (events) => edges.push(events);
  peer.sends({ seq: 1, ack: 1 + WINDOW_SHARE });
  assertEquals({ wakes: edges.includes(TapEvent.Writable), level: wq.level & TapEvent.Writable }, {
    wakes: true,
    level: TapEvent.Writable,
  });
  assertEquals(write(peer), WINDOW_SHARE);
});

Deno.test("a writer without memory goes on when another connection ends", () => {
  const peer = withoutMemory();
  const { memory } = peer.host.tcp.env;
  const other = peer.host.connect(peer.host.conv(), peer.conv.raddr, 5000, 81);
  write(peer);
  assertEquals(write(peer), "full");
  memory.bytes -= memory.shared / 2;
  peer.host.ctl(other, "hangup");
  assertEquals({ waiting: memory.waiting.size, taken: write(peer) }, { waiting: 0, taken: BYTES.length });
});

Deno.test("a receiver without memory offers little, takes what its share takes, and acknowledges nothing else", () => {
  const peer = withoutMemory();
  const { memory, stats } = peer.host.tcp.env;
  const before = memory.bytes;
  for (let i = 0; i < 10; i++) peer.sends({ seq: 1 + 1000 * i, ack: 1, length: 1000 });
  assertEquals(peer.tcb.rq.length, peer.tcb.rcv.nxt - peer.tcb.rcv.irs - 1);
  assertLess(memory.bytes - before, 2 * QUEUE_SHARE);
  assertEquals(stats.roomDrops > 0, true);
  const held = peer.tcb.rq.length;
  peer.ignores();
  assertEquals(peer.reads().length, held, "what was acknowledged is there");
  peer.sends({ seq: 1 + held, ack: 1, length: 1000 });
  assertEquals(peer.tcb.rq.length, 1000);
});

Deno.test("buffers do not grow while three quarters of the memory are taken", () => {
  const peer = peerEstablished();
  const { memory } = peer.host.tcp.env;
  memory.bytes += memory.shared;
  const { limit } = peer.tcb.wq;
  peer.tcb.congestion.cwnd = 10 * limit;
  write(peer);
  peer.sends({ seq: 1, ack: 2 });
  assertEquals(peer.tcb.wq.limit, limit);
  memory.bytes -= memory.shared;
  peer.sends({ seq: 1, ack: 3 });
  assertEquals(peer.tcb.wq.limit, 2 * limit);
});
