/**
 * `deno task test`: every check of the checkout in order, each with its duration, and one line at the end that sums
 * them up: `N passed, N failed, N skipped`.
 *
 * Each step is a deno of its own, with no more permissions than it needs. Its output is shown when it fails.
 *
 * @module
 */

import { bad, Given, runTool } from "../tools/options/given.ts";
import type { ToolTable } from "../tools/options/option_table.ts";
import { importsOf, resolveImport } from "./kit/check/imports.ts";
import { entryPoints, isPure, isTest, ROOT, typescriptFiles } from "./kit/check/tree.ts";

const PARTS = ["static", "unit", "stories", "machine"] as const;
type Part = (typeof PARTS)[number];

/** Where every property test starts: of AKARINO_SEED, or new each time; printed, so that a run can be repeated. */
const SEED = Deno.env.get("AKARINO_SEED") ?? `${crypto.getRandomValues(new Uint32Array(1))[0]! >>> 1}`;

const TEST: ToolTable = {
  name: "test",
  command: "deno task test",
  synopsis: "[options]",
  about: "Every check of the checkout, in order.",
  groups: [[
    { name: "only", value: "PART", repeatable: true, help: `${PARTS.join(", ")}; may be given more than once` },
    {
      name: "filter",
      value: "TEXT",
      help: "only tests whose name contains TEXT (or matches /TEXT/); leaves out what is not a test",
    },
    {
      name: "cases",
      value: "N",
      usual: "0",
      help: "fail unless property tests ran at least N cases (AKARINO_FUZZ multiplies them)",
    },
    {
      name: "expect-machine",
      value: "N",
      usual: "0",
      help: "fail if fewer than N tests ran of those that need a machine (root, network namespaces, tools)",
    },
    { name: "verbose", help: "show the output of every step" },
  ]],
};

/** A step that hangs is ended after this; a usual one takes minutes at most, unless property tests are multiplied. */
const STEP_LIMIT_MS = Deno.env.has("AKARINO_FUZZ") ? 3_600_000 : 900_000;

interface Options {
  only: Part[];
  filter: string | null;
  cases: number;
  expectMachine: number;
  verbose: boolean;
}

/** The packages of tests; programs have a file of their own, so that they fetch no others (see deno.json). */
const LOCK = ["--lock=.ci/test.lock", "--frozen"];

/** One deno to run. */
interface Step {
  part: Part;
  title: string;
  args: string[];
}

interface Tally {
  passed: number;
  failed: number;
  skipped: number;
  /** Cases of property tests. */
  cases: number;
  /** Tests that need a machine, and ran. */
  machine: number;
}

interface Outcome extends Tally {
  output: string;
  skips: string[];
  ms: number;
}

/** The steps this checkout has something for, in order. */
function planSteps(filter: string | null): Step[] {
  const files = typescriptFiles();
  const steps: Step[] = [];
  const add = (part: Part, title: string, args: string[], on: string[]) => {
    if (on.length > 0) steps.push({ part, title, args: [...args, ...on] });
  };
  if (filter === null) {
    add("static", "format", ["fmt", "--check"], ["."]);
    add("static", "lint", ["lint"], ["."]);
    add("static", "types", ["check", "--quiet", ...LOCK], ["."]);
    add(
      "static",
      "pure rooms know no Deno",
      ["check", "--quiet", "--config", "tests/pure.deno.json"],
      files.filter(isPure),
    );
    const entries = [...entryPoints()];
    add("static", "documentation of every entry point", ["doc", "--lint"], entries);
    add("static", "types of the examples in their documentation", ["check", "--quiet", "--doc", ...LOCK], entries);
    const publish = ["publish", "--dry-run", "--allow-dirty", "--no-check"];
    steps.push({ part: "static", title: "the package could be published, without slow types", args: publish });
  }
  const tests = files.filter(isTest);
  const test = (part: Part, title: string, flags: string[], isIt = (path: string) => partOf(path) === part) => {
    const args = ["test", "--no-check", "--no-prompt", ...LOCK, ...flags];
    add(part, title, filter === null ? args : [...args, "--filter", filter], tests.filter(isIt));
  };
  const pure = ["--allow-read=.", "--allow-env=AKARINO_FUZZ,AKARINO_SEED"];
  test("static", "tidy", pure);
  test("unit", "unit tests", ["--parallel", ...pure]);
  test("stories", "stories", ["--parallel", ...pure]);
  // Machine tests load libc, start tools, open sockets, each in namespaces of its own; much of their time is waiting.
  const machine = "ffi run read write env net sys".split(" ").map((name) => `--allow-${name}`);
  const isMachine = (path: string) => partOf(path) === "machine";
  test("machine", "machine tests", ["--parallel", ...machine], (path) => isMachine(path) && !isAlone(path));
  test("machine", "machine tests, alone", machine, (path) => isMachine(path) && isAlone(path));
  return steps;
}

