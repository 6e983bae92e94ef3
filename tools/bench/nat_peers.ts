/**
 * A namespace as a guest behind us by a TAP or by sockets, slirp4netns or pasta: the same world, the same tools.
 *
 * Path: nat_benches → nat_peers → linux_peers, libc, netns.
 *
 * ```
 *   guest namespace ─tap0─ netd ─TAP aka0─ world namespace
 *   guest namespace ─tap0─ netd, slirp4netns, pasta: inside the world namespace, whose sockets they use
 * ```
 *
 * @module
 */

import { EACCES, HostError } from "../../devices/host/libc.ts";
import { createNetns, type Netns } from "../../devices/host/netns.ts";
import project from "../../deno.json" with { type: "json" };
import { IPERF3_SERVER, PERL_SERVER, perlClient, PORT, runIn, withServer } from "./linux_peers.ts";

/** Address that the guest talks to: of the world's end of the uplink, or of a device that leads nowhere. */
const WORLD = "10.99.0.1";
/** What reaches the machine behind pasta, which wants a route to take an address from. */
const WORLD_GATEWAY = "10.99.0.254";
/** Ours, with the flags of V8 that its task has. */
const NETD_ARGS = [
  ...["run", /--v8-flags=\S+/.exec(project.tasks.netd.command)![0], "--no-prompt", "--allow-ffi"],
  new URL("../netd.ts", import.meta.url).href,
];
/** How long a program may take to set up its interface. */
const READY_LIMIT_MS = 5000;
/** Ticks of /proc/PID/stat in a second, on every machine (USER_HZ: proc(5)). */
const TICKS = 100;

/** How a guest gets its network. */
interface GuestWay {
  readonly name: string;
  /** Whether it is measured by latency alone: it has a core that others may need. */
  readonly latencyOnly?: boolean;
  /** Whether it is a process of the world namespace, with sockets of it; else it has a device there. */
  readonly isInside: boolean;
  command(world: Netns, guest: Netns): readonly string[];
}

function netd(uplink: (world: Netns) => readonly string[], options: readonly string[] = []): GuestWay["command"] {
  return (world, guest) => {
    const args = ["--netns", guest.name, "--configure", "--dns", WORLD, ...uplink(world), ...options];
    return [Deno.execPath(), ...NETD_ARGS, ...args];
  };
}

const byTap = (world: Netns) => ["--uplink", "tap", "--uplink-netns", world.name, "--uplink-device", "aka0"];
const bySockets = () => ["--uplink", "socket"];

/** In the order in which they take turns. */
export const GUEST_WAYS: readonly GuestWay[] = [
  { name: "netd tap", isInside: false, command: netd(byTap) },
  { name: "netd tap --busy-poll 3", latencyOnly: true, isInside: false, command: netd(byTap, ["--busy-poll", "3"]) },
  { name: "netd socket", isInside: true, command: netd(bySockets) },
  {
    name: "slirp4netns",
    isInside: true,
    command: (_, guest) => ["slirp4netns", "--netns-type=path", "--configure", guest.path, "tap0"],
  },
  {
    name: "slirp4netns --mtu 65520",
    isInside: true,
    command: (_, guest) => ["slirp4netns", "--netns-type=path", "--mtu=65520", "--configure", guest.path, "tap0"],
  },
  // With its own MTU of 65520. One stream up may stall: it promises a window above what its socket takes, and drops the
  // rest with fewer acknowledgments than fast retransmission needs, so that the guest waits for its timer.
  {
    name: "pasta",
    isInside: true,
    command: (_, guest) => [
      ...["pasta", "--foreground", "--quiet", "--runas", "0", "--config-net", "--netns-only"],
      ...["--address", "10.0.2.100", "--netmask", "24", "--gateway", "10.0.2.2", "--ns-ifname", "tap0"],
      ...["--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none"],
      ...["--ipv4-only", "--netns", guest.path],
    ],
  },
];

/** A guest, ready. */
export interface NatGuest extends AsyncDisposable {
  readonly way: GuestWay;
  /** Median round trip of so many pings, in nanoseconds. */
  ping(count: number): Promise<number>;
  /** Seconds that so many connections take, so many at a time. */
  calls(count: number, atOnce: number): Promise<number>;
  /** Seconds that so many requests of one byte take, each after the answer to the last. */
  turns(count: number): Promise<number>;
  /** Bytes a second that arrived. */
  iperf3(args: readonly string[]): Promise<number>;
  /** Seconds of a processor that its network has had so far. */
  cpu(): Promise<number>;
  /** The most memory, in bytes, that its network has had. */
  memory(): Promise<number>;
}

/** A program that is a guest's network. */
interface Running {
  readonly pid: number;
  close(): Promise<void>;
}

/** Makes it. Throws HostError if the machine, or the program, is not there. */
export async function openNatGuest(way: GuestWay): Promise<NatGuest> {
  using stack = new DisposableStack();
  const number = GUEST_WAYS.indexOf(way);
  const world = stack.use(createNetns(`nb-world-${number}-${Deno.pid}`));
  const guest = stack.use(createNetns(`nb-guest-${number}-${Deno.pid}`));
  if (way.isInside) await setAddress(world);
  const inside = way.isInside ? ["nsenter", `--net=${world.path}`] : [];
  const { pid, close } = await start(way, guest, [...inside, ...way.command(world, guest)]);
  const held = stack.move();
  const proc = (name: string) => runIn(world, "cat", `/proc/${pid}/${name}`);
  return {
    way,
    ping: (count) => ping(guest, count),
    calls: (count, atOnce) =>
      withServer(world, PERL_SERVER, () => perlClient(guest, { what: "calls", host: WORLD, count, atOnce })),
    turns: (count) => withServer(world, PERL_SERVER, () => perlClient(guest, { what: "turns", host: WORLD, count })),
    iperf3: (args) => withServer(world, IPERF3_SERVER, () => iperf3(guest, args)),
    cpu: async () => {
      const fields = (await proc("stat")).split(") ")[1]!.split(" ");
      return (Number(fields[11]) + Number(fields[12])) / TICKS;
    },
    memory: async () => Number(/^VmHWM:\s+(\d+) kB$/m.exec(await proc("status"))?.[1] ?? NaN) * 1024,
    async [Symbol.asyncDispose]() {
      await close();
      held.dispose();
    },
  };
}

/** Gives the world its address, a route, and sockets for pings, where no uplink does. */
async function setAddress(world: Netns): Promise<void> {
  await runIn(world, "ip", "link", "add", "away", "type", "veth", "peer", "name", "nowhere");
  await runIn(world, "ip", "addr", "add", `${WORLD}/24`, "dev", "away");
  for (const name of ["away", "nowhere"]) await runIn(world, "ip", "link", "set", name, "up");
  await runIn(world, "ip", "route", "add", "default", "via", WORLD_GATEWAY);
  await runIn(world, "sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647");
}

/** Starts a program and waits until it has given `guest` its route. */
async function start(way: GuestWay, guest: Netns, [command, ...args]: readonly string[]): Promise<Running> {
  const child = new Deno.Command(command!, { args, stdin: "null", stdout: "null", stderr: "null" }).spawn();
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
    throw new HostError(`Cannot start ${way.name}`, EACCES, { reason: "is it installed?" });
  }
  return { pid: child.pid, close };
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
