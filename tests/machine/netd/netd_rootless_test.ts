/**
 * netd without any right of root's: for a namespace below a user namespace, on an uplink that was made for its user.
 *
 * @module
 */

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createNetns } from "../../../devices/host/netns.ts";
import { Child, GUEST, netdNeeds, PEER, startNetd, UPLINK, WORLD } from "../../kit/netd/netd.ts";
import { openRootlessLab } from "../../kit/netd/rootless.ts";
import { machineTest, type Need } from "../../kit/check/skip.ts";

const NEEDS: Need[] = [...netdNeeds("curl", "ping"), "userns"];

machineTest("netd without root: a namespace of unshare -Urn on an uplink that is its user's", NEEDS, async () => {
  await using lab = await openRootlessLab("--configure", "--macaddress", "02:00:00:00:00:77", "--mtu", "1400");
  const status = await lab.worldMust("cat", `/proc/${lab.netd.pid}/status`);
  assertMatch(status, /^Uid:\t65534\t65534\t65534\t65534$/m);
  assertMatch(status, /^CapEff:\t0+$/m);
  const device = await lab.guestMust("ip", "addr", "show", "dev", "tap0");
  assertMatch(device, /mtu 1400 [^]* 02:00:00:00:00:77 [^]* inet 10\.0\.2\.100\/24 /);
  assertStringIncludes(await lab.guestMust("ping", "-c", "1", WORLD), "1 received");
  assertEquals(await lab.guestMust("curl", "-sS", `http://${WORLD}:8080/whoami`), UPLINK);
  assertEquals((await lab.guestMust("curl", "-sS", `http://${WORLD}:8080/bytes/3000000`)).length > 0, true);
  lab.children.at(-1)!.kill("SIGKILL");
  assertEquals((await lab.netd.end()).code, 0);
  assertStringIncludes(lab.netd.text, "the guest's namespace is gone");
});

machineTest("netd as root serves a namespace of unshare -Urn", NEEDS, async () => {
  using world = createNetns(`nd-userns-${Deno.pid}`);
  const sleeper = new Child("unshare", ["-Urn", "sh", "-c", "echo up; exec sleep 60"]);
  await sleeper.until("up");
  const uplink = ["--uplink", "tap", "--uplink-netns", world.name, "--uplink-device", "aka0"];
  const netd = await startNetd(["--netns", `${sleeper.pid}`, "--configure", ...uplink]);
  try {
    const ping = new Child("nsenter", [`--net=/proc/${sleeper.pid}/ns/net`, "ping", "-c", "1", PEER]);
    assertEquals((await ping.end()).code, 0, `${GUEST}: ${ping.text}`);
  } finally {
    netd.kill("SIGTERM");
    assertEquals((await netd.end()).code, 0);
    sleeper.kill("SIGKILL");
    await sleeper.end();
  }
});
