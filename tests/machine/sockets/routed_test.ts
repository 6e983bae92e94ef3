/** Sockets of Linux behind a router: what connecting, UDP and ping meet, and what the error queue says of it. */

import { assert, assertEquals } from "@std/assert";
import { libc } from "../../../devices/host/libc.ts";
import { createNetns } from "../../../devices/host/netns.ts";
import { pause } from "../../../devices/host/pause.ts";
import { writeSysctl } from "../../../devices/host/sysctl.ts";
import type { HostDatagrams, HostStream, SocketReport } from "../../../kernel/host_sockets.ts";
import { machineTest } from "../../kit/check/skip.ts";
import { FAR_MTU, must, ROUTED, Routed, ROUTED_NEEDS, type RoutedEnds } from "../../kit/host/routed.ts";
import { addr, made, message, SocketLab } from "../../kit/host/sockets.ts";

const PORT = 7007;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;

/** What a row of the tables expects: the error, and who says it with which ICMP type and code. */
type Expected = readonly [failure: string, type: number, code: number];

/** ICMP errors of the router, of IPv4 and of IPv6. */
const ROUTER_ERRORS: readonly {
  readonly what: string;
  readonly to: (ends: RoutedEnds) => string;
  readonly ttl: number;
  readonly expected: Readonly<Record<4 | 6, Expected>>;
}[] = [
  {
    what: "unreachable",
    to: (ends) => ends.unreachable,
    ttl: 64,
    expected: { 4: ["EHOSTUNREACH", 3, 1], 6: ["ENETUNREACH", 1, 0] },
  },
  {
    what: "prohibited",
    to: (ends) => ends.prohibited,
    ttl: 64,
    expected: { 4: ["EHOSTUNREACH", 3, 13], 6: ["EACCES", 1, 1] },
  },
  {
    what: "TTL exceeded",
    to: (ends) => ends.world,
    ttl: 1,
    expected: { 4: ["EHOSTUNREACH", 11, 0], 6: ["EHOSTUNREACH", 3, 0] },
  },
];

function summary({ failure, origin, type, code, offender, to }: SocketReport): unknown[] {
  return [failure, origin, type, code, `${offender}`, `${to.address}`, to.port];
}

/** Sends one message, which must be taken. */
function send(socket: HostDatagrams, one: Parameters<HostDatagrams["send"]>[0][number]): void {
  assertEquals([socket.send([one], 1), socket.refusal], [1, null]);
}

machineTest("connecting: every end of an attempt, with who ended it, for both versions", ROUTED_NEEDS, async () => {
  using routed = await Routed.make();
  await using world = new SocketLab({ netns: routed.world });
  await using lab = new SocketLab({ netns: routed.host });
  const connect = (address: string, ttl = 0) => lab.connect({ address: addr(address), port: PORT }, { ttl });
  const rows = ROUTED.map((ends) => ({
    ends,
    refused: connect(ends.world),
    // A router of the same machine answers inside of connect(2): the SYN of a second later brings it again.
    errors: ROUTER_ERRORS.map((row) => ({ ...row, stream: connect(row.to(ends), row.ttl === 64 ? 0 : row.ttl) })),
    silent: connect(ends.silent),
    own: Object.entries(ends.own).map(([kind, address]) => [
      kind,
      lab.sockets.connect({ to: { address: addr(address), port: PORT }, from: null, ttl: 0, tos: 0 }),
    ]),
  }));
  for (const { ends, refused, errors, silent, own } of rows) {
    await lab.settled(refused);
    assertEquals([refused.state, refused.failure, refused.takeReport()], ["failed", "ECONNREFUSED", null]);
    for (const { what, to, expected, stream } of errors) {
      await lab.settled(stream);
      const [failure, type, code] = expected[ends.version];
      assertEquals([what, stream.state, stream.failure], [what, "failed", failure]);
      const report = stream.takeReport()!;
      assertEquals(summary(report), [failure, "icmp", type, code, ends.router, to(ends), PORT]);
      // The quoted packet's TCP header: our port and its.
      const ports = new DataView(report.payload.buffer);
      assertEquals([ports.getUint16(0), ports.getUint16(2)], [stream.local.port, PORT]);
      assertEquals(stream.takeReport(), null);
    }
    assertEquals([silent.state, silent.failure, silent.takeReport()], ["connecting", null, null]);
    assertEquals(Object.fromEntries(own), { unreachable: "EHOSTUNREACH", prohibit: "EACCES", blackhole: "EINVAL" });
  }
  // Open ports: the TTL of the SYN is not that of later packets.
  for (const { world: address, version } of ROUTED) {
    const listener = made(world.sockets.listen({ version, address: null, port: PORT, device: "a1400" }));
    const stream = connect(address, 2);
    stream.setTtl(0);
    const server = await world.accept(listener);
    await lab.settled(stream);
    assertEquals([stream.state, server.remote], ["connected", stream.local]);
  }
});

