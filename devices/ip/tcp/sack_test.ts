import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../../tests/kit/check/fuzz.ts";
import * as seq from "../../../kernel/wire/seq.ts";
import { Delivery, Scoreboard, type Sent, SENT_MAX } from "./sack.ts";

const delivery = new Delivery();

/** `10-20` for each record, with `s` SACKed, `l` lost, `r` sent again. */
function records(board: Scoreboard): string {
  const parts: string[] = [];
  for (let sent: Sent | null = board.head; sent !== null; sent = sent.next) {
    const marks = (sent.sacked ? "s" : "") + (sent.lost ? "l" : "") + (sent.resent ? "r" : "");
    parts.push(`${sent.seq}-${sent.end}${marks}`);
  }
  return parts.join(" ");
}

function sentTo(end: number, size = 10): Scoreboard {
  const board = new Scoreboard();
  board.clear(0);
  for (let at = 0; at < end; at += size) board.append(at, at + size, at);
  delivery.clear();
  return board;
}

Deno.test("Scoreboard keeps one record a send and splits it where a SACK block ends", () => {
  const board = sentTo(40, 40);
  board.sack([{ left: 10, right: 20 }, { left: 30, right: 35 }], 0, 40, delivery);
  assertEquals(records(board), "0-10 10-20s 20-30 30-35s 35-40");
  assertEquals([board.sackedBytes, delivery.bytes, board.fack], [15, 15, 35]);
  board.sack([{ left: 10, right: 35 }], 0, 40, delivery);
  assertEquals(records(board), "0-10 10-35s 35-40");
  board.acknowledge(37, delivery);
  assertEquals([records(board), board.sackedBytes, board.count], ["37-40", 0, 1]);
});

Deno.test("Scoreboard ignores blocks that are empty, backwards, beyond what was sent, or begin before snd.una", () => {
  const board = sentTo(40);
  board.acknowledge(10, delivery);
  const blocks = [{ left: 20, right: 20 }, { left: 30, right: 20 }, { left: 30, right: 41 }, { left: 5, right: 30 }];
  board.sack(blocks, 10, 40, delivery);
  assertEquals([records(board), board.sackedBytes, delivery.dsack], ["10-20 20-30 30-40", 0, false]);
});

Deno.test("Scoreboard knows a D-SACK: below snd.una, or inside the second block (RFC 2883 4)", () => {
  const board = sentTo(60);
  board.acknowledge(20, delivery);
  board.sack([{ left: 0, right: 10 }], 20, 60, delivery);
  assertEquals([delivery.dsack, delivery.dsackEnd, board.sackedBytes], [true, 10, 0]);
  delivery.clear();
  board.sack([{ left: 40, right: 50 }, { left: 30, right: 60 }], 20, 60, delivery);
  assertEquals([delivery.dsack, delivery.dsackEnd, board.sackedBytes], [true, 50, 30]);
});

Deno.test("Scoreboard.pipe() counts what is lost not at all and what was sent again once (RFC 6675 4)", () => {
  const board = sentTo(50);
  board.sack([{ left: 20, right: 30 }], 0, 50, delivery);
  assertEquals(board.pipe(50), 40);
  board.markLost(board.head!);
  board.markLost(board.head!.next!);
  assertEquals(board.pipe(50), 20);
  board.sentAgain(board.nextLost()!, 99);
  assertEquals([records(board), board.pipe(50)], ["0-10lr 10-20l 20-30s 30-40 40-50", 30]);
  board.markLost(board.head!);
  assertEquals([board.pipe(50), board.nextLost()!.seq], [20, 0]);
});

Deno.test("Scoreboard notices that something sent before arrived after (RFC 8985 6.2)", () => {
  const board = sentTo(40);
  board.sack([{ left: 20, right: 30 }], 0, 40, delivery);
  assertEquals([delivery.reordered, delivery.onceMs, delivery.onceEnd], [false, 20, 30]);
  delivery.clear();
  board.acknowledge(10, delivery);
  assertEquals([delivery.reordered, delivery.onceMs], [true, 0]);
});

Deno.test("Scoreboard.renege() takes all SACKs back (RFC 2018 8)", () => {
  const board = sentTo(30);
  board.sack([{ left: 0, right: 20 }], 0, 30, delivery);
  board.renege();
  board.markAllLost();
  assertEquals([records(board), board.sackedBytes, board.lostBytes], ["0-20l 20-30l", 0, 30]);
});

Deno.test("Scoreboard splits no more once it has SENT_MAX records", () => {
  const board = sentTo(40_000, 40_000);
  for (let left = 1; left < 40_000; left += 2) board.sack([{ left, right: left + 1 }], 0, 40_000, delivery);
  assert(board.count <= SENT_MAX);
});

Deno.test("Scoreboard says of every byte what a plain array says, around the wrap too", () => {
  const step = fc.record({ kind: fc.nat(4), a: fc.nat(120), b: fc.nat(40) });
  const states = fc.constantFrom(0, 0xffff_ffc0, 0x7fff_ffe0);
  fc.assert(
    fc.property(states, fc.array(step, { maxLength: 50 }), (base, steps) => {
      const board = new Scoreboard();
      board.clear(base);
      /** ` ` in flight, s, l, r. */
      let model: string[] = [];
      let una = 0;
      for (const { kind, a, b } of steps) {
        delivery.clear();
        const nxt = una + model.length;
        if (kind === 0) {
          board.append(seq.add(base, nxt), seq.add(base, nxt + b + 1), a);
          model.push(...new Array<string>(b + 1).fill(" "));
        } else if (kind === 1) {
          const to = Math.min(nxt, una + a);
          board.acknowledge(seq.add(base, to), delivery);
          model = model.slice(to - una);
          una = to;
        } else if (kind === 2) {
          const left = Math.min(nxt, una + a);
          const right = Math.min(nxt, left + b);
          const block = { left: seq.add(base, left), right: seq.add(base, right) };
          board.sack([block], seq.add(base, una), seq.add(base, nxt), delivery);
          for (let i = left; i < right; i++) model[i - una] = "s";
        } else if (kind === 3) {
          let index = a % 4;
          for (let sent = board.head; sent !== null; sent = sent.next) {
            if (index-- !== 0) continue;
            board.markLost(sent);
            const from = (sent.seq - base - una) >>> 0;
            for (let i = 0; i < sent.length; i++) if (model[from + i] !== "s") model[from + i] = "l";
          }
        } else {
          const lost = board.nextLost();
          const first = model.indexOf("l");
          assertEquals(lost === null ? -1 : (lost.seq - base - una) >>> 0, first);
          if (lost === null) continue;
          board.sentAgain(lost, a);
          model.fill("r", first, first + lost.length);
        }
        const count = (...marks: string[]) => model.filter((mark) => marks.includes(mark)).length;
        assertEquals(
          [board.sackedBytes, board.lostBytes, board.resentBytes],
          [count("s"), count("l", "r"), count("r")],
        );
        assertEquals(board.pipe(model.length), count(" ", "r"));
      }
    }),
    fuzz(150),
  );
});
