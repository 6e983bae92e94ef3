/**
 * What a guest reaches by the socket uplink of the machine itself, from which address the world sees it, and the hops
 * that it sees.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import {
  GATEWAY,
  HOST,
  openUplinkLab,
  ROUTER_HOST_SIDE,
  type UplinkLab,
  uplinkNeeds,
  VERSIONS,
  WORLD,
} from "../../kit/uplink/lab.ts";
import { machineTest } from "../../kit/check/skip.ts";

/** A server of the machine that is bound to every address, and what it says. */
const EVERYWHERE = 7777;
const SECOND = { 4: "198.51.100.9", 6: "2001:db8:1::9" } as const;

const bracketed = (address: string) => address.includes(":") ? `[${address}]` : address;

/** What the guest gets from a URL; or curl's status. */
async function fetched(lab: UplinkLab, address: string, port: number): Promise<string | number> {
  const { code, text } = await lab.inGuest(["curl", "-sS", "-m", "2", `http://${bracketed(address)}:${port}/whoami`]);
  return code === 0 ? text : code;
}

/** Starts what the machine serves: on its loopback, and a datagram server at every address. */
async function serveOnHost(lab: UplinkLab): Promise<void> {
  await lab.serve("host", "127.0.0.1");
  await lab.serve("host", "::1");
  await lab.start("host", "echo", `${EVERYWHERE}`);
}

const NEEDS = uplinkNeeds("curl", "traceroute", "tcpdump");
/** Destinations that Linux, or a translator, takes for the machine's loopback, or for many. */
const NEVER = ["64:ff9b::7f00:1", "2002:7f00:1::1", "::7f00:1", "240.0.0.1"];
/** Metadata services, which this machine has: what they serve is not for guests. */
const METADATA = ["169.254.169.254", "fd00:ec2::254", "fd20:ce::254"];
const REFUSED = 7;

machineTest("socket uplink: the machine, by the router's address", NEEDS, async (t) => {
  const onHost = METADATA.map((address) => `ip addr add ${address} dev lo`).join("; ");
  await using lab = await openUplinkLab({ onHost });
  await serveOnHost(lab);
  for (const version of VERSIONS) {
    await t.step(`IPv${version}: it is the machine's loopback, for TCP, UDP and ping`, async () => {
      assertEquals(await fetched(lab, GATEWAY[version], 8082), version === 4 ? "127.0.0.1" : "::1");
      assertEquals(await fetched(lab, GATEWAY[version], 81), REFUSED);
      const asked = [{ to: GATEWAY[version], say: {} }, { to: GATEWAY[version], port: EVERYWHERE, length: 30_000 }];
      const [own, everywhere] = await lab.peer<{ by: string; same: boolean }>("guest", ["ask"], asked);
      assertEquals(own!.by, GATEWAY[version]);
      assertEquals([everywhere!.by, everywhere!.same], [GATEWAY[version], true], "bound to every address");
      await lab.guestMust("ping", "-c", "1", "-W", "2", GATEWAY[version]);
    });
    await t.step(`IPv${version}: traceroute shows the real hops`, async () => {
      for (const how of [[], ["-I"], ["-T", "-p", "8082"]]) {
        const words = ["traceroute", `-${version}`, "-n", "-q", "1", "-w", "2", "-m", "5", ...how, WORLD[version]];
        const hops = [...(await lab.guestMust(...words)).matchAll(/^ *\d+ +(\S+)/gm)].map(([, hop]) => hop);
        const first = hops[0] === "fd00::2:0:0:0:2" ? GATEWAY[6] : hops[0];
        assertEquals(
          [first, ...hops.slice(1)],
          [GATEWAY[version], ROUTER_HOST_SIDE[version], WORLD[version]],
          `${how}`,
        );
      }
    });
    await t.step(`IPv${version}: pings of any size, and none of the dead`, async () => {
      for (const size of ["0", "1472", "3000", "60000"]) {
        await lab.guestMust("ping", "-c", "1", "-W", "2", "-s", size, WORLD[version]);
      }
      const dead = version === 4 ? "203.0.113.99" : "2001:db8:2::99";
      assertEquals((await lab.inGuest(["ping", "-c", "1", "-W", "1", dead])).code, 1);
    });
  }
  await t.step("nothing else leads there", async () => {
    const had = await lab.peer<{ error: string | null }>("guest", ["try"], [
      ...NEVER.map((to) => ({ to, port: 8082, wait: 1 })),
      ...METADATA.map((to) => ({ to, port: 8082, wait: 1 })),
      ...["239.1.2.3", "ff0e::1234", ...NEVER, ...METADATA].map((to) => ({ to, port: EVERYWHERE, udp: true, wait: 1 })),
    ]);
    assertEquals(had.filter(({ error }) => error === null), []);
  });
});

machineTest("socket uplink: --disable-host-loopback closes the machine", NEEDS, async () => {
  await using lab = await openUplinkLab({ options: ["--disable-host-loopback"] });
  await serveOnHost(lab);
  for (const version of VERSIONS) {
    assert(typeof await fetched(lab, GATEWAY[version], 8082) === "number");
    const closed = [GATEWAY[version], HOST[version]].map((to) => ({ to, port: EVERYWHERE, udp: true, wait: 1 }));
    const had = await lab.peer<{ error: string | null; icmp: string | null }>("guest", ["try"], closed);
    assertEquals(had.filter(({ error }) => error === null), [], "bound to every address");
    assertMatch(`${await fetched(lab, WORLD[version], 8082)}`, /^198\.51|^2001:db8/);
  }
});

machineTest("socket uplink: --outbound-addr is what the world sees, by address or by interface", NEEDS, async () => {
  const onHost = `ip addr add ${SECOND[4]}/24 dev h0; ip link add out0 type veth peer name out1; ip link set out0 up
    ip addr add ${SECOND[6]}/128 dev out0 nodad`;
  await using lab = await openUplinkLab({
    onHost,
    options: ["--outbound-addr", SECOND[4], "--outbound-addr6", "out0"],
  });
  // The router finds the second address of IPv6 on the machine.
  await lab.must("router", `ip -6 route add ${SECOND[6]} via ${HOST[6]}`);
  await lab.must("host", "sysctl -qw net.ipv6.conf.all.forwarding=0");
  for (const version of VERSIONS) {
    assertEquals(await fetched(lab, WORLD[version], 8082), SECOND[version]);
    const [had] = await lab.peer<{ said: { from: string } }>("guest", ["ask"], [{ to: WORLD[version], say: {} }]);
    assertEquals(had!.said.from, SECOND[version], "UDP");
    const seen = lab.must("world", `timeout 3 tcpdump -c 1 -nli w0 'icmp[0] == 8 or icmp6[0] == 128' 2>/dev/null`);
    await new Promise((resolve) => setTimeout(resolve, 300));
    await lab.guestMust("ping", "-c", "1", "-W", "2", WORLD[version]);
    assertMatch(await seen, new RegExp(` ${SECOND[version]} > `), "ping");
  }
  const child = lab.startNetd("run", "--outbound-addr", "192.0.2.1", "--", "true");
  assertEquals((await child.end()).code, 1);
  assertMatch(child.text, /Cannot send from 192\.0\.2\.1 of --outbound-addr: no interface of this machine has it/);
});
