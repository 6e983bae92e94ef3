/**
 * The steps of the scenario, each checked by content.
 *
 * Path: scenario, guest_steps → steps → environment, programs, retries, report.
 *
 * @module
 */

import { type Random, SeededRandom } from "../../kernel/random.ts";
import { bypassPing, bypassUdpEcho, PROGRAM_TTL, udpEcho } from "./programs.ts";
import { MacAddr, parseMacAddr } from "../../kernel/wire/mac_addr.ts";
import { Retries } from "./retries.ts";
import { expect, type Skipped, type Step } from "./report.ts";
import type { Environment, Remote, RemoteUdp } from "./environment.ts";

/** Sizes of datagrams: none, one byte, the most that fits a frame, one more, a jumbo frame's, the largest of all. */
export const UDP_SIZES = [0, 1, 1472, 1473, 9000, 65507] as const;

const ECHO_PORT = 7;
/** Not 7000 to 7009, which dissectors of captures take for AFS. */
const BYPASS_PORT = 7070;
const KERNEL_PING_ID = 4660;
const PROGRAM_PING_ID = 22136;
const PING_SIZES = [0, 56, 1472, 8000] as const;
/** Longest detail of a broken program that is shown. */
const PROGRAM_ERRORS_SHOWN = 3;

const PINGS = [["kernel", KERNEL_PING_ID, null], ["bypassed id", PROGRAM_PING_ID, PROGRAM_TTL]] as const;
const UDP_ECHOES = [["udp", ECHO_PORT], ["bypassed udp", BYPASS_PORT]] as const;

/** All steps for `world`; `seed` decides the payloads; what a faulty wire loses is asked for again. */
export function scenarioSteps(env: Environment, seed: number, retries: Retries = new Retries()): Step[] {
  const { remote } = env;
  const random = new SeededRandom(seed);
  const programs = new Programs(env);
  const steps: Step[] = [{ name: "boot", run: () => programs.start() }];
  if (env.wire !== "tun") steps.push({ name: "resolve by ARP", run: () => resolve(env, retries) });
  const ping = { remote, random, retries };
  const worthTrying = (sizes: readonly number[]) => sizes.filter((size) => retries.hopeless(size) === null);
  for (const [what, id, ttl] of PINGS) {
    for (const size of worthTrying(PING_SIZES)) {
      steps.push({ name: pingName(what, size), run: () => pingStep(ping, id, size, ttl) });
    }
  }
  const udp = retries.isFaulty ? new FreshUdp(remote) : new LazyUdp(remote);
  for (const [what, port] of UDP_ECHOES) {
    for (const size of worthTrying(UDP_SIZES)) {
      const run = () => udpEchoStep({ udp, random, retries }, port, size);
      steps.push({ name: udpName(what, size), run });
    }
  }
  steps.push({ name: "nothing left over", run: () => quiet(env, programs, udp, retries) });
  return steps;
}

function pingName(what: string, size: number): string {
  return `ping ${what}, ${size} bytes`;
}

function udpName(what: string, size: number): string {
  return `${what} echo, ${size} bytes`;
}

/** Steps that this wire cannot have, and why. */
export function notWorthTrying(retries: Retries): Skipped[] {
  return [
    ...PINGS.flatMap(([what]) => hopelessSizes(retries, PING_SIZES, (size) => pingName(what, size))),
    ...UDP_ECHOES.flatMap(([what]) => hopelessSizes(retries, UDP_SIZES, (size) => udpName(what, size))),
  ];
}

/** Those of `sizes` that do not come through, as steps that are left out. */
export function hopelessSizes(
  retries: Retries,
  sizes: readonly number[],
  name: (size: number) => string,
): Skipped[] {
  return sizes.flatMap((size) => {
    const why = retries.hopeless(size);
    return why === null ? [] : [{ name: name(size), why }];
  });
}

/** The programs on the host and what went wrong in them. */
class Programs {
  readonly errors: string[] = [];

  constructor(readonly env: Environment) {}

