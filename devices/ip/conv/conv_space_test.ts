/** Slots: taking, using, the last close, protocols that linger. */

import { assertEquals, assertStrictEquals } from "@std/assert";
import { EVE } from "../../../kernel/qid.ts";
import { IP_UNSPECIFIED, parseIpAddr } from "../../../kernel/wire/ip_addr.ts";
import { refusalCode, testEnv } from "../../../tests/kit/host/dev.ts";
import type { Conv, Proto } from "./conv.ts";
import { BACKLOG_MAX, type ConvSpace } from "./conv_space.ts";
import { IpStack } from "../ip_stack.ts";

/** A protocol that lingers on conversations until told otherwise. */
class Lingerer implements Proto {
  readonly name = "linger";
  readonly index = 0;
  readonly ipProtocols: readonly number[] = [];
  readonly convsMax = 4;
  readonly bypassable = false;
  readonly lingering = new Set<Conv>();
  lingers = false;
  collects = 0;
  created = 0;
  create(): void {
    this.created++;
  }
  close(conv: Conv): void {
    if (this.lingers) this.lingering.add(conv);
  }
  busy(conv: Conv): boolean {
    return this.lingering.has(conv);
  }
  collect(): void {
    this.collects++;
    const [oldest] = this.lingering;
    if (oldest !== undefined) this.lingering.delete(oldest);
  }
  status(): string {
    return "";
  }
  stats(): string {
    return "";
  }
}

function space(): { proto: Lingerer; space: ConvSpace } {
  const stack = new IpStack(0, testEnv());
  const proto = new Lingerer();
  stack.addProto(() => proto);
  return { proto, space: stack.space(proto) };
}

const any = { raddr: IP_UNSPECIFIED, rport: 0, laddr: IP_UNSPECIFIED };

Deno.test("ConvSpace takes the lowest free slot, and has the protocol make it new each time", () => {
  const { space: convs, proto } = space();
  const [a, b, c] = [convs.take(EVE), convs.take(EVE), convs.take(EVE)];
  convs.drop(b);
  convs.drop(a);
  assertStrictEquals(convs.take(EVE), a);
  assertStrictEquals(convs.take(EVE), b);
  assertEquals([convs.take(EVE).number, c.number, proto.created], [3, 2, 6]);
  assertEquals(refusalCode(() => convs.take(EVE)), "ENODEV");
});

Deno.test("A conversation that lingers keeps its port and entry, and cannot be opened, until released", () => {
  const { space: convs, proto } = space();
  const conv = convs.take(EVE);
  convs.claim(conv, { ...any, lport: 80 });
  proto.lingers = true;
  convs.drop(conv);
  assertEquals([convs.table.length, convs.ports.isUsed(80)], [1, true]);
  assertEquals(refusalCode(() => convs.use(conv, EVE)), "EBUSY");
  assertEquals(convs.take(EVE).number, 1);
  proto.lingering.clear();
  convs.release(conv);
  assertEquals([convs.table.length, convs.ports.isUsed(80)], [0, false]);
  assertStrictEquals(convs.take(EVE), conv);
});

Deno.test("A full space asks its protocol to give lingering conversations up", () => {
  const { space: convs, proto } = space();
  const all = Array.from({ length: 4 }, () => convs.take(EVE));
  proto.lingers = true;
  for (const conv of all) convs.drop(conv);
  assertStrictEquals(convs.take(EVE), all[0]);
  assertEquals(proto.collects, 1);
});

Deno.test("A call belongs to the listener's owner, counts as one use, and ends with the listener", () => {
  const { space: convs } = space();
  const listener = convs.take("glenda");
  listener.ttl = 9;
  const call = convs.call(listener, { raddr: parseIpAddr("10.0.0.2")!, rport: 9, laddr: IP_UNSPECIFIED, lport: 80 })!;
  assertEquals([call.owner, call.inUse, call.ttl, call.rport, convs.table.length], ["glenda", 1, 9, 9, 1]);
  convs.drop(listener);
  assertEquals([call.inUse, call.owner, convs.table.length, BACKLOG_MAX], [0, "network", 0, 500]);
});

Deno.test("Calls that find no room are counted: the listener's owner has only a share of the space", () => {
  const { space: convs } = space();
  const listener = convs.take("glenda");
  const calls = [1, 2, 3, 4].map((rport) =>
    convs.call(listener, { raddr: parseIpAddr("10.0.0.2")!, rport, laddr: IP_UNSPECIFIED, lport: 80 })
  );
  assertEquals([calls.filter((call) => call !== null).length, convs.callsDropped], [2, 2]);
});

Deno.test("A call from no address is turned away: its entry would take the listener's place", () => {
  const { space: convs } = space();
  const listener = convs.take(EVE);
  assertEquals(convs.call(listener, { ...any, rport: 68, lport: 67 }), null);
  assertEquals([convs.callsDropped, convs.table.length], [1, 0]);
});

Deno.test("A share goes with the owner that wstat makes", () => {
  const { space: convs } = space();
  const mine = [1, 2, 3].map(() => convs.take("glenda"));
  assertEquals(refusalCode(() => convs.take("glenda")), "EFAIL");
  convs.chown(mine[0]!, "boyd");
  convs.take("glenda");
  convs.drop(mine[0]!);
  convs.take("boyd");
});
