/** The ctl verbs of every conversation. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import fc from "fast-check";
import { KernelError } from "../../../kernel/error.ts";
import { refusal, refusalCode, writeText } from "../../../tests/kit/host/dev.ts";
import { fuzzSteps, sequences } from "../../../tests/kit/check/fuzz.ts";
import { ipFixture, PEER, udpPacket, US } from "../../../tests/kit/ip/ip_fixture.ts";
import { ConvState } from "../conv/proto.ts";

Deno.test("Conformance 2: bypass *!0 takes a free port, which others get for one address only", () => {
  const ip = ipFixture();
  const first = ip.convOf("glenda", "udp", "bypass *!0");
  assertMatch(first.text("status"), /^Bypassed /);
  assertMatch(first.text("local"), /^::!\d+\n$/);
  const port = first.port();
  assert(port >= 5000 && port <= 65535);
  assertEquals(
    refusal(() => ip.conv("udp", `announce *!${port}`)),
    `EFAIL: Cannot use port ${port}: udp/0 of glenda has bypassed it`,
  );
  assertEquals(refusalCode(() => ip.conv("udp", `bypass ${port}`)), "EFAIL");
  const own = ip.conv("udp", "headers", `announce ${US}!${port}`);
  ip.inject(udpPacket({ dstPort: port }));
  assertEquals([own.read()?.length, first.read()], [52, null]);
});

Deno.test("Conformance 3: bypass *!* is eve's; bypass wants one argument and an address of ours", () => {
  const ip = ipFixture();
  assertEquals(refusalCode(() => ip.convOf("glenda", "udp", "bypass *!*")), "EPERM");
  assertEquals(refusalCode(() => ip.convOf("glenda", "udp", "announce *")), "EPERM");
  assert(ip.conv("udp", "bypass *!*").port() >= 5000);
  const udp = ip.conv("udp");
  assertEquals(refusalCode(() => udp.command("bypass")), "EINVAL");
  assertEquals(refusalCode(() => udp.command("bypass 7 8")), "EINVAL");
  assertEquals(refusal(() => udp.command("bypass 9.9.9.9!7")), "EFAIL: Cannot use 9.9.9.9: no address of ours");
  assertEquals(udp.conv.state, ConvState.Idle);
  udp.command("bypass 7");
});

Deno.test("Defect 7: bypass is for an idle conversation, and nothing can be claimed after it", () => {
  const ip = ipFixture();
  for (const state of [`connect ${PEER}!9`, "announce 7", "bypass 7"]) {
    const udp = ip.conv("udp", state);
    const saved = udp.conv.rq;
    for (const command of ["bypass 8", "announce 8", "bind 8", `connect ${PEER}!10`]) {
      assertEquals(refusalCode(() => udp.command(command)), "EBUSY", `${command} after ${state}`);
    }
    assertEquals(udp.conv.rq === saved, true);
    udp.close();
  }
  assertEquals(ip.stack.space(ip.stack.protoNamed("udp")!).table.length, 0);
});

Deno.test("Defect 9: a refused connect or announce leaves the conversation idle with the ends it had", () => {
  const ip = ipFixture({ defaultRoute: false });
  const udp = ip.conv("udp", "bind 700");
  assertEquals(refusalCode(() => udp.command("connect 9.9.9.9!9")), "EHOSTUNREACH");
  assertEquals(refusalCode(() => udp.command("announce 9.9.9.9!9")), "EFAIL");
  assertEquals([udp.conv.state, udp.text("local"), udp.text("remote")], [ConvState.Idle, "::!700\n", "::!0\n"]);
  udp.command(`connect ${PEER}!9`);
  assertEquals([udp.text("local"), udp.text("remote")], [`${US}!700\n`, `${PEER}!9\n`]);
});

Deno.test("connect after bind keeps the bound port, where Akaros picked a new one and left a stale entry", () => {
  const ip = ipFixture();
  const udp = ip.conv("udp", `bind ${US}!700`, `connect ${PEER}!9`);
  assertEquals(udp.port(), 700);
  assertEquals(udp.conv.space.table.length, 1);
  udp.close();
  assertEquals(udp.conv.space.table.length, 0);
  assert(!udp.conv.space.ports.isUsed(700));
});

Deno.test("connect takes the same four ends once, and 0.0.0.0 for this machine", () => {
  const ip = ipFixture();
  ip.conv("udp", `connect ${PEER}!9 700`);
  assertEquals(
    refusal(() => ip.conv("udp", `connect ${PEER}!9 700`)),
    "EFAIL: Cannot use port 700: udp/0 of eve has connected it",
  );
  ip.conv("udp", `connect ${PEER}!10 700`);
  assertEquals(refusalCode(() => ip.conv("udp", `connect ${PEER}`)), "EFAIL");
  assertEquals(refusalCode(() => ip.conv("udp", "connect 0.0.0.0!9 1.2.3.4!7")), "EFAIL");
});

Deno.test("A restricted port is picked below 1024", () => {
  const ip = ipFixture();
  const port = ip.conv("udp", `connect ${PEER}!9!r`).port();
  assert(port >= 600 && port <= 1023);
});

Deno.test("bypass lo-hi claims a range, from which no other conversation gets a port, given or picked", () => {
  const ip = ipFixture();
  const range = ip.conv("udp", "bypass 5000-60000");
  assertEquals(range.text("local"), "::!5000-60000\n");
  for (const command of ["announce 5000", "bypass 60000", "bypass 4000-5000", "bypass 59999-60001"]) {
    assertEquals(refusalCode(() => ip.conv("udp", command)), "EFAIL", command);
  }
  assert(ip.conv("udp", "bypass 0").port() > 60000);
  ip.inject(udpPacket({ dstPort: 5555 }));
  ip.inject(udpPacket({ dstPort: 60000 }));
  ip.inject(udpPacket({ dstPort: 60001 }));
  assertEquals(range.conv.rq.blocks, 2);
});

Deno.test("ttl and tos take a number in range or return to 255 and 0", () => {
  const udp = ipFixture().conv("udp", "ttl 3", "tos 0x10");
  assertEquals([udp.conv.ttl, udp.conv.tos], [3, 16]);
  for (const command of ["ttl 0", "ttl 256", "ttl x", "tos 256", "tos 1 2"]) {
    assertEquals(refusalCode(() => udp.command(command)), "EINVAL", command);
  }
  udp.command("ttl");
  udp.command("tos");
  assertEquals([udp.conv.ttl, udp.conv.tos], [255, 0]);
});

Deno.test("Defect 9: shutdown rd reads as the end of the file, not as an error; shutdown wr refuses writes", () => {
  const ip = ipFixture();
  const udp = ip.conv("udp", `connect ${PEER}!9`, "shutdown rd");
  assertEquals(udp.read()?.length, 0);
  udp.send(new Uint8Array(1));
  udp.command("shutdown wr");
  assertEquals(refusalCode(() => udp.send(new Uint8Array(1))), "EPIPE");
  assertEquals(refusalCode(() => udp.command("shutdown both")), "EINVAL");
});

Deno.test("An empty command is EFAIL, an unknown one EINVAL, and a missing argument no crash", () => {
  const udp = ipFixture().conv("udp");
  assertEquals(refusalCode(() => udp.command("")), "EFAIL");
  assertEquals(refusalCode(() => udp.command(" \n")), "EFAIL");
  assertEquals(refusalCode(() => udp.command("frobnicate 7")), "EINVAL");
  for (const verb of ["connect", "announce", "bind", "bypass", "shutdown", "addmulti", "offload", "rqlimit"]) {
    assertEquals(refusalCode(() => udp.command(verb)), "EINVAL", verb);
  }
});

Deno.test("rqlimit limits what waits for the reader", () => {
  const ip = ipFixture();
  const udp = ip.conv("udp", "bypass 7", "rqlimit 100");
  for (let i = 0; i < 5; i++) ip.inject(udpPacket({ dstPort: 7, payload: new Uint8Array(32) }));
  assertEquals([udp.conv.rq.blocks, udp.conv.rq.drops], [2, 3]);
  assertEquals(refusalCode(() => udp.command("rqlimit 0")), "EINVAL");
});

Deno.test("Random and nearly right commands on ctl throw only KernelError and leave no claim behind", () => {
  const verbs = [
    "connect",
    "announce",
    "bind",
    "bypass",
    "bypass-header",
    "shutdown",
    "ttl",
    "tos",
    "offload",
    "rqlimit",
  ];
  const words = [
    "*",
    "*!*",
    "0",
    "7",
    "100-200",
    `${PEER}!9`,
    `${US}!7`,
    "on",
    "rd",
    "keep",
    "addmulti",
    "x!y!z",
    "'",
    "!",
  ];
  const commands = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.tuple(
      fc.constantFrom(...verbs, "headers", "addmulti", "remmulti"),
      fc.array(fc.constantFrom(...words), { maxLength: 3 }),
    )
      .map(([verb, args]) => new TextEncoder().encode([verb, ...args].join(" "))),
  );
  fc.assert(
    fc.property(
      sequences(fc.tuple(fc.constantFrom("udp", "icmp", "raw"), fc.array(commands, { maxLength: 12 }))),
      (steps) => {
        const ip = ipFixture();
        for (const [proto, list] of steps) {
          const conv = ip.conv(proto);
          for (const bytes of list) {
            try {
              writeText(conv.ctl, bytes);
            } catch (error) {
              assert(error instanceof KernelError);
            }
            assert(conv.conv.entries.length <= 1);
          }
          conv.close();
          assertEquals([conv.conv.space.table.length, conv.conv.space.ports.length], [0, 0]);
        }
      },
    ),
    fuzzSteps(150),
  );
});
