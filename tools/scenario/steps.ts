/**
 * The steps of the scenario, each checked by content.
 *
 * Path: scenario → steps → world.remote (who asks) and the host's files (what they tell).
 *
 * @module
 */

import { equals } from "@std/bytes";
import { type Random, SeededRandom } from "../../kernel/random.ts";
import { bypassPing, bypassUdpEcho, PROGRAM_TTL, udpEcho } from "./programs.ts";
import { MacAddr, parseMacAddr } from "../../kernel/wire/mac_addr.ts";
import { expect, type Step } from "./report.ts";
import { type EchoAnswer, type Remote, type RemoteUdp, TimedOut, type World } from "./world.ts";

/** Sizes of datagrams: none, one byte, the most that fits a frame, one more, a jumbo frame's, the largest of all. */
export const UDP_SIZES = [0, 1, 1472, 1473, 9000, 65507] as const;

const ECHO_PORT = 7;
/** Not 7000 to 7009, which dissectors of captures take for AFS. */
const BYPASS_PORT = 7070;
const KERNEL_PING_ID = 4660;
const PROGRAM_PING_ID = 22136;
const PING_SIZES = [0, 56, 1472, 8000] as const;
/** How often a question is asked on a faulty wire. */
const TRIES = 40;
/** Longest detail of a broken program that is shown. */
const PROGRAM_ERRORS_SHOWN = 3;

/** All steps for `world`; `seed` decides the payloads; a `faulty` wire loses packets, and so they are sent again. */
export function scenarioSteps(world: World, seed: number, faulty = false): Step[] {
  const remote = faulty ? new PatientRemote(world.remote) : world.remote;
  const random = new SeededRandom(seed);
  const programs = new Programs(world);
  const steps: Step[] = [{ name: "boot", run: () => programs.start() }];
  if (world.wire !== "tun") steps.push({ name: "resolve by ARP", run: () => resolve(world, remote) });
  for (const size of PING_SIZES) {
    steps.push({ name: `ping kernel, ${size} bytes`, run: () => ping(remote, random, KERNEL_PING_ID, size) });
  }
  for (const size of PING_SIZES) {
    const run = () => ping(remote, random, PROGRAM_PING_ID, size, PROGRAM_TTL);
    steps.push({ name: `ping bypassed id, ${size} bytes`, run });
  }
  const udp = new LazyUdp(remote);
  for (const [what, port] of [["udp", ECHO_PORT], ["bypassed udp", BYPASS_PORT]] as const) {
    for (const size of UDP_SIZES) {
      steps.push({ name: `${what} echo, ${size} bytes`, run: () => udpEchoStep(udp, random, port, size) });
    }
  }
  steps.push({ name: "nothing left over", run: () => quiet(world, programs, udp, faulty) });
  return steps;
}

/** The programs on the host and what went wrong in them. */
class Programs {
  readonly errors: string[] = [];

  constructor(readonly world: World) {}

  async start(): Promise<string> {
    const { host } = this.world;
    this.#run(udpEcho(host.spawn("udp-echo"), ECHO_PORT));
    this.#run(bypassUdpEcho(host.spawn("bypass-echo"), BYPASS_PORT));
    this.#run(bypassPing(host.spawn("bypass-ping"), PROGRAM_PING_ID));
    const reader = host.spawn("reader");
    const status = await reader.readText("/net/ipifc/1/status");
    reader.exit();
    const lines = [...status.split("\n").slice(1)].map((line) => line.trim()).filter((line) => line !== "");
    expect(lines.some((line) => line.startsWith(host.address)), `No interface has ${host.address}: ${status}`);
    return `${host.kernel.name} is ${host.address}, the other side is ${this.world.remote.name}`;
  }

  #run(program: Promise<void>): void {
    program.catch((error) => {
      // The end of the host ends its programs.
      if (error?.code !== "EINTR" && error?.code !== "EBADF") this.errors.push(String(error));
    });
  }
}

/** A remote that asks again when nothing comes back. */
class PatientRemote implements Remote {
  readonly name: string;
  readonly address: string;

  constructor(readonly remote: Remote) {
    this.name = remote.name;
    this.address = remote.address;
  }

  resolved(): Promise<string | null> {
    return this.remote.resolved();
  }

  ping(id: number, seq: number, payload: Uint8Array): Promise<EchoAnswer> {
    return patiently(() => this.remote.ping(id, seq, payload));
  }

  /** Each exchange has an end of its own: what comes too late is nobody's. */
  openUdp(): Promise<RemoteUdp> {
    const exchange = (payload: Uint8Array, port: number) =>
      patiently(async () => {
        const end = await this.remote.openUdp();
        try {
          return await end.exchange(payload, port);
        } finally {
          end.close();
        }
      });
    return Promise.resolve({ exchange, close: () => {} });
  }
}

async function patiently<T>(act: () => Promise<T>): Promise<T> {
  for (let left = TRIES;; left--) {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof TimedOut) || left <= 1) throw error;
    }
  }
}

/** One UDP end for all steps: opened by the first. */
class LazyUdp {
  #end: Promise<RemoteUdp> | null = null;

  constructor(readonly remote: Remote) {}

  get(): Promise<RemoteUdp> {
    return this.#end ??= this.remote.openUdp();
  }

  async close(): Promise<void> {
    (await this.#end)?.close();
  }
}

async function resolve(world: World, remote: Remote): Promise<string> {
  await remote.ping(1, 1, new Uint8Array(8));
  const mac = await world.remote.resolved();
  const { port } = world.host;
  expect(port?.kind === "frame" && mac !== null, `${world.remote.name} has no address for ${world.host.address}`);
  const expected = MacAddr.at(port.mac, 0);
  const found = parseMacAddr(mac);
  expect(found?.equals(expected) === true, `${world.remote.name} found ${mac}, not ${expected}`);
  return `${world.host.address} is at ${expected}`;
}

async function ping(remote: Remote, random: Random, id: number, size: number, ttl?: number): Promise<string> {
  const payload = random.fill(new Uint8Array(size));
  const answer = await remote.ping(id, size & 0xffff, payload);
  expect(equals(answer.payload, payload), `The answer differs: ${answer.payload.length} bytes for ${size}`);
  expect(ttl === undefined || answer.ttl === ttl, `The answer's TTL is ${answer.ttl}, not ${ttl}`);
  return `same ${size} bytes back, ttl ${answer.ttl}`;
}

async function udpEchoStep(udp: LazyUdp, random: Random, port: number, size: number): Promise<string> {
  const payload = random.fill(new Uint8Array(size));
  const answer = await (await udp.get()).exchange(payload, port);
  expect(equals(answer, payload), `The answer differs: ${answer.length} bytes for ${size}`);
  return `same ${size} bytes back from port ${port}`;
}

/** No program failed, and no queue of the host holds or has dropped anything. */
async function quiet(world: World, programs: Programs, udp: LazyUdp, faulty: boolean): Promise<string> {
  await udp.close();
  expect(programs.errors.length === 0, programs.errors.slice(0, PROGRAM_ERRORS_SHOWN).join("; "));
  const reader = world.host.spawn("reader");
  const stats = await reader.readText("/net/udp/stats");
  reader.exit();
  const errors = /InErrors: (\d+)/.exec(stats)?.[1];
  if (faulty) return `no program failed; bad datagrams from the faulty wire: ${errors}`;
  expect(errors === "0", `udp counts ${errors} bad datagrams`);
  return "no program failed, no bad datagram was counted";
}
