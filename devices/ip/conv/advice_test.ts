/** Who is hung up by which ICMP error. */

import { assertEquals } from "@std/assert";
import { TapEvent } from "../../../kernel/fd_tap.ts";
import {
  ICMP_PARAMETER_PROBLEM,
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
  ICMP_UNREACHABLE_TOO_BIG,
} from "../../../kernel/wire/icmp.ts";
import { Block } from "../../../kernel/block.ts";
import { ip as addr, ipFixture, PEER, US } from "../../../tests/kit/ip/ip_fixture.ts";
import { adviseConv } from "./advice.ts";
import { ERR_QUEUE_LIMIT } from "./conv.ts";
import type { Advice } from "./proto.ts";

function advice(type: number, code: number): Advice {
  const ends = { laddr: addr(US), raddr: addr(PEER), lport: 7, rport: 9 };
  const block = Block.from(new Uint8Array(100));
  return {
    text: "Why",
    version: 4,
    type,
    code,
    mtu: 0,
    unreachable: type === ICMP_UNREACHABLE && code !== ICMP_UNREACHABLE_TOO_BIG,
    hard: false,
    refused: false,
    protocol: 17,
    ...ends,
    block,
    quotedAt: 0,
    transportAt: 0,
  };
}

Deno.test("adviseConv() hangs up for unreachable but not for too big, time exceeded or parameter problem", () => {
  const ip = ipFixture();
  const cases: [number, number, boolean][] = [
    [ICMP_UNREACHABLE, 0, true],
    [ICMP_UNREACHABLE, 3, true],
    [ICMP_UNREACHABLE, ICMP_UNREACHABLE_TOO_BIG, false],
    [ICMP_TIME_EXCEEDED, 0, false],
    [ICMP_PARAMETER_PROBLEM, 0, false],
  ];
  for (const [type, code, hangsUp] of cases) {
    const udp = ip.conv("udp", `connect ${PEER}!9 7`);
    adviseConv(udp.conv, advice(type, code));
    assertEquals([udp.conv.rq.closed, udp.conv.rq.reason], [hangsUp, hangsUp ? "Why" : ""]);
    udp.close();
  }
});

Deno.test("adviseConv() fires Error on data, and keeps no more errors than the err queue takes", () => {
  const udp = ipFixture().conv("udp", "headers", "announce 7");
  const tap = udp.tap(TapEvent.Error | TapEvent.Hangup);
  for (let i = 0; i < 1000; i++) adviseConv(udp.conv, advice(ICMP_UNREACHABLE, 3));
  assertEquals(tap.take().length, udp.conv.eq.blocks);
  assertEquals(udp.conv.eq.length < ERR_QUEUE_LIMIT + 100, true);
});
