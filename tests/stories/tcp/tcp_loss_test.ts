/**
 * What a sender does when acknowledgments do not come, or say that something is missing: timeouts, fast recovery with
 * SACK and without, RACK, tail-loss probes, reneging; and how ICMP is believed. The host is 10.0.0.1 port 80, its peer
 * is made by hand.
 */

import { assert, assertEquals } from "@std/assert";
import { Block } from "../../../kernel/block.ts";
import { put32 } from "../../../kernel/wire/bytes.ts";
import * as seq from "../../../kernel/wire/seq.ts";
import type { Advice } from "../../../devices/ip/conv/proto.ts";
import { HERE, THERE } from "../../kit/tcp/host.ts";
import type { TcpPeer } from "../../kit/tcp/peer.ts";
import { peerEstablished, peerSynSent } from "../../kit/tcp/peer_states.ts";

const MSS = 1000;
const SYN = { mss: MSS, sackOk: true } as const;

/** Ten segments on their way, one round trip of 100 ms after the SYN. */
function flight(options: { sack?: boolean; segments?: number } = {}): TcpPeer {
  const syn = { mss: MSS, sackOk: options.sack ?? true };
  const peer = peerEstablished({ syn });
  Object.assign(peer.tcb.rtt, { srttMs: 100, rttvarMs: 10, minMs: 100, rtoMs: 200 });
  peer.writes("x".repeat(MSS * (options.segments ?? 10)));
  peer.ignores();
  return peer;
}

/** What was sent, `seq+length` each. */
function sent(peer: TcpPeer): string {
  return peer.heard.splice(0).map(({ header, data }) => `${seq.diff(header.seq, peer.irs)}+${data.length}`).join(" ");
}

const at = (segment: number) => 1 + MSS * segment;

Deno.test("the timeout sends the first segment again, doubles, and is reset by an acknowledgment", () => {
  const peer = flight({ sack: false, segments: 1 });
  const times: number[] = [];
  for (let i = 0; i < 4; i++) {
    while (peer.heard.length === 0) assert(peer.clock.step());
    times.push(peer.clock.now());
    assertEquals(sent(peer), "1+1000");
  }
  assertEquals(times, [200, 600, 1400, 3000]);
  peer.sends({ ack: at(1) });
  assertEquals([peer.tcb.backoff, peer.clock.timerCount, peer.tcb.flight], [0, 0, 0]);
});

Deno.test("after a timeout the window is one segment, grows again, and all that was lost is resent", () => {
  const peer = flight({ sack: false });
  peer.clock.advance(200);
  assertEquals([sent(peer), peer.tcb.congestion.cwnd], ["1+1000", MSS]);
  peer.sends({ ack: at(1) });
  assertEquals(sent(peer), "1001+2000");
  peer.sends({ ack: at(3) });
  assertEquals(sent(peer), "3001+4000");
  peer.sends({ ack: at(10) });
  assertEquals([sent(peer), peer.tcb.flight], ["", 0]);
});

Deno.test("nothing is measured of a segment sent twice, unless a timestamp shows which arrived (Karn)", () => {
  const peer = flight({ sack: false, segments: 1 });
  const before = peer.tcb.rtt.srttMs;
  peer.clock.advance(200);
  peer.clock.advance(5);
  peer.sends({ ack: at(1) });
  assertEquals(peer.tcb.rtt.srttMs, before);
  const stamped = peerEstablished({ syn: { mss: MSS, ts: [1000, 0] } });
  stamped.writes("x");
  stamped.clock.advance(1000);
  const last = stamped.heard.at(-1)!;
  stamped.clock.advance(40);
  stamped.sends({ ack: 2, ts: [1001, last.header.options.tsVal] });
  assert(stamped.tcb.rtt.srttMs < 100, `${stamped.tcb.rtt.srttMs}`);
});

Deno.test("without an answer for the user timeout the connection ends: timed out", () => {
  const peer = flight({ segments: 1 });
  peer.ctl("usertimeout 20000");
  peer.clock.advance(60_000);
  assertEquals([peer.state, peer.clock.timerCount], ["Closed", 0]);
  assertEquals(peer.conv.rq.reason, "Connection timed out");
});

Deno.test("three duplicate acknowledgments send the first segment again, once a window (RFC 5681 3.2)", () => {
  const peer = flight({ sack: false });
  peer.sends({ ack: at(1) });
  peer.ignores();
  for (let i = 0; i < 2; i++) peer.sends({ ack: at(1) });
  peer.expectsNothing();
  peer.sends({ ack: at(1) });
  assertEquals(sent(peer), "1001+1000");
  assertEquals(peer.tcb.congestion.cwnd, peer.tcb.congestion.ssthresh);
  for (let i = 0; i < 4; i++) peer.sends({ ack: at(1) });
  peer.expectsNothing();
  peer.sends({ ack: at(10) });
  assertEquals([sent(peer), peer.tcb.recovery], ["", 0]);
});

