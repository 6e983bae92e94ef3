/**
 * The stack against Linux' own tools: ping, arping, traceroute, socat, nc. Each test is a host on a device in a network
 * namespace of its own; closing the lab asserts that nothing is left and that Linux found no fault with our packets.
 *
 * @module
 */

import { assert, assertEquals, assertFalse, assertGreater, assertMatch, assertStringIncludes } from "@std/assert";
import { openTun } from "../../../devices/host/tun.ts";
import { createNetns } from "../../../devices/host/netns.ts";
import type { IpifcProto } from "../../../devices/ip/files/ipifc_proto.ts";
import { PROGRAM_TTL } from "../../../tools/scenario/programs.ts";
import { pattern } from "../../kit/ip/ip_fixture.ts";
import {
  addInterface,
  BYPASS_PING_ID,
  BYPASS_PORT,
  DEVICE,
  ECHO_PORT,
  HOST,
  type Lab,
  labNeeds,
  LINUX,
  numberBefore,
  openLab,
  runTool,
} from "../../kit/host/linux.ts";
import { aloneTest, machineTest } from "../../kit/check/skip.ts";

/**
 * One ping, which must be answered; what ping wrote. One only: for the answer to the last of several it waits no longer
 * than twice the usual time, which a busy machine may exceed.
 */
async function pingOnce(lab: Lab, ...options: string[]): Promise<string> {
  const text = await lab.mustRun(["ping", "-n", "-c", "1", ...options, HOST]);
  assertStringIncludes(text, "1 packets transmitted, 1 received, 0% packet loss");
  return text;
}

/** Many pings at once, of which we must answer all, and ping must see most; counters raised. */
async function pingMany(lab: Lab, count: number, ...options: string[]): Promise<Record<string, number>> {
  const raised = await lab.raised(async () => {
    const text = await lab.mustRun(["ping", "-n", "-q", "-c", `${count}`, ...options, HOST]);
    assertGreater(numberBefore(text, "received"), count * 0.9, text);
  });
  assertEquals([raised["icmp.EchoRequest.in"], raised["icmp.EchoReply.out"]], [count, count]);
  assertEquals([raised["ipifc.InDelivers"], raised["ipifc.OutRequests"]], [count, count]);
  return raised;
}

for (const wire of ["tap", "tun"] as const) {
  machineTest(`ping over ${wire}: every request is answered and counted`, labNeeds("ping"), async () => {
    await using lab = await openLab(wire);
    const raised = await lab.raised(async () => {
      assertMatch(await pingOnce(lab), /64 bytes from 10\.99\.0\.2: icmp_seq=1 ttl=255/);
    });
    assertEquals([raised["icmp.EchoRequest.in"], raised["icmp.EchoReply.out"]], [1, 1]);
    await pingMany(lab, 100, "-i", "0.002");
  });

  machineTest(`ping over ${wire}: large ones are put together and cut again`, labNeeds("ping"), async () => {
    await using lab = await openLab(wire);
    const refused = await lab.refusals(async () => {
      const raised = await lab.raised(() => pingOnce(lab, "-s", "8000"));
      // 8008 bytes of ICMP are six fragments of at most 1480.
      assertEquals([raised["ipifc.ReasmReqds"], raised["ipifc.ReasmOKs"]], [6, 1]);
      assertEquals([raised["ipifc.FragCreates"], raised["ipifc.FragOKs"]], [6, 1]);
      await pingOnce(lab, "-s", "65507");
      await pingOnce(lab, "-M", "do", "-s", "1472");
      const { code, text } = await lab.run(["ping", "-c", "1", "-W", "0.2", "-M", "do", "-s", "1473", HOST]);
      assertEquals(code, 1);
      assertStringIncludes(text, "message too long, mtu=1500");
    });
    assertEquals(refused, {});
  });

  machineTest(`ping over ${wire}: a burst is answered without a loss`, labNeeds("ping"), async () => {
    await using lab = await openLab(wire);
    assertEquals(await lab.refusals(() => pingMany(lab, 5000, "-f", "-l", "50", "-s", "1400")), {});
  });

  machineTest(`ping over ${wire}: a bypassed identifier is the program's`, labNeeds("ping"), async () => {
    await using lab = await openLab(wire);
    const raised = await lab.raised(async () => {
      const text = await pingOnce(lab, "-e", `${BYPASS_PING_ID}`, "-s", "4000");
      assertStringIncludes(text, `4008 bytes from ${HOST}: icmp_seq=1 ttl=${PROGRAM_TTL} `);
    });
    assertEquals([raised["icmp.EchoRequest.in"], raised["icmp.EchoReply.out"]], [1, undefined]);
  });

  machineTest(`udp over ${wire}: datagrams of many sizes come back`, labNeeds("socat"), async () => {
    await using lab = await openLab(wire);
    const refused = await lab.refusals(async () => {
      const exchange = async (port: number, size: number) => {
        const stdin = pattern(size, size);
        const to = `udp-datagram:${HOST}:${port}`;
        const { bytes } = await lab.run(["socat", "-b", "65536", "-t", "1", "-", to], { stdin });
        assertEquals(bytes, stdin, `${size} bytes to port ${port}`);
      };
      const sizes = [1, 1472, 1473, 9000];
      await Promise.all([ECHO_PORT, BYPASS_PORT].flatMap((port) => sizes.map((size) => exchange(port, size))));
    });
    assertEquals(refused, {});
  });
}

