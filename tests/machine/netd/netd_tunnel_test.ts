/**
 * Tunnels that Linux makes inside the guest's namespace, behind netd: the card computes no outer checksum for them, but
 * is asked to compute the inner packet's. Inner ping, UDP and TCP reach the other end in the world's namespace.
 *
 * @module
 */

import { assertEquals, assertNotMatch, assertStringIncludes } from "@std/assert";
import { Child, type NetdLab, netdNeeds, openNetdLab, PEER, UPLINK } from "../../kit/netd/netd.ts";
import { bytesOf } from "../../kit/netd/peer.ts";
import { machineTest, type Need } from "../../kit/check/skip.ts";
import { sleep } from "../../kit/tcp/linux.ts";

const GUEST6 = "fd00:0:0:2::f";
const UPLINK6 = "fd99::2";
const PEER6 = "fd99::1";
/** Inside the tunnel: the guest and the world. */
const [HERE, THERE] = ["10.7.0.2", "10.7.0.1"];
const [HERE6, THERE6] = ["fd07::2", "fd07::1"];
const SIZE = 1024 * 1024;

/** A tunnel, and how an end of it is made: `ip` with these arguments, one line each. */
interface Tunnel {
  readonly name: string;
  /** What a kernel must do for it. */
  readonly needs: readonly Need[];
  readonly isV6: boolean;
  /** Whether the tunnel carries IPv6 as well. */
  readonly both: boolean;
  make(local: string, remote: string): string[];
}

const vxlan = (version: 4 | 6, how: string): Tunnel => ({
  name: `VXLAN over IPv${version}${how && ` (${how})`}`,
  needs: ["ip link add t0 type vxlan id 5 remote 192.0.2.1 dstport 4789"],
  isV6: version === 6,
  both: true,
  make: (_, remote) => [
    `link add t0 type vxlan id 5 remote ${remote} dstport 4789 srcport 4789 4790 ${how}`,
  ],
});

const GENEVE: Tunnel = {
  name: "Geneve over IPv4",
  needs: ["ip link add t0 type geneve id 5 remote 192.0.2.1"],
  isV6: false,
  both: true,
  make: (_, remote) => [`link add t0 type geneve id 5 remote ${remote} dstport 6081`],
};

const FOU: Tunnel = {
  name: "IPIP in FOU over IPv4",
  needs: ["ip fou add port 5555 ipproto 4", "ip link add t1 type ipip remote 192.0.2.1"],
  isV6: false,
  both: false,
  make: (local, remote) => [
    "fou add port 5555 ipproto 4",
    `link add t0 type ipip local ${local} remote ${remote} encap fou encap-sport 5555 encap-dport 5555`,
  ],
};

const L2TP: Tunnel = {
  name: "L2TP over IPv4",
  needs: ["ip l2tp add tunnel tunnel_id 1 peer_tunnel_id 1 encap ip local 127.0.0.1 remote 127.0.0.1"],
  isV6: false,
  both: true,
  make: (local, remote) => [
    `l2tp add tunnel tunnel_id 3 peer_tunnel_id 3 encap udp local ${local} remote ${remote} ` +
    "udp_sport 1701 udp_dport 1701",
    "l2tp add session name t0 tunnel_id 3 session_id 1 peer_session_id 1",
  ],
};

const TUNNELS = [vxlan(4, "noudpcsum"), vxlan(4, "udpcsum"), vxlan(6, ""), GENEVE, FOU, L2TP];

