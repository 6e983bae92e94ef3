import { assert, assertEquals, assertFalse } from "@std/assert";
import { Block } from "../../kernel/block.ts";
import { EventQueue, FdTap, TapEvent } from "../../kernel/fd_tap.ts";
import { frame } from "../../tests/kit/ip/ether.ts";
import { EtherConv, PERM_OWNED, PERM_UNOWNED } from "./ether_conv.ts";

const ALL_EVENTS = TapEvent.Readable | TapEvent.Writable | TapEvent.Hangup | TapEvent.RdHup;

Deno.test("EtherConv.inputLimit() grows with the speed of the link", () => {
  const limits = [0, 10, 99, 100, 999, 1000, 9999, 10_000, 400_000].map((mbps) => EtherConv.inputLimit(mbps) / 1024);
  assertEquals(limits, [64, 64, 64, 256, 256, 1024, 1024, 8192, 8192]);
});

Deno.test("EtherConv.claim() gives a free conversation an owner, and leaves a shared one its first", () => {
  const conv = new EtherConv(3);
  assertEquals([conv.owner, conv.perm], ["", PERM_UNOWNED]);
  conv.claim("ann", 1000);
  conv.claim("eve", 10);
  assertEquals([conv.owner, conv.perm, conv.inUse, conv.queue.limit], [
    "ann",
    PERM_OWNED,
    2,
    EtherConv.inputLimit(1000),
  ]);
});

Deno.test("EtherConv.take() counts, refuses when the queue is full, and swallows frames after a reset", () => {
  const conv = new EtherConv(0);
  conv.claim("ann", 10);
  let taken = 0;
  while (conv.take(Block.from(frame({ length: 1500 })))) taken++;
  assertEquals([taken, conv.received], [Math.ceil(65536 / 1514), taken]);
  conv.reset();
  assert(conv.take(Block.from(frame())));
  assertEquals([conv.received, conv.queue.length, conv.owner], [0, 0, ""]);
});

Deno.test("EtherConv taps fire when frames begin to wait and on hangup, and not because a reader made room", () => {
  const conv = new EtherConv(0);
  conv.claim("ann", 10);
  const events = new EventQueue();
  conv.taps.add(new FdTap({ fd: 3, filter: ALL_EVENTS, id: 9, queue: events }), ALL_EVENTS);
  const poll = () => events.poll()?.events ?? 0;
  assertEquals(conv.level, TapEvent.Writable);
  while (conv.take(Block.from(frame({ length: 1500 }))));
  assertEquals(conv.level, TapEvent.Readable | TapEvent.Writable);
  assertEquals([poll(), poll()], [TapEvent.Readable, 0]);
  conv.queue.bread();
  assertEquals(poll(), 0);
  conv.queue.hangup("gone");
  assertEquals(poll(), TapEvent.Hangup | TapEvent.RdHup);
  assertEquals(conv.level, TapEvent.Readable | TapEvent.Hangup | TapEvent.RdHup);
  assertFalse(conv.level & TapEvent.Writable);
});
