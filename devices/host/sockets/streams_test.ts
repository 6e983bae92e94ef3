/** TCP connections and listeners of Linux, on the loopback interface. */

import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { FAILED, type HostStream, NOT_NOW } from "../../../kernel/host_sockets.ts";
import { SeededRandom } from "../../../kernel/random.ts";
import { machineTest } from "../../../tests/kit/check/skip.ts";
import { addr, made, SocketLab } from "../../../tests/kit/host/sockets.ts";
import { libc } from "../libc.ts";
import { pause } from "../pause.ts";
import type { LinuxStream } from "./stream.ts";

const IP_RECVERR = 11;
const IPPROTO_IPV6 = 41;
const IPV6_RECVERR = 25;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A test that runs on the loopback of each version that the machine has. */
function loopbackTest(name: string, work: (lab: SocketLab, address: string) => Promise<void>): void {
  machineTest(name, ["ffi"], async () => {
    await using lab = new SocketLab();
    for (const address of lab.loopbacks) await work(lab, address);
  });
}

async function hash(bytes: Uint8Array): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>)).toHex();
}

loopbackTest("LinuxSockets connects, with both ends known on both sides", async (lab, address) => {
  const listener = lab.listen(address);
  const client = lab.connect(listener.local, { ttl: 9, tos: 0xbb });
  assertEquals(client.state, "connecting");
  assertEquals([client.read(new Uint8Array(1)), client.write([new Uint8Array(1)], 1)], [NOT_NOW, NOT_NOW]);
  const server = await lab.accept(listener);
  await lab.settled(client);
  assertEquals([client.state, client.failure, client.takeReport()], ["connected", null, null]);
  assertEquals([`${client.remote.address}`, client.remote.port], [address, listener.local.port]);
  assertEquals(server.remote, client.local);
  assertEquals(server.local, client.remote);
  assertEquals(listener.accept(), null);
  client.setTtl(0);
  for (const socket of [client, server, listener]) socket.close();
});

loopbackTest(
  "onReady is called when a connection stands, when something comes, and when there is room",
  async (lab, to) => {
    const listener = lab.listen(to);
    const client = lab.connect(listener.local);
    const told: string[] = [];
    client.onReady = () => told.push(client.state);
    const server = await lab.accept(listener);
    await lab.until("the connection", () => told.length === 1);
    assertEquals(told, ["connected"]);
    const into = new Uint8Array(10);
    assertEquals(client.read(into), NOT_NOW);
    // A second message makes no second call, as the first was not read to NOT_NOW.
    server.write([encoder.encode("one")], 1);
    await lab.until("the message", () => told.length === 2);
    server.write([encoder.encode("two")], 1);
    for (let i = 0; i < 50; i++) await pause();
    assertEquals(told.length, 2);
    assertEquals(client.read(into), 6);
    assertEquals(client.read(into), NOT_NOW);
    const junk = new Uint8Array(1 << 20);
    while (client.write([junk], 1) !== NOT_NOW);
    for (let i = 0; i < 50; i++) await pause();
    assertEquals(told.length, 2, "no room");
    while (server.read(junk) !== NOT_NOW || told.length < 3) await pause();
    for (const socket of [client, server, listener]) socket.close();
  },
);

loopbackTest("a refused connection fails with ECONNREFUSED, and keeps no descriptor", async (lab, address) => {
  const listener = lab.listen(address);
  const { local } = listener;
  listener.close();
  const attempts = Array.from({ length: 100 }, () => lab.connect(local));
  for (const attempt of attempts) {
    await lab.settled(attempt);
    assertEquals([attempt.state, attempt.failure, attempt.takeReport()], ["failed", "ECONNREFUSED", null]);
    assertEquals([attempt.read(new Uint8Array(1)), attempt.write([new Uint8Array(1)], 1)], [FAILED, FAILED]);
    attempt.close();
    attempt.close();
  }
  assertEquals(lab.sockets.size, 0);
});

