/**
 * Names behind the NAT, with whole kernels as guest, host and name servers: two doors, both versions of IP, several
 * servers of which some are silent.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { SeededRandom } from "../../../kernel/random.ts";
import { get16 } from "../../../kernel/wire/bytes.ts";
import type { DnsMessage } from "../../../kernel/wire/dns.ts";
import { boot, type Host } from "../../../tools/boot/boot.ts";
import { CONNS_PER_GUEST } from "../../../tools/nat/names.ts";
import type { NatOptions } from "../../../tools/nat/nat.ts";
import { NatProgram } from "../../../tools/nat/program.ts";
import { UDP_PER_SERVER } from "../../../tools/nat/services/dns_sockets.ts";
import { dnsQuestion, dnsRead, dnsReply } from "../../kit/nat/dns_relay.ts";
import { GuestPort } from "../../kit/nat/guest_port.ts";
import { advance, User, type UserConv } from "../../kit/ip/story.ts";
import { addIpv6, PEER6, US6 } from "../../kit/ip/story6.ts";
import { accept, call, stateOf } from "../../kit/tcp/story.ts";
import { DNS, GUEST, HOST, ROUTER } from "../../kit/nat/nat.ts";

const FIRST = "10.0.0.2";
const SECOND = "10.0.0.3";
const DNS6 = "fd00:0:0:2::3";
const ROUND_MS = 20;
/** Bytes before a datagram's data on a conversation with headers. */
const HEADER = 52;

/** A name server that answers on demand. */
class NameServer {
  readonly udp: UserConv;
  readonly tcp: UserConv;
  readonly #calls: { conv: UserConv; rest: Uint8Array }[] = [];
  /** Names that were asked, and from where. */
  readonly asked: string[] = [];
  readonly ports = new Set<number>();
  isSilent = false;

  constructor(readonly user: User) {
    this.udp = user.conv("udp", "headers", "announce 53");
    this.tcp = user.conv("tcp", "announce 53");
  }

  /** Answers what has come. */
  serve(): void {
    for (let record = this.udp.read(); record !== null; record = this.udp.read()) {
      this.ports.add(get16(record, 48));
      const reply = this.#reply(record.subarray(HEADER));
      if (reply !== null) this.udp.bwrite(new Uint8Array([...record.subarray(0, HEADER), ...reply]));
    }
    for (let left = Number(this.user.text(`${this.tcp.dir}/status`).includes("Listen")); left > 0; left--) {
      const taken = tryAccept(this.tcp);
      if (taken !== null) this.#calls.push({ conv: taken, rest: new Uint8Array(0) });
    }
    for (const one of this.#calls) this.#serveCall(one);
  }

  #serveCall(one: { conv: UserConv; rest: Uint8Array }): void {
    const part = one.conv.read();
    if (part === null) return;
    one.rest = new Uint8Array([...one.rest, ...part]);
    while (one.rest.length >= 2 && one.rest.length >= 2 + get16(one.rest, 0)) {
      const reply = this.#reply(one.rest.slice(2, 2 + get16(one.rest, 0)));
      one.rest = one.rest.slice(2 + get16(one.rest, 0));
      if (reply !== null) one.conv.bwrite(framed(reply));
    }
  }

  #reply(query: Uint8Array): Uint8Array | null {
    this.asked.push(dnsRead(query).questions[0]!.name);
    return this.isSilent ? null : dnsReply(query);
  }
}

function tryAccept(listener: UserConv): UserConv | null {
  try {
    return accept(listener);
  } catch {
    return null;
  }
}

function framed(message: Uint8Array): Uint8Array {
  return new Uint8Array([message.length >> 8, message.length & 255, ...message]);
}

/** Sends a query to `at`; the function that it returns takes the answer, or null if none has come. */
type Query = (at: string, query: Uint8Array) => () => DnsMessage | null;

/** Queries of the guest over either protocol. */
function queriesOf(host: Host, guest: User): Record<"udp" | "tcp", Query> {
  return {
    udp: (at, query) => {
      const conv = guest.conv("udp", `connect ${at}!53`, "ignoreadvice on");
      conv.bwrite(query);
      return () => {
        const block = conv.bread();
        return block === null ? null : dnsRead(block.bytes().slice());
      };
    },
    tcp: (at, query) => {
      const conv = call(guest, `${at}!53`);
      advance(host, ROUND_MS);
      conv.bwrite(framed(query));
      return () => {
        const bytes = conv.read();
        return bytes === null || bytes.length < 2 ? null : dnsRead(bytes.slice(2));
      };
    },
  };
}

