import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { KernelError } from "../../../kernel/error.ts";
import { fuzz } from "../../../tests/kit/check/fuzz.ts";
import { addrPairs } from "../../../tests/kit/ip/wire.ts";
import { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { ip } from "../../../tests/kit/ip/packets.ts";
import { TestHost } from "../../../tests/kit/ip/link.ts";
import type { Cast } from "../env/cast.ts";
import { SELF_ADDRS_MAX, SelfTable } from "./self_table.ts";

const host = new TestHost();
const ifc = host.ifc().ifc;
const other = host.ifc().ifc;

Deno.test("SelfTable tells what an address is to us, of both versions", () => {
  const table = new SelfTable();
  table.add(ip("10.0.0.1"), ifc, "unicast");
  table.add(ip("10.0.0.255"), ifc, "broadcast");
  table.add(ip("fe80::1"), ifc, "unicast");
  assertEquals(table.cast(ip("10.0.0.1")), "unicast");
  assertEquals(table.cast(ip("10.0.0.255")), "broadcast");
  assertEquals(table.isLocal(ip("fe80::1")), true);
  assertEquals(table.isLocal(ip("10.0.0.255")), false);
  assertEquals(table.cast(ip("10.0.0.2")), null);
  // The same 32 bits at the end are not the same address.
  assertEquals(table.cast(ip("::a00:1")), null);
});

Deno.test("SelfTable keeps an address until its last use is gone, and tells the first and the last", () => {
  const table = new SelfTable();
  assertEquals(table.add(ip("224.1.1.1"), ifc, "multicast"), true);
  assertEquals(table.add(ip("224.1.1.1"), ifc, "multicast"), false);
  assertEquals(table.add(ip("224.1.1.1"), other, "multicast"), true);
  assertEquals(table.remove(ip("224.1.1.1"), ifc, "multicast"), false);
  assertEquals(table.remove(ip("224.1.1.1"), ifc, "multicast"), true);
  assertEquals(table.find(ip("224.1.1.1"))?.isOn(ifc), false);
  assertEquals(table.find(ip("224.1.1.1"))?.isOn(other), true);
  assertEquals(table.remove(ip("224.1.1.1"), ifc, "multicast"), false);
  assertEquals(table.remove(ip("224.1.1.1"), other, "multicast"), true);
  assertEquals(table.size, 0);
});

Deno.test("SelfTable takes an address for a host's if it is that on any interface", () => {
  const table = new SelfTable();
  table.add(ip("10.0.0.255"), ifc, "broadcast");
  table.add(ip("10.0.0.255"), other, "unicast");
  assertEquals(table.cast(ip("10.0.0.255")), "unicast");
  table.remove(ip("10.0.0.255"), other, "unicast");
  assertEquals(table.cast(ip("10.0.0.255")), "broadcast");
});

Deno.test("SelfTable.format() shows the right version letter and no NULs (defect 15)", () => {
  const table = new SelfTable();
  table.add(ip("fe80::1"), ifc, "unicast");
  table.add(ip("10.0.0.255"), ifc, "broadcast");
  table.add(ip("10.0.0.1"), ifc, "unicast");
  table.add(ip("10.0.0.1"), other, "unicast");
  assertEquals(table.format(), "10.0.0.1 2 4u\n10.0.0.255 1 4b\nfe80::1 1 6u\n");
});

Deno.test("SelfTable refuses more addresses than its limit", () => {
  const table = new SelfTable();
  for (let i = 0; i < SELF_ADDRS_MAX; i++) table.add(IpAddr.v4(i), ifc, "unicast");
  assertThrows(() => table.add(ip("fe80::1"), ifc, "unicast"), KernelError, "4096");
  assertEquals(table.size, SELF_ADDRS_MAX);
});

Deno.test("SelfTable agrees with a plain list after any additions and removals", () => {
  const casts: Cast[] = ["unicast", "broadcast", "multicast"];
  const addrs = [...fc.sample(addrPairs, { numRuns: 6, seed: 1 }).flat(), ip("10.0.0.1"), ip("fe80::1")];
  const change = fc.record({
    add: fc.boolean(),
    addr: fc.constantFrom(...addrs),
    ifc: fc.constantFrom(ifc, other),
    cast: fc.constantFrom(...casts),
  });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 60 }), (changes) => {
      const table = new SelfTable();
      let list: typeof changes = [];
      for (const one of changes) {
        const same = (old: typeof one) => old.addr.equals(one.addr) && old.ifc === one.ifc && old.cast === one.cast;
        if (one.add) {
          table.add(one.addr, one.ifc, one.cast);
          list.push(one);
        } else {
          table.remove(one.addr, one.ifc, one.cast);
          const at = list.findIndex(same);
          list = list.filter((_, i) => i !== at);
        }
      }
      for (const addr of addrs) {
        const found = casts.find((cast) => list.some((one) => one.addr.equals(addr) && one.cast === cast)) ?? null;
        assertEquals(table.cast(addr), found);
      }
      assertEquals(table.size, new Set(list.map((one) => `${one.addr}`)).size);
    }),
    fuzz(200),
  );
});
