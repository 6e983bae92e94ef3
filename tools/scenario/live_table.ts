/**
 * Counters as people look at them while something runs: totals, and how much a second.
 *
 * Path: keep_alive → live_table.
 *
 * @module
 */

/** Counters at one moment. */
export interface Reading {
  /** Packets towards the guest and away from it, by where they were counted. */
  readonly points: Readonly<Record<string, readonly [inbound: number, outbound: number]>>;
  readonly maps: number;
  readonly forwards: number;
  /** Packets that the NAT refused, by reason. */
  readonly refused: readonly (readonly [reason: string, count: number])[];
}

const LABEL = 8;
const CELL = 14;
const HEAD = ["", "in", "/s", "out", "/s"];

/** Remembers the last reading, for the rates. */
export class LiveTable {
  #last: Reading | null = null;
  #lastMs = 0;

  /** `seconds`: how long it will go on. */
  constructor(readonly seconds: number) {}

  /** The table, no line wider than `columns`: so many lines are to be taken back before the next. */
  lines(reading: Reading, passedMs: number, columns: number): string[] {
    const rows = this.#rows(reading, passedMs).map(([name, ...numbers]) => [name, ...numbers.map(grouped)]);
    const table = [HEAD, ...rows].map((cells) =>
      cells.map((cell, i) => i === 0 ? `${cell}`.padEnd(LABEL) : `${cell}`.padStart(CELL)).join("")
    );
    const lines = [`${this.#time(passedMs)}; Ctrl-C ends it`, ...table, summary(reading)];
    return lines.map((line) => line.slice(0, columns));
  }

  /** All of it in one line. */
  line(reading: Reading, passedMs: number): string {
    const points = this.#rows(reading, passedMs).map(([name, inbound, inRate, outbound, outRate]) =>
      `${name} in ${inbound} (${inRate}/s) out ${outbound} (${outRate}/s)`
    );
    return [this.#time(passedMs), ...points, summary(reading)].join("; ");
  }

  #time(passedMs: number): string {
    return `${Math.floor(passedMs / 1000)} of ${this.seconds} s`;
  }

  /** Name, total in, in a second, total out, out a second. */
  #rows(reading: Reading, passedMs: number): [string, number, number, number, number][] {
    const last = this.#last;
    const seconds = (passedMs - this.#lastMs) / 1000;
    const rate = (now: number, before: number | undefined) =>
      before === undefined || seconds <= 0 ? 0 : Math.round((now - before) / seconds);
    const rows = Object.entries(reading.points).map(([name, [inbound, outbound]]) => {
      const before = last?.points[name];
      return [name, inbound, rate(inbound, before?.[0]), outbound, rate(outbound, before?.[1])];
    });
    this.#last = reading;
    this.#lastMs = passedMs;
    return rows as [string, number, number, number, number][];
  }
}

function summary({ maps, forwards, refused }: Reading): string {
  const reasons = refused.map(([reason, count]) => `${reason.replace(/^refused-/, "")} ${count}`);
  return `maps ${maps}, forwards ${forwards}, refused: ${reasons.join(", ") || "nothing"}`;
}

function grouped(value: number): string {
  return value.toLocaleString("en-US");
}
