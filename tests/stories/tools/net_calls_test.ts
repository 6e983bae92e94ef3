/**
 * `Host.connect`, `Host.listen` and `Host.listenDatagram`: what a script that knows Deno's calls may expect, over both
 * versions of IP; and giving up, by signal and by time.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { KernelError } from "../../../kernel/error.ts";
import { boot, type Host } from "../../../tools/boot/boot.ts";
import type { DatagramConn } from "../../../tools/boot/datagrams.ts";
import type { StreamConn, StreamListener } from "../../../tools/boot/streams.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Addresses of the two hosts, by version. */
const FAMILIES = [
  { version: 4, near: "10.0.0.1", far: "10.0.0.2", loopback: "127.0.0.1", nobody: "10.0.0.77" },
  { version: 6, near: "2001:db8::1", far: "2001:db8::2", loopback: "::1", nobody: "2001:db8::77" },
] as const;

interface Pair extends AsyncDisposable {
  readonly near: Host;
  readonly far: Host;
}

async function pair(): Promise<Pair> {
  const near = await boot({ address6: "2001:db8::1/64" });
  const far = await near.neighbor({ address6: "2001:db8::2/64" });
  return { near, far, [Symbol.asyncDispose]: () => near.world.close() };
}

/** Everything to the end, by `read`. */
async function readAll(conn: StreamConn): Promise<string> {
  let text = "";
  const buf = new Uint8Array(7);
  for (let count = await conn.read(buf); count !== null; count = await conn.read(buf)) {
    text += decoder.decode(buf.subarray(0, count));
  }
  return text;
}

/** Descriptors that the streams of a host hold. */
function descriptors(host: Host): number {
  return [...host.kernel.procs.values()].reduce((sum, proc) => sum + [...proc.fds.numbers()].length, 0);
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return (await assertRejects(() => promise, KernelError)).code;
}

for (const { version, near: here, far: there, loopback, nobody } of FAMILIES) {
  Deno.test(`IPv${version}: connect() and listen() make a connection whose ends know each other`, async () => {
    await using world = await pair();
    const { near, far } = world;
    using listener = await far.listen({ port: 80 });
    assertEquals(listener.addr, { transport: "tcp", hostname: "::", port: 80 });
    const [conn, call] = await Promise.all([near.connect({ hostname: there, port: 80 }), listener.accept()]);
    assertEquals(conn.remoteAddr, { transport: "tcp", hostname: there, port: 80 });
    assertEquals(call.remoteAddr, conn.localAddr);
    assertEquals({ ours: conn.localAddr.hostname, theirs: call.localAddr }, {
      ours: here,
      theirs: { transport: "tcp", hostname: there, port: 80 },
    });
    assertEquals(await conn.write(encoder.encode("question")), 8);
    await conn.closeWrite();
    assertEquals(await readAll(call), "question");
    assertEquals(await call.read(new Uint8Array(1)), null);
    assertEquals(await call.write(encoder.encode("the answer")), 10);
    await call.closeWrite();
    assertEquals(await readAll(conn), "the answer");
    listener.close();
    // Both directions are over: no end needs a close.
    assertEquals({ near: descriptors(near), far: descriptors(far) }, { near: 0, far: 0 });
    assertEquals(await conn.read(new Uint8Array(1)), null);
  });

  Deno.test(`IPv${version}: listen() of one address with a free port, by loopback too`, async () => {
    await using world = await pair();
    const { near } = world;
    using listener = await near.listen({ hostname: loopback });
    assertEquals(listener.addr.hostname, loopback);
    assert(listener.addr.port > 0 && listener.addr.port === listener.port);
    const echo = (async () => {
      for await (const conn of listener) conn.readable.pipeTo(conn.writable);
    })();
    using conn = await near.connect({ hostname: version === 6 ? "[::1]" : "localhost", port: listener.port });
    await conn.write(encoder.encode("hello"));
    await conn.closeWrite();
    assertEquals(await readAll(conn), "hello");
    listener.close();
    await echo;
  });

  Deno.test(`IPv${version}: connect() fails with what went wrong`, async () => {
    await using world = await pair();
    const { near } = world;
    assertEquals(await codeOf(near.connect({ hostname: there, port: 81 })), "ECONNREFUSED");
    assertEquals(await codeOf(near.connect({ hostname: nobody, port: 80, timeoutMs: 100 })), "ETIMEDOUT");
    assertEquals(descriptors(near), 0);
  });

  Deno.test(`IPv${version}: datagrams go both ways, each with the end that it came from`, async () => {
    await using world = await pair();
    const { near, far } = world;
    using server = await far.listenDatagram({ port: 53 });
    using client = await near.listenDatagram({ hostname: here });
    assertEquals(server.addr, { transport: "udp", hostname: "::", port: 53 });
    assertEquals(client.addr.hostname, here);
    const serving = (async () => {
      for await (const [bytes, from] of server) await server.send(bytes.toReversed(), from);
    })();
    for (const text of ["", "a", "x".repeat(1400), "y".repeat(9000)]) {
      assertEquals(await client.send(encoder.encode(text), { hostname: there, port: 53 }), text.length);
      const [bytes, from] = await client.receive();
      assertEquals({ text: decoder.decode(bytes), from }, {
        text,
        from: { transport: "udp", hostname: there, port: 53 },
      });
    }
    await client.send(encoder.encode("abcdef"), { hostname: there, port: 53 });
    const [cut] = await client.receive(new Uint8Array(4));
    assertEquals(decoder.decode(cut), "fedc");
    server.close();
    await serving;
    assertEquals(descriptors(far), 0);
  });
}

