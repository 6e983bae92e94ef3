/**
 * Calls that were answered by a SYN-ACK and not yet acknowledged (SYN-RECEIVED): the checks of RFC 9293 3.10.7.4, with
 * RFC 5961 and RFC 7323, in the SYN queue and in a simultaneous open; and a new call for a connection in TIME-WAIT.
 * The host is 10.0.0.1 (or its like of IPv6) port 80, its peer is made by hand; sequence numbers are relative.
 */

import { assert, assertEquals } from "@std/assert";
import * as seq from "../../../kernel/wire/seq.ts";
import { SYN_QUEUE_MAX } from "../../../devices/ip/tcp/syn_queue.ts";
import { STATE_NAMES } from "../../../devices/ip/tcp/state.ts";
import type { Tcb } from "../../../devices/ip/tcp/tcb.ts";
import type { Fixture, Said, TcpPeer } from "../../kit/tcp/peer.ts";
import { peerCalling, peerListen, peerSynReceived } from "../../kit/tcp/peer_states.ts";

const VERSIONS = [4, 6] as const;
const WINDOW = 65_535;

/** The two ways to be half open; how to see that the connection stands, and that it is gone. */
const HALF_OPEN: readonly {
  readonly how: string;
  readonly fixture: (fixture?: Fixture) => TcpPeer;
  readonly stands: (peer: TcpPeer) => boolean;
  readonly isGone: (peer: TcpPeer) => boolean;
}[] = [
  {
    how: "in the SYN queue",
    fixture: peerCalling,
    stands: (peer) => peer.conv.calls.length === 1,
    isGone: (peer) => peer.host.tcp.synQueue.length === 0 && peer.conv.calls.length === 0,
  },
  {
    how: "by a simultaneous open",
    fixture: peerSynReceived,
    stands: (peer) => peer.state === "Established",
    isGone: (peer) => peer.state === "Closed",
  },
];

const CHALLENGE: Said = { flags: "A", seq: 1, ack: 1, length: 0 };

/** Segments that do not end the call, and the answer to each by the first check that fails; null: none. */
const SEGMENTS: readonly { readonly what: string; readonly comes: Said; readonly answer: Said | null }[] = [
  { what: "a SYN far away", comes: { flags: "S", seq: 900_000 }, answer: CHALLENGE },
  { what: "a SYN in the window", comes: { flags: "S", seq: 500 }, answer: CHALLENGE },
  { what: "a reset in the window", comes: { flags: "R", seq: 500 }, answer: CHALLENGE },
  { what: "a reset with ACK in the window", comes: { flags: "RA", seq: 500, ack: 1 }, answer: CHALLENGE },
  { what: "a reset before the window", comes: { flags: "R", seq: 0 }, answer: null },
  { what: "a reset at RCV.NXT + RCV.WND", comes: { flags: "R", seq: 1 + WINDOW }, answer: null },
  { what: "a far segment with a bad ACK", comes: { seq: 900_000, ack: 77 }, answer: CHALLENGE },
  { what: "a far segment with the right ACK", comes: { seq: 900_000, ack: 1, data: "x" }, answer: CHALLENGE },
  { what: "a far segment without ACK", comes: { flags: "F", seq: 900_000 }, answer: CHALLENGE },
  { what: "a segment in the window without ACK", comes: { flags: "", seq: 1, data: "x" }, answer: null },
  { what: "a bad ACK", comes: { seq: 1, ack: 77 }, answer: { flags: "R", seq: 77, ack: 0, length: 0 } },
  { what: "an ACK of nothing", comes: { seq: 1, ack: 0 }, answer: { flags: "R", seq: 0, ack: 0, length: 0 } },
];

