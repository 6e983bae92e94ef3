/**
 * A flood of SYNs: the SYN queue fills, cookies take over, what stands goes on and new calls can still be made (RFC
 * 4987).
 */

import { assert, assertEquals } from "@std/assert";
import { SYN_QUEUE_CROWDED, SYN_QUEUE_MAX } from "../../../devices/ip/tcp/syn_queue.ts";
import { BACKLOG_MAX } from "../../../devices/ip/conv/conv_space.ts";
import type { Tcb } from "../../../devices/ip/tcp/tcb.ts";
import type { Said, TcpPeer } from "../../kit/tcp/peer.ts";
import { peerListen } from "../../kit/tcp/peer_states.ts";

/** SYNs from as many ports, none of which will answer. */
function flood(peer: TcpPeer, count: number, syn: Said = {}): void {
  for (let i = 0; i < count; i++) peer.sends({ flags: "S", seq: 0, srcPort: 10_000 + i, ...syn });
  peer.ignores();
}

/** A handshake with whatever SYN-ACK comes. */
function call(peer: TcpPeer, srcPort: number, said: Said = {}): Tcb | null {
  const before = peer.conv.calls.length;
  peer.sends({ flags: "S", seq: 0, srcPort, ...said });
  const { header } = peer.expects({ flags: "SA", seq: 0, ack: 1, dstPort: srcPort });
  const ts = said.ts === undefined ? {} : { ts: [said.ts[0] + 1, header.options.tsVal] as const };
  peer.sends({ seq: 1, ack: 1, srcPort, data: "hi", ...ts });
  peer.ignores();
  return peer.conv.calls.length > before ? peer.conv.calls.at(-1)!.priv as Tcb : null;
}

Deno.test("the SYN queue holds no more than its limit, and cookies answer the rest", () => {
  const peer = peerListen();
  flood(peer, SYN_QUEUE_MAX + 200);
  const { stats } = peer.host.tcp.env;
  assertEquals([peer.host.tcp.synQueue.length, stats.synCookiesSent], [SYN_QUEUE_MAX, 200]);
  assert(peer.host.tcp.space.convs.length < 5, "a flood takes no conversation");
});

Deno.test("a call made by a cookie has everything that a usual one has, if the peer has timestamps", () => {
  const peer = peerListen();
  const syn = { mss: 1460, scale: 5, sackOk: true, ts: [1000, 0] as const };
  const usual = call(peer, 5000, syn)!;
  flood(peer, SYN_QUEUE_MAX);
  const cookie = call(peer, 5001, syn)!;
  const told = (tcb: Tcb) => [tcb.snd.mss, tcb.snd.shift, tcb.rcv.shift, tcb.sackOk, tcb.timestampsOk, tcb.rq.length];
  assertEquals(told(cookie), [1448, 5, 7, true, true, 2]);
  assertEquals(told(cookie), told(usual));
  assertEquals(peer.host.tcp.env.stats.synCookiesOk, 1);
});

Deno.test("a call made by a cookie without timestamps has the segment size and nothing else", () => {
  const peer = peerListen();
  flood(peer, SYN_QUEUE_MAX);
  const tcb = call(peer, 5001, { mss: 1400, scale: 5, sackOk: true })!;
  assertEquals([tcb.snd.mss, tcb.snd.shift, tcb.rcv.shift, tcb.sackOk], [1400, 0, 0, false]);
});

Deno.test("an acknowledgment that carries no cookie of ours is refused, and counted while cookies are out", () => {
  const peer = peerListen();
  flood(peer, SYN_QUEUE_MAX + 1);
  peer.sends({ seq: 1, ack: 12_345, srcPort: 4000 });
  peer.expects({ flags: "R", dstPort: 4000 });
  assertEquals(peer.host.tcp.env.stats.synCookiesBad, 1);
  peer.clock.advance(200_000);
  peer.sends({ seq: 1, ack: 12_345, srcPort: 4000 });
  assertEquals(peer.host.tcp.env.stats.synCookiesBad, 1, "cookies of so long ago are not looked for");
});

Deno.test("while the SYN queue is crowded nothing is sent again, and it empties within seconds", () => {
  const peer = peerListen();
  flood(peer, SYN_QUEUE_MAX);
  peer.clock.advance(3000);
  assert(peer.heard.length <= SYN_QUEUE_CROWDED, `${peer.heard.length} sent again`);
  assert(peer.host.tcp.synQueue.length <= SYN_QUEUE_CROWDED);
  peer.clock.advance(100_000);
  assertEquals([peer.host.tcp.synQueue.length, peer.clock.timerCount], [0, 0]);
});

Deno.test("a connection that stands goes on during a flood", () => {
  const peer = peerListen();
  const tcb = call(peer, 5000)!;
  const listener = peer.conv;
  const { irs } = peer;
  for (let i = 0; i < 20; i++) {
    flood(peer, 300);
    peer.clock.advance(100);
    peer.irs = irs;
    peer.sends({ seq: 3 + i, ack: 1, srcPort: 5000, data: "x" });
  }
  assertEquals([tcb.rq.length, listener.calls.length], [22, 1]);
});

Deno.test("a full backlog makes no further call; when there is room again the peer's next segment makes it", () => {
  const peer = peerListen();
  for (let i = 0; i < BACKLOG_MAX - 1; i++) call(peer, 6000 + i);
  peer.ignores();
  peer.sends({ flags: "S", seq: 0, srcPort: 4001 });
  peer.expects({ flags: "SA", dstPort: 4001 });
  const { irs } = peer;
  peer.sends({ flags: "S", seq: 0, srcPort: 4002 });
  peer.expects({ flags: "SA", dstPort: 4002 });
  const last = peer.irs;
  peer.irs = irs;
  peer.sends({ seq: 1, ack: 1, srcPort: 4001 });
  peer.irs = last;
  peer.sends({ seq: 1, ack: 1, srcPort: 4002, data: "x" });
  assertEquals([peer.conv.calls.length, peer.host.tcp.synQueue.length], [BACKLOG_MAX, 1]);
  peer.sends({ flags: "S", seq: 0, srcPort: 4003 });
  peer.expectsNothing();
  const taken = peer.conv.calls.shift()!;
  peer.sends({ seq: 1, ack: 1, srcPort: 4002, data: "x" });
  assertEquals(peer.conv.calls.length, BACKLOG_MAX);
  assert(taken !== peer.conv.calls.at(-1));
});

Deno.test("calls inherit their listener's settings", () => {
  const peer = peerListen({ setup: ["nodelay on", "congestion newreno", "usertimeout 7000", "wqlimit 1048576"] });
  const tcb = call(peer, 5000)!;
  const { nodelay, algorithm, userTimeoutMs, sendQueueMax } = tcb.config;
  assertEquals([nodelay, algorithm.name, userTimeoutMs, sendQueueMax], [true, "newreno", 7000, 1 << 20]);
  tcb.config.nodelay = false;
  assertEquals((peer.conv.priv as Tcb).config.nodelay, true);
});
