/**
 * What a scenario tells: a line a step as it goes, or one JSON object at the end.
 *
 * Path: scenario → report ← steps.
 *
 * @module
 */

/** Columns of a step's name: the longest fits. */
const NAME_WIDTH = 44;

/** What became of one step. */
export interface StepResult {
  readonly name: string;
  readonly ok: boolean;
  /** Wall time in milliseconds. */
  readonly ms: number;
  /** What was seen, or what went wrong. */
  readonly detail: string;
}

/** One step: answers what it saw, or throws what is wrong. */
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
export class StepFailed extends Error {
  override readonly name = "StepFailed";
}

/** Throws {@link StepFailed} unless `condition` holds. */
export function expect(condition: boolean, text: string): asserts condition {
  if (!condition) throw new StepFailed(text);
}

/** Runs `steps` one after another, each whatever became of the one before; tells each as it ends. */
export async function runSteps(
  steps: readonly Step[],
  options: { tell: (result: StepResult) => void; stopped: () => boolean },
): Promise<StepResult[]> {
  const results: StepResult[] = [];
  for (const step of steps) {
    if (options.stopped()) break;
    const started = performance.now();
    const result = await attempt(step, started);
    results.push(result);
    options.tell(result);
  }
  return results;
}

async function attempt(step: Step, started: number): Promise<StepResult> {
  try {
    const detail = await step.run();
    return { name: step.name, ok: true, ms: round(performance.now() - started), detail };
  } catch (error) {
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
