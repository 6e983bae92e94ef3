/**
 * A host that stands for all others: an interface that accepts every address, calls to any port, and local addresses
 * that are not its own. Both IP versions from one table.
 */

import { assertEquals, assertRejects } from "@std/assert";
import type { Block } from "../../../kernel/block.ts";
import { listen } from "../../../kernel/dial.ts";
import { KernelError } from "../../../kernel/error.ts";
import type { PacketPort } from "../../../kernel/host.ts";
import { Job } from "../../../kernel/job.ts";
import { Open } from "../../../kernel/qid.ts";
import type { Proc } from "../../../kernel/proc.ts";
import type { Clock } from "../../../kernel/time.ts";
import { IpAddr, parseIpAddr } from "../../../kernel/wire/ip_addr.ts";
import { boot, type Host } from "../../../tools/boot/boot.ts";
import { getRecord, HeaderMode, putRecord } from "../../../devices/ip/udp/udp_headers.ts";
import { Mount } from "../../../kernel/namespace.ts";

/** One of two ends of a link of packets. */
class End implements PacketPort {
  readonly kind = "packet";
  readonly mtu = 65535;
  readonly offloads = { checksum: true, tcpSegment: true, udpSegment: true };
  readonly mbps = 10_000;
  readonly link = true;
  receive: ((block: Block) => void) | null = null;
  other: End | null = null;
  readonly #sent: Block[] = [];
  readonly #job: Job;

  constructor(readonly name: string, clock: Clock) {
    this.#job = new Job(clock.jobs, () => {
      for (const block of this.#sent.splice(0)) this.other?.receive?.(block);
    });
  }

  transmit(block: Block): boolean {
    this.#sent.push(block);
    this.#job.wake();
    return true;
  }

  close(): void {}
}

/** One version of IP: the link's two ends, a host in the world, and the address that stands for every one. */
const VERSIONS = [
  { version: 4, near: "192.0.0.2", world: "93.184.216.34", caller: "203.0.113.7", any: "0.0.0.0" },
  { version: 6, near: "fd00:a::2", world: "2001:db8::34", caller: "2001:db8:7::7", any: "::" },
] as const;

/** An ordinary host, and the one behind its link that stands for the world. */
async function standIn(): Promise<{ near: Host; far: Proc; [Symbol.asyncDispose](): Promise<void> }> {
  const world = await boot({ wire: "none", address: null });
  const near = new End("link0", world.clock);
  const far = new End("link1", world.clock);
  near.other = far;
  far.other = near;
  const host = await world.neighbor({
    port: near,
    address: "192.0.0.2/29",
    address6: "fd00:a::2/64",
    gateway: "192.0.0.1",
    gateway6: "fd00:a::1",
  });
  const proc = world.spawn("far");
  proc.sys.nbind("#ip.5", "/net", Mount.Before);
  world.ip.packetPorts.set(far.name, far);
  const ctl = await proc.open("/net/ipifc/clone", Open.ReadWrite);
  const addresses = ["192.0.0.1 /29", "fd00:a::1 /64", "0.0.0.0 /0", ":: /0"];
  for (const verb of [`bind tun ${far.name}`, ...addresses.map((one) => `add ${one}`)]) await proc.write(ctl, verb);
  await proc.writeText("/net/iproute", "add 0.0.0.0 /0 192.0.0.2");
  await proc.writeText("/net/iproute", "add :: /0 fd00:a::2");
  return { near: host, far: proc, [Symbol.asyncDispose]: () => world.world.close() };
}

