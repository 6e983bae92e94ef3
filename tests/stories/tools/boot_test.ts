/**
 * What a script gets by `boot`: hosts with both versions of IP, guests, worlds, and what closing each of them ends.
 *
 * @module
 */

import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { KernelError } from "../../../kernel/error.ts";
import type { VirtualClock } from "../../../kernel/time.ts";
import { boot, type BootOptions, type Host } from "../../../tools/boot/boot.ts";

/** Bytes to the end of a connection, as text. */
async function ask(host: Host, hostname: string, port: number): Promise<string> {
  const conn = await host.connect({ hostname, port });
  await conn.closeWrite();
  return await new Response(conn.readable).text();
}

/** Serves one caller with its own address. */
async function serveOnce(host: Host, port: number): Promise<void> {
  using listener = await host.listen({ port });
  const conn = await listener.accept();
  await conn.write(new TextEncoder().encode(conn.remoteAddr.hostname));
  await conn.closeWrite();
  for await (const _ of conn.readable);
}

Deno.test("boot(): a host has the IPv6 address that it was asked to have, ::1, and the way to the world", async () => {
  await using host = await boot({ address6: "2001:db8::1/64", gateway6: "2001:db8::ff" });
  const proc = host.spawn("look");
  assertEquals(host.address6, "2001:db8::1");
  assertMatch(await proc.readText("/net/ipifc/0/status"), /\t::1 \/128/);
  assertMatch(await proc.readText("/net/ipifc/1/status"), /\t2001:db8::1 \/64/);
  assertMatch(await proc.readText("/net/ipifc/1/status"), /\tfe80::ff:fe00:1 \/64/);
  assertMatch(await proc.readText("/net/iproute"), /^:: \/0 2001:db8::ff /m);
});

Deno.test("boot(): a host without address6 has no IPv6 at all", async () => {
  await using host = await boot();
  const proc = host.spawn("look");
  assertEquals(host.address6, "");
  for (const number of [0, 1]) {
    assertEquals((await proc.readText(`/net/ipifc/${number}/local`)).includes(":"), false);
  }
});

Deno.test("boot(): a link-local gateway6 is used", async () => {
  await using host = await boot({ address6: "2001:db8::1/64", gateway6: "fe80::ff:fe00:2" });
  await using other = await host.neighbor({ address6: "2001:db8:1::2/64", gateway6: "fe80::ff:fe00:1" });
  const served = serveOnce(other, 80);
  assertEquals(await ask(host, "2001:db8:1::2", 80), "2001:db8::1");
  await served;
});

const REFUSED: readonly (readonly [BootOptions, string])[] = [
  [{ address: "10.0.0.1" }, 'Cannot use the address "10.0.0.1": it has no /length'],
  [{ address: "10.0.0.1/33" }, 'Cannot use the address "10.0.0.1/33": /33 is no prefix length of IPv4'],
  [{ address: "2001:db8::1/64" }, 'Cannot use the address "2001:db8::1/64": not an address of IPv4'],
  [{ address6: "10.0.0.1/24" }, 'Cannot use the address6 "10.0.0.1/24": not an address of IPv6'],
  [{ address6: "2001:db8::1" }, 'Cannot use the address6 "2001:db8::1": it has no /length'],
  [{ address6: "2001:db8::1/129" }, 'Cannot use the address6 "2001:db8::1/129": /129 is no prefix length of IPv6'],
  [{ gateway: "here" }, 'Cannot use the gateway "here": not an IP address'],
  [{ gateway6: "10.0.0.2" }, 'Cannot use the gateway6 "10.0.0.2": not an address of IPv6'],
];
for (const [options, text] of REFUSED) {
  Deno.test(`boot(${JSON.stringify(options)}) is refused with the option's name, and so is a neighbour`, async () => {
    const error = await assertRejects(() => boot(options), KernelError);
    assertEquals({ code: error.code, message: error.message }, { code: "EINVAL", message: text });
    await using host = await boot();
    await assertRejects(() => host.neighbor(options), KernelError, text);
    assertEquals(host.world.hosts, [host]);
  });
}

