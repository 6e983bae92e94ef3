/**
 * Stays after the steps with live counters: a table that redraws on a terminal, plain lines elsewhere.
 *
 * Path: scenario → keep_alive → scenario/counters, live_table, guest_types, environment.
 *
 * @module
 */

import { counters } from "./counters.ts";
import type { GuestSide } from "./guest_types.ts";
import { LiveTable, type Reading } from "./live_table.ts";
import type { Environment } from "./environment.ts";

/** How often the counters are read, in milliseconds. */
const PERIOD_MS = 1000;
/** Where a terminal has no width. */
const COLUMNS = 80;

/** The subjects of the counters, and how long they are shown. */
interface KeepAliveOptions {
  readonly env: Environment;
  readonly side: GuestSide;
  readonly seconds: number;
  readonly say: (line: string) => void;
  /** Settles when the user ends it. */
  readonly interrupted: Promise<void>;
}

/** Shows counters once a second, in seconds of a real clock, until the time is over or the user ends it. */
export async function keepAlive(options: KeepAliveOptions): Promise<void> {
  const { env, side, seconds, say } = options;
  const isTerminal = Deno.stdout.isTerminal();
  const startMs = performance.now();
  const table = new LiveTable(seconds);
  let height = 0;
  let isOver = false;
  options.interrupted.then(() => isOver = true);
  while (!isOver) {
    const passedMs = performance.now() - startMs;
    const leftMs = seconds * 1000 - passedMs;
    const reading = await read(env, side);
    if (isTerminal) {
      const lines = table.lines(reading, passedMs, columns());
      say(`${height > 0 ? `\x1b[${height}A\x1b[J` : ""}${lines.join("\n")}`);
      height = lines.length;
    } else {
      say(table.line(reading, passedMs));
    }
    if (leftMs <= 0) return;
    await pause(Math.min(PERIOD_MS, leftMs), options.interrupted);
  }
}

function columns(): number {
  try {
    return Deno.consoleSize().columns;
  } catch {
    return COLUMNS;
  }
}

async function pause(ms: number, interrupted: Promise<void>): Promise<void> {
  const over = Promise.withResolvers<void>();
  const timer = setTimeout(over.resolve, ms);
  await Promise.race([over.promise, interrupted]);
  clearTimeout(timer);
}

/** The packets that the tap points of a capture would see, counted, from the outside to the guest. */
async function read({ host }: Environment, { network }: GuestSide): Promise<Reading> {
  const { ipifc, ether0 } = await counters(host);
  const { nat } = network.program;
  const { counters: count, table, forwards } = nat;
  return {
    points: {
      ...(ether0 === undefined ? {} : { wire: [ether0.in ?? 0, ether0.out ?? 0] }),
      ip: [ipifc?.InReceives ?? 0, ipifc?.OutRequests ?? 0],
      bypass: [count.received, count.sent],
      guest: [count.toGuest, count.guestFrames],
    },
    maps: [...table.maps()].length,
    forwards: forwards.list.length,
    refused: count.entries().filter(([name]) => name.startsWith("refused-")),
  };
}
