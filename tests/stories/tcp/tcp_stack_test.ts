/**
 * TCP as users see it: through files and system calls, over the whole stack, between two kernels and to themselves.
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { announce, bypass, dial, hangUp, listen } from "../../../kernel/dial.ts";
import { KernelError } from "../../../kernel/error.ts";
import { TapEvent } from "../../../kernel/fd_tap.ts";
import type { Proc } from "../../../kernel/proc.ts";
import { Open } from "../../../kernel/qid.ts";
import { AGAIN } from "../../../kernel/sys.ts";
import { boot, type Host } from "../../../tools/boot/boot.ts";
import { advance, errnoOf, User } from "../../kit/ip/story.ts";

const decoder = new TextDecoder();

async function readAll(proc: Proc, fd: number): Promise<Uint8Array> {
  const parts: number[] = [];
  const buf = new Uint8Array(1 << 16);
  while (true) {
    const count = await proc.read(fd, buf);
    if (count === 0) return Uint8Array.from(parts);
    for (let i = 0; i < count; i++) parts.push(buf[i]!);
  }
}

/** Connects `client` to a port of `server`'s host at `address`; both conversations. */
async function meet(client: Proc, server: Proc, address: string, ctl: string[] = []) {
  const listener = await announce(server, "tcp!*!80");
  const [near, far] = await Promise.all([dial(client, `tcp!${address}!80`, { ctl }), listen(server, listener)]);
  hangUp(server, listener);
  return { near, far };
}

/** Two hosts on a cable, 10.0.0.1 and 10.0.0.2. */
async function twoHosts(options: Parameters<typeof boot>[0] = {}): Promise<[Host, Host]> {
  const here = await boot(options);
  return [here, await here.neighbor()];
}

Deno.test("two kernels talk over tcp, half-close both ways, and the slots are free a minute later", async () => {
  const [here, there] = await twoHosts();
  await using _ = here.world;
  const [client, server] = [here.spawn("client"), there.spawn("server")];
  const { near, far } = await meet(client, server, "10.0.0.2");
  assertEquals(await client.readText(`${near.dir}/remote`), "10.0.0.2!80\n");
  assert((await server.readText(`${far.dir}/remote`)).startsWith("10.0.0.1!"));
  await client.write(near.data, "question");
  await client.write(near.ctl, "shutdown wr");
  assertEquals(decoder.decode(await readAll(server, far.data)), "question");
  assert((await server.readText(`${far.dir}/status`)).startsWith("Close_wait "));
  await server.write(far.data, "answer");
  hangUp(server, far);
  assertEquals(decoder.decode(await readAll(client, near.data)), "answer");
  assert((await client.readText(`${near.dir}/status`)).startsWith("Time_wait "));
  hangUp(client, near);
  advance(here, 61_000);
  for (const host of [here, there]) {
    const stack = host.ip.stack(0);
    const { table, convs } = stack.space(stack.protoNamed("tcp")!);
    assertEquals([table.length, convs.every((conv) => conv.inUse === 0)], [0, true]);
  }
});

Deno.test("a megabyte to ourselves and to a neighbour arrives, cut where the link cannot", async () => {
  const [here, there] = await twoHosts();
  await using _ = here.world;
  const bytes = Uint8Array.from({ length: 1 << 20 }, (_, i) => (i * 7 + (i >>> 10)) & 0xff);
  for (const [host, address] of [[here, "127.0.0.1"], [here, "10.0.0.1"], [there, "10.0.0.2"]] as const) {
    const [client, server] = [here.spawn("client"), host.spawn("server")];
    const { near, far } = await meet(client, server, address);
    const sent = client.write(near.data, bytes).then(() => client.write(near.ctl, "shutdown wr"));
    const got = await readAll(server, far.data);
    await sent;
    assertEquals(got.length, bytes.length, address);
    assert(got.every((byte, i) => byte === bytes[i]), address);
    hangUp(client, near);
    hangUp(server, far);
  }
});

Deno.test("a faulty cable changes nothing of what arrives", async () => {
  const cable = { rateBps: 1e8, delayMs: 5, loss: 0.02, duplicate: 0.02, reorder: 0.02, corrupt: 0.01 };
  const [here, there] = await twoHosts({ cable, seed: 4 });
  await using _ = here.world;
  const [client, server] = [here.spawn("client"), there.spawn("server")];
  const bytes = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 13) & 0xff);
  const { near, far } = await meet(client, server, "10.0.0.2");
  void client.write(near.data, bytes).then(() => client.write(near.ctl, "shutdown wr"));
  const got = await readAll(server, far.data);
  assert(got.length === bytes.length && got.every((byte, i) => byte === bytes[i]));
  hangUp(server, far);
  hangUp(client, near);
});

Deno.test("connecting fails with what went wrong: refused, no route, timed out, not an address of ours", async () => {
  const [here] = await twoHosts();
  await using _ = here.world;
  const proc = here.spawn("client");
  const failing = async (address: string, local?: string) => {
    const options = local === undefined ? {} : { local };
    return (await assertRejects(() => dial(proc, address, options), KernelError)).code;
  };
  assertEquals(await failing("tcp!10.0.0.2!81"), "ECONNREFUSED");
  assertEquals(await failing("tcp!127.0.0.1!81"), "ECONNREFUSED");
  assertEquals(await failing("tcp!9.9.9.9!80"), "EHOSTUNREACH");
  assertEquals(await failing("tcp!10.0.0.2!80", "10.9.9.9!0"), "EFAIL");
  const silent = await failing("tcp!10.0.0.77!80");
  assert(silent === "ETIMEDOUT" || silent === "EHOSTUNREACH", silent);
});

