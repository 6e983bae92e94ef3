/**
 * The guest's steps: its network goes through its card, the NAT and bypassed conversations of the host. Each is written
 * once, for both versions of IP.
 *
 * Path: scenario → guest_steps → guest_types, guest_network, ip_family, steps.
 *
 * @module
 */

import { SeededRandom } from "../../kernel/random.ts";
import { dnsAnswer, dnsLen, dnsQuery, emitDns, parseDns } from "../../kernel/wire/dns.ts";
import { parseIpAddr } from "../../kernel/wire/ip_addr.ts";
import { parseMacAddr } from "../../kernel/wire/mac_addr.ts";
import { HOST_MAC } from "../nat/config.ts";
import { type Endpoint, Refused, type SendOptions } from "./endpoint.ts";
import { type Environment, sleep } from "./environment.ts";
import { type GuestNames, guestNames } from "./guest_network.ts";
import type { GuestSide } from "./guest_types.ts";
import { FAMILIES, type IpFamily, type IpVersion, type PerVersion } from "./ip_family.ts";
import { KernelEndpoint } from "./kernel_endpoint.ts";
import { expect, type Skipped, type Step } from "./report.ts";
import { Retries } from "./retries.ts";
import { BOTH_VERSIONS, hopeless, NO_CALLS, type PlayOptions } from "./steps.ts";

/** A datagram of a few fragments. */
const FRAGMENTED = 9000;
const PING_BYTES = 56;
const PING_ID = 4711;
const DNS_PORT = 53;
const ECHO_PORT = 7;
/** In its place where the remote cannot have it. */
const HIGH_ECHO_PORT = 7007;
const ECN_PORT = 8007;
const CLOSED_PORT = 4998;
const TRACE_PORT = 33434;
const HOP_PORT = 40_000;
/** DSCP 46 and ECT(0); ECT(0) and ECT(1) alone: what went in must come out. */
const TOS_OUT = 0xba;
const TOS_BACK = 0x03;
const TTL_OUT = 33;
const ANSWER_NAME = "scenario.test";
const ANSWERS: PerVersion<string> = { 4: "192.0.2.77", 6: "2001:db8:77::77" };

/** Where the type of a frame stands; the type and first byte of an IPv4 packet without options. */
const ETHER_TYPE_AT = 12;
const LIKE_IPV4 = [8, 0, 0x45];

const PINGS_REMOTE = "guest: ping remote";
const RESOLVES = "guest: DNS by the relay";
const UNMAPPED = "remote: an unmapped port is refused";
const EXPIRES = "guest: a mapping expires";
const GARBAGE = "guest: garbage in rings and frames";

/** The subjects of the steps over one version of IP. */
export interface GuestScene {
  readonly family: IpFamily;
  readonly env: Environment;
  readonly side: GuestSide;
  readonly guest: Endpoint;
  readonly remote: Endpoint;
  /** Programs of the host itself. */
  readonly host: KernelEndpoint;
  /** Addresses of the remote and of the host on the wire. */
  readonly remoteAddr: string;
  readonly hostAddr: string;
  /** Router, name server and the guest itself, as the guest knows them. */
  readonly names: GuestNames;
  readonly random: SeededRandom;
  /** How often a request is repeated on a wire that loses, corrupts or delays packets. */
  readonly retries: Retries;
  /** Whether it is the one of which steps are made that do not depend on the version. */
  readonly isFirst: boolean;
  /** Starts the remote's services, the first time that it is called. */
  serve(): Promise<void>;
}

/** A scene for each version of IP that the guest's network has. */
export function guestScenes(env: Environment, side: GuestSide, options: PlayOptions): GuestScene[] {
  const { seed, retries = new Retries(), versions = BOTH_VERSIONS } = options;
  const { host, remote, addresses } = env;
  const program = new KernelEndpoint("host", host.spawn("services"), host.clock, { ...addresses });
  const random = new SeededRandom(seed + 1);
  let serving: Promise<void> | null = null;
  return versions.flatMap((version) => {
    const names = guestNames(side.network, version);
    if (names === null) return [];
    return {
      family: FAMILIES[version],
      env,
      side,
      guest: side.endpoint,
      remote,
      host: program,
      names,
      random,
      retries,
      remoteAddr: remote.addresses[version],
      hostAddr: addresses[version],
      isFirst: version === versions[0],
      serve: () => serving ??= serve(env, versions),
    };
  });
}

