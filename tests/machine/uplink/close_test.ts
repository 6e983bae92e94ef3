/**
 * How connections through the socket uplink end, between real Linux sockets: who ends first, how, and with what queued.
 * Every byte is checked at its place, both ways, for connections of the guest and for calls to a forward.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { HOST, linesOf, openUplinkLab, type UplinkLab, uplinkNeeds, VERSIONS, WORLD } from "../../kit/uplink/lab.ts";
import { machineTest } from "../../kit/check/skip.ts";

type Step = readonly [string, number?];
/** What a side has received: bytes, how it ended, and where the first wrong byte is. */
interface Part {
  readonly id: string;
  readonly got: number;
  readonly end: string;
  readonly wrong?: number;
  readonly from?: string;
}

/** The parts of both sides, and what each must have had. */
interface Play {
  readonly name: string;
  readonly client: readonly Step[];
  readonly server: readonly Step[];
  readonly clientHad: Pick<Part, "got" | "end">;
  readonly serverHad: Pick<Part, "got" | "end">;
}

const QUEUED = [0, 1, 300_000] as const;
const eof = (got: number) => ({ got, end: "eof" });
const reset = (got: number) => ({ got, end: "ECONNRESET" });
const nothing = { got: 0, end: "none" };

/** Plays in which both sides end, with `n` bytes queued. */
function endsOf(n: number): Play[] {
  return [
    {
      name: "the client ends, and the server answers only after that",
      client: [["send", n], ["half"], ["drain"]],
      server: [["drain"], ["sleep", 0.2], ["send", n], ["close"]],
      clientHad: eof(n),
      serverHad: eof(n),
    },
    {
      name: "the server ends, and the client goes on",
      client: [["drain"], ["sleep", 0.2], ["send", n], ["close"]],
      server: [["send", n], ["half"], ["drain"]],
      clientHad: eof(n),
      serverHad: eof(n),
    },
    {
      name: "both end at once",
      client: [["send", n], ["half"], ["drain"]],
      server: [["send", n], ["half"], ["drain"]],
      clientHad: eof(n),
      serverHad: eof(n),
    },
    {
      name: "the client closes at once, and the server reads late",
      client: [["send", n], ["close"]],
      server: [["sleep", 0.3], ["drain"]],
      clientHad: nothing,
      serverHad: eof(n),
    },
    {
      name: "the server closes at once, and the client reads late",
      client: [["sleep", 0.3], ["drain"]],
      server: [["send", n], ["close"]],
      clientHad: eof(n),
      serverHad: nothing,
    },
  ];
}

/** Plays in which a side has room for less than a segment or two (a window smaller than the MSS). */
const NARROW: readonly Play[] = [
  {
    name: "the server has a small buffer",
    client: [["send", 100_000], ["half"], ["drain"]],
    server: [["buffer", 2000], ["drain"], ["send", 1], ["close"]],
    clientHad: eof(1),
    serverHad: eof(100_000),
  },
  {
    name: "the client has a small buffer",
    client: [["buffer", 2000], ["drain"]],
    server: [["send", 100_000], ["close"]],
    clientHad: eof(100_000),
    serverHad: nothing,
  },
];

/** Plays in which a side resets, with `n` bytes queued. */
function resetsOf(n: number): Play[] {
  return [
    {
      name: "the server resets behind what it sent",
      client: [["sleep", 0.3], ["drain"]],
      server: [["send", n], ["sent"], ["reset"]],
      clientHad: reset(n),
      serverHad: nothing,
    },
    {
      name: "the client resets behind what it sent",
      client: [["send", n], ["read", 1], ["reset"]],
      server: [["read", n], ["send", 1], ["drain"]],
      clientHad: { got: 1, end: "none" },
      serverHad: reset(n),
    },
    {
      name: "the server answers and closes with a request that it did not read",
      client: [["send", 70_000], ["drain"]],
      server: [["come", 1], ["send", n], ["sent"], ["close"]],
      clientHad: reset(n),
      serverHad: nothing,
    },
    {
      name: "the server ends, and then resets",
      client: [["drain"], ["send", 1], ["broken"], ["send", 1]],
      server: [["send", n], ["half"], ["read", 1], ["reset"]],
      clientHad: { got: n, end: "EPIPE" },
      serverHad: { got: 1, end: "none" },
    },
  ];
}

