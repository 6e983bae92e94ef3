/** What the host does not take is reported to the guest about its own packet; in both versions of IP. */

import { assertEquals } from "@std/assert";
import { get16 } from "../../kernel/wire/bytes.ts";
import { ip, pattern } from "../../tests/kit/ip/ip_fixture.ts";
import { FAMILIES } from "../../tests/kit/nat/families.ts";
import { assertSound, endsOf, gotOf, sentOf } from "../../tests/kit/nat/steps.ts";
import { Reason } from "./counters.ts";

for (const family of FAMILIES) {
  const { name, is6, codes, guest, router, dns, headerLen: at } = family;
  const codeOf = (error: Uint8Array) => [error[at], error[at + 1]];
  /** As much of a packet as errors quote. */
  const quotable = (packet: Uint8Array) => packet.slice(0, is6 ? 1232 : 548);

  Deno.test(`${name}: what the host refuses for its size or without a route comes back as the guest's packet`, () => {
    const large = { payload: pattern(1300), isWhole: true };
    for (const packet of [family.udp(large), family.tcp(large), family.echo(), family.tcp()]) {
      const kit = family.kit();
      const { packet: sent, map } = sentOf(kit.out(packet));
      const tooBig = gotOf(kit.refusal(sent, map, { reason: Reason.TooBig, mtu: 1290 }));
      assertSound(tooBig);
      assertEquals([...codeOf(tooBig), get16(tooBig, at + 6)], [...codes.tooBig, 1290]);
      assertEquals(tooBig.slice(at + 8), quotable(packet));
      const noRoute = gotOf(kit.refusal(sent, map, { reason: Reason.NoRoute }));
      assertEquals(codeOf(noRoute), codes.noRoute);
      assertEquals(noRoute.slice(at + 8), quotable(packet));
      assertEquals(kit.refusal(sent, map, { reason: Reason.Busy }).toGuest, []);
    }
  });

  Deno.test(`${name}: what the host's loopback or name server does not take is reported in the guest's names`, () => {
    const kit = family.kit({ policy: { loopback: true } });
    family.context(kit).nameServer = { addr: ip(family.host), port: 5353 };
    for (const dst of [router, dns]) {
      const { packet, map } = sentOf(kit.out(family.tcp({ dst, dstPort: 53 })));
      const error = gotOf(kit.refusal(packet, map, { reason: Reason.NoRoute }));
      assertSound(error);
      assertSound(error.slice(at + 8));
      assertEquals(codeOf(error), codes.noRoute);
      assertEquals(endsOf(error.slice(at + 8)), family.ends(guest, 4000, dst, 53));
    }
  });
}
