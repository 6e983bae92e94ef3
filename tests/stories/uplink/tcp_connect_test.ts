/**
 * What a guest hears when the machine connects, or cannot: the table of socket errors, each for both versions of IP,
 * with the sender that said so.
 */

import { assertEquals, assertRejects } from "@std/assert";
import { KernelError } from "../../../kernel/error.ts";
import type { SocketFailure, SocketReport } from "../../../kernel/host_sockets.ts";
import { parseIpAddr } from "../../../kernel/wire/ip_addr.ts";
import { HELD_MAX } from "../../../tools/uplink/held_calls.ts";
import { TCP_LINKS, type TcpLink, tcpWorld } from "../../kit/uplink/tcp_world.ts";

/**
 * A failure without an entry in the error queue, and what the guest gets: an ICMP error of each version, or another.
 */
const FAILURES: readonly (readonly [SocketFailure, icmp4: string, icmp6: string])[] = [
  ["EHOSTUNREACH", "3/1", "1/3"],
  ["ENETUNREACH", "3/0", "1/0"],
  ["ENOPROTOOPT", "3/2", "4/1"],
  ["EHOSTDOWN", "3/1", "1/3"],
  ["ENONET", "3/1", "1/3"],
  ["EACCES", "3/13", "1/1"],
  ["EPERM", "3/13", "1/1"],
  ["EPROTO", "3/13", "1/1"],
  ["EOPNOTSUPP", "3/13", "1/1"],
  ["EAFNOSUPPORT", "3/0", "1/0"],
  ["ENETDOWN", "3/0", "1/0"],
  ["EADDRNOTAVAIL", "", "1/0"],
  ["EINVAL", "", ""],
  ["ETIMEDOUT", "", ""],
  ["EMFILE", "", ""],
  ["ENFILE", "", ""],
  ["ENOBUFS", "", ""],
  ["ENOMEM", "", ""],
  ["EADDRINUSE", "", ""],
];

const ACK = 16;

/** What came by ICMP or ICMPv6: type and code, and Linux' error for it. */
const REPORTS: Readonly<Record<4 | 6, readonly (readonly [type: number, code: number, SocketFailure])[]>> = {
  4: [[3, 0, "ENETUNREACH"], [3, 1, "EHOSTUNREACH"], [3, 13, "EHOSTUNREACH"], [11, 0, "EHOSTUNREACH"]],
  6: [[1, 0, "ENETUNREACH"], [1, 1, "EACCES"], [1, 3, "EHOSTUNREACH"], [3, 0, "EHOSTUNREACH"]],
};

function reportOf({ router, dead }: TcpLink, type: number, code: number, failure: SocketFailure): SocketReport {
  const to = { address: parseIpAddr(dead)!, port: 80 };
  return { failure, origin: "icmp", type, code, mtu: 0, offender: parseIpAddr(router)!, to, payload: new Uint8Array() };
}