loopbackTest("bytes arrive as they were sent, by partial writes to a slow reader", async (lab, address) => {
  const { client, server } = await lab.pair(address);
  const random = new SeededRandom(7);
  const bytes = random.fill(new Uint8Array(12_000_000));
  // Parts of many sizes, more than one call takes.
  const parts: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = 1 + random.u32() % (random.u32() % 8 === 0 ? 200_000 : 1460);
    parts.push(bytes.subarray(at, at + length));
    at += length;
  }
  let refusals = 0;
  let partial = 0;
  const write = () => {
    while (parts.length > 0) {
      const count = Math.min(parts.length, 1 + random.u32() % 100);
      let written = client.write(parts, count);
      if (written === NOT_NOW) return void refusals++;
      assert(written > 0);
      if (written < parts.slice(0, Math.min(count, 64)).reduce((sum, part) => sum + part.length, 0)) partial++;
      while (written > 0 && written >= parts[0]!.length) written -= parts.shift()!.length;
      if (written > 0) parts[0] = parts[0]!.subarray(written);
    }
    client.shutdownWrite();
  };
  client.onReady = write;
  write();
  const got = new Uint8Array(bytes.length);
  let at = 0;
  for (let last = NOT_NOW; last !== 0;) {
    last = server.read(got.subarray(at, at + 1 + random.u32() % 100_000));
    assert(last !== FAILED && (last !== 0 || at === bytes.length), `${server.failure}, ${at} bytes`);
    if (last > 0) at += last;
    if (random.u32() % 4 === 0) await pause();
    if (at === bytes.length && last > 0) {
      assertEquals(await lab.until("the end", () => (last = server.read(new Uint8Array(1))) !== NOT_NOW && last), 0);
    }
  }
  assertEquals(await hash(got), await hash(bytes));
  assert(refusals > 1 && partial > 0, `${refusals} refusals, ${partial} partial writes`);
  client.close();
  server.close();
});

loopbackTest("a half that is closed reads as the end, and the other half goes on", async (lab, address) => {
  const { client, server } = await lab.pair(address);
  await lab.writeAll(client, encoder.encode("question"));
  client.shutdownWrite();
  const question = await lab.readAll(server);
  assertEquals([decoder.decode(question.bytes), question.end], ["question", 0]);
  assertEquals(server.read(new Uint8Array(1)), 0, "again");
  await lab.writeAll(server, encoder.encode("answer"));
  server.close();
  const answer = await lab.readAll(client);
  assertEquals([decoder.decode(answer.bytes), answer.end, client.failure], ["answer", 0, null]);
  client.close();
});

/** A row: what the peer did after it had sent `data`, and what is seen then. */
const ENDS: readonly {
  readonly name: string;
  readonly end: (peer: HostStream) => void;
  readonly failure: string | null;
}[] = [
  { name: "close", end: (peer) => peer.close(), failure: null },
  { name: "reset", end: (peer) => peer.reset(), failure: "ECONNRESET" },
];

for (const { name, end, failure } of ENDS) {
  loopbackTest(`after ${name} what came before is read first, then ${failure ?? "the end"}`, async (lab, address) => {
    for (const wait of [true, false]) {
      const { client, server } = await lab.pair(address);
      let told = 0;
      await lab.writeAll(server, encoder.encode("last words"));
      client.onReady = () => told++;
      end(server);
      // With and without an edge seen before the first read; a write that meets the reset must not hide it.
      if (wait) await lab.until("an edge", () => told > 0);
      if (failure !== null) await lab.until("a failed write", () => client.write([new Uint8Array(1)], 1) === FAILED);
      const { bytes, end: last } = await lab.readAll(client);
      assertEquals([decoder.decode(bytes), last, client.failure], [
        "last words",
        failure === null ? 0 : FAILED,
        failure,
      ]);
      assertEquals(client.read(new Uint8Array(1)), last, "again");
      client.close();
    }
  });
}

loopbackTest("a peer that answers and resets at once was connected, and its answer is read", async (lab, address) => {
  // The client's loop stands still until all has happened: one edge says everything.
  await using late = new SocketLab({}, false);
  const listener = lab.listen(address);
  const client = late.connect(listener.local);
  const server = await lab.accept(listener);
  await lab.writeAll(server, encoder.encode("banner"));
  server.reset();
  late.reactor.start();
  await late.settled(client);
  assertEquals(client.state, "connected");
  const { bytes, end } = await lab.readAll(client);
  assertEquals([decoder.decode(bytes), end, client.failure], ["banner", FAILED, "ECONNRESET"]);
  listener.close();
});

loopbackTest("a write that a closed peer answers with a reset breaks the connection", async (lab, address) => {
  const { client, server } = await lab.pair(address);
  server.close();
  await lab.until("the failure", () => client.write([new Uint8Array(1)], 1) === FAILED);
  assert(client.failure === "EPIPE" || client.failure === "ECONNRESET", `${client.failure}`);
  client.close();
});

loopbackTest("urgent data stand in the stream, and nothing behind them is forgotten", async (lab, address) => {
  const { client, server } = await lab.pair(address);
  const into = new Uint8Array(100);
  assertEquals(server.read(into), NOT_NOW);
  await lab.writeAll(client, encoder.encode("ab"));
  const MSG_OOB = 1;
  assertEquals(libc().sendto((client as HostStream & { fd: number }).fd, encoder.encode("!"), 1n, MSG_OOB, null, 0), 1);
  await lab.writeAll(client, encoder.encode("cd"));
  let text = "";
  await lab.until("all", () => {
    const count = server.read(into);
    if (count > 0) text += decoder.decode(into.subarray(0, count));
    return text === "ab!cd";
  });
  client.close();
  server.close();
});

