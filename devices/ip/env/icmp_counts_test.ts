/** Counters of ICMP messages by type. */

import { assertEquals } from "@std/assert";
import { IcmpCounts } from "./icmp_counts.ts";

Deno.test("IcmpCounts counts messages by direction and type", () => {
  const counts = new IcmpCounts();
  counts.countIn(8);
  counts.countIn(8);
  counts.countOut(0);
  const { inMsgs, outMsgs } = counts;
  assertEquals({ inMsgs, outMsgs, in8: counts.in[8], out0: counts.out[0] }, { inMsgs: 2, outMsgs: 1, in8: 2, out0: 1 });
  assertEquals({ out8: counts.out[8], in0: counts.in[0] }, { out8: undefined, in0: undefined });
});

Deno.test("IcmpCounts counts a type above its table in the total alone: the table cannot be made to grow", () => {
  const counts = new IcmpCounts();
  counts.countIn(143);
  for (const type of [144, 255]) {
    counts.countIn(type);
    counts.countOut(type);
  }
  assertEquals({ inMsgs: counts.inMsgs, outMsgs: counts.outMsgs }, { inMsgs: 3, outMsgs: 2 });
  assertEquals({ in: counts.in.length, out: counts.out.length }, { in: 144, out: 0 });
});

Deno.test("types() lists the named types, and those that came or went, in order", () => {
  const counts = new IcmpCounts();
  counts.countIn(42);
  counts.countOut(3);
  counts.countIn(200);
  assertEquals(counts.types({ 8: "EchoRequest", 0: "EchoReply" }), [0, 3, 8, 42]);
});
