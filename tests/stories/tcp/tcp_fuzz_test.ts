/**
 * Hostile segments: mutated ones into every state. Nothing throws, no limit is passed, and a connection that is
 * attacked with wrong numbers goes on.
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block } from "../../../kernel/block.ts";
import { SeededRandom } from "../../../kernel/random.ts";
import * as seq from "../../../kernel/wire/seq.ts";
import { put16, put32 } from "../../../kernel/wire/bytes.ts";
import { setTcpChecksum } from "../../../kernel/wire/tcp.ts";
import { SYN_QUEUE_MAX } from "../../../devices/ip/tcp/syn_queue.ts";
import { BLOCKS_MAX, RANGES_MAX } from "../../../devices/ip/tcp/resequence.ts";
import { SENT_MAX } from "../../../devices/ip/tcp/sack.ts";
import type { Tcb } from "../../../devices/ip/tcp/tcb.ts";
import { TcpState } from "../../../devices/ip/tcp/state.ts";
import { BUFFER_MAX } from "../../../devices/ip/tcp/window.ts";
import { fuzz } from "../../kit/check/fuzz.ts";
import { HERE, putIpHeader, THERE } from "../../kit/tcp/host.ts";
import type { Fixture, TcpPeer } from "../../kit/tcp/peer.ts";
import {
  peerCalling,
  peerCloseWait,
  peerClosing,
  peerEstablished,
  peerFinWait1,
  peerFinWait2,
  peerLastAck,
  peerListen,
  peerSynReceived,
  peerSynSent,
  peerTimeWait,
  peerTimeWaitListen,
} from "../../kit/tcp/peer_states.ts";
import { Sink, Source, TcpPair } from "../../kit/tcp/pair.ts";

const STATES: readonly ((fixture?: Fixture) => TcpPeer)[] = [
  peerListen,
  peerSynSent,
  peerSynReceived,
  peerEstablished,
  peerFinWait1,
  peerFinWait2,
  peerClosing,
  peerCloseWait,
  peerLastAck,
  peerTimeWait,
  peerCalling,
  peerTimeWaitListen,
];

/** Numbers near the edges of everything. */
const number = fc.oneof(
  fc.integer({ min: -3, max: 5 }),
  fc.integer({ min: -70_000, max: 70_000 }),
  fc.constantFrom(0x7fff_ffff, -0x8000_0000, 65_535, 65_536),
);
const hostile = fc.record({
  flags: fc.nat(0xff),
  seq: number,
  ack: number,
  window: fc.constantFrom(0, 1, 500, 65_535),
  urgent: fc.nat(0xffff),
  length: fc.constantFrom(0, 0, 1, 10, 1460, 5000),
  options: fc.uint8Array({ maxLength: 40 }),
  tos: fc.nat(3),
  waitMs: fc.constantFrom(0, 0, 0, 1, 60, 300, 2000),
  call: fc.nat(30),
});
type Hostile = typeof hostile extends fc.Arbitrary<infer T> ? T : never;

/** A segment of any bytes with a right checksum. */
function build(peer: TcpPeer, one: Hostile): Block {
  const headerLen = 20 + (one.options.length + 3 & ~3);
  const block = Block.alloc(headerLen + one.length);
  const { buf, rp: at } = block;
  buf.fill(0, at, at + headerLen + one.length);
  put16(buf, at, 5000);
  put16(buf, at + 2, 80);
  put32(buf, at + 4, seq.add(peer.iss, one.seq));
  put32(buf, at + 8, seq.add(peer.irs, one.ack));
  buf[at + 12] = headerLen << 2;
  buf[at + 13] = one.flags;
  put16(buf, at + 14, one.window);
  put16(buf, at + 18, one.urgent);
  buf.set(one.options, at + 20);
  block.wp = at + headerLen + one.length;
  setTcpChecksum(buf, at, block.wp, { src: peer.addr, dst: peer.here });
  putIpHeader(block, { src: peer.addr, dst: peer.here, tos: one.tos });
  return block;
}

/** What must hold of every connection, whatever came. */
function checkLimits(peer: TcpPeer): void {
  assert(peer.host.tcp.synQueue.length <= SYN_QUEUE_MAX);
  for (const conv of peer.host.tcp.space.convs) {
    const tcb = conv.priv as Tcb | null;
    if (tcb === null) continue;
    const { snd, rcv, board, resequence } = tcb;
    assert(board.count <= SENT_MAX && resequence.ranges <= RANGES_MAX && resequence.ranges <= BLOCKS_MAX);
    assert(resequence.length + tcb.rq.length <= BUFFER_MAX);
    if (tcb.state < TcpState.SynSent) continue;
    assert(seq.leq(snd.una, snd.nxt) && seq.leq(snd.nxt, snd.max), `una ${snd.una} nxt ${snd.nxt} max ${snd.max}`);
    assert(tcb.state < TcpState.SynReceived || seq.leq(rcv.nxt, seq.add(rcv.edge, 1)));
    assert(board.sackedBytes >= 0 && board.lostBytes >= board.resentBytes && board.resentBytes >= 0);
    assert(board.sackedBytes + board.lostBytes <= tcb.flight, `${board.sackedBytes} ${board.lostBytes} ${tcb.flight}`);
    assert(tcb.congestion.cwnd >= 1 && snd.mss >= 36 && tcb.rtt.rtoMs > 0);
  }
}

