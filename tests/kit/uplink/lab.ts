/**
 * netd on sockets of a machine, with a router between that machine and the world, in network namespaces of the test's
 * own:
 *
 *     await using lab = await openUplinkLab({ options: ["--forward", "tcp:8080:9"] });
 *     await lab.guestMust("ping", "-c", "1", WORLD[4]);
 *
 * ```
 *   guest ─tap0─ netd ─ sockets in "host" ─h0─r0─ "router" ─r1─w0─ "world"
 * ```
 *
 * netd runs as a user without any right, the guest is a namespace of that user's. In the world run the servers of
 * tests/kit/uplink/peer.py, and a name server.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { createNetns, type Netns, openNetns } from "../../../devices/host/netns.ts";
import { ROOT } from "../check/tree.ts";
import type { Need } from "../check/skip.ts";
import { runTool, type ToolOptions, type ToolResult } from "../host/linux.ts";
import { Child, NetdLab, netdNeeds, startPeer, untilReady } from "../netd/netd.ts";
import { AS_NOBODY, rootlessNetd } from "../netd/rootless.ts";

/** Versions of IP, each by its number. */
export const VERSIONS = [4, 6] as const;

/** Addresses of the world, of both sides of the router, and of the machine that netd runs on. */
export const WORLD = { 4: "203.0.113.2", 6: "2001:db8:2::2" } as const;
export const ROUTER_HOST_SIDE = { 4: "198.51.100.1", 6: "2001:db8:1::1" } as const;
export const HOST = { 4: "198.51.100.2", 6: "2001:db8:1::2" } as const;
/** The guest's router, which stands for the machine, and the guest. */
export const GATEWAY = { 4: "10.0.2.2", 6: "fd00:0:0:2::2" } as const;
export const GUEST = { 4: "10.0.2.100", 6: "fd00:0:0:2::100" } as const;

/** Runs in the namespace that may change its own, with the paths of the others' files. */
const WIRES = `
set -e
for netns in "$1" "$2" "$3"; do nsenter --net="$netns" sysctl -qw net.ipv6.conf.default.accept_dad=0; done
ip link add h0 netns "$1" type veth peer name r0 netns "$2"
ip link add r1 netns "$2" type veth peer name w0 netns "$3"
`;

function side(device: string, v4: string, v6: string): string {
  return `ip link set ${device} up\nip addr add ${v4} dev ${device}\nip addr add ${v6} dev ${device} nodad\n`;
}

/** What each namespace is set up by. */
const SIDES = {
  host: side("h0", `${HOST[4]}/24`, `${HOST[6]}/64`) +
    `ip route add default via ${ROUTER_HOST_SIDE[4]}\nip -6 route add default via ${ROUTER_HOST_SIDE[6]}\n` +
    `sysctl -qw net.ipv4.ping_group_range="0 2147483647"\n`,
  // What the router has no route for is the world's, which loses it.
  router: side("r0", `${ROUTER_HOST_SIDE[4]}/24`, `${ROUTER_HOST_SIDE[6]}/64`) +
    side("r1", "203.0.113.1/24", "2001:db8:2::1/64") +
    `ip route add default via ${WORLD[4]}\nip -6 route add default via ${WORLD[6]}\n` +
    "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 " +
    "net.ipv4.icmp_ratemask=0 net.ipv6.icmp.ratelimit=0 net.ipv4.icmp_msgs_per_sec=100000\n",
  world: side("w0", `${WORLD[4]}/24`, `${WORLD[6]}/64`) +
    `ip route add default via 203.0.113.1\nip -6 route add default via 2001:db8:2::1\n` +
    "sysctl -qw net.core.somaxconn=4096 net.ipv4.tcp_max_syn_backlog=4096\n",
};

/** Needs of every such lab, and the tools `names`. */
export function uplinkNeeds(...names: string[]): Need[] {
  return [...netdNeeds("setpriv", "/usr/bin/python3", ...names), "userns"];
}

/** How a lab is made. */
export interface UplinkLabOptions {
  /** Options of netd besides guest and name server. */
  readonly options?: readonly string[];
  /** Whether the servers run in the guest, too. */
  readonly guestServers?: boolean;
  /** No guest: for tests that start netd themselves. */
  readonly noNetd?: boolean;
  /** Shell that runs in the machine's namespace before netd starts. */
  readonly onHost?: string;
}

/** See above. */
export class UplinkLab extends NetdLab {
  /** By where they run; their text has a line for each play. */
  readonly servers = new Map<string, Child>();
  /** The program whose network the guest's is: netd ends with it. */
  guestProcess!: Child;

