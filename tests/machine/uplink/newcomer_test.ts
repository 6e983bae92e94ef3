/**
 * `netd run` as a newcomer starts it: a user without any right, on a machine without any device of netd's.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { openUplinkLab, type UplinkLab, uplinkNeeds, WORLD } from "../../kit/uplink/lab.ts";
import { machineTest } from "../../kit/check/skip.ts";

const OPTIONS = ["run", "--ipv6", "--dns", WORLD[4]];

/** Runs a command in a network of its own; its status and output. */
async function run(lab: UplinkLab, ...command: string[]): Promise<{ code: number; text: string }> {
  const child = lab.startNetd(...OPTIONS, "--", ...command);
  const { code } = await child.end();
  return { code, text: child.text };
}

machineTest("netd run: a user's command downloads, resolves names and pings", uplinkNeeds("curl", "dig"), async (t) => {
  await using lab = await openUplinkLab({ noNetd: true });
  await t.step("by IPv4 and IPv6, from its first moment on", async () => {
    const script = `
      id -u
      curl -sS -m 5 http://${WORLD[4]}:8082/whoami; echo
      curl -sS -m 5 http://[${WORLD[6]}]:8082/whoami; echo
      dig +short +time=2 +tries=1 x.test
      ping -c 1 -W 2 ${WORLD[4]} | grep received
      ping -c 1 -W 2 ${WORLD[6]} | grep received
      grep nameserver /etc/resolv.conf
    `;
    const { code, text } = await run(lab, "sh", "-c", script);
    assertEquals(code, 0, text);
    const lines = text.trim().split("\n");
    assertEquals(lines.slice(0, 4), ["0", "198.51.100.2", "2001:db8:1::2", "192.0.2.77"], text);
    assertEquals(text.match(/ 1 received/g)?.length, 2, text);
    assertMatch(text, /^nameserver 10\.0\.2\.3$/m);
  });
  await t.step("its exit status is the command's, 128 and the signal's, or 127 for none", async () => {
    const ended = await Promise.all([
      run(lab, "sh", "-c", "exit 42"),
      run(lab, "sh", "-c", "kill -TERM $$"),
      run(lab, "sh", "-c", "kill -KILL $$"),
      run(lab, "no-such-command"),
    ]);
    assertEquals(ended.map(({ code }) => code), [42, 143, 137, 127], ended.map(({ text }) => text).join("\n"));
    assertStringIncludes(ended[3]!.text, "no-such-command");
  });
  await t.step("its end leaves no process and no namespace", async () => {
    const child = lab.startNetd(...OPTIONS, "--", "sh", "-c", "readlink /proc/self/ns/net; echo inside; exec sleep 60");
    await child.until("inside");
    const netns = /net:\[\d+\]/.exec(child.text)![0];
    child.kill("SIGTERM");
    assertEquals((await child.end()).code, 143, child.text);
    const left = await lab.must(
      "host",
      `for p in /proc/[0-9]*; do readlink $p/ns/net; done | grep -cF '${netns}' || true`,
    );
    assertEquals(left.trim(), "0");
  });
  await t.step("SIGINT to its group is the command's to take", async () => {
    const line = "trap 'echo caught; exit 7' INT; echo inside; while :; do sleep 0.1; done";
    const child = lab.startNetd(...OPTIONS, "--", "sh", "-c", line);
    await child.until("inside");
    // All that it started, as a terminal does it.
    await lab.must("host", `pkill -INT -P ${child.pid} sh; kill -INT ${child.pid}`);
    assertEquals((await child.end()).code, 7, child.text);
    assertStringIncludes(child.text, "caught");
  });
  await t.step("where users may not ping it says so at start, and the guest hears it", async () => {
    await lab.must("host", 'sysctl -qw net.ipv4.ping_group_range="1 0"');
    const { code, text } = await run(lab, "ping", "-c", "1", "-W", "2", WORLD[4]);
    assertEquals(code, 1);
    assertMatch(text, /warning: guests cannot ping by IPv4: .*net\.ipv4\.ping_group_range/);
    assertMatch(text, /From 10\.0\.2\.2 .*(Packet filtered|prohibited)/i);
    assert(!text.includes("1 received"), text);
  });
});
