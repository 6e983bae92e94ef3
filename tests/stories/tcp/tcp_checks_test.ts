/**
 * A segment changes nothing before it has passed all checks of RFC 9293 3.10.7.4; and the exact answers: challenges,
 * resets, D-SACKs. The host is 10.0.0.1 (or its like of IPv6) port 80, its peer is made by
 * hand; sequence numbers are relative.
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { Tcb } from "../../../devices/ip/tcp/tcb.ts";
import { fuzz } from "../../kit/check/fuzz.ts";
import type { Fixture, Said, TcpPeer } from "../../kit/tcp/peer.ts";
import {
  peerCloseWait,
  peerClosing,
  peerEstablished,
  peerFinWait1,
  peerFinWait2,
  peerLastAck,
  peerSynReceived,
  peerSynSent,
  peerTimeWait,
} from "../../kit/tcp/peer_states.ts";

const VERSIONS = [4, 6] as const;
const TS = { ts: [200, 0] as const };

/** Each state with a connection, the peer's next number and ours in it. */
const STATES: readonly {
  readonly state: string;
  readonly fixture: (fixture?: Fixture) => TcpPeer;
  readonly theirs: number;
  readonly ours: number;
}[] = [
  { state: "Established", fixture: peerEstablished, theirs: 1, ours: 1 },
  { state: "Finwait1", fixture: peerFinWait1, theirs: 1, ours: 2 },
  { state: "Finwait2", fixture: peerFinWait2, theirs: 1, ours: 2 },
  { state: "Close_wait", fixture: peerCloseWait, theirs: 2, ours: 1 },
  { state: "Closing", fixture: peerClosing, theirs: 2, ours: 2 },
  { state: "Last_ack", fixture: peerLastAck, theirs: 2, ours: 2 },
  { state: "Time_wait", fixture: peerTimeWait, theirs: 2, ours: 2 },
];

/** The last acknowledgment that leaves the state as it is: where our FIN is on its way, all but that. */
function unacked(state: string, ours: number): number {
  return state === "Finwait1" || state === "Closing" || state === "Last_ack" ? ours - 1 : ours;
}

/** Everything that a connection learns from a segment. */
function learned(tcb: Tcb): Record<string, unknown> {
  const { snd, rcv } = tcb;
  return {
    state: tcb.state,
    tsRecent: tcb.tsRecent,
    tsRecentMs: tcb.tsRecentMs,
    heardMs: tcb.heardMs,
    keepaliveProbes: tcb.keepaliveProbes,
    stallMs: tcb.stallMs,
    backoff: tcb.backoff,
    dupAcks: tcb.dupAcks,
    ecnEcho: tcb.ecnEcho,
    hasDsack: tcb.hasDsack,
    srttMs: tcb.rtt.srttMs,
    cwnd: tcb.congestion.cwnd,
    sacked: tcb.board.sackedBytes,
    early: tcb.resequence.length,
    una: snd.una,
    wnd: snd.wnd,
    wl1: snd.wl1,
    wl2: snd.wl2,
    nxt: rcv.nxt,
    finAt: rcv.finAt,
  };
}

/** Segments that fail one check each; `t` is the peer's next number, `o` ours. */
const REFUSED: readonly { readonly what: string; readonly make: (t: number, o: number) => Said }[] = [
  { what: "far away", make: (t, o) => ({ seq: t + 900_000, ack: o, length: 100 }) },
  { what: "of long ago", make: (t, o) => ({ flags: "FA", seq: t - 900_000, ack: o, length: 100 }) },
  { what: "with an old timestamp", make: (t, o) => ({ seq: t, ack: o, length: 100, ts: [100, 0] }) },
  { what: "with a reset in the window", make: (t) => ({ flags: "R", seq: t + 50 }) },
  { what: "with a SYN", make: (t, o) => ({ flags: "SA", seq: t + 50, ack: o }) },
  { what: "without an ACK", make: (t) => ({ flags: "", seq: t, length: 100 }) },
  { what: "with an ACK of what was never sent", make: (t) => ({ seq: t, ack: 5000, length: 100 }) },
  { what: "with an early FIN and such an ACK", make: (t) => ({ flags: "FEA", seq: t + 50, ack: 5000, length: 10 }) },
  { what: "that is old in part, with such an ACK", make: (t) => ({ seq: t - 1, ack: 5000, length: 100 }) },
  { what: "that is old, with such an ACK", make: (t) => ({ seq: t - 1, ack: 5000, length: 1 }) },
  { what: "with an ACK of long ago", make: (t, o) => ({ seq: t, ack: o - 900_000, length: 100, window: 1 }) },
];

