import { assertEquals } from "@std/assert";
import { peerEstablished } from "../../../tests/kit/tcp/peer_states.ts";
import { GAP_LIFE_MS, GAP_PRESSED_MS } from "./gap.ts";

/** A connection that holds `ranges` early, the first byte being missing. */
function withGap() {
  const peer = peerEstablished();
  peer.sends({ seq: 11, ack: 1, data: "early" });
  peer.ignores();
  return peer;
}

Deno.test("data behind a gap that stands for 300 s are dropped, and taken when they come again", () => {
  const peer = withGap();
  peer.clock.advance(GAP_LIFE_MS - 1);
  assertEquals(peer.tcb.resequence.length, 5);
  peer.clock.advance(1);
  const { memory, stats } = peer.host.tcp.env;
  assertEquals(
    { early: peer.tcb.resequence.length, memory: memory.bytes, drops: stats.earlyDrops, state: peer.state },
    {
      early: 0,
      memory: 0,
      drops: 1,
      state: "Established",
    },
  );
  peer.sends({ seq: 1, ack: 1, data: "0123456789early" });
  assertEquals(peer.reads(), "0123456789early");
  peer.clock.advance(GAP_LIFE_MS);
  assertEquals(peer.clock.timerCount, 0);
});

Deno.test("a FIN behind a dropped gap counts when it comes again, and not before", () => {
  const peer = peerEstablished();
  peer.sends({ flags: "FA", seq: 11, ack: 1, data: "early" });
  peer.clock.advance(GAP_LIFE_MS);
  peer.sends({ seq: 1, ack: 1, data: "0123456789early" });
  assertEquals([peer.state, peer.reads()], ["Established", "0123456789early"]);
  peer.sends({ flags: "FA", seq: 16, ack: 1 });
  assertEquals([peer.state, peer.reads()], ["Close_wait", "EOF"]);
});

Deno.test("a gap that is filled in part is a new gap", () => {
  const peer = withGap();
  peer.clock.advance(GAP_LIFE_MS - 1);
  peer.sends({ seq: 1, ack: 1, data: "01234" });
  peer.clock.advance(GAP_LIFE_MS - 1);
  assertEquals(peer.tcb.resequence.length, 5);
  peer.clock.advance(GAP_LIFE_MS);
  assertEquals(peer.tcb.resequence.length, 0);
});

Deno.test("while memory is short a gap stands for 10 s only, and nothing more is kept behind one", () => {
  const peer = withGap();
  const { memory } = peer.host.tcp.env;
  const others = memory.shared;
  memory.bytes += others;
  peer.sends({ seq: 31, ack: 1, data: "more" });
  assertEquals(peer.tcb.resequence.length, 5);
  peer.clock.advance(GAP_PRESSED_MS - 1);
  memory.relieve();
  assertEquals(peer.tcb.resequence.length, 5);
  peer.clock.advance(1001);
  memory.relieve();
  assertEquals(peer.tcb.resequence.length, 0);
  assertEquals(memory.bytes, others);
});
