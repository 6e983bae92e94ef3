import { assertEquals } from "@std/assert";
import type { TcpPeer } from "../../../tests/kit/tcp/peer.ts";
import { peerCloseWait, peerEstablished, peerFinWait1, peerFinWait2 } from "../../../tests/kit/tcp/peer_states.ts";
import { ORPHAN_STALL_MS, ORPHANS_MAX } from "./orphans.ts";

/** Whether `peer`'s connection is still there, and how many orphans there are. */
function stands(peer: TcpPeer): { state: string; orphans: number } {
  return { state: peer.state, orphans: peer.host.tcp.env.orphans.size };
}

const GONE = { state: "Closed", orphans: 0 };

/** Data that the peer's window does not take, and a close behind it. */
function shutOut(): TcpPeer {
  const peer = peerEstablished({ window: 0 });
  peer.sends({ window: 0 });
  peer.writes("x".repeat(5000));
  peer.close();
  peer.ignores();
  return peer;
}

Deno.test("an orphan whose peer answers every probe of its shut window is reset after 100 s (RFC 6429)", () => {
  const peer = shutOut();
  for (let s = 1; s < ORPHAN_STALL_MS / 1000; s++) {
    peer.clock.advance(1000);
    for (; peer.heard.length > 0; peer.heard.length--) peer.sends({ seq: 1, ack: 1, window: 0 });
  }
  assertEquals(stands(peer), { state: "Finwait1", orphans: 1 });
  peer.clock.advance(1000);
  peer.expects({ flags: "RA" });
  assertEquals({ ...stands(peer), timers: peer.clock.timerCount }, { ...GONE, timers: 0 });
  assertEquals(peer.host.tcp.env.stats.orphanTimeouts, 1);
});

Deno.test("a peer that takes less than a segment makes no progress, one that takes segments does", () => {
  const takes = (bytes: number) => {
    const peer = shutOut();
    for (let i = 1; i <= 3; i++) {
      peer.clock.advance(0.8 * ORPHAN_STALL_MS);
      if (peer.state === "Closed") break;
      peer.sends({ seq: 1, ack: 1 + (i - 1) * bytes, window: bytes });
      peer.ignores();
      peer.sends({ seq: 1, ack: 1 + i * bytes, window: 0 });
    }
    return peer.state;
  };
  assertEquals({ one: takes(1), segments: takes(2 * 536) }, { one: "Closed", segments: "Finwait1" });
});

Deno.test("an orphan ends by its user timeout if that is shorter", () => {
  const peer = peerEstablished({ setup: ["usertimeout 7000"], window: 0 });
  peer.sends({ window: 0 });
  peer.writes("x");
  peer.close();
  peer.clock.advance(6999);
  assertEquals(peer.state, "Finwait1");
  peer.clock.advance(1);
  assertEquals(stands(peer), GONE);
});

Deno.test("a FIN that is never acknowledged ends its orphan, in each state that waits for that", () => {
  const fixtures = { Finwait1: peerEstablished, Last_ack: peerCloseWait };
  for (const [state, fixture] of Object.entries(fixtures)) {
    const peer = fixture();
    peer.close();
    assertEquals(stands(peer), { state, orphans: 1 });
    peer.clock.advance(ORPHAN_STALL_MS);
    assertEquals(stands(peer), GONE);
  }
});

Deno.test("FIN-WAIT-2 ends 60 s after the close; while the program has it open it may last", () => {
  const peer = peerFinWait2();
  peer.clock.advance(3600_000);
  assertEquals(stands(peer), { state: "Finwait2", orphans: 0 });
  peer.close();
  assertEquals(stands(peer), { state: "Finwait2", orphans: 1 });
  peer.clock.advance(60_000);
  assertEquals(stands(peer), GONE);
});

Deno.test("what a program has open is no orphan, however long its peer takes nothing", () => {
  const peer = peerFinWait1({ window: 0 });
  assertEquals(stands(peer), { state: "Finwait1", orphans: 0 });
});

Deno.test("a connection that ends in order is no orphan any more", () => {
  const peer = peerEstablished();
  peer.close();
  peer.sends({ seq: 1, ack: 2 });
  assertEquals(stands(peer), { state: "Finwait2", orphans: 1 });
  peer.sends({ flags: "FA", seq: 1, ack: 2 });
  assertEquals(stands(peer), { state: "Time_wait", orphans: 0 });
});

Deno.test(`there are ${ORPHANS_MAX} orphans at most: the longest-stalled end, not the newest`, () => {
  const peer = peerEstablished();
  const { host } = peer;
  const convs = [peer.conv];
  for (let port = 1; port <= ORPHANS_MAX; port++) {
    const conv = host.connect(host.conv(), peer.conv.raddr, 5000, 1000 + port);
    peer.conv = conv;
    peer.sends({ flags: "SA", seq: 0, ack: 1, dstPort: 1000 + port });
    convs.push(conv);
  }
  for (const conv of convs) {
    host.close(conv);
    peer.clock.advance(0.01);
  }
  const states = convs.map((conv) => host.tcb(conv).state);
  const { orphans, stats } = host.tcp.env;
  assertEquals({ orphans: orphans.size, ended: stats.orphansEnded, first: states[0], last: states.at(-1) }, {
    orphans: ORPHANS_MAX + 1 - 64,
    ended: 64,
    first: 0,
    last: 5,
  });
});