for (const { state, fixture, theirs, ours } of STATES) {
  for (const version of VERSIONS) {
    Deno.test(`TCP in ${state} (IPv${version}) learns nothing from a segment that fails a check`, () => {
      for (const { what, make } of REFUSED) {
        const peer = fixture({ version, syn: { ...TS, sackOk: true } });
        assertEquals(peer.state, state);
        peer.tcb.keepaliveProbes = 1;
        peer.clock.advance(10);
        const before = learned(peer.tcb);
        peer.tsVal = 900_000;
        peer.sends(make(theirs, ours));
        assertEquals(learned(peer.tcb), before, what);
      }
    });
  }

  Deno.test(`TCP in ${state} takes timestamp, time and window from a segment that passes all checks`, () => {
    const peer = fixture({ syn: TS });
    peer.tcb.keepaliveProbes = 1;
    peer.clock.advance(10);
    peer.tsVal = 201;
    peer.sends({ seq: theirs, ack: unacked(state, ours), window: 700 });
    const { tsRecent, heardMs, keepaliveProbes, snd } = peer.tcb;
    assertEquals({ tsRecent, heardMs, keepaliveProbes, wnd: snd.wnd }, {
      tsRecent: 201,
      heardMs: peer.clock.now(),
      keepaliveProbes: 0,
      wnd: 700,
    });
  });

  Deno.test(`TCP in ${state}: a reset exactly at RCV.NXT + RCV.WND is outside of the window (RFC 5961 3.2)`, () => {
    const peer = fixture();
    const edge = theirs + peer.tcb.rcvWnd;
    peer.sends({ flags: "R", seq: edge });
    peer.sends({ flags: "R", seq: theirs - 10, length: 50 });
    peer.expectsNothing();
    peer.sends({ flags: "R", seq: edge - 1 });
    peer.expects({ flags: "A", seq: ours, ack: theirs });
    assertEquals(peer.state, state);
  });

  for (const version of VERSIONS) {
    Deno.test(`TCP in ${state} (IPv${version}) takes an empty segment without timestamps (RFC 7323 3.2)`, () => {
      const peer = fixture({ version, syn: TS });
      peer.timestamps = false;
      peer.clock.advance(10);
      const ack = unacked(state, ours);
      peer.sends({ seq: theirs - 1, ack });
      peer.expects({ flags: "A", seq: ours, ack: theirs });
      peer.sends({ seq: theirs - 1, ack, data: "?" });
      peer.expects({ flags: "A", seq: ours, ack: theirs });
      peer.sends({ seq: theirs, ack, window: 700 });
      peer.expectsNothing();
      const { tsRecent, snd } = peer.tcb;
      assertEquals({ state: peer.state, tsRecent, wnd: snd.wnd }, { state, tsRecent: 200, wnd: 700 });
      assertEquals(peer.host.tcp.env.stats.pawsDrops, 0);
    });
  }

  Deno.test(`TCP in ${state} drops data and FIN without timestamps, challenges a SYN (RFC 7323 3.2)`, () => {
    const peer = fixture({ syn: TS });
    peer.timestamps = false;
    const before = learned(peer.tcb);
    peer.sends({ seq: theirs, ack: ours, data: "data" });
    peer.sends({ flags: "FA", seq: theirs, ack: ours });
    peer.sends({ seq: theirs - 5, ack: ours, data: "old" });
    peer.expectsNothing();
    assertEquals(learned(peer.tcb), before);
    peer.sends({ flags: "S", seq: theirs - 1 });
    peer.expects({ flags: "A", seq: ours, ack: theirs });
  });
}

Deno.test("whatever else a segment has, with an ACK of what was never sent it changes nothing", () => {
  const near = fc.integer({ min: -70_000, max: 70_000 });
  const segment = fc.record({
    state: fc.constantFrom(...STATES),
    version: fc.constantFrom(...VERSIONS),
    flags: fc.constantFrom("A", "FA", "PA", "EA", "CA", "FPUA", "ECFA"),
    seq: fc.oneof(near, fc.integer({ min: -3, max: 3 })),
    ack: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
    window: fc.nat(65_535),
    length: fc.constantFrom(0, 1, 100, 1460),
    ts: fc.tuple(fc.integer({ min: 200, max: 2 ** 30 }), fc.nat()),
    tos: fc.nat(3),
  });
  fc.assert(
    fc.property(segment, ({ state: { fixture, theirs, ours }, version, ...said }) => {
      const peer = fixture({ version, syn: { ...TS, sackOk: true } });
      peer.clock.advance(10);
      const before = learned(peer.tcb);
      peer.sends({ ...said, seq: theirs + said.seq, ack: ours + said.ack, sack: [[1, 2]] });
      assertEquals(learned(peer.tcb), before);
    }),
    fuzz(200),
  );
});

