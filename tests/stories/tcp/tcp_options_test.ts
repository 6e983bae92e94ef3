/**
 * What options and windows of single segments do to a connection that stands: MSS, scale, timestamps, SACK, good and
 * malformed. The host is 10.0.0.1 port 80, its peer is made by hand.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { peerEstablished, peerListen, peerSynSent } from "../../kit/tcp/peer_states.ts";

const MSS = 1460;

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

Deno.test("the send queue grows with the congestion window, to wqlimit and no further", () => {
  const limits = (setup: string[]) => {
    const peer = peerEstablished({ setup });
    peer.tcb.congestion.cwnd = 4 << 20;
    const seen = [peer.tcb.wq.limit];
    for (let round = 0; round < 4; round++) {
      peer.writes("x");
      peer.sends({ seq: 1, ack: 2 + round });
      seen.push(peer.tcb.wq.limit);
    }
    return seen;
  };
  const start = 8 * 65_535;
  assertEquals(limits(["wqlimit 1500000"]), [start, 2 * start, 1_500_000, 1_500_000, 1_500_000]);
  assertEquals(limits([]), [start, 2 * start, 4 * start, 8 * start, 16 * start]);
});

for (const version of [4, 6] as const) {
  Deno.test(`IPv${version}: a peer that takes back its window is acknowledged, and reset, at the window's end`, () => {
    const peer = peerEstablished({ version, setup: ["quickack on"] });
    peer.writes("x".repeat(1000));
    peer.ignores();
    // RFC 9293 3.8.6: it has room for 400 bytes less than it said, and drops what came beyond.
    peer.sends({ seq: 1, ack: 1, window: 600, data: "mine" });
    peer.expects({ flags: "A", seq: 601, ack: 5, length: 0 });
    peer.sends({ seq: 5, ack: 601, window: 0, data: "and mine" });
    peer.expects({ flags: "A", seq: 601, ack: 13, length: 0 });
    peer.ctl("hangup");
    peer.expects({ flags: "RA", seq: 601, ack: 13 });
  });
}