machineTest("connecting where there is no route, and to oneself", ROUTED_NEEDS, async () => {
  using netns = createNetns(`alone-${crypto.randomUUID().slice(0, 8)}`);
  await using lab = new SocketLab({ netns });
  for (const { version, world } of ROUTED) {
    const to = { address: addr(world), port: PORT };
    assertEquals(lab.sockets.connect({ to, from: null, ttl: 0, tos: 0 }), "ENETUNREACH");
    const socket = made(lab.sockets.datagrams({ version, address: null, port: 0 }));
    assertEquals([socket.send([message(to, "x")], 1), socket.refusal], [0, "ENETUNREACH"]);
  }
  // Linux has one port to choose, and it is the one that is called: a connection of one end (RFC 9293 3.5).
  netns.run(() => writeSysctl("net/ipv4/ip_local_port_range", "40000 40000"));
  for (const loopback of ["127.0.0.1", "::1"]) {
    const stream = lab.connect({ address: addr(loopback), port: 40000 });
    await lab.settled(stream);
    assertEquals([stream.state, stream.failure], ["failed", "ECONNREFUSED"]);
    stream.close();
  }
});

machineTest("an attempt hears no edge of the socket whose descriptor it has", ROUTED_NEEDS, async () => {
  using routed = await Routed.make();
  await using lab = new SocketLab({ netns: routed.host });
  for (const { host, silent } of ROUTED) {
    const attempts = Array.from({ length: 16 }, () => lab.connect({ address: addr(host), port: PORT }));
    let fresh: HostStream[] = [];
    // All are refused in one turn. The first closes the others, whose edges are still to come, and connects as often.
    for (const attempt of attempts) {
      attempt.onReady = () => {
        for (const one of attempts) one.close();
        fresh = attempts.map(() => lab.connect({ address: addr(silent), port: PORT }));
      };
    }
    await lab.until("the new attempts", () => fresh.length > 0);
    for (let i = 0; i < 50; i++) await pause();
    assertEquals(fresh.map(({ state }) => state), fresh.map(() => "connecting"));
  }
});

machineTest("UDP: ICMP errors with offender, destination and payload; none eats another's datagram", [
  ...ROUTED_NEEDS,
], async () => {
  using routed = await Routed.make();
  await using world = new SocketLab({ netns: routed.world });
  await using lab = new SocketLab({ netns: routed.host });
  for (const ends of ROUTED) {
    const { version, router } = ends;
    const server = made(world.sockets.datagrams({ version, address: null, port: PORT }));
    const to = { address: addr(ends.world), port: PORT };
    const socket = made(lab.sockets.datagrams({ version, address: null, port: 0 }));
    for (const { what, to: wrong, ttl, expected } of ROUTER_ERRORS) {
      const bad = { address: addr(wrong(ends)), port: PORT };
      const batch = [message(bad, what, { ttl }), message(to, "good"), message(bad, what, { ttl }), message(to, "too")];
      assertEquals([socket.send(batch, 4), socket.refusal], [4, null]);
      assertEquals((await world.hear(server, 2)).map(({ text }) => text), ["good", "too"]);
      for (let i = 0; i < 2; i++) {
        const report = await lab.report(socket);
        assertEquals(summary(report), [
          expected[version][0],
          "icmp",
          ...expected[version].slice(1),
          router,
          wrong(ends),
          PORT,
        ]);
        assertEquals(new TextDecoder().decode(report.payload), what);
      }
    }
    const refusals = Object.entries(ends.own).map(([kind, address]) => {
      const count = socket.send([message({ address: addr(address), port: PORT }, "x")], 1);
      return [kind, count, socket.refusal];
    });
    assertEquals(refusals, [["unreachable", 0, "EHOSTUNREACH"], ["prohibit", 0, "EACCES"], ["blackhole", 0, "EINVAL"]]);
    send(socket, message(to, "goes on"));
    assertEquals((await world.hear(server))[0]!.text, "goes on");
  }
});

machineTest(
  "UDP: Don't Fragment, the next hop's MTU, and fragments without it, in one batch",
  ROUTED_NEEDS,
  async () => {
    using routed = await Routed.make();
    await using world = new SocketLab({ netns: routed.world });
    await using lab = new SocketLab({ netns: routed.host });
    for (const { version, world: address, router } of ROUTED) {
      const server = made(world.sockets.datagrams({ version, address: null, port: PORT }));
      const to = { address: addr(address), port: PORT };
      const socket = made(lab.sockets.datagrams({ version, address: null, port: 0 }));
      const size = (bytes: number, dontFragment: boolean) => message(to, new Uint8Array(bytes), { dontFragment });
      // 1440 bytes are more than the second link takes, 2000 more than the first.
      send(socket, size(1440, true));
      const far = await lab.report(socket);
      const [type, code] = version === 4 ? [3, 4] : [2, 0];
      assertEquals([...summary(far), far.mtu], ["EMSGSIZE", "icmp", type, code, router, address, PORT, FAR_MTU]);
      // The sender finds the path's MTU by itself: what Linux has learned does not refuse it.
      const batch = [size(1440, true), size(100, true), size(2000, false), size(200, true)];
      assertEquals([socket.send(batch, 4), socket.refusal], [4, null]);
      assertEquals((await world.hear(server, 3)).map(({ payload }) => payload.length), [100, 2000, 200]);
      assertEquals((await lab.report(socket)).origin, "icmp");
      assertEquals([socket.send([size(2000, true), size(1, true)], 2), socket.refusal], [0, "EMSGSIZE"]);
      const near = await lab.report(socket);
      assertEquals([near.failure, near.origin, near.mtu, near.offender], ["EMSGSIZE", "local", 1500, null]);
      assertEquals(near.to, to);
      assertEquals(socket.takeReport(), null);
    }
  },
);

