/**
 * The scenario's command line as its users meet it: exit codes, messages, JSON; and the README's first script, run as
 * printed in a program of its own without any permission.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { labNeeds } from "../../kit/host/linux.ts";
import { machineTest } from "../../kit/check/skip.ts";
import { ROOT } from "../../kit/check/tree.ts";

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs deno in the checkout, with `input` to read; how it ended. */
async function deno(args: string[], input = ""): Promise<Ended> {
  const signal = AbortSignal.timeout(30_000);
  const streams = { stdin: "piped", stdout: "piped", stderr: "piped" } as const;
  const env = { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" };
  const child = new Deno.Command(Deno.execPath(), { args, cwd: ROOT, env, signal, ...streams }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

/** The task, with its own permissions. */
function scenario(...args: string[]): Promise<Ended> {
  return deno(["task", "--quiet", "scenario", ...args]);
}

machineTest("scenario --json is one object with every step, and exit 0", [], async () => {
  const { code, out, err } = await scenario("--wire", "memory", "--seed", "3", "--json");
  assertEquals([code, err], [0, ""]);
  const report = JSON.parse(out);
  assertEquals(Object.keys(report), ["ok", "wire", "why", "guest", "style", "seed", "steps", "skipped", "counters"]);
  assertEquals([report.ok, report.wire, report.why, report.seed], [true, "memory", "asked for", 3]);
  for (const step of report.steps) {
    assertEquals(Object.keys(step), ["name", "ok", "ms", "detail"]);
    assertEquals([typeof step.name, step.ok, typeof step.ms, typeof step.detail], ["string", true, "number", "string"]);
  }
  assertEquals(Object.keys(report.counters), ["ipifc", "icmp", "icmpv6", "udp", "tcp", "ether0", "nat"]);
  for (const table of Object.values<Record<string, unknown>>(report.counters)) {
    assert(Object.values(table).every((value) => typeof value === "number"));
  }
});

machineTest("scenario --ipv4-only and --ipv6-only run the steps of one version", [], async () => {
  const names = async (option: string) => {
    const { code, out, err } = await scenario("--wire=memory", "--json", option);
    assertEquals({ code, err }, { code: 0, err: "" }, out);
    const { steps, skipped } = JSON.parse(out);
    assertEquals(skipped, []);
    return steps.map(({ name }: { name: string }) => name) as string[];
  };
  const [only4, only6] = await Promise.all([names("--ipv4-only"), names("--ipv6-only")]);
  assertEquals(only4.filter((name) => name.endsWith(", IPv6")), []);
  const common = ["boot", "nothing left over", "guest: garbage in rings and frames", "no service failed"];
  assertEquals(only6.filter((name) => !name.endsWith(", IPv6")), common);
  // What only IPv4 has is a TCP of a user program.
  assertEquals({ ipv4: only4.length, ipv6: only6.length }, { ipv4: 49, ipv6: 48 });
});

machineTest("scenario prints a line a step, and reports which wire and why", [], async () => {
  const { code, out } = await scenario("--wire=memory", "--verbose");
  assertEquals(code, 0);
  assertMatch(out, /^wire memory \(asked for\), guest model, style qemu, seed 1$/m);
  assertMatch(out, /^ok {3}boot +[\d.]+ ms {2}host1 is 10\.0\.0\.1/m);
  assertMatch(out, /^ +[\d.]+ \d+ bypass-echo \d+ blockwrite\(/m, "system calls are traced");
  assertMatch(out, /^(\d+) of \1 steps held$/m);
});

/** Lines of the scenario without what differs from run to run: milliseconds. */
function linesOf(text: string): string[] {
  return text.trim().split("\n").map((line) => line.replace(/ +[\d.]+ ms /, " … ms "));
}

machineTest("the scenario's output in the README is what it prints", [], async () => {
  const readme = await Deno.readTextFile(`${ROOT}/README.md`);
  const [, printed] = /^```text scenario\n(.*?)^```$/ms.exec(readme)!;
  const { out } = await scenario("--wire=memory");
  const lines = linesOf(out);
  assertEquals(linesOf(printed!).filter((line) => line !== "…" && !lines.includes(line)), []);
  assert(linesOf(printed!).length > 25);
});

machineTest("scenario with a faulty wire holds, and in real style", [], async () => {
  const faults = ["--loss=0.01", "--duplicate=0.02", "--reorder=0.02", "--corrupt=0.002", "--delay=1", "--jitter=0.5"];
  const runs = [["--seed=7", ...faults], ["--style=real", "--keep=0.1"]].map(async (args) => {
    const { code, out, err } = await scenario("--wire=memory", ...args);
    assertEquals([code, err], [0, ""], out);
  });
  await Promise.all(runs);
});

machineTest("scenario --keep stays with its counters, and Ctrl-C ends it well", [], async () => {
  const args = ["run", "--no-prompt", "--allow-write", "tools/scenario.ts", "--wire=memory", "--keep=60"];
  const child = new Deno.Command(Deno.execPath(), { args, cwd: ROOT, stdout: "piped", stderr: "inherit" }).spawn();
  let out = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    const stayed = out.includes(" of 60 s; wire in ");
    out += text;
    if (!stayed && out.includes(" of 60 s; wire in ")) child.kill("SIGINT");
  }
  assertEquals((await child.status).code, 0, out);
  assertMatch(out, /^1?\d of 60 s; wire in \d+ \(\d+\/s\) out \d+ .*maps \d+, forwards 0, refused: .*ttl 2/m);
});

machineTest(
  "scenario on a wire that kills connections comes to an end, and reports which steps failed",
  [],
  async () => {
    const { code, out } = await scenario("--wire=memory", "--loss=0.5");
    assertEquals(code, 1);
    assertMatch(out, /^FAIL guest: TCP download, 16 MiB /m);
    assertMatch(out, /^(\d+) of \d+ steps held$/m);
  },
);

machineTest("scenario with Linux as the guest, and as the remote", labNeeds(), async () => {
  const cases = [
    { args: ["--wire=tap"], left: "guest: a mapping expires, IPv6" },
    { args: ["--wire=tun", "--style=real"], left: "guest: all steps over IPv6" },
  ];
  for (const { args, left } of cases) {
    const { code, out, err } = await scenario("--guest=netns", "--json", ...args);
    assertEquals([code, err], [0, ""], out);
    const { guest, skipped } = JSON.parse(out);
    assertEquals(guest, "netns");
    assertEquals(skipped.map(({ name }: { name: string }) => name), [
      "guest: a mapping expires",
      "guest: garbage in rings and frames",
      left,
    ]);
  }
});

machineTest("scenario: a bad option is exit 2, and is named", [], async () => {
  const cases: readonly (readonly [args: string[], message: string])[] = [
    [["--wire", "wifi"], 'Bad value "wifi" for --wire: one of auto, memory, tap, tun'],
    [["--seed", "x"], 'Bad value "x" for --seed'],
    [["--colour"], 'Unknown option "--colour"'],
    [["--pcap"], "No value after --pcap"],
  ];
  const runs = cases.map(async ([args, message]) => {
    const { code, out, err } = await scenario(...args);
    assertEquals([code, out], [2, ""]);
    assertStringIncludes(err, `scenario: ${message}`);
    assertStringIncludes(err, "--help");
  });
  await Promise.all(runs);
  const help = await scenario("--help");
  assertEquals([help.code, help.err], [0, ""]);
  assertStringIncludes(help.out, "usage: deno task scenario");
});

machineTest("scenario: a capture that cannot be written is exit 2, and is named", [], async () => {
  const { code, err } = await scenario("--wire", "memory", "--pcap", "/nonexistent/a.pcapng");
  assertEquals(code, 2, err);
  assertStringIncludes(err, 'scenario: Cannot write "/nonexistent/a.pcapng" of --pcap');
});

machineTest("scenario without the right to a device: auto takes memory, tap and tun are exit 1", [], async () => {
  const bare = (wire: string) => deno(["run", "--no-prompt", "tools/scenario.ts", "--wire", wire, "--json"]);
  const auto = await bare("auto");
  assertEquals(auto.code, 0, auto.err);
  const { wire, why } = JSON.parse(auto.out);
  assertEquals(wire, "memory");
  assertMatch(why, /^auto: no TAP here \(.*ffi/);
  for (const { code, out, err } of await Promise.all([bare("tap"), bare("tun")])) {
    assertEquals([code, out], [1, ""]);
    assertMatch(err, /^scenario: .*ffi/);
  }
});

machineTest("scenario on auto takes a TAP where it may", labNeeds(), async () => {
  const { code, out } = await scenario("--json");
  assertEquals(code, 0);
  const { wire, why } = JSON.parse(out);
  assertEquals([wire, why], ["tap", "auto: a TAP in a network namespace of its own can be made"]);
});

machineTest("the README's first script runs as printed, without any permission", [], async () => {
  const readme = await Deno.readTextFile(`${ROOT}/README.md`);
  const script = /^```ts first-script\n(.*?)^```$/ms.exec(readme)![1]!;
  const { code, out, err } = await deno(["run", "--no-prompt", "--check", "--ext=ts", "-"], script);
  assertEquals(code, 0, err);
  assertMatch(out, /^hello\nether OK 10\.0\.0\.1 020000000001\n/);
});
