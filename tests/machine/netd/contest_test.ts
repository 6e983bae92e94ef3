/**
 * netd by a TAP and by sockets, slirp4netns, pasta and passt in one run: what a guest's programs see where networks
 * behind a process usually lie, by both versions of IP. Ours must see the truth; what the others see is printed beside.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { machineTest, missing } from "../../kit/check/skip.ts";
import { ROOT } from "../../kit/check/tree.ts";
import { type Contest, openContest } from "../../kit/netd/contest.ts";
import { type Contestant, CONTESTANTS, FAMILIES, type Family } from "../../kit/netd/contestants.ts";
import { netdNeeds } from "../../kit/netd/netd.ts";

const CONNECTS = 1000;
const DOWNLOADS = 200;
const DOWNLOAD_SIZE = 100_000;
const HALF_CLOSED = 100_000;
const BEFORE_RESET = 6;
/** What another has not shown by then it is not asked any more, in milliseconds. */
const OTHERS_LIMIT_MS = 25_000;
/** Letters that are printed of why another could not be tried. */
const WHY_LENGTH = 200;
/** Ports of peer.py's servers in the world, and one where nothing is. */
const PLAYS = 9;
const ECHO = 8007;
const CLOSED = 99;

/** How a play of peer.py ended. */
interface Part {
  readonly got: number;
  readonly end: string;
  readonly wrong?: number;
}

/** What is tried, and what is true. */
interface Case {
  readonly name: string;
  readonly truth: string | ((family: Family) => string);
  /** Whether it needs the machine for itself. */
  readonly isHeavy?: true;
  seen(contest: Contest, family: Family): Promise<string>;
}

const bracketed = (address: string) => address.includes(":") ? `[${address}]` : address;

async function forwarded(contest: Contest, { machine, port, world }: Family): Promise<string> {
  const url = `http://${bracketed(machine)}:${port}/whoami`;
  return (await contest.inWorld(["curl", "-sS", "-m", `${contest.patience}`, "--interface", world, url])).text.trim();
}

/** How connecting ends. */
async function connected(contest: Contest, to: string): Promise<string> {
  const attempt = { to, port: CLOSED, wait: contest.patience };
  return (await contest.peer<{ error: string | null }>(["try"], [attempt])).error ?? "connected";
}

async function played(contest: Contest, to: string, client: unknown[], server: unknown[]): Promise<string> {
  const part = await contest.peer<Part>(["play", to, PLAYS], [{ id: "contest", client, server }]);
  return `${part.got} bytes, ${part.end}${part.wrong === undefined ? "" : `, wrong from ${part.wrong}`}`;
}

async function pinged(contest: Contest, address: string): Promise<string> {
  const { text } = await contest.inGuest(["ping", "-c", "1", "-W", "0.5", address]);
  return /\d+ received/.exec(text)?.[0] ?? text.trim();
}

/** The addresses of the hops. */
async function hops(contest: Contest, { version, world }: Family): Promise<string> {
  const options = [`-${version}`, "-n", "-q", "1", "-w", `${contest.patience}`, "-m", "2"];
  const { text } = await contest.inGuest(["traceroute", ...options, world]);
  return [...text.matchAll(/^ *\d+ +(\S+)/gm)].map((match) => match[1]).join(" ");
}

/** A datagram that fills a packet, and back. It is answered from the address of the link, whatever was asked. */
async function echoed(contest: Contest, { peer, datagramMax }: Family): Promise<string> {
  const asked = { to: peer, port: ECHO, length: datagramMax, wait: contest.patience };
  const { same, error, length } = await contest.peer<{ same?: boolean; error?: string; length?: number }>(["ask"], [
    asked,
  ]);
  return same === true ? "whole" : error ?? `${length} bytes`;
}

async function namesAfterPorts(contest: Contest, { silent, peer }: Family): Promise<string> {
  const allowed = ["--no-check", "--no-prompt", "--allow-ffi"];
  await contest.inGuest([Deno.execPath(), "run", ...allowed, `${ROOT}/tests/kit/netd/ports.ts`, silent]);
  const once = [`+time=${contest.patience}`, "+tries=1"];
  const { text } = await contest.inGuest(["dig", `@${peer}`, "+short", ...once, "x.test"]);
  return text.trim().split("\n")[0]!;
}

