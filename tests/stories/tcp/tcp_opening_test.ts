/**
 * A connection until it stands: CLOSED, LISTEN, SYN-SENT and SYN-RECEIVED, and what each segment and each call of the
 * user does there (RFC 9293 3.10). The host is 10.0.0.1 port 80, its peer is made by hand; sequence numbers are
 * relative.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { KernelError } from "../../../kernel/error.ts";
import { TapEvent } from "../../../kernel/fd_tap.ts";
import { ConvState } from "../../../devices/ip/conv/proto.ts";
import { peerListen, peerSynReceived, peerSynSent } from "../../kit/tcp/peer_states.ts";
import { THERE } from "../../kit/tcp/host.ts";

// --- CLOSED

Deno.test("TCP in CLOSED resets an ACK at its number, others by acknowledging them", () => {
  const peer = peerListen();
  peer.irs = 0;
  peer.sends({ flags: "A", seq: 5, ack: 77, dstPort: 81 });
  peer.expects({ flags: "R", seq: 77, ack: 0, length: 0 });
  peer.sends({ flags: "S", seq: 0, dstPort: 81 });
  peer.expects({ flags: "RA", seq: 0, ack: 1 });
  peer.sends({ flags: "FP", seq: 5, data: "abc", dstPort: 81 });
  peer.expects({ flags: "RA", seq: 0, ack: 9 });
  peer.sends({ flags: "R", seq: 5, dstPort: 81 });
  peer.expectsNothing();
});

Deno.test("TCP in CLOSED refuses what needs a connection: ENOTCONN", () => {
  const peer = peerListen();
  const idle = peer.host.conv();
  for (const command of ["hangup", "shutdown wr", "keepalive"]) {
    const error = assertThrows(() => peer.host.ctl(idle, command), KernelError);
    assertEquals(error.code, "ENOTCONN", command);
  }
  assertEquals(assertThrows(() => peer.host.write(idle, new Uint8Array(1)), KernelError).code, "ENOTCONN");
  peer.host.close(idle);
});

// --- LISTEN

Deno.test("TCP in LISTEN answers a SYN, and the acknowledgment makes a call that carries the data", () => {
  const peer = peerListen();
  peer.sends({ flags: "S", seq: 0, mss: 1000 });
  peer.expects({ flags: "SA", seq: 0, ack: 1, mss: 1460, window: 65_535 });
  assertEquals([peer.conv.calls.length, peer.host.tcp.synQueue.length], [0, 1]);
  peer.sends({ seq: 1, ack: 1, data: "hello" });
  assertEquals([peer.conv.calls.length, peer.host.tcp.synQueue.length], [1, 0]);
  peer.expects({ flags: "A", seq: 1, ack: 6 });
  const [call] = peer.conv.calls;
  assertEquals([call!.state, call!.raddr.toString(), call!.rport], [ConvState.Connected, "10.0.0.2", 5000]);
  peer.conv = call!;
  assertEquals([peer.state, peer.reads()], ["Established", "hello"]);
});

Deno.test("TCP in LISTEN ignores a reset, refuses an acknowledgment of nothing, and drops what has no flags", () => {
  const peer = peerListen();
  peer.sends({ flags: "R", seq: 0 });
  peer.sends({ flags: "", seq: 0, data: "x" });
  peer.sends({ flags: "F", seq: 0 });
  peer.expectsNothing();
  peer.irs = 0;
  peer.sends({ flags: "A", seq: 5, ack: 9 });
  peer.expects({ flags: "R", seq: 9 });
  peer.sends({ flags: "SA", seq: 5, ack: 9 });
  peer.expects({ flags: "R", seq: 9 });
});

Deno.test("TCP in LISTEN takes a reset for a call in the SYN queue only at the exact number (RFC 5961 3)", () => {
  const peer = peerListen();
  peer.sends({ flags: "S", seq: 0 });
  peer.expects({ flags: "SA" });
  peer.sends({ flags: "R", seq: 2 });
  assertEquals(peer.host.tcp.synQueue.length, 1);
  peer.sends({ flags: "R", seq: 1 });
  assertEquals(peer.host.tcp.synQueue.length, 0);
});

Deno.test("TCP in LISTEN sends the SYN-ACK again on a second SYN, or after 1, 2, 4 … s, then forgets", () => {
  const peer = peerListen();
  peer.sends({ flags: "S", seq: 0 });
  const first = peer.expects({ flags: "SA", seq: 0 });
  peer.sends({ flags: "S", seq: 0 });
  const again = peer.expects({ flags: "SA", seq: 0, ack: 1 });
  assertEquals(again.header.seq, first.header.seq);
  peer.clock.advance(120_000);
  const times = peer.heard.map(({ atMs }) => Math.round(atMs / 1000));
  assertEquals(times, [1, 3, 7, 15, 31]);
  assertEquals([peer.host.tcp.synQueue.length, peer.clock.timerCount], [0, 0]);
});

Deno.test("TCP in LISTEN: an acknowledgment with a wrong number is refused, and the call stays", () => {
  const peer = peerListen();
  peer.sends({ flags: "S", seq: 0 });
  peer.expects({ flags: "SA" });
  peer.sends({ seq: 1, ack: 2 });
  peer.expects({ flags: "R", seq: 2 });
  peer.sends({ seq: 1, ack: 1 });
  assertEquals(peer.conv.calls.length, 1);
});

Deno.test("TCP in LISTEN: closing the listener forgets its calls, in the SYN queue and waiting", () => {
  const peer = peerListen();
  peer.sends({ flags: "S", seq: 0 });
  peer.expects({ flags: "SA" });
  peer.sends({ seq: 1, ack: 1 });
  peer.sends({ flags: "S", seq: 0, srcPort: 5001 });
  peer.expects({ flags: "SA", dstPort: 5001 });
  peer.close();
  assertEquals(peer.host.tcp.synQueue.length, 0);
  peer.expects({ flags: "FA", dstPort: 5000 });
  peer.sends({ flags: "S", seq: 0, srcPort: 5002 });
  peer.expects({ flags: "RA", dstPort: 5002 });
});

// --- SYN-SENT

Deno.test("TCP in SYN-SENT offers MSS, window scale, SACK and timestamps, and the SYN-ACK connects", () => {
  const peer = peerSynSent();
  assertEquals(peer.conv.state, ConvState.Connecting);
  const offered = peerSynSent().host;
  assertEquals(offered.tcp.env.stats.activeOpens, 1);
  peer.sends({ flags: "SA", seq: 0, ack: 1 });
  peer.expects({ flags: "A", seq: 1, ack: 1 });
  assertEquals([peer.state, peer.conv.state], ["Established", ConvState.Connected]);
});

Deno.test("TCP in SYN-SENT fires Writable when the connection stands, and when it fails", () => {
  for (const flags of ["SA", "RA"]) {
    const peer = peerSynSent();
    const events: number[] = [];
    peer.conv.dataTaps.fire = (bits: number) => void events.push(bits);
    peer.sends({ flags, seq: 0, ack: 1 });
    assert(events.some((bits) => (bits & TapEvent.Writable) !== 0), flags);
  }
});

Deno.test("TCP in SYN-SENT: a reset that acknowledges the SYN means refused; another try is possible", () => {
  const peer = peerSynSent();
  peer.sends({ flags: "RA", seq: 0, ack: 1 });
  peer.expectsNothing();
  assertEquals([peer.state, peer.conv.state, peer.conv.failure?.code], ["Closed", ConvState.Idle, "ECONNREFUSED"]);
  assertEquals(peer.clock.timerCount, 0);
  peer.host.connect(peer.conv, THERE, 5000, 80);
  peer.expects({ flags: "S" });
  peer.sends({ flags: "SA", seq: 0, ack: 1 });
  assertEquals(peer.state, "Established");
});

Deno.test("TCP in SYN-SENT ignores a reset without ACK, and refuses an ACK of anything but the SYN", () => {
  const peer = peerSynSent();
  peer.sends({ flags: "R", seq: 0 });
  peer.sends({ flags: "A", seq: 0, ack: 1 });
  peer.sends({ flags: "F", seq: 0 });
  peer.expectsNothing();
  for (const ack of [0, 2, 1_000_000]) {
    peer.sends({ flags: "SA", seq: 0, ack });
    peer.expects({ flags: "R", seq: ack });
    peer.sends({ flags: "RA", seq: 0, ack });
    peer.expectsNothing();
  }
  assertEquals(peer.state, "Syn_sent");
});

Deno.test("TCP in SYN-SENT sends the SYN again after 1, 2, 4 … s, and times out after three minutes", () => {
  const peer = peerSynSent();
  peer.clock.advance(600_000);
  assertEquals(peer.heard.map(({ atMs }) => atMs / 1000), [1, 3, 7, 15, 31, 63, 123]);
  assertEquals([peer.state, peer.conv.failure?.code, peer.clock.timerCount], ["Closed", "ETIMEDOUT", 0]);
});

Deno.test("TCP in SYN-SENT: close drops the connection, hangup notifies waiting calls", () => {
  const closed = peerSynSent();
  closed.close();
  closed.expectsNothing();
  assertEquals([closed.state, closed.clock.timerCount, closed.host.tcp.busy(closed.conv)], ["Closed", 0, false]);
  const hungUp = peerSynSent();
  hungUp.ctl("hangup");
  assertEquals([hungUp.state, hungUp.conv.failure?.code], ["Closed", "ECONNABORTED"]);
});

Deno.test("TCP in SYN-SENT keeps what is written and the wish to close until the connection stands", () => {
  const peer = peerSynSent();
  peer.writes("early");
  peer.ctl("shutdown wr");
  peer.expectsNothing();
  peer.sends({ flags: "SA", seq: 0, ack: 1 });
  peer.expects({ flags: "FPA", seq: 1, ack: 1, data: "early" });
  assertEquals(peer.state, "Finwait1");
});

Deno.test("TCP in SYN-SENT takes data that come with the SYN-ACK", () => {
  const peer = peerSynSent();
  peer.sends({ flags: "SA", seq: 0, ack: 1, data: "banner" });
  peer.expects({ flags: "A", seq: 1, ack: 7 });
  assertEquals(peer.reads(), "banner");
});

// --- SYN-RECEIVED

Deno.test("TCP in SYN-RECEIVED: the simultaneous open of RFC 9293 figure 7 connects both ways of answering", () => {
  for (const flags of ["SA", "A"]) {
    const peer = peerSynReceived();
    assertEquals(peer.state, "Syn_received");
    peer.sends({ flags, seq: flags === "SA" ? 0 : 1, ack: 1 });
    assertEquals([peer.state, peer.conv.state], ["Established", ConvState.Connected]);
  }
});

Deno.test("TCP in SYN-RECEIVED: a wrong acknowledgment is reset, a right reset refuses, another is challenged", () => {
  const peer = peerSynReceived();
  peer.sends({ seq: 1, ack: 2 });
  peer.expects({ flags: "R", seq: 2, ack: 0 });
  peer.sends({ flags: "R", seq: 2 });
  peer.expects({ flags: "A", seq: 1, ack: 1 });
  peer.sends({ flags: "R", seq: 1 });
  peer.expectsNothing();
  assertEquals([peer.state, peer.conv.failure?.code], ["Closed", "ECONNREFUSED"]);
});

Deno.test("TCP in SYN-RECEIVED sends the SYN-ACK again, closes later, and resets when hung up", () => {
  const peer = peerSynReceived();
  peer.clock.advance(1000);
  peer.expects({ flags: "SA", seq: 0, ack: 1 });
  peer.ctl("shutdown wr");
  assertEquals(peer.state, "Syn_received");
  peer.sends({ seq: 1, ack: 1 });
  peer.expects({ flags: "FA", seq: 1, ack: 1 });
  assertEquals(peer.state, "Finwait1");
  const other = peerSynReceived();
  other.ctl("hangup");
  other.expects({ flags: "RA", seq: 1 });
  const third = peerSynReceived();
  third.clock.advance(600_000);
  assertEquals([third.state, third.conv.failure?.code], ["Closed", "ETIMEDOUT"]);
});
