/** Commands and their answers, as text and as JSON, whatever the text. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import fc from "fast-check";
import { fuzzSteps, sequences } from "../../tests/kit/check/fuzz.ts";
import { udpPacket } from "../../tests/kit/ip/ip_fixture.ts";
import { GUEST, natKit, REMOTE } from "../../tests/kit/nat/steps.ts";
import { MAPS_SHOWN_MAX, runNatCommand } from "./control.ts";

Deno.test("maps shows each map once with its ends, state and time left, and says how many it left out", () => {
  const kit = natKit();
  for (let srcPort = 1000; srcPort < 1000 + MAPS_SHOWN_MAX + 5; srcPort++) {
    kit.out(udpPacket({ src: GUEST, dst: REMOTE, srcPort }));
  }
  const lines = runNatCommand(kit.nat, "maps udp", 100_000).trimEnd().split("\n");
  assertEquals([lines.length, lines[1], lines.at(-1)], [
    ...[MAPS_SHOWN_MAX + 2, `udp ${GUEST}!1000 *!1000 world unanswered 20000 1 0`, "and 5 more"],
  ]);
  const { maps, more } = JSON.parse(runNatCommand(kit.nat, "json maps", 100_000));
  assertEquals([maps.length, more, maps[0].expiresMs], [MAPS_SHOWN_MAX, 5, 20_000]);
  assertEquals(runNatCommand(kit.nat, "maps tcp", 0), "ok\n");
});

Deno.test("stats counts refusals by reason", () => {
  const kit = natKit();
  kit.out(udpPacket({ src: GUEST, dst: "169.254.169.254" }));
  assertMatch(runNatCommand(kit.nat, "stats", 0), /\nrefused-policy-metadata 1\n/);
});

Deno.test("No text makes a command throw, and every answer says ok or why not", () => {
  const words = fc.constantFrom(
    "add",
    "remove",
    "list",
    "maps",
    "json",
    "tcp:1:1",
    "udp:1-9:1",
    "help",
    "'",
    "\n",
    "x",
  );
  const texts = fc.oneof(fc.string(), fc.array(words, { maxLength: 4 }).map((parts) => parts.join(" ")));
  fc.assert(
    fc.property(sequences(texts), (steps) => {
      const { nat } = natKit();
      for (const text of steps) {
        const answer = runNatCommand(nat, text, 0);
        assert(/^(ok\n|error: .+\n$|\{"ok":(true|false),)/.test(answer), answer);
      }
    }),
    fuzzSteps(300),
  );
});
