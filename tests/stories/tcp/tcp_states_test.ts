/**
 * Every state of a connection that stands, or ends, and what each segment and each call of the user does in it (RFC
 * 9293 3.10). The host is 10.0.0.1 port 80, its peer is made by hand; sequence numbers are relative.
 */

import { assertEquals, assertThrows } from "@std/assert";
import { KernelError } from "../../../kernel/error.ts";
import type { Fixture, TcpPeer } from "../../kit/tcp/peer.ts";
import {
  peerCloseWait,
  peerClosing,
  peerEstablished,
  peerFinWait1,
  peerFinWait2,
  peerLastAck,
  peerTimeWait,
} from "../../kit/tcp/peer_states.ts";

const SYNCHRONIZED: readonly [string, (fixture?: Fixture) => TcpPeer][] = [
  ["Established", peerEstablished],
  ["Finwait1", peerFinWait1],
  ["Finwait2", peerFinWait2],
  ["Close_wait", peerCloseWait],
  ["Closing", peerClosing],
  ["Last_ack", peerLastAck],
  ["Time_wait", peerTimeWait],
];

/** The peer's next sequence number, and ours, in each state. */
const NEXT: Record<string, readonly [number, number]> = {
  Syn_received: [1, 1],
  Established: [1, 1],
  Finwait1: [1, 2],
  Finwait2: [1, 2],
  Close_wait: [2, 1],
  Closing: [2, 2],
  Last_ack: [2, 2],
  Time_wait: [2, 2],
};

// --- every synchronized state

for (const [state, fixture] of SYNCHRONIZED) {
  const [theirs, ours] = NEXT[state]!;

  Deno.test(`TCP in ${state} believes a reset at rcv.nxt, and challenges others in the window (RFC 5961 3)`, () => {
    const peer = fixture();
    assertEquals(peer.state, state);
    peer.sends({ flags: "R", seq: theirs - 1 });
    peer.sends({ flags: "R", seq: theirs + 70_000 });
    peer.expectsNothing();
    peer.sends({ flags: "R", seq: theirs + 1 });
    peer.expects({ flags: "A", seq: ours, ack: theirs });
    assertEquals(peer.state, state);
    peer.sends({ flags: "R", seq: theirs });
    peer.expectsNothing();
    assertEquals([peer.state, peer.clock.timerCount], ["Closed", 0]);
  });

  Deno.test(`TCP in ${state} answers every SYN by a challenge, in the window and outside (RFC 5961 4)`, () => {
    const peer = fixture();
    for (const at of [theirs, theirs + 100, theirs - 1]) {
      peer.sends({ flags: "S", seq: at });
      if (state !== "Time_wait" || at < theirs) peer.expects({ flags: "A", seq: ours, ack: theirs });
      if (state === "Time_wait" && at >= theirs) break;
    }
    peer.ignores();
    if (state === "Time_wait") return;
    peer.sends({ flags: "SA", seq: theirs, ack: ours });
    peer.expects({ flags: "A", seq: ours, ack: theirs });
    assertEquals(peer.state, state);
  });

  Deno.test(`TCP in ${state} drops what has no ACK, and challenges an ACK of what was never sent (RFC 5961 5)`, () => {
    const peer = fixture();
    peer.sends({ flags: "", seq: theirs, data: "x" });
    peer.sends({ flags: "F", seq: theirs });
    peer.expectsNothing();
    peer.sends({ seq: theirs, ack: ours + 1 });
    peer.expects({ flags: "A", seq: ours, ack: theirs });
    peer.sends({ seq: theirs, ack: ours - 70_000 });
    peer.expects({ flags: "A", seq: ours, ack: theirs });
    assertEquals(peer.state, state);
  });

  Deno.test(`TCP in ${state}: hangup resets at once and forgets`, () => {
    const peer = fixture();
    peer.ctl("hangup");
    if (state !== "Time_wait") peer.expects({ flags: "RA", seq: ours, ack: theirs });
    peer.expectsNothing();
    assertEquals([peer.state, peer.clock.timerCount], ["Closed", 0]);
    peer.sends({ seq: theirs, ack: ours });
    peer.expects({ flags: "R", seq: ours });
  });

  Deno.test(`TCP in ${state} gives up a silent peer, if something waits for it`, () => {
    const peer = fixture();
    if (state === "Established" || state === "Close_wait") peer.writes("are you there");
    peer.close();
    peer.clock.advance(1_000_000);
    peer.ignores();
    assertEquals([peer.state, peer.clock.timerCount, peer.host.tcp.busy(peer.conv)], ["Closed", 0, false]);
  });

  Deno.test(`TCP in ${state} takes no data where the peer has ended its side, and takes them where it has not`, () => {
    const peer = fixture();
    // Only a FIN that was acknowledged before is acknowledged again.
    const isAcked = ["Established", "Finwait2", "Close_wait", "Time_wait"].includes(state);
    peer.sends({ seq: theirs, ack: isAcked ? ours : ours - 1, data: "more" });
    const mayReceive = theirs === 1;
    assertEquals(peer.reads(), mayReceive ? "more" : "EOF");
    assertEquals(peer.state, state);
  });
}