for (const { how, fixture, stands, isGone } of HALF_OPEN) {
  for (const version of VERSIONS) {
    for (const { what, comes, answer } of SEGMENTS) {
      Deno.test(`a half-open call ${how} (IPv${version}) survives ${what}`, () => {
        const peer = fixture({ version });
        peer.sends(comes);
        if (answer !== null) peer.expects(answer);
        peer.expectsNothing();
        peer.sends({ seq: 1, ack: 1 });
        assert(stands(peer));
      });
    }
  }

  Deno.test(`a half-open call ${how} ends by a reset at RCV.NXT`, () => {
    const peer = fixture();
    peer.sends({ flags: "R", seq: 1 });
    peer.expectsNothing();
    assert(isGone(peer));
  });

  Deno.test(`a half-open call ${how} challenges at most ten times a second (RFC 5961 7)`, () => {
    const peer = fixture();
    for (let i = 0; i < 100; i++) peer.sends({ flags: "R", seq: 100 + i });
    assertEquals(peer.heard.length, 10);
    assertEquals(peer.host.tcp.env.stats.challengeSuppressed, 90);
  });

  Deno.test(`a half-open call ${how} obeys RFC 7323: answers have timestamps, old ones are challenged`, () => {
    const syn = { ts: [1000, 0] as const, scale: 3 };
    const peer = fixture({ syn });
    const said = { ...CHALLENGE, window: 511 };
    peer.sends({ flags: "R", seq: 500 });
    assertEquals(peer.expects(said).header.options.tsEcr, 1000);
    peer.sends({ seq: 1, ack: 77, ts: [1001, peer.tsEcr] });
    assertEquals(peer.expects({ flags: "R", seq: 77, ack: 0 }).header.options.hasTimestamps, true);
    peer.sends({ seq: 1, ack: 1, ts: [900, peer.tsEcr] });
    assertEquals(peer.expects(said).header.options.tsEcr, 1000);
    peer.sends({ seq: 1, ack: 1, data: "without timestamps" });
    peer.expectsNothing();
    assert(!stands(peer));
    peer.sends({ seq: 1, ack: 1, ts: [1001, peer.tsEcr] });
    assert(stands(peer));
  });
}

Deno.test("a half-open call takes no round trip from an answer that was sent twice (RFC 6298 3)", () => {
  const peer = peerCalling();
  peer.clock.advance(900);
  peer.sends({ flags: "S", seq: 0 });
  peer.expects({ flags: "SA", seq: 0 });
  peer.clock.advance(20);
  peer.sends({ seq: 1, ack: 1 });
  assertEquals((peer.conv.calls[0]!.priv as Tcb).rtt.srttMs, 0);
});

Deno.test("after a timeout of the SYN-ACK data begin with one segment (RFC 5681 3.1, RFC 6298 5.7)", () => {
  const peer = peerCalling({ syn: { mss: 1000 } });
  peer.clock.advance(1000);
  peer.expects({ flags: "SA", seq: 0 });
  peer.sends({ seq: 1, ack: 1 });
  const { congestion, rtt } = peer.conv.calls[0]!.priv as Tcb;
  assertEquals({ cwnd: congestion.cwnd, rtoMs: rtt.rtoMs }, { cwnd: 1000, rtoMs: 3000 });
});

Deno.test("payload and FIN of a SYN that crosses ours are read once the connection stands (RFC 9293 3.10.7.3)", () => {
  const text = peerSynReceived({ syn: { data: "early" } });
  text.sends({ seq: 1, ack: 1 });
  text.expects({ flags: "A", seq: 1, ack: 6, sack: [] });
  assertEquals([text.state, text.reads()], ["Established", "early"]);
  const fin = peerSynReceived({ syn: { flags: "SF", data: "all", sackOk: true } });
  fin.sends({ flags: "R", seq: 2 });
  fin.expects({ flags: "A", seq: 1, ack: 1, sack: [] });
  fin.sends({ flags: "SA", seq: 0, ack: 1 });
  fin.expects({ flags: "A", seq: 1, ack: 5 });
  assertEquals([fin.state, fin.reads()], ["Close_wait", "allEOF"]);
  const again = peerSynReceived({ syn: { data: "early" } });
  again.sends({ seq: 1, ack: 1, data: "early bird" });
  assertEquals(again.reads(), "early bird");
  const closed = peerSynReceived({ syn: { data: "early" } });
  closed.close();
  closed.expects({ flags: "RA", seq: 1 });
  assertEquals(closed.state, "Closed");
});

