import { assert, assertEquals } from "@std/assert";
import { LOG_LINE_MAX, LogRing } from "./log_ring.ts";
import { wakes } from "../../tests/kit/host/dev.ts";

const decoder = new TextDecoder();

function kept(ring: LogRing): string {
  return decoder.decode(ring.snapshot());
}

Deno.test("LogRing keeps lines, with one newline each", () => {
  const ring = new LogRing();
  ring.append("one");
  ring.append("two\n");
  assertEquals([kept(ring), ring.start, ring.end], ["one\ntwo\n", 0, 8]);
});

Deno.test("LogRing forgets the oldest lines whole when it is full", () => {
  const ring = new LogRing(16);
  for (let i = 0; i < 100; i++) ring.append(`line ${i}`);
  assertEquals(kept(ring), "line 99\n");
  ring.append("x");
  assertEquals(kept(ring), "line 99\nx\n");
});

Deno.test("LogRing cuts a line that is too long", () => {
  const ring = new LogRing();
  ring.append("y".repeat(5000));
  ring.append("next");
  assertEquals(kept(ring), `${"y".repeat(LOG_LINE_MAX)}\nnext\n`);
});

Deno.test("LogRing.read() goes on where a reader was, or at the oldest line if he was too slow", () => {
  const ring = new LogRing(16);
  ring.append("abc");
  const buf = new Uint8Array(2);
  assertEquals(ring.read(buf, 0), { count: 2, next: 2 });
  assertEquals(ring.read(buf, 2), { count: 2, next: 4 });
  assertEquals(ring.read(buf, 4), { count: 0, next: 4 });
  for (let i = 0; i < 10; i++) ring.append(`l${i}`);
  const { count, next } = ring.read(new Uint8Array(100), 4);
  assertEquals([next - count, next], [ring.start, ring.end]);
});

Deno.test("LogRing.append() wakes readers that wait for more", async () => {
  const ring = new LogRing();
  assert(await wakes(ring.grown, () => ring.append("x")));
});