/** The steps below TCP. */
export function guestSteps(scene: GuestScene): Step[] {
  const { side, names, remoteAddr, env, retries, family } = scene;
  const step = (name: string, run: () => Promise<string>) => ({ name: `${name}${family.suffix}`, run });
  const steps: Step[] = [
    step(`guest: ${family.configuration}`, () => configure(scene)),
    step(`guest: ${family.resolution} of the router`, () => resolveRouter(scene)),
    step("guest: ping router", () => ping(scene, names.router)),
  ];
  if (noPings(scene) === null) steps.push(step(PINGS_REMOTE, () => ping(scene, remoteAddr)));
  for (const size of family.udpSizes.filter((one) => retries.hopeless(one, family) === null)) {
    steps.push({ name: udpName(size, family), run: () => echo(scene, size) });
  }
  if (noLowPorts(env) === null) steps.push(step(RESOLVES, () => resolveName(scene)));
  steps.push(
    step("guest: traceroute shows our hop", () => trace(scene)),
    step("guest: ECN and DSCP survive", () => marks(scene)),
  );
  if (env.sockets === null) steps.push(step(UNMAPPED, () => unmapped(scene)));
  if (env.wire === "memory") steps.push(step(EXPIRES, () => expire(scene)));
  if (side.model !== null && scene.isFirst) steps.push({ name: GARBAGE, run: () => garbage(scene) });
  return steps;
}

function udpName(size: number, { suffix }: IpFamily): string {
  return `guest: udp echo, ${size} bytes${suffix}`;
}

function noPings({ env: { sockets }, family: { version } }: GuestScene): string | null {
  return sockets?.noPings(version) ?? null;
}

function noLowPorts({ sockets }: Environment): string | null {
  return sockets?.noLowPorts ?? null;
}

/** Steps that this wire or guest cannot have, and why: printed, and never counted as held. */
export function notApplicable(scene: GuestScene): Skipped[] {
  const { family, retries, env, side, isFirst } = scene;
  const skipped = family.udpSizes.flatMap((size) => hopeless(retries, family, size, udpName(size, family)));
  const reasons = [
    [PINGS_REMOTE, noPings(scene)],
    [RESOLVES, noLowPorts(env)],
    [UNMAPPED, env.sockets === null ? null : NO_CALLS],
  ] as const;
  for (const [name, why] of reasons) if (why !== null) skipped.push({ name: `${name}${family.suffix}`, why });
  if (env.wire !== "memory") {
    skipped.push({ name: `${EXPIRES}${family.suffix}`, why: "needs virtual time: --wire memory" });
  }
  if (side.model === null && isFirst) {
    skipped.push({ name: GARBAGE, why: `guest ${side.kind} has no virtio rings of ours: --guest model` });
  }
  return skipped;
}

/** Steps that this style cannot have, and why. */
export function notInStyle(style: string, versions: readonly IpVersion[]): Skipped[] {
  if (style !== "real" || !versions.includes(6)) return [];
  return [{ name: "guest: all steps over IPv6", why: "a guest has no IPv6 in real style: --style qemu" }];
}

async function configure(scene: GuestScene): Promise<string> {
  await scene.serve();
  const { version } = scene.family;
  const text = await scene.side.configure(version);
  const address = scene.guest.addresses[version];
  expect(address === scene.names.guest, `The guest got ${address}, not ${scene.names.guest}`);
  return text;
}

/** The remote's services: echoes, and names. */
async function serve(env: Environment, versions: readonly IpVersion[]): Promise<void> {
  const { remote } = env;
  const echo = (bytes: Uint8Array) => bytes;
  await remote.serveUdp({ port: echoPort(env), versions, answer: echo });
  await remote.serveUdp({ port: ECN_PORT, versions, tos: TOS_BACK, answer: echo });
  if (noLowPorts(env) === null) await remote.serveUdp({ port: DNS_PORT, versions, answer: answerName });
}

function echoPort(env: Environment): number {
  return noLowPorts(env) === null ? ECHO_PORT : HIGH_ECHO_PORT;
}