const CASES: readonly Case[] = [
  { name: "a client's address behind a forward", truth: ({ world }) => world, seen: forwarded },
  { name: "a refused port", truth: "ECONNREFUSED", seen: (contest, { world }) => connected(contest, world) },
  {
    name: "an unreachable network",
    truth: ({ version }) => version === 4 ? "EHOSTUNREACH" : "ENETUNREACH",
    seen: (contest, { unreachable }) => connected(contest, unreachable),
  },
  {
    name: "half-close",
    truth: `${HALF_CLOSED} bytes, eof`,
    seen: (contest, { world }) =>
      played(contest, world, [["send", HALF_CLOSED], ["half"], ["drain"]], [["drain"], ["send", HALF_CLOSED]]),
  },
  {
    name: "an answer, and then a reset",
    truth: `${BEFORE_RESET} bytes, ECONNRESET`,
    seen: (contest, { world }) => played(contest, world, [["drain"]], [["send", BEFORE_RESET], ["sent"], ["reset"]]),
  },
  { name: "ping of a dead address", truth: "0 received", seen: (contest, { dead }) => pinged(contest, dead) },
  { name: "traceroute", truth: ({ router, world }) => `${router} ${world}`, seen: hops },
  { name: "a datagram of 64 KiB, and back", truth: "whole", seen: echoed },
  {
    name: `${CONNECTS} connects at once`,
    truth: `${CONNECTS} answered`,
    isHeavy: true,
    seen: async (contest, { world }) => {
      const { done } = await contest.peer<{ done: number }>(["many", world, PLAYS, CONNECTS]);
      return `${done} answered`;
    },
  },
  {
    name: `${DOWNLOADS} downloads at once, by hash`,
    truth: `${DOWNLOADS} whole`,
    isHeavy: true,
    seen: async (contest, { world }) => {
      const { right } = await contest.peer<{ right: number }>(["load", world, PLAYS, DOWNLOADS, DOWNLOAD_SIZE]);
      return `${right} whole`;
    },
  },
  { name: "a name after 65,000 UDP ports", truth: "192.0.2.77", isHeavy: true, seen: namesAfterPorts },
];

/** What one of them shows, by case and version. */
type Seen = Map<string, string>;

const keyOf = ({ name }: Case, family: Family) => `${name}, ${family.name}`;
const TRUTH: Seen = new Map(CASES.flatMap((one) =>
  FAMILIES.map((family) => {
    const { truth } = one;
    return [keyOf(one, family), typeof truth === "string" ? truth : truth(family)] as const;
  })
));

/** Tries everything with one of them. What stops another is its answer; what stops ours fails the test. */
async function tryAll(contestant: Contestant): Promise<Seen> {
  const seen: Seen = new Map();
  const failed = (error: unknown): string => {
    if (contestant.tool === null) throw error;
    return String(error).replaceAll(/\s+/g, " ").slice(0, WHY_LENGTH);
  };
  try {
    await using contest = await openContest(contestant);
    const end = contestant.tool === null ? Infinity : performance.now() + OTHERS_LIMIT_MS;
    const look = async (one: Case, family: Family) => {
      if (performance.now() > end) return void seen.set(keyOf(one, family), "no time left");
      seen.set(keyOf(one, family), await one.seen(contest, family).catch(failed));
    };
    const light = CASES.filter(({ isHeavy }) => isHeavy === undefined);
    await Promise.all(light.flatMap((one) => FAMILIES.map((family) => look(one, family))));
    for (const one of CASES.filter(({ isHeavy }) => isHeavy)) for (const family of FAMILIES) await look(one, family);
  } catch (error) {
    const why = failed(error);
    for (const key of TRUTH.keys()) if (!seen.has(key)) seen.set(key, why);
  }
  return seen;
}

// At once, as much of their time is waiting.
for (const [ours, ...others] of [["netd tap", "slirp4netns"], ["netd socket", "pasta", "passt"]]) {
  const needs = netdNeeds("curl", "dig", "ping", "/usr/bin/python3", "socat", "ss", "traceroute");
  machineTest(
    `contest: a guest's programs see the truth behind ${ours}; beside it ${others.join(" and ")}`,
    needs,
    async () => {
      const all = CONTESTANTS.filter(({ name, tool }) =>
        name === ours || (others.includes(name) && missing([`tool:${tool!}`]) === null)
      );
      const results = await Promise.all(all.map(tryAll));
      for (const key of TRUTH.keys()) {
        console.log(`${key}: ${all.map(({ name }, i) => `${name}: ${results[i]!.get(key)}`).join("; ")}`);
      }
      assertEquals(results[all.findIndex(({ name }) => name === ours)], TRUTH);
    },
  );
}
