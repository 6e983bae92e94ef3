/**
 * What a process holds while thousands of peers hold on to what TCP has for them: measured from outside, after the
 * collector has run. What the peers do, and that clients are served: tests/stories/tcp/tcp_holders_test.ts.
 */

import { assert, assertEquals, assertLess } from "@std/assert";
import type { ATTACKS, HolderReport } from "../../kit/tcp/holders.ts";
import { machineTest } from "../../kit/check/skip.ts";

const ROOT = new URL("../../..", import.meta.url);
const LIMIT_MS = 60_000;
/** TCP's 64 MiB, and what 4096 conversations cost beside their queues. */
const PEAK_BYTES_MAX = 96 << 20;
/** What stays: conversations are used again and not given back, and the pool keeps some buffers. */
const LEFT_BYTES_MAX = 24 << 20;

const decoder = new TextDecoder();
const SHUT: keyof typeof ATTACKS = "peers that keep their window shut and answer probes";

for (const [name, attack] of [[`6,000 ${SHUT}`, SHUT], ["3,200 peers with a gap in what they send", "gap"]]) {
  machineTest(`${name} cost less than ${PEAK_BYTES_MAX >> 20} MiB, and nearly all of it comes back`, [], async () => {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-check", "--v8-flags=--expose-gc", "tests/kit/tcp/holders.ts", attack!],
      cwd: ROOT,
      signal: AbortSignal.timeout(LIMIT_MS),
    });
    const { success, stdout, stderr } = await child.output();
    assert(success, decoder.decode(stderr));
    const { before, peak, after, visits } = JSON.parse(decoder.decode(stdout)) as HolderReport;
    assertEquals(visits.filter((tookMs) => tookMs < 0), [], "every client was served");
    assertLess(peak - before, PEAK_BYTES_MAX);
    assertLess(after - before, LEFT_BYTES_MAX);
  });
}
