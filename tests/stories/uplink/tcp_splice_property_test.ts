/** The bytes of a connection through the uplink, in any order of writes, pauses, ends and resets. */

import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { SeededRandom } from "../../../kernel/random.ts";
import { fuzz } from "../../kit/check/fuzz.ts";
import { TCP_LINKS, tcpWorld } from "../../kit/uplink/tcp_world.ts";
import { closed, pair, readAll, writeAll } from "../../kit/uplink/tcp_bytes.ts";

/** One step of a random connection. */
type Action =
  | { readonly who: "guest" | "server"; readonly what: "send"; readonly count: number }
  | { readonly who: "guest" | "server"; readonly what: "end" | "reset" }
  | { readonly who: "server"; readonly what: "pause" | "resume" }
  | { readonly who: "time"; readonly what: "pass"; readonly ms: number };

const ACTION: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      who: fc.constantFrom("guest", "server"),
      what: fc.constant("send"),
      count: fc.integer({ min: 1, max: 40_000 }),
    }) as fc.Arbitrary<Action>,
  },
  {
    weight: 4,
    arbitrary: fc.record({
      who: fc.constant("time"),
      what: fc.constant("pass"),
      ms: fc.integer({ min: 0, max: 300 }),
    }) as fc.Arbitrary<Action>,
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom<Action>({ who: "server", what: "pause" }, { who: "server", what: "resume" }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      who: fc.constantFrom("guest", "server"),
      what: fc.constantFrom("end", "reset"),
    }) as fc.Arbitrary<Action>,
  },
);

Deno.test("In any order of writes, pauses, ends and resets no byte is lost, doubled or reordered", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(ACTION, { maxLength: 25 }),
      fc.integer(),
      fc.constantFrom(...TCP_LINKS),
      async (actions, seed, link) => {
        await using at = await tcpWorld();
        const random = new SeededRandom(seed);
        at.fake.step = () => 1 + random.below(random.below(2) === 0 ? 10 : 50_000);
        const { guest, server } = await pair(at, link);
        const sent = { guest: 0, server: 0 };
        const isOver = { guest: false, server: false };
        let hadReset = false;
        let writing: Promise<unknown> = Promise.resolve();
        const reading = readAll(guest);
        const byte = (index: number) => index * 7 % 251;
        for (const action of actions) {
          if (action.what === "pass") await at.pass(action.ms);
          else if (action.what === "pause") server.isReading = false;
          else if (action.what === "resume") {
            server.isReading = true;
            server.pump();
          } else if (isOver[action.who] || hadReset) continue;
          else if (action.what === "send") {
            const data = Uint8Array.from({ length: action.count }, (_, i) => byte(sent[action.who as "guest"] + i));
            sent[action.who as "guest"] += action.count;
            if (action.who === "server") server.send(data);
            else writing = writing.then(() => writeAll(guest, data)).catch(() => {});
          } else if (action.what === "end") {
            isOver[action.who] = true;
            if (action.who === "server") server.end();
            else writing = writing.then(() => guest.closeWrite()).catch(() => {});
          } else {
            hadReset = true;
            if (action.who === "server") server.reset();
            else guest.reset();
          }
        }
        server.isReading = true;
        server.pump();
        if (!hadReset) {
          if (!isOver.server) server.end();
          if (!isOver.guest) writing = writing.then(() => guest.closeWrite()).catch(() => {});
        }
        await at.pass(20_000);
        const { got } = await reading;
        // What arrived is a beginning of what was sent; without a reset it is all of it.
        assertEquals([got, server.got].map((bytes) => bytes.findIndex((one, i) => one !== byte(i))), [-1, -1]);
        if (!hadReset) {
          assertEquals({ guest: server.got.length, server: got.length }, sent);
          await writing;
        }
        guest.close();
        await closed(at);
      },
    ),
    fuzz(40),
  );
});
