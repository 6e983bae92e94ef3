/**
 * Benchmarks of TCP: goodput, connections a second, latency and memory; between two kernels in memory, to and
 * from Linux over a TAP, and beside them the same figures of Linux to Linux over a veth pair.
 *
 * Path: benches → tcp_benches → boot, system calls, linux_peers.
 *
 * Goodput is the time of one MiB, so operations a second are MiB/s.
 *
 * @module
 */

import { EINVAL, HostError } from "../../devices/host/libc.ts";
import { pause } from "../../devices/host/pause.ts";
import type { TapPort } from "../../devices/host/tun.ts";
import { type Conversation, hangUp, listen } from "../../kernel/dial.ts";
import { KernelError } from "../../kernel/error.ts";
import type { Proc } from "../../kernel/proc.ts";
import { AGAIN } from "../../kernel/sys.ts";
import { boot, type Host } from "../boot/boot.ts";
import { serveIperf3 } from "./iperf3.ts";
import {
  IPERF3_SERVER,
  iperf3Client,
  openVethPair,
  PERL_SERVER,
  perlClient,
  PORT,
  VETH_SERVER,
  withServer,
} from "./linux_peers.ts";
import { type Bench, measure, type Tell } from "./measure.ts";

const MIB = 1 << 20;
const CHUNK = 1 << 17;
const OURS = "10.99.0.2";
const LINUX = "10.99.0.1";
/** Rounds of what Linux' programs measure, and how long each is. */
const ROUNDS = 3;
const IPERF3_SECONDS = 1;
const CALLS = 1000;
const TURNS = 5000;
/** Idle connections whose memory is measured. */
const IDLE = 1000;

/** All of TCP's, in the order in which they run. */
export const TCP_BENCHES: readonly Bench[] = [
  { name: "tcp-memory", run: kernelToKernel },
  { name: "tcp-idle", run: idleConnections },
  { name: "tcp-tap", run: overTap },
  { name: "tcp-veth", run: overVeth },
];

/** Tells the median of some rounds, each of which took `seconds` for one operation. */
function tellRounds(tell: Tell, name: string, seconds: readonly number[]): void {
  const sorted = seconds.toSorted((a, b) => a - b);
  const ns = sorted[sorted.length >> 1]! * 1e9;
  tell({ name, ns, perSecond: 1e9 / ns, spread: sorted.at(-1)! / sorted[0]! });
}

/** Runs `round` some times and reports the median of the seconds that one of its operations took. */
async function tellMedian(tell: Tell, name: string, round: () => Promise<number>): Promise<void> {
  const seconds: number[] = [];
  for (let i = 0; i < ROUNDS; i++) seconds.push(await round());
  tellRounds(tell, name, seconds);
}

// --- in memory ---

/** Two ends of one connection. */
interface Pair {
  readonly near: Conversation;
  readonly far: Conversation;
}

/** Two kernels on a cable, a process on each, and connections between them. */
class TwoKernels implements AsyncDisposable {
  private constructor(
    readonly host: Host,
    readonly client: Proc,
    readonly server: Proc,
    readonly calls: Conversation,
  ) {}

  static async open(offloads: boolean): Promise<TwoKernels> {
    const host = await boot({ wire: "memory", cable: { offloads } });
    const other = await host.neighbor();
    const server = host.spawn("server");
    return new TwoKernels(host, other.spawn("client"), server, await server.announce(`tcp!*!${PORT}`));
  }

  async connect(): Promise<Pair> {
    const near = await this.client.dial(`tcp!${this.host.address}!${PORT}`);
    return { near, far: await listen(this.server, this.calls) };
  }

  close({ near, far }: Pair): void {
    hangUp(this.client, near);
    hangUp(this.server, far);
  }