for (const { version, near, world, caller, any } of VERSIONS) {
  Deno.test(`With ${any} and "announce lo-hi" calls to every IPv${version} host are ours`, async () => {
    await using at = await standIn();
    const announced = await at.far.announce("tcp!*!1-65535");
    assertEquals(await at.far.readText(`${announced.dir}/local`), "::!1-65535\n");
    for (const port of [443, 8080, 65535]) {
      const calling = at.near.connect({ hostname: world, port });
      const call = await listen(at.far, announced);
      const conn = await calling;
      assertEquals(await at.far.readText(`${call.dir}/local`), `${world}!${port}\n`);
      await at.far.write(call.data, `port ${port}`);
      const buf = new Uint8Array(64);
      const count = await conn.read(buf);
      assertEquals(new TextDecoder().decode(buf.subarray(0, count ?? 0)), `port ${port}`);
      conn.close();
    }
  });

  Deno.test(`With foreign-local a program calls an IPv${version} host from an address that is not ours`, async () => {
    await using at = await standIn();
    const listener = await at.near.listen({ port: 80 });
    const options = { local: `${caller}!4444` };
    await assertRejects(() => at.far.dial(`tcp!${near}!80`, options), KernelError, "no address of ours");
    const calling = at.far.dial(`tcp!${near}!80`, { ...options, setup: ["foreign-local on"] });
    const conn = await listener.accept();
    assertEquals(conn.remoteAddr, { transport: "tcp", hostname: caller, port: 4444 });
    const { dir } = await calling;
    assertEquals(await at.far.readText(`${dir}/local`), `${caller}!4444\n`);
    conn.close();
  });

  Deno.test(`With foreign-local a program serves one foreign IPv${version} address, and no other`, async () => {
    await using at = await standIn();
    await assertRejects(() => at.far.announce(`tcp!${world}!443`), KernelError, "no address of ours");
    const announced = await at.far.announce(`tcp!${world}!443`, { setup: ["foreign-local on"] });
    const calling = at.near.connect({ hostname: world, port: 443 });
    await listen(at.far, announced);
    (await calling).close();
    await assertRejects(() => at.near.connect({ hostname: caller, port: 443 }), KernelError, "refused");
  });

  Deno.test(`A UDP range in headers mode answers from the IPv${version} end that was asked`, async () => {
    await using at = await standIn();
    const setup = ["headers", "foreign-local on"];
    const conv = await at.far.announce("udp!*!1000-2000", { setup });
    const socket = await at.near.listenDatagram({ hostname: near, port: 7000 });
    await socket.send(new Uint8Array([1, 2]), { hostname: world, port: 1500 });
    const buf = new Uint8Array(128);
    const count = await at.far.read(conv.data, buf);
    const asked = getRecord(HeaderMode.Headers, buf, 0);
    assertEquals([`${asked.laddr}`, asked.lport, asked.rport, count], [world, 1500, 7000, 54]);
    await at.far.write(conv.data, buf.subarray(0, count));
    const [payload, from] = await socket.receive();
    assertEquals({ payload: [...payload], ...from }, {
      payload: [1, 2],
      transport: "udp",
      hostname: world,
      port: 1500,
    });
    putRecord(HeaderMode.Headers, { ...asked, lport: 2001 }, buf, 0);
    await assertRejects(() => at.far.write(conv.data, buf.subarray(0, count)), KernelError, "2001");
  });
}

Deno.test("foreign-local is eve's, and belongs before the ends are set", async () => {
  await using at = await standIn();
  const other = at.near.spawn("other", { user: "glenda" });
  await assertRejects(() => other.announce("tcp!*!90", { setup: ["foreign-local on"] }), KernelError, "only eve may");
  await assertRejects(() => at.far.announce("tcp!*!90", { ctl: ["foreign-local on"] }), KernelError, "it is announced");
});

Deno.test("An interface that accepts any address takes no packets to groups", async () => {
  await using at = await standIn();
  const announced = await at.far.announce("udp!*!1000-2000", { setup: ["headers"] });
  const socket = await at.near.listenDatagram({ port: 7000 });
  for (const hostname of ["224.0.0.9", "ff02::9"]) {
    await socket.send(new Uint8Array(1), { hostname, port: 1500 });
  }
  await socket.send(new Uint8Array(3), { hostname: "192.0.2.1", port: 1500 });
  const buf = new Uint8Array(128);
  assertEquals(await at.far.read(announced.data, buf), 55);
  assertEquals(IpAddr.at(buf, 16).equals(parseIpAddr("192.0.2.1")!), true);
});
