/** Our TCP against Linux' own: what is on the wire. Options on and off, a wire with faults, and what tshark says. */

import { assertEquals, assertGreater } from "@std/assert";
import type { CableFaults } from "../../../devices/ether/cable_faults.ts";
import { Capture } from "../../../tools/scenario/capture.ts";
import { pattern } from "../../kit/ip/ip_fixture.ts";
import { HOST, labNeeds } from "../../kit/host/linux.ts";
import { machineTest } from "../../kit/check/skip.ts";
import { openTcpLab, PIPE_BUF, type TcpLab } from "../../kit/tcp/linux.ts";
import { serveHttp } from "../../kit/tcp/http.ts";
import { randomFile, withDir } from "../../kit/host/files.ts";
import { MALFORMED, tsharkLines } from "../../kit/host/tshark.ts";
import { lateEcho, PORT, transferIn, transferOut } from "../../kit/tcp/transfers.ts";

/** A server of Linux that answers with what it gets. */
const MIRROR = ["socat", "-b", PIPE_BUF, `TCP-LISTEN:${PORT},reuseaddr`, "PIPE"];

// --- options ---

/** One MiB each way with whatever was agreed on; the words after `options` in the status of both connections. */
async function agreedOptions(lab: TcpLab, ...ctl: string[]): Promise<[string, string]> {
  const bytes = pattern(1 << 20, 3);
  const server = await lab.announce(7, ...ctl);
  const client = lab.run(["socat", "-b", "65536", "-t", "5", "-", `TCP:${HOST}:7`], { stdin: bytes });
  const call = await lab.accept(server);
  const passive = (await lab.status(call)).get("options")!;
  await lateEcho(lab, call);
  lab.close(call);
  lab.close(server);
  assertEquals((await client).bytes, bytes);
  return await lab.withServer(MIRROR, async () => {
    const ours = await lab.dial(PORT, ...ctl);
    const active = (await lab.status(ours)).get("options")!;
    const writing = lab.write(ours, bytes);
    assertEquals(await lab.read(ours, bytes.length), bytes);
    await writing;
    lab.close(ours);
    return [passive, active];
  });
}

const FEATURES = [
  { sysctl: "tcp_sack", word: "sack" },
  { sysctl: "tcp_timestamps", word: "timestamps" },
  { sysctl: "tcp_window_scaling", word: "scale" },
  { sysctl: "tcp_ecn", word: "ecn" },
] as const;

machineTest("Linux with SACK, timestamps, window scaling and ECN each on and off", labNeeds("socat"), async () => {
  await using lab = await openTcpLab();
  for (let set = 0; set < 1 << FEATURES.length; set++) {
    const on = FEATURES.filter((_, i) => (set >> i & 1) !== 0);
    for (const { sysctl } of FEATURES) await lab.sysctl(sysctl, on.some((one) => one.sysctl === sysctl) ? 1 : 0);
    const wanted = on.map(({ word }) => word).join(",") || "none";
    assertEquals(await agreedOptions(lab, "ecn on"), [wanted, wanted], `with ${wanted}`);
  }
  // Linux would; we do not ask and do not answer.
  assertEquals(await agreedOptions(lab, "ecn off"), ["sack,timestamps,scale", "sack,timestamps,scale"]);
  const off = ["sack off", "timestamps off", "windowscale off", "ecn off"];
  assertEquals(await agreedOptions(lab, ...off), ["none", "none"]);
});

// --- a wire with faults ---

const FAULTS: readonly (readonly [name: string, faults: Partial<CableFaults>])[] = [
  ["loses 1 %", { loss: 0.01 }],
  ["loses 5 %", { loss: 0.05 }],
  ["reorders", { delayMs: 1, reorder: 0.05, reorderMs: 3 }],
  ["duplicates", { duplicate: 0.1 }],
  ["corrupts", { corrupt: 0.01 }],
  ["does all of it", { delayMs: 2, loss: 0.01, reorder: 0.02, reorderMs: 5, duplicate: 0.02, corrupt: 0.005 }],
];

for (const [name, faults] of FAULTS) {
  machineTest(`a wire that ${name}: the hashes are right both ways`, labNeeds("socat", "sha256sum", "ip"), async () => {
    await using lab = await openTcpLab({ faults });
    await withDir(async (dir) => {
      const file = await randomFile(dir, 4);
      await transferIn(lab, file);
      await transferOut(lab, file);
    });
    const { lost, reordered, duplicated, corrupted } = lab.wire!.cable!.counters();
    assertGreater(lost + reordered + duplicated + corrupted, 30, "the wire did something");
  });
}

/** A bit of everything on one wire. */
async function variety(lab: TcpLab, dir: string): Promise<void> {
  await agreedOptions(lab, "ecn on");
  await serveHttp(lab);
  await lab.mustRun(["curl", "-sS", `http://${HOST}/`]);
  await lab.run(["curl", "-sS", `http://${HOST}:9/`]);
  await transferOut(lab, await randomFile(dir, 1));
}

machineTest("tshark finds nothing malformed and no bad checksum", labNeeds("tshark", "socat", "curl"), async () => {
  await withDir(async (dir) => {
    const pcap = `${dir}/tcp.pcapng`;
    const capture = new Capture(pcap);
    try {
      await using lab = await openTcpLab({ observe: capture.wire("wire", "frame") });
      await variety(lab, dir);
    } finally {
      capture.close();
    }
    assertGreater((await tsharkLines(pcap, "tcp")).length, 500);
    assertEquals(await tsharkLines(pcap, MALFORMED), []);
    for (const name of ["tcp", "ip"]) {
      // Linux now and then writes 0xffff where tshark wants 0: the same number, but not ours to judge.
      assertEquals(await tsharkLines(pcap, `ip.src == ${HOST} && ${name}.checksum.status == "Bad"`), []);
    }
    assertEquals(await tsharkLines(pcap, 'tcp.checksum.status == "Unverified"'), [], "all were looked at");
  });
});
