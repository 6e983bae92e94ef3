/**
 * Measuring: warm up, repeat, take the median; every figure of one run is comparable with the others of that run.
 *
 * Path: bench → measure.
 *
 * @module
 */

/** One figure. */
export interface Figure {
  readonly name: string;
  /** Nanoseconds for one operation: the median of the rounds. */
  readonly ns: number;
  /** Operations per second. */
  readonly perSecond: number;
  /** Slowest round over fastest: how far to trust it. */
  readonly spread: number;
  /** Operations per second of the best round, where other work of the machine disturbs the others. */
  readonly best?: number;
  /** A figure that is no time: bytes of memory. */
  readonly bytes?: number;
}

/** How long and how often. */
interface MeasureOptions {
  /** Milliseconds before the first round counts. */
  warmUpMs?: number;
  /** Milliseconds of one round. */
  roundMs?: number;
  rounds?: number;
}

const DEFAULTS: Required<MeasureOptions> = { warmUpMs: 300, roundMs: 200, rounds: 7 };

/** Measures `work`, which does `count` operations each time it is called. */
export async function measure(
  name: string,
  count: number,
  work: () => void | Promise<void>,
  options: MeasureOptions = {},
): Promise<Figure> {
  const { warmUpMs, roundMs, rounds } = { ...DEFAULTS, ...options };
  await round(work, warmUpMs);
  const times: number[] = [];
  for (let i = 0; i < rounds; i++) times.push(await round(work, roundMs) / count);
  times.sort((a, b) => a - b);
  const ns = times[rounds >> 1]! * 1e6;
  return { name, ns, perSecond: 1e9 / ns, spread: times.at(-1)! / times[0]! };
}

/** Milliseconds of one call of `work`, averaged over at least `ms`. */
async function round(work: () => void | Promise<void>, ms: number): Promise<number> {
  const start = performance.now();
  let calls = 0;
  let now = start;
  do {
    const pending = work();
    if (pending !== undefined) await pending;
    calls++;
    now = performance.now();
  } while (now - start < ms);
  return (now - start) / calls;
}

/** A figure as a line for people. */
export function figureLine(figure: Figure): string {
  if (figure.bytes !== undefined) return `${figure.name.padEnd(52)} ${(figure.bytes / 1e6).toFixed(1)} MB`;
  const ns = timeText(figure.ns);
  const rate = Math.round(figure.perSecond).toLocaleString("en-US");
  const best = figure.best === undefined ? "" : `   best ${Math.round(figure.best).toLocaleString("en-US")}`;
  return `${figure.name.padEnd(52)} ${ns.padStart(10)} ${rate.padStart(14)} /s   ×${figure.spread.toFixed(2)}${best}`;
}

function timeText(ns: number): string {
  if (ns < 1e4) return `${ns.toFixed(0)} ns`;
  if (ns < 1e7) return `${(ns / 1e3).toFixed(1)} µs`;
  return `${(ns / 1e9).toFixed(3)} s`;
}

/** Takes each figure as it is measured. */
export type Tell = (figure: Figure) => void;

/** A benchmark: measures, and reports its rows. */
export interface Bench {
  readonly name: string;
  run(tell: Tell): Promise<void>;
}