Deno.test("ports and names that cannot be are refused with a text that names them", async () => {
  await using world = await pair();
  const { near } = world;
  const refusals: [() => Promise<unknown>, string][] = [
    [() => near.connect({ port: 0 }), "port 0"],
    [() => near.connect({ port: 65536 }), "port 65536"],
    [() => near.connect({ port: 1.5 }), "port 1.5"],
    [() => near.connect({ hostname: "10.0.0.2!7", port: 80 }), '"10.0.0.2!7"'],
    [() => near.connect({ hostname: "a b", port: 80 }), '"a b"'],
    [() => near.connect({ hostname: "no.such.name", port: 80 }), "no.such.name"],
    [() => near.listen({ port: -1 }), "port -1"],
    [() => near.listen({ hostname: "10.9.9.9", port: 80 }), "10.9.9.9"],
    [() => near.listenDatagram({ port: 70_000 }), "port 70000"],
  ];
  for (const [refused, text] of refusals) await assertRejects(refused, KernelError, text);
  using socket = await near.listenDatagram();
  await assertRejects(() => socket.send(new Uint8Array(1), { hostname: "here", port: 7 }), KernelError, '"here"');
  await assertRejects(() => socket.send(new Uint8Array(1), { hostname: "10.0.0.2", port: 0 }), KernelError, "port 0");
  assertEquals(await codeOf(socket.send(new Uint8Array(65_600), { hostname: "10.0.0.2", port: 7 })), "EMSGSIZE");
  assertEquals(await codeOf(near.listenDatagram({ port: socket.addr.port })), "EFAIL");
});

Deno.test("what was closed says so, and a loop over it ends", async () => {
  await using world = await pair();
  const { near, far } = world;
  const listener = await far.listen({ port: 80 });
  const [conn] = await Promise.all([near.connect({ hostname: "10.0.0.2", port: 80 }), listener.accept()]);
  conn.close();
  assertEquals(await codeOf(conn.read(new Uint8Array(1))), "EBADF");
  assertEquals(await codeOf(conn.write(new Uint8Array(1))), "EBADF");
  const socket = await near.listenDatagram({ port: 7 });
  const waits = codeOf(socket.receive());
  socket.close();
  assertEquals(await waits, "EBADF");
  assertEquals(await codeOf(socket.send(new Uint8Array(1), { hostname: "10.0.0.2", port: 7 })), "EBADF");
  for await (const _ of socket) throw new Error("it is closed");
});