machineTest("ping with IP options is answered", labNeeds("ping"), async () => {
  await using lab = await openLab("tap");
  const refused = await lab.refusals(async () => {
    for (const options of [["-R"], ["-T", "tsonly"], ["-T", "tsandaddr"], ["-T", "tsprespec", LINUX, HOST]]) {
      await pingOnce(lab, ...options);
      await pingOnce(lab, "-s", "3000", ...options);
    }
  });
  assertEquals(refused, {});
});

machineTest("ping: neither a dead address nor a broadcast is answered", labNeeds("ping"), async () => {
  await using lab = await openLab("tap");
  const refused = await lab.refusals(async () => {
    const dead = ["ping", "-c", "1", "-W", "1", "10.99.0.77"];
    const broadcast = ["ping", "-b", "-c", "1", "-W", "1", "10.99.0.255"];
    for (const { code, text } of await Promise.all([lab.run(dead), lab.run(broadcast)])) {
      assertEquals(code, 1);
      assertStringIncludes(text, "1 packets transmitted, 0 received");
    }
  });
  assertEquals(refused, { "icmp.GroupEchos": 1 });
});

machineTest("arping finds the host, and no other", labNeeds("arping"), async () => {
  await using lab = await openLab("tap");
  const mac = /addr: (\w+)/.exec(await lab.text("/net/ether0/stats"))![1]!.toUpperCase().match(/../g)!.join(":");
  const arping = (...options: string[]) => lab.run(["arping", "-I", DEVICE, "-w", "2", ...options]);
  const refused = await lab.refusals(async () => {
    const found = await arping("-c", "1", HOST);
    assertEquals(found.code, 0);
    assertStringIncludes(found.text, `Unicast reply from ${HOST} [${mac}]`);
    const duplicate = await arping("-D", "-c", "1", HOST);
    assertEquals(duplicate.code, 1, "the address is taken");
    assertStringIncludes(duplicate.text, `Unicast reply from ${HOST} [${mac}]`);
    const [foreign, free] = await Promise.all([
      arping("-c", "1", "-w", "1", "10.99.0.77"),
      arping("-D", "-c", "1", "-w", "1", "10.99.0.78"),
    ]);
    assertEquals([foreign.code, free.code], [1, 0]);
    for (const { text } of [foreign, free]) assertStringIncludes(text, "Received 0 response(s)");
  });
  assertEquals(refused, {});
  assertMatch(await lab.text("/net/arp"), new RegExp(`^ether OK ${LINUX} [0-9a-f]{12}\n$`), "one neighbour is known");
});

machineTest("a gratuitous ARP teaches nothing", labNeeds("arping"), async () => {
  await using lab = await openLab("tap");
  const announce = (kind: string) => lab.run(["arping", "-I", DEVICE, kind, "-c", "1", "-w", "1", LINUX]);
  // An unsolicited reply has a counter; a request for another station's address is ordinary.
  assertEquals(await lab.refusals(() => Promise.all([announce("-A"), announce("-U")])), { "ipifc.ArpUnsolicited": 1 });
  assertEquals(await lab.text("/net/arp"), "");
});

for (const wire of ["tap", "tun"] as const) {
  machineTest(`traceroute over ${wire}: one hop, by any method`, labNeeds("traceroute"), async () => {
    await using lab = await openLab(wire);
    const hops = async (...options: string[]) => {
      const text = await lab.mustRun(["traceroute", "-n", "-w", "1", "-N", "3", ...options]);
      const lines = text.trim().split("\n").slice(1);
      assertEquals(lines.length, 1, text);
      assertMatch(lines[0]!, /^ 1 {2}10\.99\.0\.2( {2}[\d.]+ ms){3}$/);
    };
    const refused = await lab.refusals(async () => {
      await hops(HOST);
      await hops("-I", HOST);
      await hops(HOST, "3000");
      await hops("-U", "-p", `${ECHO_PORT}`, HOST);
      await hops("-U", "-p", `${BYPASS_PORT}`, HOST);
    });
    assertEquals(Object.keys(refused), ["udp.NoPorts"]);
    const { "udp.NoPorts": noPorts, "icmp.OutErrors": errors } = Object.fromEntries(await lab.counters());
    assertEquals(errors, noPorts, "each probe to a closed port was answered");
  });
}

