import { assertEquals } from "@std/assert";
import { detectLoss, probeTimeoutMs, Rack } from "./rack.ts";
import { Rtt } from "./rtt.ts";
import { Delivery, Scoreboard } from "./sack.ts";

const FACTS = { inRecovery: false, segmentsSacked: 0 };

/** Ten bytes a millisecond were sent, 0 to before `end`; a round trip takes 20 ms. */
function flight(
  end: number,
): { board: Scoreboard; rack: Rack; rtt: Rtt; arrive: (left: number, nowMs: number) => void } {
  const board = new Scoreboard();
  board.clear(0);
  for (let i = 0; i < end / 10; i++) board.append(10 * i, 10 * i + 10, i);
  const rack = new Rack();
  const rtt = new Rtt();
  rtt.sample(20, 0);
  const arrive = (left: number, nowMs: number) => {
    const delivery = new Delivery();
    board.sack([{ left, right: left + 10 }], 0, 1000, delivery);
    rack.update(delivery, rtt, nowMs, -1);
  };
  return { board, rack, rtt, arrive };
}

Deno.test("detectLoss() waits a quarter of a round trip for what was sent before something that has arrived", () => {
  const { board, rack, rtt, arrive } = flight(50);
  arrive(20, 22);
  const windowMs = rack.windowMs(rtt, FACTS);
  assertEquals(windowMs, 5);
  assertEquals(detectLoss(rack, board, 22, windowMs), 4, "the second is due 26 ms after the start, the first 25");
  assertEquals(board.lostBytes, 0);
  assertEquals(detectLoss(rack, board, 25, windowMs), 1);
  assertEquals(board.lostBytes, 10);
  assertEquals(detectLoss(rack, board, 26, windowMs), 0);
  assertEquals([board.lostBytes, board.nextLost()!.seq], [20, 0]);
});

Deno.test("Rack.windowMs() is nothing after three SACKed segments while no reordering was seen (RFC 8985 6.2)", () => {
  const { rack, rtt, arrive } = flight(50);
  assertEquals(rack.windowMs(rtt, { inRecovery: false, segmentsSacked: 3 }), 0);
  assertEquals(rack.windowMs(rtt, { inRecovery: true, segmentsSacked: 0 }), 0);
  arrive(20, 22);
  arrive(10, 23);
  assertEquals(rack.reordering, true);
  assertEquals(rack.windowMs(rtt, { inRecovery: true, segmentsSacked: 9 }), 5);
});

Deno.test("Rack widens its window with a D-SACK, to a round trip at most, and narrows it after 16 recoveries", () => {
  const { rack, rtt } = flight(0);
  rack.reordering = true;
  rack.onDsack(0, 100);
  rack.onDsack(50, 120);
  assertEquals(rack.windowMs(rtt, FACTS), 10);
  rack.onDsack(100, 200);
  rack.onDsack(200, 300);
  rack.onDsack(300, 400);
  assertEquals(rack.windowMs(rtt, FACTS), 20);
  for (let i = 0; i < 16; i++) rack.onRecovered();
  assertEquals(rack.windowMs(rtt, FACTS), 5);
});

Deno.test("detectLoss() finds a lost retransmission by what was sent after it, even in the same millisecond", () => {
  const { board, rack, arrive } = flight(50);
  board.markLost(board.head!);
  board.append(50, 60, 25);
  board.sentAgain(board.head!, 25);
  board.append(60, 70, 25);
  arrive(50, 45);
  detectLoss(rack, board, 45, 0);
  assertEquals(board.nextLost()?.seq, 10, "sent before the retransmission: says nothing of it, but of the others");
  const { board: later, rack: rack2, arrive: arrive2 } = flight(50);
  later.markLost(later.head!);
  later.sentAgain(later.head!, 25);
  later.append(50, 60, 25);
  arrive2(50, 45);
  detectLoss(rack2, later, 45, 0);
  assertEquals(later.nextLost()?.seq, 0);
});

Deno.test("Rack.update() does not believe a retransmission that arrived too soon, or an older echo", () => {
  const delivery = new Delivery();
  const { board, rack, rtt } = flight(20);
  board.markAllLost();
  board.sentAgain(board.head!, 30);
  board.acknowledge(10, delivery);
  rack.update(delivery, rtt, 35, -1);
  assertEquals(rack.xmitMs, -1);
  rack.update(delivery, rtt, 60, 5);
  assertEquals(rack.xmitMs, -1);
  rack.update(delivery, rtt, 60, 30);
  assertEquals([rack.xmitMs, rack.rttMs], [30, 30]);
});

Deno.test("probeTimeoutMs() is two round trips, and more for a lone segment (RFC 8985 7.2)", () => {
  const rtt = new Rtt();
  assertEquals(probeTimeoutMs(rtt, false), 1000);
  rtt.sample(100, 0);
  assertEquals([probeTimeoutMs(rtt, false), probeTimeoutMs(rtt, true)], [202, 400]);
});
