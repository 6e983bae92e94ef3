/**
 * Many connections and datagrams through the socket uplink at once, what is left of them, and what it costs when
 * nothing happens.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { openUplinkLab, type UplinkLab, uplinkNeeds, VERSIONS, WORLD } from "../../kit/uplink/lab.ts";
import { machineTest } from "../../kit/check/skip.ts";

/** Descriptors of netd. */
async function descriptors(lab: UplinkLab): Promise<number> {
  return Number(await lab.must("host", `ls /proc/${lab.netd.pid}/fd | wc -l`));
}

/** How often each thread of netd has slept and woken. */
async function wakes(lab: UplinkLab): Promise<Map<string, number>> {
  const list = `awk '/^Pid/ { pid = $2 } /^voluntary/ { print pid, $2 }' /proc/${lab.netd.pid}/task/*/status`;
  const lines = (await lab.must("host", list)).trim().split("\n").map((line) => line.split(" "));
  return new Map(lines.map(([pid, count]) => [pid!, Number(count)]));
}

/** Waits until netd has at most `most` descriptors, or 15 seconds; how many it has. */
async function settled(lab: UplinkLab, most: number): Promise<number> {
  for (let i = 0; i < 150 && await descriptors(lab) > most; i++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return await descriptors(lab);
}

machineTest("socket uplink: thousands of connections, and none is left", uplinkNeeds("dig"), async (t) => {
  await using lab = await openUplinkLab();
  const before = await descriptors(lab);
  for (const version of VERSIONS) {
    await t.step(`IPv${version}: 1,000 connections at once are all answered`, async () => {
      const [had] = await lab.peer("guest", ["many", WORLD[version], 9, 1000]);
      assertEquals(had, { done: 1000, errors: {}, open: 0 });
    });
    await t.step(`IPv${version}: 200 downloads at once are whole`, async () => {
      const [had] = await lab.peer<{ right: number }>("guest", ["load", WORLD[version], 9, 200, 500_000]);
      assertEquals(had!.right, 200);
    });
    await t.step(
      `IPv${version}: a port is used again at once for the same server, which has closed first`,
      async () => {
        assertEquals(await lab.peer("guest", ["again", WORLD[version], 9, 50]), [{ done: 50 }]);
      },
    );
  }
  await t.step("1,000 connections to a closed port are all refused", async () => {
    const [had] = await lab.peer("guest", ["many", WORLD[4], 99, 1000]);
    assertEquals(had, { done: 0, errors: { ECONNREFUSED: 1000 }, open: 0 });
  });
  await t.step("no descriptor is left of 3,500 connections", async () => {
    assert(await settled(lab, before) <= before, `${before} before, ${await descriptors(lab)} after`);
  });
  await t.step("5,000 UDP ports, and names are answered", async () => {
    assertEquals(await lab.peer("guest", ["ports", WORLD[4], 9, 5000]), [{ sent: 5000 }]);
    const { code, text } = await lab.inGuest(["dig", "+short", "+time=2", "+tries=1", "@10.0.2.3", "x.test", "A"]);
    assertEquals([code, text.trim()], [0, "192.0.2.77"]);
  });
});

/** How often all threads of netd woke during `work`: threads that V8 and Deno no longer need end meanwhile. */
async function wakesDuring(lab: UplinkLab, work: Promise<unknown>): Promise<number> {
  const before = await wakes(lab);
  await work;
  const after = await wakes(lab);
  return [...after].reduce((sum, [pid, now]) => sum + Math.max(0, now - (before.get(pid) ?? 0)), 0);
}

machineTest(
  "socket uplink: without traffic netd sleeps, and with a packet a second it almost does",
  uplinkNeeds(),
  async () => {
    await using lab = await openUplinkLab();
    await lab.guestMust("ping", "-c", "1", WORLD[4]);
    // A guest that is silent: Linux in it asks for neighbours and groups of its own accord.
    await lab.must("guest", "sysctl -qw net.ipv6.conf.all.disable_ipv6=1; ip neigh flush dev tap0");
    await new Promise((resolve) => setTimeout(resolve, 2500));
    const idle = await wakesDuring(lab, new Promise((resolve) => setTimeout(resolve, 5000)));
    assert(idle < 5, `woke ${idle} times in 5 s`);
    // A request and its answer each second: about 15 wakes, of which the packets need four.
    const count = await wakesDuring(lab, lab.guestMust("ping", "-c", "5", "-i", "1", WORLD[4]));
    assert(count < 200, `woke ${count} times for 5 pings in 4 s`);
  },
);
