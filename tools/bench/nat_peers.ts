/**
 * A namespace as a guest behind us, by a device or by sockets, or behind slirp4netns or pasta: the same world,
 * the same tools.
 *
 * Path: nat_benches → nat_peers → linux_peers, libc, netns.
 *
 * ```
 *   guest namespace ─tap0─ netd ─TAP aka0─ world namespace
 *   guest namespace ─tap0─ netd by sockets, slirp4netns or pasta, itself inside the world namespace
 * ```
 *
 * @module
 */

import { EACCES, HostError } from "../../devices/host/libc.ts";
import { createNetns, type Netns } from "../../devices/host/netns.ts";
import { IPERF3_SERVER, PERL_SERVER, perlClient, PORT, runIn, withServer } from "./linux_peers.ts";

export const GUEST_KINDS = ["netd", "netd --busy-poll 3", "netd sockets", "slirp4netns", "pasta"] as const;
type GuestKind = typeof GUEST_KINDS[number];

/** Address that the guest talks to: of the world's end of the uplink, or of its loopback interface. */
const WORLD = "10.99.0.1";
/** Ours, as `deno run` takes it. */
const NETD = new URL("../netd.ts", import.meta.url).href;
/** How long a program may take to set up its interface. */
const READY_LIMIT_MS = 5000;

/** A guest, ready. */
export interface NatGuest extends AsyncDisposable {
  readonly kind: GuestKind;
  /** Median round trip of so many pings, in nanoseconds. */
  ping(count: number): Promise<number>;
  /** Seconds that so many connections take, one after another. */
  calls(count: number): Promise<number>;
  /** Bytes a second that arrived. */
  iperf3(args: readonly string[]): Promise<number>;
}

/** Makes it. Throws HostError if the machine, or slirp4netns, is not there. */
export async function openNatGuest(kind: GuestKind): Promise<NatGuest> {
  using stack = new DisposableStack();
  const number = GUEST_KINDS.indexOf(kind);
  const world = stack.use(createNetns(`nb-world-${number}-${Deno.pid}`));
  const guest = stack.use(createNetns(`nb-guest-${number}-${Deno.pid}`));
  const [program, ...options] = kind.split(" ");
  if (program !== "netd" || options[0] === "sockets") await giveAddress(world);
  const close =
    await (kind === "netd sockets"
      ? openSockets(world, guest)
      : program === "netd"
      ? openNetd(world, guest, options)
      : program === "pasta"
      ? openPasta(world, guest)
      : openSlirp(world, guest));
  const held = stack.move();
  return {
    kind,
    ping: (count) => ping(guest, count),
    calls: (count) => withServer(world, PERL_SERVER, () => perlClient(guest, "calls", WORLD, count)),
    iperf3: (args) => withServer(world, IPERF3_SERVER, () => iperf3(guest, args)),
    async [Symbol.asyncDispose]() {
      await close();
      held.dispose();
    },
  };
}

/** Arguments of Deno for a process of its own, as for its users: nothing of ours beside it in its loop. */
function netdArguments(guest: Netns, ...options: readonly string[]): string[] {
  const netd = ["run", "--no-prompt", "--allow-ffi", "--allow-write=/proc/sys", NETD];
  return [...netd, "--netns", guest.path, "--configure", "--dns", WORLD, ...options];
}

async function openNetd(world: Netns, guest: Netns, options: readonly string[]): Promise<() => Promise<void>> {
  const uplink = ["--uplink", "tap", "--uplink-netns", world.name, "--uplink-device", "aka0"];
  return await start(guest, Deno.execPath(), netdArguments(guest, ...uplink, ...options));
}

/** Gives a world that no TAP of ours leads to an interface, as pasta wants one, and lets its programs ping. */
async function giveAddress(world: Netns): Promise<void> {
  await runIn(world, "ip", "link", "add", "ext0", "type", "veth", "peer", "name", "ext1");
  for (const device of ["ext0", "ext1"]) await runIn(world, "ip", "link", "set", device, "up");
  await runIn(world, "ip", "addr", "add", `${WORLD}/24`, "dev", "ext0");
  await runIn(world, "ip", "route", "add", "default", "via", WORLD.replace(/1$/, "254"));
  await runIn(world, "sysctl", "-qw", "net.ipv4.ping_group_range=0\t2147483647");
}

/** Its sockets are the world's. */
async function openSockets(world: Netns, guest: Netns): Promise<() => Promise<void>> {
  return await start(guest, "nsenter", [`--net=${world.path}`, Deno.execPath(), ...netdArguments(guest)]);
}

async function openPasta(world: Netns, guest: Netns): Promise<() => Promise<void>> {
  const addresses = ["-a", "10.0.2.100", "-n", "24", "-g", "10.0.2.2"];
  const args = [
    "-f",
    "-q",
    "--runas",
    "0",
    "--config-net",
    "-i",
    "ext0",
    ...addresses,
    "--netns",
    guest.path,
    "-I",
    "tap0",
  ];
  return await start(guest, "nsenter", [`--net=${world.path}`, "pasta", ...args]);
}

async function openSlirp(world: Netns, guest: Netns): Promise<() => Promise<void>> {
  const args = ["--netns-type=path", "--configure", guest.path, "tap0"];
  return await start(guest, "nsenter", [`--net=${world.path}`, "slirp4netns", ...args]);
}

/** Starts a program and waits until it has given `guest` its route; returns a function that ends it. */
async function start(guest: Netns, command: string, args: readonly string[]): Promise<() => Promise<void>> {
  const child = new Deno.Command(command, {
    args: [...args],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  const close = async () => {
    try {
      child.kill("SIGTERM");
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    }
    await child.status;
  };
  const end = performance.now() + READY_LIMIT_MS;
  while (!(await runIn(guest, "ip", "-o", "route")).includes("default")) {
    if (performance.now() < end) continue;
    await close();
    throw new HostError(`Cannot start ${args.includes(NETD) ? "netd" : args[1]}`, EACCES, {
      reason: "is it installed?",
    });
  }
  return close;
}

async function ping(guest: Netns, count: number): Promise<number> {
  const text = await runIn(guest, "ping", "-n", "-c", `${count}`, "-i", "0.002", WORLD);
  const times = [...text.matchAll(/time=([\d.]+) ms/g)].map((match) => Number(match[1])).sort((a, b) => a - b);
  return (times[times.length >> 1] ?? NaN) * 1e6;
}

async function iperf3(guest: Netns, args: readonly string[]): Promise<number> {
  const text = await runIn(guest, "iperf3", "-J", "-c", WORLD, "-p", `${PORT}`, ...args);
  const { end } = JSON.parse(text) as { end: Record<string, Sum | undefined> };
  const sum = end.sum_received ?? end.sum;
  const rate = (sum?.bits_per_second ?? NaN) / 8;
  // UDP has the sender's rate, and the share of it that was lost.
  return args.includes("-u") && end.sum_received === undefined ? rate * (1 - (sum?.lost_percent ?? 0) / 100) : rate;
}

interface Sum {
  readonly bits_per_second: number;
  readonly lost_percent?: number;
}
