/**
 * The scenario as its users start it, and its captures as Wireshark reads them.
 *
 * @module
 */

import { assert, assertEquals, assertGreater } from "@std/assert";
import { labNeeds } from "../../kit/host/linux.ts";
import { machineTest, type Need } from "../../kit/check/skip.ts";
import { ROOT } from "../../kit/check/tree.ts";

const WIRES = ["memory", "tap", "tun"] as const;

/** Has tshark look at every checksum (by default it does not, since devices often compute them) and at no stream. */
const SETTINGS = ["ip.check_checksum:TRUE", "udp.check_checksum:TRUE", "tcp.check_checksum:TRUE"]
  .concat("tcp.desegment_tcp_streams:FALSE", "tcp.analyze_sequence_numbers:FALSE").flatMap((one) => ["-o", one]);

/** What is asked about each packet; one reading of the capture answers it all. */
const FIELDS = {
  number: "frame.number",
  at: "frame.interface_name",
  direction: "frame.packet_flags_direction",
  note: "frame.comment",
  malformed: "_ws.malformed",
  info: "_ws.col.Info",
  ip: "ip.checksum.status",
  udp: "udp.checksum.status",
  tcp: "tcp.checksum.status",
  icmp: "icmp.checksum.status",
  icmp6: "icmpv6.checksum.status",
  arp: "arp.opcode",
  icmpType: "icmp.type",
  icmp6Type: "icmpv6.type",
} as const;
type Packet = Record<keyof typeof FIELDS, string>;

/** The value of a checksum's status that says it is wrong. */
const BAD = "0";

/** Directions as pcapng writes them (epb_flags). */
const DIRECTIONS: ReadonlyMap<string, string> = new Map([["0x00000001", "in"], ["0x00000002", "out"]]);

async function run(command: string, args: string[]): Promise<string> {
  const child = new Deno.Command(command, {
    args,
    cwd: ROOT,
    env: { NO_COLOR: "1" },
    signal: AbortSignal.timeout(30_000),
  });
  const { success, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  assert(success, `${command} ${args.join(" ")}: ${decoder.decode(stdout)}${decoder.decode(stderr)}`);
  return decoder.decode(stdout);
}

/** `deno task scenario`, which must succeed; its output. */
function scenario(...args: string[]): Promise<string> {
  return run(Deno.execPath(), ["task", "--quiet", "scenario", ...args]);
}

/** What tshark says of each packet of a capture. */
async function packetsOf(file: string): Promise<Packet[]> {
  const fields = Object.values(FIELDS).flatMap((field) => ["-e", field]);
  const text = await run("tshark", ["-n", "-r", file, ...SETTINGS, "-T", "fields", ...fields]);
  const names = Object.keys(FIELDS);
  return text.split("\n").filter((line) => line !== "").map((line) => {
    const values = line.split("\t");
    return Object.fromEntries(names.map((name, i) => [name, values[i] ?? ""])) as Packet;
  });
}

/** Whether tshark finds fault with a packet; the quote in an ICMP error may owe its checksum to a card. */
function isFaulty({ malformed, ip, udp, tcp, icmp, icmp6, info }: Packet): boolean {
  // Linux writes a sum of zero as 0xffff to TCP, too: as good a zero, but tshark wants the other (RFC 1624).
  const isOtherZero = info.includes("CHECKSUM 0xFFFF");
  const whole = [ip, udp, isOtherZero ? "" : tcp];
  const sums = icmp === "" && icmp6 === "" ? whole : [ip.split(",")[0], icmp, icmp6];
  return malformed !== "" || sums.includes(BAD);
}

/** Runs `work` with a name for a capture that is gone afterwards. */
async function withCapture(work: (file: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "akarino-" });
  try {
    await work(`${dir}/scenario.pcapng`);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** SHA-256 of a capture, which is as long as one of the whole scenario is. */
async function digestOf(file: string): Promise<string> {
  const bytes = await Deno.readFile(file);
  assertGreater(bytes.length, 100_000_000);
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

/** Number of packets by interface and direction, `wire in`. */
function tally(packets: readonly Packet[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { at, direction } of packets) {
    const key = `${at} ${DIRECTIONS.get(direction) ?? direction}`;
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

const POINTS = ["bypass in", "bypass out", "guest in", "guest out", "ip1 in", "ip1 out", "wire in", "wire out"];

for (const wire of WIRES) {
  const needs: Need[] = wire === "memory" ? ["tool:tshark"] : labNeeds("tshark");
  machineTest(`a capture of the scenario on ${wire} is one that tshark finds no fault with`, needs, async () => {
    await withCapture(async (file) => {
      const args = ["--wire", wire, "--seed", "7", "--json", "--pcap", file];
      const report = JSON.parse(await scenario(...args));
      assertEquals([report.ok, report.wire], [true, wire]);
      if (wire === "memory") {
        const first = await digestOf(file);
        await scenario(...args);
        assertEquals(await digestOf(file), first, "one seed gives one capture, byte for byte");
      }
      const packets = await packetsOf(file);
      // The guest's link has noise in it, on purpose.
      const plain = packets.filter(({ at, note }) => at !== "guest" || !note.startsWith("refused"));
      assertEquals(plain.filter(isFaulty), []);
      const counts = tally(packets);
      assertEquals(Object.keys(counts).sort(), POINTS);
      // Eight pings and twelve datagrams each way, the largest of them in 45 fragments.
      for (const [name, count] of Object.entries(counts)) assertGreater(count, 100, name);
      const onWire = packets.filter(({ at }) => at === "wire");
      assertEquals(onWire.some(({ arp }) => arp === "2"), wire !== "tun", "an ARP request has an answer");
      assertEquals(onWire.some((one) => one.icmp6Type === "136"), wire !== "tun", "a neighbour solicitation, too");
      for (const [type, reply, timeExceeded] of [["icmpType", "0", "11"], ["icmp6Type", "129", "3"]] as const) {
        // Those of the host's steps, and the guest's ping of the remote.
        assertGreater(onWire.filter((one) => one[type] === reply).length, wire === "tun" ? 8 : 9, type);
        // Both of the guest's probes: the router's answer is seen on its own link only.
        const exceeded = packets.filter((one) => one[type].split(",")[0] === timeExceeded).map(({ at }) => at);
        assertEquals([...new Set(exceeded)], ["guest"], type);
      }
      const notes = new Set(packets.map(({ note }) => note));
      const has = (pattern: RegExp) => assert([...notes].some((note) => pattern.test(note)), `${pattern}`);
      has(/^new map udp 10\.0\.2\.15:\d+ = host \d+, unanswered$/);
      has(/^map udp 10\.0\.2\.15:\d+ = host \d+, udp$/);
      has(/^map tcp 10\.0\.2\.15:\d+ = host \d+, established$/);
      has(/^map tcp 10\.0\.2\.15:22 = host 8022, forward$/);
      has(/^new map udp fd00::2:201:2ff:fe03:40b:\d+ = host \d+, unanswered$/);
      has(/^map tcp fd00::2:201:2ff:fe03:40b:22 = host 8022, forward$/);
      has(/^answered by the router$/);
      has(/^refused: ttl$/);
    });
  });
}
