/** A bucket of tokens in virtual time. */

import { assertEquals } from "@std/assert";
import { TokenBucket } from "./token_bucket.ts";

Deno.test("A burst at once, then what the rate gives; time that stands still or goes back gives nothing", () => {
  const bucket = new TokenBucket(10, 3);
  const take = (now: number, times: number) =>
    Array.from({ length: times }, () => bucket.take(now)).filter(Boolean).length;
  assertEquals([take(0, 5), take(50, 5), take(150, 5), take(100, 5), take(1e6, 9)], [3, 0, 1, 0, 3]);
});
