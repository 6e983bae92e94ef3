/**
 * What single segments do to a connection that stands: windows, sequence numbers around the wrap, acknowledgments,
 * small writes. Options are in tcp_options_test. The host is 10.0.0.1 port 80, its peer is made by hand.
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../kit/check/fuzz.ts";
import { peerEstablished, peerSynSent, peerTimeWait } from "../../kit/tcp/peer_states.ts";

const A1000 = "a".repeat(1000);
const MSS = 1460;
const FULL = "f".repeat(MSS);

// --- sequence numbers and windows

Deno.test("receivePayload() puts segments in order whatever their order was, cutting off what came before", () => {
  const peer = peerEstablished();
  peer.sends({ seq: 4, data: "def" });
  peer.expects({ flags: "A", ack: 1 });
  peer.sends({ seq: 1, data: "abcde" });
  peer.expects({ flags: "A", ack: 7 });
  peer.sends({ seq: 2, data: "bcdefgh" });
  peer.expects({ flags: "A", ack: 9 });
  assertEquals(peer.reads(), "abcdefgh");
});

Deno.test("sequence numbers wrap: data, FIN and acknowledgments across 2^32, in both directions", () => {
  const order = fc.constantFrom([0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2]);
  fc.assert(
    fc.property(fc.integer({ min: 0xffff_ff00, max: 0xffff_ffff }), order, fc.integer(), (iss, pieces, seed) => {
      const peer = peerEstablished({ iss, seed });
      // Ours wrap too: as if the hash had come out so.
      const shift = 0xffff_fff0 - peer.tcb.snd.nxt;
      const { snd, board } = peer.tcb;
      for (const key of ["una", "nxt", "max", "iss", "base", "smallEnd", "wl2"] as const) {
        snd[key] = (snd[key] + shift) >>> 0;
      }
      peer.tcb.recover = peer.tcb.cwrEnd = snd.una;
      board.clear(snd.una);
      peer.irs = (peer.irs + shift) >>> 0;
      for (const piece of pieces) peer.sends({ seq: 1 + 100 * piece, length: 100 });
      assertEquals(peer.reads().length, 400);
      peer.ignores();
      peer.writes("x".repeat(3000));
      const bytes = peer.heard.reduce((sum, { data }) => sum + data.length, 0);
      peer.sends({ seq: 401, ack: 1 + bytes });
      peer.clock.advance(10);
      peer.ctl("shutdown wr");
      peer.ignores();
      peer.sends({ flags: "FA", seq: 401, ack: 3002 });
      assertEquals(peer.state, "Time_wait");
    }),
    fuzz(30),
  );
});

Deno.test("a window of 1 takes one byte at a time, and every one arrives (RFC 9293 3.8.6)", () => {
  const peer = peerEstablished({ syn: { window: 1 }, window: 1 });
  peer.writes("xyz");
  for (let i = 0; i < 3; i++) {
    peer.clock.advance(1000);
    const heard = peer.heard.find(({ data }) => data.length > 0);
    assertEquals(heard?.data.length, 1, `byte ${i}`);
    peer.ignores();
    peer.sends({ seq: 1, ack: 2 + i });
  }
  assertEquals(peer.tcb.snd.una, peer.tcb.snd.nxt);
});

Deno.test("a window of 0 is probed as long as the peer answers, and data go when it opens", () => {
  const peer = peerEstablished({ syn: { window: 0 }, window: 0 });
  peer.writes("waiting");
  peer.expectsNothing();
  const times: number[] = [];
  for (let i = 0; i < 12; i++) {
    const before = peer.clock.now();
    while (peer.heard.length === 0) assert(peer.clock.step());
    times.push(Math.round((peer.clock.now() - before) / 1000));
    peer.expects({ flags: "A", seq: 0, ack: 1, length: 0 });
    peer.sends({ seq: 1, ack: 1, window: 0 });
  }
  assertEquals(times.slice(-3), [60, 60, 60]);
  assert(times[0]! <= 1);
  peer.sends({ seq: 1, ack: 1, window: 1000 });
  peer.expects({ flags: "PA", data: "waiting" });
  assertEquals(peer.state, "Established");
});

Deno.test("a window of 0 whose probes get no answer ends the connection: timed out", () => {
  const peer = peerEstablished({ syn: { window: 0 }, window: 0, setup: ["usertimeout 60000"] });
  peer.writes("waiting");
  peer.clock.advance(200_000);
  assertEquals([peer.state, peer.clock.timerCount], ["Closed", 0]);
});

Deno.test("a full receive queue shuts the window, answers probes, and opens when the user reads", () => {
  const peer = peerEstablished();
  let at = 1;
  while (peer.tcb.rcvWnd > 0) {
    const length = Math.min(1000, peer.tcb.rcvWnd);
    peer.sends({ seq: at, length });
    at += length;
    peer.clock.advance(100);
  }
  const last = peer.heard.at(-1)!;
  assertEquals(last.header.window, 0);
  peer.ignores();
  peer.sends({ seq: at, data: "too much" });
  peer.expects({ flags: "A", ack: at, window: 0 });
  peer.sends({ seq: at - 1, length: 0 });
  peer.expects({ flags: "A", ack: at, window: 0 });
  assertEquals(peer.reads().length, at - 1);
  const opened = peer.expects({ flags: "A", ack: at });
  assert(opened.header.window > 30_000);
  peer.sends({ seq: at, data: "again" });
  assertEquals(peer.reads(), "again");
});

Deno.test("the acknowledgment in a segment for a shut window counts, its data do not", () => {
  const peer = peerEstablished();
  peer.writes("data");
  peer.expects({ data: "data" });
  peer.tcb.rcv.edge = peer.tcb.rcv.nxt;
  peer.tcb.rq.userLimit = 1;
  peer.sends({ seq: 1, ack: 5, data: "x".repeat(50) });
  assertEquals(peer.tcb.snd.una, peer.tcb.snd.nxt);
});

Deno.test("the right edge of the window never moves left, and never by less than a segment", () => {
  const peer = peerEstablished();
  let edge = 0;
  let at = 1;
  for (let i = 0; i < 60; i++) {
    peer.sends({ seq: at, length: 700 });
    at += 700;
    peer.clock.advance(60);
    if (i % 3 === 0) peer.reads();
    for (const { header } of peer.heard.splice(0)) {
      const right = (header.ack - peer.iss) + header.window;
      assert(right >= edge, `${right} after ${edge}`);
      assert(right === edge || right - edge >= MSS);
      edge = right;
    }
  }
});

Deno.test("rqlimit limits the window, not what was promised before", () => {
  const peer = peerEstablished();
  peer.ctl("rqlimit 4000");
  let at = 1;
  for (let i = 0; i < 70; i++, at += 1000) peer.sends({ seq: at, length: 1000 });
  assertEquals(peer.reads().length, 65_535);
  peer.ignores();
  peer.sends({ seq: 65_536, length: 1 });
  peer.clock.advance(100);
  assert(peer.heard[0]!.header.window <= 4000);
});

// --- acknowledgments

Deno.test("every second segment is acknowledged at once, one alone after 50 ms, an early one at once", () => {
  const peer = peerEstablished();
  peer.sends({ seq: 1, length: MSS });
  peer.expectsNothing();
  peer.sends({ seq: 1 + MSS, length: MSS });
  peer.expects({ flags: "A", ack: 1 + 2 * MSS });
  peer.sends({ seq: 1 + 2 * MSS, length: 10 });
  peer.clock.advance(49);
  peer.expectsNothing();
  peer.clock.advance(1);
  peer.expects({ flags: "A", ack: 11 + 2 * MSS });
  peer.sends({ seq: 5000, length: 10 });
  peer.expects({ flags: "A", ack: 11 + 2 * MSS });
});

Deno.test("data that go out carry the acknowledgment, and none is sent for itself", () => {
  const peer = peerEstablished();
  peer.sends({ seq: 1, data: "question" });
  peer.writes("answer");
  peer.expects({ flags: "PA", ack: 9, data: "answer" });
  peer.clock.advance(100);
  peer.expectsNothing();
});

Deno.test("challenges are limited to ten a second and connection (RFC 5961 7)", () => {
  const peer = peerEstablished();
  for (let i = 0; i < 100; i++) peer.sends({ flags: "R", seq: 100 + i });
  assertEquals(peer.heard.length, 10);
  peer.clock.advance(500);
  for (let i = 0; i < 100; i++) peer.sends({ flags: "S", seq: 100 + i });
  assertEquals(peer.heard.length, 15);
  assertEquals(peer.state, "Established");
});

Deno.test("urgent data are data, wherever their pointer points (RFC 6093 6)", () => {
  const peer = peerEstablished();
  peer.sends({ flags: "UPA", seq: 1, data: "abc", urgent: 1 });
  peer.sends({ flags: "UPA", seq: 4, data: "def", urgent: 60_000 });
  peer.sends({ flags: "UA", seq: 7, urgent: 0 });
  assertEquals(peer.reads(), "abcdef");
});

// --- small writes

Deno.test("Nagle: while a small segment is on its way the next one waits; nodelay does not (RFC 9293 3.7.4)", () => {
  const peer = peerEstablished();
  peer.writes("a");
  peer.expects({ flags: "PA", data: "a" });
  peer.writes("b");
  peer.writes("c");
  peer.expectsNothing();
  peer.sends({ seq: 1, ack: 2 });
  peer.expects({ flags: "PA", data: "bc" });
  peer.writes("d");
  peer.expectsNothing();
  peer.ctl("nodelay on");
  peer.expects({ flags: "PA", data: "d" });
  peer.writes("e");
  peer.expects({ flags: "PA", data: "e" });
});

Deno.test("Nagle does not hold back what completes a segment, nor the end of the stream", () => {
  const peer = peerEstablished({ syn: { mss: MSS } });
  peer.writes("a");
  peer.expects({ data: "a" });
  peer.writes(FULL + "rest");
  peer.expects({ length: MSS });
  peer.expectsNothing();
  peer.ctl("shutdown wr");
  peer.expects({ flags: "FPA", data: "rest" });
});

Deno.test("PSH marks the segment that empties the send queue, and no other", () => {
  const peer = peerEstablished({ syn: { mss: 100 } });
  peer.writes("x".repeat(250));
  assertEquals(peer.heard.map(({ data }) => data.length), [250]);
  peer.expects({ flags: "PA" });
});

Deno.test("a short header, a wrong data offset and a bad checksum are counted and dropped", () => {
  const peer = peerEstablished();
  const { host } = peer;
  const { stats } = host.tcp.env;
  const mangle = (change: (bytes: Uint8Array, at: number) => number) => {
    const before = host.receive;
    host.receive = (block) => {
      const cut = change(block.buf, block.rp + 20);
      if (cut >= 0) block.wp = block.rp + 20 + cut;
      before.call(host, block);
    };
    peer.sends({ seq: 1, data: "abc" });
    host.receive = before;
  };
  mangle(() => 19);
  mangle((bytes, at) => ((bytes[at + 12] = 0x40), -1));
  mangle((bytes, at) => ((bytes[at + 12] = 0xf0), -1));
  mangle((bytes, at) => ((bytes[at + 21]! ^= 1), -1));
  assertEquals([stats.lenErrs, stats.hlenErrs, stats.csumErrs], [1, 2, 1]);
  peer.expectsNothing();
  assertEquals(peer.reads(), "");
});

// --- keepalive, ECN, path MTU

Deno.test("keepalive probes an idle peer, and ends the connection after five without an answer", () => {
  const peer = peerEstablished();
  peer.ctl("keepalive 10000");
  peer.clock.advance(10_000);
  peer.expects({ flags: "A", seq: 0, length: 0 });
  peer.sends({ seq: 1, ack: 1 });
  peer.clock.advance(9000);
  peer.expectsNothing();
  peer.clock.advance(60_000);
  assertEquals(peer.heard.length, 5);
  assertEquals([peer.state, peer.clock.timerCount], ["Closed", 0]);
  const other = peerEstablished();
  other.ctl("keepalive 10000");
  other.ctl("keepalive off");
  other.clock.advance(100_000);
  other.expectsNothing();
});

Deno.test("ECN: marks are echoed until CWR, an echo reduces the window once (RFC 3168 6.1)", () => {
  const peer = peerEstablished({ setup: ["ecn on"], syn: { flags: "SAE" } });
  peer.writes(A1000.repeat(3));
  peer.expects({ tos: 2 });
  peer.ignores();
  const before = peer.tcb.congestion.cwnd;
  peer.sends({ flags: "EA", seq: 1, ack: 537 });
  peer.sends({ flags: "EA", seq: 1, ack: 1000 });
  assert(peer.tcb.congestion.cwnd < before);
  assertEquals(peer.host.tcp.env.stats.ecnReductions, 1);
  peer.sends({ seq: 1, ack: 3001 });
  peer.ignores();
  peer.writes("next");
  peer.expects({ flags: "PCA", tos: 2 });
  peer.sends({ seq: 1, ack: 3005, data: "marked", tos: 3 });
  peer.expects({ flags: "EA", ack: 7 });
  peer.sends({ seq: 7, ack: 3005, data: "x", tos: 2 });
  peer.clock.advance(100);
  peer.expects({ flags: "EA", ack: 8 });
  peer.sends({ flags: "CA", seq: 8, ack: 3005, data: "y", tos: 2 });
  peer.clock.advance(100);
  peer.expects({ flags: "A", ack: 9 });
});

Deno.test("ECN is not used with a peer that does not answer so, nor asked for after two SYNs were lost", () => {
  const peer = peerEstablished({ setup: ["ecn on"] });
  assertEquals(peer.tcb.ecnOk, false);
  const lost = peerSynSent({ setup: ["ecn on"] });
  lost.clock.advance(10_000);
  assertEquals(lost.heard.map(({ header }) => header.flags), [0xc2, 0xc2, 0x02]);
});

Deno.test("a path that takes less makes segments smaller, and what was too large goes again", () => {
  const peer = peerEstablished({ syn: { mss: 1460 } });
  const send = peer.host.onSend;
  peer.host.onSend = (block, options) => {
    const size = block.segment === 0 ? block.length : block.segmentHeaderLen + block.segmentSize;
    if (size > 1000) return "tooBig";
    return send(block, options);
  };
  peer.host.mtuNow = 1000;
  peer.writes("x".repeat(2000));
  const sizes = peer.heard.map(({ data }) => data.length);
  assertEquals([peer.tcb.snd.mss, sizes.reduce((sum, one) => sum + one, 0) >= 960], [960, true]);
  peer.sends({ seq: 1, ack: 961 });
  peer.clock.advance(2000);
  const reached = Math.max(...peer.heard.map(({ header, data }) => header.seq - peer.irs + data.length));
  assertEquals(reached, 2001);
});

Deno.test("TIME-WAIT keeps no queue, no scoreboard and one timer", () => {
  const peer = peerTimeWait();
  assertEquals([peer.tcb.board.count, peer.tcb.wq.length, peer.clock.timerCount], [0, 0, 1]);
});