Deno.test("PAWS keeps the true peer after a refused segment with a later timestamp (RFC 5961 5, RFC 7323 5.3)", () => {
  const peer = peerEstablished({ syn: TS });
  peer.sends({ seq: 1, length: 100, ack: 5000, ts: [900_000, 0] });
  peer.expects({ flags: "A", seq: 1, ack: 1 });
  peer.tsVal = 210;
  peer.sends({ seq: 1, ack: 1, data: "true" });
  assertEquals([peer.tcb.tsRecent, peer.reads()], [210, "true"]);
});

Deno.test("after 24 days TS.Recent is renewed by an earlier timestamp, and PAWS holds again (RFC 7323 5.5)", () => {
  const peer = peerEstablished({ syn: TS });
  peer.clock.advance(25 * 24 * 3600 * 1000);
  peer.sends({ seq: 1, ack: 1, data: "young", ts: [100, 0] });
  assertEquals(peer.tcb.tsRecent, 100);
  peer.sends({ seq: 6, ack: 1, data: "old", ts: [99, 0] });
  assertEquals(peer.reads(), "young");
});

Deno.test("segments of a blind attacker do not hold up keepalives: a dead peer is found", () => {
  const peer = peerEstablished();
  peer.ctl("keepalive 10000");
  for (let i = 0; i < 12; i++) {
    peer.clock.advance(5000);
    peer.sends({ seq: 900_000, ack: 1 });
    peer.sends({ seq: 1, ack: 77_777 });
  }
  assertEquals([peer.state, peer.host.tcp.env.stats.keepalives], ["Closed", 5]);
});

Deno.test("in SYN-SENT a segment without a SYN changes nothing", () => {
  const peer = peerSynSent();
  const before = learned(peer.tcb);
  peer.clock.advance(10);
  peer.sends({ flags: "SA", seq: 0, ack: 77 });
  peer.expects({ flags: "R", seq: 77, ack: 0 });
  peer.sends({ flags: "R", seq: 0 });
  peer.sends({ flags: "A", seq: 0, ack: 1 });
  peer.expectsNothing();
  assertEquals(learned(peer.tcb), before);
});

Deno.test("a FIN is no duplicate acknowledgment (RFC 5681 2)", () => {
  const peer = peerEstablished();
  peer.writes("data");
  peer.ignores();
  peer.sends({ flags: "FA", seq: 1, ack: 1 });
  assertEquals([peer.state, peer.tcb.dupAcks], ["Close_wait", 0]);
});

Deno.test("what was SACKed is kept while the receive queue has no room for it (RFC 2018 8)", () => {
  const peer = peerEstablished({ syn: { sackOk: true } });
  peer.sends({ seq: 4, data: "def" });
  peer.sends({ seq: 7, data: "ghi" });
  let limit = 3;
  Object.defineProperty(peer.tcb.rq, "canWrite", { get: () => peer.tcb.rq.length < limit, configurable: true });
  peer.sends({ seq: 1, data: "abc" });
  assertEquals([peer.tcb.rcv.nxt - peer.iss, peer.tcb.resequence.length], [4, 6]);
  limit = 100;
  peer.sends({ seq: 4, data: "def" });
  peer.ignores();
  assertEquals([peer.reads(), peer.tcb.resequence.length], ["abcdefghi", 0]);
});

// --- resets

Deno.test("a reset of a connection with timestamps has them (RFC 7323 3.2)", () => {
  const hungUp = peerEstablished({ syn: TS });
  hungUp.ctl("hangup");
  assertEquals(hungUp.expects({ flags: "RA", seq: 1, ack: 1 }).header.options.tsEcr, 200);
  const unread = peerEstablished({ syn: TS });
  unread.sends({ seq: 1, ack: 1, data: "unread" });
  unread.ignores();
  unread.close();
  assert(unread.expects({ flags: "RA", seq: 1, ack: 7 }).header.options.hasTimestamps);
  const late = peerFinWait2({ syn: TS });
  late.close();
  late.sends({ seq: 1, ack: 2, data: "late" });
  assert(late.expects({ flags: "RA", seq: 2 }).header.options.hasTimestamps);
  const half = peerSynReceived({ syn: TS });
  half.sends({ seq: 1, ack: 50, ...TS });
  assert(half.expects({ flags: "R", seq: 50, ack: 0 }).header.options.hasTimestamps);
  const without = peerEstablished();
  without.ctl("hangup");
  assertEquals(without.expects({ flags: "RA" }).header.options.hasTimestamps, false);
});

