/**
 * netd --ipv6 with Linux' own IPv6 in a namespace behind it, and a world that is another one: addresses from router
 * advertisements, ping, traceroute, curl, dig.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { Child, type NetdLab, netdNeeds, openNetdLab } from "../../kit/netd/netd.ts";
import { bytesOf } from "../../kit/netd/peer.ts";
import { machineTest } from "../../kit/check/skip.ts";
import { sleep } from "../../kit/tcp/linux.ts";

const UPLINK6 = "fd99::2";
const PEER6 = "fd99::1";
/** An address of the world's behind the peer. */
const WORLD6 = "2001:db8:51::1";
const ROUTER6 = "fd00:0:0:2::2";
const DNS6 = "fd00:0:0:2::3";

/** Servers that IPv6 reaches: kit's HTTP at 8086, the client's address at 8087, datagrams back at 8088. */
const SERVERS = [
  ["TCP6-LISTEN:8086,fork,reuseaddr,ipv6only=1", "TCP4:127.0.0.1:8080"],
  ["TCP6-LISTEN:8087,fork,reuseaddr,ipv6only=1", "SYSTEM:echo $SOCAT_PEERADDR"],
  [`UDP6-RECVFROM:8088,fork,bind=[${WORLD6}]`, "PIPE"],
];

/** Without duplicate address detection in the test's own namespaces: that alone takes Linux two seconds. */
async function withoutDad(lab: NetdLab): Promise<void> {
  const quick = "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad";
  await Promise.all([
    lab.worldMust("sh", "-c", `${quick}; ip -6 addr add ${WORLD6}/128 dev lo nodad`),
    lab.guestMust("sh", "-c", quick),
  ]);
}

/** A lab with IPv6, once the guest has a route. */
async function openLab6(options: { configure?: boolean; options?: readonly string[] } = {}): Promise<NetdLab> {
  const { configure = true, options: more = [] } = options;
  const lab = await openNetdLab({ configure, prepare: withoutDad, options: ["--ipv6", ...more] });
  try {
    for (const [from = "", to = ""] of SERVERS) {
      lab.children.push(new Child("nsenter", [`--net=${lab.world.path}`, "socat", from, to]));
    }
    const isUp = async () => (await lab.guestMust("ip", "-6", "route", "show", "default")).includes("via fe80::");
    for (let tries = 0; !await isUp() && tries < 200; tries++) await sleep(20);
    const listening = async () => (await lab.worldMust("ss", "-Htuln6")).match(/:808[678] /g)?.length === 3;
    for (let tries = 0; !await listening() && tries < 200; tries++) await sleep(20);
    return lab;
  } catch (error) {
    await lab[Symbol.asyncDispose]();
    throw error;
  }
}

machineTest(
  "akaros 23: netd --ipv6: Linux takes address and route from the router, and pings and traces the world",
  netdNeeds("ping", "traceroute", "socat", "ss"),
  async () => {
    await using lab = await openLab6({ configure: false, options: ["--mtu", "1400"] });
    await lab.guestMust("ip", "link", "set", "tap0", "up");
    const addresses = await lab.guestMust("ip", "-6", "addr", "show", "dev", "tap0", "scope", "global");
    assertMatch(addresses, /inet6 fd00(:0:0:|::)2:[0-9a-f:]+\/64 scope global .*(dynamic|mngtmpaddr)/);
    const route = await lab.guestMust("ip", "-6", "route", "show", "default");
    assertMatch(route, /^default via fe80::201:2ff:fe03:40a dev tap0 proto ra .*hoplimit 64/m);
    const pings: [string, number][] = [[ROUTER6, 56], [DNS6, 5000], [PEER6, 56], [WORLD6, 1352], [WORLD6, 20_000]];
    await Promise.all(pings.map(async ([addr, size]) => {
      const text = await lab.guestMust("ping", "-6", "-c", "1", "-W", "2", "-s", `${size}`, addr);
      assertStringIncludes(text, " 0% packet loss", `${addr} ${size}`);
    }));
    const hops = await lab.guestMust("traceroute", "-6", "-n", "-q", "1", "-w", "1", "-m", "4", WORLD6);
    assertMatch(hops, /^ 1 +fd00(:0:0:|::)2::2 .*\n 2 +2001:db8:51::1 /m);
  },
);

