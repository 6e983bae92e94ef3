/** Picking ports. */

import { assert, assertEquals } from "@std/assert";
import { SeededRandom } from "../../../kernel/random.ts";
import { IP_UNSPECIFIED } from "../../../kernel/wire/ip_addr.ts";
import { refusal, testEnv } from "../../../tests/kit/host/dev.ts";
import { Conv } from "./conv.ts";
import { ConvTable } from "./conv_table.ts";
import { IpStack } from "../ip_stack.ts";
import { PORT_AUTO_MIN, PORT_RESTRICTED_MAX, PORT_RESTRICTED_MIN, PortSpace } from "./ports.ts";
import { UdpProto } from "../udp/udp.ts";

const stack = new IpStack(0, testEnv());
const proto = stack.addProto((stack) => new UdpProto(stack));

function withPort(lport: number): Conv {
  const conv = new Conv(stack.space(proto), proto, 0);
  conv.lport = conv.lportEnd = lport;
  return conv;
}

Deno.test("PortSpace.pick() answers ports of 5000 to 65535 that differ with the seed", () => {
  const first = new PortSpace(new SeededRandom(1), new ConvTable<Conv>()).pick();
  const second = new PortSpace(new SeededRandom(2), new ConvTable<Conv>()).pick();
  assert(first >= PORT_AUTO_MIN && second >= PORT_AUTO_MIN && first !== second);
});

Deno.test("PortSpace.pick() leaves out ports in use and ranges, until none is left", () => {
  const table = new ConvTable<Conv>();
  const ports = new PortSpace(new SeededRandom(1), table);
  for (let port = PORT_RESTRICTED_MIN; port < 1000; port++) ports.hold(withPort(port));
  const range = withPort(1001);
  table.add(range, { raddr: IP_UNSPECIFIED, rport: 0, laddr: IP_UNSPECIFIED, lport: 1001, lportEnd: 1023 });
  assertEquals(ports.pick(true), 1000);
  const last = withPort(1000);
  ports.hold(last);
  assertEquals(refusal(() => ports.pick(true)), "EFAIL: Cannot pick a port: all of 600 to 1023 are in use");
  ports.release(last);
  assertEquals(ports.pick(true), 1000);
  table.removeAll(range);
  assert(ports.pick(true) <= PORT_RESTRICTED_MAX);
});

Deno.test("PortSpace counts a port once for each conversation that has it", () => {
  const ports = new PortSpace(new SeededRandom(1), new ConvTable<Conv>());
  const [a, b] = [withPort(80), withPort(80)];
  ports.hold(a);
  ports.hold(a);
  ports.hold(b);
  ports.release(a);
  ports.release(a);
  assert(ports.isUsed(80));
  ports.release(b);
  assertEquals([ports.isUsed(80), ports.length], [false, 0]);
});
