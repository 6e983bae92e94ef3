/**
 * TCP as web streams, between two kernels in memory: what a script that knows `Deno.Conn` may expect of them.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { KernelError } from "../../../kernel/error.ts";
import { boot, type Host } from "../../../tools/boot/boot.ts";
import type { StreamConn, StreamListener } from "../../../tools/boot/streams.ts";
import { patternAt } from "../../kit/tcp/pair.ts";

const encoder = new TextEncoder();
const MIB = 1 << 20;

/** Two hosts, a connection between them, and the listener it came by. */
interface Talk extends AsyncDisposable {
  readonly here: Host;
  readonly there: Host;
  readonly listener: StreamListener;
  /** What was dialled, and what was accepted. */
  readonly near: StreamConn;
  readonly far: StreamConn;
}

async function talk(): Promise<Talk> {
  const here = await boot();
  const there = await here.neighbor();
  const listener = await there.announce("tcp!*!80");
  const [near, far] = await Promise.all([here.dial("tcp!10.0.0.2!80"), listener.accept()]);
  return { here, there, listener, near, far, [Symbol.asyncDispose]: () => here.world.close() };
}

function pattern(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => patternAt(seed, i));
}

/** Everything to the end. */
async function readAll(conn: StreamConn): Promise<Uint8Array> {
  return new Uint8Array(await new Response(conn.readable).arrayBuffer());
}

async function send(conn: StreamConn, bytes: Uint8Array): Promise<void> {
  const writer = conn.writable.getWriter();
  await writer.write(bytes);
  await writer.close();
}

/** The errno of what `promise` rejects with. */
async function codeOf(promise: Promise<unknown>): Promise<string> {
  return (await assertRejects(() => promise, KernelError)).code;
}

/** Lets virtual time pass for sleepers. */
function pass(host: Host, ms: number): Promise<void> {
  return new Promise((resolve) => host.clock.timer(resolve).arm(ms));
}

/** Descriptors that the streams of a host hold. */
function descriptors(host: Host): number {
  return [...host.kernel.procs.values()].reduce((sum, proc) => sum + [...proc.fds.numbers()].length, 0);
}

Deno.test("an echo is one line: readable to writable; both ends know each other, and nothing is left", async () => {
  await using world = await talk();
  const { near, far, listener } = world;
  assertEquals(near.remoteAddr, { transport: "tcp", hostname: "10.0.0.2", port: 80 });
  assertEquals([near.localAddr, near.remoteAddr], [far.remoteAddr, far.localAddr]);
  const echo = far.readable.pipeTo(far.writable);
  const [, answer] = await Promise.all([send(near, encoder.encode("hello")), readAll(near)]);
  await echo;
  assertEquals(new TextDecoder().decode(answer), "hello");
  listener.close();
  assertEquals([descriptors(world.here), descriptors(world.there)], [0, 0]);
});

Deno.test("1 MiB each way at once arrives byte for byte", async () => {
  await using world = await talk();
  const { near, far } = world;
  const [a, b] = [pattern(MIB, 1), pattern(MIB, 2)];
  const [, , gotFar, gotNear] = await Promise.all([send(near, a), send(far, b), readAll(far), readAll(near)]);
  assert(a.every((byte, i) => gotFar[i] === byte) && gotFar.length === MIB);
  assert(b.every((byte, i) => gotNear[i] === byte) && gotNear.length === MIB);
});

Deno.test("half-close: the end of one direction is read while the other goes on", async () => {
  await using world = await talk();
  const { near, far } = world;
  await near.writable.getWriter().write(encoder.encode("question"));
  await near.closeWrite();
  assertEquals((await readAll(far)).length, 8);
  const writer = far.writable.getWriter();
  await writer.write(encoder.encode("late answer"));
  await pass(world.here, 100_000);
  await writer.write(encoder.encode("!"));
  await writer.close();
  assertEquals(new TextDecoder().decode(await readAll(near)), "late answer!");
});

Deno.test("a reader with a buffer of its own gets what fits it, and its buffer back at the end", async () => {
  await using world = await talk();
  const { near, far } = world;
  await send(near, encoder.encode("abcdefg"));
  const reader = far.readable.getReader({ mode: "byob" });
  const parts: string[] = [];
  for (let buf = new Uint8Array(3);;) {
    const { value, done } = await reader.read(buf);
    if (done) {
      assertEquals([value!.length, value!.buffer.byteLength], [0, 3]);
      break;
    }
    parts.push(new TextDecoder().decode(value));
    buf = new Uint8Array(value.buffer);
  }
  assertEquals(parts, ["abc", "def", "g"]);
});

