import { assertEquals } from "@std/assert";
import { pattern } from "../../tests/kit/ip/ip_fixture.ts";
import { header6 } from "../../tests/kit/ip/story6.ts";
import { Reason } from "./counters.ts";
import { sentOf } from "../../tests/kit/nat/steps.ts";
import { assertSound, echo6, gotOf, natKit6, ROUTER6, tcp6, udp6 } from "../../tests/kit/nat/steps.ts";

Deno.test("What the host did not take comes back to the guest: its MTU, or that there is no way", () => {
  for (const packet of [udp6({ payload: pattern(1400) }), tcp6({ data: pattern(1300) }), echo6()]) {
    const kit = natKit6();
    const { packet: sent, map } = sentOf(kit.out(packet));
    const tooBig = gotOf(kit.refusal(sent, map, { reason: Reason.TooBig, mtu: 1300 }));
    assertSound(tooBig);
    assertEquals([`${header6(tooBig).src}`, tooBig[40], (tooBig[46]! << 8) | tooBig[47]!], [ROUTER6, 2, 1300]);
    assertEquals(tooBig.slice(48), packet.slice(0, 1232));
    const noRoute = gotOf(kit.refusal(sent, map, { reason: Reason.NoRoute }));
    assertEquals([noRoute[40], noRoute[41], noRoute.slice(48)], [1, 0, packet.slice(0, 1232)]);
    assertEquals(kit.refusal(sent, map, { reason: Reason.Busy }).toGuest, []);
  }
});
