/**
 * `netd run` as a newcomer starts it: a user without any right, on a machine without any device of netd's.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { HOST, openUplinkLab, type UplinkLab, uplinkNeeds, WORLD } from "../../kit/uplink/lab.ts";
import { Child, startPeer } from "../../kit/netd/netd.ts";
import { bytesOf } from "../../kit/netd/peer.ts";
import { machineTest } from "../../kit/check/skip.ts";

const BYTES = 3_000_000;
const OPTIONS = ["run", "--ipv6", "--dns", WORLD[4]];

/** Runs a command in a network of its own; its status and output. */
async function run(lab: UplinkLab, ...command: string[]): Promise<{ code: number; text: string }> {
  const child = lab.startNetd(...OPTIONS, "--", ...command);
  const { code } = await child.end();
  return { code, text: child.text };
}

/** How a command with children in the background ends, and its exit status. */
const ENDS: readonly { name: string; rest: string; signal: "SIGTERM" | "SIGKILL" | null; code: number }[] = [
  { name: "by itself", rest: "exit 3", signal: null, code: 3 },
  { name: "by SIGTERM to netd", rest: "exec sleep 60", signal: "SIGTERM", code: 143 },
  { name: "as it likes after SIGTERM", rest: "trap 'exit 9' TERM; sleep 60 & wait", signal: "SIGTERM", code: 9 },
  { name: "because netd is killed", rest: "exec sleep 60", signal: "SIGKILL", code: 137 },
];

/** Waits until no process is left in a network namespace, or 10 seconds; how many there are. */
async function waitForNone(lab: UplinkLab, netns: string): Promise<number> {
  const count = async () =>
    Number(await lab.must("host", `ls -l /proc/[0-9]*/ns/net 2>/dev/null | grep -cF '${netns}' || true`));
  for (let i = 0; i < 100 && await count() > 0; i++) await new Promise((resolve) => setTimeout(resolve, 100));
  return await count();
}

/** Whatever ends it, nothing is left. */
async function checkEnds(lab: UplinkLab): Promise<void> {
  await Promise.all(ENDS.map(async ({ name, rest, signal, code }) => {
    const line = `setsid sleep 300 & (setsid sleep 300 &); readlink /proc/self/ns/net; echo inside; ${rest}`;
    const child = lab.startNetd(...OPTIONS, "--", "sh", "-c", line);
    await child.until("inside");
    const netns = /net:\[\d+\]/.exec(child.text)![0];
    if (signal !== null) child.kill(signal);
    assertEquals((await child.end()).code, code, `${name}: ${child.text}`);
    assertEquals(await waitForNone(lab, netns), 0, name);
  }));
}

/** Name servers where netd has to look for them itself. */
async function checkServers(lab: UplinkLab): Promise<void> {
  lab.children.push(await startPeer(lab.host));
  const relay = new Child("nsenter", [
    `--net=${lab.world.path}`,
    ...["socat", "UDP6-RECVFROM:53,ipv6only,fork", "UDP4:127.0.0.1:53"],
  ]);
  lab.children.push(relay);
  await Promise.all(["127.0.0.1", WORLD[6]].map(async (server) => {
    const ask = ["dig", "+short", "+time=2", "+tries=3", "x.test"];
    const child = lab.startNetd("run", "--ipv6", "--dns", server, "--", ...ask);
    assertEquals((await child.end()).code, 0, child.text);
    assertStringIncludes(child.text, "192.0.2.77", server);
  }));
}

/** SIGINT to all that it started, as a terminal does it. */
async function checkInterrupt(lab: UplinkLab): Promise<void> {
  // No process of it ends on its own while the signal goes to each.
  const line = "trap 'echo caught; exit 7' INT; echo inside; sleep 60 & wait";
  const child = lab.startNetd(...OPTIONS, "--", "sh", "-c", line);
  await child.until("inside");
  const below = `below() { for one in $(pgrep -P $1); do echo $one; below $one; done; }`;
  await lab.must("host", `${below}; kill -INT $(below ${child.pid}) ${child.pid}`);
  assertEquals((await child.end()).code, 7, child.text);
  assertStringIncludes(child.text, "caught");
}

machineTest(
  "netd run: a user's command downloads, resolves names and pings",
  uplinkNeeds("curl", "dig", "socat"),
  async (t) => {
    await using lab = await openUplinkLab({ noNetd: true });
    await t.step("by IPv4 and IPv6, from its first moment on", async () => {
      const script = `
      id -u
      curl -sS -m 5 http://${WORLD[4]}:8082/whoami; echo
      curl -sS -m 5 http://[${WORLD[6]}]:8082/whoami; echo
      curl -sS -m 5 http://${WORLD[4]}:8080/bytes/${BYTES} | sha256sum
      dig +short +time=2 +tries=1 x.test
      ping -c 1 -W 2 ${WORLD[4]} | grep received
      ping -c 1 -W 2 ${WORLD[6]} | grep received
      grep nameserver /etc/resolv.conf
    `;
      const { code, text } = await run(lab, "sh", "-c", script);
      assertEquals(code, 0, text);
      const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytesOf(BYTES))).toHex();
      const lines = text.trim().split("\n");
      assertEquals(lines.slice(0, 5), ["0", HOST[4], HOST[6], `${hash}  -`, "192.0.2.77"], text);
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
    await t.step("its end leaves no process and no namespace", () => checkEnds(lab));
    await t.step("SIGINT to its group is the command's to take", () => checkInterrupt(lab));
    await t.step("names by a server on the machine's loopback, or by one of IPv6 alone", () => checkServers(lab));
    await t.step("where users may not ping it says so at start, and the guest hears it", async () => {
      await lab.must("host", 'sysctl -qw net.ipv4.ping_group_range="1 0"');
      const { code, text } = await run(lab, "ping", "-c", "1", "-W", "2", WORLD[4]);
      assertEquals(code, 1);
      assertMatch(text, /warning: guests cannot ping by IPv4: .*net\.ipv4\.ping_group_range/);
      assertMatch(text, /From 10\.0\.2\.2 .*(Packet filtered|prohibited)/i);
      assert(!text.includes("1 received"), text);
    });
  },
);
