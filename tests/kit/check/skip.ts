/**
 * Tests that need a real machine: they say what they need, and where it is missing they are skipped, visibly.
 *
 * A file that imports this one is run with the permissions of the machine tests (see tests/main.ts), beside others in
 * one process. A file whose tests count what that process holds imports {@link aloneTest}: it is run alone.
 *
 * @module
 */

/**
 * Needs of a test: `root` (uid 0), `tun` (/dev/net/tun can be opened), `netns` (a network namespace can be made),
 * `userns` (a user without rights can make one, with a network namespace below it), `ffi` (libraries may be loaded), a
 * program on PATH, or a kernel for which `ip ARGUMENTS` does well in a namespace of its own.
 */
export type Need = "root" | "tun" | "netns" | "userns" | "ffi" | `tool:${string}` | `ip ${string}`;

const answers = new Map<Need, string | null>();

/** Registers a test that runs only where all `needs` are met; elsewhere it shows as `NAME … skipped: WHY`. */
export function machineTest(
  name: string,
  needs: readonly Need[],
  fn: (t: Deno.TestContext) => void | Promise<void>,
): void {
  const why = missing(needs);
  if (why === null) Deno.test({ name, fn });
  else Deno.test({ name: `${name} … skipped: ${why}`, ignore: true, fn });
}

/** As {@link machineTest}, for a test that others beside it would disturb; the whole file is run alone. */
export const aloneTest = machineTest;

/** Why these needs are not met (`needs root, tshark`), or null if they are. */
export function missing(needs: readonly Need[]): string | null {
  const lacks = needs.map(lack).filter((one) => one !== null);
  return lacks.length === 0 ? null : `needs ${lacks.join(", ")}`;
}

/** The missing part of one need, or null; determined once. */
function lack(need: Need): string | null {
  const known = answers.get(need);
  if (known !== undefined) return known;
  const answer = find(need);
  answers.set(need, answer);
  return answer;
}

function find(need: Need): string | null {
  const permission = need === "ffi" ? "ffi" : "run";
  if (Deno.permissions.querySync({ name: permission }).state !== "granted") return `--allow-${permission}`;
  switch (need) {
    case "ffi":
      return null;
    case "root":
      return shell('test "$(id -u)" = 0') ? null : "root";
    case "tun":
      return shell("exec 3<>/dev/net/tun") ? null : "/dev/net/tun";
    case "netns":
      return shell("unshare --net true") ? null : "network namespaces";
    case "userns":
      return shell("setpriv --reuid 65534 --regid 65534 --clear-groups unshare -Urn true")
        ? null
        : "user namespaces for everybody";
    default:
      if (need.startsWith("ip ")) {
        return shell('unshare --net sh -c "$1"', need) ? null : `a kernel that does "${need}"`;
      }
      return shell('command -v "$1"', need.slice("tool:".length)) ? null : need.slice("tool:".length);
  }
}

/** Whether a line of shell ends well. Deno itself may not look into /dev and /proc without every permission. */
function shell(line: string, ...args: string[]): boolean {
  const command = new Deno.Command("/bin/sh", { args: ["-c", line, "sh", ...args], stdout: "null", stderr: "null" });
  return command.outputSync().success;
}