Deno.test("a connection that the other side resets rejects reads and writes with ECONNRESET", async () => {
  await using world = await pair();
  using listener = await world.far.listen({ port: 80 });
  const to = { hostname: "10.0.0.2", port: 80 };
  const [conn, call] = await Promise.all([world.near.connect(to), listener.accept()]);
  const waits = codeOf(conn.read(new Uint8Array(1)));
  call.reset();
  assertEquals(await waits, "ECONNRESET");
});

// --- giving up ---

/** Something that waits, and would wait for ever. */
interface Waiting {
  readonly near: Host;
  readonly listener: StreamListener;
  readonly conn: StreamConn;
  readonly call: StreamConn;
  readonly socket: DatagramConn;
}

type Bounds = { signal?: AbortSignal; timeoutMs?: number };

const WAITS: Record<string, (at: Waiting, wait: Bounds) => Promise<unknown>> = {
  "connect()": ({ near }, wait) => near.connect({ hostname: "10.0.0.77", port: 80, ...wait }),
  "dial()": ({ near }, wait) => near.dial("tcp!10.0.0.77!80", wait),
  "accept()": ({ listener }, wait) => listener.accept(wait),
  "read()": ({ conn }, wait) => conn.read(new Uint8Array(1), wait),
  "receive()": ({ socket }, wait) => socket.receive(undefined, wait),
};

for (const [name, start] of Object.entries(WAITS)) {
  Deno.test(`${name} is given up by its signal and by its time-out, and what it waited at goes on`, async () => {
    await using world = await pair();
    const { near, far } = world;
    using listener = await far.listen({ port: 80 });
    const to = { hostname: "10.0.0.2", port: 80 };
    const [conn, call] = await Promise.all([near.connect(to), listener.accept()]);
    using socket = await near.listenDatagram({ port: 7 });
    const at = { near, listener, conn, call, socket };
    const before = { near: descriptors(near), far: descriptors(far) };

    const late = await assertRejects(() => start(at, { timeoutMs: 250 }), KernelError);
    assertEquals({ code: late.code, text: late.message }, { code: "ETIMEDOUT", text: "Gave up after 250 ms" });

    const stop = new AbortController();
    const reason = new Error("enough");
    near.clock.timer(() => stop.abort(reason)).arm(100);
    const startMs = near.clock.now();
    assertEquals(await assertRejects(() => start(at, { signal: stop.signal, timeoutMs: 60_000 })), reason);
    assertEquals(near.clock.now() - startMs, 100);
    assertEquals(await assertRejects(() => start(at, { signal: stop.signal })), reason, "aborted before it began");
    assertEquals(
      (await assertRejects(() => start(at, { signal: AbortSignal.abort() }), DOMException)).name,
      "AbortError",
    );
    assertEquals({ near: descriptors(near), far: descriptors(far) }, before);

    // All of it still works.
    const [next] = await Promise.all([near.connect({ ...to, timeoutMs: 1000 }), listener.accept({ timeoutMs: 1000 })]);
    next.close();
    await call.write(encoder.encode("!"));
    assertEquals(await conn.read(new Uint8Array(1), { timeoutMs: 1000 }), 1);
    using sender = await far.listenDatagram();
    await sender.send(encoder.encode("?"), { hostname: "10.0.0.1", port: 7 });
    assertEquals((await socket.receive(undefined, { timeoutMs: 1000 }))[0].length, 1);
  });
}

Deno.test("a time-out that is no time is refused, and Infinity is none", async () => {
  await using world = await pair();
  using listener = await world.near.listen({ port: 80 });
  for (const timeoutMs of [-1, NaN]) assertEquals(await codeOf(listener.accept({ timeoutMs })), "EINVAL");
  const accepted = listener.accept({ timeoutMs: Infinity });
  await world.near.connect({ port: 80 });
  await accepted;
});
