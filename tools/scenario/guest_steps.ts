/**
 * The guest's steps: its network goes through its card, the NAT and bypassed conversations of the host.
 *
 * Path: scenario → guest_steps → guest_types.
 *
 * @module
 */

import { SeededRandom } from "../../kernel/random.ts";
import { dnsAnswer, dnsLen, dnsQuery, emitDns, parseDns } from "../../kernel/wire/dns.ts";
import { parseIpAddr } from "../../kernel/wire/ip_addr.ts";
import { parseMacAddr } from "../../kernel/wire/mac_addr.ts";
import { HOST_MAC } from "../nat/config.ts";
import type { GuestSide } from "./guest_types.ts";
import { KernelEndpoint } from "./kernel_endpoint.ts";
import { type Endpoint, Refused, type SendOptions } from "./endpoint.ts";
import { Retries } from "./retries.ts";
import { expect, type Skipped, type Step } from "./report.ts";
import { hopelessSizes } from "./steps.ts";
import { type Environment, sleep } from "./environment.ts";

/** Sizes of the guest's datagrams. */
export const GUEST_UDP_SIZES = [0, 1, 1472, 1473, 9000, 65507] as const;
/** A datagram of a few fragments. */
const FRAGMENTED = 9000;
const PING_BYTES = 56;
const PING_ID = 4711;
const DNS_PORT = 53;
const ECHO_PORT = 7;
const ECN_PORT = 8007;
const CLOSED_PORT = 4998;
const TRACE_PORT = 33434;
const HOP_PORT = 40_000;
/** DSCP 46 and ECT(0); ECT(0) and ECT(1) alone: what went in must come out. */
const TOS_OUT = 0xba;
const TOS_BACK = 0x03;
const TTL_OUT = 33;
const ANSWER_NAME = "scenario.test";
const ANSWER_ADDR = "192.0.2.77";

/** Where a frame says what it is, and an IPv4 packet without options; a short frame has only a part of it. */
const ETHER_TYPE_AT = 12;
const LIKE_IPV4 = [8, 0, 0x45];

const EXPIRES = "guest: a mapping expires";
const GARBAGE = "guest: garbage in rings and frames";

/** What the steps are about. */
export interface GuestScene {
  readonly env: Environment;
  readonly side: GuestSide;
  readonly guest: Endpoint;
  readonly remote: Endpoint;
  /** Programs of the host itself. */
  readonly host: KernelEndpoint;
  /** The router's address, as the guest knows it. */
  readonly router: string;
  readonly random: SeededRandom;
  /** What is to be done about a wire that loses, corrupts or delays packets. */
  readonly retries: Retries;
}

/** Makes the scene. */
export function guestScene(env: Environment, side: GuestSide, seed: number, retries = new Retries()): GuestScene {
  const { host } = env;
  return {
    ...{ env, side, guest: side.endpoint, remote: env.endpoint, retries },
    host: new KernelEndpoint("host", host.spawn("services"), host.clock, host.address),
    router: `${side.network.program.nat.config.router}`,
    random: new SeededRandom(seed + 1),
  };
}

/** The steps below TCP. */
export function guestSteps(scene: GuestScene): Step[] {
  const { side, remote, router, env, retries } = scene;
  const steps: Step[] = [
    { name: "guest: DHCP", run: () => configure(scene) },
    { name: "guest: ARP of the router", run: () => resolveRouter(scene) },
    { name: "guest: ping router", run: () => ping(scene, router) },
    { name: "guest: ping remote", run: () => ping(scene, remote.address) },
  ];
  for (const size of GUEST_UDP_SIZES.filter((one) => retries.hopeless(one) === null)) {
    steps.push({ name: udpName(size), run: () => echo(scene, size) });
  }
  steps.push(
    { name: "guest: DNS by the relay", run: () => resolveName(scene) },
    { name: "guest: traceroute shows our hop", run: () => trace(scene) },
    { name: "guest: ECN and DSCP survive", run: () => marks(scene) },
    { name: "remote: an unmapped port is refused", run: () => unmapped(scene) },
  );
  if (env.wire === "memory") steps.push({ name: EXPIRES, run: () => expire(scene) });
  if (side.model !== null) steps.push({ name: GARBAGE, run: () => garbage(scene) });
  return steps;
}

function udpName(size: number): string {
  return `guest: udp echo, ${size} bytes`;
}

/** Steps that this wire or guest cannot have, and why: told, and never counted as held. */
export function notApplicable(scene: GuestScene): Skipped[] {
  const skipped = hopelessSizes(scene.retries, GUEST_UDP_SIZES, udpName);
  if (scene.env.wire !== "memory") {
    skipped.push({ name: EXPIRES, why: "needs virtual time: --wire memory" });
  }
  if (scene.side.model === null) {
    skipped.push({ name: GARBAGE, why: `guest ${scene.side.kind} has no virtio rings of ours: --guest model` });
  }
  return skipped;
}

async function configure(scene: GuestScene): Promise<string> {
  await serve(scene);
  const told = await scene.side.configure();
  const { guest } = scene.side.network.program.nat.config;
  expect(scene.guest.address === `${guest}`, `The guest got ${scene.guest.address}, not ${guest}`);
  return told;
}

