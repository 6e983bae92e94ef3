import { assert, assertEquals } from "@std/assert";
import { Block, BlockPool } from "../../../kernel/block.ts";
import { VirtualClock } from "../../../kernel/time.ts";
import { FairQueue, FORGET_MS, FRAMES_MAX, FRAMES_PER_TURN, QUANTUM } from "./fair_queue.ts";

const UDP = 17;
const TCP = 6;
const ICMP = 1;

interface Ports {
  readonly src?: number;
  readonly dst?: number;
}

/** A frame of the least that the queue looks at. */
function frame(isV6: boolean, protocol: number, { src = 0, dst = 0 }: Ports): Block {
  const ip = 14;
  const header = isV6 ? 40 : 20;
  const bytes = new Uint8Array(ip + header + 8);
  bytes.set(isV6 ? [0x86, 0xdd, 0x60] : [0x08, 0x00, 0x45], 12);
  bytes[ip + (isV6 ? 6 : 9)] = protocol;
  if (protocol === ICMP || protocol === 58) bytes.set([8, 0, 0, 0, src >> 8, src & 255], ip + header);
  else bytes.set([src >> 8, src & 255, dst >> 8, dst & 255], ip + header);
  return pool.from(bytes);
}

const pool = new BlockPool();

/** A queue, and what came out of it: the ports (or identifiers) of the guest. */
function setUp(): { clock: VirtualClock; queue: FairQueue; out: number[] } {
  const clock = new VirtualClock();
  const out: number[] = [];
  const queue = new FairQueue(clock, (block) => {
    const at = block.rp + 14 + (block.buf[block.rp + 12] === 0x86 ? 40 : 20);
    const isEcho = [ICMP, 58].includes(block.buf[block.rp + 14 + (block.buf[block.rp + 12] === 0x86 ? 6 : 9)]!);
    const port = isEcho ? at + 4 : at;
    out.push(block.buf[port]! << 8 | block.buf[port + 1]!);
    block.free();
  });
  return { clock, queue, out };
}

Deno.test("FairQueue keeps the order while a turn can take all, whatever it is", () => {
  const { clock, queue, out } = setUp();
  for (let i = 0; i < QUANTUM; i++) queue.put(frame(i % 2 === 0, UDP, { src: i }));
  assertEquals(out, [], "not before its turn");
  clock.jobs.run();
  assertEquals([out, queue.length], [[0, 1, 2, 3], 0]);
});

for (const isV6 of [false, true]) {
  const icmp = isV6 ? 58 : ICMP;
  const version = isV6 ? "IPv6" : "IPv4";

  Deno.test(`FairQueue, ${version}: a flood of new flows leaves an answered ping and transfer their turn`, () => {
    const { clock, queue, out } = setUp();
    queue.heard(frame(isV6, icmp, { src: 777 }));
    queue.heard(frame(isV6, TCP, { src: 80, dst: 5555 }));
    for (let i = 0; i < 10 * FRAMES_MAX; i++) queue.put(frame(isV6, UDP, { src: 10_000 + i % 50_000 }));
    queue.put(frame(isV6, icmp, { src: 777 }));
    for (let i = 0; i < 20; i++) queue.put(frame(isV6, TCP, { src: 5555 }));
    assertEquals(queue.counters.drops, 9 * FRAMES_MAX + 21);
    clock.jobs.run();
    assertEquals([out.length, out.includes(777)], [FRAMES_PER_TURN, true]);
    assertEquals(out.filter((port) => port === 5555).length, 20);
  });

  Deno.test(`FairQueue, ${version}: a new flow of another protocol than the flood's has its turn`, () => {
    const { clock, queue, out } = setUp();
    for (let i = 0; i < 2 * FRAMES_MAX; i++) queue.put(frame(isV6, UDP, { src: 10_000 + i }));
    queue.put(frame(isV6, TCP, { src: 4444 }));
    queue.put(frame(isV6, icmp, { src: 333 }));
    clock.jobs.run();
    assert(out.includes(4444) && out.includes(333));
  });

  Deno.test(`FairQueue, ${version}: an answered flood takes no more than its share of an answered flow`, () => {
    const { clock, queue, out } = setUp();
    for (const port of [6000, 6001]) queue.heard(frame(isV6, UDP, { dst: port }));
    for (let i = 0; i < 3 * FRAMES_MAX; i++) queue.put(frame(isV6, UDP, { src: i % 100 === 0 ? 6001 : 6000 }));
    clock.jobs.run();
    assertEquals(out.filter((port) => port === 6001).length, 31, "all of its own");
  });
}

Deno.test("FairQueue drops an answered flow when no answer has come for two minutes", () => {
  const { clock, queue, out } = setUp();
  queue.heard(frame(false, UDP, { dst: 6000 }));
  const isFavoured = () => {
    for (let i = 0; i < FRAMES_MAX; i++) queue.put(frame(false, UDP, { src: 10_000 + i }));
    queue.put(frame(false, UDP, { src: 6000 }));
    out.length = 0;
    clock.jobs.run();
    queue.close();
    return out.includes(6000);
  };
  assertEquals(isFavoured(), true);
  clock.advance(FORGET_MS);
  assertEquals(isFavoured(), true);
  clock.advance(FORGET_MS);
  isFavoured();
  assertEquals(isFavoured(), false);
});

Deno.test("FairQueue: frames of any bytes are handed on or dropped, each once", () => {
  const { clock } = setUp();
  const taken: Block[] = [];
  const queue = new FairQueue(clock, (block) => taken.push(block));
  let seed = 1;
  const next = () => seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  const count = 5000;
  for (let i = 0; i < count; i++) {
    const bytes = Uint8Array.from({ length: next() % 80 }, () => next() >>> 24);
    if (bytes.length > 14 && i % 3 > 0) bytes.set(i % 3 === 1 ? [8, 0, 0x4f] : [0x86, 0xdd], 12);
    if (i % 5 === 0) queue.heard(Block.from(bytes));
    queue.put(Block.from(bytes));
    if (i % 700 === 0) clock.advance(1);
  }
  while (queue.length > 0) clock.advance(1);
  assertEquals(taken.length + queue.counters.drops, count);
  assertEquals(new Set(taken).size, taken.length);
  assertEquals(queue.counters.passed, taken.length);
});

Deno.test("FairQueue loses no large frames to a reader that stops while it is heavy", () => {
  const { clock, queue, out } = setUp();
  const large = () => Block.alloc(65_536).append(frame(false, TCP, { src: 1 }).bytes());
  let read = 0;
  for (; !queue.isHeavy; read++) queue.put(large());
  queue.put(frame(false, TCP, { src: 2 }));
  clock.jobs.run();
  clock.advance(10);
  assertEquals({ passed: out.length, drops: queue.counters.drops, isHeavy: queue.isHeavy }, {
    passed: read + 1,
    drops: 0,
    isHeavy: false,
  });
});
