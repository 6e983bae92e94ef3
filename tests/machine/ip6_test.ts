/**
 * IPv6 with Linux as the neighbour, on TAP and TUN: its pings, its neighbour table, its traceroute and its sockets.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { BYPASS_PORT, DEVICE, ECHO_PORT, type Lab, labNeeds, openLab } from "../kit/linux.ts";
import { machineTest } from "../kit/skip.ts";

/** Linux' address and the host's, of a net of their own. */
const LINUX6 = "fd99::1";
const HOST6 = "fd99::2";

/** A lab whose ends have IPv6, too. */
async function openLab6(wire: "tap" | "tun"): Promise<Lab> {
  const lab = await openLab(wire);
  try {
    await lab.command("/net/ipifc/0/ctl", "add ::1 /128");
    await lab.command("/net/ipifc/1/ctl", `add ${HOST6} /64`);
    await lab.mustRun(["ip", "-6", "addr", "add", `${LINUX6}/64`, "dev", DEVICE, "nodad"]);
    await lab.mustRun(["ip", "link", "set", "lo", "up"]);
  } catch (error) {
    await lab[Symbol.asyncDispose]();
    throw error;
  }
  return lab;
}

/** Pings of these sizes, each answered whole. */
async function pings(lab: Lab, sizes: readonly number[]): Promise<void> {
  await Promise.all(sizes.map(async (size) => {
    const text = await lab.mustRun(["ping", "-6", "-c", "1", "-s", `${size}`, "-M", "dont", HOST6]);
    assertStringIncludes(text, " 0% packet loss", `${size}`);
  }));
}

machineTest(
  "tap: Linux pings us over IPv6 in every size, and finds us in its neighbour table",
  labNeeds("ping"),
  async () => {
    await using lab = await openLab6("tap");
    await pings(lab, [0, 1, 56, 1452, 1453, 9000, 65_507]);
    assertMatch(await lab.mustRun(["ip", "-6", "neigh", "show", HOST6]), /lladdr [0-9a-f:]+ (REACHABLE|DELAY|STALE)/);
    assertMatch(await lab.text("/net/arp"), new RegExp(`^ether (OK|STALE|DELAY) ${LINUX6} [0-9a-f]{12}$`, "m"));
  },
);

machineTest("tun: Linux pings us over IPv6 in every size", labNeeds("ping"), async () => {
  await using lab = await openLab6("tun");
  await pings(lab, [0, 1452, 1453, 65_507]);
});

machineTest("tap: traceroute finds us, and a closed port is refused", labNeeds("traceroute"), async () => {
  await using lab = await openLab6("tap");
  const text = await lab.mustRun(["traceroute", "-6", "-n", "-q", "1", "-m", "3", HOST6]);
  assertMatch(text, /^ 1 +fd99::2 +[\d.]+ ms$/m);
});

machineTest(
  "tap and tun: Linux' datagrams come back, from a program and from a bypass",
  labNeeds("socat"),
  async () => {
    for (const wire of ["tap", "tun"] as const) {
      await using lab = await openLab6(wire);
      for (const port of [ECHO_PORT, BYPASS_PORT]) {
        const stdin = new TextEncoder().encode("over six");
        const { text } = await lab.run(["socat", "-T", "0.3", "-", `UDP6:[${HOST6}]:${port}`], { stdin });
        assertEquals(text, "over six", `${wire} ${port}`);
      }
      assert(lab.programErrors.length === 0, lab.programErrors.join());
    }
  },
);
