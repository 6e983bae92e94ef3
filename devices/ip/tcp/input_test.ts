/** The order of the eight checks of RFC 9293 3.10.7.4: what an earlier one refuses, no later one sees. */

import { assertEquals } from "@std/assert";
import { peerEstablished, peerFinWait2 } from "../../../tests/kit/tcp/peer_states.ts";
import { input } from "./input.ts";

Deno.test("input() looks at the sequence number before anything else: outside the window no flag counts", () => {
  const peer = peerEstablished();
  for (const flags of ["R", "S", "FA", "RSFA", "A"]) peer.sends({ flags, seq: 100_000, ack: 1, data: "x" });
  assertEquals([peer.state, peer.reads()], ["Established", ""]);
  assertEquals(peer.host.tcp.env.stats.windowDrops, 5);
});

Deno.test("input() looks at RST before SYN, SYN before ACK, ACK before payload and FIN", () => {
  const reset = peerEstablished();
  reset.sends({ flags: "RSFA", seq: 1, ack: 50 });
  assertEquals([reset.state, reset.heard.length], ["Closed", 0]);
  const syn = peerEstablished();
  syn.sends({ flags: "SFA", seq: 1, ack: 1, data: "x" });
  assertEquals([syn.state, syn.reads(), syn.tcb.rcv.nxt - syn.iss], ["Established", "", 1]);
  const ack = peerEstablished();
  ack.sends({ flags: "FA", seq: 1, ack: 50, data: "x" });
  assertEquals([ack.state, ack.reads()], ["Established", ""]);
});

Deno.test("input() takes the payload before the FIN, and the FIN only behind all of the payload", () => {
  const peer = peerEstablished();
  peer.sends({ flags: "FA", seq: 4, ack: 1, data: "def" });
  assertEquals([peer.state, peer.reads()], ["Established", ""]);
  peer.sends({ flags: "A", seq: 1, ack: 1, data: "abc" });
  assertEquals([peer.state, peer.reads()], ["Close_wait", "abcdefEOF"]);
});

Deno.test("input() cuts a FIN off that is beyond the window, with the payload before it", () => {
  const peer = peerEstablished();
  peer.ctl("rqlimit 4000");
  peer.tcb.rcv.edge = peer.tcb.rcv.nxt + 10;
  peer.sends({ flags: "FA", seq: 1, ack: 1, data: "0123456789more" });
  assertEquals([peer.state, peer.reads()], ["Established", "0123456789"]);
});

Deno.test("input() consumes what it gets: the payload is in the queue or freed", () => {
  assertEquals(typeof input, "function");
  const peer = peerFinWait2();
  peer.sends({ seq: 1, ack: 2, data: "kept" });
  peer.sends({ seq: 1, ack: 2, data: "kept" });
  assertEquals([peer.conv.rq.blocks, peer.reads()], [1, "kept"]);
});
