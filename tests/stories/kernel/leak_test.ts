/**
 * Leaks: after a thousand conversations were opened, used and closed, slots, ports, table entries, timers and queues
 * are where they were before.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { ARP_LIFE_MS } from "../../../devices/ip/neighbor/arp.ts";
import type { IpStack } from "../../../devices/ip/ip_stack.ts";
import { KernelError } from "../../../kernel/error.ts";
import { TapEvent } from "../../../kernel/fd_tap.ts";
import { Open } from "../../../kernel/qid.ts";
import { swapEnds } from "../../../tools/boot/swap_ends.ts";
import { pattern, PEER, US } from "../../kit/ip/ip_fixture.ts";
import { advance, errnoOf, meet, type Meeting, type User } from "../../kit/ip/story.ts";
import { dataOf, payloadOf } from "../../kit/ip/packet_parts.ts";
import { overLimits } from "../../kit/host/limits.ts";

const ROUNDS = 1000;

/** What must be as it was. */
function inventory(user: User): Record<string, number> {
  const { host } = user;
  const stack = host.ip.stack(0);
  const sums = (of: (proto: IpStack["protos"][number]) => number) =>
    stack.protos.reduce((sum, one) => sum + of(one), 0);
  const convs = (proto: IpStack["protos"][number]) => stack.space(proto).convs;
  return {
    fds: user.proc.fds.numbers().length,
    procs: host.kernel.procs.size,
    timers: host.clock.timerCount,
    entries: sums((proto) => stack.space(proto).table.length),
    ports: sums((proto) => stack.space(proto).ports.length),
    busy: sums((proto) => convs(proto).filter((conv) => conv.inUse > 0).length),
    queued: sums((proto) => convs(proto).reduce((sum, conv) => sum + conv.rq.blocks + conv.eq.blocks, 0)),
    calls: sums((proto) => convs(proto).reduce((sum, conv) => sum + conv.calls.length, 0)),
    groups: sums((proto) => convs(proto).reduce((sum, conv) => sum + conv.groups.length, 0)),
    bypassed: sums((proto) => convs(proto).filter((conv) => conv.bypass !== null).length),
    ownAddresses: stack.self.size,
    routes: stack.routes.size,
    arp: stack.arp.size,
    frames: host.cable!.inFlight,
  };
}

/** Runs `round` a thousand times between two kernels; both are then as before, and few slots were needed. */
async function repeat(slots: Record<string, number>, round: (world: Meeting, i: number) => void): Promise<void> {
  await using world = await meet();
  const { user, peer } = world;
  round(world, 0);
  advance(user.host, 2 * ARP_LIFE_MS);
  const before = [inventory(user), inventory(peer)];
  for (let i = 1; i <= ROUNDS; i++) {
    round(world, i);
    world.wire.frames();
  }
  assertEquals([...overLimits(user.host), ...overLimits(peer.host)], []);
  advance(user.host, 2 * ARP_LIFE_MS);
  assertEquals([inventory(user), inventory(peer)], before);
  for (const [proto, most] of Object.entries(slots)) {
    for (const one of [user, peer]) assert(one.slots(proto) <= most, `${one.slots(proto)} slots of ${proto}`);
  }
  const stats = (one: User) => ["OutDiscards", "InDiscards", "ReasmFails"].map((name) => one.stat("ipifc", name));
  assertEquals([user, peer].map(stats), [[0, 0, 0], [0, 0, 0]]);
}

Deno.test("a thousand udp conversations, connected and announced, leave nothing behind", async () => {
  await repeat({ udp: 3 }, ({ user, peer }, i) => {
    const server = peer.conv("udp", "announce 7");
    const client = user.conv("udp", `connect ${PEER}!7`, `addmulti ${US} 224.0.0.251`);
    client.bwrite(pattern(i % 4000));
    const ctl = peer.open(`${server.dir}/listen`, Open.ReadWrite);
    const data = peer.open(`/net/udp/${peer.readText(ctl)}/data`);
    assertEquals(peer.read(data), pattern(i % 4000));
    peer.proc.sys.blockwrite(data, pattern(3));
    assertEquals(client.take(), pattern(3));
    // A call that is not taken, a packet that is not read, and a tap that is not removed.
    client.tap(TapEvent.Readable);
    peer.proc.sys.blockwrite(data, pattern(9));
    user.conv("udp", `connect ${PEER}!7`).close();
    for (const fd of [ctl, data]) peer.proc.sys.close(fd);
    const stranger = user.conv("udp", `connect ${PEER}!7`);
    stranger.bwrite(pattern(1));
    stranger.close();
    server.close();
    client.close();
  });
});

