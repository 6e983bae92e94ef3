/**
 * Odd and hostile packets from Linux: hping3 with strange options, and raw frames through socat. What is right is
 * answered; what is wrong raises the one counter that says why, and nothing else.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { REASSEMBLY_DATAGRAMS_MAX } from "../../../devices/ip/network/reassembly.ts";
import type { TapPort } from "../../../devices/host/tun.ts";
import { type PacketOptions, udpPacket } from "../../kit/ip/ip_fixture.ts";
import {
  BYPASS_PORT,
  DEVICE,
  ECHO_PORT,
  HOST,
  type Lab,
  labNeeds,
  LINUX,
  numberBefore,
  openLab,
} from "../../kit/host/linux.ts";
import { machineTest } from "../../kit/check/skip.ts";

/** Between two packets of hping3: 1 ms. */
const GAP = ["-n", "-i", "u1000"];

/**
 * Runs hping3 against the host; how many of its packets it saw answered. After the last of several it may not wait, if
 * its timer was late: whether all were answered is to be asked of our counters, or of one packet alone.
 */
async function hping(lab: Lab, count: number, ...options: string[]): Promise<number> {
  const { text } = await lab.run(["hping3", "-c", `${count}`, ...GAP, ...options, HOST]);
  assertEquals(numberBefore(text, "packets transmitted"), count, text);
  return numberBefore(text, "packets received");
}

/** Sends one packet until it is answered: on a busy machine hping3 stops waiting too early. */
async function answers(lab: Lab, ...options: string[]): Promise<boolean> {
  for (let tries = 0; tries < 3; tries++) if (await hping(lab, 1, ...options) === 1) return true;
  return false;
}

/** Of its own hping3 gives fragments its process id, of 8 bits; for 0 Linux gives each one another. */
const SAME_ID = ["-N", "4660"];

/** What must be answered, with the options of hping3. */
const ANSWERED: readonly (readonly [what: string, ...options: string[]])[] = [
  ["echo", "-1"],
  ["echo with odd length", "-1", "-d", "1"],
  ["echo in fragments of 16 bytes", "-1", "-d", "200", "-f"],
  ["echo in fragments of 8 bytes", "-1", "-d", "777", "-f", "-m", "8"],
  ["echo in large fragments", "-1", "-d", "9000"],
  ["echo with don't fragment", "-1", "-y"],
  ["echo with TTL 1", "-1", "-t", "1"],
  ["echo with id 0", "-1", "-N", "0"],
  ["echo with every type of service bit", "-1", "-o", "ff"],
  ["echo with record route", "-1", "-G"],
  ["echo with a loose route that ends here", "-1", "--lsrr", HOST],
  ["echo with a strict route that ends here", "-1", "--ssrr", HOST],
  ["udp without payload", "-2", "-p", `${ECHO_PORT}`],
  ["udp in fragments", "-2", "-p", `${ECHO_PORT}`, "-d", "300", "-f"],
  ["udp of 9000 bytes", "-2", "-p", `${ECHO_PORT}`, "-d", "9000"],
  ["udp with TTL 1", "-2", "-p", `${ECHO_PORT}`, "-t", "1"],
  ["bypassed udp without payload", "-2", "-p", `${BYPASS_PORT}`],
  ["bypassed udp in fragments of 8 bytes", "-2", "-p", `${BYPASS_PORT}`, "-d", "300", "-f", "-m", "8"],
  ["bypassed udp of 9000 bytes", "-2", "-p", `${BYPASS_PORT}`, "-d", "9000"],
  ["bypassed udp with record route", "-2", "-p", `${BYPASS_PORT}`, "-G"],
];

machineTest("hping3: unusual but valid packets are answered", labNeeds("hping3"), async () => {
  await using lab = await openLab("tap");
  const refused = await lab.refusals(async () => {
    for (const [what, ...options] of ANSWERED) assert(await answers(lab, ...SAME_ID, ...options), what);
  });
  assertEquals(refused, {});
});

