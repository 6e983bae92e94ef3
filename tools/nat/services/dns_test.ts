/** The relay: each question goes to the servers in their order, and each answer to its question. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { put16 } from "../../../kernel/wire/bytes.ts";
import { relayLab } from "../../../tests/kit/nat/dns_relay.ts";
import { dnsQuestion, dnsReply } from "../../../tests/kit/nat/dns_relay.ts";
import { fuzz } from "../../../tests/kit/check/fuzz.ts";
import { ip } from "../../../tests/kit/ip/ip_fixture.ts";
import { damaged } from "../../../tests/kit/ip/wire.ts";
import { ASKER_MAX, PENDING_MAX, QUESTION_MAX } from "./dns.ts";
import { DEAD_MS, DNS_PATIENCE } from "./dns_servers.ts";

const A = "9.9.9.1";
const B = "2001:db8::53";
const C = "9.9.9.3";

Deno.test("resolv.conf(5): twenty questions at once all go to the first server, and each gets its answer", () => {
  const lab = relayLab([A, B]);
  for (let i = 0; i < 20; i++) lab.ask(dnsQuestion(`n${i}.test`, { id: i }), lab.asker(4000 + i));
  assertEquals(lab.order, new Array(20).fill(A));
  for (const one of [...lab.sent].reverse()) lab.answer(one);
  const got = lab.got.map(({ port, message }) => ({ port, id: message.id, name: message.questions[0]!.name }));
  const want = Array.from({ length: 20 }, (_, i) => ({ port: 4000 + i, id: i, name: `n${i}.test` }));
  assertEquals(got, want.reverse());
  assertEquals(lab.relay.size, 0);
});

Deno.test("resolv.conf(5): a silent first server: each of twenty questions moves on after the time-out", () => {
  const lab = relayLab([A, B], { timeoutMs: 1000 });
  for (let i = 0; i < 20; i++) lab.ask(dnsQuestion(`n${i}.test`, { id: i }), lab.asker(4000 + i));
  lab.wait(999);
  assertEquals(lab.sent.length, 20);
  lab.wait(1);
  assertEquals(lab.order.slice(20), new Array(20).fill(B));
  for (const one of lab.sent.slice(20)) lab.answer(one);
  assertEquals(lab.got.map(({ port }) => port), Array.from({ length: 20 }, (_, i) => 4000 + i));
  // The next question does not wait for the dead one.
  lab.ask("next.test");
  assertEquals(lab.order.at(-1), B);
});

Deno.test("A dead server is tried again beside the one that answers, and is the first again once it answers", () => {
  const lab = relayLab([A, B], { timeoutMs: 1000 });
  lab.ask("one.test");
  lab.wait(1000);
  lab.answer(lab.sent.at(-1)!);
  lab.wait(DEAD_MS - 1);
  lab.ask("two.test");
  assertEquals(lab.order.slice(2), [B]);
  lab.answer(lab.sent.at(-1)!);
  lab.wait(1);
  lab.ask("three.test");
  assertEquals(lab.order.slice(3), [B, A]);
  lab.answer(lab.sent[3]!);
  assertEquals(lab.got.length, 3);
  lab.ask("four.test", lab.asker(4001));
  assertEquals(lab.order.slice(5), [B], "one question is enough to try");
  lab.answer(lab.sent[5]!);
  // It answers late, and to a question that was answered: the answer is dropped, but the server is alive.
  lab.answer(lab.sent[4]!);
  assertEquals([lab.got.length, lab.relay.size], [4, 0]);
  lab.ask("five.test");
  assertEquals(lab.order.at(-1), A);
});

Deno.test("attempts: all servers are asked in turn that often, then the guest hears SERVFAIL", () => {
  const lab = relayLab([A, B, C], { timeoutMs: 100, attempts: 2 });
  lab.ask(dnsQuestion("x.test", { edns: 0 }));
  lab.wait(599);
  assertEquals([lab.order, lab.got.length], [[A, B, C, A, B, C], 0]);
  lab.wait(1);
  assertEquals(lab.got.map(({ message }) => [message.rcode, message.additionals.length]), [[2, 1]]);
  assertEquals(lab.relay.nextDeadline(), Infinity);
});

Deno.test("A server that refuses, or cannot be sent to, is left at once", () => {
  const lab = relayLab([A, B, C]);
  lab.unreachable.add(A);
  lab.ask("x.test");
  assertEquals(lab.order, [B]);
  lab.relay.lost(lab.sent[0]!.place, lab.now);
  lab.relay.run(lab.now);
  assertEquals(lab.order, [B, C]);
  lab.answer(lab.sent[1]!);
  assertEquals([lab.got.length, lab.relay.size], [1, 0]);
  // It has answered others there, and closed: it is asked again.
  lab.ask("y.test");
  lab.relay.lost(lab.sent[2]!.place, lab.now, true);
  lab.relay.run(lab.now);
  assertEquals(lab.order.slice(2), [C, C]);
  const none = relayLab([A]);
  none.unreachable.add(A);
  none.ask("x.test");
  assertEquals(none.got.map(({ message }) => message.rcode), [2]);
});

Deno.test("SERVFAIL, NOTIMP and REFUSED send a question to the next server; NXDOMAIN and FORMERR are answers", () => {
  for (const [rcode, asksNext] of [[2, true], [4, true], [5, true], [3, false], [1, false], [0, false]] as const) {
    const lab = relayLab([A, B]);
    lab.ask("x.test");
    lab.answer(lab.sent[0]!, { rcode });
    assertEquals({ rcode, order: lab.order }, { rcode, order: asksNext ? [A, B] : [A] });
    if (asksNext) lab.wait(DNS_PATIENCE.timeoutMs);
    assertEquals(lab.got.map(({ message }) => message.rcode), [rcode], "the answer that there was");
  }
});

Deno.test("A guest that repeats its question does not wait: the next server is asked, and one answer comes", () => {
  const lab = relayLab([A, B]);
  lab.ask("x.test");
  lab.ask("x.test");
  assertEquals([lab.order, lab.relay.size], [[A, B], 1]);
  lab.answer(lab.sent[0]!);
  lab.answer(lab.sent[1]!);
  assertEquals([lab.got.length, lab.relay.counters.unmatched], [1, 1]);
  // Another port, id, or name is another question.
  for (
    const [query, port] of [[dnsQuestion("x.test"), 1], [dnsQuestion("y.test"), 2], [
      dnsQuestion("y.test", { id: 8 }),
      2,
    ]] as const
  ) {
    lab.ask(query, lab.asker(port));
  }
  assertEquals(lab.relay.size, 3);
});

Deno.test("RFC 5452: an answer counts only from where it was asked, with its id, its question, as a response", () => {
  const lab = relayLab([A]);
  lab.ask(dnsQuestion("one.test", { id: 1 }));
  lab.ask(dnsQuestion("two.test", { id: 2 }));
  const [one, two] = [lab.sent[0]!, lab.sent[1]!];
  const lies: [string, typeof one, Uint8Array][] = [
    ["another id", one, put(dnsReply(one.message), 0, one.message[0]! ^ 0x55)],
    ["the other question's socket", two, dnsReply(one.message)],
    ["another name", one, dnsReply(put(dnsQuestion("bad.test"), 0, one.message[0]!, one.message[1]!))],
    ["another type", one, dnsReply(put(dnsQuestion("one.test", { type: 28 }), 0, one.message[0]!, one.message[1]!))],
    ["no response", one, one.message],
    ["another operation", one, dnsReply(one.message, { opcode: 4 })],
    ["too short", one, one.message.slice(0, 11)],
  ];
  for (const [what, { place }, message] of lies) {
    lab.relay.answered(place, message, lab.now);
    assertEquals({ what, got: lab.got.length }, { what, got: 0 });
  }
  assertEquals(lab.relay.counters.unmatched, lies.length);
  // A server that could not read the question need not repeat it; case may change on the way (RFC 4343).
  lab.answer(one, { rcode: 1, questions: [], answers: [] });
  lab.answer(two, { questions: [{ name: "TWO.test", type: 1, class: 1 }] });
  assertEquals(lab.got.map(({ message }) => message.id), [1, 2]);
});

function put(bytes: Uint8Array, at: number, ...values: number[]): Uint8Array {
  bytes.set(values, at);
  return bytes;
}

Deno.test("Every question has an id of its own on the way, drawn at random; no other byte is changed", () => {
  const lab = relayLab([A]);
  const query = dnsQuestion("x.test", { id: 0x1234, edns: 0, type: 65280 });
  for (let port = 1; port <= 100; port++) lab.ask(query.slice(), lab.asker(port));
  const ids = new Set(lab.sent.map(({ message }) => message[0]! << 8 | message[1]!));
  assertEquals(ids.size, 100);
  const steps = [...ids].slice(1).map((id, i) => id - [...ids][i]!);
  assert(new Set(steps).size > 90, "no counter");
  for (const { message } of lab.sent) assertEquals(message.slice(2), query.slice(2));
});

Deno.test("Over TCP a question is asked over TCP; a zone transfer is many messages, and ends with silence", () => {
  const lab = relayLab([A, B], { timeoutMs: 100 });
  lab.ask(dnsQuestion("x.test", { type: 252 }), lab.asker(1, true));
  const [one] = lab.sent;
  assertEquals([one!.server, one!.byTcp], [A, true]);
  for (let i = 0; i < 5; i++) {
    lab.answer(one!);
    lab.wait(99);
  }
  assertEquals([lab.got.length, lab.relay.size], [5, 1]);
  lab.wait(1);
  assertEquals([lab.relay.size, lab.order], [0, [A]]);
});

Deno.test("The tables have bounds: of one guest its oldest question goes, of all the oldest", () => {
  const lab = relayLab([A]);
  for (let port = 0; port <= ASKER_MAX; port++) lab.ask("x.test", lab.asker(port));
  assertEquals([lab.relay.size, lab.got.map(({ port, message }) => [port, message.rcode])], [ASKER_MAX, [[0, 2]]]);
  const owners = Array.from({ length: 5 }, () => ({}));
  for (const owner of owners) {
    for (let port = 0; port < ASKER_MAX; port++) lab.ask("x.test", lab.asker(port, false, owner));
  }
  assertEquals(lab.relay.size, PENDING_MAX);
  lab.wait(10 * DNS_PATIENCE.timeoutMs);
  assertEquals([lab.relay.size, lab.got.length], [0, 1 + 6 * ASKER_MAX]);
  lab.ask(new Uint8Array(QUESTION_MAX + 1));
  assertEquals(lab.relay.counters.dropped, 1);
});

Deno.test("New servers take over questions that wait, and what is known of one that stays is kept", () => {
  const lab = relayLab([A, B], { timeoutMs: 100 });
  lab.ask("x.test");
  lab.wait(100);
  lab.relay.setServers([A, C].map(ip), { timeoutMs: 200, attempts: 1 });
  lab.wait(100);
  assertEquals(lab.order, [A, B, C]);
  lab.answer(lab.sent[2]!);
  lab.ask("y.test");
  assertEquals(lab.order.at(-1), C, "A is dead");
  lab.relay.setServers([], DNS_PATIENCE);
  lab.ask("z.test", lab.asker(9));
  assertEquals(lab.got.at(-1)!.message.rcode, 2);
  assertEquals(lab.relay.servers.list.map(String), []);
});

Deno.test("Who goes away is forgotten, with what it asked", () => {
  const lab = relayLab([A]);
  const asker = lab.asker(1, true);
  for (let id = 0; id < 9; id++) lab.ask(dnsQuestion("x.test", { id }), asker);
  lab.relay.forget(asker);
  assertEquals([lab.relay.size, lab.releases, lab.got.length], [0, 9, 0]);
  lab.answer(lab.sent[0]!);
  assertEquals(lab.got.length, 0);
});

Deno.test("Whatever guests and servers send, nothing throws, and every question comes to an end", () => {
  const query = dnsQuestion("x.test", { edns: 0 });
  const bytes = fc.oneof(damaged(query), fc.uint8Array({ maxLength: 60 }));
  const step = fc.oneof(
    fc.record({ do: fc.constant("ask" as const), bytes, port: fc.nat(3), byTcp: fc.boolean() }),
    fc.record({ do: fc.constant("answer" as const), bytes, which: fc.nat(20), isFit: fc.boolean() }),
    fc.record({ do: fc.constant("lost" as const), which: fc.nat(20) }),
    fc.record({ do: fc.constant("wait" as const), ms: fc.nat(40_000) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const lab = relayLab([A, B]);
      for (const one of steps) {
        if (one.do === "ask") lab.ask(one.bytes.slice(), lab.asker(one.port, one.byTcp));
        else if (one.do === "wait") lab.wait(one.ms);
        else if (lab.sent.length > 0) {
          const { place, message } = lab.sent[one.which % lab.sent.length]!;
          if (one.do === "lost") lab.relay.lost(place, lab.now);
          else {
            const fit = one.bytes.slice();
            if (one.isFit && fit.length >= 2) put16(fit, 0, message[0]! << 8 | message[1]!);
            lab.relay.answered(place, fit, lab.now);
          }
          lab.relay.run(lab.now);
        }
      }
      lab.wait(100_000);
      assertEquals([lab.relay.size, lab.relay.nextDeadline()], [0, Infinity]);
      assert(lab.sent.every(({ place }) => place.ids.size === 0));
    }),
    fuzz(100),
  );
});
