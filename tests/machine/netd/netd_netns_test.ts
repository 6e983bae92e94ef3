/**
 * netd in slirp4netns' place: how a real Linux network stack gets its addresses. What it has then: netd_head_test.
 *
 * @module
 */

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { netdNeeds, openNetdLab, PEER, UPLINK, WORLD } from "../../kit/netd/netd.ts";
import { machineTest } from "../../kit/check/skip.ts";

/** What udhcpc runs when it has a lease. */
const LEASE_SCRIPT = `#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
[ -z "$mtu" ] || ip link set "$interface" mtu "$mtu"
ip route add default via "$router"
echo "lease $ip router $router dns $dns mtu $mtu seconds $lease server $serverid"
`;

machineTest("netd: a namespace asks by DHCP (udhcpc)", netdNeeds("busybox", "ping", "curl"), async () => {
  await using lab = await openNetdLab({
    configure: false,
    options: ["--mtu", "1400", "--cidr", "192.168.77.0/24", "--search", "lab.test"],
  });
  const script = `${lab.folder}/lease.sh`;
  await Deno.writeTextFile(script, LEASE_SCRIPT, { mode: 0o755 });
  const text = await lab.guestMust("busybox", "udhcpc", "-i", "tap0", "-q", "-n", "-t", "5", "-T", "1", "-s", script);
  assertMatch(text, /lease 192\.168\.77\.15 router 192\.168\.77\.2 dns 192\.168\.77\.3 mtu \d* seconds 3600/);
  assertStringIncludes(await lab.guestMust("ping", "-c", "1", WORLD), "1 received");
  assertEquals(await lab.guestMust("curl", "-sS", `http://${WORLD}:8080/whoami`), UPLINK, "the world sees the host");
  assertMatch((await lab.natctl("leases")).text, /^192\.168\.77\.15 [\da-f:]{17} leased \d+\n$/);
});

machineTest("netd: a namespace asks by DHCP (dhclient)", netdNeeds("dhclient", "ping"), async () => {
  await using lab = await openNetdLab({ configure: false });
  const files = ["-lf", `${lab.folder}/leases`, "-pf", `${lab.folder}/pid`];
  await lab.guestMust("dhclient", "-1", "-v", "-sf", "/bin/true", ...files, "tap0");
  const lease = await lab.guestMust("cat", `${lab.folder}/leases`);
  assertMatch(lease, /fixed-address 10\.0\.2\.15;/);
  assertMatch(lease, /option routers 10\.0\.2\.2;/);
  assertMatch(lease, /option domain-name-servers 10\.0\.2\.3;/);
  // It stays in the background: its own namespace is to end with the test.
  await lab.guestMust("sh", "-c", 'kill "$(cat "$0")"', `${lab.folder}/pid`);
});

machineTest("netd --disable-dns: the guest asks the name servers itself", netdNeeds("busybox", "dig"), async () => {
  await using lab = await openNetdLab({ configure: false, options: ["--disable-dns"] });
  const script = `${lab.folder}/lease.sh`;
  await Deno.writeTextFile(script, LEASE_SCRIPT, { mode: 0o755 });
  const text = await lab.guestMust("busybox", "udhcpc", "-i", "tap0", "-q", "-n", "-t", "5", "-T", "1", "-s", script);
  assertMatch(text, /lease 10\.0\.2\.15 router 10\.0\.2\.2 dns 10\.99\.0\.1 /);
  assertEquals((await lab.guestMust("dig", `@${PEER}`, "+short", "x.test")).trim(), "192.0.2.77");
  assertEquals((await lab.inGuest(["dig", "@10.0.2.3", "+time=1", "+tries=1", "x.test"])).code, 9);
});