/** Plays that are about time: a side that stops reading, and goes on. */
const SLOW: readonly Play[] = [
  {
    name: "the server stops reading for a second",
    client: [["send", 20_000_000], ["half"], ["drain"]],
    server: [["read", 100_000], ["sleep", 1], ["drain"], ["send", 1], ["close"]],
    clientHad: eof(1),
    serverHad: eof(20_000_000),
  },
  {
    name: "the client stops reading for a second",
    client: [["read", 100_000], ["sleep", 1], ["drain"]],
    server: [["send", 20_000_000], ["close"]],
    clientHad: eof(20_000_000),
    serverHad: nothing,
  },
];

/** Plays all of `plays` at once from one side to the other; the differences to what was to be. */
async function differences(
  lab: UplinkLab,
  plays: readonly (Play & { readonly id: string })[],
  { from, to, port, at }: { from: "guest" | "world"; to: string; port: number; at: string },
): Promise<unknown[]> {
  const clients = await lab.peer<Part>(from, ["play", to, port], plays);
  const deadline = Date.now() + 20_000;
  const served = () => {
    return new Map(linesOf<Part>(lab.servers.get(at)!.text).map((part) => [part.id, part]));
  };
  while (Date.now() < deadline && plays.some(({ id }) => !served().has(id))) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const wrong: unknown[] = [];
  for (const { id, clientHad, serverHad } of plays) {
    const client = clients.find((part) => part.id === id);
    const server = served().get(id);
    const had = (part: Part | undefined) => part && { got: part.got, end: part.end, wrong: part.wrong };
    // What the guest has sent before its reset goes as far as Linux takes it at that moment: a reader that is late may
    // miss the rest, and nothing but the rest.
    const mayMiss = from === "world" && clientHad.end === "ECONNRESET";
    const isRight = (part: Part | undefined, want: Pick<Part, "got" | "end">, mayMiss = false) =>
      part !== undefined && (mayMiss ? part.got <= want.got : part.got === want.got) && part.end === want.end &&
      part.wrong === undefined;
    if (!isRight(client, clientHad, mayMiss)) wrong.push({ id, side: "client", had: had(client), clientHad });
    if (!isRight(server, serverHad)) wrong.push({ id, side: "server", had: had(server), serverHad });
  }
  return wrong;
}

machineTest(
  "socket uplink: connections end as their ends end them, and lose no byte",
  uplinkNeeds(),
  async (t) => {
    await using lab = await openUplinkLab({ guestServers: true, options: ["--forward", "tcp:8009:9"] });
    const matrix = QUEUED.flatMap((n) =>
      [...endsOf(n), ...resetsOf(n)].map((play) => ({ ...play, name: `${play.name}, ${n} bytes` }))
    );
    const named = (plays: readonly Play[], way: string) =>
      plays.map((play) => ({ ...play, id: `${way}: ${play.name}` }));
    for (const version of VERSIONS) {
      const way = { from: "guest", to: WORLD[version], port: 9, at: "world" } as const;
      await t.step(`IPv${version}, from the guest`, async () => {
        assertEquals(await differences(lab, named(matrix, `out ${version}`), way), []);
      });
      await t.step(`IPv${version}, from the guest, a reader that stops and goes on`, async () => {
        assertEquals(await differences(lab, named([...SLOW, ...NARROW], `slow ${version}`), way), []);
      });
    }
    await t.step("to a forward", async () => {
      const way = { from: "world", to: HOST[4], port: 8009, at: "guest" } as const;
      assertEquals(await differences(lab, named([...matrix, ...SLOW, ...NARROW], "in"), way), []);
    });
  },
);