function userCalls(peer: TcpPeer, call: number): void {
  const state = peer.tcb.state;
  if (call === 1 && peer.conv.wq!.canWrite && !peer.conv.wq!.closed && state >= TcpState.SynSent) {
    peer.writes("x".repeat(3000));
  }
  if (call === 2) readAll(peer);
  if (call === 3 && state >= TcpState.SynSent) peer.ctl("shutdown wr");
}

function readAll(peer: TcpPeer): void {
  try {
    peer.reads();
  } catch {
    // The connection broke: that is an answer too.
  }
}

Deno.test("no sequence of segments in any state makes TCP throw or pass a limit, and it ends when all are gone", () => {
  const fixtures = fc.constantFrom(...STATES);
  const syn = fc.constantFrom({}, { sackOk: true, mss: 1000 }, { sackOk: true, ts: [1000, 0] as const, scale: 2 });
  const version = fc.constantFrom(4 as const, 6 as const);
  const attack = fc.array(hostile, { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(fixtures, version, syn, attack, (fixture, version, options, segments) => {
      const peer = fixture({ version, syn: options });
      for (const one of segments) {
        userCalls(peer, one.call);
        peer.host.receive(build(peer, one));
        if (one.waitMs > 0) peer.clock.advance(one.waitMs);
        checkLimits(peer);
        peer.ignores();
      }
      for (const conv of peer.host.tcp.space.convs) if (conv.inUse > 0) peer.host.close(conv);
      peer.clock.advance(2_000_000);
      assertEquals([peer.clock.timerCount, peer.host.tcp.synQueue.length], [0, 0]);
      for (const conv of peer.host.tcp.space.convs) assertEquals(peer.host.tcp.busy(conv), false);
    }),
    fuzz(400),
  );
});

Deno.test("bytes of any kind are no segment, or a segment, and never an exception", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      const peer = peerEstablished();
      const block = Block.alloc(20 + bytes.length);
      const { buf, rp } = block;
      buf.fill(0, rp, rp + 20);
      buf[rp] = 0x45;
      THERE.putV4(buf, rp + 12);
      HERE.putV4(buf, rp + 16);
      buf.set(bytes, rp + 20);
      block.wp = rp + 20 + bytes.length;
      if (bytes.length >= 20) setTcpChecksum(buf, rp + 20, block.wp, { src: THERE, dst: HERE });
      peer.host.receive(block);
      checkLimits(peer);
    }),
    fuzz(300),
  );
});

Deno.test("a transfer goes on under attack by segments whose numbers are wrong", () => {
  for (const seed of [1, 2, 3]) {
    const pair = new TcpPair(seed, { delayMs: 5 });
    const [a, b] = pair.connect();
    const random = new SeededRandom(seed);
    const source = new Source(pair.here, a, { total: 300_000, seed: 1 });
    const sink = new Sink(pair.there, b, 1);
    const attack = () => {
      const tcb = pair.there.tcb(b);
      const block = Block.alloc(64);
      const { buf, rp } = block;
      buf.fill(0, rp, rp + 64);
      buf[rp] = 0x45;
      a.laddr.putV4(buf, rp + 12);
      a.raddr.putV4(buf, rp + 16);
      const at = rp + 20;
      put16(buf, at, a.lport);
      put16(buf, at + 2, a.rport);
      // Anywhere but where the next byte is due: a blind attacker does not know that.
      put32(buf, at + 4, seq.add(tcb.rcv.nxt, 1 + random.below(2 ** 31)));
      put32(buf, at + 8, random.u32());
      buf[at + 12] = 0x50;
      buf[at + 13] = [0x04, 0x02, 0x14, 0x11, 0x12, 0x18][random.below(6)]!;
      put16(buf, at + 14, random.below(65_536));
      block.wp = at + 20 + random.below(20);
      setTcpChecksum(buf, at, block.wp, { src: a.laddr, dst: a.raddr });
      pair.there.receive(block);
    };
    const done = pair.runUntil(() => {
      source.pump();
      sink.pump();
      attack();
      return sink.ended;
    }, 600_000);
    assertEquals([done, sink.got, sink.firstWrong], [true, 300_000, -1], `seed ${seed}`);
  }
});

Deno.test("a peer that SACKs or sends every second byte costs bounded memory and time", () => {
  const peer = peerEstablished({ syn: { sackOk: true, mss: 1460, scale: 7 } });
  peer.sends({ ack: 1, window: 60_000 });
  peer.tcb.congestion.cwnd = 1 << 20;
  peer.writes("x".repeat(60_000));
  peer.ignores();
  for (let i = 0; i < 3000; i++) peer.sends({ ack: 1, sack: [[4 * i + 1, 4 * i + 2], [4 * i + 3, 4 * i + 4]] });
  checkLimits(peer);
  const other = peerEstablished({ syn: { sackOk: true } });
  for (let i = 0; i < 5000; i++) other.sends({ seq: 2 + 2 * i, length: 1 });
  checkLimits(other);
  assertEquals(other.tcb.resequence.ranges, RANGES_MAX);
});
