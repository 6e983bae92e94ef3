/** `Host.guest`: a guest for scripts, by web streams, forwards, policy, and its end. */

import { assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { boot, Errno, type Host, KernelError } from "../../../mod.ts";

/** Serves one caller of `port` with what it sees of him. */
async function serveOnce(host: Host, port: number): Promise<void> {
  using listener = await host.announce(`tcp!*!${port}`);
  const call = await listener.accept();
  const writer = call.writable.getWriter();
  await writer.write(new TextEncoder().encode(`you are ${call.remoteAddr.hostname}`));
  await writer.close();
  for await (const _ of call.readable);
}

async function ask(host: Host, address: string): Promise<string> {
  const call = await host.dial(address);
  await call.closeWrite();
  return await new Response(call.readable).text();
}

Deno.test("Host.guest(): a guest has its address by DHCP, and a forward shows it the caller's own", async () => {
  await using host = await boot();
  await using remote = await host.neighbor();
  using guest = await host.guest({ forwards: ["tcp:8080:80"] });
  assertEquals(guest.address, "10.0.2.15");
  const served = serveOnce(guest.host, 80);
  assertEquals(await ask(remote, `tcp!${host.address}!8080`), `you are ${remote.address}`);
  await served;
  assertStringIncludes(guest.command("list"), "tcp:8080:80");
});

Deno.test("Host.guest(): the guest reaches the world as its host does, unless it is restricted", async () => {
  await using host = await boot();
  await using remote = await host.neighbor();
  using free = await host.guest();
  using bound = await host.guest({ name: "bound", subnet: "10.0.3.0/24", allow: ["udp:*:53"], restrict: true });
  assertEquals(bound.address, "10.0.3.15");
  const served = serveOnce(remote, 80);
  assertEquals(await ask(free.host, `tcp!${remote.address}!80`), `you are ${host.address}`);
  await served;
  await assertRejects(() => bound.host.dial(`tcp!${remote.address}!80`), KernelError);
  assertMatch(bound.command("stats"), /refused-policy-restricted +[1-9]/);
});

Deno.test("Host.guest() refuses what cannot be, and close() gives every port back", async () => {
  await using host = await boot();
  const refused = await assertRejects(() => host.guest({ subnet: "10.0.0.0/24" }), KernelError);
  assertEquals(refused.errno, Errno.EINVAL);
  await assertRejects(() => host.guest({ forwards: ["tcp:80"] }), KernelError, "tcp:80");
  const guest = await host.guest({ forwards: ["udp:5000:5000"] });
  guest.close();
  const proc = host.spawn("after");
  await proc.announce("udp!*!5000");
});
