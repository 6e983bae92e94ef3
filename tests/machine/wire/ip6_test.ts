/**
 * IPv6 with Linux as the neighbour, on TAP and TUN: its pings, its neighbour table, its traceroute and its sockets.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { Block, Segment } from "../../../kernel/block.ts";
import { Capture } from "../../../tools/scenario/capture.ts";
import { pattern, udpPacket } from "../../kit/ip/ip_fixture.ts";
import { BYPASS_PORT, DEVICE, ECHO_PORT, type Lab, labNeeds, openLab } from "../../kit/host/linux.ts";
import { machineTest } from "../../kit/check/skip.ts";
import { CHUNK, openTcpLab, sleep, type TcpLab } from "../../kit/tcp/linux.ts";
import { serveHttp } from "../../kit/tcp/http.ts";
import { firstWord, Hash, randomFile, withDir } from "../../kit/host/files.ts";
import { MALFORMED, tsharkLines } from "../../kit/host/tshark.ts";

/** Linux' address and the host's, of a net of their own. */
const LINUX6 = "fd99::1";
const HOST6 = "fd99::2";

/** Gives both ends of a lab IPv6 addresses; if that fails, the lab ends. */
async function withIpv6<L extends Lab | TcpLab>(lab: L): Promise<L> {
  try {
    const setup = lab.host.spawn("setup");
    await setup.writeText("/net/ipifc/1/ctl", `add ${HOST6} /64`);
    setup.exit();
    await lab.mustRun(["ip", "-6", "addr", "add", `${LINUX6}/64`, "dev", DEVICE, "nodad"]);
  } catch (error) {
    await lab[Symbol.asyncDispose]();
    throw error;
  }
  return lab;
}

async function openLab6(wire: "tap" | "tun"): Promise<Lab> {
  return await withIpv6(await openLab(wire));
}

/** Pings of these sizes, each answered whole. */
async function pings(lab: Lab, sizes: readonly number[]): Promise<void> {
  await Promise.all(sizes.map(async (size) => {
    const text = await lab.mustRun(["ping", "-6", "-c", "1", "-s", `${size}`, "-M", "dont", HOST6]);
    assertStringIncludes(text, " 0% packet loss", `${size}`);
  }));
}

machineTest(
  "tap: Linux pings us over IPv6 in every size, and finds us in its neighbour table",
  labNeeds("ping"),
  async () => {
    await using lab = await openLab6("tap");
    await pings(lab, [0, 1, 56, 1452, 1453, 9000, 65_507]);
    assertMatch(await lab.mustRun(["ip", "-6", "neigh", "show", HOST6]), /lladdr [0-9a-f:]+ (REACHABLE|DELAY|STALE)/);
    assertMatch(await lab.text("/net/arp"), new RegExp(`^ether (OK|STALE|DELAY) ${LINUX6} [0-9a-f]{12}$`, "m"));
  },
);

machineTest("tun: Linux pings us over IPv6 in every size", labNeeds("ping"), async () => {
  await using lab = await openLab6("tun");
  await pings(lab, [0, 1452, 1453, 65_507]);
});

machineTest("tap: traceroute finds us, and a closed port is refused", labNeeds("traceroute"), async () => {
  await using lab = await openLab6("tap");
  const text = await lab.mustRun(["traceroute", "-6", "-n", "-q", "1", "-m", "3", HOST6]);
  assertMatch(text, /^ 1 +fd99::2 +[\d.]+ ms$/m);
});

machineTest(
  "tap and tun: Linux' datagrams come back, from a program and from a bypass",
  labNeeds("socat"),
  async () => {
    for (const wire of ["tap", "tun"] as const) {
      await using lab = await openLab6(wire);
      for (const port of [ECHO_PORT, BYPASS_PORT]) {
        const stdin = new TextEncoder().encode("over six");
        const { text } = await lab.run(["socat", "-t", "0.05", "-T", "0.1", "-", `UDP6:[${HOST6}]:${port}`], { stdin });
        assertEquals(text, "over six", `${wire} ${port}`);
      }
      assert(lab.programErrors.length === 0, lab.programErrors.join());
    }
  },
);