for (const link of TCP_LINKS) {
  const { name, version, remote, dead, peer, router } = link;

  Deno.test(`${name}: the guest's handshake waits for the machine's, whose TTL and TOS are the SYN's`, async () => {
    await using at = await tcpWorld();
    at.fake.serve(`${remote}!80`, (conn) => {
      conn.send([1, 2, 3]);
      conn.end();
    }, 2000);
    const startedMs = at.host.clock.now();
    const conn = await at.host.connect({ hostname: remote, port: 80 });
    assertEquals(Math.round(at.host.clock.now() - startedMs) >= 2000, true, "not before the machine is connected");
    const buf = new Uint8Array(9);
    assertEquals(await conn.read(buf), 3);
    assertEquals(at.fake.attempts, [`${remote}!80`], "a SYN that is repeated is no second attempt");
    assertEquals(at.fake.requests[0]!.ttl > 1, true);
    conn.close();
    await at.pass(200);
    assertEquals(at.uplink.sizes.tcp, 0);
  });

  Deno.test(`${name}: a refused port is refused within the round trip, and the reset is believed`, async () => {
    await using at = await tcpWorld();
    const startedMs = at.host.clock.now();
    await assertRejects(() => at.host.connect({ hostname: remote, port: 81 }), KernelError, "refused");
    assertEquals(at.host.clock.now() - startedMs < 50, true);
    assertEquals({ resets: at.resets, errors: at.errors }, { resets: 1, errors: [] });
    assertEquals(at.uplink.counters.tcpRefused, 1);
  });

  for (const [failure, icmp4, icmp6] of FAILURES) {
    const wanted = version === 4 ? icmp4 : icmp6;
    Deno.test(`${name}: ${failure} is ${wanted === "" ? "silence" : `ICMP ${wanted}`} for the guest`, async () => {
      for (const atOnce of [false, true]) {
        await using at = await tcpWorld();
        at.fake.fail(dead, { failure, atOnce });
        await assertRejects(() => at.host.connect({ hostname: dead, port: 80, timeoutMs: 900 }));
        assertEquals(at.errors.slice(0, 1), wanted === "" ? [] : [{ from: peer, what: wanted }]);
        assertEquals({ resets: at.resets, size: at.uplink.sizes.tcp }, { resets: 0, size: 0 });
      }
    });
  }

  for (const [type, code, failure] of REPORTS[version]) {
    Deno.test(`${name}: ICMP ${type}/${code} of a router comes through as it is, from the router`, async () => {
      await using at = await tcpWorld();
      at.fake.fail(dead, { failure, report: reportOf(link, type, code, failure) });
      await assertRejects(() => at.host.connect({ hostname: dead, port: 80, timeoutMs: 900 }));
      assertEquals(at.errors[0], { from: router, what: `${type}/${code}` });
    });
  }

  Deno.test(`${name}: no answer of the world is none for the guest`, async () => {
    await using at = await tcpWorld();
    at.fake.fail(dead, {});
    await assertRejects(() => at.host.connect({ hostname: dead, port: 80, timeoutMs: 5000 }), Error);
    assertEquals({ errors: at.errors, resets: at.resets, attempts: at.fake.attempts.length }, {
      errors: [],
      resets: 0,
      attempts: 1,
    });
    assertEquals(at.uplink.sizes.tcp, 1, "the machine still tries");
  });

  Deno.test(`${name}: a guest that has given up keeps no socket`, async () => {
    await using at = await tcpWorld();
    at.fake.fail(dead, {});
    await assertRejects(() => at.host.connect({ hostname: dead, port: 80, timeoutMs: 2000 }), Error);
    await at.pass(4000);
    assertEquals({ size: at.uplink.sizes.tcp, open: at.fake.open.size }, { size: 1, open: 1 }, "it may be patient");
    await at.pass(6000);
    assertEquals({ size: at.uplink.sizes.tcp, open: at.fake.open.size }, { size: 0, open: 0 });
    assertEquals(at.uplink.counters.tcpUnfinished, 1);
  });

  Deno.test(`${name}: a guest that repeats its SYN, each time after twice the time, is patient`, async () => {
    await using at = await tcpWorld();
    // The machine connects only after a minute, between two SYNs of the guest.
    at.fake.serve(`${remote}!80`, (conn) => conn.end(), 60_000);
    const conn = await at.host.connect({ hostname: remote, port: 80, timeoutMs: 120_000 });
    assertEquals(at.fake.attempts.length, 1);
    conn.close();
  });

  Deno.test(`${name}: a SYN that waits ends with the guest's reset`, async () => {
    await using at = await tcpWorld();
    at.fake.fail(dead, {});
    const calling = at.host.connect({ hostname: dead, port: 80, timeoutMs: 3000 });
    await at.pass(100);
    assertEquals(at.fake.open.size, 1);
    at.resetCall();
    await at.pass(1);
    assertEquals({ size: at.uplink.sizes.tcp, open: at.fake.open.size }, { size: 0, open: 0 });
    await assertRejects(() => calling);
  });

  Deno.test(`${name}: the peer is the machine's loopback, and closed if that is disabled`, async () => {
    const { loopback, own } = link;
    await using open = await tcpWorld();
    open.fake.serve(`${loopback}!80`, (conn) => conn.end());
    open.fake.serve(`${own}!80`, (conn) => conn.end());
    (await open.host.connect({ hostname: peer, port: 80 })).close();
    (await open.host.connect({ hostname: own, port: 80 })).close();
    assertEquals(open.fake.attempts, [`${loopback}!80`, `${own}!80`]);
    await using closed = await tcpWorld({ hostLoopback: false });
    for (const hostname of [peer, own]) {
      await assertRejects(() => closed.host.connect({ hostname, port: 80, timeoutMs: 900 }));
    }
    assertEquals(closed.fake.attempts, []);
    assertEquals(closed.errors[0], { from: peer, what: version === 4 ? "3/13" : "1/1" });
  });

  Deno.test(`${name}: a thousand connects at once succeed, and the rest with their next SYN`, async () => {
    await using at = await tcpWorld();
    at.fake.serve(`${remote}!80`, (conn) => conn.end(), 500);
    const conns = await Promise.all(
      Array.from({ length: HELD_MAX + 50 }, () => at.host.connect({ hostname: remote, port: 80 })),
    );
    assertEquals(at.uplink.counters.tcpHeldFull > 0, true);
    for (const conn of conns) conn.close();
    await at.pass(1000);
    assertEquals(at.uplink.sizes.tcp, 0);
  });

  Deno.test(`${name}: a scan of silent addresses makes room for a call after two seconds`, async () => {
    await using at = await tcpWorld();
    at.fake.fail(dead, {});
    at.fake.serve(`${remote}!80`, (conn) => conn.end());
    const scan = Array.from({ length: HELD_MAX }, (_, i) => {
      return at.host.connect({ hostname: dead, port: 1000 + i, timeoutMs: 6000 }).catch(() => {});
    });
    await at.pass(500);
    assertEquals(at.uplink.sizes.tcp, HELD_MAX);
    await assertRejects(() => at.host.connect({ hostname: remote, port: 80, timeoutMs: 400 }), "there is no room yet");
    assertEquals({ full: at.uplink.counters.tcpHeldFull, open: at.fake.open.size }, { full: 1, open: HELD_MAX });
    await at.pass(1200);
    const startedMs = at.host.clock.now();
    (await at.host.connect({ hostname: remote, port: 80 })).close();
    assertEquals(at.host.clock.now() - startedMs < 100, true, "its first SYN found room");
    await Promise.all(scan);
  });

  Deno.test(`${name}: a segment of a connection that the uplink does not know is reset`, async () => {
    await using at = await tcpWorld();
    at.fake.fail(dead, {});
    const calling = at.host.connect({ hostname: dead, port: 80, timeoutMs: 3000 });
    calling.catch(() => {});
    await at.pass(100);
    at.resetCall();
    await at.pass(1);
    assertEquals(at.resets, 0, "none answers a reset");
    at.sendAgain(ACK);
    await at.pass(1);
    assertEquals({ resets: at.resets, open: at.fake.open.size }, { resets: 1, open: 0 });
    await assertRejects(() => calling);
  });

  Deno.test(`${name}: without a descriptor a call is lost, and goes through once there is one`, async () => {
    await using at = await tcpWorld();
    at.fake.serve(`${remote}!80`, (conn) => conn.end());
    at.fake.descriptorsMax = 0;
    const calling = at.host.connect({ hostname: remote, port: 80 });
    await at.pass(500);
    assertEquals(at.uplink.counters.tcpShortage > 0, true);
    at.fake.descriptorsMax = 9;
    (await calling).close();
  });

  Deno.test(`${name}: a guest that is gone between SYN and ACK does not keep the machine's connection`, async () => {
    await using at = await tcpWorld();
    at.fake.serve(`${remote}!80`, () => {}, 2000);
    await assertRejects(() => at.host.connect({ hostname: remote, port: 80, timeoutMs: 1500 }));
    // It resets the answer that comes too late.
    await at.pass(1000);
    assertEquals({ unfinished: at.uplink.counters.tcpUnfinished, open: at.uplink.sizes.tcp }, {
      unfinished: 1,
      open: 0,
    });
  });
}