/** Every name has the same addresses. */
function answerName(bytes: Uint8Array): Uint8Array | null {
  const query = parseDns(bytes, 0, bytes.length);
  const question = query?.questions[0];
  if (query === null || question === undefined) return null;
  const found = Object.values(FAMILIES).find(({ dnsType }) => dnsType === question.type);
  const records = found === undefined ? [] : [{
    name: question.name,
    type: question.type,
    class: 1,
    ttl: 60,
    data: { kind: "addr", addr: parseIpAddr(ANSWERS[found.version])! } as const,
  }];
  const message = dnsAnswer(query, records);
  const out = new Uint8Array(dnsLen(message));
  emitDns(message, out, 0);
  return out;
}

async function resolveRouter(scene: GuestScene): Promise<string> {
  const { guest, names: { router } } = scene;
  await ping(scene, router);
  const text = await guest.neighbor(router);
  const found = text === null ? null : parseMacAddr(text);
  expect(found?.equals(HOST_MAC) === true, `The guest found ${text} for ${router}, not ${HOST_MAC}`);
  return `${router} is at ${HOST_MAC}`;
}

async function ping(scene: GuestScene, addr: string): Promise<string> {
  const payload = scene.random.fill(new Uint8Array(PING_BYTES));
  const { guest, retries } = scene;
  await retries.insist(async () => retries.same(await guest.ping(addr, PING_ID, payload), payload));
  return `${addr} sent the same ${payload.length} bytes back`;
}

async function echo(scene: GuestScene, size: number): Promise<string> {
  const payload = scene.random.fill(new Uint8Array(size));
  await exchange(scene, echoPort(scene.env), payload);
  return `same ${size} bytes back from ${scene.remoteAddr}`;
}

async function exchange(scene: GuestScene, port: number, payload: Uint8Array, options?: SendOptions): Promise<void> {
  const { guest, remoteAddr, retries, family } = scene;
  const ask = () => guest.exchange(remoteAddr, port, payload, options);
  await retries.insist(async () => retries.same(await ask(), payload), payload.length, family);
}

async function resolveName(scene: GuestScene): Promise<string> {
  const { guest, names, remoteAddr, family } = scene;
  const server = names.dns ?? remoteAddr;
  const wanted = ANSWERS[family.version];
  const query = dnsQuery(scene.random.below(65536), { name: ANSWER_NAME, type: family.dnsType, class: 1 });
  const bytes = new Uint8Array(dnsLen(query));
  emitDns(query, bytes, 0);
  const answer = await scene.retries.insist(() => guest.exchange(server, DNS_PORT, bytes));
  const message = parseDns(answer, 0, answer.length);
  expect(message !== null && message.id === query.id, `${server} answered something else`);
  const data = message.answers[0]?.data;
  expect(data?.kind === "addr" && `${data.addr}` === wanted, `${server} has another address for ${ANSWER_NAME}`);
  return `${ANSWER_NAME} is ${wanted}, says ${server}`;
}

async function trace(scene: GuestScene): Promise<string> {
  const { guest, remoteAddr, names: { router }, family: { icmp } } = scene;
  const first = await scene.retries.insist(() => guest.probe(remoteAddr, TRACE_PORT, 1));
  const second = await scene.retries.insist(() => guest.probe(remoteAddr, TRACE_PORT + 1, 2));
  expect(first.from === router && first.type === icmp.timeExceeded, `Hop 1 is ${first.from}, type ${first.type}`);
  const isRemote = second.from === remoteAddr && second.type === icmp.unreachable;
  expect(isRemote, `Hop 2 is ${second.from}, type ${second.type}`);
  return `1 ${first.from} time exceeded, 2 ${second.from} port unreachable`;
}

