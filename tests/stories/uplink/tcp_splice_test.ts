/**
 * The bytes of a connection through the uplink: who ends it, how, and with what queued, for both versions of IP; and
 * that no order of events loses, doubles or reorders a byte, or leaves a socket open.
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import { KernelError } from "../../../kernel/error.ts";
import { SeededRandom } from "../../../kernel/random.ts";
import type { StreamConn } from "../../../tools/boot/streams.ts";
import { fuzz } from "../../kit/check/fuzz.ts";
import type { ForwardPorts } from "../../../tools/uplink/forwards.ts";
import type { FakeConn } from "../../kit/uplink/fake_streams.ts";
import { TCP_LINKS, type TcpLink, type TcpWorld, tcpWorld } from "../../kit/uplink/tcp_world.ts";

const SIZES = [0, 1, 300_000];

function bytes(count: number, seed = 1): Uint8Array<ArrayBuffer> {
  const data = new Uint8Array(count);
  new SeededRandom(seed).fill(data);
  return data;
}

/** A connection of the guest, and the server's end of it. */
async function pair(at: TcpWorld, { remote }: TcpLink): Promise<{ guest: StreamConn; server: FakeConn }> {
  let server: FakeConn | null = null;
  at.fake.serve(`${remote}!80`, (conn) => void (server = conn));
  const guest = await at.host.connect({ hostname: remote, port: 80 });
  await at.pass(5);
  return { guest, server: server! };
}

/** Everything that comes until the end, or the error that ends it. */
async function readAll(conn: StreamConn): Promise<{ got: number[]; failure: string }> {
  const got: number[] = [];
  const buf = new Uint8Array(65_536);
  try {
    for (;;) {
      const count = await conn.read(buf);
      if (count === null) return { got, failure: "" };
      for (let i = 0; i < count; i++) got.push(buf[i]!);
    }
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    return { got, failure: error.code };
  }
}

async function writeAll(conn: StreamConn, data: Uint8Array): Promise<void> {
  for (let done = 0; done < data.length;) done += await conn.write(data.subarray(done));
}

/** Ports of the machine from 8080 on that lead to those of the guest from 80 on. */
function forwardOf({ version }: TcpLink, count: number): ForwardPorts {
  return { protocol: "tcp", version, address: null, port: 8080, count, nearPort: 80 };
}

async function closed(at: TcpWorld): Promise<void> {
  await at.pass(8_000);
  assertEquals({ open: at.fake.open.size, relay: at.uplink.sizes.tcp }, { open: 0, relay: 0 });
}