machineTest("UDP: a full socket takes a part, and onReady says when there is room", ROUTED_NEEDS, async () => {
  using routed = await Routed.make();
  await using lab = new SocketLab({ netns: routed.host });
  for (const { version, absent } of ROUTED) {
    const socket = made(lab.sockets.datagrams({ version, address: null, port: 0 })) as HostDatagrams & { fd: number };
    let told = 0;
    socket.onReady = () => told++;
    await lab.until("the first edge", () => told === 1);
    // What waits for the neighbour's link address counts against the sender; this is less than waits for it at most.
    const room = new Uint8Array(new Int32Array([20_000]).buffer);
    assertEquals(libc().setsockopt(socket.fd, SOL_SOCKET, SO_SNDBUF, room, 4), 0);
    const batch = Array.from(
      { length: 200 },
      () => message({ address: addr(absent), port: PORT }, new Uint8Array(1000)),
    );
    const count = socket.send(batch, 200);
    assert(count > 0 && count < 200, `${count}`);
    assertEquals([socket.refusal, socket.send(batch, 1), socket.refusal, told], [null, 0, null, 1]);
    await must(routed.host, "ip", "neigh", "replace", absent, "lladdr", "02:00:00:00:00:77", "dev", "a1500");
    await lab.until("room", () => told === 2);
    assertEquals([socket.send(batch, 1), socket.refusal], [1, null]);
  }
});

machineTest(
  "ping: replies with TTL and source, errors with the message, an identifier of its own",
  ROUTED_NEEDS,
  async () => {
    using routed = await Routed.make();
    await using lab = new SocketLab({ netns: routed.host });
    for (const ends of ROUTED) {
      const { version, world, host } = ends;
      routed.host.run(() => writeSysctl("net/ipv4/ping_group_range", "1 0"));
      assertEquals(lab.sockets.echo(version, null), "EACCES");
      routed.host.run(() => writeSysctl("net/ipv4/ping_group_range", "0 2147483647"));
      const sockets = [made(lab.sockets.echo(version, null)), made(lab.sockets.echo(version, addr(host)))];
      const [request, reply] = version === 4 ? [8, 0] : [128, 129];
      // The identifier is the kernel's, whatever is asked for.
      const echo = (sequence: number, size: number) =>
        Uint8Array.from({ length: size }, (_, i) => [request, 0, 0, 0, 0xab, 0xcd, 0, sequence][i] ?? i);
      const identifiers = sockets.map(({ local }) => local.port);
      assert(identifiers[0] !== identifiers[1] && !identifiers.includes(0), `${identifiers}`);
      for (const [i, socket] of sockets.entries()) {
        const to = { address: addr(world), port: 0 };
        // Of IPv6 the first of 4000 bytes would be lost: it is how Linux learns the path's MTU.
        for (const size of [8, 64, version === 4 ? 4000 : 1300]) {
          send(socket, message(to, echo(i, size), { ttl: 9, tos: 0x28 }));
          const [heard] = await lab.hear(socket);
          const { payload, from } = heard!;
          assertEquals([payload.length, payload[0], payload[7]], [size, reply, i]);
          assertEquals((payload[4]! << 8) | payload[5]!, identifiers[i]);
          assertEquals([`${from.address}`, `${heard!.to}`, heard!.ttl], [world, host, 63]);
          assertEquals(payload.subarray(8), echo(i, size).subarray(8));
        }
        for (const { what, to: wrong, ttl, expected } of ROUTER_ERRORS) {
          send(socket, message({ address: addr(wrong(ends)), port: 0 }, echo(i, 40), { ttl }));
          // The error is pending: it may not eat this one.
          send(socket, message(to, echo(i, 16)));
          assertEquals((await lab.hear(socket))[0]!.payload.length, 16, what);
          const { failure, type, code, offender, payload } = await lab.report(socket);
          assertEquals([failure, type, code, `${offender}`], [...expected[version], ends.router]);
          assertEquals([payload[0], payload[7], (payload[4]! << 8) | payload[5]!], [request, i, identifiers[i]]);
        }
        assertEquals([socket.send([message(to, echo(i, 7))], 1), socket.refusal], [0, "EINVAL"]);
      }
    }
  },
);
