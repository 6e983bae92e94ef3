/** The DHCP client of the model guest, and how it gives up. */

import { assertEquals, assertRejects } from "@std/assert";
import { KernelError } from "../../../kernel/error.ts";
import { type DhcpMessage, dhcpType, parseDhcp } from "../../../kernel/wire/dhcp.ts";
import { boot } from "../../../tools/boot/boot.ts";
import { ModelCard, startGuestNetwork } from "../../../tools/vmm/vm.ts";
import { SeededRandom } from "../../../kernel/random.ts";
import { askForLease, formatLease, modelDhcp } from "../../../tools/vmm/guests/model/dhcp.ts";

const MAC = new Uint8Array([0, 1, 2, 3, 4, 0x0b]);

Deno.test("modelDhcp() sets up address, route and ndb of a guest's kernel", async () => {
  await using host = await boot();
  const card = new ModelCard({ jobs: host.clock.jobs, mac: MAC, mtu: 1400 });
  await using guest = await host.neighbor({ port: card.driver, address: null });
  startGuestNetwork({
    proc: host.spawn("nat"),
    clock: host.clock,
    random: new SeededRandom(1),
    card: card.port,
    nat: { hostAddr: "10.0.0.1/24", mtu: 1400, leaseSeconds: 600 },
  });
  const proc = guest.spawn("dhcp");
  const lease = await modelDhcp({ proc, clock: host.clock, mac: MAC, xid: 7 });
  assertEquals(
    formatLease(lease),
    "10.0.2.15/24 from 10.0.2.2: router 10.0.2.2, name server 10.0.2.3, MTU 1400, 600 s",
  );
  assertEquals(
    await proc.readText("/net/ndb"),
    "ip=10.0.2.15 ipmask=/24 ipgw=10.0.2.2\n\tdns=10.0.2.3\n",
  );
  const status = await proc.readText("/net/ipifc/1/status");
  assertEquals([status.includes("maxtu 1414"), status.includes("10.0.2.15 /24"), status.includes("0.0.0.0 ")], [
    true,
    true,
    false,
  ]);
});

Deno.test("askForLease() asks five times, takes no answer of another, and gives up", async () => {
  const asked: number[] = [];
  const exchange = (message: Uint8Array, accept: (bytes: Uint8Array) => DhcpMessage | null) => {
    asked.push(dhcpType(parseDhcp(message, 0, message.length)!));
    // Our own question, and noise.
    assertEquals([accept(message), accept(new Uint8Array(9))], [null, null]);
    return Promise.resolve(null);
  };
  const error = await assertRejects(() => askForLease({ mac: MAC, xid: 1 }, exchange), KernelError);
  assertEquals([error.code, asked], ["ETIMEDOUT", [1, 1, 1, 1, 1]]);
});