for (const link of TCP_LINKS) {
  const { name, remote } = link;

  for (const size of SIZES) {
    Deno.test(`${name}: a guest that ends first gets the answer of ${size} bytes to its end`, async () => {
      await using at = await tcpWorld();
      const { guest, server } = await pair(at, link);
      const [question, answer] = [bytes(size, 1), bytes(size, 2)];
      server.onEnd = () => {
        server.send(answer);
        server.end();
      };
      await writeAll(guest, question);
      await guest.closeWrite();
      assertEquals(await readAll(guest), { got: [...answer], failure: "" });
      assertEquals(server.got, [...question]);
      guest.close();
      await closed(at);
    });

    Deno.test(`${name}: a server that ends first still gets ${size} bytes of the guest`, async () => {
      await using at = await tcpWorld();
      const { guest, server } = await pair(at, link);
      server.send(bytes(size, 2));
      server.end();
      assertEquals(await readAll(guest), { got: [...bytes(size, 2)], failure: "" });
      await writeAll(guest, bytes(size, 1));
      await guest.closeWrite();
      await at.pass(500);
      assertEquals({ got: server.got, hasEnd: server.hasEnd }, { got: [...bytes(size, 1)], hasEnd: true });
      guest.close();
      await closed(at);
    });

    Deno.test(`${name}: a server's reset is a reset, behind ${size} bytes that it has sent`, async () => {
      await using at = await tcpWorld();
      const { guest, server } = await pair(at, link);
      // No more than the machine's socket has taken: what is not there yet is lost by the reset.
      const sent = bytes(Math.min(size, 60_000), 2);
      server.send(sent);
      server.reset();
      assertEquals(await readAll(guest), { got: [...sent], failure: "ECONNRESET" });
      guest.close();
      await closed(at);
    });

    Deno.test(`${name}: a guest's reset is a reset, behind ${size} bytes that it has sent`, async () => {
      await using at = await tcpWorld();
      const { guest, server } = await pair(at, link);
      await writeAll(guest, bytes(size, 1));
      await at.pass(500);
      guest.reset();
      await closed(at);
      assertEquals({ got: server.got, wasReset: server.wasReset }, { got: [...bytes(size, 1)], wasReset: true });
    });
  }

  Deno.test(`${name}: an answer passes before the reset of a server that has left the request unread`, async () => {
    await using at = await tcpWorld();
    const { guest, server } = await pair(at, link);
    server.isReading = false;
    await writeAll(guest, bytes(50_000));
    await at.pass(100);
    const answer = bytes(900, 2);
    server.send(answer);
    server.reset();
    assertEquals(await readAll(guest), { got: [...answer], failure: "ECONNRESET" });
    guest.close();
    await closed(at);
  });

  Deno.test(`${name}: a server that stops reading stops the guest, with a bound in memory, and goes on`, async () => {
    await using at = await tcpWorld();
    const { guest, server } = await pair(at, link);
    server.isReading = false;
    const data = bytes(3 << 20);
    let written = 0;
    const writing = (async () => {
      while (written < data.length) written += await guest.write(data.subarray(written));
      await guest.closeWrite();
    })();
    await at.pass(30_000);
    const stopped = written;
    assert(stopped < 5 << 19, `the guest was let write ${stopped} bytes`);
    await at.pass(30_000);
    assertEquals(written, stopped, "its window is closed");
    server.isReading = true;
    server.pump();
    await writing;
    server.onEnd = () => server.end();
    await at.pass(30_000);
    assertEquals(server.got.length, data.length);
    assertEquals(
      await crypto.subtle.digest("SHA-256", new Uint8Array(server.got)),
      await crypto.subtle.digest("SHA-256", data),
    );
    if (server.hasEnd) server.end();
    guest.close();
    await closed(at);
  });

  Deno.test(`${name}: a guest that stops reading stops the server, and goes on`, async () => {
    await using at = await tcpWorld();
    const { guest, server } = await pair(at, link);
    const data = bytes(3 << 20);
    server.send(data);
    server.end();
    await at.pass(30_000);
    assert(server.socket.down.bytes.length > 0, "what the guest does not take waits in the socket");
    const { got, failure } = await readAll(guest);
    assertEquals(failure, "");
    assertEquals(
      await crypto.subtle.digest("SHA-256", new Uint8Array(got)),
      await crypto.subtle.digest("SHA-256", data),
    );
    guest.close();
    await closed(at);
  });

  Deno.test(`${name}: the same four ends are used again at once after the server has closed first`, async () => {
    await using at = await tcpWorld();
    at.fake.serve(`${remote}!80`, (conn) => conn.end());
    const local = `${link.near}!45678`;
    for (let round = 0; round < 5; round++) {
      const conn = await at.host.dial(`tcp!${remote}!80`, { local, ctl: [] });
      assertEquals(await readAll(conn), { got: [], failure: "" });
      await conn.closeWrite();
      conn.close();
      await at.pass(20);
    }
    assertEquals(at.fake.attempts.length, 5);
    await closed(at);
  });

  Deno.test(`${name}: a forward shows the caller, and the peer for one of the machine`, async () => {
    await using at = await tcpWorld();
    const listener = await at.host.listen({ port: 80 });
    const ports = forwardOf(link, 1);
    const forward = at.uplink.forwards.open(ports);
    assert("close" in forward);
    // The last two look the same: the second of them gets another port, as the first one's is in TIME-WAIT.
    const callers = [[link.caller, link.caller, 5000], [link.loopback, link.peer, 5000], [
      link.own,
      link.peer,
      5001,
    ]] as const;
    for (const [caller, hostname, port] of callers) {
      const server = at.fake.call(`${caller}!5000`, 8080);
      const guest = await listener.accept();
      assertEquals(guest.remoteAddr, { transport: "tcp", hostname, port });
      server.send(bytes(1000));
      server.end();
      assertEquals((await readAll(guest)).got.length, 1000);
      await writeAll(guest, bytes(2000));
      guest.close();
      await at.pass(100);
      assertEquals({ got: server.got.length, hasEnd: server.hasEnd }, { got: 2000, hasEnd: true });
    }
    forward.close();
    await closed(at);
  });

  Deno.test(`${name}: a forward without a listener behind it resets its caller`, async () => {
    await using at = await tcpWorld();
    const ports = forwardOf(link, 3);
    const forward = at.uplink.forwards.open(ports);
    assert("close" in forward);
    const caller = at.fake.call(`${link.caller}!5000`, 8082);
    await at.pass(100);
    assertEquals({ wasReset: caller.wasReset, refused: at.uplink.counters.tcpInRefused }, {
      wasReset: true,
      refused: 1,
    });
    assertEquals(at.uplink.forwards.open(ports), { port: 8080, failure: "EADDRINUSE" });
    assertEquals(at.uplink.forwards.open({ ...ports, port: 80, count: 1 }), { port: 80, failure: "EACCES" });
    forward.close();
    await closed(at);
  });
}