Deno.test("Host.close() ends that host only: its neighbours go on, and see that it is gone", async () => {
  await using first = await boot();
  const world = first.world;
  const second = await first.neighbor();
  await using third = await first.neighbor();
  assertEquals(world.hosts, [first, second, third]);
  await second.close();
  await second.close();
  assertEquals(world.hosts, [first, third]);
  const served = serveOnce(third, 80);
  assertEquals(await ask(first, third.address, 80), first.address);
  await served;
  const error = await assertRejects(() => first.connect({ hostname: second.address, port: 80 }), KernelError);
  assertEquals(error.code, "ETIMEDOUT");
});

Deno.test("a host that comes after another is gone has an address of its own", async () => {
  await using first = await boot();
  const second = await first.neighbor();
  await second.close();
  await using third = await first.neighbor();
  assertEquals([first.address, second.address, third.address], ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
});

Deno.test("a world closes all its hosts, guests among them, and then no time passes", async () => {
  const host = await boot();
  const other = await host.neighbor();
  const guest = await host.guest();
  const { world } = host;
  assertEquals(world.hosts, [host, other, guest.host]);
  const waits = assertRejects(() => other.connect({ hostname: "10.0.0.77", port: 1 }), KernelError);
  await world.close();
  await waits;
  assertEquals(world.hosts, []);
  for (const one of [host, other, guest.host]) assertEquals(one.kernel.procs.size, 0);
  const clock = world.clock as VirtualClock;
  const before = clock.now();
  clock.timer(() => {}).arm(5);
  await new Promise((resolve) => setTimeout(resolve, 0));
  assertEquals(clock.now(), before);
});

Deno.test("the end of a host is that of its guests, whose neighbours go on", async () => {
  const host = await boot();
  await using remote = await host.neighbor();
  const guest = await host.guest();
  await host.close();
  assertEquals({ hosts: remote.world.hosts, procs: guest.host.kernel.procs.size }, { hosts: [remote], procs: 0 });
  guest.close();
});

Deno.test("Host.guest(): the guest of a host with IPv6 has IPv6, and leaves from the host's address", async () => {
  await using host = await boot({ address6: "2001:db8::1/64" });
  await using remote = await host.neighbor({ address6: "2001:db8::2/64" });
  using guest = await host.guest();
  using other = await host.guest({ name: "other", subnet: "10.0.3.0/24", subnet6: "fd00:0:0:3::/64" });
  using old = await host.guest({ name: "old", subnet: "10.0.4.0/24", subnet6: null });
  assertMatch(guest.address6, /^fd00::2:/);
  assertMatch(other.address6, /^fd00::3:/);
  assertEquals(old.address6, "");
  const served = serveOnce(remote, 80);
  assertEquals(await ask(guest.host, "2001:db8::2", 80), "2001:db8::1");
  await served;
});

Deno.test("Host.guest(): IPv6 for a guest of a host without it is refused, and nothing is left", async () => {
  await using host = await boot();
  await assertRejects(() => host.guest({ subnet6: "fd00::/64" }), KernelError, "fd00::/64");
  await using bare = await host.neighbor({ address: null });
  await assertRejects(() => bare.guest(), KernelError, "no IPv4 address");
  assertEquals(host.world.hosts, [host, bare]);
});

Deno.test("Host.guest() is given up by its signal and by its time-out, and nothing of the guest is left", async () => {
  // The guest's IPv6 address takes a second: it is tried first.
  await using host = await boot({ address6: "2001:db8::1/64" });
  const stop = new AbortController();
  const reason = new Error("no more");
  host.clock.timer(() => stop.abort(reason)).arm(1);
  assertEquals(await assertRejects(() => host.guest({ signal: stop.signal })), reason);
  const late = await assertRejects(() => host.guest({ timeoutMs: 1 }), KernelError);
  assertEquals(late.code, "ETIMEDOUT");
  const before = await assertRejects(() => host.guest({ signal: AbortSignal.abort() }), DOMException);
  assertEquals(before.name, "AbortError");
  assertEquals(host.world.hosts, [host]);
  using guest = await host.guest({ signal: new AbortController().signal, timeoutMs: 60_000 });
  assertEquals(guest.address, "10.0.2.15");
});