/** A guest with addresses of both versions, and two name servers. */
async function tellNames(nat: Partial<NatOptions> = {}) {
  const host = await boot();
  const user = new User(host);
  addIpv6(user, US6);
  const hosts: Host[] = [];
  for (const addr of [FIRST, SECOND]) hosts.push(await host.neighbor({ address: `${addr}/24`, gateway: HOST }));
  const [one, two] = hosts.map((one) => new User(one)) as [User, User];
  addIpv6(two, PEER6);
  const [first, second] = [new NameServer(one), new NameServer(two)];
  const port = new GuestPort(host, 1500);
  const guest = new User(await host.neighbor({ port, address: `${GUEST}/24`, gateway: ROUTER }));
  const program = port.program = new NatProgram({
    proc: host.spawn("nat"),
    clock: host.clock,
    random: new SeededRandom(1),
    toGuest: (frame) => port.receive?.(frame),
    nat: { hostAddr: `${HOST}/24`, nameServers: [FIRST, SECOND], v6: { hostAddr: `${US6}/64` }, ...nat },
  });
  guest.command("/net/ipifc/1/ctl", "recvra6 on");
  advance(host, 4000);
  const round = () => {
    for (let i = 0; i < 6; i++) {
      advance(host, ROUND_MS);
      for (const one of [first, second]) one.serve();
    }
    advance(host, ROUND_MS);
  };
  return {
    host,
    user,
    guest,
    program,
    first,
    second,
    round,
    by: queriesOf(host, guest),
    async [Symbol.asyncDispose]() {
      program.close();
      await host.world.close();
    },
  };
}

const DOORS = [
  { door: "udp", at: DNS },
  { door: "tcp", at: DNS },
  { door: "udp", at: DNS6 },
  { door: "tcp", at: DNS6 },
] as const;

for (const { door, at } of DOORS) {
  Deno.test(`Both doors alike: our names by ${door} at ${at} have SOA, OPT and BADVERS, and stay here`, async () => {
    await using names = await tellNames();
    const ask = (name: string, options: Parameters<typeof dnsQuestion>[1] = {}) => {
      const take = names.by[door](at, dnsQuestion(name, options));
      names.round();
      const answer = take();
      assert(answer !== null, `${name} is not answered`);
      return answer;
    };
    const gateway = ask("gateway.internal", { edns: 0 });
    const [record] = gateway.answers;
    assertEquals(record!.data.kind === "addr" ? `${record!.data.addr}` : "", ROUTER);
    assertEquals([gateway.rcode, gateway.additionals.length], [0, 1]);
    const none = ask("absent.internal");
    assertEquals([none.rcode, none.authorities.map(({ type }) => type), none.additionals], [3, [6], []]);
    assertEquals(ask("gateway.internal", { edns: 1 }).additionals[0]!.ttl >>> 24, 1);
    assertEquals(ask("gateway.internal", { change: { opcode: 5 } }).rcode, 4);
    assertEquals([names.first.asked, names.second.asked], [[], []]);
    assertEquals(ask("example.com").answers.length, 1);
    assertEquals([names.first.asked, names.second.asked], [["example.com"], []]);
  });

  Deno.test(`A dead first server, by ${door} at ${at}: each of many questions finds the second`, async () => {
    await using names = await tellNames({ dnsPatience: { timeoutMs: 1000, attempts: 2 } });
    names.first.isSilent = true;
    const takes = Array.from({ length: 10 }, (_, i) => names.by[door](at, dnsQuestion(`n${i}.test`, { id: i })));
    names.round();
    assertEquals(names.first.asked.length, 10);
    advance(names.host, 1000);
    names.round();
    assertEquals(takes.map((take) => take()?.questions[0]?.name), Array.from({ length: 10 }, (_, i) => `n${i}.test`));
    const next = names.by[door](at, dnsQuestion("next.test"));
    names.round();
    assertEquals([next()?.id, names.first.asked.length], [7, 10], "it is not waited for again");
  });
}

Deno.test("A server that refuses, by ICMP or by a reset, costs no time", async () => {
  await using names = await tellNames({ nameServers: ["10.0.0.77", HOST, SECOND] });
  for (const { door, at } of DOORS) {
    const take = names.by[door](at, dnsQuestion("x.test"));
    // ARP finds that an address is unused.
    advance(names.host, 5000);
    names.round();
    assertEquals([door, at, take()?.answers.length], [door, at, 1]);
  }
});