Deno.test("a thousand bypassed ports, ranges, identifiers and protocols leave nothing behind", async () => {
  await repeat({ udp: 3, icmp: 2, raw: 1 }, ({ user, peer }, i) => {
    const held = user.conv("udp", i % 2 === 0 ? "bypass 7" : "bypass 5-9", "rqlimit 5000");
    const client = peer.conv("udp", `connect ${US}!7`);
    client.bwrite(pattern(i));
    held.bwrite(swapEnds(held.bread()!));
    assertEquals(client.take(), pattern(i));
    client.bwrite(pattern(2));
    const id = user.conv("icmp", "bypass 77");
    const protocol = user.conv("raw", `bypass ${100 + i % 50}`);
    assertEquals(errnoOf(() => user.conv("udp", "bypass 7")), "EFAIL");
    for (const conv of [held, client, id, protocol]) conv.close();
  });
});

Deno.test("a thousand pings leave nothing behind", async () => {
  await repeat({ icmp: 1 }, ({ user }, i) => {
    const ping = user.conv("icmp", `connect ${PEER}!1`);
    const size = i % 3000;
    ping.bwrite(new Uint8Array([...new Uint8Array(20), 8, 0, 0, 0, 0, 0, 0, 1, ...pattern(size)]));
    assertEquals(payloadOf(ping.take()).subarray(8), pattern(size));
    ping.close();
  });
});

Deno.test("a thousand refusals leave nothing behind: closed ports, busy ports, no route, bad packets", async () => {
  await repeat({ udp: 3 }, ({ user, peer, wire }, i) => {
    const conv = user.conv("udp", `connect ${PEER}!4242`);
    conv.bwrite(pattern(8));
    // Every error costs a token: let some be earned again.
    advance(user.host, 10);
    assertEquals(errnoOf(() => conv.bwrite(pattern(8))), "EPIPE");
    const held = peer.conv("udp", "bypass 7");
    for (const command of ["announce 7", "bypass 1-100", "bypass 9.9.9.9!7", "announce x", `connect ${US}!0`]) {
      assertEquals(["EFAIL", "EINVAL"].includes(errnoOf(() => peer.conv("udp", command))), true);
    }
    assertEquals(errnoOf(() => held.bwrite(pattern(i % 60))), "EINVAL");
    wire.sendFrame(pattern(14 + i % 80));
    held.close();
    conv.close();
  });
});

Deno.test("processes that end while they sleep leave nothing behind", async () => {
  await using world = await meet();
  const { user, peer } = world;
  user.conv("udp", `connect ${PEER}!7`).close();
  const before = inventory(user);
  const sleepers: Promise<string>[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    const proc = user.host.spawn("sleeper");
    const conv = await proc.bypass(`udp!*!${10000 + i}`);
    const code = (error: unknown) => error instanceof KernelError ? error.code : String(error);
    sleepers.push(proc.blockread(conv.data).then(() => "read", code));
    if (i % 100 === 0) peer.conv("udp", `connect ${US}!${10000 + i}`).bwrite(pattern(1));
    if (i % 10 === 9) {
      for (const one of [...user.host.kernel.procs.values()]) if (one.name === "sleeper") one.exit();
    }
  }
  const ends = await Promise.all(sleepers);
  assertEquals(ends.filter((end) => end === "read").length, ROUNDS / 100);
  assertEquals(ends.filter((end) => end === "EINTR").length, ROUNDS - ROUNDS / 100);
  advance(user.host, 2 * ARP_LIFE_MS);
  assertEquals(inventory(user), before);
  assert(user.slots("udp") <= 11, `${user.slots("udp")} slots`);
});

Deno.test("an hour without anything to do costs no step of the clock", async () => {
  await using world = await meet();
  const conv = world.user.conv("udp", `connect ${PEER}!7`);
  const held = world.peer.conv("udp", "bypass 7");
  conv.bwrite(pattern(10));
  assertEquals(dataOf(held.take()), pattern(10));
  advance(world.user.host, 3_600_000);
  assertEquals(world.user.host.clock.nextDeadline(), Infinity);
});
