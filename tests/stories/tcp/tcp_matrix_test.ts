/**
 * Two TCPs over a bad path, in virtual time: every byte arrives once and in order, both ends close cleanly, nothing is
 * left; how fast, and with how much sent again, is a table that a reviewer sees change. Flows share a link and fill it.
 *
 * AKARINO_FUZZ: the matrix again, as often, with other seeds.
 */

import { assert, assertEquals } from "@std/assert";
import { isQuiet, type PipeOptions, Sink, Source, TcpPair, transfer } from "../../kit/tcp/pair.ts";
import { fuzz } from "../../kit/check/fuzz.ts";
import { MATRIX } from "../../kit/tcp/matrix_table.ts";

const MIB = 1 << 20;

const LOSS = [0, 0.001, 0.01, 0.05, 0.2];
const DELAYS_MS = [0, 1, 50, 200];
const FAULTS: readonly (readonly [string, PipeOptions])[] = [
  ["reorder", { reorder: 0.05, reorderMs: 20 }],
  ["duplicate", { duplicate: 0.02 }],
  ["corrupt", { corrupt: 0.01 }],
  ["small queue", { rate: 1e7, queueBytes: 20_000 }],
];

/** Every choice of the faults, none and all among them. */
function faultSets(): [string, PipeOptions][] {
  let sets: [string, PipeOptions][] = [["", {}]];
  for (const [name, fault] of FAULTS) {
    sets = sets.flatMap(([names, options]) => [
      [names, options],
      [names === "" ? name : `${names}, ${name}`, { ...options, ...fault }],
    ]);
  }
  return sets;
}

interface Cell {
  readonly name: string;
  readonly options: PipeOptions;
  readonly seed: number;
}

function cells(): Cell[] {
  const all: Cell[] = [];
  for (const loss of LOSS) {
    for (const delayMs of DELAYS_MS) {
      for (const [fault, options] of faultSets()) {
        const seed = all.length + 1;
        all.push({
          name: `${loss * 100} % ${delayMs} ms ${fault}`.trim(),
          options: { ...options, loss, delayMs },
          seed,
        });
      }
    }
  }
  return all;
}

/** A transfer both ways, its checks, and its line of the table. */
function run(cell: Cell, total: number, setup: string[] = []): string {
  const what = `seed ${cell.seed}: ${cell.name}`;
  const pair = new TcpPair(cell.seed, cell.options);
  const ends = pair.connect({ setup });
  const result = transfer(pair, ends, { total, limitMs: 7_200_000 });
  assertEquals([result.done, result.wrong], [true, false], `${what}: got ${result.got}`);
  pair.here.close(ends[0]);
  pair.there.close(ends[1]);
  pair.clock.advance(600_000);
  assert(isQuiet(pair), `${what}: ${pair.clock.timerCount} timers are left`);
  for (const [host, conv] of [[pair.here, ends[0]], [pair.there, ends[1]]] as const) {
    assertEquals(host.tcp.busy(conv), false, `${what}: ${host.tcp.status(conv)}`);
  }
  const { stats } = pair.here.tcp.env;
  const mbit = result.ms < 1 ? "inf" : (result.goodput / 1e6).toFixed(1);
  return `${cell.name.padEnd(54)} ${
    mbit.padStart(7)
  } Mbit/s  ${stats.retransSegs} again, ${stats.spuriousRetrans} needless, ` +
    `${stats.retransTimeouts} timeouts`;
}

Deno.test("1 MiB each way over every path arrives byte for byte, both ends close, and the table is what it was", () => {
  const table = cells().map((cell) => run(cell, MIB));
  assertEquals(table, MATRIX, `The table has changed. If that is right, put this into its file:\n${quoted(table)}`);
});

function quoted(table: readonly string[]): string {
  return table.map((line) => `  ${JSON.stringify(line)},`).join("\n");
}

Deno.test("1 MiB each way over every path, with other seeds", () => {
  for (let round = 1; round < Math.min(10, fuzz(1).numRuns); round++) {
    for (const cell of cells()) run({ ...cell, seed: 1000 * round + cell.seed }, MIB);
  }
});