/** Packets that cause no error message, and the counters that each of them raises. */
const SILENT: readonly (readonly [counter: string, count: number, ...options: string[]])[] = [
  ["icmp.CsumErrs", 3, "-1", "-b"],
  ["udp.CsumErrs", 4, "-2", "-p", `${ECHO_PORT}`, "-b"],
  ["udp.CsumErrs", 5, "-2", "-p", `${BYPASS_PORT}`, "-b", "-d", "100"],
  ["icmp.LenErrs", 2, "-0", "-H", "1", "-d", "4"],
  ["udp.LenErrs", 2, "-0", "-H", "17", "-d", "4"],
  ["icmp.HlenErrs", 2, "-1", "-C", "3"],
  ["icmp.NoConv", 2, "-1", "-C", "13"],
  ["icmp.NoConv", 1, "-1", "-C", "0"],
  ["ipifc.InMartian", 2, "-1", "-a", HOST],
  ["ipifc.InMartian", 2, "-1", "-a", "127.0.0.1"],
  ["ipifc.InMartian", 2, "-2", "-p", `${ECHO_PORT}`, "-a", "224.0.0.1"],
  ["ipifc.InMartian", 2, "-2", "-p", "9", "-a", "10.99.0.255"],
  ["ipifc.InMartian", 2, "-1", "-a", "255.255.255.255"],
  // A tail beyond 65535 bytes: the ping of death.
  ["ipifc.InBadFragment", 2, "-1", "-g", "65528", "-d", "64"],
];

machineTest(
  "hping3: invalid packets are counted under their reason, and not answered",
  labNeeds("hping3"),
  async () => {
    await using lab = await openLab("tap");
    const expected: Record<string, number> = {};
    for (const [counter, count] of SILENT) expected[counter] = (expected[counter] ?? 0) + count;
    const refused = await lab.refusals(async () => {
      // Unanswered, hping3 waits for a second: all at once.
      const runs = SILENT.map(async ([counter, count, ...options]) => {
        assertEquals(await hping(lab, count, ...options), 0, `${counter}: hping3 ${options.join(" ")}`);
      });
      await Promise.all(runs);
    });
    assertEquals(refused, expected);
  },
);

machineTest("hping3: senders that cannot be answered end no program", labNeeds("hping3"), async () => {
  await using lab = await openLab("tap");
  const refused = await lab.refusals(async () => {
    const runs = [ECHO_PORT, BYPASS_PORT].flatMap((port) => [
      hping(lab, 2, "-2", "-p", `${port}`, "-s", "0", "-k"),
      hping(lab, 2, "-2", "-p", `${port}`, "-a", "10.77.0.1"),
      hping(lab, 2, "-2", "-p", `${port}`, "-y", "-f", "-d", "3000"),
      lab.run(["hping3", "-2", "-p", `${port}`, "-c", "2", ...GAP, "10.99.0.255"]),
    ]);
    await Promise.all(runs);
  });
  for (const name of Object.keys(refused)) assertStringIncludes("ipifc.OutNoRoutes ipifc.FragFails", name);
  for (const port of [ECHO_PORT, BYPASS_PORT]) assertEquals(await hping(lab, 1, "-2", "-p", `${port}`), 1);
  assertEquals(lab.programErrors, []);
});

machineTest("hping3: unknown protocols and closed ports are unreachable", labNeeds("hping3"), async () => {
  await using lab = await openLab("tap");
  const refused = await lab.refusals(async () => {
    const cases = [["Protocol", "--rawip", "-H", "99", "-d", "20"], ["Port", "-2", "-p", "9"], [
      "Port",
      "-2",
      "-p",
      "0",
    ]];
    for (const [what, ...options] of cases) {
      const { text } = await lab.run(["hping3", "-c", "1", ...GAP, ...options, HOST]);
      assertStringIncludes(text, `ICMP ${what} Unreachable from ip=${HOST}`);
    }
  });
  assertEquals(refused, { "ipifc.InUnknownProtos": 1, "udp.NoPorts": 2 });
});

