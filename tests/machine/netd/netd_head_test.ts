/**
 * Head to head with slirp4netns and libslirp: what users of those miss (or had, and must not miss here), each with
 * Linux' own tools in a namespace behind netd, and a world that is another one.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertNotMatch, assertStringIncludes } from "@std/assert";
import { DEAD, GUEST, type NetdLab, netdNeeds, openNetdLab, PEER, ROUTER, UPLINK, WORLD } from "../../kit/netd/netd.ts";
import { bytesOf } from "../../kit/netd/peer.ts";
import { machineTest } from "../../kit/check/skip.ts";
import { ROOT } from "../../kit/check/tree.ts";

const SIZE = 16 * 1024 * 1024;
/** An address of a network of the world's that Linux says is unreachable; one that it says nothing about. */
const UNREACHABLE = "203.0.113.9";
const SILENT = "192.0.2.9";

async function sha256(bytes: Uint8Array): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>)).toHex();
}

/** A number of /proc/net/netstat where `run` runs. */
async function netstat(run: (...command: string[]) => Promise<string>, name: string): Promise<number> {
  const lines = (await run("cat", "/proc/net/netstat")).split("\n").filter((line) => line.startsWith("IpExt"));
  return Number(lines[1]!.split(" ")[lines[0]!.split(" ").indexOf(name)]);
}

async function checkDownload(lab: NetdLab, size: number): Promise<void> {
  const { code, bytes } = await lab.inGuest(["curl", "-sS", `http://${WORLD}:8080/bytes/${size}`]);
  assertEquals([code, await sha256(bytes)], [0, await sha256(bytesOf(size))], "download");
}

async function checkUpload(lab: NetdLab, size: number): Promise<void> {
  const { text } = await lab.inGuest(["curl", "-sS", "-T", "-", `http://${WORLD}:8080/`], { stdin: bytesOf(size) });
  assertEquals(text, await sha256(bytesOf(size)), "upload");
}

machineTest("netd, head to head: the guest's server sees its client's own address", netdNeeds("curl"), async () => {
  await using lab = await openNetdLab({ options: ["--forward", "tcp:8000:8080"], guestServers: true });
  assertStringIncludes(lab.netd.text, `tcp:8000:8080 exposes guest ${GUEST} on every address of the host`);
  assertEquals(await lab.worldMust("curl", "-sS", `http://${UPLINK}:8000/whoami`), PEER);
  const far = ["curl", "-sS", "--interface", WORLD, `http://${UPLINK}:8000/whoami`];
  assertEquals(await lab.worldMust(...far), WORLD);
});

machineTest("netd, head to head: transfers arrive whole, both ways", netdNeeds("curl"), async () => {
  await using lab = await openNetdLab();
  await checkDownload(lab, SIZE);
  await checkUpload(lab, SIZE);
});

machineTest("netd, head to head: a half-closed connection goes on", netdNeeds("socat"), async () => {
  await using lab = await openNetdLab();
  const stdin = bytesOf(100_000);
  // That server answers only after our end.
  const { bytes } = await lab.inGuest(["socat", "-t", "5", "-", `tcp:${WORLD}:7`], { stdin });
  assertEquals(bytes, stdin, "what comes after our end is still heard");
});

machineTest("netd, head to head: what is refused is refused at once", netdNeeds("curl", "socat"), async () => {
  await using lab = await openNetdLab();
  const began = performance.now();
  const { code, text } = await lab.inGuest(["curl", "-sS", "-m", "5", `http://${WORLD}:81/`]);
  assertEquals(code, 7, text);
  const udp = await lab.inGuest(["socat", "-t", "5", "-", `udp:${WORLD}:81`], { stdin: bytesOf(1) });
  assertMatch(udp.text, /Connection refused/, "ICMP port unreachable");
  assert(performance.now() - began < 3000, "neither waited for its time to be over");
});

machineTest("netd, head to head: a ping is answered by its destination, or not at all", netdNeeds("ping"), async () => {
  await using lab = await openNetdLab();
  await lab.worldMust("sysctl", "-qw", "net.ipv4.ip_forward=1");
  await lab.worldMust("ip", "route", "add", "unreachable", "203.0.113.0/24");
  await lab.worldMust("ip", "route", "add", "blackhole", "192.0.2.0/24");
  for (const addr of [ROUTER, PEER, WORLD]) {
    assertStringIncludes(await lab.guestMust("ping", "-c", "2", "-i", "0.05", addr), "2 received, 0% packet loss");
  }
  assertStringIncludes(await lab.guestMust("ping", "-c", "1", "-s", "65507", WORLD), "1 received");
  const dead = async (addr: string, seconds: string) =>
    (await lab.inGuest(["ping", "-c", "1", "-W", seconds, addr])).text;
  const asked = [dead(DEAD, "0.5"), dead(UNREACHABLE, "5"), dead(SILENT, "0.5")] as const;
  const [neighbour, unreachable, silent] = await Promise.all(asked);
  assertMatch(neighbour, / 0 received/, "a ping to a dead address fails");
  assertMatch(unreachable, new RegExp(`From ${PEER} .*Unreachable[^]* 0 received`), "and says what Linux says");
  assertMatch(silent, / 0 received, 100% packet loss/);
});