  /** Sends `total` bytes over each of `pairs`. */
  async send(pairs: readonly Pair[], total: number): Promise<void> {
    const out = new Uint8Array(CHUNK);
    const into = new Uint8Array(CHUNK);
    const left = pairs.map(() => ({ toSend: total, toRead: total }));
    while (left.some(({ toRead }) => toRead > 0)) {
      let moved = 0;
      pairs.forEach(({ near, far }, i) => {
        const one = left[i]!;
        const sent = one.toSend === 0
          ? 0
          : this.client.sys.write(near.data, out.subarray(0, Math.min(CHUNK, one.toSend)));
        const got = this.server.sys.read(far.data, into);
        if (sent !== AGAIN) moved += sent, one.toSend -= sent;
        if (got !== AGAIN) moved += got, one.toRead -= got;
      });
      // Everybody waits: for a timer, which comes at once.
      if (moved === 0) await pause();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.host.world.close();
  }
}

async function kernelToKernel(tell: Tell): Promise<void> {
  for (const offloads of [false, true]) {
    await using both = await TwoKernels.open(offloads);
    for (const streams of [1, 4]) {
      const pairs: Pair[] = [];
      for (let i = 0; i < streams; i++) pairs.push(await both.connect());
      const name = `tcp, kernel to kernel, ${streamsText(streams, offloads)}, 1 MiB`;
      tell(await measure(name, 1, () => both.send(pairs, MIB / streams)));
      for (const pair of pairs) both.close(pair);
    }
  }
  await using both = await TwoKernels.open(false);
  tell(
    await measure("tcp, kernel to kernel, connect and close", 1, async () => {
      both.close(await both.connect());
      // Time passes, and with it what waits for nothing but time.
      await pause();
    }),
  );
  const pair = await both.connect();
  tell(await measure("tcp, kernel to kernel, a byte there and back", 1, () => turn(both, pair)));
}

async function turn({ client, server }: TwoKernels, { near, far }: Pair): Promise<void> {
  const byte = new Uint8Array(1);
  await client.write(near.data, byte);
  await server.read(far.data, byte);
  await server.write(far.data, byte);
  await client.read(near.data, byte);
}

function streamsText(streams: number, offloads: boolean): string {
  return `${streams} stream${streams === 1 ? "" : "s"}${offloads ? ", offloads" : ""}`;
}

/** The figure is the time to make one; its name has the memory that it holds while idle. */
async function idleConnections(tell: Tell): Promise<void> {
  const { gc } = globalThis as { gc?: () => void };
  if (gc === undefined) {
    throw new HostError("Cannot measure memory", EINVAL, { reason: "needs --v8-flags=--expose-gc" });
  }
  const heap = () => {
    gc();
    gc();
    const { heapUsed, external } = Deno.memoryUsage();
    return heapUsed + external;
  };
  await using both = await TwoKernels.open(false);
  // Tables grow and code is compiled before it counts.
  const warm = await connections(both, IDLE);
  for (const pair of warm) both.close(pair);
  await both.host.clock.jobs.run();
  const before = heap();
  const began = performance.now();
  const pairs = await connections(both, IDLE);
  const seconds = (performance.now() - began) / 1000 / IDLE;
  const bytes = Math.round((heap() - before) / (2 * pairs.length));
  tellRounds(tell, `tcp, an idle connection holds ${bytes} bytes; made in`, [seconds]);
}

async function connections(both: TwoKernels, count: number): Promise<Pair[]> {
  const pairs: Pair[] = [];
  for (let i = 0; i < count; i++) pairs.push(await both.connect());
  return pairs;
}

// --- with Linux ---

/** Echoes one connection after another until the process ends, and closes after the other side. */
async function echoServer(proc: Proc, port: number): Promise<void> {
  const server = await proc.announce(`tcp!*!${port}`);
  const buf = new Uint8Array(CHUNK);
  try {
    while (true) {
      const call = await listen(proc, server);
      for (let got = 0; (got = await proc.read(call.data, buf)) > 0;) await proc.write(call.data, buf.subarray(0, got));
      hangUp(proc, call);
    }
  } catch (error) {
    // The end of the process ends the server.
    if (!(error instanceof KernelError && (error.code === "EINTR" || error.code === "EBADF"))) throw error;
  }
}

async function overTap(tell: Tell): Promise<void> {
  for (const offload of [false, true]) {
    const linux = { netns: "new", address: `${LINUX}/24`, offload };
    await using host = await boot({ wire: "tap", address: `${OURS}/24`, linux });
    await goodputOverTap(tell, host, offload);
    if (!offload) await callsOverTap(tell, host);
  }
}

async function goodputOverTap(tell: Tell, host: Host, offload: boolean): Promise<void> {
  const { netns } = host.port as TapPort;
  const server = host.spawn("iperf3");
  const serving = serveIperf3(server, PORT);
  for (const reverse of [false, true]) {
    for (const streams of [1, 4]) {
      const way = reverse ? "to Linux" : "from Linux";
      await tellMedian(tell, `tcp, ${way} over TAP, ${streamsText(streams, offload)}, 1 MiB`, async () => {
        return MIB / await iperf3Client(netns!, OURS, { streams, reverse, seconds: IPERF3_SECONDS });
      });
    }
  }
  server.exit();
  await serving;
}

async function callsOverTap(tell: Tell, host: Host): Promise<void> {
  const netns = (host.port as TapPort).netns!;
  const server = host.spawn("echo");
  const serving = echoServer(server, PORT);
  for (const what of ["calls", "turns"] as const) {
    await tellCalls(tell, "from Linux over TAP", what, (count) => perlClient(netns, { what, host: OURS, count }));
  }
  server.exit();
  await serving;
  const client = host.spawn("client");
  await withServer(netns, PERL_SERVER, async () => {
    await tellCalls(tell, "to Linux over TAP", "calls", (count) => makeCalls(client, count));
    await tellCalls(tell, "to Linux over TAP", "turns", (count) => takeTurns(client, count));
  });
}

async function tellCalls(
  tell: Tell,
  way: string,
  what: "calls" | "turns",
  seconds: (count: number) => Promise<number>,
): Promise<void> {
  const count = what === "calls" ? CALLS : TURNS;
  const name = `tcp, ${way}, ${what === "calls" ? "connect and close" : "a byte there and back"}`;
  await seconds(count >> 2);
  await tellMedian(tell, name, async () => await seconds(count) / count);
}

/** Seconds that `count` connections to Linux take. */
async function makeCalls(proc: Proc, count: number): Promise<number> {
  const began = performance.now();
  const byte = new Uint8Array(1);
  for (let i = 0; i < count; i++) {
    const call = await proc.dial(`tcp!${LINUX}!${PORT}`);
    await proc.write(call.ctl, "shutdown wr");
    await proc.read(call.data, byte);
    hangUp(proc, call);
  }
  return (performance.now() - began) / 1000;
}

/** Seconds that `count` bytes, each sent when the last has come back, take. */
async function takeTurns(proc: Proc, count: number): Promise<number> {
  const call = await proc.dial(`tcp!${LINUX}!${PORT}`);
  const byte = new Uint8Array(1);
  const began = performance.now();
  for (let i = 0; i < count; i++) {
    await proc.write(call.data, byte);
    await proc.read(call.data, byte);
  }
  const seconds = (performance.now() - began) / 1000;
  hangUp(proc, call);
  return seconds;
}

/** Linux to Linux. */
async function overVeth(tell: Tell): Promise<void> {
  for (const offload of [false, true]) {
    using pair = await openVethPair(offload);
    await withServer(pair.server, IPERF3_SERVER, async () => {
      for (const streams of [1, 4]) {
        await tellMedian(tell, `tcp, Linux to Linux over veth, ${streamsText(streams, offload)}, 1 MiB`, async () => {
          return MIB /
            await iperf3Client(pair.client, VETH_SERVER, { streams, reverse: false, seconds: IPERF3_SECONDS });
        });
      }
    });
    if (!offload) continue;
    await withServer(pair.server, PERL_SERVER, async () => {
      for (const what of ["calls", "turns"] as const) {
        const seconds = (count: number) => perlClient(pair.client, { what, host: VETH_SERVER, count });
        await tellCalls(tell, "Linux to Linux over veth", what, seconds);
      }
    });
  }
}