Deno.test("a partial acknowledgment in recovery says that the next one is lost too (NewReno, RFC 6582 3.2)", () => {
  const peer = flight({ sack: false });
  for (let i = 0; i < 3; i++) peer.sends({ ack: 1 });
  assertEquals(sent(peer), "1+1000");
  peer.sends({ ack: at(4) });
  assertEquals(sent(peer), "4001+1000");
  peer.sends({ ack: at(10) });
  assertEquals([peer.tcb.recovery, peer.host.tcp.env.stats.fastRecoveries], [0, 1]);
});

Deno.test("an acknowledgment with data or another window is no duplicate (RFC 5681 2)", () => {
  const peer = flight({ sack: false });
  for (let i = 0; i < 4; i++) peer.sends({ ack: 1, window: 60_000 - i });
  for (let i = 0; i < 4; i++) peer.sends({ ack: 1, window: 59_997, seq: 1 + i, length: 1 });
  assertEquals(peer.tcb.recovery, 0);
});

Deno.test("with SACK only what is missing goes again, and new data as far as the pipe is empty (RFC 6675)", () => {
  const peer = flight();
  peer.clock.advance(100);
  const block = (from: number, to: number) => [at(from), at(to)] as const;
  peer.sends({ ack: at(1), sack: [block(2, 3)] });
  peer.sends({ ack: at(1), sack: [block(2, 4)] });
  peer.expectsNothing();
  peer.sends({ ack: at(1), sack: [block(2, 5)] });
  assertEquals(sent(peer), "1001+1000");
  peer.sends({ ack: at(1), sack: [block(6, 8), block(2, 5)] });
  assertEquals(sent(peer), "5001+1000", "a second hole, and the pipe has room");
  peer.sends({ ack: at(5), sack: [block(6, 10)] });
  peer.sends({ ack: at(10) });
  assertEquals([sent(peer), peer.tcb.recovery, peer.tcb.flight], ["", 0, 0]);
  assertEquals(peer.host.tcp.env.stats.retransSegs, 2);
});

Deno.test("one segment SACKed is not yet a loss: RACK waits a quarter of a round trip (RFC 8985 6.2)", () => {
  const peer = flight();
  peer.clock.advance(100);
  peer.sends({ ack: 1, sack: [[at(1), at(2)]] });
  peer.expectsNothing();
  peer.clock.advance(24);
  peer.expectsNothing();
  peer.clock.advance(2);
  assertEquals(sent(peer), "1+1000");
  assertEquals(peer.host.tcp.env.stats.retransTimeouts, 0);
});

Deno.test("once reordering was seen, three SACKed segments are no loss before the reordering window is over", () => {
  const peer = flight();
  peer.clock.advance(100);
  peer.sends({ ack: 1, sack: [[at(1), at(2)]] });
  peer.sends({ ack: at(2) });
  assertEquals(peer.tcb.rack.reordering, true);
  peer.sends({ ack: at(2), sack: [[at(3), at(9)]] });
  peer.expectsNothing();
  peer.sends({ ack: at(9) });
  peer.clock.advance(20);
  peer.expectsNothing();
});

Deno.test("a lost tail is probed, and the answer starts recovery instead of a timeout (RFC 8985 7)", () => {
  const peer = flight();
  peer.tcb.rtt.rtoMs = 1000;
  peer.clock.advance(100);
  peer.sends({ ack: at(7) });
  peer.ignores();
  const from = peer.clock.now();
  while (peer.heard.length === 0) assert(peer.clock.step());
  assert(peer.clock.now() - from <= 210, `${peer.clock.now() - from}`);
  assertEquals(sent(peer), "9001+1000");
  peer.clock.advance(100);
  peer.sends({ ack: at(7), sack: [[at(9), at(10)]] });
  assertEquals(sent(peer), "7001+1000 8001+1000");
  const { stats } = peer.host.tcp.env;
  assertEquals([stats.tailProbes, stats.retransTimeouts, stats.fastRecoveries], [1, 0, 1]);
});

Deno.test("a probe that repaired a loss reduces the window, a needless one does not (RFC 8985 7.4)", () => {
  const cwnds = [false, true].map((spurious) => {
    const peer = flight({ segments: 3 });
    peer.tcb.rtt.rtoMs = 1000;
    peer.clock.advance(100);
    peer.sends({ ack: at(2) });
    peer.clock.advance(450);
    peer.ignores();
    peer.sends(spurious ? { ack: at(3), sack: [[at(2), at(3)]] } : { ack: at(3) });
    const before = peer.tcb.congestion.cwnd;
    peer.writes("y".repeat(MSS));
    peer.sends({ ack: at(4) });
    return peer.tcb.congestion.cwnd < before;
  });
  assertEquals(cwnds, [true, false]);
});

Deno.test("a peer that takes its SACKs back is found out by the timeout (RFC 2018 8)", () => {
  const peer = flight();
  peer.sends({ ack: 1, sack: [[at(1), at(10)]] });
  peer.ignores();
  peer.sends({ ack: at(1), sack: [] });
  peer.clock.advance(5000);
  peer.ignores();
  assertEquals(peer.host.tcp.env.stats.reneges, 1);
  peer.sends({ ack: at(10) });
  assertEquals(peer.tcb.flight, 0);
});