machineTest("hping3: datagrams with a wrong length are refused", labNeeds("hping3"), async () => {
  await using lab = await openLab("tap");
  const send = (length: number, port: number) => {
    const udp = `udp(sport=5000,dport=${port},len=${length})+data(str=hello)`;
    return lab.mustRun(["hping3", "--apd-send", `ip(saddr=${LINUX},daddr=${HOST},ttl=64)+${udp}`]);
  };
  const refused = await lab.refusals(async () => {
    for (const length of [0, 1, 7, 14, 300, 65535]) await send(length, ECHO_PORT);
    for (const length of [0, 7, 14, 65535]) await send(length, BYPASS_PORT);
  });
  assertEquals(refused, { "udp.LenErrs": 10 });
});

machineTest("hping3: a flood is answered within limits, and what follows is too", labNeeds("hping3"), async () => {
  await using lab = await openLab("tap");
  const flood = (...options: string[]) => lab.run(["hping3", "-q", "-n", "-c", "2000", "-i", "u50", ...options, HOST]);
  const raised = await lab.raised(() => flood("-2", "-p", "9"));
  assertEquals(raised["udp.NoPorts"], 2000);
  assertEquals((raised["icmp.OutErrors"] ?? 0) + (raised["icmp.OutSuppressed"] ?? 0), 2000);
  assert((raised["icmp.OutErrors"] ?? 0) >= 50, "a burst of errors is allowed");
  assertEquals((await lab.raised(() => flood("-1")))["icmp.EchoReply.out"], 2000);
  assertEquals((await lab.raised(() => flood("-2", "-p", `${BYPASS_PORT}`)))["udp.InBypassed"], 2000);
  assertEquals(await hping(lab, 1, "-2", "-p", `${BYPASS_PORT}`), 1);
});

machineTest("hping3: incomplete datagrams give way to newer ones, overlaps end", labNeeds("hping3"), async () => {
  await using lab = await openLab("tap");
  const excess = 20;
  const evicted = await lab.refusals(() => hping(lab, REASSEMBLY_DATAGRAMS_MAX + excess, "-1", "-x", "-d", "64"));
  // Of so many random ids two may be the same: those end each other.
  const { "ipifc.ReasmEvicted": gaveWay = 0, "ipifc.ReasmOverlap": collided = 0, ...others } = evicted;
  assert(gaveWay > 0 && gaveWay + 2 * collided === excess, `${gaveWay} gave way, ${collided} ids came twice`);
  assertEquals(others, {});
  const teardrop = async (offset: number) => {
    await hping(lab, 1, "-1", "-x", "-N", "4242", "-d", "64", "-g", `${offset}`);
  };
  const overlap = await lab.refusals(() => Promise.all([0, 8].map(teardrop)));
  assertEquals(overlap["ipifc.ReasmOverlap"], 1);
  assertEquals(await hping(lab, 1, ...SAME_ID, "-1", "-d", "3000"), 1, "whole ones still come through");
});

if (Deno.env.has("AKARINO_FUZZ")) {
  machineTest("hping3: fragments that stay alone time out after 30 s", labNeeds("hping3"), async () => {
    await using lab = await openLab("tap");
    const refused = await lab.refusals(async () => {
      await hping(lab, 3, "-1", "-x", "-d", "64");
      await new Promise((resolve) => setTimeout(resolve, 31_000));
    });
    assertEquals(refused, { "ipifc.ReasmTimedOut": 3 });
    assertEquals((await lab.counters()).get("icmp.OutErrors"), 3, "their sender got an error");
  });
}

/** A frame to the host, not padded; `to` replaces the host's hardware address. */
function frame(lab: Lab, type: number, payload: Uint8Array, to?: Uint8Array): Uint8Array {
  const port = lab.port as TapPort;
  return new Uint8Array([...to ?? port.mac, ...port.device.mac, type >> 8, type & 255, ...payload]);
}