/** Checked on both links: the guest's packet on the wire, the remote's on the guest's link. */
async function marks(scene: GuestScene): Promise<string> {
  const { side, env, random, family: { tos, ttl } } = scene;
  const payload = random.fill(new Uint8Array(100));
  const options = { tos: TOS_OUT, ttl: TTL_OUT };
  const { seen, result } = await env.log.during(async () =>
    await side.log.during(() => exchange(scene, ECN_PORT, payload, options))
  );
  const out = seen.find((one) => one.direction === "out" && one.dstPort === ECN_PORT);
  expect(out?.tos === TOS_OUT, `The wire saw ${tos} ${out?.tos}, not ${TOS_OUT}`);
  expect(out.ttl === TTL_OUT - 1, `The wire saw ${ttl} ${out.ttl}, not one less than ${TTL_OUT}`);
  const back = result.seen.find((one) => one.direction === "in" && one.srcPort === ECN_PORT);
  expect(back?.tos === TOS_BACK, `The guest saw ${tos} ${back?.tos}, not ${TOS_BACK}`);
  return `${tos} 0x${TOS_OUT.toString(16)} out, 0x${TOS_BACK.toString(16)} back, ${ttl} ${TTL_OUT} became ${out.ttl}`;
}

async function unmapped(scene: GuestScene): Promise<string> {
  const { remote, hostAddr, side } = scene;
  const { seen } = await side.log.during(() => refusal(scene, CLOSED_PORT));
  const leaked = seen.filter((one) => one.dstPort === CLOSED_PORT);
  expect(leaked.length === 0, "The guest saw a packet for a port without a map");
  return `${remote.name} is refused at ${hostAddr}!${CLOSED_PORT}; the guest saw nothing`;
}

/** A datagram of the remote to a port of the host's must be refused. */
async function refusal(scene: GuestScene, port: number): Promise<void> {
  const { remote, hostAddr } = scene;
  const refused = await scene.retries.insist(() => remote.exchange(hostAddr, port, new Uint8Array(9))).then(
    () => false,
    (error) => {
      if (error instanceof Refused) return true;
      throw error;
    },
  );
  expect(refused, `${remote.name} got an answer from port ${port}`);
}

/** In virtual time: a mapping is there, and after its lifetime neither it nor its port is. */
async function expire(scene: GuestScene): Promise<string> {
  const { side, env, names } = scene;
  const { program } = side.network;
  await exchange(scene, ECHO_PORT, new Uint8Array(1), { local: HOP_PORT });
  const find = () =>
    program.command("maps udp").split("\n").map((line) => line.split(/\s+/)).find((words) =>
      words[1] === `${names.guest}!${HOP_PORT}`
    );
  const map = find();
  expect(map !== undefined, "There is no mapping");
  const hostPort = Number(map[2]!.split("!")[1]);
  const lifetime = program.nat.config.lifetimes.udp;
  await sleep(env.host.clock, lifetime - 1000);
  expect(find() !== undefined, "The mapping ended too early");
  await sleep(env.host.clock, 2000);
  expect(find() === undefined, `The mapping is there after ${lifetime} ms`);
  await refusal(scene, hostPort);
  return `port ${hostPort} of the host was the guest's ${HOP_PORT} for ${lifetime / 1000} s, and is refused now`;
}

/** Frames of noise, then noise over the rings: the device asks for a reset, the driver gives it, all is well again. */
async function garbage(scene: GuestScene): Promise<string> {
  const { side, random, env } = scene;
  const { card } = side.model!;
  await spoilFrames(scene);
  const before = card.driver.counters.restarts;
  card.spoil(random.fill(new Uint8Array(4096)));
  await sleep(env.host.clock, 10);
  expect(card.driver.counters.restarts > before, "The device did not ask for a reset");
  await ping(scene, scene.names.router);
  await echo(scene, scene.retries.hopeless(FRAGMENTED, scene.family) === null ? FRAGMENTED : 1);
  return `the device asked for a reset (${card.driver.counters.restarts}), and the guest works again`;
}

async function spoilFrames(scene: GuestScene): Promise<void> {
  const { side, random, env } = scene;
  const { nat } = side.network.program;
  const { card, kernel } = side.model!;
  const mapsBefore = [...nat.table.maps()].length;
  for (let i = 0; i < 200; i++) {
    const frame = random.fill(new Uint8Array(14 + random.below(1500)));
    HOST_MAC.put(frame, 0);
    if (i % 2 === 0) frame.set(LIKE_IPV4.slice(0, frame.length - ETHER_TYPE_AT), ETHER_TYPE_AT);
    card.driver.transmit(kernel.kernel.blocks.from(frame));
  }
  await sleep(env.host.clock, 10);
  expect([...nat.table.maps()].length <= mapsBefore, "Noise made a mapping");
}