Deno.test("a retransmission that is lost too is found out without a timeout when later data arrive", () => {
  const peer = flight();
  peer.clock.advance(100);
  peer.sends({ ack: 1, sack: [[at(1), at(4)]] });
  assertEquals(sent(peer), "1+1000");
  peer.writes("z".repeat(3 * MSS));
  peer.sends({ ack: 1, sack: [[at(1), at(10)]] });
  const fresh = sent(peer);
  assert(fresh.includes("10001+"), fresh);
  peer.clock.advance(100);
  peer.sends({ ack: 1, sack: [[at(1), at(12)]] });
  assertEquals(sent(peer).split(" ")[0], "1+1000");
  assertEquals(peer.host.tcp.env.stats.retransTimeouts, 0);
});

Deno.test("the window does not grow while the application is what limits sending (RFC 7661)", () => {
  const peer = peerEstablished({ syn: SYN });
  const before = peer.tcb.congestion.cwnd;
  for (let i = 0; i < 20; i++) {
    peer.writes("x".repeat(100));
    peer.sends({ ack: 1 + 100 * (i + 1) });
    peer.clock.advance(10);
  }
  assertEquals(peer.tcb.congestion.cwnd, before);
});

Deno.test("after an idle timeout the window is at most the initial one (RFC 5681 4.1)", () => {
  const peer = flight();
  peer.tcb.congestion.cwnd = 50 * MSS;
  peer.sends({ ack: at(10) });
  peer.clock.advance(10_000);
  peer.writes("x".repeat(40 * MSS));
  const bytes = peer.heard.reduce((sum, { data }) => sum + data.length, 0);
  assertEquals(bytes, 10 * MSS);
});

Deno.test("segments of up to 64 KiB leave whole, with the metadata to cut them", () => {
  const peer = peerEstablished({ syn: { mss: 1460, scale: 10 } });
  peer.sends({ ack: 1, window: 60_000 });
  peer.tcb.congestion.cwnd = 1 << 20;
  const blocks: (readonly number[])[] = [];
  const send = peer.host.onSend;
  peer.host.onSend = (block, options) => {
    blocks.push([block.length, block.segment, block.segmentSize, block.segmentHeaderLen, block.checksum]);
    return send(block, options);
  };
  peer.writes("x".repeat(150_000));
  assertEquals(blocks[0], [40 + 44 * 1460, 1, 1460, 40, 2]);
  assert(blocks.every(([length]) => length! <= 65_535));
});

// --- ICMP

function icmp(peer: TcpPeer, change: Partial<Advice> & { at?: number }): void {
  const block = Block.alloc(64);
  block.wp += 36;
  const transportAt = block.rp + 28;
  put32(block.buf, transportAt + 4, seq.add(peer.irs, change.at ?? 1));
  const advice: Advice = {
    text: "Host unreachable",
    version: 4,
    type: 3,
    code: 1,
    mtu: 0,
    unreachable: true,
    hard: false,
    refused: change.code === 3,
    protocol: 6,
    laddr: HERE,
    raddr: THERE,
    lport: 80,
    rport: 5000,
    block,
    quotedAt: block.rp + 8,
    transportAt,
    ...change,
  };
  peer.host.tcp.advise(advice);
}

Deno.test("ICMP ends a connection that does not stand yet if it is hard, and never one that does (RFC 5927 4)", () => {
  const hard = { text: "Port unreachable", code: 3, hard: true };
  const opening = peerSynSent();
  icmp(opening, { at: 0 });
  assertEquals(opening.state, "Syn_sent");
  icmp(opening, { at: 0, ...hard });
  assertEquals([opening.state, opening.conv.failure?.code], ["Closed", "ECONNREFUSED"]);
  const open = flight();
  icmp(open, hard);
  assertEquals([open.state, open.conv.eq.blocks], ["Established", 1]);
  open.ctl("usertimeout 10000");
  open.clock.advance(60_000);
  assertEquals(open.conv.rq.reason, "Port unreachable");
});

Deno.test("ICMP that quotes data not in flight is ignored (RFC 5927 4)", () => {
  const peer = flight();
  for (const quoted of [0, at(10), -5, 1_000_000]) icmp(peer, { at: quoted, mtu: 600, code: 4 });
  assertEquals([peer.tcb.snd.mss, peer.conv.eq.blocks, peer.host.tcp.env.stats.adviceIgnored], [MSS, 0, 4]);
});

Deno.test("ICMP 'too big' makes segments smaller, never larger, and not below the least", () => {
  const peer = flight();
  icmp(peer, { mtu: 800, code: 4 });
  assertEquals(peer.tcb.snd.mss, 760);
  assert(sent(peer).startsWith("1+"));
  icmp(peer, { mtu: 68, code: 4 });
  assertEquals(peer.tcb.snd.mss, 512);
  icmp(peer, { mtu: 1400, code: 4 });
  assertEquals(peer.tcb.snd.mss, 512);
});
