import { assertEquals } from "@std/assert";
import { refusal } from "../tests/kit/host/dev.ts";
import { EVENT_IDS_MAX, EventQueue, FdTap, TapEvent, TapList } from "./fd_tap.ts";

const { Readable, Writable, Hangup, RdHup } = TapEvent;

Deno.test("EventQueue gives events in order of first arrival, and ORs those of one id", () => {
  const queue = new EventQueue();
  queue.send(7, Readable, "seven");
  queue.send(3, Readable, "three");
  queue.send(7, Hangup, "seven");
  assertEquals(queue.length, 2);
  assertEquals(queue.poll(), { id: 7, events: Readable | Hangup, data: "seven" });
  assertEquals(queue.poll(), { id: 3, events: Readable, data: "three" });
  assertEquals(queue.poll(), null);
});

Deno.test("EventQueue keeps ids of more than 16 bits apart (Akaros truncates them)", () => {
  const queue = new EventQueue();
  queue.send(1, Readable, null);
  queue.send(65537, Writable, null);
  queue.send(2 ** 40, Hangup, null);
  assertEquals([queue.poll()?.id, queue.poll()?.id, queue.poll()?.id], [1, 65537, 2 ** 40]);
});

Deno.test("EventQueue.drop() forgets what waits for an id", () => {
  const queue = new EventQueue();
  queue.send(1, Readable, null);
  queue.send(2, Readable, null);
  queue.drop(1);
  queue.drop(9);
  assertEquals([queue.poll()?.id, queue.poll()], [2, null]);
});

Deno.test("EventQueue.next() sleeps until there is an event", async () => {
  const queue = new EventQueue();
  const next = queue.next();
  assertEquals(queue.ready.busy, true);
  queue.send(5, Readable, "data");
  assertEquals(await next, { id: 5, events: Readable, data: "data" });
});

Deno.test("of two waiters for one event one gets it, and the other keeps sleeping", async () => {
  const queue = new EventQueue();
  const got: number[] = [];
  const both = [queue.next(), queue.next()].map((next) => next.then((event) => got.push(event.id)));
  queue.send(1, Readable, null);
  await both[0];
  assertEquals([got, queue.ready.busy], [[1], true]);
  queue.send(2, Readable, null);
  await both[1];
  assertEquals(got, [1, 2]);
});

Deno.test("EventQueue holds its limit and counts what it drops", () => {
  const queue = new EventQueue();
  for (let id = 0; id < EVENT_IDS_MAX; id++) queue.send(id, Readable, null);
  queue.send(EVENT_IDS_MAX, Readable, null);
  queue.send(0, Writable, null);
  assertEquals([queue.length, queue.drops], [EVENT_IDS_MAX, 1]);
  assertEquals(queue.poll()?.events, Readable | Writable);
});

function tapOn(filter: number): { tap: FdTap; queue: EventQueue } {
  const queue = new EventQueue();
  return { tap: new FdTap({ fd: 3, filter, id: 3, queue, data: "data" }), queue };
}

Deno.test("FdTap.fire() sends only what its filter wants, also after the filter was modified", () => {
  const { tap, queue } = tapOn(Readable);
  tap.fire(Writable);
  assertEquals(queue.poll(), null);
  tap.fire(Readable | Writable);
  assertEquals(queue.poll(), { id: 3, events: Readable, data: "data" });
  tap.filter = Writable;
  tap.fire(Readable | Writable);
  assertEquals(queue.poll()?.events, Writable);
});

Deno.test("TapList fires every tap, and none after it was removed", () => {
  const list = new TapList();
  const a = tapOn(Readable);
  const b = tapOn(Readable | Hangup);
  for (const { tap } of [a, b]) list.apply(tap, "add", Readable | Hangup);
  list.fire(Readable | Hangup);
  assertEquals([a.queue.poll()?.events, b.queue.poll()?.events], [Readable, Readable | Hangup]);
  list.apply(a.tap, "remove", Readable | Hangup);
  list.remove(a.tap);
  list.fire(Readable);
  assertEquals([list.length, a.queue.poll(), b.queue.poll()?.events], [1, null, Readable]);
});

Deno.test("TapList refuses a filter that the file cannot fire, when added and when modified", () => {
  const list = new TapList();
  const { tap } = tapOn(Readable | RdHup);
  const text = "ENOSYS: Cannot tap for 0x400: the file has no such event";
  assertEquals(refusal(() => list.apply(tap, "add", Readable | Writable)), text);
  assertEquals(list.length, 0);
  tap.filter = Readable;
  list.apply(tap, "add", Readable | Writable);
  tap.filter = RdHup;
  assertEquals(refusal(() => list.apply(tap, "modify", Readable | Writable)), text);
  tap.filter = Writable;
  list.apply(tap, "modify", Readable | Writable);
  assertEquals(list.length, 1);
});

Deno.test("a tap may remove itself while the list fires", () => {
  const list = new TapList();
  const fired: string[] = [];
  const queue = {
    send: () => {
      fired.push("selfish");
      list.remove(selfish);
    },
  };
  const selfish: FdTap = new FdTap({ fd: 1, filter: Readable, id: 1, queue });
  const other = new FdTap({ fd: 2, filter: Readable, id: 2, queue: { send: () => fired.push("other") } });
  list.add(selfish, Readable);
  list.add(other, Readable);
  list.fire(Readable);
  list.fire(Readable);
  assertEquals(fired, ["selfish", "other", "other"]);
});