Deno.test("Servers of IPv6 are asked by guests of IPv4, and the other way round", async () => {
  for (const nameServers of [[PEER6], [SECOND]]) {
    await using names = await tellNames({ nameServers });
    for (const { door, at } of DOORS) {
      const take = names.by[door](at, dnsQuestion("x.test"));
      names.round();
      assertEquals([nameServers, door, at, take()?.answers.length], [nameServers, door, at, 1]);
    }
  }
});

Deno.test("Each question has a port of its own, which is given back", async () => {
  await using names = await tellNames();
  for (let i = 0; i < 12; i++) {
    const take = names.by.udp(DNS, dnsQuestion(`n${i}.test`));
    names.round();
    assert(take() !== null);
  }
  assert(names.first.ports.size > 9, `${[...names.first.ports]}`);
  assertEquals(names.program.names.sizes, { conns: 0, sockets: 0 });
  assertEquals(names.program.nat.table.count(), 0);
});

Deno.test("A connection of many questions gets all answers; idle ones are closed, here and at the server", async () => {
  await using names = await tellNames();
  const conv = call(names.guest, `${DNS}!53`);
  advance(names.host, ROUND_MS);
  const questions = Array.from({ length: 5 }, (_, i) => framed(dnsQuestion(`n${i}.test`, { id: i })));
  const bytes = new Uint8Array(questions.flatMap((one) => [...one]));
  conv.bwrite(bytes.slice(0, 41));
  names.round();
  conv.bwrite(bytes.slice(41));
  names.round();
  const ids = [];
  const got = conv.read()!;
  for (let i = 0; i < got.length; i += 2 + get16(got, i)) ids.push(get16(got, i + 2));
  assertEquals(ids.sort(), [0, 1, 2, 3, 4]);
  assertEquals(names.program.names.sizes, { conns: 1, sockets: 1 });
  advance(names.host, 120_000);
  assertEquals(names.program.names.sizes, { conns: 0, sockets: 0 });
});

Deno.test("The relay's socket takes only guests' queries, and a bounded number of each guest", async () => {
  await using names = await tellNames();
  const { port } = names.program.nat.v4.nameServer!;
  const stranger = call(names.first.user, `${HOST}!${port}`);
  const program = call(names.user, `${HOST}!${port}`);
  names.round();
  assertEquals([stateOf(stranger), stateOf(program), names.program.names.sizes.conns], ["Closed", "Closed", 0]);
  const calls = Array.from({ length: CONNS_PER_GUEST + 4 }, () => call(names.guest, `${DNS}!53`));
  names.round();
  assertEquals(names.program.names.sizes.conns, CONNS_PER_GUEST);
  assertEquals(calls.filter((conv) => stateOf(conv) === "Established").length, CONNS_PER_GUEST);
});

Deno.test("A question gets SERVFAIL without any server, and without any answer", async () => {
  await using names = await tellNames({ nameServers: [] });
  for (const { door, at } of DOORS) {
    const take = names.by[door](at, dnsQuestion("example.com"));
    names.round();
    assertEquals([door, at, take()?.rcode], [door, at, 2]);
  }
  await using silent = await tellNames({ dnsPatience: { timeoutMs: 500, attempts: 1 } });
  silent.first.isSilent = silent.second.isSilent = true;
  const takes = DOORS.map(({ door, at }) => silent.by[door](at, dnsQuestion("example.com")));
  silent.round();
  advance(silent.host, 1200);
  silent.round();
  assertEquals(takes.map((take) => take()?.rcode), [2, 2, 2, 2]);
});

Deno.test("A flood of questions, answered or not, leaves no socket and no connection behind", async () => {
  await using names = await tellNames({ dnsPatience: { timeoutMs: 200, attempts: 1 } });
  names.first.isSilent = names.second.isSilent = true;
  const conv = names.guest.conv("udp", `connect ${DNS}!53`, "ignoreadvice on");
  for (let i = 0; i < 2000; i++) {
    conv.bwrite(dnsQuestion(`n${i}.test`, { id: i }));
    if (i % 50 === 0) advance(names.host, 1);
  }
  assert(names.program.names.sizes.sockets <= 2 * UDP_PER_SERVER, `${names.program.names.sizes.sockets}`);
  advance(names.host, 5000);
  assertEquals([names.program.nat.relay.size, names.program.names.sizes], [0, { conns: 0, sockets: 0 }]);
  assertMatch(names.program.command("stats"), /^dns 2000$/m);
});