/** Makes both ends, each known to the other: no address resolution and no duplicate detection is needed. */
async function openTunnel(lab: NetdLab, tunnel: Tunnel): Promise<void> {
  const [guest, uplink, peer] = tunnel.isV6 ? [GUEST6, UPLINK6, PEER6] : ["10.0.2.15", UPLINK, PEER];
  const addresses = (v4: string, v6: string) => [
    `addr add ${v4}/24 dev t0`,
    `-6 addr add ${v6}/64 dev t0 nodad`,
    "link set t0 up mtu 1280",
  ];
  for (const line of [...tunnel.make(peer, uplink), ...addresses(THERE, THERE6)]) {
    await lab.worldMust("ip", ...line.trim().split(" "));
  }
  for (const line of [...tunnel.make(guest, peer), ...addresses(HERE, HERE6)]) {
    await lab.guestMust("ip", ...line.trim().split(" "));
  }
}

/** Waits until the guest's own IPv6 has an address that is no longer tried. */
async function untilAddress6(lab: NetdLab): Promise<void> {
  const isUp = async () =>
    (await lab.guestMust("ip", "-6", "route", "show", "default")).includes("via fe80::") &&
    !(await lab.guestMust("ip", "-6", "addr", "show", "dev", "tap0")).includes("tentative");
  for (let tries = 0; !await isUp() && tries < 200; tries++) await sleep(20);
}

async function checkTraffic(lab: NetdLab, addr: string): Promise<void> {
  const isV6 = addr.includes(":");
  const host = isV6 ? `[${addr}]` : addr;
  const flag = isV6 ? "-6" : "-4";
  assertStringIncludes(await lab.guestMust("ping", flag, "-c", "2", "-i", "0.05", "-W", "2", addr), "2 received");
  const stdin = bytesOf(1000);
  const udp = await lab.inGuest(["socat", "-t", "0.3", "-", `udp${flag.slice(1)}:${host}:7077`], { stdin });
  assertEquals(udp.bytes, stdin, `${addr}: UDP`);
  // 1 MiB up, counted there; and back from there.
  const up = await lab.inGuest(["curl", flag, "-sS", "-m", "10", "-T", "-", `http://${host}:8099/`], {
    stdin: bytesOf(SIZE),
  });
  const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", bytesOf(SIZE))).toHex();
  assertEquals(up.text, sum, `${addr}: TCP from the guest`);
  const down = await lab.inGuest(["curl", flag, "-sS", "-m", "10", `http://${host}:8099/bytes/${SIZE}`]);
  assertEquals([down.code, down.bytes.length], [0, SIZE], `${addr}: TCP to the guest`);
  assertEquals(
    new Uint8Array(await crypto.subtle.digest("SHA-256", down.bytes as Uint8Array<ArrayBuffer>)).toHex(),
    sum,
  );
}

async function checkTunnel(tunnel: Tunnel, options: readonly string[]): Promise<void> {
  await using lab = await openNetdLab({ options: [...tunnel.isV6 ? ["--ipv6"] : [], ...options] });
  if (tunnel.isV6) await untilAddress6(lab);
  await openTunnel(lab, tunnel);
  const servers = [["UDP6-RECVFROM:7077,fork", "PIPE"], ["TCP6-LISTEN:8099,fork,reuseaddr", "TCP4:127.0.0.1:8080"]];
  for (const args of servers) {
    lab.children.push(new Child("nsenter", [`--net=${lab.world.path}`, "socat", ...args]));
  }
  const listening = async () => (await lab.worldMust("ss", "-Htuln")).match(/:(7077|8099) /g)?.length === 2;
  for (let tries = 0; !await listening() && tries < 200; tries++) await sleep(20);
  await checkTraffic(lab, THERE);
  if (tunnel.both) await checkTraffic(lab, THERE6);
  assertNotMatch((await lab.natctl("stats")).text, /^refused-offload /m);
}

for (const tunnel of TUNNELS) {
  machineTest(
    `netd: ${tunnel.name}, made by the guest's kernel, carries ping, UDP and TCP, with offload and without`,
    [...netdNeeds("ping", "socat", "curl", "ss"), ...tunnel.needs],
    async () => {
      await checkTunnel(tunnel, []);
      await checkTunnel(tunnel, ["--no-offload"]);
    },
  );
}
