/**
 * What a program fetches before it starts: the standard library's package, and nothing that only tests need. With that
 * alone, and no network at all, the programs start.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { machineTest } from "../../kit/check/skip.ts";
import { ROOT } from "../../kit/check/tree.ts";

/** The tasks that are programs of users. */
const PROGRAMS = ["netd", "scenario", "natctl", "utcp", "bench", "setup-guest"];
/** Where a DENO_DIR keeps packages of npm. */
const NPM = "npm/registry.npmjs.org";

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a program in the checkout with the packages of `denoDir`. */
async function run(denoDir: string, program: string, ...args: string[]): Promise<Ended> {
  const env = { DENO_DIR: denoDir, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" };
  const signal = AbortSignal.timeout(60_000);
  const { code, stdout, stderr } = await new Deno.Command(program, { args, cwd: ROOT, env, signal }).output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

/** `deno task NAME --help`. */
function help(denoDir: string, task: string): Promise<Ended> {
  return run(denoDir, Deno.execPath(), "task", "--quiet", task, "--help");
}

/** Names in a folder; none if there is no such folder. */
function namesIn(folder: string): string[] {
  try {
    return [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** Without a registry: the standard library's package from the packages that this deno has, and no other. */
async function seed(denoDir: string): Promise<void> {
  const info = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  const { npmCache } = JSON.parse(new TextDecoder().decode(info.stdout));
  await Deno.mkdir(`${denoDir}/${NPM}`, { recursive: true });
  const from = `${npmCache}/registry.npmjs.org/deno-std`;
  const copied = await new Deno.Command("cp", { args: ["-r", from, `${denoDir}/${NPM}/`] }).output();
  assert(copied.success, "the package is there: this test imports it");
}

/** Does `work` with the packages that `netd --help` fetched into an empty folder. */
async function withPackages(work: (denoDir: string) => Promise<void>): Promise<void> {
  const denoDir = await Deno.makeTempDir({ prefix: "akarino-packages-" });
  try {
    const { code } = await help(denoDir, "netd");
    if (code !== 0) await seed(denoDir);
    await work(denoDir);
  } finally {
    await Deno.remove(denoDir, { recursive: true });
  }
}

machineTest("every program fetches the standard library's package into an empty cache, and no other", [], async () => {
  await withPackages(async (denoDir) => {
    for (const task of PROGRAMS) {
      const { code, out, err } = await help(denoDir, task);
      assertEquals({ task, code, err: code === 0 ? "" : err }, { task, code: 0, err: "" });
      assertMatch(out, /^usage:/i);
      const packages = { task, npm: namesIn(`${denoDir}/${NPM}`), jsr: namesIn(`${denoDir}/deps/https/jsr.io`) };
      assertEquals(packages, { task, npm: ["deno-std"], jsr: [] });
    }
  });
});

machineTest("netd, the scenario and a script start without any network", ["netns", "tool:unshare"], async () => {
  await withPackages(async (denoDir) => {
    const offline = (...args: string[]) => run(denoDir, "unshare", "--net", Deno.execPath(), ...args);
    const netd = await offline("task", "--quiet", "netd", "--help");
    assertEquals({ code: netd.code, err: netd.err }, { code: 0, err: "" });
    assertMatch(netd.out, /^usage: deno task netd/);
    const scenario = await offline("task", "--quiet", "scenario", "--wire", "memory");
    assertEquals({ code: scenario.code, err: scenario.err }, { code: 0, err: "" });
    assertMatch(scenario.out, /^(\d+) of \1 steps held$/m);
    const script = 'import { boot } from "./mod.ts"; await using host = await boot(); console.log(host.address);';
    const path = `${denoDir}/script.ts`;
    await Deno.writeTextFile(path, script.replace("./mod.ts", `file://${ROOT}/mod.ts`));
    const started = await offline("run", "--no-prompt", "--no-check", path);
    assertEquals({ code: started.code, out: started.out }, { code: 0, out: "10.0.0.1\n" });
  });
});

machineTest("the file of the programs' packages is what they use, and the tests' names the same one", [], () => {
  const locks = ["deno", "test"].map((name) => JSON.parse(Deno.readTextFileSync(`${ROOT}/.ci/${name}.lock`)));
  const [programs, tests] = locks.map(({ npm }) => npm as Record<string, { integrity: string }>);
  assertEquals(Object.keys(programs!), ["deno-std@1.4.0"]);
  // A check with another config would add what that config finds, and then the frozen file fits no program any more.
  assertEquals(locks.map(({ workspace }) => workspace), [undefined, undefined]);
  assertEquals(tests!["deno-std@1.4.0"], programs!["deno-std@1.4.0"]);
  const { tasks, imports } = JSON.parse(Deno.readTextFileSync(`${ROOT}/deno.json`));
  for (const task of PROGRAMS) assertStringIncludes(tasks[task].command, "--lock=.ci/deno.lock --frozen");
  assertEquals(Object.values(imports as Record<string, string>).filter((target) => !target.startsWith("./")), []);
});
