/**
 * Stays after the steps with live counters: a table that redraws on a terminal, plain lines elsewhere.
 *
 * Path: scenario → keep → counters of the host and of the NAT.
 *
 * @module
 */

import { counters } from "./counters.ts";
import type { GuestSide } from "./guest_side.ts";
import type { World } from "./world.ts";

/** How often it looks, in milliseconds. */
const PERIOD_MS = 1000;

/** What it stays with. */
export interface KeepOptions {
  readonly world: World;
  readonly side: GuestSide;
  readonly seconds: number;
  readonly say: (line: string) => void;
  /** Settles when the user has had enough. */
  readonly interrupted: Promise<void>;
}

/** Shows counters once a second, in seconds of a real clock, until the time is over or the user ends it. */
export async function keep(options: KeepOptions): Promise<void> {
  const { world, side, seconds, say } = options;
  const isTerminal = Deno.stdout.isTerminal();
  const endMs = performance.now() + seconds * 1000;
  let height = 0;
  let isOver = false;
  options.interrupted.then(() => isOver = true);
  while (!isOver) {
    const lines = table(await counters(world.host), side);
    if (isTerminal) {
      say(`${height > 0 ? `\x1b[${height}A\x1b[J` : ""}${lines.join("\n")}`);
      height = lines.length;
    } else {
      say(lines.map((line) => line.trim().replace(/\s+/g, " ")).join("; "));
    }
    const leftMs = endMs - performance.now();
    if (leftMs <= 0) return;
    await pause(Math.min(PERIOD_MS, leftMs), options.interrupted);
  }
}

async function pause(ms: number, interrupted: Promise<void>): Promise<void> {
  const over = Promise.withResolvers<void>();
  const timer = setTimeout(over.resolve, ms);
  await Promise.race([over.promise, interrupted]);
  clearTimeout(timer);
}

/** One line a table, of what is not zero. */
function table(tables: Record<string, Record<string, number>>, side: GuestSide): string[] {
  const { nat } = side.network.program;
  const shown = { ...tables, nat: Object.fromEntries(nat.counters.entries()) };
  return Object.entries(shown).map(([name, values]) => {
    const cells = Object.entries(values).filter(([, value]) => value !== 0).slice(0, 8);
    return `${name.padEnd(8)} ${cells.map(([what, value]) => `${what} ${String(value).padEnd(8)}`).join(" ")}`;
  });
}