// --- ESTABLISHED

Deno.test("TCP in ESTABLISHED: the peer's FIN is acknowledged at once and read as the end behind the data", () => {
  const peer = peerEstablished();
  peer.sends({ flags: "FA", seq: 1, ack: 1, data: "last" });
  peer.expects({ flags: "A", seq: 1, ack: 6 });
  assertEquals([peer.state, peer.reads()], ["Close_wait", "lastEOF"]);
  peer.writes("still here");
  peer.expects({ flags: "PA", seq: 1, data: "still here" });
});

Deno.test("TCP in ESTABLISHED: shutdown wr sends the FIN behind the data, and the peer may go on", () => {
  const peer = peerEstablished();
  peer.writes("bye");
  peer.expects({ data: "bye" });
  peer.ctl("shutdown wr");
  peer.expects({ flags: "FA", seq: 4 });
  assertEquals(peer.host.write(peer.conv, new Uint8Array(1)), "closed");
  peer.sends({ seq: 1, ack: 5, data: "and you" });
  assertEquals([peer.state, peer.reads()], ["Finwait2", "and you"]);
});

Deno.test("TCP in ESTABLISHED: after shutdown rd a reader sees the end, and what comes is acknowledged", () => {
  const peer = peerEstablished();
  peer.ctl("shutdown rd");
  assertEquals(peer.reads(), "EOF");
  peer.sends({ seq: 1, ack: 1, data: "unheard" });
  peer.clock.advance(100);
  peer.expects({ flags: "A", ack: 8 });
});

Deno.test("TCP in ESTABLISHED: close with unread data resets (RFC 1122 4.2.2.13)", () => {
  const peer = peerEstablished();
  peer.sends({ seq: 1, ack: 1, data: "unread" });
  peer.close();
  peer.expects({ flags: "RA", seq: 1, ack: 7 });
  assertEquals([peer.state, peer.host.tcp.busy(peer.conv)], ["Closed", false]);
});

Deno.test("TCP in ESTABLISHED: close sends what was written, then the FIN; the slot is busy until all is done", () => {
  const peer = peerEstablished();
  peer.writes("written");
  peer.close();
  peer.expects({ flags: "PA", seq: 1, data: "written" });
  peer.expects({ flags: "FA", seq: 8 });
  assertEquals(peer.host.tcp.busy(peer.conv), true);
  peer.sends({ seq: 1, ack: 9 });
  assertEquals(peer.state, "Finwait2");
  peer.sends({ flags: "FA", seq: 1, ack: 9 });
  peer.expects({ flags: "A", seq: 9, ack: 2 });
  assertEquals([peer.state, peer.host.tcp.busy(peer.conv)], ["Time_wait", true]);
  peer.clock.advance(60_000);
  assertEquals([peer.state, peer.host.tcp.busy(peer.conv), peer.clock.timerCount], ["Closed", false, 0]);
});

Deno.test("TCP in ESTABLISHED: data that arrive after close are reset, since no reader is left", () => {
  const peer = peerEstablished();
  peer.close();
  peer.expects({ flags: "FA" });
  peer.sends({ seq: 1, ack: 2, data: "anybody?" });
  peer.expects({ flags: "RA" });
  assertEquals(peer.state, "Closed");
});

Deno.test("TCP in ESTABLISHED: a reset ends reading and writing with ECONNRESET, behind what was received", () => {
  const peer = peerEstablished();
  peer.sends({ seq: 1, ack: 1, data: "got" });
  peer.ignores();
  peer.sends({ flags: "R", seq: 4 });
  const buf = new Uint8Array(10);
  assertEquals(peer.conv.rq.read(buf), 3);
  assertEquals(assertThrows(() => peer.conv.rq.read(buf), KernelError).code, "ECONNRESET");
  assertEquals(assertThrows(() => peer.writes("x"), KernelError).code, "ECONNRESET");
});