/** The remote's services: echoes, and names. */
async function serve({ remote }: GuestScene): Promise<void> {
  await remote.serveUdp(ECHO_PORT, (bytes) => bytes);
  await remote.serveUdp(ECN_PORT, (bytes) => bytes, { tos: TOS_BACK });
  await remote.serveUdp(DNS_PORT, (bytes) => {
    const query = parseDns(bytes, 0, bytes.length);
    if (query === null) return null;
    const data = { kind: "addr", addr: parseIpAddr(ANSWER_ADDR)! } as const;
    const message = dnsAnswer(query, [{ name: query.questions[0]!.name, type: 1, class: 1, ttl: 60, data }]);
    const out = new Uint8Array(dnsLen(message));
    emitDns(message, out, 0);
    return out;
  });
}

async function resolveRouter(scene: GuestScene): Promise<string> {
  const { side, router } = scene;
  await ping(scene, router);
  const text = await side.resolved(router);
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
  await exchange(scene, ECHO_PORT, payload);
  return `same ${size} bytes back from ${scene.remote.address}`;
}

async function exchange(scene: GuestScene, port: number, payload: Uint8Array, options?: SendOptions): Promise<void> {
  const { guest, remote, retries } = scene;
  const ask = () => guest.exchange(remote.address, port, payload, options);
  await retries.insist(async () => retries.same(await ask(), payload), payload.length);
}

async function resolveName(scene: GuestScene): Promise<string> {
  const { guest, side, remote } = scene;
  const server = `${side.network.program.nat.config.dns ?? remote.address}`;
  const query = dnsQuery(scene.random.below(65536), { name: ANSWER_NAME, type: 1, class: 1 });
  const bytes = new Uint8Array(dnsLen(query));
  emitDns(query, bytes, 0);
  const answer = await scene.retries.insist(() => guest.exchange(server, DNS_PORT, bytes));
  const message = parseDns(answer, 0, answer.length);
  expect(message !== null && message.id === query.id, `${server} answered something else`);
  const data = message.answers[0]?.data;
  expect(data?.kind === "addr" && `${data.addr}` === ANSWER_ADDR, `${server} has another address for ${ANSWER_NAME}`);
  return `${ANSWER_NAME} is ${ANSWER_ADDR}, says ${server}`;
}

async function trace(scene: GuestScene): Promise<string> {
  const { guest, remote, router } = scene;
  const [first, second] = [
    await scene.retries.insist(() => guest.probe(remote.address, TRACE_PORT, 1)),
    await scene.retries.insist(() => guest.probe(remote.address, TRACE_PORT + 1, 2)),
  ];
  expect(first.from === router && first.type === 11, `Hop 1 is ${first.from}, type ${first.type}`);
  expect(second.from === remote.address && second.type === 3, `Hop 2 is ${second.from}, type ${second.type}`);
  return `1 ${first.from} time exceeded, 2 ${second.from} port unreachable`;
}

/** Looked at on both links: what the guest sent on the wire, what the remote sent on the guest's link. */
async function marks(scene: GuestScene): Promise<string> {
  const { side, env, random } = scene;
  const payload = random.fill(new Uint8Array(100));
  const options = { tos: TOS_OUT, ttl: TTL_OUT };
  const { seen, result } = await env.log.during(async () =>
    await side.log.during(() => exchange(scene, ECN_PORT, payload, options))
  );
  const out = seen.find((one) => one.direction === "out" && one.dstPort === ECN_PORT);
  expect(out?.tos === TOS_OUT, `The wire saw TOS ${out?.tos}, not ${TOS_OUT}`);
  expect(out.ttl === TTL_OUT - 1, `The wire saw TTL ${out.ttl}, not one less than ${TTL_OUT}`);
  const back = result.seen.find((one) => one.direction === "in" && one.srcPort === ECN_PORT);
  expect(back?.tos === TOS_BACK, `The guest saw TOS ${back?.tos}, not ${TOS_BACK}`);
  return `TOS 0x${TOS_OUT.toString(16)} out, 0x${TOS_BACK.toString(16)} back, TTL ${TTL_OUT} became ${out.ttl}`;
}

async function unmapped(scene: GuestScene): Promise<string> {
  const { remote, env, side } = scene;
  const { seen } = await side.log.during(() => refusal(scene, CLOSED_PORT));
  const leaked = seen.filter((one) => one.dstPort === CLOSED_PORT);
  expect(leaked.length === 0, "The guest saw a packet for a port that nobody has");
  return `${remote.name} is refused at ${env.host.address}!${CLOSED_PORT}; the guest saw nothing`;
}

/** A datagram of the remote to a port of the host's must be refused. */
async function refusal(scene: GuestScene, port: number): Promise<void> {
  const { remote, env } = scene;
  const refused = await scene.retries.insist(() => remote.exchange(env.host.address, port, new Uint8Array(9))).then(
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
  const { side, env } = scene;
  const { nat } = side.network.program;
  await exchange(scene, ECHO_PORT, new Uint8Array(1), { local: HOP_PORT });
  const find = () => [...nat.table.maps()].find((map) => map.proto === 0 && map.guestPort === HOP_PORT);
  const map = find();
  expect(map !== undefined, "There is no mapping");
  const { hostPort } = map;
  const lifetime = nat.config.lifetimes.udp;
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
  await ping(scene, scene.router);
  await echo(scene, scene.retries.hopeless(FRAGMENTED) === null ? FRAGMENTED : 1);
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
