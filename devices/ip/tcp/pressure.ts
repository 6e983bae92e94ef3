/**
 * What gives memory back when it is short: orphans that the peer has let down, and data behind gaps that are not
 * filled.
 *
 * Path: tcp/tcp → pressure → gap, orphans, tcb, conv.
 *
 * @module
 */

import type { Conv } from "../conv/conv.ts";
import { relieveGap } from "./gap.ts";
import { endOrphans, isStalled, ORPHANS_BATCH } from "./orphans.ts";
import type { Tcb, TcpEnv } from "./tcb.ts";

/** How often all orphans are looked at while memory is short. */
const LOOK_MS = 10;
/** How often all connections are. */
const LOOK_AT_ALL_MS = 1000;

/** Frees what may be freed. */
export class Pressure {
  #lookedMs = -Infinity;
  #lookedAtAllMs = -Infinity;

  constructor(readonly env: TcpEnv, readonly convs: () => readonly Conv[]) {}

  /** Memory is short. */
  relieve(): void {
    const { memory, clock } = this.env;
    const nowMs = clock.now();
    if (nowMs - this.#lookedMs < LOOK_MS) return;
    this.#lookedMs = nowMs;
    const holds = (tcb: Tcb) => tcb.wq.memory > 0 && isStalled(tcb);
    while (memory.pressed && endOrphans(this.env, ORPHANS_BATCH, holds) > 0);
    if (!memory.pressed || nowMs - this.#lookedAtAllMs < LOOK_AT_ALL_MS) return;
    this.#lookedAtAllMs = nowMs;
    for (const { priv } of this.convs()) if (priv !== null) relieveGap(priv as Tcb);
  }
}
