/**
 * Forwards beside a device as uplink: ports of the host kernel, and of the machine, whose callers are the guest's
 * router. What the machine does not give, and what comes and goes while netd runs.
 *
 * @module
 */

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { ROOT } from "../../kit/check/tree.ts";
import { machineTest } from "../../kit/check/skip.ts";
import {
  Child,
  GUEST,
  type NetdLab,
  netdNeeds,
  openNetdLab,
  PEER,
  ROUTER,
  UPLINK,
  WORLD,
} from "../../kit/netd/netd.ts";
import { runTool } from "../../kit/host/linux.ts";
import { linesOf } from "../../kit/uplink/lab.ts";

const GUEST6 = "fd00:0:0:2::f";
const ROUTER6 = "fd00:0:0:2::2";
const UPLINK6 = "fd99::2";
const PEER6 = "fd99::1";
const REFUSED = 7;

const FORWARDS = [
  "tcp:8101:8082",
  "udp:8101:9",
  `tcp::8102-[${GUEST6}]:8082`,
  `udp::8102-[${GUEST6}]:9`,
  "tcp:127.0.0.1:8103:8082",
  "udp:127.0.0.1:8103:9",
  `tcp:${UPLINK}:8104:8082`,
  "tcp:8105:8082",
  "udp:8105:9",
  "tcp:8110-8112:8081",
  `tcp:${WORLD}:8101:8082`,
];
const OPTIONS = ["--ipv6", ...FORWARDS.slice(0, -1).flatMap((forward) => ["--forward", forward])];
/** What the machine's ports 8105 and 8106 have already. */
const HOLDERS = [8105, 8106].flatMap((port) => [`TCP-LISTEN:${port},fork,reuseaddr`, `UDP-RECVFROM:${port},fork`]);
/** Downloads of 1001 to 1050 bytes at once, and how many bytes came. */
const MANY = "seq 1001 1050 | xargs -P 50 -I@ curl -sS -m 20 http://localhost:8101/bytes/@ | wc -c";

const PEER_PY = ["/usr/bin/python3", `${ROOT}/tests/kit/uplink/peer.py`];

/** Other programs of the machine that have ports, and those of the guest that are called. */
async function startServers(lab: NetdLab): Promise<void> {
  // The address comes with the router's advertisement, and Linux checks for a second or two that it is unique.
  const settled = `for i in $(seq 100); do ip -6 addr show dev tap0 | grep -q 'inet6 ${GUEST6}.*tentative' || exit 0
    sleep 0.1; done; exit 1`;
  await lab.guestMust("sh", "-c", settled);
  for (const address of [GUEST, GUEST6]) {
    const server = new Child("nsenter", [`--net=${lab.guest.path}`, ...PEER_PY, "serve", address]);
    lab.children.push(server);
    await server.until("ready");
  }
}