machineTest("tap: an address that Linux has is not taken (duplicate address detection)", labNeeds(), async () => {
  await using lab = await openLab6("tap");
  await lab.command("/net/ipifc/1/ctl", `try ${LINUX6} /64`);
  await lab.command("/net/ipifc/1/ctl", "try fd99::3 /64");
  const stat = async (name: string) =>
    new RegExp(`^${name}: (\\d+)$`, "m").exec(await lab.text("/net/ipifc/stats"))?.[1];
  for (let tries = 0; await stat("NdDuplicate") === "0" && tries < 400; tries++) await sleep(5);
  assertEquals(await stat("NdDuplicate"), "1");
  const status = await lab.text("/net/ipifc/1/status");
  assertEquals([status.includes(`\t${LINUX6} `), status.includes("\tfd99::3 ")], [false, true]);
});

// --- TCP

const PORT = 5001;
const MIB = 8;

/** The host reads what a stream of Linux brings; the hash of it. */
async function hashOfCall(lab: TcpLab): Promise<{ done: Promise<string> }> {
  const server = await lab.announce(PORT);
  const take = async () => {
    const call = await lab.accept(server);
    await using hash = new Hash();
    const buf = new Uint8Array(CHUNK);
    for (let got = 0; (got = await lab.proc.read(call.data, buf)) > 0;) await hash.add(buf.subarray(0, got));
    lab.close(call);
    lab.close(server);
    return await hash.end();
  };
  return { done: take() };
}

/** Connects to Linux, where a server may be just about to listen. */
async function dial6(lab: TcpLab, port: number) {
  for (let tries = 0;; tries++) {
    try {
      return await lab.host.dial(`tcp!${LINUX6}!${port}`);
    } catch (error) {
      if (tries > 500) throw error;
      await sleep(5);
    }
  }
}

machineTest(
  "tcp over IPv6: megabytes each way have the right hash, as 64 KiB segments",
  labNeeds("socat"),
  async () => {
    const whole = { in: 0, out: 0 };
    await using lab = await withIpv6(
      await openTcpLab({
        offload: true,
        observe: (direction, block) => {
          if (block.segment === Segment.Tcp6) whole[direction === "in" ? "in" : "out"]++;
        },
      }),
    );
    await withDir(async (dir) => {
      const file = await randomFile(dir, MIB);
      const taken = await hashOfCall(lab);
      await lab.mustRun(["socat", "-u", "-b", `${CHUNK}`, `OPEN:${file.path}`, `TCP6:[${HOST6}]:${PORT}`]);
      assertEquals(await taken.done, file.hash);
      const line = `socat -u -b ${CHUNK} TCP6-LISTEN:${PORT},reuseaddr - | sha256sum`;
      const taker = lab.run(["sh", "-c", line]);
      const conn = await dial6(lab, PORT);
      const writer = conn.writable.getWriter();
      await writer.write(await Deno.readFile(file.path));
      await writer.close();
      assertEquals(firstWord((await taker).text), file.hash);
      conn.close();
    });
    const { RetransTimeouts, InErrs } = await lab.stats();
    assertEquals([RetransTimeouts, InErrs], [0, 0]);
    assert(whole.in > 20 && whole.out > 20, JSON.stringify(whole));
  },
);

machineTest("curl over IPv6 gets a page, and is refused at a closed port", labNeeds("curl"), async () => {
  await using lab = await withIpv6(await openTcpLab());
  await serveHttp(lab);
  assertStringIncludes(await lab.mustRun(["curl", "-sS", `http://[${HOST6}]/six`]), "you asked for /six");
  const { text } = await lab.run(["curl", "-sS", `http://[${HOST6}]:9/`]);
  assertMatch(text, /refused|Failed to connect|Could not connect/);
});

// --- the way beyond

