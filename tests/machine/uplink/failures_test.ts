/**
 * What a guest sees of a connection that its machine cannot make: each failure as it came, from who found it.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import {
  GATEWAY,
  openUplinkLab,
  ROUTER_HOST_SIDE,
  type UplinkLab,
  uplinkNeeds,
  VERSIONS,
  WORLD,
} from "../../kit/uplink/lab.ts";
import { machineTest } from "../../kit/check/skip.ts";

/** What an attempt of peer.py ended with. */
interface Ended {
  readonly error: string | null;
  readonly ms: number;
  /** Type and code of the ICMP error, and who sent it. */
  readonly icmp: string | null;
  readonly by: string | null;
}

type Both = { readonly 4: string; readonly 6: string };

/** One line of the table: who fails, how it is made, and what the guest must see. */
interface Row {
  readonly name: string;
  readonly to: Both;
  readonly port?: number;
  /** Where a route of a kind is set for the destination. */
  readonly route?: readonly ["host" | "router", "unreachable" | "prohibit" | "blackhole" | "throw"];
  /** It takes the machine some seconds to find out. */
  readonly isSlow?: true;
  /** A verdict of the router's firewall. */
  readonly reject?: string | Both;
  /** Type and code of the error by which the router answers. */
  readonly forged?: Both;
  /** The machine's own firewall drops it. */
  readonly isDropped?: true;
  readonly error: string | Both;
  readonly icmp: Both | null;
  readonly by: Both | null;
  /** What a datagram gets, where it differs. */
  readonly udp?: { readonly error: string | Both; readonly icmp: Both | null; readonly by: Both | null };
}

const address = (n: number): Both => ({ 4: `192.0.2.${n}`, 6: `2001:db8:3::${n}` });
const both = (v4: string, v6: string): Both => ({ 4: v4, 6: v6 });
/** Linux' names for "prohibited" differ by version. */
const PROHIBITED = both("EHOSTUNREACH", "EACCES");
const PORT_UNREACHABLE = both("3/3", "1/4");
const TABLE: readonly Row[] = [
  {
    name: "a closed port",
    to: WORLD,
    port: 99,
    error: "ECONNREFUSED",
    icmp: null,
    by: null,
    udp: { error: "ECONNREFUSED", icmp: PORT_UNREACHABLE, by: WORLD },
  },
  {
    name: "port unreachable, from the router",
    to: address(1),
    reject: "reject with icmpx type port-unreachable",
    error: "ECONNREFUSED",
    icmp: null,
    by: null,
    udp: { error: "ECONNREFUSED", icmp: PORT_UNREACHABLE, by: ROUTER_HOST_SIDE },
  },
  {
    name: "host unreachable, from the router",
    to: address(2),
    reject: "reject with icmpx type host-unreachable",
    error: "EHOSTUNREACH",
    icmp: both("3/1", "1/3"),
    by: ROUTER_HOST_SIDE,
  },
  // Linux as a router sends a handful of such errors to one host, and then one a second.
  {
    name: "no route at the router",
    to: address(3),
    route: ["router", "throw"],
    error: "ENETUNREACH",
    icmp: both("3/0", "1/0"),
    by: ROUTER_HOST_SIDE,
  },
  {
    name: "a filter's reject at the router",
    to: address(5),
    reject: "reject with icmpx type admin-prohibited",
    error: PROHIBITED,
    icmp: both("3/13", "1/1"),
    by: ROUTER_HOST_SIDE,
  },
  {
    name: "a route of the machine that is unreachable",
    to: address(6),
    route: ["host", "unreachable"],
    error: "EHOSTUNREACH",
    icmp: both("3/1", "1/3"),
    by: GATEWAY,
  },
  {
    name: "a route of the machine that is prohibited",
    to: address(7),
    route: ["host", "prohibit"],
    error: PROHIBITED,
    icmp: both("3/13", "1/1"),
    by: GATEWAY,
  },
  {
    name: "a route of the machine that is a black hole",
    to: address(8),
    route: ["host", "blackhole"],
    error: "timeout",
    icmp: null,
    by: null,
  },
  {
    name: "protocol unreachable (3/2), of IPv6 the source address failed a policy (1/5)",
    to: address(10),
    reject: both("reject with icmp type prot-unreachable", "reject with icmpv6 type policy-fail"),
    error: both("ENOPROTOOPT", "EACCES"),
    icmp: both("3/2", "1/5"),
    by: ROUTER_HOST_SIDE,
  },
  {
    name: "network prohibited (3/9), of IPv6 a route that rejects (1/6)",
    to: address(11),
    reject: both("reject with icmp type net-prohibited", "reject with icmpv6 type reject-route"),
    error: both("ENETUNREACH", "EACCES"),
    icmp: both("3/9", "1/6"),
    by: ROUTER_HOST_SIDE,
  },
  {
    name: "host prohibited (3/10), of IPv6 an address that is unreachable",
    to: address(12),
    reject: both("reject with icmp type host-prohibited", "reject with icmpv6 type addr-unreachable"),
    error: "EHOSTUNREACH",
    icmp: both("3/10", "1/3"),
    by: ROUTER_HOST_SIDE,
  },
  {
    name: "host unknown (3/7), of IPv6 beyond the scope of the source (1/2)",
    to: address(13),
    reject: "drop",
    forged: both("3/7", "1/2"),
    error: both("EHOSTDOWN", "EHOSTUNREACH"),
    icmp: both("3/7", "1/2"),
    by: ROUTER_HOST_SIDE,
  },
  {
    name: "source isolated (3/8), of IPv6 no route",
    to: address(14),
    reject: "drop",
    forged: both("3/8", "1/0"),
    error: both("ENONET", "ENETUNREACH"),
    icmp: both("3/8", "1/0"),
    by: ROUTER_HOST_SIDE,
  },
  {
    name: "a firewall of the machine that drops (EPERM)",
    to: address(15),
    isDropped: true,
    error: "timeout",
    icmp: null,
    by: null,
    udp: { error: PROHIBITED, icmp: both("3/13", "1/1"), by: GATEWAY },
  },
  { name: "a router that loses all", to: address(9), reject: "drop", error: "timeout", icmp: null, by: null },
  {
    name: "a neighbour of the machine that is dead",
    isSlow: true,
    to: both("198.51.100.77", "2001:db8:1::77"),
    error: "EHOSTUNREACH",
    icmp: both("3/1", "1/3"),
    by: GATEWAY,
  },
];

