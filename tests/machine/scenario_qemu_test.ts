/**
 * The scenario with a virtual machine of QEMU as its guest: the task with its own permissions, every step by name; and
 * what it says where it cannot have one.
 *
 * @module
 */

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { setupGuest } from "../../tools/setup_guest/guest_files.ts";
import { labNeeds } from "../kit/linux.ts";
import { QEMU_NEEDS } from "../kit/qemu.ts";
import { machineTest } from "../kit/skip.ts";
import { ROOT } from "../kit/tree.ts";

const NEEDS = [...labNeeds(), ...QEMU_NEEDS];

/** Steps in which the guest is one end, in order. */
const GUEST_STEPS = [
  ...["guest: DHCP", "guest: ARP of the router", "guest: ping router", "guest: ping remote"],
  ...[0, 1, 1472, 1473, 9000, 65507].map((size) => `guest: udp echo, ${size} bytes`),
  ...["guest: DNS by the relay", "guest: traceroute shows our hop", "guest: ECN and DSCP survive"],
  ...["remote: an unmapped port is refused", "guest: TCP download, 16 MiB", "guest: TCP upload, 16 MiB"],
  ...["guest: half-close", "guest: a refused port is refused", "guest: a host service by the router"],
  ...["remote: a forward shows the client", "remote: a service moves and comes back"],
  ...["remote: user-level TCP on a bypassed port", "guest: a path with MTU 1280", "no service failed"],
];

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
  ]);
});

machineTest("scenario is interrupted while its virtual machine boots: nothing is left", NEEDS, async () => {
  await setupGuest({ cache: `${ROOT}/.cache` });
  const folder = await Deno.makeTempDir({ prefix: "akarino-test-" });
  try {
    const child = spawn({ TMPDIR: folder }, "--wire=tun");
    const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    while (!text.includes("booting Linux")) {
      const { done, value } = await reader.read();
      if (done) break;
      text += value;
    }
    assertEquals([...Deno.readDirSync(folder)].length, 1, text);
    child.kill("SIGINT");
    for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) text += chunk.value;
    const [{ code }, err] = await Promise.all([child.status, new Response(child.stderr).text()]);
    assertEquals([code, err], [1, ""]);
    assertMatch(text, /\ninterrupted\n$/);
    assertEquals([...Deno.readDirSync(folder)], []);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

machineTest("scenario says what is missing for a virtual machine", NEEDS, async () => {
  await setupGuest({ cache: `${ROOT}/.cache` });
  const [noFiles, noQemu] = await Promise.all([
    scenario({ AKARINO_CACHE: `${ROOT}/.cache/none` }),
    scenario({ PATH: "/nonexistent" }),
  ]);
  assertEquals([noFiles.code, noQemu.code], [1, 1]);
  assertStringIncludes(noFiles.err, '.cache/none/guest (ENOENT): run "deno task setup-guest"');
  assertStringIncludes(noQemu.err, "qemu-system-x86_64 is not there (ENOENT): it is in Debian's package");
});