/** Makes Linux a router to a net behind a link of `mtu` bytes. */
async function routerTo(lab: Lab | TcpLab, net: string, mtu: number): Promise<void> {
  const line = [
    `ip link add far0 type veth peer name far1 && ip link set far1 up && ip link set far0 mtu ${mtu} up`,
    `ip -6 addr add ${net}1/64 dev far0 nodad && ip -6 neigh add ${net}9 lladdr 02:00:00:00:99:99 dev far0`,
    "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding",
  ].join(" && ");
  await lab.mustRun(["sh", "-c", line]);
  const setup = lab.host.spawn("setup");
  await setup.writeText("/net/iproute", `add :: /0 ${LINUX6}`);
  setup.exit();
}

machineTest("a router's 'packet too big' makes our datagrams smaller", labNeeds(), async () => {
  await using lab = await openLab6("tap");
  await routerTo(lab, "fd98::", 1280);
  const proc = lab.host.spawn("sender");
  const conv = await proc.dial("udp!fd98::9!7");
  await proc.write(conv.data, pattern(1400));
  const { pathMtus } = lab.host.ip.stack(0);
  for (let tries = 0; pathMtus.size === 0 && tries < 400; tries++) await sleep(5);
  await proc.write(conv.data, pattern(1400));
  assertMatch(await lab.text("/net/ipifc/stats"), /^FragCreates: 2$/m);
  for (let tries = 0; tries < 400; tries++) {
    if (/TX:[^\n]*\n +\d+ +[2-9]/.test(await lab.mustRun(["ip", "-s", "link", "show", "far0"]))) break;
    await sleep(5);
  }
  assertMatch(await lab.mustRun(["ip", "-s", "link", "show", "far0"]), /TX:[^\n]*\n +\d+ +[2-9]/);
  proc.exit();
});

// --- form

machineTest("tshark finds nothing malformed in what we send over IPv6", labNeeds("tshark", "curl"), async () => {
  await withDir(async (dir) => {
    const pcap = `${dir}/six.pcapng`;
    const capture = new Capture(pcap);
    try {
      await using lab = await withIpv6(await openTcpLab({ observe: capture.wire("wire", "frame") }));
      await serveHttp(lab);
      await lab.mustRun(["curl", "-sS", `http://[${HOST6}]/`]);
      await lab.run(["curl", "-sS", `http://[${HOST6}]:9/`]);
      await lab.mustRun(["ping", "-6", "-c", "1", "-s", "5000", "-M", "dont", HOST6]);
      await lab.run(["sh", "-c", `echo x | timeout 0.2 nc -u -w 1 ${HOST6} 9`]);
    } finally {
      capture.close();
    }
    const ours = `ipv6.src == ${HOST6} || ipv6.src == fe80::/10`;
    const all = await tsharkLines(pcap, ours);
    assert(all.length > 12, all.join("\n"));
    for (
      const sign of [
        "ICMPv6",
        "TCP",
        "IPv6 fragment",
        "Neighbor Advertisement",
        "Unreachable",
        "Multicast Listener Report",
      ]
    ) {
      assert(all.some((line) => line.includes(sign)), `${sign} in\n${all.join("\n")}`);
    }
    assertEquals(await tsharkLines(pcap, MALFORMED), []);
    const bad = ["tcp", "udp", "icmpv6"].map((name) => `${name}.checksum.status == "Bad"`).join(" || ");
    assertEquals(await tsharkLines(pcap, `(${ours}) && (${bad})`), []);
  });
});

machineTest(
  "tshark's guess from a port drawn at random is no fault, a broken question is",
  ["tool:tshark"],
  async () => {
    await withDir(async (dir) => {
      const pcap = `${dir}/guesses.pcapng`;
      const capture = new Capture(pcap);
      const observe = capture.wire("wire", "packet");
      // TZSP (37008) and DNS (53), of neither of which this is any.
      for (const dstPort of [37008, 53]) {
        observe("out", Block.from(udpPacket({ dstPort, payload: new Uint8Array(80).fill(0xdc) })), 0);
      }
      capture.close();
      assertEquals((await tsharkLines(pcap, "_ws.malformed")).length, 2);
      const [only, ...more] = await tsharkLines(pcap, MALFORMED);
      assertStringIncludes(only ?? "", "DNS");
      assertEquals(more, []);
    });
  },
);