  constructor(readonly host: Netns, readonly router: Netns, world: Netns, guest: Netns, folder: string) {
    super(world, guest, folder);
  }

  /** A line of shell in one of the namespaces, which must do well; its output. */
  async must(where: "host" | "router" | "world" | "guest", line: string, options: ToolOptions = {}): Promise<string> {
    const { code, text } = await runTool(this[where], ["sh", "-c", line], options);
    assertEquals(code, 0, `${line}: ${text}`);
    return text;
  }

  onHost(command: readonly string[], options: ToolOptions = {}): Promise<ToolResult> {
    return runTool(this.host, command, options);
  }

  /** A command of peer.py in one of the namespaces, with `input` as JSON; its answers. */
  async peer<T>(
    where: "host" | "router" | "world" | "guest",
    command: readonly (string | number)[],
    input: unknown = null,
  ): Promise<T[]> {
    const words = ["/usr/bin/python3", `${ROOT}/tests/kit/uplink/peer.py`, ...command.map(String)];
    const stdin = new TextEncoder().encode(JSON.stringify(input));
    const { code, text } = await runTool(this[where], words, { stdin, limitMs: 60_000 });
    assertEquals(code, 0, `${command.join(" ")}: ${text}`);
    return linesOf<T>(text);
  }

  /** Starts servers in a namespace; what they print is the plays' results. */
  async serve(where: "host" | "world" | "guest", ...address: string[]): Promise<void> {
    this.servers.set(where, await this.start(where, "serve", ...address));
  }

  /** Starts peer.py in a namespace, until it is ready. */
  async start(where: "host" | "router" | "world" | "guest", ...command: string[]): Promise<Child> {
    const program = ["/usr/bin/python3", `${ROOT}/tests/kit/uplink/peer.py`, ...command];
    const child = new Child("nsenter", [`--net=${this[where].path}`, ...program]);
    this.children.push(child);
    await child.until("ready");
    return child;
  }

  /** A netd of a user without any right, in the machine's namespace. */
  startNetd(...options: string[]): Child {
    const folder = `${this.folder}/netd-${crypto.randomUUID().slice(0, 8)}`;
    Deno.mkdirSync(folder);
    const [program, ...args] = rootlessNetd(this.host.path, folder, options);
    return new Child(program!, args);
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    try {
      await super[Symbol.asyncDispose]();
    } finally {
      this.router.close();
      this.host.close();
    }
  }
}

/** The lines of JSON in `text`. */
export function linesOf<T>(text: string): T[] {
  return text.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
}

/** Makes the namespaces, the servers and netd. */
export async function openUplinkLab(options: UplinkLabOptions = {}): Promise<UplinkLab> {
  const id = crypto.randomUUID().slice(0, 8);
  const folder = await Deno.makeTempDir({ prefix: "akarino-uplink-" });
  await Deno.chmod(folder, 0o777);
  const [host, router, world] = ["host", "router", "world"].map((name) => createNetns(`up-${name}-${id}`));
  const sleeper = new Child(AS_NOBODY[0]!, [
    ...AS_NOBODY.slice(1),
    ...["unshare", "-Urn", "sh", "-c", "ip link set lo up; echo up; exec sleep 600"],
  ]);
  await sleeper.until("up");
  const guest = openNetns(`/proc/${sleeper.pid}/ns/net`);
  const lab = new UplinkLab(host!, router!, world!, guest, folder);
  lab.guestProcess = sleeper;
  try {
    const paths = [host!.path, router!.path, world!.path];
    assertEquals((await runTool(host!, ["sh", "-c", WIRES, "sh", ...paths])).code, 0);
    for (const where of ["host", "router", "world"] as const) await lab.must(where, `set -e\n${SIDES[where]}`);
    if (options.onHost !== undefined) await lab.must("host", options.onHost);
    const servers = lab.serve("world");
    const names = startPeer(lab.world);
    if (options.noNetd !== true) {
      const guestIs = ["--netns", `${sleeper.pid}`, "--configure", "--ipv6", "--dns", WORLD[4]];
      const netd = lab.startNetd(...guestIs, "--api-socket", lab.apiSocket, ...options.options ?? []);
      lab.netd = await untilReady(netd);
      // The guest's own address of IPv6 comes by router advertisement; its last bytes are Linux' choice.
      if (options.guestServers === true) await lab.serve("guest");
    }
    lab.children.push(await names, sleeper);
    await servers;
    return lab;
  } catch (error) {
    lab.children.push(sleeper);
    await lab[Symbol.asyncDispose]();
    throw error;
  }
}
