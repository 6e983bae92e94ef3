import { assert, assertEquals } from "@std/assert";
import { RealClock } from "../../devices/host/clock.ts";
import { pause } from "../../devices/host/pause.ts";
import { Reactor } from "../../devices/host/reactor.ts";
import { LATER, UnixStream } from "../../devices/host/unix_socket.ts";
import { machineTest } from "../../tests/kit/check/skip.ts";
import { ANSWERS_MAX, ApiSocket, CLIENTS_MAX } from "./api_socket.ts";

const ANSWER = "x".repeat(20_000);
/** As many commands as fit one write. */
const COMMANDS = 819;
const encoder = new TextEncoder();

/** An API whose commands take a millisecond each, and what it has been asked. */
class Lab {
  asked = 0;
  /** The longest time for which nothing else could run, in milliseconds. */
  longest = 0;
  readonly reactor = new Reactor({ clock: new RealClock() });
  readonly api: ApiSocket;
  #isOver = false;

  constructor(readonly path: string, unreadMs: number) {
    const command = () => {
      this.asked++;
      for (const end = performance.now() + 1; performance.now() < end;);
      return ANSWER;
    };
    this.api = new ApiSocket(path, this.reactor, { command, forwards: () => [], guestAddr: "10.0.2.15", unreadMs });
    this.reactor.start();
    this.#watch();
  }

  async #watch(): Promise<void> {
    for (let before = performance.now(); !this.#isOver;) {
      await pause();
      const now = performance.now();
      this.longest = Math.max(this.longest, now - before);
      before = now;
    }
  }

  async close(): Promise<void> {
    this.#isOver = true;
    this.api.close();
    await this.reactor.stop();
    await pause();
  }
}

async function withApi(unreadMs: number, work: (lab: Lab) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "akarino-api-" });
  const lab = new Lab(`${folder}/api.sock`, unreadMs);
  try {
    await work(lab);
  } finally {
    await lab.close();
    await Deno.remove(folder, { recursive: true });
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits until the number of commands that were run stands still. */
async function settled(lab: Lab): Promise<number> {
  for (let last = -1; last !== lab.asked;) {
    last = lab.asked;
    await sleep(50);
  }
  return lab.asked;
}

machineTest("a flood of commands: packets go on in between, and a reader gets every answer", ["ffi"], async () => {
  await withApi(10_000, async (lab) => {
    using client = UnixStream.connect(lab.path);
    assertEquals(client.write(encoder.encode("maps\n".repeat(COMMANDS))), 5 * COMMANDS);
    let length = 0;
    const room = new Uint8Array(1 << 16);
    for (const wanted = COMMANDS * (ANSWER.length + 1); length < wanted;) {
      const got = client.read(room);
      if (got > 0) length += got;
      else if (got === LATER) await pause();
      else break;
    }
    assertEquals([lab.asked, length], [COMMANDS, COMMANDS * (ANSWER.length + 1)]);
    assert(lab.longest < 400, `everything else waited ${lab.longest} ms`);
  });
});

machineTest("a client that does not read: its commands wait, and it is dropped", ["ffi"], async () => {
  await withApi(300, async (lab) => {
    using client = UnixStream.connect(lab.path);
    client.write(encoder.encode("maps\n".repeat(COMMANDS)));
    const asked = await settled(lab);
    // What the socket holds by itself comes on top.
    assert(asked * ANSWER.length < ANSWERS_MAX + (1 << 20), `${asked} commands were run`);
    await sleep(400);
    assertEquals(client.write(encoder.encode("maps\n")), 0, "it is dropped");
    assertEquals(lab.asked, asked);
  });
});

machineTest("commands end with their connection", ["ffi"], async () => {
  await withApi(10_000, async (lab) => {
    const client = UnixStream.connect(lab.path);
    client.write(encoder.encode("maps\n".repeat(COMMANDS)));
    while (lab.asked === 0) await pause();
    client.close();
    assert(await settled(lab) < COMMANDS / 2, `${lab.asked} commands were run`);
  });
});

machineTest("silent connections do not shut the others out", ["ffi"], async () => {
  await withApi(10_000, async (lab) => {
    const silent: UnixStream[] = [];
    while (silent.length < 3 * CLIENTS_MAX) {
      silent.push(UnixStream.connect(lab.path));
      await sleep(1);
    }
    using client = UnixStream.connect(lab.path);
    client.write(encoder.encode("list\n"));
    const room = new Uint8Array(100);
    let got = client.read(room);
    for (const end = Date.now() + 5000; got === LATER && Date.now() < end; got = client.read(room)) await pause();
    assertEquals(got, 100);
    for (const one of silent) one.close();
  });
});