/** The part a test file belongs to: `machine` if it asks for one (tests/kit/check/skip.ts) or tests what drives one. */
function partOf(path: string): Part {
  if (path === "tests/tidy_test.ts" || path.startsWith("tests/kit/check/")) return "static";
  const imports = importsOf(Deno.readTextFileSync(`${ROOT}/${path}`)).map((one) => resolveImport(path, one.specifier));
  if (/^(devices\/host|tests\/machine)\//.test(path) || imports.includes("tests/kit/check/skip.ts")) return "machine";
  return path.startsWith("tests/") ? "stories" : "unit";
}

/** Whether a file has tests that others in the same process would disturb. */
function isAlone(path: string): boolean {
  return /^import \{[^}]*\baloneTest\b/m.test(Deno.readTextFileSync(`${ROOT}/${path}`));
}

async function runStep(step: Step): Promise<Outcome> {
  const began = performance.now();
  const command = new Deno.Command(Deno.execPath(), {
    args: step.args,
    cwd: ROOT,
    // Many of the tools that machine tests use live in sbin.
    env: {
      NO_COLOR: "1",
      DENO_NO_UPDATE_CHECK: "1",
      AKARINO_SEED: SEED,
      PATH: `${Deno.env.get("PATH") ?? ""}:/usr/sbin:/sbin`,
    },
    stdout: "piped",
    stderr: "piped",
    signal: AbortSignal.timeout(STEP_LIMIT_MS),
  });
  const { success, stdout, stderr, signal } = await command.output();
  const decoder = new TextDecoder();
  let output = decoder.decode(stdout) + decoder.decode(stderr);
  if (signal !== null) output += `\nEnded by ${signal} (limit ${STEP_LIMIT_MS / 1000} s)\n`;
  const ms = performance.now() - began;
  const skips = [...output.matchAll(/^(.*) \.\.\. ignored \(/gm)].map((match) => match[1]!);
  return { output, skips, ms, ...tallyOf(output, success, step.part) };
}

/** Counts the tests of a step; another step is one. A failure outside of a test (an import, a crash) is one, too. */
function tallyOf(output: string, success: boolean, part: Part): Tally {
  const summary = /^(?:ok|FAILED) \| (\d+) passed.* \| (\d+) failed(.*)$/m.exec(output);
  const passed = summary === null ? Number(success) : Number(summary[1]);
  const failed = Math.max(Number(summary?.[2] ?? 0), Number(!success));
  const skipped = Number(/(\d+) ignored/.exec(summary?.[3] ?? "")?.[1] ?? 0);
  const lines = output.matchAll(/^property cases: (\d+)$/gm);
  const cases = lines.reduce((sum, match) => sum + Number(match[1]), 0);
  return { passed, failed, skipped, cases, machine: part === "machine" ? passed + failed : 0 };
}

function report(step: Step, outcome: Outcome, verbose: boolean): void {
  const { passed, failed, skipped, skips, output, ms } = outcome;
  const isTests = step.args[0] === "test";
  const counts = isTests ? `: ${passed} passed, ${failed} failed, ${skipped} skipped` : "";
  console.log(`${failed > 0 ? "FAIL" : "ok  "}  ${step.title}${counts} (${(ms / 1000).toFixed(1)} s)`);
  for (const name of skips) console.log(`      ${name}`);
  if (failed > 0 || verbose) console.log(`\n$ deno ${step.args.join(" ")}\n${output}`);
}

/** Runs the steps and returns the sum. Static steps only read, so they run side by side; tests run alone. */
async function runAll(steps: readonly Step[], verbose: boolean): Promise<Tally> {
  const sum: Tally = { passed: 0, failed: 0, skipped: 0, cases: 0, machine: 0 };
  const early = new Map(steps.filter((step) => step.part === "static").map((step) => [step, runStep(step)]));
  for (const step of steps) {
    const outcome = await (early.get(step) ?? runStep(step));
    report(step, outcome, verbose);
    for (const key of Object.keys(sum) as (keyof Tally)[]) sum[key] += outcome[key];
  }
  return sum;
}

/** Makes sense of the command line. Throws UsageError. */
function optionsOf(given: Given): Options {
  const asked = given.list("only");
  const stranger = asked.find((name) => !PARTS.some((part) => part === name));
  if (stranger !== undefined) throw bad("only", stranger, `one of ${PARTS.join(", ")}`);
  return {
    only: PARTS.filter((part) => asked.length === 0 || asked.includes(part)),
    filter: given.text("filter"),
    cases: given.number("cases", 0, Number.MAX_SAFE_INTEGER)!,
    expectMachine: given.number("expect-machine", 0, Number.MAX_SAFE_INTEGER)!,
    verbose: given.flag("verbose"),
  };
}

async function run(given: Given): Promise<number> {
  const options = optionsOf(given);
  const steps = planSteps(options.filter).filter((step) => options.only.includes(step.part));
  console.log(`property tests start from AKARINO_SEED=${SEED}`);
  const sum = await runAll(steps, options.verbose);
  console.log("");
  for (
    const { name, ran, expected } of [
      { name: "property cases", ran: sum.cases, expected: options.cases },
      { name: "machine tests", ran: sum.machine, expected: options.expectMachine },
    ]
  ) {
    console.log(`${ran} ${name}${ran < expected ? `: fewer than the ${expected} expected` : ""}`);
    if (ran < expected) sum.failed++;
  }
  console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`);
  return sum.failed > 0 ? 1 : 0;
}

Deno.exit(await runTool(TEST, () => new Given(TEST, Deno.args), run));