machineTest(
  "akaros 23: netd --ipv6: TCP, UDP and names over IPv6; the world sees the host, and a closed port refuses",
  netdNeeds("curl", "dig", "socat", "ss"),
  async () => {
    await using lab = await openLab6();
    assertMatch(await lab.guestMust("ip", "-6", "addr", "show", "dev", "tap0"), /inet6 fd00(:0:0:|::)2::f\/64/);
    const size = 1 << 20;
    const [{ code, bytes }, whoami, datagram, name, tcpName, refused, denied] = await Promise.all([
      lab.inGuest(["curl", "-6", "-sS", `http://[${WORLD6}]:8086/bytes/${size}`]),
      lab.guestMust("socat", "-u", `TCP6:[${WORLD6}]:8087`, "-"),
      lab.inGuest(["socat", "-t", "0.6", "-", `UDP6:[${WORLD6}]:8088`], { stdin: bytesOf(3000) }),
      lab.guestMust("dig", `@${DNS6}`, "+short", "AAAA", "gateway.internal"),
      lab.guestMust("dig", `@${DNS6}`, "+tcp", "+short", "x.test"),
      lab.inGuest(["curl", "-6", "-sS", "-m", "3", `http://[${WORLD6}]:9999/`]),
      lab.inGuest(["curl", "-6", "-sS", "-m", "3", `http://[${ROUTER6}]:8086/`]),
    ]);
    assertEquals([code, bytes.length], [0, size]);
    assertEquals(await hash(bytes), await hash(bytesOf(size)), "download");
    assertMatch(whoami, /fd99:(0000:)*.*0002\]?$|^\[?fd99::2\]?$/m);
    assertEquals(await hash(datagram.bytes), await hash(bytesOf(3000)), "datagram");
    assertEquals([name.trim(), tcpName.trim()], ["fd00:0:0:2::2", "192.0.2.77"]);
    assertEquals(refused.code, 7);
    assertMatch(refused.text, /after \d{1,3} ms/);
    // Another machine's ::1 cannot be lent: said at once, not after a time.
    assertEquals(denied.code, 7);
    const upload = await lab.inGuest(["curl", "-6", "-sS", "-T", "-", `http://[${WORLD6}]:8086/`], {
      stdin: bytesOf(size),
    });
    assertEquals(upload.text, await hash(bytesOf(size)), "upload");
    const { text } = await lab.natctl("maps", "tcp");
    assert(text.includes("fd00::2:") || text.includes("fd00:0:0:2:"), text);
    assertStringIncludes(lab.netd.text, `IPv6: the host is ${UPLINK6}/64, gateway ${PEER6}`);
  },
);

machineTest(
  "akaros 17: netd --ipv6: a forward shows the guest's server its client, and what is denied is refused at once",
  netdNeeds("ping", "curl", "socat", "ss"),
  async () => {
    await using lab = await openLab6({
      options: ["--forward", "tcp::8000-[fd00:0:0:2::f]:8089", "--deny", `tcp:[${WORLD6}]:8086`],
    });
    const server = ["socat", "TCP6-LISTEN:8089,fork,reuseaddr,ipv6only=1", "SYSTEM:echo $SOCAT_PEERADDR"];
    lab.children.push(new Child("nsenter", [`--net=${lab.guest.path}`, ...server]));
    const listening = async () => (await lab.guestMust("ss", "-Htln6")).includes(":8089 ");
    for (let tries = 0; !await listening() && tries < 200; tries++) await sleep(20);
    // So that no neighbour discovery is needed.
    await lab.guestMust("ping", "-6", "-c", "1", "-I", "fd00:0:0:2::f", ROUTER6);
    const client = await lab.worldMust("socat", "-u", `TCP6:[${UPLINK6}]:8000,bind=[${WORLD6}]`, "-");
    assertMatch(client, /2001:0?db8:0?0?51:.*1\]?$/m);
    const denied = await lab.inGuest(["curl", "-6", "-sS", "-m", "3", `http://[${WORLD6}]:8086/whoami`]);
    assertEquals(denied.code, 7);
    assertMatch((await lab.natctl("stats")).text, /^refused-policy-denied [1-9]/m);
  },
);

machineTest(
  "RFC 8200 5: netd --ipv6 --mtu 1280: datagrams of every size come back once the world knows the guest's MTU",
  netdNeeds("socat", "ss"),
  async () => {
    await using lab = await openLab6({ options: ["--mtu", "1280"] });
    const ask = async (size: number, seconds: string) => {
      const to = `UDP6:[${WORLD6}]:8088`;
      return (await lab.inGuest(["socat", "-b", "65536", "-t", seconds, "-", to], { stdin: bytesOf(size) })).bytes;
    };
    // The answer to the first is too big in one piece: the world hears of it, and cuts from then on.
    await ask(1400, "0.1");
    const sizes = [1232, 1233, 1300, 1400, 1452, 1453, 3000];
    const answers = await Promise.all(sizes.map((size) => ask(size, "0.6")));
    assertEquals(answers.map((bytes) => bytes.length), sizes);
    for (const [i, bytes] of answers.entries()) assertEquals(await hash(bytes), await hash(bytesOf(sizes[i]!)));
  },
);

async function hash(bytes: Uint8Array): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>)).toHex();
}
