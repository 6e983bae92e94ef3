/** A whole kernel as the guest, whose programs dial and announce: promises to the end, over IPv4. */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import type { Conversation } from "../../../kernel/dial.ts";
import { KernelError } from "../../../kernel/error.ts";
import { listen } from "../../../kernel/dial.ts";
import type { Proc } from "../../../kernel/proc.ts";
import { SeededRandom } from "../../../kernel/random.ts";
import { boot } from "../../../tools/boot/boot.ts";
import type { NatOptions } from "../../../tools/nat/nat.ts";
import { NatProgram } from "../../../tools/nat/program.ts";
import { GuestPort } from "../../kit/nat/guest_port.ts";
import { pattern } from "../../kit/ip/ip_fixture.ts";
import { GUEST, HOST, REMOTE, ROUTER } from "../../kit/nat/nat.ts";

/** Host, remote and guest kernels with a NAT between. */
async function tellThree(options: { nat?: Partial<NatOptions>; forwards?: readonly string[]; mtu?: number } = {}) {
  const host = await boot();
  const remote = await host.neighbor({ address: `${REMOTE}/24` });
  const port = new GuestPort(host, options.mtu ?? 1500);
  const real = options.nat?.style === "real";
  const address = real ? `${HOST}/24` : `${GUEST}/24`;
  const guest = await host.neighbor({ port, address, gateway: real ? "10.0.0.254" : ROUTER });
  const program = port.program = new NatProgram({
    proc: host.spawn("nat"),
    clock: host.clock,
    random: new SeededRandom(1),
    toGuest: (frame) => port.receive?.(frame),
    nat: { hostAddr: `${HOST}/24`, nameServers: [REMOTE], mtu: options.mtu ?? 1500, ...options.nat },
    forwards: options.forwards ?? [],
  });
  return {
    ...{ host, remote, guest, program, inGuest: guest.spawn("user"), there: remote.spawn("user") },
    async [Symbol.asyncDispose]() {
      program.close();
      await host.world.close();
    },
  };
}

/** Answers every datagram of `port` with itself. */
async function echoUdp(proc: Proc, port: number): Promise<void> {
  const conv = await proc.announce(`udp!*!${port}`, { ctl: ["headers"] });
  for await (const datagram of proc.blocks(conv.data)) await proc.blockwrite(conv.data, datagram);
}

/** Runs `program` until the kernels end it. */
function runs(program: Promise<void>): void {
  program.catch((error) => {
    if (!(error instanceof KernelError)) throw error;
  });
}

async function readAll(proc: Proc, conv: Conversation): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  const buf = new Uint8Array(65536);
  for (let count = await proc.read(conv.data, buf); count > 0; count = await proc.read(conv.data, buf)) {
    parts.push(buf.slice(0, count));
  }
  return new Uint8Array(parts.flatMap((part) => [...part]));
}

Deno.test("A guest kernel resolves the router, pings, and exchanges datagrams of every size", async () => {
  await using story = await tellThree();
  runs(echoUdp(story.there, 7));
  const conv = await story.inGuest.dial(`udp!${REMOTE}!7`);
  for (const size of [0, 1, 1472, 1473, 9000, 65507]) {
    await story.inGuest.blockwrite(conv.data, pattern(size));
    assertEquals((await story.inGuest.blockread(conv.data))?.bytes(), pattern(size));
  }
  for (const addr of [ROUTER, REMOTE]) {
    const ping = await story.inGuest.dial(`icmp!${addr}!1`);
    const request = new Uint8Array(84);
    request[20] = 8;
    await story.inGuest.blockwrite(ping.data, request);
    assertEquals((await story.inGuest.blockread(ping.data))?.length, 84);
  }
});

