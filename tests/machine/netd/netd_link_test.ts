/**
 * Interfaces that go down and come back: what Linux forgets then, netd sets again.
 *
 * @module
 */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { netdNeeds, openNetdLab, PEER } from "../../kit/netd/netd.ts";
import { machineTest } from "../../kit/check/skip.ts";
import { sleep } from "../../kit/tcp/linux.ts";

const PEER6 = "fd99::1";

machineTest(
  "netd: addresses and routes are set again after an interface was down, or too narrow for IPv6",
  netdNeeds("ping"),
  async () => {
    // Looking for duplicates takes Linux two seconds each time.
    const quick = ["sh", "-c", "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad"];
    await using lab = await openNetdLab({
      options: ["--ipv6"],
      prepare: async (lab) => {
        await lab.worldMust(...quick);
        await lab.guestMust(...quick);
      },
    });
    /** Whether both peers answer before long. */
    const reaches = async (): Promise<string[]> => {
      const lacking = new Set([PEER, PEER6]);
      for (const end = performance.now() + 8000; lacking.size > 0 && performance.now() < end; await sleep(50)) {
        for (const peer of lacking) {
          if ((await lab.inGuest(["ping", "-c", "1", "-W", "1", peer])).code === 0) lacking.delete(peer);
        }
      }
      return [...lacking];
    };
    assertEquals(await reaches(), [], "at first");
    const uplink = (words: string) => lab.worldMust("sh", "-c", words);
    const guest = (words: string) => lab.guestMust("sh", "-c", words);
    const set = "set again fd99::1/64";
    const tries: [string, (words: string) => Promise<string>, string, string[]][] = [
      ["uplink", uplink, "ip link set aka0 down; ip link set aka0 up", ["is down", `is back: ${set}`]],
      ["uplink", uplink, "ip link set aka0 mtu 1200; ip link set aka0 mtu 1500", ["has MTU 1200", `is back: ${set}`]],
      ["guest's interface", guest, "ip link set tap0 down; ip link set tap0 up", ["is down", "the route by 10.0.2.2"]],
    ];
    for (const [name, run, words, lines] of tries) {
      const before = lab.netd.text.length;
      await run(words);
      assertEquals(await reaches(), [], `after: ${words}`);
      const said = lab.netd.text.slice(before);
      for (const line of lines) assertStringIncludes(said, line);
      assertStringIncludes(said, `netd: ${name} `);
    }
  },
);
