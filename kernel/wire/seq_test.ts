import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { u32 } from "../../tests/kit/ip/wire.ts";
import * as seq from "./seq.ts";

Deno.test("lt(), leq(), gt() and geq() go round 2^32 (RFC 9293 3.4)", () => {
  assert(seq.lt(1, 2) && !seq.lt(2, 1) && !seq.lt(2, 2));
  assert(seq.lt(0xffffffff, 0) && seq.gt(0, 0xffffffff));
  assert(seq.leq(0xfffffff0, 0x10) && seq.leq(7, 7) && !seq.leq(8, 7));
  assert(seq.geq(0x10, 0xfffffff0) && seq.geq(7, 7) && !seq.geq(7, 8));
});

Deno.test("between() includes both ends and follows the circle", () => {
  assert(seq.between(0xfffffffe, 0xfffffffe, 1));
  assert(seq.between(0xfffffffe, 0, 1));
  assert(seq.between(0xfffffffe, 1, 1));
  assert(!seq.between(0xfffffffe, 2, 1));
  assert(!seq.between(0xfffffffe, 0xfffffffd, 1));
});

Deno.test("inWindow() excludes the end, and everything if the window is empty", () => {
  assert(seq.inWindow(0xffffffff, 0xffffffff, 2));
  assert(seq.inWindow(0, 0xffffffff, 2));
  assert(!seq.inWindow(1, 0xffffffff, 2));
  assert(!seq.inWindow(5, 5, 0));
});

Deno.test("add() and diff() are inverse for every distance that fits 31 bits", () => {
  fc.assert(
    fc.property(u32, fc.integer({ min: -0x80000000, max: 0x7fffffff }), (a, n) => {
      const b = seq.add(a, n);
      assert(b >= 0 && b <= 0xffffffff);
      assertEquals(seq.diff(b, a), n);
      if (n === -0x80000000) return;
      assertEquals([seq.lt(a, b), seq.leq(a, b), seq.gt(a, b), seq.geq(a, b)], [n > 0, n >= 0, n < 0, n <= 0]);
      assertEquals([seq.max(a, b), seq.min(a, b)], n > 0 ? [b, a] : [a, b]);
    }),
    fuzz(300),
  );
});
