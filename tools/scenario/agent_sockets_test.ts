/**
 * The messages to and from the agent of a virtual machine, over a stream that is a fake.
 *
 * @module
 */

import { assertEquals, assertRejects } from "@std/assert";
import { VirtualClock } from "../../kernel/time.ts";
import { get32, put32 } from "../../kernel/wire/bytes.ts";
import { GONE, LATER, type StreamListener, type StreamSocket } from "../vmm/guests/guest.ts";
import { AgentChannel } from "./agent_channel.ts";
import { AgentSockets } from "./agent_sockets.ts";
import { Refused } from "./endpoint.ts";

/** The agent's end of the port. */
class FakeAgent implements StreamListener, StreamSocket {
  readonly fd = 9;
  readonly path = "/agent.sock";
  onClose: (() => void) | null = null;
  onReadable: ((max: number) => number) | null = null;
  onWritable: (() => void) | null = null;
  /** Bytes that are taken in one write; 0: none at the moment. */
  room = Infinity;
  isGone = false;
  #in: number[] = [];
  #out: number[] = [];
  #take: (stream: StreamSocket) => void = () => {};

  onConnection(take: (stream: StreamSocket) => void): void {
    this.#take = take;
  }

  connect(): void {
    this.#take(this);
  }

  /** Has the agent say something. */
  says(line: string, bytes: readonly number[] = []): void {
    const message = [...new TextEncoder().encode(`${line}\n`), ...bytes];
    const prefix = new Uint8Array(4);
    put32(prefix, 0, message.length);
    this.#in.push(...prefix, ...message);
    this.onReadable?.(64);
  }

  /** Lines that it has heard since, each with how many bytes came with it. */
  heard(): string[] {
    const lines: string[] = [];
    const bytes = new Uint8Array(this.#out);
    let at = 0;
    while (at < bytes.length) {
      const end = at + 4 + get32(bytes, at);
      const newline = bytes.indexOf(10, at);
      lines.push(`${new TextDecoder().decode(bytes.subarray(at + 4, newline))} +${end - newline - 1}`);
      at = end;
    }
    this.#out = [];
    return lines;
  }

  read(into: Uint8Array): number {
    if (this.isGone) return GONE;
    const bytes = this.#in.splice(0, into.length);
    into.set(bytes);
    return bytes.length === 0 ? LATER : bytes.length;
  }

  write(bytes: Uint8Array): number {
    const count = Math.min(bytes.length, this.room);
    this.#out.push(...bytes.subarray(0, count));
    return count === 0 ? LATER : count;
  }

  drain(): number {
    return 0;
  }

  awaitWritable(): void {}

  close(): void {}
}

function start(): { agent: FakeAgent; channel: AgentChannel; sockets: AgentSockets; clock: VirtualClock } {
  const agent = new FakeAgent();
  const clock = new VirtualClock();
  const channel = new AgentChannel(agent, { add: () => {} });
  const sockets = new AgentSockets(channel, clock, () => Promise.resolve(null));
  agent.connect();
  return { agent, channel, sockets, clock };
}

for (const [version, addr] of [[4, "192.0.2.1"], [6, "2001:db8::1"]] as const) {
  Deno.test(`AgentSockets, IPv${version}: a datagram goes out and one comes in; a port without a service`, async () => {
    const { agent, sockets } = start();
    const opening = sockets.udp({ version, ttl: 3, peer: { addr, port: 7 } });
    assertEquals(agent.heard(), [`udp 1 ${version} - 3 - ${addr} 7 +0`]);
    agent.says("ok 1");
    const socket = await opening;
    const got: unknown[] = [];
    socket.onMessage = (message) => got.push(message);
    socket.onRefused = () => got.push("refused");
    socket.send(new Uint8Array(65507), addr, 7);
    assertEquals(agent.heard(), [`send 1 ${addr} 7 +65507`]);
    agent.says(`from 1 ${addr} 7`, [1, 10, 2]);
    agent.says("error 1 ECONNREFUSED");
    assertEquals(got, [{ bytes: new Uint8Array([1, 10, 2]), addr, port: 7 }, "refused"]);
    socket.close();
    agent.says(`from 1 ${addr} 7`, [3]);
    assertEquals(agent.heard(), ["close 1 +0"]);
    assertEquals(got.length, 2);
  });
}

Deno.test("AgentSockets: a call, its bytes both ways, its ends", async () => {
  const { agent, sockets } = start();
  const calls: string[] = [];
  const listening = sockets.listen(4, 22, async (conn) => {
    for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) calls.push(`${bytes}`);
    await conn.write(new Uint8Array(70_000));
    await conn.closeWrite();
    calls.push(conn.remote);
    conn.close();
  });
  agent.says("ok 1");
  await listening;
  agent.heard();
  agent.says("call 1 1000000 192.0.2.9 4000");
  agent.says("data 1000000", [7]);
  agent.says("end 1000000");
  await settle();
  assertEquals(agent.heard(), ["write 1000000 +65536", "write 1000000 +4464"]);
  agent.says("taken 1000000");
  await settle();
  assertEquals(agent.heard(), [], "a part is not all of it");
  agent.says("taken 1000000");
  await settle();
  assertEquals([agent.heard(), calls], [["shut 1000000 +0", "close 1000000 +0"], ["7", "192.0.2.9!4000"]]);
});

Deno.test("AgentSockets: refused, broken, too late, and the machine's end", async () => {
  const { agent, sockets, channel, clock } = start();
  const refused = sockets.dial("192.0.2.1", 9);
  agent.says("error 1 ECONNREFUSED");
  await assertRejects(() => refused, Refused, "Cannot connect to 192.0.2.1!9: connection refused");
  const bound = sockets.listen(4, 22, () => {});
  agent.says("error 2 EADDRINUSE");
  await assertRejects(() => bound, Error, "Cannot listen at tcp port 22: EADDRINUSE");
  const late = assertRejects(() => sockets.dial("192.0.2.1", 9), Error, 'No answer to "dial 192.0.2.1 9"');
  await settle();
  clock.advance(3000);
  await late;
  const opening = sockets.dial("192.0.2.1", 9);
  agent.says("ok 4");
  const conn = await opening;
  agent.says("data 4", [1]);
  agent.says("error 4 ECONNRESET");
  assertEquals(await conn.read(), new Uint8Array([1]));
  await assertRejects(() => conn.read(), Error, "The connection to 192.0.2.1!9 broke: ECONNRESET");
  const waiting = sockets.icmp(6);
  agent.isGone = true;
  agent.onReadable!(1);
  await assertRejects(() => waiting, Error, "The guest's agent ended: its machine has hung up");
  await assertRejects(() => channel.ready, Error, "its machine has hung up");
});

Deno.test("AgentChannel keeps what a slow machine does not take, and its order", async () => {
  const { agent, channel } = start();
  agent.says("hello");
  await channel.ready;
  agent.room = 10;
  for (let i = 0; i < 8; i++) channel.say(`write ${i}`, new Uint8Array(60_000));
  agent.room = 0;
  agent.onWritable!();
  agent.room = Infinity;
  agent.onWritable!();
  assertEquals(agent.heard(), Array.from({ length: 8 }, (_, i) => `write ${i} +60000`));
});

/** Lets programs go on until they wait. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}
