import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { KernelError } from "../../kernel/error.ts";
import { Bench, frame, refusal } from "../../tests/kit/ip/ether.ts";
import { fuzzSteps, sequences } from "../../tests/kit/check/fuzz.ts";
import { GROUPS_MAX } from "./ether_conv.ts";
import { NETIF_VERBS } from "./netif_ctl.ts";

Deno.test("connect to a type that another conversation has is EBUSY; -1 is shared (akaros 13.17)", () => {
  const bench = new Bench();
  const first = bench.conv("connect 0x800", "connect 0x800");
  const second = bench.conv("connect -1");
  bench.conv("connect -1", "connect -2");
  assertEquals(refusal(() => bench.tell(second.ctl, "connect 2048")), "EBUSY");
  assertEquals(bench.textOf(`${second.number}/type`), "-1");
  bench.tell(first.ctl, "connect 0x806");
  bench.tell(second.ctl, "connect 04000");
  assertEquals(bench.textOf(`${second.number}/type`), "2048");
});

Deno.test("connect gives frames of the new type only", () => {
  const bench = new Bench();
  const { ctl, data } = bench.conv("connect 0x800");
  bench.tell(ctl, "connect 0x806\n");
  bench.port.arrives(frame({ type: 0x800 }));
  assertEquals(bench.count(data), 0);
  bench.port.arrives(frame({ type: 0x806 }));
  assertEquals(bench.count(data), 1);
});

Deno.test("connect refuses an invalid type", () => {
  const bench = new Bench();
  const { ctl } = bench.conv();
  for (const word of ["", " 0", " 0x10000", " ip", " 0x", " 08", " 1.5", " 1 2", " -2147483649", " NaN"]) {
    assertEquals(refusal(() => bench.tell(ctl, `connect${word}`)), "EINVAL", word);
  }
  assertEquals(bench.textOf("0/type"), "0");
});

Deno.test("an unknown verb is EINVAL and is named", () => {
  const bench = new Bench();
  const { ctl } = bench.conv();
  for (const verb of ["frobnicate", "connect0x800", "Connect", "promiscuousx"]) {
    try {
      bench.tell(ctl, verb);
      assert(false);
    } catch (error) {
      assert(error instanceof KernelError && error.code === "EINVAL" && error.message.includes(`"${verb}"`));
    }
  }
});

Deno.test("nonblocking, oneblock and offload are taken; wireless and VLAN verbs are refused with a reason", () => {
  const bench = new Bench();
  const { ctl, number } = bench.conv();
  for (const text of ["nonblocking", "nonblocking 1", "nonblocking 0", "oneblock", "offload"]) bench.tell(ctl, text);
  assert(bench.dev.nic(0).convs[number]!.offload);
  bench.tell(ctl, "offload off");
  assertEquals(bench.dev.nic(0).convs[number]!.offload, false);
  assertEquals(refusal(() => bench.tell(ctl, "nonblocking maybe")), "EINVAL");
  for (const text of ["scanbs 5", "scanbs", "ea 525400000009", "disable"]) {
    assertEquals(refusal(() => bench.tell(ctl, text)), "EFAIL", text);
  }
  assertEquals(refusal(() => bench.tell(ctl, "")), "EFAIL");
  assertEquals(refusal(() => bench.tell(ctl, "addmulti 01:02:03:04:05")), "EFAIL");
});

Deno.test("verbs after the port is gone are ENODEV", () => {
  const bench = new Bench();
  const { ctl } = bench.conv("connect 0x800");
  bench.dev.detachPort(0);
  assertEquals(refusal(() => bench.tell(ctl, "connect 0x806")), "ENODEV");
});

Deno.test("any text in ctl throws nothing but KernelError and leaves the tables within their limits", () => {
  const verb = fc.constantFrom(...NETIF_VERBS.map(({ name }) => name));
  const word = fc.oneof(fc.string({ maxLength: 12 }), fc.constantFrom("-1", "0x800", "0100000000ff", "1", "on"));
  const group = fc.integer({ min: 0, max: 0xffff }).map((n) => `addmulti 01000000${n.toString(16).padStart(4, "0")}`);
  const text = fc.oneof(
    fc.uint8Array({ maxLength: 100 }),
    fc.oneof(group, fc.tuple(verb, word).map((words) => words.join(" "))).map((line) => new TextEncoder().encode(line)),
  );
  fc.assert(
    fc.property(sequences(text), (steps) => {
      const bench = new Bench();
      const { ctl, data, number } = bench.conv();
      for (const bytes of steps) {
        try {
          bench.dev.write(ctl, bytes, 0);
        } catch (error) {
          assert(error instanceof KernelError);
        }
        assert(bench.dev.nic(0).convs[number]!.groups.size <= GROUPS_MAX);
        assert(bench.dev.nic(0).promiscuous <= 1);
      }
      bench.count(data);
    }),
    fuzzSteps(1000),
  );
});
