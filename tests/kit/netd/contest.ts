/**
 * Networks for a guest, each with the same world on its other side: netd by its two uplinks, slirp4netns, pasta, passt.
 *
 *     await using contest = await openContest(CONTESTANTS[1]!);
 *     await contest.inGuest(["curl", `http://${FAMILIES[0].world}:8082/whoami`]);
 *
 * ```
 *   guest namespace ─tap0─ program ─ machine namespace (10.99.0.2) ─veth─ world namespace (10.99.0.1; 198.51.100.1)
 *   guest namespace ─tap0─ netd (10.99.0.2) ─TAP aka0─ world namespace, the same
 * ```
 *
 * Both versions of IP. In world and guest run the servers of tests/kit/uplink/peer.py, in the world a name server, too;
 * a port of the machine leads to the guest's 8082. No packet leaves the namespaces.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { createNetns, type Netns } from "../../../devices/host/netns.ts";
import { ROOT } from "../check/tree.ts";
import { runTool, type ToolOptions, type ToolResult } from "../host/linux.ts";
import { linesOf } from "../uplink/lab.ts";
import type { Contestant, Place } from "./contestants.ts";
import { Child, startPeer } from "./netd.ts";

/** How long a program may take until the guest has its routes, in milliseconds. */
const READY_LIMIT_MS = 15_000;
/** How long a tool may take at most, by ours and by another, in milliseconds. */
const TOOL_LIMIT_MS = 60_000;
const OTHERS_TOOL_LIMIT_MS = 12_000;

/** See above. */
export class Contest implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly #place: Omit<Place, "machine">;

  constructor(readonly contestant: Contestant, folder: string) {
    const id = crypto.randomUUID().slice(0, 8);
    this.#stack.defer(() => Deno.remove(folder, { recursive: true }));
    const world = this.#stack.use(createNetns(`ct-world-${id}`));
    const guest = this.#stack.use(createNetns(`ct-guest-${id}`));
    this.#place = { world, guest, socketPath: `${folder}/socket` };
  }

  /** For how many seconds something is waited for. Silence of ours fails, that of another is its answer. */
  get patience(): number {
    return this.contestant.tool === null ? 15 : 3;
  }

  get #limitMs(): number {
    return this.contestant.tool === null ? TOOL_LIMIT_MS : OTHERS_TOOL_LIMIT_MS;
  }

  inGuest(command: readonly string[], options: ToolOptions = {}): Promise<ToolResult> {
    return runTool(this.#place.guest, command, { limitMs: this.#limitMs, ...options });
  }

  inWorld(command: readonly string[], options: ToolOptions = {}): Promise<ToolResult> {
    return runTool(this.#place.world, command, { limitMs: this.#limitMs, ...options });
  }

  /** A command of peer.py in the guest, with `input` as JSON; its first answer. */
  async peer<T>(command: readonly (string | number)[], input: unknown = null): Promise<T> {
    const stdin = new TextEncoder().encode(JSON.stringify(input));
    const { code, text } = await this.inGuest([...PEER_PY, ...command.map(String)], { stdin });
    assertEquals(code, 0, `${command.join(" ")}: ${text}`);
    return linesOf<T>(text)[0]!;
  }

  /** Starts a program that ends with everything else, before what was there earlier; null: where the test runs. */
  #start(netns: Netns | null, command: readonly string[]): Child {
    const [program, ...args] = netns === null ? command : ["nsenter", `--net=${netns.path}`, ...command];
    return this.#own(new Child(program!, args));
  }

  #own(child: Child): Child {
    this.#stack.defer(async () => {
      child.kill("SIGTERM");
      await child.end();
    });
    return child;
  }

  /** Sets up everything; for {@link openContest}. */
  async open(): Promise<void> {
    const { world, guest } = this.#place;
    for (const netns of [world, guest]) await sh(netns, NEW_NETNS);
    await sh(world, WORLD_SIDE);
    const machine = this.contestant.hasDevice ? null : await this.#machine(world);
    const place: Place = { ...this.#place, machine };
    const { contestant } = this;
    const network = this.#start(machine, contestant.command(place));
    if (contestant.wire !== undefined) await this.#start(guest, contestant.wire(place)).until("ready");
    if (contestant.setUp !== undefined) await sh(guest, contestant.setUp(place));
    const end = performance.now() + READY_LIMIT_MS;
    while (await sh(guest, HAS_ROUTES) !== "yes") {
      assertEquals(performance.now() < end, true, `${contestant.name} has not set up the guest: ${network.text}`);
    }
    const servers = [world, guest].map((netns) => this.#start(netns, [...PEER_PY, "serve"]));
    this.#own(await startPeer(world));
    this.#start(world, ["socat", "UDP6-RECVFROM:53,fork,ipv6only=1", "UDP4:127.0.0.1:53"]);
    await Promise.all(servers.map((server) => server.until("ready")));
    while (!(await sh(world, "ss -Huln6")).includes(":53 ") && performance.now() < end);
  }

  /** A namespace between program and world. */
  async #machine(world: Netns): Promise<Netns> {
    const machine = this.#stack.use(createNetns(world.name.replace("world", "mach")));
    await sh(machine, NEW_NETNS);
    await sh(machine, `ip link add out type veth peer name aka0 netns ${world.name}`);
    await sh(world, sideOf("aka0", "10.99.0.1/24", "fd99::1/64"));
    await sh(machine, sideOf("out", "10.99.0.2/24", "fd99::2/64"));
    await sh(machine, "ip route add default via 10.99.0.1 && ip -6 route add default via fd99::1");
    await sh(machine, 'sysctl -qw net.ipv4.ping_group_range="0 2147483647"');
    return machine;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

const PEER_PY: readonly string[] = ["/usr/bin/python3", `${ROOT}/tests/kit/uplink/peer.py`];

/** Without duplicate address detection: that alone takes Linux two seconds. */
const NEW_NETNS = "sysctl -qw net.ipv6.conf.default.accept_dad=0 && ip link set lo up";
const WORLD_SIDE = `
ip addr add 198.51.100.1/32 dev lo
ip addr add 2001:db8:51::1/128 dev lo nodad
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
ip route add unreachable 203.0.113.0/24
ip route add unreachable 2001:db8:dead::/48
ip route add blackhole 192.0.2.0/24
ip route add blackhole 2001:db8:b1ac::/48
sysctl -qw net.core.somaxconn=4096 net.ipv4.tcp_max_syn_backlog=4096
`;
/** A router may have given a route beside the one that was set. */
const HAS_ROUTES = 'test -n "$(ip route show default)" && test -n "$(ip -6 route show default)" && echo yes || true';

function sideOf(device: string, v4: string, v6: string): string {
  return `ip addr add ${v4} dev ${device}\nip addr add ${v6} dev ${device} nodad\nip link set ${device} up\n`;
}

/** Lines of shell that must do well; their output. */
async function sh(netns: Netns, lines: string): Promise<string> {
  const { code, text } = await runTool(netns, ["sh", "-ec", lines]);
  assertEquals(code, 0, `${text.trim()}, of: ${lines}`);
  return text.trim();
}

/** Starts it, with its world and the servers of both ends. */
export async function openContest(contestant: Contestant): Promise<Contest> {
  const contest = new Contest(contestant, await Deno.makeTempDir({ prefix: "akarino-contest-" }));
  try {
    await contest.open();
    return contest;
  } catch (error) {
    await contest[Symbol.asyncDispose]();
    throw error;
  }
}
