/**
 * The scenario as its users start it, and its captures as Wireshark reads them.
 *
 * @module
 */

import { assert, assertEquals, assertGreater, assertNotEquals } from "@std/assert";
import { labNeeds } from "../kit/linux.ts";
import { machineTest, type Need } from "../kit/skip.ts";
import { ROOT } from "../kit/tree.ts";

const WIRES = ["memory", "tap", "tun"] as const;

/** Has tshark look at every checksum; it passes them over by default, since devices often compute them. */
const CHECKSUMS = ["ip.check_checksum", "udp.check_checksum"].flatMap((name) => ["-o", `${name}:TRUE`]);
const BAD_CHECKSUM = ["ip", "udp", "icmp"].map((name) => `${name}.checksum.status == "Bad"`).join(" || ");

/** The guest's link has noise, and checksums that are owed. (TCP is left out, too: seen twice it looks repeated.) */
const PLAIN = "frame.interface_name != guest";

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

/** `deno task scenario`, which must succeed; what it said. */
function scenario(...args: string[]): Promise<string> {
  return run(Deno.execPath(), ["task", "--quiet", "scenario", ...args]);
}

/** What tshark says of each packet that `filter` lets through, a line each. */
async function packets(file: string, filter: string, ...fields: string[]): Promise<string[]> {
  const shown = fields.length === 0 ? [] : ["-T", "fields", ...fields.flatMap((field) => ["-e", field])];
  const text = await run("tshark", ["-n", "-r", file, ...CHECKSUMS, "-Y", filter, ...shown]);
  return text.split("\n").filter((line) => line !== "");
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

/** Number of packets by interface and direction, `wire in`. */
async function tally(file: string): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const line of await packets(file, "frame", "frame.interface_name", "frame.packet_flags_direction")) {
    const [name, direction] = line.split("\t");
    const key = `${name} ${DIRECTIONS.get(direction!) ?? direction}`;
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

for (const wire of WIRES) {
  const needs: Need[] = wire === "memory" ? ["tool:tshark"] : labNeeds("tshark");
  machineTest(`a capture of the scenario on ${wire} is one that tshark finds no fault with`, needs, async () => {
    await withCapture(async (file) => {
      const report = JSON.parse(await scenario("--wire", wire, "--json", "--pcap", file));
      assertEquals([report.ok, report.wire], [true, wire]);
      assertEquals(await packets(file, `_ws.malformed && !tcp && ${PLAIN}`), []);
      assertEquals(
        await packets(file, `(${BAD_CHECKSUM}) && ${PLAIN}`, "frame.number", "frame.interface_name", "_ws.col.Info"),
        [],
      );
      const counts = await tally(file);
      assertEquals(Object.keys(counts).sort(), ["guest in", "guest out", "ip1 in", "ip1 out", "wire in", "wire out"]);
      // Eight pings and twelve datagrams each way, the largest of them in 45 fragments.
      for (const [name, count] of Object.entries(counts)) assertGreater(count, 100, name);
      const arp = await packets(file, "arp && frame.interface_name == wire", "arp.opcode");
      assertEquals(arp.includes("2"), wire !== "tun", "who is asked by ARP answers");
      const echoes = await packets(file, "icmp.type == 0 && frame.interface_name == wire", "icmp.ident");
      // Those of the host's steps, and the guest's ping of the remote.
      assertGreater(echoes.length, wire === "tun" ? 8 : 9);
      // Both of the guest's probes: the router's answer is seen on its own link only.
      const exceeded = await packets(file, "icmp.type == 11", "frame.interface_name");
      assertEquals([...new Set(exceeded)], ["guest"]);
    });
  });
}

machineTest("in memory one seed gives one capture, byte for byte, and another seed another", [], async () => {
  await withCapture(async (file) => {
    const captures: string[] = [];
    for (const seed of ["7", "7", "8"]) {
      await scenario("--wire", "memory", "--seed", seed, "--pcap", file);
      const bytes = await Deno.readFile(file);
      assertGreater(bytes.length, 500_000);
      captures.push(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex());
    }
    assertEquals(captures[0] === captures[1], true);
    assertNotEquals(captures[1] === captures[2], true);
  });
});