/** A neighbour is given up after three questions, a second apart. */
const WAIT_S = 4;

async function breakWays(lab: UplinkLab): Promise<void> {
  const rules = ["add table inet broken", "add chain inet broken way { type filter hook forward priority 0; }"];
  const routes = { host: [] as string[], router: [] as string[] };
  const forgeries: Record<string, number[]> = {};
  const drops = ["add table inet broken", "add chain inet broken out { type filter hook output priority 0; }"];
  for (const { to, route, reject, forged, isDropped } of TABLE) {
    for (const version of VERSIONS) {
      if (forged !== undefined) forgeries[to[version]] = forged[version].split("/").map(Number);
      if (isDropped === true) {
        drops.push(`add rule inet broken out ${version === 4 ? "ip" : "ip6"} daddr ${to[version]} drop`);
      }
    }
    if (route !== undefined) {
      for (const version of VERSIONS) routes[route[0]].push(`ip -${version} route add ${route[1]} ${to[version]}`);
    }
    if (reject === undefined) continue;
    const { 4: reject4, 6: reject6 } = typeof reject === "string" ? both(reject, reject) : reject;
    rules.push(`add rule inet broken way ip daddr ${to[4]} ${reject4}`);
    rules.push(`add rule inet broken way ip6 daddr ${to[6]} ${reject6}`);
  }
  await lab.must("router", [...routes.router, `nft '${rules.join("; ")}'`].join("\n"));
  await lab.must("host", [...routes.host, `nft '${drops.join("; ")}'`].join("\n"));
  await lab.start("router", "forge", "r0", JSON.stringify(forgeries));
}

/** Waits until netd has no connection, or 20 seconds; how many it has. */
async function connectionsLeft(lab: UplinkLab): Promise<number> {
  const count = async () => Number(/uplink-connections (\d+)/.exec((await lab.natctl("stats")).text)![1]);
  for (let i = 0; i < 100 && await count() > 0; i++) await new Promise((resolve) => setTimeout(resolve, 200));
  return await count();
}

/** The line of the table as its message: what is expected and what was had. */
const shown = ({ name }: Row, version: 4 | 6, what: string) => `${name}, IPv${version}, ${what}`;

machineTest(
  "socket uplink: a connection fails as the machine's own would, and the guest hears it from who found it",
  uplinkNeeds("nft"),
  async () => {
    await using lab = await openUplinkLab();
    await breakWays(lab);
    const tries = TABLE.flatMap((row) =>
      VERSIONS.flatMap((version) => [false, true].map((udp) => ({ row, version, udp })))
    );
    const asked = tries.map(({ row, version, udp }) => ({
      to: row.to[version],
      port: row.port ?? 9,
      udp,
      wait: WAIT_S,
    }));
    const got = await lab.peer<Ended>("guest", ["try"], asked);
    const had = tries.map(({ row, version, udp }, i) => {
      const { error, icmp, by } = got[i]!;
      return { what: shown(row, version, udp ? "UDP" : "TCP"), error, icmp, by };
    });
    const wanted = tries.map(({ row, version, udp }) => {
      const { error, icmp, by } = udp ? { ...row, ...row.udp } : row;
      return {
        what: shown(row, version, udp ? "UDP" : "TCP"),
        error: typeof error === "string" ? error : error[version],
        icmp: icmp?.[version] ?? null,
        by: by?.[version] ?? null,
      };
    });
    assertEquals(had, wanted);
    // What fails at all fails at once, but for the neighbour, of whom the machine first asks.
    const slow = got.filter(({ error, ms }, i) => error !== "timeout" && ms > 2500 && tries[i]!.row.isSlow !== true);
    assertEquals(slow, []);

    // A scan of addresses that lose everything: the connections behind it are made all the same.
    const lost = TABLE.find(({ reject, forged }) => reject === "drop" && forged === undefined)!.to[4];
    const scanning = lab.peer("guest", ["scan", lost, 1100, 2.2]);
    assertEquals(await scanning, [{ begun: 1100, answered: 0 }]);
    const [live] = await lab.peer<Ended>("guest", ["try"], [{ to: WORLD[4], wait: 1.5 }]);
    assertEquals(live!.error, null);
    // The scan has given up: what the machine tries for it ends long before the machine would.
    assertEquals(await connectionsLeft(lab), 0);

    await lab.must("host", "sysctl -qw net.ipv6.conf.all.disable_ipv6=1");
    const without = await lab.peer<Ended>("guest", ["try"], [{ to: WORLD[6] }, { to: WORLD[6], udp: true }]);
    for (const { error, icmp, by, ms } of without) {
      assertEquals(
        { error, icmp, by },
        { error: "ENETUNREACH", icmp: "1/0", by: GATEWAY[6] },
        "no IPv6 on the machine",
      );
      assert(ms < 500, `a client tries IPv4 only after ${ms} ms`);
    }
  },
);
