/**
 * netd in slirp4netns' place: a real Linux network stack as the guest, Linux' own tools in it, and a world that is
 * another one.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import {
  DEAD,
  GUEST,
  NAME_SERVER,
  type NetdLab,
  netdNeeds,
  openNetdLab,
  PEER,
  ROUTER,
  UPLINK,
  WORLD,
} from "../kit/netd.ts";
import { bytesOf } from "../kit/netd_peer.ts";
import { machineTest } from "../kit/skip.ts";

const SIZE = 16 * 1024 * 1024;

async function sha256(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  return new Uint8Array(digest).toHex();
}

async function checkPings(lab: NetdLab): Promise<void> {
  for (const addr of [ROUTER, PEER, WORLD]) {
    assertStringIncludes(await lab.guestMust("ping", "-c", "2", "-i", "0.05", addr), "2 received, 0% packet loss");
  }
  const dead = await lab.inGuest(["ping", "-c", "1", "-W", "1", DEAD]);
  assertEquals(dead.code, 1, `head to head: a ping to a dead address fails: ${dead.text}`);
  assertStringIncludes(await lab.guestMust("ping", "-c", "1", "-s", "65507", WORLD), "1 received");
}

async function checkTransfers(lab: NetdLab): Promise<void> {
  const { code, bytes } = await lab.inGuest(["curl", "-sS", `http://${WORLD}:8080/bytes/${SIZE}`]);
  const wanted = await sha256(bytesOf(SIZE));
  assertEquals([code, await sha256(bytes)], [0, wanted], "download");
  const upload = await lab.inGuest(["curl", "-sS", "-T", "-", `http://${WORLD}:8080/`], { stdin: bytesOf(SIZE) });
  assertEquals(upload.text, wanted, "upload");
}

async function checkHalfClose(lab: NetdLab): Promise<void> {
  const stdin = bytesOf(100_000);
  const { bytes } = await lab.inGuest(["socat", "-t", "5", "-", `tcp:${WORLD}:7`], { stdin });
  assertEquals(bytes, stdin, "head to head: what comes after our end is still heard");
}

async function checkUdp(lab: NetdLab): Promise<void> {
  for (const size of [1, 1472, 1473, 65507]) {
    const stdin = bytesOf(size);
    const { bytes } = await lab.inGuest(["socat", "-b", "65536", "-t", "0.5", "-", `udp:${PEER}:7`], { stdin });
    assertEquals(bytes.length, size);
    assertEquals(bytes, stdin);
  }
}

async function checkEcn(lab: NetdLab): Promise<void> {
  for (const where of ["guestMust", "worldMust"] as const) await lab[where]("sysctl", "-qw", "net.ipv4.tcp_ecn=1");
  const seen = async () => {
    const lines = (await lab.worldMust("cat", "/proc/net/netstat")).split("\n").filter((line) => /^IpExt/.test(line));
    const at = lines[0]!.split(" ").indexOf("InECT0Pkts");
    return Number(lines[1]!.split(" ")[at]);
  };
  const before = await seen();
  await lab.inGuest(["curl", "-sS", "-T", "-", `http://${WORLD}:8080/`], { stdin: bytesOf(100_000) });
  assert(await seen() > before, "head to head: packets of a connection with ECN arrive with ECT(0)");
}

machineTest(
  "netd for a namespace: ping, transfers, half-close, refusal, UDP, traceroute, ECN, forward",
  netdNeeds("ping", "curl", "socat", "traceroute"),
  async (t) => {
    await using lab = await openNetdLab({ options: ["--forward", "tcp:8000:8080"], guestServers: true });
    await t.step("what is exposed is said at start", () => {
      assertStringIncludes(lab.netd.text, `tcp:8000:8080 exposes guest ${GUEST} on every address of the host`);
    });
    await t.step("ping", () => checkPings(lab));
    await t.step("curl, both ways, by content", () => checkTransfers(lab));
    await t.step("half-close", () => checkHalfClose(lab));
    await t.step("a refused port is refused at once", async () => {
      const { code, text } = await lab.inGuest(["curl", "-sS", "-m", "5", `http://${WORLD}:81/`]);
      assertEquals(code, 7, text);
    });
    await t.step("datagrams up to 65507 bytes", () => checkUdp(lab));
    await t.step("traceroute shows our hop", async () => {
      const text = await lab.guestMust("traceroute", "-n", "-q", "1", "-w", "2", WORLD);
      assertMatch(text, /\n 1 {2}10\.0\.2\.2 {2}[^]*\n 2 {2}198\.51\.100\.1 {2}/);
    });
    await t.step("ECN", () => checkEcn(lab));
    await t.step("a forward: the guest's server sees the real client", async () => {
      assertEquals(await lab.worldMust("curl", "-sS", `http://${UPLINK}:8000/whoami`), PEER);
      const far = ["curl", "-sS", "--interface", WORLD, `http://${UPLINK}:8000/whoami`];
      assertEquals(await lab.worldMust(...far), WORLD);
    });
  },
);

machineTest("netd: names of many types by the relay", netdNeeds("dig"), async () => {
  await using lab = await openNetdLab();
  const wanted: [string, string][] = [
    ["A", "192.0.2.77"],
    ["AAAA", "2001:db8::77"],
    ["TXT", '"hello world"'],
    ["SRV", "1 2 5269 srv.test."],
    ["SOA", "ns.test. root.test. 9 3600 600 86400 60"],
    ["MX", "10 mail.test."],
    ["PTR", "host.test."],
  ];
  for (const [type, answer] of wanted) {
    for (const by of ["+notcp", "+tcp"]) {
      const asked = ["dig", `@${NAME_SERVER}`, "+short", "+time=3", "+tries=1", by, "x.test", type];
      assertEquals((await lab.guestMust(...asked)).trim(), answer, `${type} ${by}`);
    }
  }
  const own = await lab.guestMust("dig", `@${NAME_SERVER}`, "+short", "gateway.internal");
  assertEquals(own.trim(), ROUTER);
});

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

machineTest("netd: the uplink goes for 5 s, and a download goes on", netdNeeds("curl"), async () => {
  await using lab = await openNetdLab();
  const size = 8 * 1024 * 1024;
  const got = lab.inGuest(["curl", "-sS", "--limit-rate", "4M", `http://${WORLD}:8080/bytes/${size}`], {
    limitMs: 40_000,
  });
  await new Promise((resolve) => setTimeout(resolve, 700));
  await lab.worldMust("ip", "link", "set", "aka0", "down");
  await new Promise((resolve) => setTimeout(resolve, 5000));
  await lab.worldMust("ip", "link", "set", "aka0", "up");
  const { code, bytes } = await got;
  assertEquals([code, await sha256(bytes)], [0, await sha256(bytesOf(size))]);
});

machineTest("netd: a path with an MTU of 1280 is found out", netdNeeds("curl", "ping"), async () => {
  await using lab = await openNetdLab({ options: ["--uplink-mtu", "1280"] });
  const { code, bytes } = await lab.inGuest(["curl", "-sS", `http://${WORLD}:8080/bytes/1000000`]);
  assertEquals([code, await sha256(bytes)], [0, await sha256(bytesOf(1_000_000))]);
  const upload = await lab.inGuest(["curl", "-sS", "-T", "-", `http://${WORLD}:8080/`], { stdin: bytesOf(1_000_000) });
  assertEquals(upload.text, await sha256(bytesOf(1_000_000)));
  await lab.inGuest(["ping", "-c", "1", "-W", "1", "-M", "do", "-s", "1472", WORLD]);
  const { text } = await lab.inGuest(["ping", "-c", "1", "-W", "1", "-M", "do", "-s", "1472", WORLD]);
  assertMatch(text, /mtu ?= ?1280/, "the guest was told (RFC 1191)");
});
