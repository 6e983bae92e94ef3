import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../../tests/kit/check/fuzz.ts";
import { concatBytes } from "../../../kernel/wire/bytes.ts";
import { GuestMemory } from "./guest_memory.ts";
import { Iov } from "./iov.ts";

Deno.test("Iov reads, writes and shows any part of its pieces as if they were one", () => {
  const pieces = fc.array(fc.uint8Array({ maxLength: 70 }), { maxLength: 8 });
  fc.assert(
    fc.property(pieces, fc.nat(500), fc.nat(500), fc.nat(5), (parts, a, b, start) => {
      const whole = concatBytes(parts);
      const skip = a % (whole.length + 1);
      const count = b % (whole.length - skip + 1);
      const iov = new Iov();
      const bufs = parts.map((part) => new Uint8Array([...new Uint8Array(start), ...part, 9]));
      bufs.forEach((buf, i) => iov.add(buf, start, parts[i]!.length));
      assertEquals(iov.length, whole.length);
      const out = new Uint8Array(count + 4).fill(0xa5);
      iov.copyOut(skip, out, 2, count);
      assertEquals(out.subarray(2, 2 + count), whole.subarray(skip, skip + count));
      assertEquals([out[1], out[count + 2]], [0xa5, 0xa5]);
      assertEquals(concatBytes(iov.views(skip)), whole.subarray(skip));
      const fresh = Uint8Array.from({ length: count + 3 }, (_, i) => i + 1);
      iov.copyIn(skip, fresh, 3, count);
      whole.set(fresh.subarray(3), skip);
      assertEquals(concatBytes(iov.views(0)), whole);
      for (const [i, buf] of bufs.entries()) assertEquals(buf[start + parts[i]!.length], 9);
    }),
    fuzz(300),
  );
});

Deno.test("Iov.addGuest() takes a buffer over the seam of two regions in two pieces, and none with a gap", () => {
  const memory = new GuestMemory([
    { base: 0, bytes: new Uint8Array(8).fill(1) },
    { base: 8, bytes: new Uint8Array(8).fill(2) },
  ]);
  const iov = new Iov();
  assertEquals(iov.addGuest(memory, 6, 4), true);
  assertEquals([iov.count, iov.length], [2, 4]);
  assertEquals(iov.views(1).map((view) => [...view]), [[1], [2, 2]]);
  iov.clear();
  assertEquals([iov.addGuest(memory, 12, 5), iov.addGuest(memory, 2 ** 64, 1)], [false, false]);
});

Deno.test("Iov.add() makes one piece of bytes that follow each other in one buffer, and of no others", () => {
  const [buf, other] = [Uint8Array.of(1, 2, 3, 4, 5, 6), Uint8Array.of(7, 8, 9)];
  const iov = new Iov();
  iov.add(buf, 0, 2);
  iov.add(buf, 2, 1);
  assertEquals([iov.count, iov.length], [1, 3]);
  iov.add(other, 0, 1);
  iov.add(buf, 3, 1);
  iov.add(buf, 5, 1);
  assertEquals(iov.views(0).map((view) => [...view]), [[1, 2, 3], [7], [4], [6]]);
  const all = new Iov();
  all.add(buf, 0, 1);
  all.addAll(iov);
  assertEquals([all.count, all.length, iov.count], [5, 7, 4]);
  iov.clear();
  iov.add(buf, 3, 1);
  assertEquals([iov.count, iov.length], [1, 1], "A cleared list continues nothing");
});
