/**
 * The scenario's command line, and its steps in memory.
 *
 * @module
 */

import { assert, assertEquals, assertObjectMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { counters } from "../../../tools/scenario/counters.ts";
import { memoryEnvironment } from "../../../tools/scenario/memory_environment.ts";
import { Given, UsageError } from "../../../tools/options/given.ts";
import { helpText } from "../../../tools/options/option_table.ts";
import { SCENARIO, type ScenarioOptions, scenarioOptions } from "../../../tools/scenario/options.ts";

const USAGE = helpText(SCENARIO);
const parseOptions = (args: string[]) => scenarioOptions(new Given(SCENARIO, args));
import { runSteps, type StepResult } from "../../../tools/scenario/report.ts";
import { FAMILIES } from "../../../tools/scenario/ip_family.ts";
import { scenarioSteps } from "../../../tools/scenario/steps.ts";
import { Interrupted, TimedOut } from "../../../tools/scenario/environment.ts";

Deno.test("parseOptions() reads every option, in both forms, and has defaults", () => {
  const defaults: ScenarioOptions = {
    wire: "auto",
    guest: "model",
    style: "qemu",
    versions: [4, 6],
    forwards: [],
    seed: 1,
    faults: {},
    pcap: null,
    snaplen: 262_144,
    keep: 0,
    json: false,
    verbose: false,
  };
  assertEquals(parseOptions([]), defaults);
  for (const wire of ["auto", "memory", "tap", "tun"] as const) {
    assertEquals(parseOptions(["--wire", wire]), { ...defaults, wire });
    assertEquals(parseOptions([`--wire=${wire}`]), { ...defaults, wire });
  }
  assertEquals(parseOptions(["--seed", "42", "--pcap", "a b.pcapng"]), { ...defaults, seed: 42, pcap: "a b.pcapng" });
  assertEquals(parseOptions(["--json", "--verbose"]), { ...defaults, json: true, verbose: true });
  assertEquals(parseOptions(["--json=no", "--verbose=0"]), defaults);
  assertEquals(parseOptions(["--seed", "0"]).seed, 0);
  assertEquals(parseOptions(["--ipv4-only"]).versions, [4]);
  assertEquals(parseOptions(["--ipv6-only"]).versions, [6]);
  assertEquals(parseOptions(["--ipv4-only", "--style=real"]).versions, [4]);
  const faults = ["--loss=0.1", "--delay", "5", "--jitter=2.5", "--reorder=1", "--duplicate=0", "--corrupt=0.01"];
  assertEquals(parseOptions(["--wire=memory", ...faults]).faults, {
    loss: 0.1,
    reorder: 1,
    duplicate: 0,
    corrupt: 0.01,
    delayMs: 5,
    jitterMs: 2.5,
  });
  const guest = parseOptions(["--wire=tap", "--guest=netns", "--style=real", "--keep=1.5", "--forward", "tcp:80:8080"]);
  assertEquals([guest.guest, guest.style, guest.keep, guest.forwards], ["netns", "real", 1.5, ["tcp:80:8080"]]);
  assertEquals(parseOptions(["--forward=tcp:1:1", "--forward", "hostfwd=udp::2-:2"]).forwards.length, 2);
});

Deno.test("parseOptions() names what it cannot understand", () => {
  const said = (...args: string[]) => assertThrows(() => parseOptions(args), UsageError).message;
  assertEquals(said("--fast"), 'Unknown option "--fast"');
  assertEquals(said("-x"), 'Unknown option "-x"');
  assertStringIncludes(said("memory"), '"memory"');
  assertEquals(said("--wire", "wifi"), 'Bad value "wifi" for --wire: one of auto, memory, tap, tun, socket');
  assertEquals(said("--wire"), "No value after --wire");
  for (const seed of ["one", "1.5", "0x10", "1e3", "9007199254740993"]) {
    assertEquals(said("--seed", seed), `Bad value "${seed}" for --seed: a whole number that is not negative`);
  }
  assertStringIncludes(said("--seed=-1"), 'Bad value "-1" for --seed');
  assertEquals(said("--seed"), "No value after --seed");
  assertEquals(said("--guest", "vm"), 'Bad value "vm" for --guest: one of model, netns, qemu');
  assertEquals(said("--style", "slirp"), 'Bad value "slirp" for --style: one of qemu, real');
  for (const name of ["loss", "reorder", "duplicate", "corrupt"]) {
    assertEquals(said("--wire=memory", `--${name}=`), `No value after --${name}`);
    for (const value of ["1.1", "-1", "x"]) {
      assertEquals(
        said("--wire=memory", `--${name}=${value}`),
        `Bad value "${value}" for --${name}: a number of 0 to 1`,
      );
    }
  }
  assertStringIncludes(said("--wire=memory", "--delay=1e3"), "for --delay");
  assertStringIncludes(said("--wire=memory", "--jitter=1001"), "for --jitter");
  assertStringIncludes(said("--keep=-1"), "for --keep");
  assertStringIncludes(said("--snaplen=262145"), "for --snaplen");
  assertStringIncludes(said("--loss=0.5"), "--wire memory");
  assertStringIncludes(said("--wire=memory", "--guest=netns"), "--guest netns");
  assertStringIncludes(said("--forward", "nonsense"), 'Bad value "nonsense" for --forward');
  assertEquals(said("--ipv4-only", "--ipv6-only"), "--ipv4-only and --ipv6-only leave no step: use one of them");
  assertEquals(
    said("--ipv6-only", "--style=real"),
    "A guest in real style has no IPv6: --ipv6-only needs --style qemu",
  );
  assertEquals(said("--pcap"), "No value after --pcap");
  assertEquals(said("--pcap", "--json"), "No value after --pcap");
});

const NAMES = [
  ...[
    "wire",
    "guest",
    "style",
    "ipv4-only",
    "ipv6-only",
    "forward",
    "seed",
    "loss",
    "reorder",
    "duplicate",
    "corrupt",
    "delay",
    "jitter",
  ],
  ...["pcap", "snaplen", "keep", "json", "verbose", "help"],
];

Deno.test("the usage names every option and every exit status", () => {
  for (const name of NAMES) assertStringIncludes(USAGE, `--${name}`);
  assertStringIncludes(USAGE, "Exit status: 0 if every step held, 1 if one failed, 2 for a bad option.");
  for (const line of USAGE.split("\n")) assert(line.length <= 120, line);
});

Deno.test("runSteps() reports each step as it ends, goes on after a failure, and stops when asked", async () => {
  const told: StepResult[] = [];
  const tell = (result: StepResult) => told.push(result);
  const steps = [
    { name: "a", run: () => Promise.resolve("seen") },
    { name: "b", run: () => Promise.reject(new Error("broken")) },
    { name: "c", run: () => Promise.resolve("seen, too") },
  ];
  const results = await runSteps(steps, { tell, stopped: () => false });
  assertEquals(results, told);
  assertEquals(results.map(({ name, ok, detail }) => [name, ok, detail]), [
    ["a", true, "seen"],
    ["b", false, "broken"],
    ["c", true, "seen, too"],
  ]);
  assert(results.every(({ ms }) => ms >= 0));
  assertEquals((await runSteps(steps, { tell, stopped: () => told.length > 3 })).length, 1);
});

Deno.test("runSteps() lets a step be ended early, and all of them, also in the middle of one", async () => {
  const told: StepResult[] = [];
  const tell = (result: StepResult) => told.push(result);
  const never = new Promise<string>(() => {});
  const steps = ["a", "b", "c"].map((name) => ({ name, run: () => never }));
  let left = 2;
  const bound = () => Promise.reject(left-- > 0 ? new TimedOut("No end of the step") : new Interrupted("Interrupted"));
  await runSteps(steps, { tell, stopped: () => false, bound });
  assertEquals(told.map(({ name, ok, detail }) => [name, ok, detail]), [
    ["a", false, "No end of the step"],
    ["b", false, "No end of the step"],
  ]);
});

/** One unit on the wire: direction, time and bytes. */
type Seen = readonly [direction: string, wallMs: number, hex: string];

/** Runs the scenario in memory; its steps, its counters, and the units on the wire. */
async function play(seed: number) {
  const wire: Seen[] = [];
  const env = await memoryEnvironment({
    seed,
    observe: (direction, block, wallMs) => wire.push([direction, wallMs, block.bytes().toHex()]),
  });
  try {
    const steps = await runSteps(scenarioSteps(env, { seed }), { tell: () => {}, stopped: () => false });
    return { steps, wire, counters: await counters(env.host) };
  } finally {
    await env.close();
  }
}

Deno.test("the scenario in memory holds, step by step", async () => {
  const { steps, counters } = await play(1);
  assertEquals(steps.filter(({ ok }) => !ok).map(({ name, detail }) => `${name}: ${detail}`), []);
  const names = steps.map(({ name }) => name);
  const expected = Object.values(FAMILIES).flatMap(({ suffix, resolution, udpSizes }) =>
    [
      `resolve by ${resolution}`,
      ...["ping kernel", "ping bypassed id"].flatMap((what) =>
        [0, 56, 1472, 8000].map((size) => `${what}, ${size} bytes`)
      ),
      ...["udp echo", "bypassed udp echo"].flatMap((what) => udpSizes.map((size) => `${what}, ${size} bytes`)),
    ].map((name) => `${name}${suffix}`)
  );
  assertEquals(names, ["boot", ...expected, "nothing left over"]);
  assertEquals(names.filter((name) => name.endsWith(", IPv6")).length, 21);
  assertObjectMatch(counters.udp!, { InDatagrams: 12, OutDatagrams: 12, InBypassed: 12 });
  assertEquals([counters.udp?.InErrors, counters.ipifc?.InHdrErrors, counters.ipifc?.ReasmFails], [0, 0, 0]);
});

Deno.test("one seed gives the same bytes at the same times, another seed others", async () => {
  const [first, second, third] = [await play(5), await play(5), await play(6)];
  assertEquals(first.wire.length > 200, true);
  assertEquals(first.wire, second.wire);
  assertEquals(first.counters, second.counters);
  assertEquals(JSON.stringify(first.wire) === JSON.stringify(third.wire), false);
});