  async start(): Promise<string> {
    const { host } = this.env;
    this.#run(udpEcho(host.spawn("udp-echo"), ECHO_PORT));
    this.#run(bypassUdpEcho(host.spawn("bypass-echo"), BYPASS_PORT));
    this.#run(bypassPing(host.spawn("bypass-ping"), PROGRAM_PING_ID));
    const reader = host.spawn("reader");
    const status = await reader.readText("/net/ipifc/1/status");
    reader.exit();
    const lines = [...status.split("\n").slice(1)].map((line) => line.trim()).filter((line) => line !== "");
    expect(lines.some((line) => line.startsWith(host.address)), `No interface has ${host.address}: ${status}`);
    return `${host.kernel.name} is ${host.address}, the other side is ${this.env.remote.name}`;
  }

  #run(program: Promise<void>): void {
    program.catch((error) => {
      // The end of the host ends its programs.
      if (error?.code !== "EINTR" && error?.code !== "EBADF") this.errors.push(String(error));
    });
  }
}

/** A UDP end of the remote, for all steps. */
interface Udp {
  exchange(payload: Uint8Array, port: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** An end for each exchange: what comes too late is nobody's. */
class FreshUdp implements Udp {
  constructor(readonly remote: Remote) {}

  async exchange(payload: Uint8Array, port: number): Promise<Uint8Array> {
    const end = await this.remote.openUdp();
    try {
      return await end.exchange(payload, port);
    } finally {
      end.close();
    }
  }

  async close(): Promise<void> {}
}

/** One end, opened by the first exchange. */
class LazyUdp implements Udp {
  #end: Promise<RemoteUdp> | null = null;

  constructor(readonly remote: Remote) {}

  async exchange(payload: Uint8Array, port: number): Promise<Uint8Array> {
    return await (await (this.#end ??= this.remote.openUdp())).exchange(payload, port);
  }

  async close(): Promise<void> {
    (await this.#end)?.close();
  }
}

async function resolve(env: Environment, retries: Retries): Promise<string> {
  const { remote } = env;
  await retries.insist(() => remote.ping(1, 1, new Uint8Array(8)));
  const mac = await remote.resolved();
  const { port } = env.host;
  expect(port?.kind === "frame" && mac !== null, `${remote.name} has no address for ${env.host.address}`);
  const expected = MacAddr.at(port.mac, 0);
  const found = parseMacAddr(mac);
  expect(found?.equals(expected) === true, `${remote.name} found ${mac}, not ${expected}`);
  return `${env.host.address} is at ${expected}`;
}

async function pingStep(
  { remote, random, retries }: { remote: Remote; random: Random; retries: Retries },
  id: number,
  size: number,
  ttl: number | null,
): Promise<string> {
  const payload = random.fill(new Uint8Array(size));
  const answer = await retries.insist(async () => {
    const got = await remote.ping(id, size & 0xffff, payload);
    retries.same(got.payload, payload);
    return got;
  }, size);
  expect(ttl === null || answer.ttl === ttl, `The answer's TTL is ${answer.ttl}, not ${ttl}`);
  return `same ${size} bytes back, ttl ${answer.ttl}`;
}

async function udpEchoStep(
  { udp, random, retries }: { udp: Udp; random: Random; retries: Retries },
  port: number,
  size: number,
): Promise<string> {
  const payload = random.fill(new Uint8Array(size));
  await retries.insist(async () => retries.same(await udp.exchange(payload, port), payload), size);
  return `same ${size} bytes back from port ${port}`;
}

/** No program failed, and no queue of the host holds or has dropped anything. */
async function quiet(env: Environment, programs: Programs, udp: Udp, retries: Retries): Promise<string> {
  await udp.close();
  expect(programs.errors.length === 0, programs.errors.slice(0, PROGRAM_ERRORS_SHOWN).join("; "));
  const reader = env.host.spawn("reader");
  const stats = await reader.readText("/net/udp/stats");
  reader.exit();
  const errors = /InErrors: (\d+)/.exec(stats)?.[1];
  if (retries.isFaulty) return `no program failed; bad datagrams from the faulty wire: ${errors}`;
  expect(errors === "0", `udp counts ${errors} bad datagrams`);
  return "no program failed, no bad datagram was counted";
}