for (const options of [["sack off"], ["timestamps off"], ["windowscale off"], ["ecn on"], ["congestion newreno"]]) {
  Deno.test(`a lossy path is crossed with ${options}`, () => {
    run({ name: `${options}`, options: { delayMs: 10, loss: 0.03, reorder: 0.02 }, seed: 11 }, MIB / 4, options);
    run({ name: `${options}`, options: { delayMs: 10, loss: 0.15, duplicate: 0.02 }, seed: 12 }, MIB / 16, options);
  });
}

Deno.test("tiny and odd writes arrive as well as large ones", () => {
  for (const chunk of [1, 7, 1447, 1449, 65_536]) {
    const pair = new TcpPair(chunk, { delayMs: 5, loss: 0.02 });
    const ends = pair.connect();
    const result = transfer(pair, ends, { total: chunk < 10 ? 5000 : 200_000, chunk });
    assertEquals([result.done, result.wrong], [true, false], `chunk ${chunk}`);
  }
});

/** Bytes that each of some flows delivered in each second. */
function flows(pair: TcpPair, count: number, options: { seconds: number; setup?: string[] }): number[][] {
  const all = Array.from({ length: count }, (_, i) => {
    const [a, b] = pair.connect({ port: 80 + i, setup: options.setup ?? [] });
    return {
      source: new Source(pair.here, a, { total: 2 ** 40, seed: 1, chunk: 65_536 }),
      sink: new Sink(pair.there, b, 1),
    };
  });
  const seconds: number[][] = [];
  for (let i = 0; i < options.seconds; i++) {
    const before = all.map(({ sink }) => sink.got);
    const end = pair.clock.now() + 1000;
    pair.runUntil(() => {
      for (const { source, sink } of all) {
        source.pump();
        sink.pump();
      }
      return pair.clock.now() >= end;
    }, 1000);
    seconds.push(all.map(({ sink }, k) => sink.got - before[k]!));
  }
  for (const { sink } of all) assertEquals(sink.firstWrong, -1);
  return seconds;
}

function mean(seconds: readonly (readonly number[])[], flow: number): number {
  return seconds.reduce((sum, one) => sum + one[flow]!, 0) / seconds.length;
}

Deno.test("one flow fills a path of 100 Mbit/s and 100 ms to nine tenths after start-up, whichever algorithm", () => {
  for (const name of ["cubic", "newreno"]) {
    // Whole segments: what is measured is the window, and tests are to be quick.
    const path = { delayMs: 50, rate: 1e8, queueBytes: 1_250_000, whole: true };
    const seconds = flows(new TcpPair(3, path, { delayMs: 50, whole: true }), 1, {
      seconds: 8,
      setup: [`congestion ${name}`],
    });
    const rate = mean(seconds.slice(3), 0) * 8;
    assert(rate > 0.9e8, `${name}: ${rate}`);
  }
});

Deno.test("two flows share a bottleneck within a fifth of fair; with ECN nothing is lost", () => {
  for (const [name, setup] of [["newreno", ["congestion newreno"]], ["ecn", ["ecn on"]], ["cubic", []]] as const) {
    const path = { delayMs: 10, rate: 1e7, queueBytes: 60_000, ...(name === "ecn" ? { markBytes: 20_000 } : {}) };
    const pair = new TcpPair(5, path, { delayMs: 10 });
    const seconds = flows(pair, 2, { seconds: 40, setup: [...setup] }).slice(15);
    const [a, b] = [mean(seconds, 0), mean(seconds, 1)];
    const share = Math.abs(a - b) / (a + b);
    assert(share < 0.2, `${name}: ${Math.round(a)} and ${Math.round(b)}`);
    assert((a + b) * 8 > 0.75e7, `${name}: ${(a + b) * 8}`);
    if (name === "ecn") assertEquals(pair.out.dropped, 0);
  }
});
