/**
 * How many cases a property test runs (few in `deno task test`, many in `deno task nightly`), and how to replay one.
 *
 *     fc.assert(fc.property(fc.uint8Array(), (bytes) => …), fuzz(200));
 *
 * A property over something with a state draws the whole sequence of steps and starts afresh with each, so that a
 * counterexample shrinks to the steps that matter, and shows all of them:
 *
 *     fc.assert(fc.property(sequences(frames), (steps) => {
 *       const kit = natKit();
 *       for (const frame of steps) …
 *     }), fuzzSteps(1500));
 *
 * AKARINO_FUZZ multiplies the number of cases. AKARINO_SEED repeats a run: tests/main.ts takes a new one each time and
 * prints it, and fast-check prints it when a property fails.
 *
 * @module
 */

import fc from "fast-check";

/** Most steps of a usual sequence: enough to fill the small tables of a test, and soon started afresh. */
const STEPS_MAX = 60;

let total = 0;
// The runner adds these lines up.
addEventListener("unload", () => console.log(`property cases: ${total}`));

/** Parameters for fc.assert(). */
export interface FuzzParameters {
  numRuns: number;
  seed?: number;
  // deno-lint-ignore no-explicit-any
  reporter: (details: fc.RunDetails<any>) => void;
}

/** fast-check parameters for a property that usually runs `usual` cases. */
export function fuzz(usual: number): FuzzParameters {
  return parameters(usual, (ran) => total += ran);
}

/** As {@link fuzz}, for a property over {@link sequences}: `usual` steps in all. Each step that runs is a case. */
export function fuzzSteps(usual: number, max: number = STEPS_MAX): FuzzParameters {
  return parameters(usual * 3 / max, () => {});
}

/** Sequences of at most `max` steps: more than usual where a limit is far, or a fresh start is dear. */
export function sequences<T>(step: fc.Arbitrary<T>, max: number = STEPS_MAX): fc.Arbitrary<Steps<T>> {
  return fc.array(step, { minLength: 1, maxLength: max, size: "max" }).map((all) => new Steps(all));
}

/** Steps, each counted when its turn comes. */
export class Steps<T> implements Iterable<T> {
  constructor(readonly all: readonly T[]) {}

  *[Symbol.iterator](): Generator<T, void, void> {
    for (const one of this.all) {
      total++;
      yield one;
    }
  }

  /** How fast-check shows them. */
  [fc.toStringMethod](): string {
    return fc.stringify(this.all);
  }
}

function parameters(usual: number, count: (ran: number) => void): FuzzParameters {
  const seed = setting("AKARINO_SEED");
  return {
    numRuns: Math.ceil(usual * (setting("AKARINO_FUZZ") ?? 1)),
    ...(seed === null ? {} : { seed }),
    reporter(details) {
      count(details.numRuns);
      if (!details.failed) return;
      throw new Error(fc.defaultReportMessage(details), { cause: details.errorInstance });
    },
  };
}

/** A number in the environment, or null; also null where the environment may not be read. */
function setting(name: string): number | null {
  if (Deno.permissions.querySync({ name: "env", variable: name }).state !== "granted") return null;
  const value = Deno.env.get(name);
  return value === undefined || !Number.isFinite(Number(value)) ? null : Number(value);
}