/** One step of a random connection. */
type Action =
  | { readonly who: "guest" | "server"; readonly what: "send"; readonly count: number }
  | { readonly who: "guest" | "server"; readonly what: "end" | "reset" }
  | { readonly who: "server"; readonly what: "pause" | "resume" }
  | { readonly who: "time"; readonly what: "pass"; readonly ms: number };

const ACTION: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      who: fc.constantFrom("guest", "server"),
      what: fc.constant("send"),
      count: fc.integer({ min: 1, max: 40_000 }),
    }) as fc.Arbitrary<Action>,
  },
  {
    weight: 4,
    arbitrary: fc.record({
      who: fc.constant("time"),
      what: fc.constant("pass"),
      ms: fc.integer({ min: 0, max: 300 }),
    }) as fc.Arbitrary<Action>,
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom<Action>({ who: "server", what: "pause" }, { who: "server", what: "resume" }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      who: fc.constantFrom("guest", "server"),
      what: fc.constantFrom("end", "reset"),
    }) as fc.Arbitrary<Action>,
  },
);

Deno.test("In any order of writes, pauses, ends and resets no byte is lost, doubled or reordered", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(ACTION, { maxLength: 25 }),
      fc.integer(),
      fc.constantFrom(...TCP_LINKS),
      async (actions, seed, link) => {
        await using at = await tcpWorld();
        const random = new SeededRandom(seed);
        at.fake.step = () => 1 + random.below(random.below(2) === 0 ? 10 : 50_000);
        const { guest, server } = await pair(at, link);
        const sent = { guest: 0, server: 0 };
        const isOver = { guest: false, server: false };
        let hadReset = false;
        let writing: Promise<unknown> = Promise.resolve();
        const reading = readAll(guest);
        const byte = (index: number) => index * 7 % 251;
        for (const action of actions) {
          if (action.what === "pass") await at.pass(action.ms);
          else if (action.what === "pause") server.isReading = false;
          else if (action.what === "resume") {
            server.isReading = true;
            server.pump();
          } else if (isOver[action.who] || hadReset) continue;
          else if (action.what === "send") {
            const data = Uint8Array.from({ length: action.count }, (_, i) => byte(sent[action.who as "guest"] + i));
            sent[action.who as "guest"] += action.count;
            if (action.who === "server") server.send(data);
            else writing = writing.then(() => writeAll(guest, data)).catch(() => {});
          } else if (action.what === "end") {
            isOver[action.who] = true;
            if (action.who === "server") server.end();
            else writing = writing.then(() => guest.closeWrite()).catch(() => {});
          } else {
            hadReset = true;
            if (action.who === "server") server.reset();
            else guest.reset();
          }
        }
        server.isReading = true;
        server.pump();
        if (!hadReset) {
          if (!isOver.server) server.end();
          if (!isOver.guest) writing = writing.then(() => guest.closeWrite()).catch(() => {});
        }
        await at.pass(20_000);
        const { got } = await reading;
        // What arrived is a beginning of what was sent; without a reset it is all of it.
        assertEquals([got, server.got].map((bytes) => bytes.findIndex((one, i) => one !== byte(i))), [-1, -1]);
        if (!hadReset) {
          assertEquals({ guest: server.got.length, server: got.length }, sent);
          await writing;
        }
        guest.close();
        await closed(at);
      },
    ),
    fuzz(40),
  );
});

Deno.test("A guest whose link carries 65,520 bytes is not slowed down by a first window of one segment", async () => {
  await using at = await tcpWorld();
  const { guest, server } = await pair(at, TCP_LINKS[0]!);
  const startedMs = at.host.clock.now();
  await writeAll(guest, bytes(4 << 20));
  await at.pass(0);
  while (server.got.length < 4 << 20) await at.pass(1);
  assert(at.host.clock.now() - startedMs < 200, `4 MiB took ${at.host.clock.now() - startedMs} ms of virtual time`);
  server.end();
  await guest.closeWrite();
  guest.close();
  await assertRejects(() => guest.write(new Uint8Array(1)), KernelError);
  await closed(at);
});
