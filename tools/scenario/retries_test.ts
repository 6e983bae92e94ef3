/**
 * How often something is asked, and what is not.
 *
 * @module
 */

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Retries } from "./retries.ts";
import { TimedOut } from "./environment.ts";

/** How often `patience` asks for what never comes. */
async function tries(retries: Retries, size?: number): Promise<number> {
  let count = 0;
  const ask = () => {
    count++;
    return Promise.reject(new TimedOut("No answer"));
  };
  await assertRejects(() => retries.insist(ask, size), TimedOut);
  return count;
}

Deno.test("Retries asks once on a perfect wire, and more often the less likely an answer is", async () => {
  assertEquals(await tries(new Retries()), 1);
  assertEquals(await tries(new Retries({ delayMs: 5 }), 65507), 40);
  assertEquals(await tries(new Retries({ loss: 0.05 }), 1), 40);
  assertEquals(await tries(new Retries({ loss: 0.05 }), 65507), 1391);
  assertEquals(await tries(new Retries({ loss: 1 }), 65507), 2757);
});

Deno.test("Retries.insist() answers the first answer, and hands on any other failure at once", async () => {
  const retries = new Retries({ loss: 0.1 });
  let left = 3;
  const ask = () => left-- > 0 ? Promise.reject(new TimedOut("No answer")) : Promise.resolve("here");
  assertEquals(await retries.insist(ask), "here");
  let count = 0;
  await assertRejects(() => retries.insist(() => Promise.reject(new Error(`broken ${++count}`))), Error, "broken 1");
});

Deno.test("Retries.hopeless() counts fragments, lost and corrupted ones", () => {
  assertEquals(new Retries().hopeless(65507), null);
  assertEquals(new Retries({ loss: 0.05 }).hopeless(65507), null);
  const bad = new Retries({ loss: 0.05, corrupt: 0.05 });
  assertEquals([bad.hopeless(1472), bad.hopeless(9000)], [null, null]);
  assertEquals(bad.hopeless(65507), "65507 bytes are 45 frames each way: 1 in 10227 comes back");
  assertEquals(new Retries({ loss: 1 }).hopeless(0), "0 bytes are 1 frames each way: none comes back");
  assertEquals(new Retries({ loss: 0.5 }).chance(1473), 1 / 16);
});

Deno.test("Retries.same() takes for lost what the Internet checksum cannot tell, where bits are flipped", () => {
  const sent = new Uint8Array([1, 0, 0, 0, 5]);
  // One bit went from the first word to the second.
  const unseen = new Uint8Array([0, 0, 1, 0, 5]);
  const flips = new Retries({ corrupt: 0.1 });
  flips.same(sent.slice(), sent);
  assertThrows(() => flips.same(unseen, sent), TimedOut, "its checksum is right");
  // A failure of the step, not a loss: that would be tried again.
  const assertFails = (retries: Retries, got: Uint8Array, why: string) =>
    assertEquals(assertThrows(() => retries.same(got, sent), Error, why).name, "StepFailed");
  assertFails(flips, new Uint8Array([3, 0, 0, 0, 5]), "The answer differs");
  assertFails(flips, new Uint8Array([1, 0, 0, 0, 5, 0]), "6 bytes for 5");
  for (const retries of [new Retries(), new Retries({ loss: 0.1 })]) assertFails(retries, unseen, "The answer differs");
});
