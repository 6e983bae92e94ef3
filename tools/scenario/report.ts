/**
 * The scenario's output: a line for each step as it ends, or one JSON object at the end.
 *
 * Path: scenario → report ← steps.
 *
 * @module
 */

import { Interrupted } from "./environment.ts";

/** Columns of a step's name: the longest fits. */
const NAME_WIDTH = 44;

/** The result of one step. */
export interface StepResult {
  readonly name: string;
  readonly ok: boolean;
  /** Wall time in milliseconds. */
  readonly ms: number;
  /** The observation, or the failure. */
  readonly detail: string;
}

/** One step: returns its observation, or throws its failure. */
export interface Step {
  readonly name: string;
  run(): Promise<string>;
}

/** A step that cannot be had here. */
export interface Skipped {
  readonly name: string;
  readonly why: string;
}

/** Thrown by a step whose expectation does not hold. */
class StepFailed extends Error {
  override readonly name = "StepFailed";
}

/** Throws {@link StepFailed} unless `condition` holds. */
export function expect(condition: boolean, text: string): asserts condition {
  if (!condition) throw new StepFailed(text);
}

/** How steps are run. */
interface StepOptions {
  /** Called with each as it ends. */
  readonly tell: (result: StepResult) => void;
  /** Asked before each: true begins no other one. */
  readonly stopped: () => boolean;
  /** Returns a step's result, or an error that ends it early; Interrupted ends all. Default: as long as it takes. */
  readonly bound?: (running: Promise<string>) => Promise<string>;
}

/** Runs `steps` one after another, also after one that failed. */
export async function runSteps(steps: readonly Step[], options: StepOptions): Promise<StepResult[]> {
  const { bound = (running) => running } = options;
  const results: StepResult[] = [];
  for (const step of steps) {
    if (options.stopped()) break;
    const started = performance.now();
    const result = await attempt(step, started, bound);
    if (result === null) break;
    results.push(result);
    options.tell(result);
  }
  return results;
}

/** The result of a step; null: it was interrupted. */
async function attempt(
  step: Step,
  started: number,
  bound: (running: Promise<string>) => Promise<string>,
): Promise<StepResult | null> {
  try {
    const detail = await bound(step.run());
    return { name: step.name, ok: true, ms: round(performance.now() - started), detail };
  } catch (error) {
    if (error instanceof Interrupted) return null;
    const detail = error instanceof Error ? error.message : String(error);
    return { name: step.name, ok: false, ms: round(performance.now() - started), detail };
  }
}

/** A step that is left out, as a line for people. */
export function skippedLine({ name, why }: Skipped): string {
  return `--   ${name.padEnd(NAME_WIDTH)}              not applicable: ${why}`;
}

/** One step as a line for people. */
export function stepLine(result: StepResult): string {
  return `${result.ok ? "ok  " : "FAIL"} ${result.name.padEnd(NAME_WIDTH)} ${
    result.ms.toFixed(1).padStart(8)
  } ms  ${result.detail}`;
}

function round(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
