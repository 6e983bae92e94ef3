/**
 * netd as a module, `@akarino/akarino/netd`: a program starts and ends it, between namespaces of the test's own.
 *
 * @module
 */

import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { startNetd, SystemError, UsageError } from "@akarino/akarino/netd";
import { createNetns } from "../../../devices/host/netns.ts";
import { machineTest } from "../../kit/check/skip.ts";
import { runTool } from "../../kit/host/linux.ts";
import { netdNeeds } from "../../kit/netd/netd.ts";

machineTest("startNetd() serves a guest over both IP versions until it is closed", netdNeeds("ping"), async () => {
  const id = crypto.randomUUID().slice(0, 8);
  using world = createNetns(`w-door-w-${id}`);
  using guest = createNetns(`w-door-g-${id}`);
  const inGuest = (...command: string[]) => runTool(guest, command);
  const links = async () => (await runTool(world, ["ip", "-brief", "link"])).text;
  const before = await links();
  {
    await using netd = await startNetd([
      ...[
        "--netns",
        guest.name,
        "--configure",
        "--uplink",
        "tap",
        "--uplink-netns",
        world.name,
        "--uplink-device",
        "aka0",
      ],
      ...["--dns", "10.99.0.1", "--ipv6", "--forward", "tcp:8080:80"],
    ]);
    const [uplink = "", , ipv6 = ""] = netd.describe();
    assertStringIncludes(uplink, "the host is 10.99.0.2/24");
    assertStringIncludes(ipv6, "IPv6: the host is fd99::2/64, gateway fd99::1");
    assertStringIncludes(netd.command("list"), "tcp:8080:80");
    assertStringIncludes(await links(), "aka0");
    for (const peer of ["10.99.0.1", "fd99::1"]) {
      // Linux takes two seconds to see that its IPv6 addresses, the guest's and the peer's, have no duplicate.
      const ping = () => inGuest("ping", "-c", "1", "-W", "1", peer);
      let last = await ping();
      for (let tries = 0; tries < 20 && !last.text.includes("1 received"); tries++) {
        await new Promise((resolve) => setTimeout(resolve, 250));
        last = await ping();
      }
      assertStringIncludes(last.text, "1 received", peer);
    }
  }
  assertEquals(await links(), before);
});

machineTest("startNetd() refuses what the command refuses, with the same words", netdNeeds(), async () => {
  await assertRejects(() => startNetd(["--nope"]), UsageError, "--nope");
  await assertRejects(() => startNetd([]), UsageError, "Want one of --qemu, --qemu-dgram and --netns");
  await assertRejects(() => startNetd(["--netns", "w-door-none"]), SystemError, "w-door-none");
});