Deno.test("dialling fails with what went wrong, and only tcp has streams", async () => {
  await using host = await boot();
  await using other = await host.neighbor();
  assertEquals(await codeOf(host.dial("tcp!10.0.0.2!81")), "ECONNREFUSED");
  assertEquals(await codeOf(host.dial("tcp!192.0.2.1!80")), "EHOSTUNREACH");
  assertEquals(await codeOf(host.dial("tcp!10.0.0.77!80")), "ETIMEDOUT");
  for (const address of ["udp!10.0.0.2!7", "10.0.0.2:80", "tcp!10.0.0.2"]) {
    assert(["EINVAL", "EFAIL"].includes(await codeOf(host.dial(address))), address);
  }
  using listener = await other.announce("tcp!*!80");
  assertEquals(await codeOf(other.announce("tcp!*!80")), "EFAIL");
  assertEquals(listener.port, 80);
  assertEquals(descriptors(host), 0);
});

Deno.test("a reader that does not read stops the writer; when it reads, all arrives", async () => {
  await using world = await talk();
  const { near, far } = world;
  const total = 16 * MIB;
  let written = 0;
  const writing = (async () => {
    const writer = near.writable.getWriter();
    for (; written < total; written += 65536) await writer.write(new Uint8Array(65536).fill(written >>> 16));
    await writer.close();
  })();
  await pass(world.here, 60_000);
  const stuck = written;
  await pass(world.here, 60_000);
  assertEquals(written, stuck);
  // What both queues and the window can hold, and no more.
  assert(stuck > 0 && stuck < 12 * MIB, `${stuck} bytes were taken`);
  let got = 0;
  for await (const chunk of far.readable) {
    for (let i = 0; i < chunk.length; i += 4099) assertEquals(chunk[i], (got + i) >>> 16 & 0xff);
    got += chunk.length;
  }
  await writing;
  assertEquals(got, total);
});

Deno.test("aborting a writer resets: the other side's reader and writer fail, ours too", async () => {
  await using world = await talk();
  const { near, far, listener } = world;
  const [ours, theirs] = [near.readable.getReader(), far.readable.getReader()];
  const [ourRead, theirRead] = [codeOf(ours.read()), codeOf(theirs.read())];
  await near.writable.abort("enough");
  assertEquals(await Promise.all([ourRead, theirRead]), ["ECONNABORTED", "ECONNRESET"]);
  assertEquals(await codeOf(far.writable.getWriter().write(encoder.encode("x"))), "ECONNRESET");
  listener.close();
  assertEquals([descriptors(world.here), descriptors(world.there)], [0, 0]);
});

Deno.test("a writer that waits for room fails when the other side resets", async () => {
  await using world = await talk();
  const { near, far } = world;
  const writing = codeOf(near.writable.getWriter().write(new Uint8Array(32 * MIB)));
  await pass(world.here, 1000);
  far.close(); // with unread data: a reset (RFC 9293 3.10.4)
  assertEquals(await writing, "ECONNRESET");
});

Deno.test("cancelling a reader still lets the answer be written", async () => {
  await using world = await talk();
  const { near, far } = world;
  await near.writable.getWriter().write(pattern(50_000));
  await pass(world.here, 100);
  await far.readable.cancel();
  await send(far, encoder.encode("413 Content Too Large"));
  assertEquals(new TextDecoder().decode(await readAll(near)), "413 Content Too Large");
});

Deno.test("closing ends a read that waits, and may be done twice", async () => {
  await using world = await talk();
  const { near } = world;
  const reading = near.readable.getReader().read();
  near.close();
  near.close();
  near.reset();
  assertEquals((await reading).done, true);
  await near.closeWrite();
});

Deno.test("a listener that is closed ends its loop and its accept, and no other listener's", async () => {
  await using world = await talk();
  const { there, here, listener } = world;
  const other = await there.announce("tcp!*!81");
  const accepting = other.accept();
  const loop = (async () => {
    let count = 0;
    for await (const conn of listener) {
      count++;
      conn.close();
    }
    return count;
  })();
  const call = await here.dial("tcp!10.0.0.2!80");
  assertEquals((await call.readable.getReader().read()).done, true);
  listener.close();
  assertEquals(await loop, 1);
  assertEquals(await codeOf(listener.accept()), "EBADF");
  assertEquals(await codeOf(here.dial("tcp!10.0.0.2!80")), "ECONNREFUSED");
  const [near, far] = await Promise.all([here.dial("tcp!10.0.0.2!81"), accepting]);
  await send(near, encoder.encode("still here"));
  assertEquals((await readAll(far)).length, 10);
});

