/** Demultiplexing: precedence, ranges, conflicts, removal. */

import { assertEquals, assertStrictEquals } from "@std/assert";
import fc from "fast-check";
import { IP_UNSPECIFIED, IpAddr, parseIpAddr } from "../../../kernel/wire/ip_addr.ts";
import { fuzz } from "../../../tests/kit/check/fuzz.ts";
import { testEnv } from "../../../tests/kit/host/dev.ts";
import { Conv } from "./conv.ts";
import { ConvTable, type Ends, ENTRIES_PER_CONV } from "./conv_table.ts";
import { IpStack } from "../ip_stack.ts";
import { UdpProto } from "../udp/udp.ts";

const stack = new IpStack(0, testEnv());
const proto = stack.addProto((stack) => new UdpProto(stack));
let number = 0;
const conv = () => new Conv(stack.space(proto), proto, number++);
const ip = (text: string) => parseIpAddr(text)!;

const US = ip("10.0.0.1");
const PEER = ip("10.0.0.2");
const NOBODY = { raddr: IP_UNSPECIFIED, rport: 0 };

Deno.test("ConvTable finds the exact conversation first, then (laddr, lport), then (*, lport), then any port", () => {
  const table = new ConvTable<Conv>();
  const [exact, own, any, wildOwn, wild] = [conv(), conv(), conv(), conv(), conv()] as const;
  table.add(wild, { ...NOBODY, laddr: IP_UNSPECIFIED, lport: 0 });
  table.add(wildOwn, { ...NOBODY, laddr: US, lport: 0 });
  table.add(any, { ...NOBODY, laddr: IP_UNSPECIFIED, lport: 7 });
  table.add(own, { ...NOBODY, laddr: US, lport: 7 });
  table.add(exact, { raddr: PEER, rport: 9, laddr: US, lport: 7 });
  const order = [exact, own, any, wildOwn, wild];
  for (const holder of order) {
    assertStrictEquals(table.find(PEER, 9, US, 7), holder);
    table.removeAll(holder);
  }
  assertEquals(table.find(PEER, 9, US, 7), null);
  assertEquals(table.length, 0);
});

Deno.test("ConvTable puts a range after a single port of the same address and before the ports of any address", () => {
  const table = new ConvTable<Conv>();
  const [single, range, any, anyRange] = [conv(), conv(), conv(), conv()] as const;
  table.add(anyRange, { ...NOBODY, laddr: IP_UNSPECIFIED, lport: 100, lportEnd: 300 });
  table.add(any, { ...NOBODY, laddr: IP_UNSPECIFIED, lport: 200 });
  table.add(range, { ...NOBODY, laddr: US, lport: 150, lportEnd: 250 });
  table.add(single, { ...NOBODY, laddr: US, lport: 200 });
  assertStrictEquals(table.find(PEER, 1, US, 200), single);
  assertStrictEquals(table.find(PEER, 1, US, 201), range);
  assertStrictEquals(table.find(PEER, 1, PEER, 200), any);
  assertStrictEquals(table.find(PEER, 1, PEER, 201), anyRange);
  for (const [port, found] of [[99, null], [100, anyRange], [150, range], [250, range], [251, anyRange], [301, null]]) {
    assertStrictEquals(table.findLocal(US, port as number), found as Conv | null);
  }
  for (const one of [single, range, any, anyRange]) table.removeAll(one);
  assertEquals(table.findLocal(US, 200), null);
});

Deno.test("ConvTable gives an IPv6 packet to a conversation without an address", () => {
  const table = new ConvTable<Conv>();
  const holder = conv();
  table.add(holder, { ...NOBODY, laddr: IP_UNSPECIFIED, lport: 7 });
  assertStrictEquals(table.find(ip("2001:db8::2"), 9, ip("2001:db8::1"), 7), holder);
});

