/**
 * Forwards of the socket uplink: ports of the machine. Who is called, whom the guest sees, and what cannot be opened.
 *
 * @module
 */

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { GATEWAY, HOST, openUplinkLab, type UplinkLab, uplinkNeeds, VERSIONS, WORLD } from "../../kit/uplink/lab.ts";
import { Child } from "../../kit/netd/netd.ts";
import { READ_BY_TCP } from "../../kit/host/linux.ts";
import { machineTest } from "../../kit/check/skip.ts";

/** An address of IPv6 that the guest has. */
const GUEST6 = "fd00:0:0:2::f";
/** A second address of the machine. */
const SECOND = "198.51.100.9";
const FORWARDS = [
  ["tcp:8082:8082"],
  ["tcp:8100-8102:8081"],
  ["tcp:127.0.0.1:8081:8082"],
  ["udp:9000:9"],
].flatMap(([forward]) => ["--forward", forward!]);

/** As whom the guest's server sees a client at `url`; or curl's status. */
async function seenAs(lab: UplinkLab, where: "host" | "world", url: string): Promise<string | number> {
  const { code, text } = await (where === "world" ? lab.inWorld : lab.onHost).call(lab, [
    ...["curl", "-sS", "-m", "3", `http://${url}/whoami`],
  ]);
  return code === 0 ? text : code;
}

const REFUSED = 7;

/** What the machine does not give is an error that names address, port and reason; nothing of it is left. */
async function checkRefusals(lab: UplinkLab): Promise<void> {
  const held = new Child("nsenter", [`--net=${lab.host.path}`, "socat", "TCP-LISTEN:8400,fork", "EXEC:true"]);
  for (let i = 0; i < 20 && !(await lab.must("host", "ss -Hltn")).includes(":8400"); i++);
  const tries: [string, RegExp][] = [
    ["tcp:8400:80", /port 8400 of this machine: EADDRINUSE/],
    ["tcp:8399-8401:80", /port 8400 of this machine: EADDRINUSE/],
    ["tcp:80:80", /port 80 of this machine: EACCES: see net\.ipv4\.ip_unprivileged_port_start/],
    ["udp:53:53", /port 53 of this machine: EACCES: see net\.ipv4\.ip_unprivileged_port_start/],
    ["tcp:192.0.2.9:8500:80", /192\.0\.2\.9!8500 of this machine: EADDRNOTAVAIL/],
  ];
  for (const [forward, why] of tries) {
    const { code, text } = await lab.natctl("add", forward);
    assertEquals(code, 1, forward);
    assertMatch(text, why);
  }
  // Nothing of the range is left.
  assertEquals((await lab.natctl("add", "tcp:8399:80")).code, 0);
  held.kill("SIGTERM");
  await held.end();
  const child = lab.startNetd("run", "--forward", "tcp:80:80", "--", "true");
  await child.end();
  assertStringIncludes(child.text, "netd: warning: Cannot forward 0.0.0.0 and [::], port 80 of this machine: EACCES");
}

/** Callers by one version of IP, of a guest by the other. */
async function checkOtherVersion(lab: UplinkLab): Promise<void> {
  // A server at every address answers from the one that Linux prefers: it has that from the router's advertisement.
  const preferred =
    `for i in $(seq 50); do ip -6 -o addr show dev tap0 dynamic | grep -q inet6 && break; sleep 0.1; done
    ip -6 route get ${GATEWAY[6]}`;
  const to = / src (\S+)/.exec(await lab.must("guest", preferred))![1];
  const added = await lab.natctl("add", `tcp::8301-[${to}]:8082`);
  assertEquals(added.code, 0, added.text);
  const addedUdp = await lab.natctl("add", `udp::8302-[${to}]:9`);
  assertEquals(addedUdp.code, 0, addedUdp.text);
  assertEquals(await seenAs(lab, "world", `${HOST[4]}:8301`), GATEWAY[6]);
  assertEquals(await seenAs(lab, "world", `[${HOST[6]}]:8301`), WORLD[6]);
  const asked = VERSIONS.flatMap((version) => [9000, 8302].map((port) => ({ to: HOST[version], port, say: {} })));
  const had = await lab.peer<{ by: string; said: { from: string } }>("world", ["ask"], asked);
  assertEquals(had.map(({ by, said }) => [by, said?.from]), [
    [HOST[4], WORLD[4]],
    [HOST[4], GATEWAY[6]],
    [HOST[6], GATEWAY[4]],
    [HOST[6], WORLD[6]],
  ]);
}

/** Callers on the link of the machine, by their link-local addresses. */
async function checkLinkLocal(lab: UplinkLab): Promise<void> {
  const address = await lab.must("host", "ip -6 -o addr show dev h0 scope link");
  const local = /inet6 (fe80\S*)\//.exec(address)![1];
  assertEquals(await lab.must("router", `curl -gsS -m 3 'http://[${local}%25r0]:8082/whoami'`), GATEWAY[4]);
  assertEquals(await lab.must("router", `curl -gsS -m 3 'http://[${local}%25r0]:8300/whoami'`), GATEWAY[6]);
}