// --- a new call for a connection in TIME-WAIT

const SERVED = 43_800;
/** SND.NXT after SYN, data and FIN. */
const OLD_NEXT = SERVED + 2;

/** A connection that served {@link SERVED} bytes within 30 ms and closed into TIME-WAIT; the listener is there. */
function peerServed(fixture: Fixture = {}, end = ""): { peer: TcpPeer; old: Tcb; oldIrs: number } {
  const peer = peerCalling(fixture);
  const ts = fixture.syn?.ts;
  if (ts !== undefined) {
    peer.timestamps = true;
    peer.tsVal = ts[0];
  }
  peer.sends({ seq: 1, ack: 1 });
  const listener = peer.conv;
  peer.conv = listener.calls.shift()!;
  peer.writes("x".repeat(SERVED));
  for (let got = 0; got < SERVED;) {
    peer.clock.advance(3);
    for (const { data } of peer.heard.splice(0)) got += data.length;
    peer.sends({ seq: 1, ack: 1 + got });
  }
  if (end === "") peer.close();
  else peer.ctl(end);
  peer.ignores();
  peer.sends({ flags: "FA", seq: 1, ack: OLD_NEXT });
  peer.expects({ flags: "A", seq: OLD_NEXT, ack: 2 });
  assertEquals(peer.state, "Time_wait");
  assert(peer.clock.now() <= 30, `${peer.clock.now()} ms`);
  peer.clock.advance(10);
  const old = peer.tcb;
  peer.conv = listener;
  peer.timestamps = false;
  return { peer, old, oldIrs: peer.irs };
}

function stateOf(tcb: Tcb): string {
  return STATE_NAMES[tcb.state]!;
}

for (const version of VERSIONS) {
  Deno.test(`a new call (IPv${version}) in TIME-WAIT begins beyond the old SND.NXT (RFC 9293 3.6.1, MAY-2)`, () => {
    const { peer, old, oldIrs } = peerServed({ version });
    peer.sends({ flags: "S", seq: 100_000 });
    const { header } = peer.expects({ flags: "SA", ack: 100_001 });
    assert(seq.diff(header.seq, oldIrs) > OLD_NEXT, `${seq.diff(header.seq, oldIrs)} is in the old space`);
    assertEquals(stateOf(old), "Time_wait");
    peer.sends({ seq: 100_001, ack: 1, data: "hello" });
    assertEquals([stateOf(old), peer.conv.calls.length], ["Closed", 1]);
    peer.conv = peer.conv.calls[0]!;
    assertEquals([peer.state, peer.reads()], ["Established", "hello"]);
    assertEquals(peer.host.tcp.env.stats.timeWaitReuses, 1);
  });

  Deno.test(`after an old duplicate SYN (IPv${version}) TIME-WAIT goes on (RFC 9293 3.6.1, MAY-2)`, () => {
    const { peer, old, oldIrs } = peerServed({ version });
    peer.sends({ flags: "S", seq: 100_000 });
    peer.expects({ flags: "SA", ack: 100_001 });
    peer.sends({ flags: "R", seq: 100_001 });
    peer.expectsNothing();
    assertEquals([stateOf(old), peer.host.tcp.synQueue.length], ["Time_wait", 0]);
    assertEquals(peer.host.tcp.env.stats.timeWaitReuses, 0);
    peer.irs = oldIrs;
    peer.sends({ flags: "FA", seq: 1, ack: OLD_NEXT });
    peer.expects({ flags: "A", seq: OLD_NEXT, ack: 2 });
    peer.clock.advance(59_999);
    assertEquals(stateOf(old), "Time_wait");
    peer.clock.advance(1);
    assertEquals([stateOf(old), peer.clock.timerCount], ["Closed", 0]);
  });
}

