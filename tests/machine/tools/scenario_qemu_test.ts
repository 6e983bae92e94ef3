/**
 * The scenario with a virtual machine of QEMU as its guest: the task with its own permissions, every step by name; and
 * what it says where it cannot have one.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { FAMILIES, type IpFamily } from "../../../tools/scenario/ip_family.ts";
import { setupGuest } from "../../../tools/setup_guest/guest_files.ts";
import { labNeeds } from "../../kit/host/linux.ts";
import { QEMU_NEEDS } from "../../kit/host/qemu.ts";
import { machineTest } from "../../kit/check/skip.ts";
import { ROOT } from "../../kit/check/tree.ts";

const NEEDS = [...labNeeds(), ...QEMU_NEEDS];

/** Steps in which the guest is one end, in order, but for the last; those of IPv6 are the same and end so. */
function stepsOf({ suffix, configuration, resolution, udpSizes, transferBytes }: IpFamily): string[] {
  const mib = transferBytes >> 20;
  return [
    `guest: ${configuration}`,
    `guest: ${resolution} of the router`,
    "guest: ping router",
    "guest: ping remote",
    ...udpSizes.map((size) => `guest: udp echo, ${size} bytes`),
    "guest: DNS by the relay",
    "guest: traceroute shows our hop",
    "guest: ECN and DSCP survive",
    "remote: an unmapped port is refused",
    `guest: TCP download, ${mib} MiB`,
    `guest: TCP upload, ${mib} MiB`,
    "guest: half-close",
    "guest: a refused port is refused",
    "guest: a host service by the router",
    "remote: a forward shows the client",
    "remote: a service moves and comes back",
    ...(suffix === "" ? ["remote: user-level TCP on a bypassed port"] : []),
    "guest: a path with MTU 1280",
  ].map((name) => `${name}${suffix}`);
}
const GUEST_STEPS = [...stepsOf(FAMILIES[4]), ...stepsOf(FAMILIES[6]), "no service failed"];

/** The task, with its own permissions; the guest is that of the checkout, whose folder it may read. */
function spawn(env: Record<string, string>, ...args: string[]): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["task", "--quiet", "scenario", "--guest=qemu", ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1", AKARINO_CACHE: "", ...env },
    signal: AbortSignal.timeout(120_000),
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

async function scenario(env: Record<string, string>, ...args: string[]) {
  const { code, stdout, stderr } = await spawn(env, ...args).output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

machineTest("scenario with a virtual machine as the guest: every step holds", NEEDS, async () => {
  await setupGuest({ cache: `${ROOT}/.cache` });
  const { code, out, err } = await scenario({}, "--json");
  assertEquals([code, err], [0, ""], out);
  const { ok, wire, guest, steps, skipped } = JSON.parse(out);
  assertEquals([ok, wire, guest], [true, "tap", "qemu"]);
  const names = steps.map(({ name }: { name: string }) => name);
  assertEquals(names.slice(names.indexOf(GUEST_STEPS[0])), GUEST_STEPS);
  assertMatch(steps.find(({ name }: { name: string }) => name === GUEST_STEPS[0]).detail, /; by its own udhcpc$/);
  assertEquals(skipped.map(({ name }: { name: string }) => name), [
    "guest: a mapping expires",
    "guest: garbage in rings and frames",
    "guest: a mapping expires, IPv6",
  ]);
});

/** Starts it with its sockets in `folder`, and reads what it prints up to `line`. */
async function startUntil(folder: string, line: string) {
  const child = spawn({ TMPDIR: folder }, "--wire=tun", "--keep=60");
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  const readUntil = async (isEnough: () => boolean) => {
    while (!isEnough()) {
      const { done, value } = await reader.read();
      if (done) break;
      text += value;
    }
    return text;
  };
  await readUntil(() => text.includes(line));
  assertEquals([...Deno.readDirSync(folder)].length, 1, text);
  return { child, rest: () => readUntil(() => false) };
}

/** Processes whose command line has `text` in it; those of the task itself have not. */
async function processes(text: string): Promise<number[]> {
  const { stdout } = await new Deno.Command("pgrep", { args: ["-f", text] }).output();
  return new TextDecoder().decode(stdout).split("\n").filter((one) => one !== "").map(Number);
}

async function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  await setupGuest({ cache: `${ROOT}/.cache` });
  const folder = await Deno.makeTempDir({ prefix: "akarino-test-" });
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

machineTest(
  "scenario is interrupted while its virtual machine boots: nothing is left",
  [...NEEDS, "tool:pgrep", "tool:ps"],
  () =>
    inFolder(async (folder) => {
      const { child, rest } = await startUntil(folder, "booting Linux");
      child.kill("SIGINT");
      const text = await rest();
      const [{ code }, err] = await Promise.all([child.status, new Response(child.stderr).text()]);
      assertEquals([code, err], [1, ""]);
      assertMatch(text, /\ninterrupted\n$/);
      assertEquals([[...Deno.readDirSync(folder)], await processes(folder)], [[], []]);
    }),
);

machineTest(
  "scenario is killed: its virtual machine ends by itself",
  [...NEEDS, "tool:pgrep", "tool:ps"],
  () =>
    inFolder(async (folder) => {
      const { child, rest } = await startUntil(folder, "it was ready");
      const [qemu] = await processes(folder);
      assert(qemu !== undefined, "QEMU has the folder in its arguments");
      const { stdout } = await new Deno.Command("ps", { args: ["-o", "ppid=", "-p", `${qemu}`] }).output();
      Deno.kill(Number(new TextDecoder().decode(stdout)), "SIGKILL");
      await Promise.all([rest(), child.status, child.stderr.cancel()]);
      for (let left = 100; left > 0 && (await processes(folder)).length > 0; left--) await delay(50);
      assertEquals(await processes(folder), []);
    }),
);

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

machineTest("scenario reports what is missing for a virtual machine", NEEDS, async () => {
  await setupGuest({ cache: `${ROOT}/.cache` });
  const [noFiles, noQemu] = await Promise.all([
    scenario({ AKARINO_CACHE: `${ROOT}/.cache/none` }),
    scenario({ PATH: "/nonexistent" }),
  ]);
  assertEquals([noFiles.code, noQemu.code], [1, 1]);
  assertStringIncludes(noFiles.err, '.cache/none/guest (ENOENT): run "deno task setup-guest"');
  assertStringIncludes(noQemu.err, "qemu-system-x86_64 is not there (ENOENT): it is in Debian's package");
});