Deno.test("ConvTable lets the newest win in a class", () => {
  const table = new ConvTable<Conv>();
  const [older, newer] = [conv(), conv()] as const;
  const ends = { ...NOBODY, laddr: IP_UNSPECIFIED, lport: 7 };
  table.add(older, ends);
  table.add(newer, ends);
  assertStrictEquals(table.findLocal(US, 7), newer);
  table.removeAll(newer);
  assertStrictEquals(table.findLocal(US, 7), older);
});

Deno.test("ConvTable.conflict() sees the same ends, a port inside a range, and a range over a port or a range", () => {
  const table = new ConvTable<Conv>();
  const [single, range] = [conv(), conv()] as const;
  table.add(single, { ...NOBODY, laddr: IP_UNSPECIFIED, lport: 7 });
  table.add(range, { ...NOBODY, laddr: IP_UNSPECIFIED, lport: 100, lportEnd: 200 });
  const at = (lport: number, lportEnd = lport, laddr = IP_UNSPECIFIED) =>
    table.conflict({ ...NOBODY, laddr, lport, lportEnd });
  assertStrictEquals(at(7), single);
  assertStrictEquals(at(5, 9), single);
  assertStrictEquals(at(100), range);
  assertStrictEquals(at(200, 300), range);
  assertStrictEquals(at(50, 300), range);
  assertEquals(at(8, 99), null);
  // Another address is another claim: it takes precedence, and leaves the other the rest.
  assertEquals(at(7, 7, US), null);
  assertEquals(at(100, 200, US), null);
});

Deno.test("ConvTable agrees with a plain list of entries, whatever is added and removed", () => {
  const addrs = [IP_UNSPECIFIED, US, ip("10.0.0.9"), ip("2001:db8::1")];
  const ends = fc.record({
    raddr: fc.constantFrom(IP_UNSPECIFIED, PEER, ip("2001:db8::2")),
    rport: fc.nat(3),
    laddr: fc.constantFrom(...addrs),
    lport: fc.integer({ min: 1, max: 6 }),
  });
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), ends), { maxLength: 60 }), fc.array(ends), (steps, questions) => {
      const table = new ConvTable<Conv>();
      const list: { holder: Conv; ends: Ends }[] = [];
      for (const [adds, ends] of steps) {
        if (adds && table.conflict(ends) === null) {
          const holder = conv();
          table.add(holder, ends);
          list.unshift({ holder, ends });
        } else if (list.length > 0) {
          table.removeAll(list.splice(ends.lport % list.length, 1)[0]!.holder);
        }
        assertEquals(table.length, list.length);
      }
      for (const { raddr, rport, laddr, lport } of questions) {
        assertStrictEquals(table.find(raddr, rport, laddr, lport), plainFind(list, { raddr, rport, laddr, lport }));
      }
    }),
    fuzz(150),
  );
});

function plainFind(list: { holder: Conv; ends: Ends }[], { raddr, rport, laddr, lport }: Ends): Conv | null {
  const exact = list.find(({ ends }) =>
    !ends.raddr.isUnspecified && ends.raddr.equals(raddr) && ends.rport === rport && ends.laddr.equals(laddr) &&
    ends.lport === lport
  );
  const of = (addr: IpAddr) =>
    list.find(({ ends }) => ends.raddr.isUnspecified && ends.laddr.equals(addr) && ends.lport === lport);
  return (exact ?? of(laddr) ?? of(IP_UNSPECIFIED))?.holder ?? null;
}

Deno.test("ConvTable holds many connections to one port and finds each", () => {
  const table = new ConvTable<Conv>();
  const convs = Array.from({ length: 4096 }, conv);
  convs.forEach((one, i) => table.add(one, { raddr: IpAddr.v4(0x0a000000 + i), rport: i, laddr: US, lport: 80 }));
  convs.forEach((one, i) => assertStrictEquals(table.find(IpAddr.v4(0x0a000000 + i), i, US, 80), one));
  for (const one of convs) table.removeAll(one);
  assertEquals([table.length, table.find(IpAddr.v4(0x0a000001), 1, US, 80)], [0, null]);
  assertEquals(ENTRIES_PER_CONV, 2);
});