Deno.test("TIME-WAIT still answers its peer while a forged SYN waits in the SYN queue", () => {
  const { peer, old, oldIrs } = peerServed();
  peer.sends({ flags: "S", seq: 100_000 });
  peer.expects({ flags: "SA", ack: 100_001 });
  peer.irs = oldIrs;
  peer.sends({ flags: "FA", seq: 1, ack: OLD_NEXT });
  peer.expects({ flags: "A", seq: OLD_NEXT, ack: 2 });
  peer.sends({ flags: "R", seq: 2 });
  peer.sends({ flags: "RA", seq: 2, ack: OLD_NEXT });
  peer.expectsNothing();
  assertEquals([stateOf(old), peer.host.tcp.synQueue.length], ["Closed", 1]);
});

Deno.test("a new call in TIME-WAIT that is never acknowledged does not change when TIME-WAIT ends", () => {
  const { peer, old } = peerServed();
  peer.sends({ flags: "S", seq: 100_000 });
  peer.clock.advance(59_000);
  assertEquals([stateOf(old), peer.host.tcp.synQueue.length], ["Time_wait", 1]);
  peer.clock.advance(1000);
  assertEquals([stateOf(old), peer.host.tcp.synQueue.length], ["Closed", 1]);
  peer.clock.advance(60_000);
  assertEquals([peer.host.tcp.synQueue.length, peer.clock.timerCount], [0, 0]);
});

Deno.test("a new call ends a TIME-WAIT that its user still has open; the user finds the end", () => {
  const { peer, old } = peerServed({}, "shutdown wr");
  peer.sends({ flags: "S", seq: 100_000 });
  peer.expects({ flags: "SA", ack: 100_001 });
  peer.sends({ seq: 100_001, ack: 1, data: "hello" });
  assertEquals([stateOf(old), peer.conv.calls.length], ["Closed", 1]);
  assert(peer.conv.calls[0] !== old.conv);
  peer.conv = old.conv;
  assertEquals(peer.reads(), "EOF");
  peer.close();
  assertEquals(peer.host.tcp.busy(old.conv), false);
});

Deno.test("a SYN in TIME-WAIT is challenged where no listener would take it", () => {
  const { peer, old, oldIrs } = peerServed();
  const listener = peer.conv;
  peer.host.close(listener);
  peer.sends({ flags: "S", seq: 100_000 });
  peer.expects({ flags: "A", ack: 2 });
  assertEquals([stateOf(old), peer.irs], ["Time_wait", oldIrs]);
});

Deno.test("a SYN in TIME-WAIT is challenged where a bypass has the port", () => {
  const { peer, old } = peerServed();
  peer.host.close(peer.conv);
  const bypass = peer.host.conv(`bypass 80`);
  peer.sends({ flags: "S", seq: 100_000 });
  peer.expects({ flags: "A", ack: 2 });
  assertEquals([stateOf(old), bypass.rq.length], ["Time_wait", 0]);
});