/** Forwards at every address, where there is none of IPv6. */
async function checkWithoutIpv6(lab: UplinkLab): Promise<void> {
  await lab.must("host", "sysctl -qw net.ipv6.conf.all.disable_ipv6=1");
  assertEquals((await lab.natctl("add", "tcp:8303:8082")).code, 0);
  assertEquals(await seenAs(lab, "world", `${HOST[4]}:8303`), WORLD[4]);
  assertEquals(await seenAs(lab, "world", `${HOST[4]}:8082`), WORLD[4]);
}

machineTest("socket uplink: forwards are ports of the machine", uplinkNeeds("curl", "socat"), async (t) => {
  const onHost = `ip addr add ${SECOND}/24 dev h0`;
  await using lab = await openUplinkLab({ guestServers: true, options: FORWARDS, onHost });
  await t.step("a caller's address is its own, one of the machine the router's", async () => {
    assertEquals(await seenAs(lab, "world", `${HOST[4]}:8082`), WORLD[4]);
    assertEquals(await seenAs(lab, "world", `${SECOND}:8082`), WORLD[4]);
    assertEquals(await seenAs(lab, "world", `[${HOST[6]}]:8082`), GATEWAY[4], "of the other version of IP");
    for (const own of ["127.0.0.1", "[::1]", HOST[4], SECOND, `[${HOST[6]}]`]) {
      assertEquals(await seenAs(lab, "host", `${own}:8082`), GATEWAY[4], own);
    }
  });
  await t.step("a range leads to as many ports; one without a server resets", async () => {
    assertEquals(await seenAs(lab, "world", `${HOST[4]}:8101`), WORLD[4]);
    const { text } = await lab.inWorld([...READ_BY_TCP, HOST[4], "8100"]);
    assertStringIncludes(text, "ConnectionResetError");
    assertEquals(await seenAs(lab, "world", `${HOST[4]}:8103`), REFUSED);
  });
  await t.step("one at an address is there alone", async () => {
    assertEquals(await seenAs(lab, "host", "127.0.0.1:8081"), GATEWAY[4]);
    assertEquals(await seenAs(lab, "host", `${HOST[4]}:8081`), REFUSED);
    assertEquals(await seenAs(lab, "world", `${HOST[4]}:8081`), REFUSED);
  });
  await t.step("of UDP the answer comes from the address that was asked", async () => {
    const asked = [HOST[4], SECOND].map((to) => ({ to, port: 9000, say: {} }));
    const had = await lab.peer<{ by: string; said: { from: string } }>("world", ["ask"], asked);
    assertEquals(had.map(({ by, said }) => [by, said.from]), [[HOST[4], WORLD[4]], [SECOND, WORLD[4]]]);
    const [own] = await lab.peer<{ by: string; said: { from: string } }>("host", ["ask"], [
      { to: "127.0.0.1", port: 9000, say: {} },
    ]);
    assertEquals([own!.by, own!.said.from], ["127.0.0.1", GATEWAY[4]]);
  });
  await t.step("they come and go by natctl", async () => {
    assertEquals(await seenAs(lab, "world", `${HOST[4]}:8200`), REFUSED);
    assertEquals((await lab.natctl("add", "tcp:8200:8082")).code, 0);
    assertEquals(await seenAs(lab, "world", `${HOST[4]}:8200`), WORLD[4]);
    assertEquals((await lab.natctl("remove", "tcp:8200:8082")).code, 0);
    assertEquals(await seenAs(lab, "world", `${HOST[4]}:8200`), REFUSED);
    assertEquals((await lab.natctl("add", "tcp:8200:8082")).code, 0, "again");
  });
  await t.step("one for IPv6 shows callers of IPv6", async () => {
    const added = await lab.natctl("add", `tcp:[::]:8300-[${GUEST6}]:8082`);
    assertEquals(added.code, 0, added.text);
    assertEquals(await seenAs(lab, "world", `[${HOST[6]}]:8300`), WORLD[6]);
    assertEquals(await seenAs(lab, "host", "[::1]:8300"), GATEWAY[6]);
  });
  await t.step(
    "callers of the other version of IP are the router, for TCP and UDP, and are answered",
    () => checkOtherVersion(lab),
  );
  await t.step("a caller with a link-local address is the router", () => checkLinkLocal(lab));
  await t.step("on a machine without addresses of IPv6 those of IPv4 are there", () => checkWithoutIpv6(lab));
  await t.step("what cannot be opened is named, with its reason", () => checkRefusals(lab));
  await t.step("none is left at netd's end, which is its guest's", async () => {
    lab.guestProcess.kill("SIGKILL");
    assertEquals((await lab.netd.end()).code, 0, lab.netd.text);
    assertEquals(await lab.must("host", "ss -Hltnu sport ge :8080"), "");
  });
});
