/** The model guest's IPv6 address: from a router's advertisement, or not at all. */

import { assertEquals, assertRejects } from "@std/assert";
import { KernelError } from "../../../kernel/error.ts";
import { boot } from "../../../tools/boot/boot.ts";
import { modelSlaac, SLAAC_LIMIT_MS } from "../../../tools/vmm/guests/model/slaac.ts";

Deno.test("modelSlaac() answers with the address only when it is the interface's own", async () => {
  await using host = await boot({ address6: "2001:db8::1/64" });
  using guest = await host.guest({ subnet6: "fd00:0:0:9::/64" });
  const proc = guest.host.spawn("look");
  assertEquals(await modelSlaac({ proc, clock: host.clock }), guest.address6);
  const self = await proc.readText("/net/ipselftab");
  assertEquals(self.includes(guest.address6), true, self);
});

Deno.test("modelSlaac() gives up where no router advertises a network", async () => {
  await using host = await boot();
  const startMs = host.clock.now();
  const proc = host.spawn("ask");
  const error = await assertRejects(() => modelSlaac({ proc, clock: host.clock }), KernelError);
  assertEquals(error.code, "ETIMEDOUT");
  assertEquals(host.clock.now() - startMs, SLAAC_LIMIT_MS);
});
