/** --uplink-nat on a TAP device: what netd sets on the machine serves guests and callers, and is gone at the end. */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { createNetns, type Netns } from "../../../devices/host/netns.ts";
import { machineTest } from "../../kit/check/skip.ts";
import { runTool } from "../../kit/host/linux.ts";
import { Child, type NetdLab, netdNeeds, openNetdLab, ROUTER } from "../../kit/netd/netd.ts";

const BEYOND = "203.0.113.9";
const BEYOND6 = "2001:db8:9::9";

/** What netd may change, of every interface but its own. */
const SETTINGS =
  "sysctl -a 2>/dev/null | grep -E '^net.ipv4.ip_forward |^net.ipv6.conf.*.(forwarding|accept_ra) ' | grep -v aka0";

/** Another machine calls the forward, and this one itself: by the rules, or by sockets where they do not lead. */
async function checkForward(lab: NetdLab, beyond: Netns): Promise<void> {
  const ask = ["curl", "-sS", "-m", "5", "http://203.0.113.1:8088/whoami"];
  const far = await runTool(beyond, ask);
  assertEquals(far.text, BEYOND, "another machine is shown as it is");
  assertEquals((await runTool(lab.world, ["curl", "-sS", "-m", "5", "http://127.0.0.1:8088/bytes/5"])).code, 0);
  // Sockets have what the rules leave: the loopback, and callers of the other version of IP.
  const own = async (at: string, port: number) => {
    const { code, text } = await runTool(lab.world, ["curl", "-gsS", "-m", "5", `http://${at}:${port}/whoami`]);
    return code === 0 ? text : code;
  };
  const seen = async () =>
    await Promise.all(["127.0.0.1", "[::1]", "203.0.113.1", "[2001:db8:9::1]"].map((at) => own(at, 8088)));
  assertEquals(await seen(), [ROUTER, ROUTER, "203.0.113.1", ROUTER]);
  assertEquals((await lab.natctl("remove", "tcp:8088:8080")).code, 0);
  assertEquals((await runTool(beyond, ask)).code, 7, "a forward that is removed is refused");
  assertEquals(await seen(), [7, 7, 7, 7], "here as well");
  // A port that another program has is the rules', but for the loopback.
  lab.children.push(
    new Child("nsenter", [`--net=${lab.world.path}`, "socat", "TCP-LISTEN:8089,fork", "EXEC:echo held"]),
  );
  for (let i = 0; i < 50 && !(await lab.worldMust("ss", "-Hltn")).includes(":8089"); i++);
  assertEquals((await lab.natctl("add", "tcp:8089:8080")).code, 0);
  assertStringIncludes(lab.netd.text, "EADDRINUSE; tcp:8089:8080 is reached by the rules of --uplink-nat alone");
  assertEquals(await own("203.0.113.1", 8089), "203.0.113.1");
  assertEquals(await lab.worldMust("socat", "-u", "TCP:127.0.0.1:8089", "-"), "held\n");
}

machineTest("--uplink-nat: guests get out, callers get in, and all is as before at the end", [
  ...netdNeeds("curl", "ping", "nft", "socat", "sysctl"),
], async () => {
  using beyond = createNetns(`un-beyond-${Deno.pid}`);
  let settings = "";
  const lab = await openNetdLab({
    options: ["--uplink-nat", "--ipv6", "--forward", "tcp:8088:8080"],
    guestServers: true,
    // The world has another machine beyond it, which knows no way back to guests, and has the usual network already.
    prepare: async (lab) => {
      const beyondMust = async (...command: string[]) => assertEquals((await runTool(beyond, command)).code, 0);
      await lab.worldMust("ip", "link", "add", "out0", "type", "veth", "peer", "name", "in0", "netns", beyond.name);
      await lab.worldMust("ip", "addr", "add", "203.0.113.1/24", "dev", "out0");
      await lab.worldMust("ip", "addr", "add", "10.99.0.7/24", "dev", "out0");
      await lab.worldMust("ip", "addr", "add", "2001:db8:9::1/64", "dev", "out0", "nodad");
      for (const device of ["lo", "out0"]) await lab.worldMust("ip", "link", "set", device, "up");
      await beyondMust("ip", "addr", "add", `${BEYOND}/24`, "dev", "in0");
      await beyondMust("ip", "addr", "add", `${BEYOND6}/64`, "dev", "in0", "nodad");
      for (const device of ["lo", "in0"]) await beyondMust("ip", "link", "set", device, "up");
      await lab.worldMust("ip", "route", "add", "default", "via", BEYOND);
      await lab.worldMust("ip", "-6", "route", "add", "default", "via", BEYOND6);
      // One interface that forwards by itself, which is to do so at the end.
      await lab.worldMust("ip", "link", "add", "own0", "type", "veth", "peer", "name", "own1");
      await lab.worldMust("sysctl", "-qw", "net.ipv6.conf.own0.forwarding=1");
      settings = await lab.worldMust("sh", "-c", SETTINGS);
    },
  });
  const tables = async () => (await runTool(lab.world, ["nft", "list", "tables"])).text;
  try {
    assertStringIncludes(lab.netd.text, "the host is 10.98.0.2/24", "10.99.0.0/24 is taken");
    assertEquals((await lab.worldMust("sysctl", "-n", "net.ipv4.ip_forward")).trim(), "1");
    assertStringIncludes(await tables(), "netd-aka0");
    assertEquals((await lab.worldMust("sysctl", "-n", "net.ipv6.conf.all.forwarding")).trim(), "1");
    assertEquals((await lab.worldMust("sysctl", "-n", "net.ipv6.conf.out0.accept_ra")).trim(), "2");
    assertStringIncludes(await lab.guestMust("ping", "-c", "1", "-W", "2", BEYOND), "1 received");
    await lab.guestMust(
      "sh",
      "-c",
      `for i in $(seq 20); do ping -6 -c 1 -W 1 ${BEYOND6} && exit; sleep 0.3; done; exit 1`,
    );
    await checkForward(lab, beyond);
    lab.netd.kill("SIGTERM");
    assertEquals((await lab.netd.end()).code, 0, lab.netd.text);
    assertEquals((await tables()).includes("netd-aka0"), false);
    assertEquals(await lab.worldMust("sh", "-c", SETTINGS), settings);
  } finally {
    await lab[Symbol.asyncDispose]();
  }
});
