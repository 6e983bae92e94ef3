/**
 * The soak's real side: netd as its task starts it, between two network namespaces: a guest and a remote network.
 *
 * Path: soak, memory_soak → real_soak → linux_socket, linux_tcp, clock, libc.
 *
 * @module
 */

import { RealClock } from "../../devices/host/clock.ts";
import { HostError } from "../../devices/host/libc.ts";
import { LinuxSocket } from "../../devices/host/linux_socket.ts";
import { createNetns, type Netns } from "../../devices/host/netns.ts";
import { Reactor } from "../../devices/host/reactor.ts";
import { connectLinux, type LinuxConn, LinuxListener, type LinuxLoop } from "../scenario/linux_tcp.ts";

/** The ends of a soak. */
export interface SoakSide {
  readonly name: string;
  /** One TCP connection of the guest with the world: a byte there and back, then its end from both sides. */
  connection(): Promise<void>;
  /** One UDP flow, from a port of its own: a datagram there and back. */
  flow(): Promise<void>;
  figures(): Promise<SoakFigures>;
  close(): Promise<void>;
}

/** The figures that a soak reads. */
export interface SoakFigures {
  readonly memoryMib: number;
  readonly descriptors: number;
  readonly maps: number;
}

const ROOT = new URL("../..", import.meta.url).pathname;
/** The world's address on the uplink. */
const WORLD = "10.99.0.1";
const PORT = 7;
const ANSWER_MS = 3000;
const READY_MS = 20_000;
const BYTE = new Uint8Array([42]);
/** No connection of the guest's waits in TIME-WAIT: a million would need more ports than there are. */
const SETTINGS = "echo 0 > /proc/sys/net/ipv4/tcp_max_tw_buckets; echo 1024 65535 > " +
  "/proc/sys/net/ipv4/ip_local_port_range";

/** Makes namespaces, netd and the world's servers. Throws HostError, with nothing left behind. */
export async function realSoak(): Promise<SoakSide> {
  const id = crypto.randomUUID().slice(0, 8);
  const world = createNetns(`soak-w-${id}`);
  const closes: (() => unknown)[] = [() => world.close()];
  try {
    const guest = createNetns(`soak-g-${id}`);
    closes.push(() => guest.close());
    await inside(guest, SETTINGS);
    const folder = await Deno.makeTempDir({ prefix: "akarino-soak-" });
    closes.push(() => Deno.remove(folder, { recursive: true }));
    const netd = await startNetd(world, guest, `${folder}/api.sock`);
    closes.push(() => endOf(netd));
    const clock = new RealClock();
    const reactor = new Reactor({ clock });
    reactor.start();
    closes.push(() => reactor.stop());
    return new RealSoak({ clock, reactor }, { world, guest, netd, api: `${folder}/api.sock` }, closes);
  } catch (error) {
    for (const close of closes.reverse()) await close();
    throw error;
  }
}

/** The two ends of a real soak. */
interface Places {
  readonly world: Netns;
  readonly guest: Netns;
  readonly netd: Deno.ChildProcess;
  readonly api: string;
}

class RealSoak implements SoakSide {
  readonly name = "netd between two namespaces";
  readonly #loop: LinuxLoop;
  readonly #places: Places;
  readonly #closes: (() => unknown)[];

  constructor(loop: LinuxLoop, places: Places, closes: (() => unknown)[]) {
    this.#loop = loop;
    this.#places = places;
    this.#closes = closes;
    const echo = new LinuxSocket("udp", places.world);
    echo.bind("0.0.0.0", PORT);
    echo.onMessage = ({ bytes, addr, port }) => void echo.sendTo(bytes, addr, port);
    loop.reactor.add(echo);
    const listener = new LinuxListener(
      loop,
      places.world,
      { version: 4, addr: "0.0.0.0", port: PORT },
      (conn) => void serve(conn),
    );
    closes.push(() => echo.close(), () => listener.close());
  }

