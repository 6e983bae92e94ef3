/**
 * The router's address as the machine's loopback, as slirp4netns and libslirp have it: who gets there, who does not.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { type NetdLab, netdNeeds, openNetdLab, PEER, ROUTER, UPLINK } from "../../kit/netd/netd.ts";
import { bytesOf } from "../../kit/netd/peer.ts";
import { machineTest } from "../../kit/check/skip.ts";

const WHOAMI = ["curl", "-sS", "-m", "2", `http://${ROUTER}:8081/whoami`];
const SYSCTL = "net.ipv4.conf.aka0.route_localnet";

async function code(lab: NetdLab, ...command: string[]): Promise<number> {
  return (await lab.inGuest(command)).code;
}

machineTest(
  "netd: the router's address is the machine's 127.0.0.1, for TCP, UDP and names",
  netdNeeds("curl", "socat", "dig"),
  async () => {
    await using lab = await openNetdLab({ options: ["--dns", "127.0.0.1"] });
    assertStringIncludes(lab.netd.text, `guest reaches 127.0.0.1 of this machine as ${ROUTER}`);
    assertEquals(await lab.guestMust(...WHOAMI), UPLINK, "the server sees the uplink's address");
    assertEquals(await code(lab, "curl", "-sS", "-m", "2", `http://${PEER}:8081/`), 7, "it is bound to 127.0.0.1");
    assertEquals(await code(lab, "curl", "-sS", "-m", "2", `http://${ROUTER}:81/`), 7, "refused at once");
    // Linux asks for us from 127.0.0.1 once it has forgotten us.
    await lab.worldMust("ip", "neigh", "flush", "dev", "aka0");
    assertEquals(await lab.guestMust(...WHOAMI), UPLINK);
    const stdin = bytesOf(30_000);
    const echoed = await lab.inGuest(["socat", "-b", "65536", "-t", "1", "-", `udp:${ROUTER}:77`], { stdin });
    assertEquals(echoed.bytes, stdin);
    const refused = await lab.inGuest(["socat", "-t", "3", "-", `udp:${ROUTER}:78`], { stdin: bytesOf(1) });
    assertMatch(refused.text, /Connection refused/, "the machine's ICMP error comes from the router");
    // Bound to all addresses Linux answers from the peer's, which the guest did not ask.
    const all = await lab.inGuest(["socat", "-b", "65536", "-t", "1", "-", `udp:${ROUTER}:7`], { stdin });
    assertEquals(all.bytes, stdin, "a UDP server that is bound to 0.0.0.0");
    for (const how of ["+notcp", "+tcp"]) {
      const asked = ["dig", "+short", how, "+tries=1", "@10.0.2.3", "x.test", "A"];
      assertEquals((await lab.guestMust(...asked)).trim(), "192.0.2.77", how);
    }
  },
);

machineTest("netd: only the router's address leads to the machine's loopback", netdNeeds("curl"), async () => {
  await using lab = await openNetdLab({ guestServers: true, options: ["--forward", "tcp:8000:8080"] });
  const others = ["all", "default", "lo"].map((device) => `net.ipv4.conf.${device}.route_localnet`);
  assertEquals(await lab.worldMust("sysctl", "-n", SYSCTL, ...others), "1\n0\n0\n0\n", "on our device only");
  // A guest that sends to 127.0.0.1 itself.
  await lab.guestMust("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1");
  await lab.guestMust("ip", "route", "del", "local", "127.0.0.1", "dev", "lo", "table", "local");
  await lab.guestMust("ip", "route", "del", "local", "127.0.0.0/8", "dev", "lo", "table", "local");
  await lab.guestMust("ip", "route", "add", "127.0.0.0/8", "via", ROUTER);
  assertEquals(await code(lab, "curl", "-sS", "-m", "2", "http://127.0.0.1:8081/whoami"), 7);
  assertMatch((await lab.natctl("stats")).text, /refused-policy-loopback [1-9]/);
  // The machine's own 127.0.0.1 as the client of a forward is the router to the guest.
  const forward = ["curl", "-sS", "-m", "2", "--interface", "127.0.0.1", `http://${UPLINK}:8000/whoami`];
  assertEquals(await lab.worldMust(...forward), ROUTER);
});

machineTest(
  "netd: --disable-host-loopback, and --restrict, close the router's address",
  netdNeeds("curl"),
  async () => {
    {
      await using lab = await openNetdLab({ options: ["--disable-host-loopback"] });
      assertEquals(await code(lab, ...WHOAMI), 7);
      assertEquals(await lab.worldMust("sysctl", "-n", SYSCTL), "0\n");
      assert(!lab.netd.text.includes("127.0.0.1"), lab.netd.text);
    }
    await using lab = await openNetdLab({ options: ["--restrict", "--allow", `tcp:${ROUTER}:8081`] });
    assertEquals(await code(lab, "curl", "-sS", "-m", "2", `http://${ROUTER}:8080/`), 7);
    assertEquals(await lab.guestMust(...WHOAMI), UPLINK);
  },
);

machineTest("netd: the loopback behind an attached uplink is the owner's choice", netdNeeds("curl"), async () => {
  const prepare = async (lab: Pick<NetdLab, "worldMust">, value: string) => {
    await lab.worldMust("ip", "tuntap", "add", "dev", "aka0", "mode", "tap", "vnet_hdr");
    await lab.worldMust("sysctl", "-qw", `${SYSCTL}=${value}`);
    await lab.worldMust("ip", "addr", "add", `${PEER}/24`, "dev", "aka0");
    await lab.worldMust("ip", "link", "set", "aka0", "up");
  };
  {
    await using lab = await openNetdLab({ options: ["--uplink-attach"], prepare: (lab) => prepare(lab, "0") });
    assertStringIncludes(lab.netd.text, `guest does not reach 127.0.0.1 of this machine: ${SYSCTL} is 0`);
    assertEquals(await code(lab, ...WHOAMI), 7);
    assertEquals(await lab.worldMust("sysctl", "-n", SYSCTL), "0\n", "left as it was");
  }
  await using lab = await openNetdLab({ options: ["--uplink-attach"], prepare: (lab) => prepare(lab, "1") });
  assertEquals(await lab.guestMust(...WHOAMI), UPLINK);
});
