/**
 * A TCP in a user program, over one bypassed port of a live stack: the caller cannot tell the difference.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { KernelError } from "../../../kernel/error.ts";
import { boot, type BootOptions, type Host } from "../../../tools/boot/boot.ts";
import { announceStream, type StreamConn } from "../../../tools/boot/streams.ts";
import { startUtcpEcho, type UtcpEcho } from "../../../tools/utcp/echo.ts";
import { startUserStack } from "../../../tools/utcp/user_stack.ts";
import { patternAt } from "../../kit/tcp/pair.ts";

const MIB = 1 << 20;

interface Scene extends AsyncDisposable {
  /** 10.0.0.1, where the program runs, and 10.0.0.2, which calls. */
  readonly machine: Host;
  readonly caller: Host;
  readonly echo: UtcpEcho;
}

async function start(options: BootOptions = {}): Promise<Scene> {
  const machine = await boot(options);
  const caller = await machine.neighbor();
  const echo = await startUtcpEcho(machine.spawn("utcp"), 7);
  return { machine, caller, echo, [Symbol.asyncDispose]: () => machine.world.close() };
}

function pattern(length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => patternAt(3, i));
}

async function exchange(conn: StreamConn, bytes: Uint8Array): Promise<Uint8Array> {
  const writer = conn.writable.getWriter();
  const sending = writer.write(bytes).then(() => writer.close());
  const [answer] = await Promise.all([new Response(conn.readable).arrayBuffer(), sending]);
  return new Uint8Array(answer);
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

async function stat(host: Host, name: string): Promise<number> {
  const proc = host.spawn("look");
  const text = await proc.readText("/net/tcp/stats");
  proc.exit();
  return Number(new RegExp(`^${name}: (\\d+)$`, "m").exec(text)![1]);
}

function pass(host: Host, ms: number): Promise<void> {
  return new Promise((resolve) => host.clock.timer(resolve).arm(ms));
}

Deno.test("utcp: 1 MiB comes back byte for byte, and the machine's own TCP has had no part in it", async () => {
  await using scene = await start();
  const { machine, caller, echo } = scene;
  const bytes = pattern(MIB);
  const conn = await caller.dial("tcp!10.0.0.1!7");
  assert(isSame(await exchange(conn, bytes), bytes));
  assertEquals([echo.connections, echo.bytes, echo.failed], [1, MIB, 0]);
  for (const name of ["PassiveOpens", "OutSegs", "OutRsts"]) assertEquals(await stat(machine, name), 0, name);
  assertEquals(await stat(machine, "InBypassed"), echo.stack.counters.packetsIn);
  assert(echo.stack.counters.packetsOut > 100);
  assertEquals([await stat(caller, "RetransSegs"), await stat(caller, "CsumErrs")], [0, 0]);
});

Deno.test("utcp: the caller sees what it sees of any stack: options, a half-close, a clean end", async () => {
  await using scene = await start();
  const { machine, caller } = scene;
  const direct = await machine.announce("tcp!*!8");
  const echoing = (async () => {
    const conn = await direct.accept();
    await conn.readable.pipeTo(conn.writable);
  })();
  const told: string[] = [];
  for (const port of [8, 7]) {
    const conn = await caller.dial(`tcp!10.0.0.1!${port}`);
    const proc = caller.spawn("look");
    const status = await proc.readText(`${conn.dir}/status`);
    told.push(`${status.split(" ")[0]} ${/ mss (\d+)/.exec(status)![0]} ${/options (\S+)/.exec(status)![0]}`);
    assert(isSame(await exchange(conn, pattern(5000)), pattern(5000)));
  }
  await echoing;
  assertEquals(told[0], told[1]);
  await pass(machine, 70_000);
  assertEquals([await stat(caller, "EstabResets"), await stat(caller, "CurrEstab")], [0, 0]);
});

Deno.test("utcp: fifty callers at once, and every slot is free a minute later", async () => {
  await using scene = await start();
  const { machine, caller, echo } = scene;
  const answers = await Promise.all(Array.from({ length: 50 }, async (_, i) => {
    const bytes = pattern(1000 * i + 1);
    return isSame(await exchange(await caller.dial("tcp!10.0.0.1!7"), bytes), bytes);
  }));
  assert(answers.every((isRight) => isRight));
  await pass(machine, 70_000);
  const names = echo.stack.proc.sys.list("/net/tcp").filter(({ name }) => /^\d+$/.test(name));
  const states = await Promise.all(names.map(({ name }) => echo.stack.proc.readText(`/net/tcp/${name}/status`)));
  assertEquals([echo.open, states.filter((one) => !/^(Closed|Listen) /.test(one))], [0, []]);
});

Deno.test("utcp: a path that loses, doubles and reorders packets is crossed all the same", async () => {
  await using scene = await start({ cable: { loss: 0.02, duplicate: 0.02, delayMs: 5, jitterMs: 3 } });
  const bytes = pattern(300_000);
  const conn = await scene.caller.dial("tcp!10.0.0.1!7");
  assert(isSame(await exchange(conn, bytes), bytes));
});

Deno.test("utcp: what the machine's link takes is what the program offers and keeps to", async () => {
  await using machine = await boot({ mtu: 1000 });
  await using caller = await machine.neighbor({ mtu: 1500 });
  const echo = await startUtcpEcho(machine.spawn("utcp"), 7);
  const bytes = pattern(50_000);
  assert(isSame(await exchange(await caller.dial("tcp!10.0.0.1!7"), bytes), bytes));
  assertEquals(echo.stack.counters.refused, {});
});

Deno.test("utcp: a link with a smaller MTU than the program expects is detected: segments shrink", async () => {
  await using machine = await boot({ mtu: 1000 });
  await using caller = await machine.neighbor({ mtu: 1500 });
  const stack = await startUserStack(machine.spawn("source"), 19, { mtu: 1500 });
  const listener = await announceStream(stack.proc, "tcp!*!19");
  const sending = listener.accept().then((conn) => exchange(conn, pattern(50_000)));
  const conn = await caller.dial("tcp!10.0.0.1!19");
  const [answer] = await Promise.all([exchange(conn, new Uint8Array(0)), sending]);
  assert(isSame(answer, pattern(50_000)));
  const { refused } = stack.counters;
  assert(refused["EMSGSIZE"]! > 0 && refused["EMSGSIZE"]! < 20, JSON.stringify(refused));
  listener.close();
  await stack.stop();
});

Deno.test("utcp: a reset of the caller ends one connection and no other", async () => {
  await using scene = await start();
  const { caller, echo } = scene;
  const [first, second] = [await caller.dial("tcp!10.0.0.1!7"), await caller.dial("tcp!10.0.0.1!7")];
  await first.writable.abort("enough");
  assert(isSame(await exchange(second, pattern(100)), pattern(100)));
  assertEquals([echo.failed, echo.open], [1, 0]);
});

Deno.test("utcp: stopping ends connections, gives the port back, and the kernel answers for it again", async () => {
  await using scene = await start();
  const { machine, caller, echo } = scene;
  const conn = await caller.dial("tcp!10.0.0.1!7");
  const reading = conn.readable.getReader().read();
  await echo.stop();
  await echo.stop();
  assertEquals((await reading).done, true);
  const refused = await assertRejects(() => caller.dial("tcp!10.0.0.1!7"), KernelError);
  assertEquals(refused.code, "ECONNREFUSED");
  const again = await startUtcpEcho(machine.spawn("again"), 7);
  assert(isSame(await exchange(await caller.dial("tcp!10.0.0.1!7"), pattern(9)), pattern(9)));
  await again.stop();
});

Deno.test("utcp: the end of the program's process ends its stack, and gives the port back", async () => {
  await using machine = await boot();
  await using caller = await machine.neighbor();
  const proc = machine.spawn("utcp");
  const echo = await startUtcpEcho(proc, 7);
  const conn = await caller.dial("tcp!10.0.0.1!7");
  proc.exit();
  await echo.done;
  assertEquals([echo.stack.kernel.procs.size, echo.open], [0, 0]);
  // The program is gone: the kernel refuses its packets.
  await conn.writable.getWriter().write(pattern(10));
  const error = await assertRejects(() => conn.readable.getReader().read(), KernelError);
  assertEquals(error.code, "ECONNRESET");
});

Deno.test("utcp: a port in use is refused, and nothing is left of the attempt", async () => {
  await using scene = await start();
  const proc = scene.machine.spawn("second");
  const error = await assertRejects(() => startUtcpEcho(proc, 7), KernelError);
  assertEquals([error.code, [...proc.fds.numbers()].length], ["EFAIL", 0]);
});
