import { assert, assertEquals, assertFalse } from "@std/assert";
import { refusal } from "../../tests/kit/ip/ether.ts";
import { isPlain, mergeFaults, NO_FAULTS, noCounters } from "./cable_faults.ts";

Deno.test("mergeFaults() changes what is named and keeps the rest", () => {
  const slow = mergeFaults(NO_FAULTS, { rateBps: 1e6, delayMs: 3 });
  assertEquals(mergeFaults(slow, { delayMs: 0, loss: 1 }), { ...NO_FAULTS, rateBps: 1e6, loss: 1 });
});

Deno.test("mergeFaults() refuses chances above 1, negative values, non-numbers, and unknown faults", () => {
  const wrong = [{ loss: 1.01 }, { corrupt: -0.1 }, { duplicate: NaN }, { reorder: 2 }, { rateBps: -1 }, {
    delayMs: Infinity,
  }];
  for (const change of wrong) assertEquals(refusal(() => mergeFaults(NO_FAULTS, change)), "EINVAL");
  assertEquals(refusal(() => mergeFaults(NO_FAULTS, { lost: 1 } as unknown as { loss: number })), "EINVAL");
});

Deno.test("isPlain() is true of a wire without faults, whatever its queue", () => {
  assert(isPlain(NO_FAULTS));
  assert(isPlain({ ...NO_FAULTS, queueFrames: 1, queueBytes: 1, reorderMs: 9 }));
  for (const name of ["rateBps", "delayMs", "jitterMs", "loss", "duplicate", "reorder", "corrupt", "mtu"]) {
    assertFalse(isPlain({ ...NO_FAULTS, [name]: 0.5 }), name);
  }
});

Deno.test("noCounters() starts at zero", () => {
  assert(Object.values(noCounters()).every((value) => value === 0));
});
