/** Bypass of whole IP protocols. */

import { assertEquals } from "@std/assert";
import { ICMP_UNREACHABLE, ICMP_UNREACHABLE_PROTOCOL } from "../../../kernel/wire/icmp.ts";
import { refusal, refusalCode } from "../../../tests/kit/host/dev.ts";
import { icmpErrorPacket, ipFixture, ipPacket, pattern, PEER, US } from "../../../tests/kit/ip/ip_fixture.ts";

const GRE = 47;
const SCTP = 132;

Deno.test("Defect 8: raw claims a whole protocol, both ways, until it is closed", () => {
  const ip = ipFixture();
  const raw = ip.conv("raw", `bypass ${GRE}`);
  const packet = ipPacket({ protocol: GRE, payload: pattern(30) });
  ip.inject(packet);
  assertEquals([raw.read(), ip.sent()], [packet, []]);
  const back = ipPacket({ src: US, dst: PEER, protocol: GRE, payload: pattern(4) });
  raw.send(back);
  assertEquals(ip.sent(), [back]);
  for (const protocol of [17, SCTP]) {
    assertEquals(refusalCode(() => raw.send(ipPacket({ src: US, dst: PEER, protocol }))), "EPERM");
  }
  raw.close();
  assertEquals(ip.stack.protocolFor(GRE), null);
  ip.inject(packet);
  assertEquals(ip.sent().map((answer) => [answer[20], answer[21]]), [[ICMP_UNREACHABLE, ICMP_UNREACHABLE_PROTOCOL]]);
});

Deno.test("raw refuses protocols that have a directory, and numbers that are none", () => {
  const ip = ipFixture();
  const raw = ip.conv("raw");
  assertEquals(refusal(() => raw.command("bypass 17")), 'EBUSY: Cannot bypass protocol 17: it has the directory "udp"');
  for (const command of ["bypass 256", "bypass 250-256", "bypass 0", "bypass *"]) {
    assertEquals(refusalCode(() => raw.command(command)), "EINVAL", command);
  }
  assertEquals(refusalCode(() => raw.command(`connect ${PEER}!1`)), "EFAIL");
  raw.command("bypass 200-210");
  assertEquals(refusalCode(() => ip.conv("raw", "bypass 205")), "EFAIL");
});

Deno.test("raw keeps a protocol while any of its claims lives, and answers for addresses that are not claimed", () => {
  const ip = ipFixture();
  const all = ip.conv("raw", `bypass ${SCTP}`);
  const own = ip.conv("raw", `bypass ${US}!${SCTP}`);
  const packet = ipPacket({ protocol: SCTP, payload: pattern(20) });
  ip.inject(packet);
  assertEquals([own.read(), all.read()], [packet, null]);
  own.close();
  ip.inject(packet);
  assertEquals(all.read(), packet);
});

Deno.test("Defect 6: an ICMP error about a raw packet comes to err", () => {
  const ip = ipFixture();
  const raw = ip.conv("raw", `bypass ${GRE}`);
  const sent = ipPacket({ src: US, dst: PEER, protocol: GRE, payload: pattern(8) });
  ip.inject(icmpErrorPacket({ type: ICMP_UNREACHABLE, code: 1, packet: sent }));
  assertEquals(raw.conv.eq.blocks, 1);
});
