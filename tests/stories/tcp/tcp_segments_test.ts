/**
 * What single segments do to a connection that stands: windows, sequence numbers around the wrap, options good and
 * malformed, timestamps, acknowledgments, small writes. The host is 10.0.0.1 port 80, its peer is made by hand.
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../kit/check/fuzz.ts";
import { peerEstablished, peerListen, peerSynSent, peerTimeWait } from "../../kit/tcp/peer_states.ts";

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

// --- options

Deno.test("the peer's MSS is kept to; without one it is 536; a tiny one is ignored", () => {
  const sizes: number[] = [];
  for (const syn of [{ mss: 700 }, {}, { mss: 1 }, { mss: 9000 }, { mss: 700, ts: [1, 0] as const }]) {
    const peer = peerEstablished({ syn });
    sizes.push(peer.tcb.snd.mss);
  }
  assertEquals(sizes, [700, 536, 28, 1460, 688]);
});

Deno.test("window scaling needs both offers: then windows are shifted, and SYN windows never (RFC 7323 2)", () => {
  const scaled = peerEstablished({ syn: { scale: 3, window: 1000 }, window: 1000 });
  assertEquals(scaled.tcb.snd.wnd, 1000);
  scaled.sends({ seq: 1, ack: 1, window: 1000 });
  assertEquals([scaled.tcb.snd.wnd, scaled.tcb.rcv.shift], [8000, 7]);
  const plain = peerEstablished({ syn: { window: 1000 } });
  assertEquals([plain.tcb.snd.shift, plain.tcb.rcv.shift], [0, 0]);
  const refused = peerEstablished({ syn: { scale: 3 }, setup: ["windowscale off"] });
  assertEquals([refused.tcb.snd.shift, refused.tcb.rcv.shift], [0, 0]);
});

Deno.test("options that were switched off are not offered", () => {
  const peer = peerSynSent({ setup: ["sack off", "timestamps off", "windowscale off"] });
  peer.clock.advance(1000);
  peer.expects({ flags: "S", sackOk: false, scale: -1, ts: [0, 0], mss: 1460 });
  const usual = peerSynSent();
  usual.clock.advance(1000);
  const { header } = usual.expects({ flags: "S", sackOk: true, scale: 7, mss: 1460 });
  assert(header.options.hasTimestamps);
});

Deno.test("timestamps are echoed as RFC 7323 4.3 says: that of the segment the acknowledgment is due to", () => {
  const peer = peerEstablished({ syn: { ts: [1000, 0] } });
  peer.tsVal = 1010;
  peer.sends({ seq: 1, length: 10 });
  peer.tsVal = 1020;
  peer.sends({ seq: 11, length: 2 * MSS });
  assertEquals(peer.heard.at(-1)!.header.options.tsEcr, 1010, "a delayed acknowledgment echoes the earliest");
  peer.ignores();
  peer.tsVal = 1030;
  peer.sends({ seq: 11 + 2 * MSS + 100, length: 10 });
  assertEquals(peer.heard.at(-1)!.header.options.tsEcr, 1010, "nor does a later one, until it is its turn");
});

Deno.test("PAWS: an old timestamp is dropped, a reset is exempt, after 24 days nothing is old", () => {
  const peer = peerEstablished({ syn: { ts: [1000, 0] } });
  peer.tsVal = 999;
  peer.sends({ seq: 1, data: "old" });
  peer.expects({ flags: "A", ack: 1 });
  assertEquals([peer.reads(), peer.host.tcp.env.stats.pawsDrops], ["", 1]);
  peer.clock.advance(25 * 24 * 3600 * 1000);
  peer.sends({ seq: 1, data: "young" });
  assertEquals(peer.reads(), "young");
  peer.tsVal = 5;
  peer.sends({ flags: "R", seq: 6 });
  assertEquals(peer.state, "Closed");
});

Deno.test("PAWS holds across the wrap of the timestamp clock", () => {
  const peer = peerEstablished({ syn: { ts: [0xffff_fff0, 0] } });
  peer.tsVal = 5;
  peer.sends({ seq: 1, data: "new" });
  peer.tsVal = 0xffff_fff8;
  peer.sends({ seq: 4, data: "old" });
  assertEquals(peer.reads(), "new");
});

Deno.test("a segment without timestamps is dropped once they are agreed (RFC 7323 3.2)", () => {
  const peer = peerEstablished({ syn: { ts: [1000, 0] } });
  peer.timestamps = false;
  peer.sends({ seq: 1, data: "x" });
  peer.expectsNothing();
  assertEquals(peer.reads(), "");
});

Deno.test("SACK blocks report early data, the newest first; a D-SACK data that came twice", () => {
  const peer = peerEstablished({ syn: { sackOk: true, ts: [1000, 0] } });
  for (const at of [11, 31, 51, 71]) peer.sends({ seq: at, length: 10 });
  peer.heard.splice(0, 3);
  peer.expects({ ack: 1, sack: [[71, 81], [51, 61], [31, 41]] });
  peer.sends({ seq: 31, length: 10 });
  peer.expects({ ack: 1, sack: [[31, 41], [31, 41], [71, 81]] });
  peer.sends({ seq: 1, length: 10 });
  peer.expects({ ack: 21, sack: [[31, 41], [71, 81], [51, 61]] });
  peer.sends({ seq: 1, length: 10 });
  peer.expects({ ack: 21, sack: [[1, 11], [31, 41], [71, 81]] });
  const without = peerEstablished({ syn: {} });
  without.sends({ seq: 11, length: 10 });
  without.expects({ ack: 1, sack: [] });
});

const MALFORMED: readonly (readonly [string, readonly number[]])[] = [
  ["a length of 0", [2, 0, 5, 180]],
  ["a length of 1", [3, 1, 7, 0]],
  ["a length beyond the header", [8, 40, 0, 0]],
  ["only a kind at the end", [1, 1, 1, 4]],
  ["MSS of 3 bytes", [2, 3, 5, 0]],
  ["MSS of 0", [2, 4, 0, 0]],
  ["a window shift of 255", [3, 3, 255, 0]],
  ["SACK permitted with a byte", [4, 3, 1, 0]],
  ["timestamps of 8 bytes", [8, 8, 0, 0, 0, 0, 0, 0]],
  ["a SACK block of 7 bytes", [5, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
  ["a SACK option without blocks", [5, 2, 0, 0]],
  ["a SACK block backwards", [5, 10, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0]],
  ["unknown kinds", [253, 4, 1, 2, 99, 4, 0, 0]],
  ["forty bytes of padding", new Array<number>(40).fill(1)],
];

for (const [what, rawOptions] of MALFORMED) {
  Deno.test(`options with ${what} harm neither a SYN nor a connection`, () => {
    const listening = peerListen();
    listening.sends({ flags: "S", seq: 0, rawOptions });
    const { header } = listening.expects({ flags: "SA", seq: 0, ack: 1 });
    assert(header.options.windowScale <= 14);
    listening.sends({ seq: 1, ack: 1, data: "hi", ...(header.options.hasTimestamps ? { ts: [1, 1] as const } : {}) });
    const [call] = listening.conv.calls;
    assert((call!.priv as { snd: { mss: number } }).snd.mss >= 36);
    const peer = peerEstablished();
    peer.writes("data");
    peer.expects({ data: "data" });
    peer.sends({ seq: 1, ack: 3, data: "ok", rawOptions });
    assertEquals([peer.reads(), peer.state, peer.tcb.flight], ["ok", "Established", 2]);
  });
}

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