// --- FIN-WAIT-1, FIN-WAIT-2, CLOSING, LAST-ACK

Deno.test("TCP in FIN-WAIT-1 goes to FIN-WAIT-2, CLOSING or TIME-WAIT by what FIN and ACK say", () => {
  const finWait2 = peerFinWait1();
  finWait2.sends({ seq: 1, ack: 2 });
  assertEquals(finWait2.state, "Finwait2");
  const closing = peerFinWait1();
  closing.sends({ flags: "FA", seq: 1, ack: 1 });
  closing.expects({ flags: "A", seq: 2, ack: 2 });
  assertEquals(closing.state, "Closing");
  const timeWait = peerFinWait1();
  timeWait.sends({ flags: "FA", seq: 1, ack: 2 });
  timeWait.expects({ flags: "A", seq: 2, ack: 2 });
  assertEquals(timeWait.state, "Time_wait");
});

Deno.test("TCP in FIN-WAIT-1 sends its FIN again until it is acknowledged", () => {
  const peer = peerFinWait1();
  peer.clock.advance(1100);
  peer.expects({ flags: "FA", seq: 1, ack: 1 });
  peer.sends({ seq: 1, ack: 2 });
  assertEquals(peer.state, "Finwait2");
});

Deno.test("TCP in FIN-WAIT-2 waits for a FIN for ever with a reader, and a minute without one", () => {
  const peer = peerFinWait2();
  peer.clock.advance(3_600_000);
  assertEquals([peer.state, peer.clock.timerCount], ["Finwait2", 0]);
  peer.close();
  peer.clock.advance(60_000);
  assertEquals([peer.state, peer.host.tcp.busy(peer.conv)], ["Closed", false]);
});

Deno.test("TCP in CLOSING goes to TIME-WAIT, and in LAST-ACK to CLOSED, on the ACK of its FIN", () => {
  const closing = peerClosing();
  closing.sends({ seq: 2, ack: 2 });
  assertEquals(closing.state, "Time_wait");
  const lastAck = peerLastAck();
  lastAck.sends({ seq: 2, ack: 2 });
  assertEquals([lastAck.state, lastAck.clock.timerCount], ["Closed", 0]);
  assertEquals(lastAck.reads(), "EOF");
});

// --- TIME-WAIT

Deno.test("TCP in TIME-WAIT acknowledges the FIN again and restarts its timer", () => {
  const peer = peerTimeWait();
  peer.clock.advance(50_000);
  peer.sends({ flags: "FA", seq: 1, ack: 2 });
  peer.expects({ flags: "A", seq: 2, ack: 2 });
  peer.clock.advance(50_000);
  assertEquals(peer.state, "Time_wait");
  peer.clock.advance(10_000);
  assertEquals(peer.state, "Closed");
});

Deno.test("TCP in TIME-WAIT gives way to a SYN with a later number or timestamp (RFC 6191), and to no other", () => {
  const again = (said: { ts?: readonly [number, number]; seq: number }, syn = {}) => {
    const peer = peerTimeWait({ syn });
    const old = peer.conv;
    const listener = peer.host.announce(peer.host.conv(), 80);
    peer.ignores();
    peer.sends({ flags: "S", ...said });
    assertEquals(old.number !== listener.number, true);
    const { length } = peer.host.tcp.synQueue;
    if (length > 0) peer.sends({ seq: said.seq + 1, ack: 1, ...(said.ts ? { ts: [said.ts[0], peer.tsEcr] } : {}) });
    return [peer.state, length];
  };
  assertEquals(again({ seq: 100 }), ["Closed", 1]);
  assertEquals(again({ seq: 1 }), ["Time_wait", 0]);
  const timestamps = { ts: [1000, 0] as const };
  assertEquals(again({ seq: 1, ts: [2000, 0] }, timestamps), ["Closed", 1]);
  assertEquals(again({ seq: 100, ts: [999, 0] }, timestamps), ["Time_wait", 0]);
});

Deno.test("TCP gives the slots of TIME-WAIT back when conversations run out, oldest first", () => {
  const peer = peerTimeWait();
  peer.close();
  const { space } = peer.host.tcp;
  for (let i = 1; i < 8192; i++) peer.host.conv();
  assertEquals(peer.state, "Time_wait");
  const conv = peer.host.conv();
  assertEquals([conv.number, peer.host.tcp.env.stats.collected], [peer.conv.number, 1]);
  assertThrows(() => space.take("eve"), KernelError, "8192");
});
