/** A queue behaves like a model of it, whatever is done. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../tests/kit/check/fuzz.ts";
import { BlockPool } from "./block.ts";
import { TapEvent } from "./fd_tap.ts";
import { Queue, type QueueOptions } from "./queue.ts";

const { Readable, Writable, Hangup } = TapEvent;
const pool = new BlockPool();

/** A queue, and the edges it tells. */
function observed(options: QueueOptions): { queue: Queue; edges: number[] } {
  const queue = new Queue(options);
  const edges: number[] = [];
  queue.onEdge = (events) => edges.push(events);
  return { queue, edges };
}

/** One read of at most `max` bytes. */
function readOf(queue: Queue, max = 100): number[] | "empty" | "closed" {
  const buf = new Uint8Array(max);
  const count = queue.read(buf);
  return typeof count === "string" ? count : [...buf.subarray(0, count)];
}

function breadOf(queue: Queue, max?: number): number[] | "empty" | "closed" {
  const answer = queue.bread(max);
  return typeof answer === "string" ? answer : [...answer.bytes()];
}

/** What a Queue promises, in arrays. */
class Model {
  blocks: number[][] = [];
  edges: number[] = [];
  closed = false;
  drops = 0;

  constructor(readonly options: QueueOptions, public limit = options.limit) {}

  get length(): number {
    return this.blocks.reduce((sum, one) => sum + one.length, 0);
  }

  get full(): boolean {
    return (this.limit > 0 && this.length >= this.limit) || this.blocks.length >= this.options.limitBlocks!;
  }

  put(bytes: number[], passed: boolean): string {
    if (this.closed) return "closed";
    if (this.full) {
      if (passed || this.options.dropOverflow) this.drops++;
      return passed || !this.options.dropOverflow ? "full" : "ok";
    }
    if (this.options.coalesce && bytes.length === 0) return "ok";
    this.blocks.push(bytes);
    if (this.blocks.length === 1) this.edges.push(Readable);
    return "ok";
  }

  /** Does `change`, and notes if it made room. */
  taking<T>(change: () => T): T {
    const wasFull = this.full;
    const result = change();
    if (wasFull && !this.full && !this.closed) this.edges.push(Writable);
    return result;
  }

  /** Takes the first `max` bytes of the head; `rest` says whether the others stay. */
  takeHead(max: number, rest: boolean): number[] {
    return this.taking(() => {
      const head = this.blocks.shift()!;
      if (rest && head.length > max) this.blocks.unshift(head.slice(max));
      return head.slice(0, max);
    });
  }

  nothing(): "empty" | "closed" {
    return this.closed ? "closed" : "empty";
  }

  bread(max: number): number[] | "empty" | "closed" {
    if (this.blocks.length === 0) return this.nothing();
    return this.options.message ? this.takeHead(Infinity, false) : this.takeHead(max, true);
  }

  read(max: number): number[] | "empty" | "closed" {
    if (this.blocks.length === 0) return this.nothing();
    if (this.options.message) return this.takeHead(max, false);
    const got: number[] = [];
    while (this.blocks.length > 0 && got.length < max) {
      if (got.length > 0 && this.blocks[0]!.length > max - got.length) break;
      got.push(...this.takeHead(max - got.length, true));
    }
    return got;
  }

  discard(count: number): number {
    const before = this.length;
    let left = count;
    while (this.blocks.length > 0 && left > 0) left -= this.takeHead(left, true).length;
    return before - this.length;
  }

  end(discard: boolean): void {
    if (!this.closed) this.edges.push(Hangup);
    this.closed = true;
    if (discard) this.blocks = [];
  }
}

type Step = (queue: Queue, model: Model) => void;

const someBytes = fc.uint8Array({ maxLength: 12 });
const someMax = fc.nat(12);
const putStep = fc.tuple(someBytes, fc.constantFrom("pass", "bwrite", "write")).map(([bytes, how]): Step => {
  return (queue, model) => {
    const expected = model.put([...bytes], how === "pass");
    if (how === "write") assertEquals(queue.write(bytes, pool), expected === "ok" ? bytes.length : expected);
    else if (how === "pass") assertEquals(queue.pass(pool.from(bytes)), expected);
    else assertEquals(queue.bwrite(pool.from(bytes)), expected);
  };
});
const takeStep = fc.tuple(someMax, fc.constantFrom("bread", "read", "discard")).map(([max, how]): Step => {
  return (queue, model) => {
    if (how === "bread") assertEquals(breadOf(queue, max), model.bread(max));
    else if (how === "read") assertEquals(readOf(queue, max), model.read(max));
    else assertEquals(queue.discard(max), model.discard(max));
  };
});
const limitStep = fc.nat(30).map((limit): Step => (queue, model) => {
  queue.setLimit(limit);
  model.taking(() => model.limit = limit);
});
const endStep = fc.constantFrom<Step>(
  (queue, model) => {
    queue.flush();
    model.taking(() => model.blocks = []);
  },
  (queue, model) => {
    queue.hangup("gone");
    model.end(false);
  },
  (queue, model) => {
    queue.close();
    model.end(true);
  },
  (queue, model) => {
    if (!queue.closed) return;
    queue.reopen();
    Object.assign(model, { blocks: [], closed: false, drops: 0, limit: model.options.limit });
  },
);

/** Everything a Queue tells about itself is what the model says. */
function compare(queue: Queue, model: Model, edges: number[]): void {
  assertEquals([queue.length, queue.blocks, queue.drops], [model.length, model.blocks.length, model.drops]);
  assertEquals([queue.closed, queue.canWrite, queue.headLength()], [
    model.closed,
    !model.full,
    model.blocks[0]?.length ?? -1,
  ]);
  assertEquals(queue.canRead, model.blocks.length > 0 || model.closed);
  const level = (model.blocks.length > 0 ? Readable : 0) | (model.full ? 0 : Writable) | (model.closed ? Hangup : 0);
  assertEquals(queue.level, level);
  const all = new Uint8Array(queue.length + 1);
  assertEquals([...all.subarray(0, queue.peek(all))], model.blocks.flat());
  assertEquals(edges, model.edges);
}

Deno.test("property: a queue behaves like the model, loses no byte, holds its limits, fires on real edges only", () => {
  const options = fc.record({
    limit: fc.nat(20),
    limitBlocks: fc.integer({ min: 1, max: 6 }),
    message: fc.boolean(),
    coalesce: fc.boolean(),
    dropOverflow: fc.boolean(),
  });
  const steps = fc.array(
    fc.oneof(
      { arbitrary: putStep, weight: 8 },
      { arbitrary: takeStep, weight: 6 },
      { arbitrary: limitStep, weight: 1 },
      { arbitrary: endStep, weight: 1 },
    ),
    { maxLength: 40 },
  );
  fc.assert(
    fc.property(options, steps, (chosen, todo) => {
      const { queue, edges } = observed(chosen);
      const model = new Model(chosen);
      for (const step of todo) {
        const before = queue.length;
        step(queue, model);
        compare(queue, model, edges);
        assert(queue.blocks <= chosen.limitBlocks);
        if (queue.limit > 0 && queue.length > before) assert(before < queue.limit, "it was full");
      }
    }),
    fuzz(1000),
  );
});