Deno.test("A refused UDP port comes back to the guest's program as a refusal", async () => {
  await using story = await tellThree();
  const conv = await story.inGuest.dial(`udp!${REMOTE}!99`);
  await story.inGuest.write(conv.data, "anybody?");
  const error = await assertRejects(() => story.inGuest.read(conv.data, new Uint8Array(9)), KernelError);
  assertEquals(error.message, "Connection refused: port unreachable");
});

Deno.test("real style: the guest has the host's address, and the remote cannot tell them apart", async () => {
  const nat = { style: "real", subnet: "10.0.0.0/24", router: "10.0.0.254", policy: { loopback: true } } as const;
  await using story = await tellThree({ nat });
  runs(echoUdp(story.there, 7));
  runs(echoUdp(story.host.spawn("echo"), 8));
  for (const address of [`udp!${REMOTE}!7`, "udp!10.0.0.254!8"]) {
    const conv = await story.inGuest.dial(address);
    await story.inGuest.blockwrite(conv.data, pattern(100));
    assertEquals((await story.inGuest.blockread(conv.data))?.bytes(), pattern(100));
  }
  assertEquals(await story.inGuest.readText("/net/arp").then((table) => table.includes("00010203040a")), true);
});

Deno.test("head-to-head, half-close and the rest: TCP both ways, the client's address, a refusal", async () => {
  await using story = await tellThree({ forwards: ["tcp:2222:22"] });
  const { inGuest, there } = story;
  const server = await there.announce("tcp!*!80");
  const call = listen(there, server);
  const client = await inGuest.dial(`tcp!${REMOTE}!80`);
  const taken = await call;
  assertEquals((await there.readText(`${taken.dir}/remote`)).startsWith(`${HOST}!`), true);
  const up = pattern(100_000);
  const sending = inGuest.write(client.data, up).then(() => inGuest.write(client.ctl, "shutdown wr"));
  assertEquals((await readAll(there, taken)).length, up.length);
  await sending;
  // The guest has closed its side; ours still brings data (half-close).
  const answering = there.write(taken.data, up).then(() => there.write(taken.ctl, "shutdown wr"));
  assertEquals(await readAll(inGuest, client), up);
  await answering;
  const guestServer = await inGuest.announce("tcp!*!22");
  const coming = listen(inGuest, guestServer);
  await there.dial(`tcp!${HOST}!2222`, { local: "5555" });
  assertEquals((await inGuest.readText(`${(await coming).dir}/remote`)).trim(), `${REMOTE}!5555`);
  await assertRejects(() => inGuest.dial(`tcp!${REMOTE}!81`), KernelError);
  assert(story.program.nat.table.count(1) >= 2);
});

Deno.test("A service moves host → guest → host while the remote keeps address and port for it (TCP)", async () => {
  await using story = await tellThree();
  const { there, inGuest, program } = story;
  const onHost = story.host.spawn("service");
  const words: string[] = [];
  for (const where of ["host", "guest", "host"]) {
    const proc = where === "guest" ? inGuest : onHost;
    if (where === "guest") assertEquals(program.command("add tcp:7000:7000").slice(0, 2), "ok");
    const server = await proc.announce("tcp!*!7000");
    // A port that is in use is refused.
    if (where === "host") assertMatch(program.command("add tcp:7000:7000"), /^error: .*tcp\/\d+ of eve/);
    const coming = listen(proc, server);
    const client = await there.dial(`tcp!${HOST}!7000`);
    const taken = await coming;
    assertEquals((await proc.readText(`${taken.dir}/remote`)).split("!")[0], REMOTE);
    await proc.write(taken.data, where);
    await proc.write(taken.ctl, "shutdown wr");
    words.push(new TextDecoder().decode(await readAll(there, client)));
    for (const fd of [taken.data, taken.ctl, server.data, server.ctl]) await proc.close(fd);
    for (const fd of [client.data, client.ctl]) await there.close(fd);
    if (where === "guest") assertEquals(program.command("remove tcp:7000:7000").slice(0, 2), "ok");
  }
  assertEquals(words, ["host", "guest", "host"]);
});