  async connection(): Promise<void> {
    const conn = await connectLinux(this.#loop, this.#places.guest, WORLD, PORT);
    try {
      await conn.write(BYTE);
      await conn.closeWrite();
      const got = await conn.read();
      if (got?.[0] !== BYTE[0] || await conn.read() !== null) throw new HostError("Cannot read the byte", 5);
    } finally {
      conn.close();
    }
  }

  async flow(): Promise<void> {
    const socket = new LinuxSocket("udp", this.#places.guest);
    const answer = Promise.withResolvers<void>();
    const timer = setTimeout(() => answer.reject(new HostError("Cannot read an answer", 110)), ANSWER_MS);
    try {
      socket.onMessage = () => answer.resolve();
      this.#loop.reactor.add(socket);
      socket.sendTo(BYTE, WORLD, PORT);
      await answer.promise;
    } finally {
      clearTimeout(timer);
      socket.close();
    }
  }

  async figures(): Promise<SoakFigures> {
    const { pid } = this.#places.netd;
    const status = await look("cat", `/proc/${pid}/status`);
    const descriptors = (await look("ls", `/proc/${pid}/fd`)).trim().split("\n").length;
    const stats = await ask(this.#places.api, "stats");
    const maps = [...stats.matchAll(/^maps-\w+ (\d+)$/gm)].reduce((sum, match) => sum + Number(match[1]), 0);
    return {
      memoryMib: Number(/VmRSS:\s+(\d+)/.exec(status)![1]) / 1024,
      descriptors,
      maps,
    };
  }

  async close(): Promise<void> {
    for (const close of this.#closes.reverse()) await close();
  }
}

/** The remote end of a connection: it echoes. */
async function serve(conn: LinuxConn): Promise<void> {
  try {
    for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) await conn.write(bytes);
  } catch {
    // The other end is gone, and counts that itself.
  } finally {
    conn.close();
  }
}

/** Runs a line of shell in a namespace. */
async function inside(netns: Netns, line: string): Promise<void> {
  const { success, stderr } = await new Deno.Command("nsenter", {
    args: [`--net=${netns.path}`, "sh", "-c", line],
    stdout: "null",
    stderr: "piped",
  }).output();
  if (!success) throw new HostError(new TextDecoder().decode(stderr).trim(), 5);
}

/** Reads a file below /proc by a program: Deno needs every permission for that. */
async function look(program: "cat" | "ls", path: string): Promise<string> {
  return new TextDecoder().decode((await new Deno.Command(program, { args: [path] }).output()).stdout);
}

/** Starts netd as its task does, and waits until it is ready. */
async function startNetd(world: Netns, guest: Netns, api: string): Promise<Deno.ChildProcess> {
  const { tasks } = JSON.parse(Deno.readTextFileSync(`${ROOT}/deno.json`));
  const words = (tasks.netd.command as string).split(" ").slice(1);
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...[
        ...words,
        "--netns",
        guest.name,
        "--configure",
        "--uplink",
        "tap",
        "--uplink-netns",
        world.name,
        "--uplink-device",
        "aka0",
      ],
      ...["--api-socket", api, "--dns", WORLD],
    ],
    cwd: ROOT,
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), READY_MS);
  let text = "";
  const reader = child.stdout.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>).getReader();
  while (!text.includes("netd: ready")) {
    const { done, value } = await reader.read();
    if (done) throw new HostError("Cannot start netd", 5, { reason: text.trim() });
    text += value;
  }
  clearTimeout(timer);
  // The rest is discarded, so that it does not fill the pipe.
  (async () => {
    while (!(await reader.read()).done);
  })();
  return child;
}

async function endOf(child: Deno.ChildProcess): Promise<void> {
  child.kill("SIGTERM");
  await child.status;
}

async function ask(path: string, command: string): Promise<string> {
  using conn = await Deno.connect({ transport: "unix", path });
  await conn.write(new TextEncoder().encode(`${command}\n`));
  await conn.closeWrite();
  return await new Response(conn.readable).text();
}