machineTest("netd, head to head: 65,000 UDP ports, and names are still found", netdNeeds("dig"), async () => {
  await using lab = await openNetdLab();
  const allowed = ["--no-check", "--no-prompt", "--allow-ffi"];
  const sent = await lab.guestMust(Deno.execPath(), "run", ...allowed, `${ROOT}/tests/kit/netd/ports.ts`, PEER);
  assert(parseInt(sent) > 64_000, sent);
  const asked = ["dig", "@10.0.2.3", "+short", "+time=3", "+tries=1", "x.test"];
  assertEquals((await lab.guestMust(...asked)).trim(), "192.0.2.77");
  const stats = (await lab.natctl("stats")).text;
  assertMatch(stats, /^maps-udp 2048$/m, "at the cap");
  assert(Number(/^mapsMade (\d+)$/m.exec(stats)![1]) > 10_000, stats);
  const memory = await lab.worldMust("cat", `/proc/${lab.netd.pid}/status`);
  assert(Number(/^VmRSS:\s+(\d+) kB$/m.exec(memory)![1]) < 400_000, memory);
});

machineTest("netd, head to head: datagrams of up to 65507 bytes, both ways", netdNeeds("socat"), async () => {
  await using lab = await openNetdLab({ options: ["--forward", "udp:7000:7"], guestServers: true });
  const checkSize = async (size: number) => {
    const stdin = bytesOf(size);
    // It waits for so long in any case: a datagram has no end.
    const talk = (to: string) => ["socat", "-b", "65536", "-t", "1", "-", `udp:${to}`];
    const [out, back] = await Promise.all([
      lab.inGuest(talk(`${PEER}:7`), { stdin }),
      lab.inWorld(talk(`${UPLINK}:7000`), { stdin }),
    ]);
    assertEquals(out.bytes, stdin, `${size} from the guest`);
    assertEquals(back.bytes, stdin, `${size} to the guest`);
  };
  await Promise.all([1, 1472, 1473, 65507].map(checkSize));
});

machineTest("netd, head to head: traceroute shows us, then the world", netdNeeds("traceroute"), async () => {
  await using lab = await openNetdLab();
  for (const kind of [[], ["-I"], ["-T", "-p", "8080"]]) {
    const text = await lab.guestMust("traceroute", ...kind, "-n", "-q", "1", "-w", "2", WORLD);
    assertMatch(text, /\n 1 {2}10\.0\.2\.2 {2}[^]*\n 2 {2}198\.51\.100\.1 {2}/, kind.join(" "));
  }
});

machineTest("netd, head to head: ECN is between the ends", netdNeeds("curl"), async () => {
  await using lab = await openNetdLab();
  const guest = (...command: string[]) => lab.guestMust(...command);
  const world = (...command: string[]) => lab.worldMust(...command);
  for (const run of [guest, world]) await run("sysctl", "-qw", "net.ipv4.tcp_ecn=1");
  const before = [await netstat(guest, "InECT0Pkts"), await netstat(world, "InECT0Pkts")];
  await checkUpload(lab, 1_000_000);
  await checkDownload(lab, 1_000_000);
  const after = [await netstat(guest, "InECT0Pkts"), await netstat(world, "InECT0Pkts")];
  for (const i of [0, 1]) assert(after[i]! > before[i]! + 5, `ECT(0) seen before ${before}, after ${after}`);
});

machineTest("netd, head to head: the uplink goes for 5 s, and traffic resumes", netdNeeds("curl"), async () => {
  await using lab = await openNetdLab();
  const size = 8 * 1024 * 1024;
  const got = lab.inGuest(["curl", "-sS", "--limit-rate", "4M", `http://${WORLD}:8080/bytes/${size}`], {
    limitMs: 40_000,
  });
  await new Promise((resolve) => setTimeout(resolve, 500));
  await lab.worldMust("ip", "link", "set", "aka0", "down");
  const refused = await lab.inGuest(["curl", "-sS", "-m", "1", `http://${WORLD}:8080/whoami`]);
  assert(refused.code !== 0, "not while it is gone");
  await new Promise((resolve) => setTimeout(resolve, 4000));
  await lab.worldMust("ip", "link", "set", "aka0", "up");
  assertEquals(await lab.guestMust("curl", "-sS", "-m", "5", `http://${WORLD}:8080/whoami`), UPLINK, "new connections");
  const { code, bytes } = await got;
  assertEquals([code, await sha256(bytes)], [0, await sha256(bytesOf(size))], "and the one that was");
});

machineTest("netd, head to head: a path with an MTU of 1280 is found out", netdNeeds("curl", "ping"), async () => {
  await using lab = await openNetdLab({ options: ["--uplink-mtu", "1280"] });
  await checkDownload(lab, 1_000_000);
  await checkUpload(lab, 1_000_000);
  const large = ["ping", "-c", "1", "-W", "0.5", "-M", "do", "-s", "1472", WORLD];
  await lab.inGuest(large);
  const { text } = await lab.inGuest(large);
  assertMatch(text, /mtu ?= ?1280/, "the guest learned it (RFC 1191)");
  assertNotMatch(text, / 1 received/);
});