Deno.test("in TIME-WAIT timestamps decide what is a new call, or else sequence numbers (RFC 6191 2)", () => {
  const ts = [1000, 0] as const;
  const begins = (fixture: Fixture, said: Said) => {
    const { peer, old } = peerServed(fixture);
    peer.sends({ flags: "S", ...said });
    return { state: stateOf(old), calls: peer.host.tcp.synQueue.length };
  };
  const isCall = { state: "Time_wait", calls: 1 };
  const isNone = { state: "Time_wait", calls: 0 };
  assertEquals(begins({ syn: { ts } }, { seq: 1, ts: [2000, 0] }), isCall, "a later timestamp");
  assertEquals(begins({ syn: { ts } }, { seq: 100_000, ts: [999, 0] }), isNone, "an earlier timestamp");
  assertEquals(begins({ syn: { ts } }, { seq: 100_000, ts }), isCall, "the same timestamp, a later number");
  assertEquals(begins({ syn: { ts } }, { seq: 1, ts }), isNone, "the same timestamp, an earlier number");
  assertEquals(begins({ syn: { ts } }, { seq: 100_000 }), isCall, "no timestamp any more, a later number");
  assertEquals(begins({ syn: { ts } }, { seq: 1 }), isNone, "no timestamp any more, an earlier number");
  assertEquals(begins({}, { seq: 1, ts }), isCall, "timestamps for the first time: PAWS keeps the old ones out");
  assertEquals(begins({}, { seq: 1 }), isNone, "no timestamp, an earlier number");
  const setup = ["timestamps off"];
  assertEquals(begins({ setup }, { seq: 1, ts }), isNone, "timestamps that this listener does not take");
});

/** SYNs from as many ports as the SYN queue holds. */
function fillSynQueue(peer: TcpPeer): void {
  const { irs } = peer;
  for (let i = 0; i < SYN_QUEUE_MAX; i++) peer.sends({ flags: "S", seq: 0, srcPort: 10_000 + i });
  peer.ignores();
  peer.irs = irs;
}

Deno.test("a SYN cookie in TIME-WAIT is beyond the old SND.NXT too, or none is sent", () => {
  let answered = 0;
  let silent = 0;
  for (let seed = 1; seed <= 12; seed++) {
    const { peer, old, oldIrs } = peerServed({ seed });
    fillSynQueue(peer);
    peer.sends({ flags: "S", seq: 100_000 });
    if (peer.heard.length === 0) {
      silent++;
      assertEquals(peer.host.tcp.env.stats.synQueueDrops, 1);
      assertEquals(stateOf(old), "Time_wait");
      continue;
    }
    answered++;
    const { header } = peer.expects({ flags: "SA", ack: 100_001 });
    assert(seq.diff(header.seq, oldIrs) > OLD_NEXT, `seed ${seed}: ${seq.diff(header.seq, oldIrs)}`);
    assertEquals(stateOf(old), "Time_wait");
    peer.sends({ seq: 100_001, ack: 1, data: "hello" });
    assertEquals([stateOf(old), peer.conv.calls.length], ["Closed", 1], `seed ${seed}`);
  }
  assert(answered > 0 && silent > 0, `${answered} answered, ${silent} silent`);
});

Deno.test("a SYN cookie agrees to nothing that the listener does not offer", () => {
  const peer = peerListen({ setup: ["timestamps off"] });
  fillSynQueue(peer);
  peer.sends({ flags: "S", seq: 0 });
  peer.expects({ flags: "SA", seq: 0, ack: 1 });
  peer.sends({ seq: 1, ack: 1, ts: [1000, 0b110101] });
  const { timestampsOk, sackOk, ecnOk } = peer.conv.calls[0]!.priv as Tcb;
  assertEquals({ timestampsOk, sackOk, ecnOk }, { timestampsOk: false, sackOk: false, ecnOk: false });
});

Deno.test("a SYN cookie is good although the call is in the SYN queue by now", () => {
  const peer = peerListen();
  fillSynQueue(peer);
  peer.sends({ flags: "S", seq: 0 });
  peer.expects({ flags: "SA", seq: 0, ack: 1 });
  const cookie = peer.irs;
  peer.clock.advance(3000);
  peer.ignores();
  peer.sends({ flags: "S", seq: 0 });
  peer.expects({ flags: "SA", seq: 0, ack: 1 });
  assert(peer.irs !== cookie);
  const { length } = peer.host.tcp.synQueue;
  peer.irs = cookie;
  peer.sends({ seq: 1, ack: 1, data: "hello" });
  peer.expects({ flags: "A", seq: 1, ack: 6 });
  assertEquals([peer.conv.calls.length, peer.host.tcp.synQueue.length], [1, length - 1]);
});
