/**
 * The steps of the scenario in which the host's own programs answer, each checked by content.
 *
 * Path: scenario, guest_steps → steps → environment, programs, retries, report, ip_family.
 *
 * @module
 */

import { SeededRandom } from "../../kernel/random.ts";
import { MacAddr, parseMacAddr } from "../../kernel/wire/mac_addr.ts";
import type { Endpoint } from "./endpoint.ts";
import type { Environment } from "./environment.ts";
import { FAMILIES, type IpFamily, type IpVersion } from "./ip_family.ts";
import { bypassPing, bypassUdpEcho, PROGRAM_TTL, udpEcho } from "./programs.ts";
import { expect, type Skipped, type Step } from "./report.ts";
import { Retries } from "./retries.ts";

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

/** How a scenario is played. */
export interface PlayOptions {
  /** Decides the payloads. */
  readonly seed: number;
  /** How often a request is repeated that a faulty wire loses. Default: never. */
  readonly retries?: Retries;
  /** The versions of IP, in order. Default both. */
  readonly versions?: readonly IpVersion[];
}

/** The versions of IP that a scenario has unless one is chosen. */
export const BOTH_VERSIONS: readonly IpVersion[] = [4, 6];

/** The subjects of the steps over one version of IP. */
interface Scene {
  readonly env: Environment;
  readonly remote: Endpoint;
  readonly family: IpFamily;
  /** The host's address. */
  readonly address: string;
  readonly random: SeededRandom;
  readonly retries: Retries;
}

/** All steps for `env`. */
export function scenarioSteps(env: Environment, options: PlayOptions): Step[] {
  const { seed, retries = new Retries(), versions = BOTH_VERSIONS } = options;
  const random = new SeededRandom(seed);
  const families = versions.map((version) => FAMILIES[version]);
  const programs = new Programs(env, families);
  const steps: Step[] = [{ name: "boot", run: () => programs.start() }];
  for (const family of env.sockets === null ? families : []) {
    const address = env.addresses[family.version];
    steps.push(...familySteps({ env, remote: env.remote, family, address, random, retries }));
  }
  steps.push({ name: "nothing left over", run: () => quiet(env, programs, retries) });
  return steps;
}

function familySteps(scene: Scene): Step[] {
  const { env, family, retries } = scene;
  const steps: Step[] = [];
  if (env.wire !== "tun") {
    steps.push({ name: `resolve by ${family.resolution}${family.suffix}`, run: () => resolve(scene) });
  }
  const worthTrying = (sizes: readonly number[]) => sizes.filter((size) => retries.hopeless(size, family) === null);
  for (const [what, id, ttl] of PINGS) {
    for (const size of worthTrying(PING_SIZES)) {
      steps.push({ name: pingName(what, size, family), run: () => pingStep(scene, { id, size, ttl }) });
    }
  }
  for (const [what, port] of UDP_ECHOES) {
    for (const size of worthTrying(family.udpSizes)) {
      steps.push({ name: udpName(what, size, family), run: () => udpEchoStep(scene, port, size) });
    }
  }
  return steps;
}

function pingName(what: string, size: number, { suffix }: IpFamily): string {
  return `ping ${what}, ${size} bytes${suffix}`;
}

function udpName(what: string, size: number, { suffix }: IpFamily): string {
  return `${what} echo, ${size} bytes${suffix}`;
}

/** Why steps in which the remote begins cannot run over sockets. */
export const NO_CALLS = "over sockets nothing comes to the host but answers, and calls of forwards";

/** Steps that sockets cannot carry, and why. */
export function notBySockets({ sockets }: Environment): Skipped[] {
  return sockets === null ? [] : [{ name: "remote: the host's own programs", why: NO_CALLS }];
}

/** Steps that this wire cannot have, and why. */
export function notWorthTrying(retries: Retries, versions: readonly IpVersion[] = BOTH_VERSIONS): Skipped[] {
  return versions.map((version) => FAMILIES[version]).flatMap((family) => [
    ...PINGS.flatMap(([what]) =>
      PING_SIZES.flatMap((size) => hopeless(retries, family, size, pingName(what, size, family)))
    ),
    ...UDP_ECHOES.flatMap(([what]) =>
      family.udpSizes.flatMap((size) => hopeless(retries, family, size, udpName(what, size, family)))
    ),
  ]);
}

