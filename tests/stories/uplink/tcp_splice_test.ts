/**
 * The bytes of a connection through the uplink: who ends it, how, and with what queued, for both versions of IP; and
 * that no order of events loses, doubles or reorders a byte, or leaves a socket open.
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { KernelError } from "../../../kernel/error.ts";
import type { ForwardPorts } from "../../../tools/uplink/forwards.ts";
import { TCP_LINKS, type TcpLink, tcpWorld } from "../../kit/uplink/tcp_world.ts";
import { bytes, closed, pair, readAll, writeAll } from "../../kit/uplink/tcp_bytes.ts";

const SIZES = [0, 1, 300_000];

/** Ports of the machine from 8080 on that lead to those of the guest from 80 on. */
function forwardOf({ version }: TcpLink, count: number): ForwardPorts {
  return { protocol: "tcp", version, address: null, port: 8080, count, nearPort: 80 };
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

  Deno.test(`${name}: a closed uplink serves callers, all shown as the peer, and lets nothing out`, async () => {
    await using at = await tcpWorld({ hostLoopback: true, isClosed: true }, true);
    const listener = await at.host.listen({ port: 80 });
    assert("close" in at.uplink.forwards.open(forwardOf(link, 1)));
    for (const [i, caller] of [link.caller, link.remote, link.loopback].entries()) {
      const server = at.fake.call(`${caller}!5000`, 8080);
      const guest = await listener.accept();
      assertEquals(guest.remoteAddr, { transport: "tcp", hostname: link.peer, port: 5000 + i });
      server.send(bytes(1000));
      server.end();
      assertEquals((await readAll(guest)).got.length, 1000);
      await writeAll(guest, bytes(2000));
      guest.close();
      await at.pass(100);
      assertEquals({ got: server.got.length, hasEnd: server.hasEnd }, { got: 2000, hasEnd: true });
    }
    for (const hostname of [remote, link.peer, link.own]) {
      await assertRejects(() => at.host.connect({ hostname, port: 80 }), KernelError);
    }
    assertEquals(at.errors.length, 3, "each was answered by an ICMP error");
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