Deno.test("connect without sleeping: EINPROGRESS, then Writable on success and on failure", async () => {
  const [here, there] = await twoHosts();
  await using _ = here.world;
  const server = new User(there);
  const listener = server.conv("tcp", "announce *!80");
  for (const [port, word] of [[80, "Established"], [81, "Closed"]] as const) {
    const user = new User(here);
    const conv = user.conv("tcp");
    const taps = conv.tap(TapEvent.Writable | TapEvent.Hangup);
    const ctl = user.open(`${conv.dir}/ctl`);
    assertEquals(errnoOf(() => user.write(ctl, `connect 10.0.0.2!${port}`)), "EINPROGRESS");
    advance(here, 1000);
    assert((taps.poll()!.events & TapEvent.Writable) !== 0);
    assert(conv.text("status").startsWith(word));
    conv.close();
  }
  listener.close();
});

Deno.test("a listener's tap tells of a call, and `listen` takes it without sleeping", async () => {
  const [here, there] = await twoHosts();
  await using _ = here.world;
  const server = new User(there);
  const listener = server.conv("tcp", "announce *!80");
  const path = `${listener.dir}/listen`;
  const tap = server.tap(server.open(path, Open.Path), TapEvent.Readable);
  assertEquals(server.proc.sys.open(path, Open.ReadWrite | Open.NonBlock), AGAIN);
  const client = here.spawn("client");
  const near = await dial(client, "tcp!10.0.0.2!80");
  assertEquals(tap.poll()?.events, TapEvent.Readable);
  const ctl = server.open(path);
  const number = server.readText(ctl);
  assert(server.text(`/net/tcp/${number}/status`).startsWith("Established "));
  hangUp(client, near);
});

Deno.test("a read of a connection that was reset is ECONNRESET, of one that was closed the end", async () => {
  const [here, there] = await twoHosts();
  await using _ = here.world;
  const [client, server] = [here.spawn("client"), there.spawn("server")];
  const first = await meet(client, server, "10.0.0.2");
  await server.write(first.far.ctl, "hangup");
  const error = await assertRejects(() => readAll(client, first.near.data), KernelError);
  assertEquals([error.code, error.message], ["ECONNRESET", "Connection reset by peer"]);
  const second = await meet(client, server, "10.0.0.2");
  hangUp(server, second.far);
  assertEquals((await readAll(client, second.near.data)).length, 0);
});

Deno.test("a slow reader stops the sender, and nothing is lost when it goes on (back-pressure)", async () => {
  const [here, there] = await twoHosts();
  await using _ = here.world;
  const user = new User(here);
  const server = there.spawn("server");
  const listener = await announce(server, "tcp!*!80");
  const conv = user.conv("tcp");
  const [near, far] = [
    conv,
    (await Promise.all([listen(server, listener), user.proc.write(conv.ctl, "connect 10.0.0.2!80")]))[0],
  ];
  let written = 0;
  const chunk = new Uint8Array(8192).fill(7);
  for (let idle = 0; idle < 20;) {
    const count = user.proc.sys.write(near.data, chunk);
    if (count === AGAIN) {
      idle++;
      advance(here, 100);
    } else written += count as number;
  }
  assert(written < 2 << 20, `${written}`);
  user.write(near.ctl, "shutdown wr");
  assertEquals((await readAll(server, far.data)).length, written);
});

Deno.test("bypass takes a tcp port: whole packets, no reset of ours, and connections still win", async () => {
  const [here, there] = await twoHosts();
  await using _ = here.world;
  const [client, server] = [here.spawn("client"), there.spawn("server")];
  const peerListener = await announce(client, "tcp!*!80");
  const [out, back] = await Promise.all([
    dial(server, "tcp!10.0.0.1!80", { local: "4000" }),
    listen(client, peerListener),
  ]);
  const claim = await bypass(server, "tcp!*!4000-4001");
  await client.write(back.data, "still ours");
  const buf = new Uint8Array(100);
  assertEquals(decoder.decode(buf.subarray(0, await server.read(out.data, buf))), "still ours");
  const conv = new User(here).conv("tcp");
  const call = conv.user.open(`${conv.dir}/ctl`);
  assertEquals(errnoOf(() => conv.user.write(call, "connect 10.0.0.2!4001")), "EINPROGRESS");
  advance(here, 1);
  const packet = await server.blockread(claim.data);
  const bytes = packet!.bytes();
  assertEquals([bytes[0], bytes[9], bytes[33], bytes[22]! << 8 | bytes[23]!], [0x45, 6, 0x02, 4001]);
  advance(here, 500);
  assert(conv.text("status").startsWith("Syn_sent "));
  assert((await server.readText(`${claim.dir}/status`)).startsWith("Bypassed local ::!4000-4001 "));
  assertEquals(new User(there).stat("tcp", "OutRsts"), 0);
  conv.close();
});

Deno.test("a port that is announced, or bypassed, is refused to others until it is closed", async () => {
  await using host = await boot();
  const user = new User(host);
  const first = user.conv("tcp", "announce *!80");
  const second = user.conv("tcp");
  for (const command of ["announce *!80", "bypass 80"]) assertEquals(errnoOf(() => second.command(command)), "EFAIL");
  first.close();
  second.command("announce *!80");
  second.close();
});
