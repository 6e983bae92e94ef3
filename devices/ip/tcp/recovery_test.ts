/** Recovery beyond what stories of single losses show. */

import { assert, assertEquals } from "@std/assert";
import type { TcpPeer } from "../../../tests/kit/tcp/peer.ts";
import { peerEstablished } from "../../../tests/kit/tcp/peer_states.ts";
import { enterLoss, takeLosses } from "./recovery.ts";
import { Recovery } from "./tcb.ts";

/** Twenty segments of 1000 bytes on their way. */
function flight(): TcpPeer {
  const peer = peerEstablished({ syn: { mss: 1000, sackOk: true } });
  peer.tcb.congestion.cwnd = 40_000;
  peer.writes("x".repeat(20_000));
  peer.ignores();
  peer.clock.advance(10);
  return peer;
}

Deno.test("takeLosses() reduces the window for a loss, and again for a retransmission that is lost too", () => {
  const { tcb, clock } = flight();
  const { board, congestion } = tcb;
  board.split(board.head!, board.head!.seq + 1000);
  board.markLost(board.head!);
  takeLosses(tcb);
  const once = congestion.cwnd;
  assertEquals([tcb.recovery, once], [Recovery.Fast, 14_000]);
  takeLosses(tcb);
  assertEquals(congestion.cwnd, once);
  clock.advance(1);
  board.sentAgain(board.head!, clock.now());
  clock.advance(100);
  board.markLost(board.head!);
  takeLosses(tcb);
  assert(congestion.cwnd < once);
});

Deno.test("enterLoss() twice for the same flight lowers the threshold once (RFC 5681 3.1)", () => {
  const { tcb } = flight();
  enterLoss(tcb);
  const { ssthresh } = tcb.congestion;
  assertEquals([tcb.recovery, tcb.congestion.cwnd, ssthresh], [Recovery.Loss, 1000, 14_000]);
  enterLoss(tcb);
  assertEquals(tcb.congestion.ssthresh, ssthresh);
});
