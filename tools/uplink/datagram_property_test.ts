/**
 * UDP and ping over the uplink, in any order: each answer reaches the port that asked, once and unaltered; each error
 * is about what was sent, from who said so; and every socket is given back.
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { get32, put32 } from "../../kernel/wire/bytes.ts";
import { fuzzSteps, sequences } from "../../tests/kit/check/fuzz.ts";
import { pattern } from "../../tests/kit/ip/ip_fixture.ts";
import { type DatagramWorld, datagramWorld } from "../../tests/kit/uplink/datagram_world.ts";
import { ECHOES, type FakePeer, type Sent } from "../../tests/kit/uplink/fake_peer.ts";
import { type Link, LINKS, type Seen } from "../../tests/kit/uplink/link_families.ts";

/** Kinds of peers; the last number of their address is their place in the list. */
const KINDS = ["quick", "slow", "dead", "silent", "closed", "narrow", "hole"] as const;
type Kind = typeof KINDS[number];

/** Callers of the forward. */
const CALLERS = 3;
const FORWARDED = 53;

interface Step {
  readonly op: "udp" | "echo" | "call" | "answer" | "wait" | "room" | "fds" | "evict" | "stray";
  readonly link: Link;
  readonly kind: Kind;
  /** A port, an identifier or a caller. */
  readonly who: number;
  readonly count: number;
  readonly size: number;
  readonly isWhole: boolean;
  readonly ms: number;
}

const steps: fc.Arbitrary<Step> = fc.record({
  op: fc.constantFrom("udp", "udp", "udp", "echo", "call", "answer", "wait", "room", "fds", "evict", "stray"),
  link: fc.constantFrom(...LINKS).map((link): Link => ({ ...link, [fc.toStringMethod]: () => link.name } as Link)),
  kind: fc.constantFrom(...KINDS),
  who: fc.nat(5),
  count: fc.integer({ min: 1, max: 70 }),
  size: fc.nat(900),
  isWhole: fc.boolean(),
  ms: fc.constantFrom(0, 1, 10, 40, 1000, 31_000, 61_000, 301_000),
});

/** Steps that take something away, so that answers may be lost. */
const HARSH: ReadonlySet<Step["op"]> = new Set(["room", "fds", "evict"]);

/** A question of near, by the number in its first four bytes. */
interface Question {
  readonly what: string;
  readonly dst: string;
  readonly kind: Kind | "caller";
  readonly payload: Uint8Array;
  answers: number;
  errors: number;
  sent: number;
}

/** A world with its peers, what was asked, and the checks. */
class Model {
  readonly world: DatagramWorld = datagramWorld();
  readonly asked: Question[] = [];
  readonly #calls: { readonly src: string; readonly payload: Uint8Array; seen: number }[] = [];

  constructor() {
    for (const link of LINKS) {
      for (const kind of KINDS) this.world.fake.peer(addressOf(link, kind), peerOf(link, kind));
      this.world.relay.openForward({
        version: link.version,
        address: null,
        port: 8053,
        toPort: FORWARDED,
        toVersion: link.version,
      });
    }
  }

  step({ op, link, kind, who, count, size, isWhole, ms }: Step): void {
    const { world } = this;
    const dst = addressOf(link, kind);
    if (op === "udp") {
      const srcPort = 4000 + who;
      const questions = Array.from({ length: count }, () => this.#ask(`${srcPort} > 9`, dst, kind, size));
      world.udp(...questions.map((payload) => link.udp({ srcPort, dst, payload, isWhole })));
    } else if (op === "echo") {
      const payload = this.#ask(`${who} ${count}`, dst, kind, size);
      world.echo(link.echo({ id: who, seq: count, dst, payload, isWhole }));
    } else if (op === "call") {
      const payload = numbered(this.#calls.length, size);
      const caller = callerOf(link, who);
      this.#calls.push({ src: caller, payload, seen: 0 });
      world.fake.arrive(`${caller}!7000`, `${link.own}!8053`, { payload });
    } else if (op === "answer") {
      const caller = callerOf(link, who);
      const payload = this.#ask(`${FORWARDED} > 7000`, caller, "caller", size);
      world.udp(link.udp({ srcPort: FORWARDED, dstPort: 7000, dst: caller, payload }));
    } else if (op === "stray") {
      world.fake.arrive(`${link.other}!1`, `${link.own}!${4000 + who}`, { payload: numbered(0xffffffff, size) });
    } else if (op === "wait") world.clock.advance(ms);
    else if (op === "evict") world.relay.evict();
    else if (op === "fds") world.fake.descriptorsMax = who < 4 ? 3 + who : Infinity;
    else if (who < 2) world.fake.room = who * 5;
    else world.fake.unblock();
    this.check();
  }

  /** Reads what near got and what was sent since the last look. */
  check(): void {
    for (const seen of this.world.seen()) {
      if (seen.kind === "error") this.#checkError(seen);
      else if (seen.what.endsWith(`> ${FORWARDED}`)) this.#checkCall(seen);
      else if (!isStray(seen)) this.#checkAnswer(seen);
    }
    for (const sent of this.world.fake.sent.splice(0)) this.#checkSent(sent);
  }

  /** Of questions that had an answer, each must have come: nothing was short. */
  checkAnswered(): void {
    this.world.clock.advance(100);
    this.check();
    for (const { kind, answers, errors, what } of this.asked) {
      if (kind === "quick" || kind === "slow") assertEquals(answers, 1, `answers of ${kind} to ${what}`);
      else assertEquals(answers, 0);
      if (kind === "closed") assertEquals(errors, 1, `errors about ${what}`);
    }
    assert(this.#calls.every(({ seen }) => seen === 1));
  }

  #ask(what: string, dst: string, kind: Question["kind"], size: number): Uint8Array {
    const payload = numbered(this.asked.length, size);
    this.asked.push({ what, dst, kind, payload, answers: 0, errors: 0, sent: 0 });
    return payload;
  }

  #question(payload: Uint8Array): Question {
    const question = this.asked[get32(payload, 0)];
    assert(question !== undefined, "nothing like it was asked");
    return question;
  }

  #checkAnswer({ kind, src, what, payload }: Seen): void {
    const question = this.#question(payload);
    const isEcho = kind === "reply";
    const [from, to] = question.what.split(" > ");
    assertEquals([src, what], [question.dst, isEcho ? question.what : `${to} > ${from}`]);
    assertEquals(payload, question.payload);
    assertEquals(++question.answers, 1, "an answer is there once");
  }

