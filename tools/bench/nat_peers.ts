/**
 * A namespace as a guest behind us, or behind slirp4netns: the same world, the same tools.
 *
 * Path: nat_benches → nat_peers → linux_peers, libc, netns.
 *
 * ```
 *   guest namespace ─tap0─ netd ─TAP aka0─ world namespace
 *   guest namespace ─tap0─ slirp4netns, itself inside the world namespace
 * ```
 *
 * @module
 */

import { EACCES, HostError } from "../../devices/host/libc.ts";
import { createNetns, type Netns } from "../../devices/host/netns.ts";
import { IPERF3_SERVER, PERL_SERVER, perlClient, PORT, runIn, withServer } from "./linux_peers.ts";

export const GUEST_KINDS = ["netd", "netd --busy-poll 3", "slirp4netns"] as const;
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
  const close = program === "netd" ? await openNetd(world, guest, options) : await openSlirp(world, guest);
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

/** A process of its own, as for its users: nothing of ours beside it in its loop. */
async function openNetd(world: Netns, guest: Netns, options: readonly string[]): Promise<() => Promise<void>> {
  const uplink = ["--uplink", "tap", "--uplink-netns", world.name, "--uplink-device", "aka0", "--dns", WORLD];
  const netd = ["run", "--no-prompt", "--allow-ffi", "--allow-write=/proc/sys", NETD];
  const args = [...netd, "--netns", guest.name, "--configure", ...uplink, ...options];
  return await start(guest, Deno.execPath(), args);
}

async function openSlirp(world: Netns, guest: Netns): Promise<() => Promise<void>> {
  await runIn(world, "ip", "addr", "add", `${WORLD}/32`, "dev", "lo");
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
    throw new HostError(`Cannot start ${args.includes(NETD) ? "netd" : "slirp4netns"}`, EACCES, {
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
