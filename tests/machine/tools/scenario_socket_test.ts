/**
 * The scenario over sockets of this machine: as root in a namespace of its own, and as a user without any right, where
 * the machine says what such a user may do.
 *
 * @module
 */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { createNetns, type Netns } from "../../../devices/host/netns.ts";
import { machineTest } from "../../kit/check/skip.ts";
import { ROOT } from "../../kit/check/tree.ts";
import { labNeeds, runTool } from "../../kit/host/linux.ts";
import { runAsNobody } from "../../kit/netd/rootless.ts";

/** What a run printed of its steps. */
interface Played {
  readonly ok: boolean;
  readonly failed: readonly unknown[];
  readonly names: readonly string[];
  readonly skipped: readonly string[];
}

interface Report {
  readonly ok: boolean;
  readonly steps: readonly { readonly name: string; readonly ok: boolean }[];
  readonly skipped: readonly { readonly name: string; readonly why: string }[];
}

function playedOf(text: string): Played {
  const { ok, steps, skipped }: Report = JSON.parse(text);
  return {
    ok,
    failed: steps.filter((step) => !step.ok),
    names: steps.map(({ name }) => name),
    skipped: skipped.map(({ name, why }) => `${name}: ${why}`),
  };
}

/** As a user without any right, in `netns`. */
async function playAsNobody(netns: Netns): Promise<Played> {
  const folder = await Deno.makeTempDir({ prefix: "akarino-scenario-" });
  await Deno.chmod(folder, 0o777);
  try {
    const child = runAsNobody(netns.path, folder, ["tools/scenario.ts", "--wire", "socket", "--json"]);
    const { code } = await child.end();
    assertEquals(code, 0, child.text);
    return playedOf(child.text);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const REMOTE_PINGS = ["guest: ping remote", "guest: ping remote, IPv6"];
const NAMES = ["guest: DNS by the relay", "guest: DNS by the relay, IPv6"];

machineTest("scenario --wire socket holds over both versions of IP, for root in a namespace of its own", [
  ...labNeeds(),
], async () => {
  const command = [Deno.execPath(), "task", "--quiet", "scenario", "--wire", "socket", "--json"];
  const { code, stdout, stderr } = await new Deno.Command(command[0]!, { args: command.slice(1), cwd: ROOT }).output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  const { ok, failed, names } = playedOf(new TextDecoder().decode(stdout));
  assertEquals({ ok, failed }, { ok: true, failed: [] });
  assertEquals([...REMOTE_PINGS, ...NAMES].filter((name) => !names.includes(name)), []);
});

machineTest("scenario --wire socket needs no right; what the machine does not allow is left out and says why", [
  ...labNeeds("setpriv"),
], async () => {
  const netns = createNetns(`sc-${crypto.randomUUID().slice(0, 8)}`);
  try {
    const closed = await playAsNobody(netns);
    assertEquals({ ok: closed.ok, failed: closed.failed }, { ok: true, failed: [] });
    assertEquals(closed.names.filter((name) => [...REMOTE_PINGS, ...NAMES].includes(name)), []);
    const said = closed.skipped.join("\n");
    assertStringIncludes(said, "guest: ping remote: the group of this process is not in net.ipv4.ping_group_range");
    assertStringIncludes(said, "guest: DNS by the relay, IPv6: ports below 1024 of this machine are root's");

    const allow = 'sysctl -qw net.ipv4.ping_group_range="0 2147483647" net.ipv4.ip_unprivileged_port_start=0';
    assertEquals((await runTool(netns, ["sh", "-c", allow])).code, 0);
    const open = await playAsNobody(netns);
    assertEquals({ ok: open.ok, failed: open.failed }, { ok: true, failed: [] });
    assertEquals([...REMOTE_PINGS, ...NAMES].filter((name) => !open.names.includes(name)), []);
  } finally {
    netns.close();
  }
});