  #checkCall({ src, payload, what }: Seen): void {
    const call = this.#calls[get32(payload, 0)]!;
    assertEquals([src, what], [call.src, `7000 > ${FORWARDED}`]);
    assertEquals(payload, call.payload);
    assertEquals(++call.seen, 1);
  }

  #checkError({ src, what, quoted, dst }: Seen): void {
    assert(quoted !== null);
    const question = this.#question(quoted.payload);
    const link = LINKS.find(({ near }) => near === dst)!;
    assertEquals([quoted.src, quoted.dst, quoted.what], [link.near, question.dst, question.what]);
    const { length } = quoted.payload;
    assertEquals(quoted.payload, question.payload.slice(0, length));
    const said: Record<string, [string, string]> = {
      dead: [question.dst, link.codes.port],
      closed: [link.peer, link.codes.prohibited],
      narrow: [link.peer, link.codes.tooBig],
    };
    assertEquals([src, what], said[question.kind] ?? [], `an error about ${question.kind}`);
    assertEquals(++question.errors, 1, "an error is there once");
  }

  #checkSent({ kind, to, payload }: Sent): void {
    const question = this.#question(kind === "echo" ? payload.slice(8) : payload);
    const port = kind === "echo" ? "0" : question.what.split(" > ")[1]!;
    assertEquals(to, `${question.dst}!${port}`);
    assertEquals(kind === "echo" ? payload.slice(8) : payload, question.payload);
    assertEquals(++question.sent, 1, "a datagram is sent once");
  }
}

/** Bytes that begin with `number`. */
function numbered(number: number, size: number): Uint8Array {
  const payload = pattern(4 + size, number);
  put32(payload, 0, number);
  return payload;
}

function isStray({ payload }: Seen): boolean {
  return get32(payload, 0) === 0xffffffff;
}

function addressOf({ version }: Link, kind: Kind): string {
  const last = 10 + KINDS.indexOf(kind);
  return version === 4 ? `192.0.2.${last}` : `2001:db8:9::${last}`;
}

function callerOf({ version }: Link, who: number): string {
  return version === 4 ? `192.0.2.${100 + who % CALLERS}` : `2001:db8:9::${100 + who % CALLERS}`;
}

function peerOf(link: Link, kind: Kind): FakePeer {
  const [type, code] = link.codes.port.split("/").map(Number);
  const byMachine = { size: link.version === 4 ? 500 : 1280, by: null };
  return {
    quick: ECHOES,
    slow: { ...ECHOES, delayMs: 40 },
    dead: { error: { type: type!, code: code!, offender: addressOf(link, "dead") }, delayMs: 10 },
    silent: {},
    closed: { refusal: "EPERM" as const },
    narrow: { mtu: byMachine },
    hole: { refusal: "EINVAL" as const },
  }[kind];
}

Deno.test("any sequence: answers reach who asked, once and unaltered, and nothing leaks", () => {
  fc.assert(
    fc.property(fc.boolean(), sequences(steps), (isCalm, all) => {
      const model = new Model();
      for (const step of all) if (!isCalm || !HARSH.has(step.op)) model.step(step);
      // More errors than the rate allows are not sent.
      if (isCalm && model.world.counters.icmpErrorsLimited === 0) model.checkAnswered();
      model.world.fake.descriptorsMax = Infinity;
      model.world.end();
    }),
    fuzzSteps(4000),
  );
});