// --- the eighth check

for (const { state, fixture, theirs, ours } of STATES) {
  if (theirs === 1) continue;
  Deno.test(`TCP in ${state} acknowledges a FIN at RCV.NXT, and does not move (RFC 9293 3.10.7.4)`, () => {
    const peer = fixture();
    peer.clock.advance(10);
    peer.sends({ flags: "FA", seq: theirs, ack: unacked(state, ours) });
    peer.expects({ flags: "A", seq: ours, ack: theirs });
    assertEquals(peer.state, state);
  });
}

Deno.test("TIME-WAIT is restarted by the peer's FIN, and by no other segment (RFC 9293 3.10.7.4)", () => {
  const wait = (fin: Said) => {
    const peer = peerTimeWait();
    peer.clock.advance(30_000);
    peer.sends({ flags: "FA", ack: 2, ...fin });
    peer.expects({ flags: "A", seq: 2, ack: 2 });
    peer.clock.advance(30_000);
    return peer.state;
  };
  assertEquals(wait({ seq: 1 }), "Time_wait");
  assertEquals(wait({ seq: 2 }), "Time_wait");
  assertEquals(wait({ seq: -5, length: 6 }), "Time_wait", "with data before it");
  assertEquals(wait({ seq: 900_000 }), "Closed");
  assertEquals(wait({ seq: -5 }), "Closed");
  assertEquals(wait({ seq: 1, ack: 5000 }), "Closed");
});

// --- D-SACK

for (const version of VERSIONS) {
  Deno.test(`a duplicate above the ACK (IPv${version}) is reported before the range that has it (RFC 2883 4.2)`, () => {
    const peer = peerEstablished({ version, syn: { sackOk: true } });
    peer.sends({ seq: 201, length: 100 });
    peer.expects({ ack: 1, sack: [[201, 301]] });
    peer.sends({ seq: 251, length: 100 });
    peer.expects({ ack: 1, sack: [[251, 301], [201, 351]] });
    peer.sends({ seq: 1, length: 300 });
    peer.expects({ ack: 351, sack: [[201, 301]] });
  });
}

Deno.test("a D-SACK reports the first duplicate part, wherever it is (RFC 2883 4.2, 4.3)", () => {
  const report = (...segments: readonly (readonly [number, number])[]) => {
    const peer = peerEstablished({ syn: { sackOk: true } });
    for (const [from, end] of segments) {
      peer.ignores();
      peer.sends({ seq: from, length: end - from });
    }
    const { header } = peer.heard.at(-1)!;
    assertEquals(peer.tcb.hasDsack, false);
    return {
      ack: header.ack - peer.iss,
      sack: header.options.sack.map(({ left, right }) => `${left - peer.iss}:${right - peer.iss}`).join(" "),
    };
  };
  assertEquals(report([201, 301], [151, 251]), { ack: 1, sack: "201:251 151:301" }, "its tail");
  assertEquals(report([201, 301], [151, 351]), { ack: 1, sack: "201:301 151:351" }, "its middle");
  assertEquals(report([201, 301], [201, 301]), { ack: 1, sack: "201:301 201:301" }, "all of it");
  assertEquals(report([201, 301], [401, 501], [251, 451]), { ack: 1, sack: "251:301 201:501" }, "both ends");
  assertEquals(report([1, 101], [51, 151]), { ack: 151, sack: "51:101" }, "below the ACK");
  assertEquals(report([1, 101], [201, 301], [51, 251]), { ack: 301, sack: "51:101" }, "below the ACK and above");
  assertEquals(report([201, 301], [1, 251]), { ack: 301, sack: "201:251" }, "in order, its tail");
  assertEquals(report([201, 301], [401, 501], [101, 151]), { ack: 1, sack: "101:151 401:501 201:301" }, "no part");
  assertEquals(report([1, 101], [1, 101]), { ack: 101, sack: "1:101" }, "all of it, below the ACK");
});
