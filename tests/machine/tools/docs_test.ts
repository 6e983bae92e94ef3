/**
 * The examples of the manual: all of them are well typed, and those that want a TUN or TAP device answer Linux' ping.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { openNetns } from "../../../devices/host/netns.ts";
import { type Fence, fencesOf, manualPages, programOf } from "../../kit/check/fences.ts";
import { runTool } from "../../kit/host/linux.ts";
import { machineTest, type Need } from "../../kit/check/skip.ts";
import { ROOT } from "../../kit/check/tree.ts";

const NEEDS: readonly Need[] = ["root", "tun", "netns", "ffi", "tool:nsenter", "tool:ping"];
/** Gives a program that is not in the checkout the names of its packages. */
const CONFIG = `--config=${ROOT}/deno.json`;
/** Longest that an example may run, in milliseconds. */
const EXAMPLE_LIMIT_MS = 30_000;

/** Writes a program to a file of its own while `work` uses it. */
async function asFile(fence: Fence, work: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(path, programOf(fence));
    await work(path);
  } finally {
    await Deno.remove(path);
  }
}

/**
 * Runs an example until it says how it is to be pinged, does `work` in the namespace that it names, and ends it; what
 * it printed after that.
 */
async function runExample(path: string, work: (netns: string) => Promise<void>): Promise<string> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", CONFIG, "--no-prompt", "--no-check", "--allow-ffi", path],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
    signal: AbortSignal.timeout(EXAMPLE_LIMIT_MS),
  }).spawn();
  let text = "";
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const readUntil = async (isEnough: () => boolean) => {
    while (!isEnough()) {
      const { done, value } = await reader.read();
      if (done) return;
      text += value;
    }
  };
  try {
    await readUntil(() => text.includes("\n"));
    const netns = /--net=(\S+)/.exec(text)?.[1];
    assert(netns !== undefined, `The example names no namespace: ${text}`);
    await work(netns);
  } finally {
    child.kill("SIGINT");
    await readUntil(() => false);
    reader.releaseLock();
  }
  assertEquals((await child.status).code, 0, "the example ends well");
  return text;
}

interface Example {
  /** What marks its fence. */
  readonly mark: string;
  /** Bytes of payload to ping with: a bare TUN puts no fragments together. */
  readonly sizes: readonly number[];
  /** What it prints, among other things. */
  readonly prints: readonly string[];
}

const EXAMPLES: readonly Example[] = [
  { mark: "tun-example", sizes: [56, 1400], prints: [] },
  { mark: "tap-example", sizes: [56, 4000], prints: ["type 800: 98 bytes\n", "ether OK 10.99.0.1 "] },
];

for (const { mark, sizes, prints } of EXAMPLES) {
  machineTest(`the ${mark} of docs/tun.3.md answers ping and leaves nothing`, NEEDS, async () => {
    const [example, ...others] = fencesOf("docs/tun.3.md", `ts ${mark}`);
    assert(example !== undefined && others.length === 0, "there is one such example");
    await asFile(example, async (path) => {
      let left = "";
      const printed = await runExample(path, async (netns) => {
        left = netns;
        for (const size of sizes) {
          const ping = ["ping", "-c", "2", "-i", "0.1", "-s", `${size}`, "10.99.0.2"];
          const { text } = await runTool(openNetns(netns), ping);
          assertStringIncludes(text, "2 packets transmitted, 2 received");
        }
      });
      for (const text of prints) assertStringIncludes(printed, text);
      const { success } = await new Deno.Command("test", { args: ["-e", left] }).output();
      assert(!success, `${left} is left`);
    });
  });
}

machineTest("every example of the manual is well typed", [], async () => {
  const dir = await Deno.makeTempDir();
  try {
    const paths: string[] = [];
    for (const mark of ["ts run", "ts tun-example", "ts tap-example"]) {
      for (const fence of manualPages().flatMap((page) => fencesOf(page, mark))) {
        const path = `${dir}/${fence.path.replaceAll("/", "_")}_${fence.line}.ts`;
        await Deno.writeTextFile(path, programOf(fence));
        paths.push(path);
      }
    }
    const args = ["check", CONFIG, "--quiet", ...paths];
    const command = new Deno.Command(Deno.execPath(), { args, env: { NO_COLOR: "1" } });
    const { success, stderr } = await command.output();
    assert(success, new TextDecoder().decode(stderr));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