// Beside other tests its second hop once fell silent, cause unknown; alone, and under load, never.
aloneTest("a router is a hop, reports the next MTU, and forwards", labNeeds("ip", "ping", "traceroute"), async () => {
  await using lab = await openLab("tap");
  using far = createNetns(`akarino-far-${Deno.pid}`);
  using tun = openTun({ netns: far, name: "aka1", address: "10.98.0.1/24", mtu: 1280 });
  lab.hearsIpv6 = true;
  lab.host.reactor!.add(tun);
  const proto = lab.host.ip.stack(0).protoNamed("ipifc") as IpifcProto;
  proto.packetPorts.set(tun.name, tun);
  await addInterface(lab, `tun ${tun.name}`, "10.98.0.2/24");
  await lab.mustRun(["ip", "route", "add", "10.98.0.0/16", "via", HOST]);
  const back = await runTool(far, ["ip", "route", "add", "10.99.0.0/24", "via", "10.98.0.2"]);
  assertEquals(back.code, 0, back.text);
  const trace = (...options: string[]) => lab.run(["traceroute", "-n", "-w", "1", "-N", "3", ...options]);

  const closed = await lab.refusals(() => trace("-m", "1", "-q", "1", "10.98.0.1"));
  assertEquals(closed, { "ipifc.InNotForUs": 1 }, "a host does not forward");
  await lab.command("/net/ipifc/1/ctl", "iprouting on");
  for (const options of [["-q", "1", "10.98.0.1"], ["-I", "10.98.0.1"]]) {
    const { text } = await trace(...options);
    const hops = text.trim().split("\n").slice(1).map((line) => line.trim().split(/\s+/).slice(0, 2));
    assertEquals(hops, [["1", HOST], ["2", "10.98.0.1"]], text);
  }
  assertMatch((await trace("-I", "10.98.3.3")).text, /^ 1 {2}10\.99\.0\.2 .*\n 2 {2}10\.99\.0\.2 .*!N/m, "no route");
  await checkPathMtu(lab);
});

/** Through a router whose next link takes 1280 bytes only. */
async function checkPathMtu(lab: Lab): Promise<void> {
  const ping = (...options: string[]) => lab.run(["ping", "-n", "-c", "1", "-W", "1", ...options, "10.98.0.1"]);
  const refused = await lab.refusals(async () => {
    const tooBig = await ping("-M", "do", "-s", "1400");
    assertStringIncludes(tooBig.text, `From ${HOST} icmp_seq=1 Frag needed and DF set (mtu = 1280)`);
    for (const options of [["-s", "56"], ["-M", "do", "-s", "1252"], ["-M", "dont", "-s", "4000"], ["-R"]]) {
      const { code, text } = await ping(...options);
      assertEquals(code, 0, text);
    }
    assertStringIncludes((await ping("-t", "1")).text, `From ${HOST} icmp_seq=1 Time to live exceeded`);
  });
  assertEquals(refused, { "ipifc.FragFails": 1, "ipifc.TtlExpired": 1 });
}

machineTest("nc and socat get their lines back, and learn of a closed port", labNeeds("nc", "socat"), async () => {
  await using lab = await openLab("tap");
  const stdin = new TextEncoder().encode("hello\n");
  const talks = [
    ["nc", "-u", "-n", "-w", "1", HOST, `${ECHO_PORT}`],
    ["nc", "-u", "-n", "-w", "1", HOST, `${BYPASS_PORT}`],
    ["socat", "-t", "1", "-", `udp:${HOST}:${ECHO_PORT}`],
    ["socat", "-t", "1", "-", `udp:${HOST}:${BYPASS_PORT}`],
  ];
  const refused = await lab.refusals(async () => {
    for (const { code, text } of await Promise.all(talks.map((talk) => lab.run(talk, { stdin })))) {
      assertEquals([code, text], [0, "hello\n"]);
    }
    const { code, text } = await lab.run(["socat", "-t", "1", "-", `udp:${HOST}:9`], { stdin });
    assertEquals(code, 1);
    assertStringIncludes(text, "Connection refused");
  });
  assertEquals(refused, { "udp.NoPorts": 1 });
});

machineTest("many senders at once: each gets its own answers", labNeeds("socat"), async () => {
  await using lab = await openLab("tap");
  const senders = Array.from({ length: 24 }, async (_, i) => {
    const stdin = pattern(3000 + i, i);
    const to = `udp:${HOST}:${i % 2 === 0 ? ECHO_PORT : BYPASS_PORT}`;
    const { bytes } = await lab.run(["socat", "-b", "65536", "-t", "1", "-", to], { stdin });
    assertEquals(bytes, stdin, `sender ${i}`);
  });
  assertEquals(await lab.refusals(() => Promise.all(senders)), {});
});

machineTest("a lab leaves no namespace and no device behind", labNeeds("ping"), async () => {
  const lab = await openLab("tap");
  await pingOnce(lab);
  const { code } = await new Deno.Command("test", { args: ["-e", lab.netns.path] }).output();
  assertEquals(code, 0);
  await lab.close();
  const { stdout } = await new Deno.Command("ls", { args: ["/sys/class/net"] }).output();
  assertFalse(new TextDecoder().decode(stdout).split("\n").includes(DEVICE));
  assert(lab.port.fd < 0);
});
