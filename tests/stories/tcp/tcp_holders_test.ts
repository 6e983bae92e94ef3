/**
 * Peers that hold on to what only they can release: 6,000 of them in four seconds, a client every half second, and
 * afterwards nothing is left (RFC 6429; Linux' tcp_max_orphans, tcp_orphan_retries and tcp_mem).
 */

import { assert, assertEquals, assertLess, assertLessOrEqual } from "@std/assert";
import { TCP_MEMORY_MAX } from "../../../devices/ip/tcp/memory.ts";
import { ORPHANS_MAX } from "../../../devices/ip/tcp/orphans.ts";
import { TcpState } from "../../../devices/ip/tcp/state.ts";
import { type Attack, ATTACKS, GAP_ATTACK, HolderLab, OPEN_ATTACK, runAttack } from "../../kit/tcp/holders.ts";

/** How long a client may wait for its answer of 200 kB over a path of 10 ms: usually 65 ms. */
const SERVED_MS = 1000;
/** The same while programs hold all memory but the reserve: 1,920 bytes at a time, acknowledged after 50 ms. */
const SERVED_SLOWLY_MS = 8000;

/** Runs it, and asserts that clients are served and that nothing passes its bound. */
function endure(attack: Attack, count: number, servedMs = SERVED_MS): HolderLab {
  const lab = new HolderLab(attack);
  const { memory, orphans } = lab.tcp.env;
  runAttack(lab, () => {
    assertLessOrEqual(memory.bytes, TCP_MEMORY_MAX);
    assertLessOrEqual(orphans.size, ORPHANS_MAX);
  }, count);
  for (const { tookMs, sinceMs } of lab.visits) {
    assert(tookMs > 0 && tookMs < servedMs, `the client that came at ${sinceMs} ms took ${tookMs} ms`);
  }
  return lab;
}

/** As {@link endure}; and nothing stays. */
function withstand(attack: Attack, count: number): HolderLab {
  const lab = endure(attack, count);
  const { memory, orphans } = lab.tcp.env;
  assertEquals({ memory: memory.bytes, waiting: memory.waiting.size, orphans: orphans.size }, {
    memory: 0,
    waiting: 0,
    orphans: 0,
  });
  return lab;
}

for (const [name, attack] of Object.entries(ATTACKS)) {
  Deno.test(`6,000 ${name} keep no client out, and hold nothing for long`, () => {
    const lab = withstand(attack, 6000);
    assertEquals({ calls: lab.stat("PassiveOpens"), dropped: lab.stat("CallsDropped") }, {
      calls: 6000 + lab.visits.length,
      dropped: 0,
    });
    assertEquals(lab.stat("OrphanTimeouts") + lab.stat("OrphansEnded") > ORPHANS_MAX, true);
    for (const state of [TcpState.FinWait1, TcpState.FinWait2, TcpState.LastAck]) assertEquals(lab.count(state), 0);
  });
}

Deno.test("3,200 peers with a gap in what they send keep no client out, and early data do not stay", () => {
  const lab = withstand(GAP_ATTACK, 3200);
  assertLess(0, lab.stat("EarlyDrops"));
  assertEquals(lab.stat("CurrEstab"), 3200, "the server has them open");
});

Deno.test("2,400 connections that a program has open and cannot write to leave memory for others", () => {
  const lab = endure(OPEN_ATTACK, 2400, SERVED_SLOWLY_MS);
  const { memory } = lab.tcp.env;
  assertEquals(lab.stat("CurrEstab"), 2400, "what a program has open is not taken from it");
  assertLess(0, lab.stat("MemoryWaits"));
  assertLessOrEqual(memory.bytes, TCP_MEMORY_MAX);
});