loopbackTest("1000 connections at once, none lost, none left", async (lab, address) => {
  const listener = lab.listen(address);
  const before = lab.sockets.size;
  const clients = Array.from({ length: 1000 }, () => lab.connect(listener.local));
  const servers: HostStream[] = [];
  listener.onReady = () => {
    for (let call = listener.accept(); call !== null; call = listener.accept()) {
      assertNotEquals(call, "shortage");
      servers.push(call as HostStream);
    }
  };
  await lab.until("1000 calls", () => servers.length === 1000);
  await lab.until("1000 connections", () => clients.every(({ state }) => state === "connected"));
  const ports = new Set(clients.map(({ local }) => local.port));
  assertEquals(ports, new Set(servers.map(({ remote }) => remote.port)));
  assertEquals(ports.size, 1000);
  for (const client of clients) client.reset();
  for (const server of servers) {
    assertEquals((await lab.readAll(server)).end, FAILED);
    assertEquals(server.failure, "ECONNRESET");
    server.close();
  }
  assertEquals(lab.sockets.size, before);
  listener.close();
});

machineTest("a listener for both versions shows callers of IPv4 as such", ["ffi"], async () => {
  await using lab = new SocketLab();
  const listener = made(lab.sockets.listen({ version: 6, address: null, port: 0, dualStack: true }));
  for (const address of lab.loopbacks) {
    const client = lab.connect({ address: addr(address), port: listener.local.port });
    const server = await lab.accept(listener);
    assertEquals([`${server.remote.address}`, `${server.local.address}`], [address, address]);
    assertEquals(server.remote.address.isV4, addr(address).isV4);
    client.close();
    server.close();
  }
});

loopbackTest(
  "an attempt over IPv6 asks for its errors (IPV6_RECVERR), a connection that stands does not",
  async (lab, to) => {
    const isV4 = addr(to).isV4;
    /** The option of that version, as Linux has it now. */
    const asksOf = (stream: HostStream) => {
      const value = new Uint8Array(4);
      // Safe because both lengths are those of the one int.
      const length = new Uint8Array([4, 0, 0, 0]);
      const [level, option] = isV4 ? [0, IP_RECVERR] : [IPPROTO_IPV6, IPV6_RECVERR];
      assertEquals(libc().getsockopt((stream as LinuxStream).fd, level!, option!, value, length), 0);
      return value[0];
    };
    const listener = lab.listen(to);
    const client = lab.connect(listener.local);
    // Over IPv4 Linux keeps the error of an attempt all the same.
    assertEquals({ state: client.state, asks: asksOf(client) }, { state: "connecting", asks: isV4 ? 0 : 1 });
    const server = await lab.accept(listener);
    await lab.settled(client);
    assertEquals({ client: asksOf(client), server: asksOf(server) }, { client: 0, server: 0 });
    for (const socket of [client, server, listener]) socket.close();
  },
);

loopbackTest("a taken port is EADDRINUSE, a foreign address EADDRNOTAVAIL, an unknown interface ENODEV", (lab, to) => {
  const { local } = lab.listen(to);
  const version = addr(to).isV4 ? 4 : 6;
  const { sockets } = lab;
  assertEquals(sockets.listen({ version, address: local.address, port: local.port }), "EADDRINUSE");
  const udp = lab.datagrams(to);
  assertEquals(sockets.datagrams({ version, address: udp.local.address, port: udp.local.port }), "EADDRINUSE");
  const foreign = addr(version === 4 ? "192.0.2.1" : "2001:db8::1");
  assertEquals(sockets.listen({ version, address: foreign, port: 0 }), "EADDRNOTAVAIL");
  assertEquals(sockets.datagrams({ version, address: foreign, port: 0 }), "EADDRNOTAVAIL");
  assertEquals(sockets.connect({ to: local, from: foreign, ttl: 0, tos: 0 }), "EADDRNOTAVAIL");
  assertEquals(sockets.listen({ version, address: local.address, port: 0, device: "akarino-none" }), "ENODEV");
  made(sockets.listen({ version, address: local.address, port: 0, device: "lo" }));
  return Promise.resolve();
});

machineTest("a connection comes from the address that it is to come from", ["ffi"], async () => {
  await using lab = new SocketLab();
  const listener = lab.listen("127.0.0.1");
  const client = lab.connect(listener.local, { from: addr("127.0.0.9") });
  const server = await lab.accept(listener);
  assertEquals(`${server.remote.address}`, "127.0.0.9");
  assertEquals(server.remote, client.local);
});
