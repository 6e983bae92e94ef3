/** The host ports of forwards: claimed whole or not at all, and given back. */

import { assertEquals, assertThrows } from "@std/assert";
import { KernelError } from "../../kernel/error.ts";
import { ip } from "../../tests/kit/ip/ip_fixture.ts";
import { FAMILIES } from "../../tests/kit/nat/families.ts";
import { sentOf } from "../../tests/kit/nat/steps.ts";
import { parseForward } from "./forward.ts";
import { closeForward, openForward } from "./forward_ports.ts";

for (const family of FAMILIES) {
  const guest = ip(family.guest);
  const spec = parseForward(family.forward("udp", 6000, 53));

  Deno.test(`${family.name}: a port that another program has is refused, and the guest's map keeps what it had`, () => {
    const kit = family.kit();
    const { map } = sentOf(kit.out(family.udp({ srcPort: 6000 })));
    kit.ports.taken.add(6000);
    assertEquals(assertThrows(() => openForward(kit.nat, spec, guest), KernelError).code, "EADDRINUSE");
    assertEquals(kit.nat.forwards.list.length, 0);
    // The map had to give its port up for the attempt, and another program has that now.
    assertEquals([map.live, map.carrier], [false, null]);
  });

  Deno.test(`${family.name}: a forward carries the guest's map, which has its port back when the forward goes`, () => {
    const kit = family.kit();
    const { map } = sentOf(kit.out(family.udp({ srcPort: 6000 })));
    const forward = openForward(kit.nat, spec, guest);
    assertEquals({ carrier: map.carrier, fd: map.fd }, { carrier: forward.map, fd: -1 });
    assertEquals(closeForward(kit.nat, spec).map, forward.map);
    assertEquals({ carrier: map.carrier, fd: map.fd, live: map.live }, { carrier: null, fd: 1, live: true });
    assertEquals(assertThrows(() => closeForward(kit.nat, spec), KernelError).code, "ENOENT");
  });

  Deno.test(`${family.name}: no forward leads to what is no guest, or from a loopback out of reach`, () => {
    const kit = family.kit({ loopbackForwards: false });
    const code = (text: string, to: string) =>
      assertThrows(() => openForward(kit.nat, parseForward(text), ip(to)), KernelError).code;
    assertEquals(code(family.forward("udp", 6000, 53), family.router), "EINVAL");
    assertEquals(code(family.forward("udp", 6000, 53), family.remote), "EINVAL");
    assertEquals(code(family.forward("udp", 6000, 53, family.loopback), family.guest), "EADDRNOTAVAIL");
  });
}