Deno.test("twenty calls at once are served by one loop", async () => {
  await using world = await talk();
  const { there, here } = world;
  const server = await there.announce("tcp!*!7");
  const serving = (async () => {
    const echoes: Promise<void>[] = [];
    for await (const conn of server) echoes.push(conn.readable.pipeTo(conn.writable));
    await Promise.all(echoes);
  })();
  const answers = await Promise.all(Array.from({ length: 20 }, async (_, i) => {
    const conn = await here.dial("tcp!10.0.0.2!7");
    conn.setNoDelay();
    conn.setKeepAlive();
    const [, answer] = await Promise.all([send(conn, pattern(10_000 + i, i)), readAll(conn)]);
    return answer.length === 10_000 + i && answer.every((byte, at) => byte === patternAt(i, at));
  }));
  server.close();
  await serving;
  assert(answers.every((isRight) => isRight));
});

// --- the end of the host ---

Deno.test("loops over a listener, a readable and blocks end when their host is closed by its scope", async () => {
  const ended: Record<string, number> = {};
  const loops: Promise<void>[] = [];
  const loop = <T>(name: string, over: AsyncIterable<T>) => {
    const run = async () => {
      let count = 0;
      for await (const _ of over) count++;
      ended[name] = count;
    };
    loops.push(run());
  };
  {
    await using world = await talk();
    const { near, far, listener, there } = world;
    const echo = there.spawn("echo");
    loop("listener", listener);
    loop("readable", near.readable);
    loop("blocks", echo.blocks((await echo.bypass("udp!*!7")).data));
    await far.writable.getWriter().write(encoder.encode("hello"));
    await pass(world.here, 100);
  }
  await Promise.all(loops);
  assertEquals(ended, { listener: 0, readable: 1, blocks: 0 });
});

Deno.test("calls that wait when their host is closed reject to their callers, and are unhandled nowhere", async () => {
  const awaited: Promise<string>[] = [];
  const left: Promise<unknown>[] = [];
  {
    await using world = await talk();
    const { near, far, listener, here } = world;
    const proc = here.spawn("waits");
    const bypassed = await proc.bypass("udp!*!7");
    const [to, from] = await Promise.all([here.dial("tcp!10.0.0.2!80"), listener.accept()]);
    left.push(to.writable.getWriter().write(new Uint8Array(32 * MIB)));
    left.push(from.readable.pipeTo(from.writable));
    left.push(far.readable.getReader().read());
    const start: (() => Promise<unknown>)[] = [
      () => listener.accept(),
      () => here.dial("tcp!10.0.0.77!80"),
      () => proc.dial("tcp!10.0.0.78!80"),
      () => proc.blockread(bypassed.data),
      () => proc.readText(`${bypassed.dir}/data`),
      // The last of them: the stream's queue is full, then.
      () => near.writable.getWriter().write(new Uint8Array(32 * MIB)),
    ];
    for (const call of start.slice(0, -1)) left.push(call());
    for (const call of start) awaited.push(codeOf(call()));
    // Long enough for packets to go round, too short for a time-out.
    await pass(here, 50);
    left.push(here.guest());
  }
  const codes = await Promise.all(awaited);
  assertEquals(codes.filter((code) => code !== "EINTR" && code !== "EBADF"), []);
  // A turn of the runtime: an unhandled rejection would have failed the test by now.
  await new Promise((resolve) => setTimeout(resolve, 0));
  assertEquals(left.length, 9);
});

Deno.test("closing what belongs to a closed host does nothing", async () => {
  const world = await talk();
  const { near, far, listener, here } = world;
  const guest = await here.guest({ forwards: ["tcp:8080:80"] });
  await guest.host.dial("tcp!10.0.0.2!80");
  await here.close();
  await here.close();
  await here.world.close();
  for (const one of [near, far, listener, guest]) one.close();
  near.reset();
  await near.closeWrite();
  assertEquals((await far.readable.getReader().read()).done, true);
  assertEquals(await codeOf(listener.accept()), "EBADF");
  assertEquals(await codeOf(here.dial("tcp!10.0.0.2!80")), "EINTR");
});