async function holdPorts(lab: NetdLab): Promise<void> {
  for (const how of HOLDERS) {
    lab.children.push(new Child("nsenter", [`--net=${lab.world.path}`, "socat", how, "EXEC:echo held"]));
  }
  const held = async () => (await lab.worldMust("ss", "-Hltun")).split("\n").filter((line) => /:810[56]\b/.test(line));
  for (let i = 0; i < 200 && (await held()).length < HOLDERS.length; i++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** As whom the guest's server sees a client of the machine at `at`; or curl's status. */
async function seenAs(lab: NetdLab, at: string): Promise<string | number> {
  const { code, text } = await lab.inWorld(["curl", "-gsS", "-m", "3", `http://${at}/whoami`]);
  return code === 0 ? text : code;
}

/** The same of UDP: by whom the answer came, and as whom the guest's server saw the client. */
async function asked(lab: NetdLab, to: string, port: number): Promise<(string | undefined)[]> {
  const stdin = new TextEncoder().encode(JSON.stringify([{ to, port, say: {} }]));
  const { code, text } = await runTool(lab.world, [...PEER_PY, "ask"], { stdin });
  assertEquals(code, 0, text);
  const [answer] = linesOf<{ by: string; said?: { from: string } }>(text);
  return [answer?.by, answer?.said?.from];
}

async function checkReached(lab: NetdLab): Promise<void> {
  const rows = [
    ["127.0.0.1", 8101, ROUTER],
    ["::1", 8101, ROUTER],
    [WORLD, 8101, ROUTER],
    [PEER, 8101, ROUTER],
    [UPLINK, 8101, PEER],
    ["::1", 8102, ROUTER6],
    ["127.0.0.1", 8102, ROUTER6],
    [UPLINK6, 8102, PEER6],
  ] as const;
  for (const [to, port, seen] of rows) {
    const at = to.includes(":") ? `[${to}]` : to;
    assertEquals(await seenAs(lab, `${at}:${port}`), seen, `tcp ${at}:${port}`);
    assertEquals(await asked(lab, to, port), [to, seen], `udp ${at}:${port}`);
  }
  assertEquals(await seenAs(lab, "localhost:8101"), ROUTER);
}

async function checkLarge(lab: NetdLab): Promise<void> {
  const sums = (url: string) => lab.worldMust("sh", "-c", `curl -gsS -m 20 '${url}' | sha256sum`);
  const here = await sums("http://127.0.0.1:8101/bytes/5000000");
  assertEquals(here, await sums(`http://${UPLINK}:8101/bytes/5000000`));
  assertEquals(here, await sums("http://[::1]:8102/bytes/5000000"));
  const many = await lab.worldMust("sh", "-c", MANY);
  let total = 0;
  for (let i = 1001; i <= 1050; i++) total += i;
  assertEquals(Number(many), total);
}

/** One at an address is there alone. */
async function checkPlaces(lab: NetdLab): Promise<void> {
  assertEquals(await seenAs(lab, "127.0.0.1:8103"), ROUTER);
  assertEquals(await asked(lab, "127.0.0.1", 8103), ["127.0.0.1", ROUTER]);
  for (const elsewhere of [UPLINK, WORLD, "[::1]"]) assertEquals(await seenAs(lab, `${elsewhere}:8103`), REFUSED);
  assertEquals(await seenAs(lab, `${UPLINK}:8104`), PEER);
  for (const elsewhere of ["127.0.0.1", WORLD]) assertEquals(await seenAs(lab, `${elsewhere}:8104`), REFUSED);
  // A neighbor that names the inner address gets no answer.
  await lab.worldMust("ip", "route", "add", "192.0.0.2", "via", UPLINK);
  assertEquals(await seenAs(lab, "192.0.0.2:8103"), 28);
  assertEquals(await seenAs(lab, "127.0.0.1:8111"), ROUTER, "the second of a range");
  assertEquals(await seenAs(lab, "127.0.0.1:8110"), 56, "nothing listens behind it in the guest: reset");
}

async function checkTaken(lab: NetdLab): Promise<void> {
  const warning = "0.0.0.0 and [::], port 8105 of this machine: EADDRINUSE";
  for (const proto of ["tcp", "udp"]) {
    const line = new RegExp(`warning: Cannot forward 0[^\n]*8105[^\n]*EADDRINUSE; ${proto}:8105:\\d+ is reached at`);
    assertMatch(lab.netd.text, line);
  }
  assertStringIncludes(lab.netd.text, warning);
  assertEquals(await seenAs(lab, `${UPLINK}:8105`), PEER);
  assertEquals(await asked(lab, UPLINK, 8105), [UPLINK, PEER]);
  assertEquals(await lab.worldMust("socat", "-u", "TCP:127.0.0.1:8105", "-"), "held\n");
  assertStringIncludes((await lab.natctl("show")).text, `tcp:8105:8082 exposes guest ${GUEST} at ${UPLINK}!8105`);
}

async function checkRunning(lab: NetdLab): Promise<void> {
  const listed = async () => {
    const { text } = await lab.natctl("list");
    return text.split("\n").filter((line) => line.startsWith("tcp:8120"));
  };
  const listening = async () =>
    (await lab.worldMust("ss", "-Hltnu")).split("\n").filter((line) => /:8120\b/.test(line));
  for (const proto of ["tcp", "udp"]) {
    assertEquals((await lab.natctl("add", `${proto}:8120:${proto === "tcp" ? 8082 : 9}`)).code, 0);
  }
  assertEquals(await seenAs(lab, "127.0.0.1:8120"), ROUTER);
  assertEquals(await asked(lab, "::1", 8120), ["::1", ROUTER]);
  assertEquals({ rows: (await listed()).length, sockets: (await listening()).length }, { rows: 1, sockets: 2 });
  for (const proto of ["tcp", "udp"]) {
    assertEquals((await lab.natctl("remove", `${proto}:8120:${proto === "tcp" ? 8082 : 9}`)).code, 0);
  }
  for (const at of ["127.0.0.1", "[::1]", UPLINK]) assertEquals(await seenAs(lab, `${at}:8120`), REFUSED, at);
  assertEquals({ rows: await listed(), sockets: await listening() }, { rows: [], sockets: [] });
  assertEquals((await lab.natctl("add", "tcp:8120:8082")).code, 0, "again");
  assertEquals(await seenAs(lab, "127.0.0.1:8120"), ROUTER);
}

/** An address of the machine is all that such a forward has: without it there is none. */
async function checkRefusals(lab: NetdLab): Promise<void> {
  const tries: [string, RegExp][] = [
    ["tcp:127.0.0.1:8106:80", /127\.0\.0\.1!8106 of this machine: EADDRINUSE/],
    ["udp:127.0.0.1:8106:80", /127\.0\.0\.1!8106 of this machine: EADDRINUSE/],
    ["tcp:192.0.2.9:8500:80", /192\.0\.2\.9!8500 of this machine: EADDRNOTAVAIL/],
    [`tcp:[2001:db8::9]:8500-[${GUEST6}]:80`, /2001:db8::9!8500 of this machine: EADDRNOTAVAIL/],
  ];
  for (const [forward, why] of tries) {
    const { code, text } = await lab.natctl("add", forward);
    assertEquals(code, 1, forward);
    assertMatch(text, why);
  }
  assertEquals((await lab.natctl("add", FORWARDS.at(-1)!)).code, 1, "every address has the port already");
}

machineTest("forwards beside a TAP are ports of the machine, too", netdNeeds("curl", "socat"), async (t) => {
  await using lab = await openNetdLab({ options: OPTIONS, prepare: holdPorts });
  await startServers(lab);
  await t.step(
    "callers of both versions of IP reach the guest, by TCP and UDP, at the machine and at the device",
    () => (
      checkReached(lab)
    ),
  );
  await t.step("large answers come whole, and many at once", () => checkLarge(lab));
  await t.step("one at an address is there alone", () => checkPlaces(lab));
  await t.step("a port that another program has is a warning, and the device's is there", () => checkTaken(lab));
  await t.step("they come and go by natctl, with their sockets", () => checkRunning(lab));
  await t.step("one at an address of the machine that cannot be had is an error", () => checkRefusals(lab));
});

machineTest("forwards beside a TUN are ports of the machine, too", netdNeeds("curl"), async () => {
  await using lab = await openNetdLab({
    uplink: "tun",
    options: ["--ipv6", "--disable-host-loopback", ...FORWARDS.slice(0, 4).flatMap((one) => ["--forward", one])],
  });
  await startServers(lab);
  await checkReached(lab);
});