/** The step `name` as one that is left out, if an exchange of `size` bytes is not worth trying. */
export function hopeless(retries: Retries, family: IpFamily, size: number, name: string): Skipped[] {
  const why = retries.hopeless(size, family);
  return why === null ? [] : [{ name, why }];
}

/** The programs on the host and what went wrong in them. */
class Programs {
  readonly errors: string[] = [];

  constructor(readonly env: Environment, readonly families: readonly IpFamily[]) {}

  async start(): Promise<string> {
    const { host, remote, addresses } = this.env;
    this.#run(udpEcho(host.spawn("udp-echo"), ECHO_PORT));
    this.#run(bypassUdpEcho(host.spawn("bypass-echo"), BYPASS_PORT));
    for (const family of this.families) this.#run(bypassPing(host.spawn("bypass-ping"), PROGRAM_PING_ID, family));
    const reader = host.spawn("reader");
    const status = await reader.readText("/net/ipifc/1/status");
    reader.exit();
    const lines = [...status.split("\n").slice(1)].map((line) => line.trim()).filter((line) => line !== "");
    const wanted = this.families.map(({ version }) => addresses[version]);
    for (const address of wanted) {
      expect(lines.some((line) => line.startsWith(`${address} `)), `No interface has ${address}: ${status}`);
    }
    return `${host.kernel.name} is ${wanted.join(" and ")}, the other side is ${remote.name}`;
  }

  #run(program: Promise<void>): void {
    program.catch((error) => {
      // The end of the host ends its programs.
      if (error?.code !== "EINTR" && error?.code !== "EBADF") this.errors.push(String(error));
    });
  }
}

async function resolve({ env, remote, address, retries }: Scene): Promise<string> {
  await retries.insist(() => remote.ping(address, 1, new Uint8Array(8)));
  const mac = await remote.neighbor(address);
  const { port } = env.host;
  expect(port?.kind === "frame" && mac !== null, `${remote.name} has no hardware address for ${address}`);
  const expected = MacAddr.at(port.mac, 0);
  const found = parseMacAddr(mac);
  expect(found?.equals(expected) === true, `${remote.name} found ${mac}, not ${expected}`);
  return `${address} is at ${expected}`;
}

async function pingStep(
  { env, remote, family, address, random, retries }: Scene,
  { id, size, ttl }: { readonly id: number; readonly size: number; readonly ttl: number | null },
): Promise<string> {
  const payload = random.fill(new Uint8Array(size));
  const ask = async () => retries.same(await remote.ping(address, id, payload), payload);
  const { seen } = await env.log.during(() => retries.insist(ask, size, family));
  const { protocol, echoReply } = family.icmp;
  const reply = seen.find((one) =>
    one.direction === "out" && one.protocol === protocol && one.srcPort === echoReply << 8
  );
  expect(reply !== undefined, "No echo reply was seen on the wire");
  expect(ttl === null || reply.ttl === ttl, `The answer's TTL is ${reply.ttl}, not ${ttl}`);
  return `same ${size} bytes back, ttl ${reply.ttl}`;
}

async function udpEchoStep(scene: Scene, port: number, size: number): Promise<string> {
  const { remote, family, address, random, retries } = scene;
  const payload = random.fill(new Uint8Array(size));
  const ask = async () => retries.same(await remote.exchange(address, port, payload), payload);
  await retries.insist(ask, size, family);
  return `same ${size} bytes back from port ${port}`;
}

/** No program failed, and no queue of the host holds or has dropped anything. */
async function quiet(env: Environment, programs: Programs, retries: Retries): Promise<string> {
  expect(programs.errors.length === 0, programs.errors.slice(0, PROGRAM_ERRORS_SHOWN).join("; "));
  const reader = env.host.spawn("reader");
  const stats = await reader.readText("/net/udp/stats");
  reader.exit();
  const errors = /InErrors: (\d+)/.exec(stats)?.[1];
  if (retries.isFaulty) return `no program failed; bad datagrams from the faulty wire: ${errors}`;
  expect(errors === "0", `udp counts ${errors} bad datagrams`);
  return "no program failed, no bad datagram was counted";
}