/** A datagram to the host's echo with `bytes` put at `at`, whatever that breaks. */
function broken(at: number, bytes: readonly number[], options: PacketOptions = {}): Uint8Array {
  const packet = udpPacket({ src: LINUX, dst: HOST, dstPort: ECHO_PORT, payload: new Uint8Array(40), ...options });
  packet.set(bytes, at);
  return packet;
}

/** An ARP packet from hardware address `mac` and address `ip`, about the host. */
function arp(op: number, mac: readonly number[], ip: readonly number[]): Uint8Array {
  return new Uint8Array([0, 1, 8, 0, 6, 4, 0, op, ...mac, ...ip, 0, 0, 0, 0, 0, 0, 10, 99, 0, 2]);
}

machineTest("socat: frames that Linux would never send are counted and dropped", labNeeds("socat"), async () => {
  await using lab = await openLab("tap");
  const everybody = new Uint8Array(6).fill(255);
  const some = [2, 0, 0, 0, 0, 9];
  const cases: readonly (readonly [counter: string, Uint8Array])[] = [
    ["ipifc.InShort", frame(lab, 0x0800, new Uint8Array(0))],
    ["ipifc.InShort", frame(lab, 0x0800, broken(0, []).subarray(0, 19))],
    ["ipifc.InBadVersion", frame(lab, 0x0800, broken(0, [0x65]))],
    ["ipifc.InBadVersion", frame(lab, 0x0800, broken(0, [0x05]))],
    ["ipifc.InBadHeaderLen", frame(lab, 0x0800, broken(0, [0x44]))],
    ["ipifc.InBadHeaderLen", frame(lab, 0x0800, broken(0, [0x4f]).subarray(0, 40))],
    ["ipifc.InBadTotalLen", frame(lab, 0x0800, broken(2, [0, 19]))],
    ["ipifc.InBadTotalLen", frame(lab, 0x0800, broken(2, [0xff, 0xff]))],
    ["ipifc.InBadChecksum", frame(lab, 0x0800, broken(10, [0x12, 0x34]))],
    ["ipifc.InNotForUs", frame(lab, 0x0800, broken(0, [], { dst: "10.99.0.44" }))],
    ["ipifc.InNotForUs", frame(lab, 0x0800, broken(0, [], { dst: "192.0.2.1" }))],
    ["ipifc.InLinkBroadcast", frame(lab, 0x0800, broken(0, []), everybody)],
    ["ipifc.ArpMalformed", frame(lab, 0x0806, arp(1, some, [10, 99, 0, 1]).subarray(0, 20))],
    ["ipifc.ArpMalformed", frame(lab, 0x0806, arp(9, some, [10, 99, 0, 9]))],
    ["ipifc.ArpBadSender", frame(lab, 0x0806, arp(1, [255, 255, 255, 255, 255, 255], [10, 99, 0, 1]))],
    ["ipifc.ArpConflict", frame(lab, 0x0806, arp(2, some, [10, 99, 0, 2]), everybody)],
    ["ipifc.ArpUnsolicited", frame(lab, 0x0806, arp(2, some, [10, 99, 0, 9]))],
  ];
  for (const [counter, stdin] of cases) {
    const send = ["socat", "-u", "-", `INTERFACE:${DEVICE}`];
    assertEquals(await lab.refusals(() => lab.run(send, { stdin })), { [counter]: 1 }, `${stdin}`);
  }
  const padded = new Uint8Array([...frame(lab, 0x0800, broken(0, [])), ...new Uint8Array(30)]);
  const raised = await lab.raised(() => lab.run(["socat", "-u", "-", `INTERFACE:${DEVICE}`], { stdin: padded }));
  assertEquals([raised["udp.InDatagrams"], raised["udp.OutDatagrams"]], [1, 1], "link padding is cut off");
});
