/**
 * A virtual machine of QEMU as the guest: its card on a unix socket, its agent on another.
 *
 * Path: guest_side → qemu_side → agent_sockets, guest_network, agent_channel, guest_types.
 *
 * @module
 */

import { ENOENT, HostError } from "../../devices/host/libc.ts";
import { UnixListener } from "../../devices/host/unix_socket.ts";
import type { Clock } from "../../kernel/time.ts";
import { ETHER_HEADER_LEN } from "../../kernel/wire/ethernet.ts";
import { type GuestFiles, setupGuest } from "../setup_guest/guest_files.ts";
import { SetupError } from "../setup_guest/run.ts";
import { type QemuGuest, qemuGuest } from "../vmm/guests/qemu/guest.ts";
import { AGENT_PORT } from "../vmm/guests/qemu/arguments.ts";
import type { QemuMachine } from "../vmm/guests/qemu/machine.ts";
import { QemuStreamPort } from "../vmm/guests/qemu/stream.ts";
import { GUEST_MACS } from "../nat/config.ts";
import { AgentChannel } from "./agent_channel.ts";
import { AgentSockets } from "./agent_sockets.ts";
import { connectGuest } from "./guest_network.ts";
import { formatAddress6, type GuestSide, type GuestSideOptions } from "./guest_types.ts";
import { SocketEndpoint } from "./socket_endpoint.ts";
import { PacketLog } from "./packet_log.ts";
import { type Environment, GuestFailed, Interrupted, poll, TimedOut, within } from "./environment.ts";

const PROGRAM = "qemu-system-x86_64";
const ATTEMPT = "Cannot have a guest of QEMU";
/** How long a boot, and then the start of the agent, may take: ten times as long as usual. */
const BOOT_LIMIT_MS = 60_000;
const AGENT_LIMIT_MS = 10_000;
/** How long the guest waits for its address by router advertisement, and how often we look. */
const RA_WAIT = { what: "address by router advertisement", limitMs: 10_000, periodMs: 50 };
/** The machine ends itself after so long, in seconds, even if its agent and the scenario are gone. */
const LIFE_S = 300;
const DHCP = "udhcpc -i eth0 -q -n -f -t 5 -T 1 -O mtu -s /etc/udhcpc.sh";

/** The parts of a machine that must be cleared away after it. */
class Parts {
  guest: QemuGuest | null = null;
  channel: AgentChannel | null = null;

  constructor(readonly folder: string) {}

  async close(): Promise<void> {
    this.channel?.end("the scenario is over");
    await this.guest?.close();
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** Boots the machine and starts its agent. Throws HostError, which names a missing part; GuestFailed; Interrupted. */
export async function qemuGuestSide(env: Environment, options: GuestSideOptions): Promise<GuestSide> {
  const files = await guestFiles(options.say);
  const parts = new Parts(await Deno.makeTempDir({ prefix: "akarino-scenario-" }));
  try {
    const { machine, port } = start(parts, env, files, options);
    // Before the guest is up: it learns then that its link is.
    const log = new PacketLog(ETHER_HEADER_LEN);
    const network = connectGuest(env, port, log, options);
    const channel = parts.channel!;
    const sockets = new AgentSockets(channel, env.host.clock, (addr) => neighborIn(machine, addr));
    const endpoint = new SocketEndpoint("Linux in a virtual machine", sockets, { 4: "", 6: "" });
    options.say?.(`booting Linux ${files.version} under QEMU, emulated`);
    const started = performance.now();
    await until(boot(machine, channel, env.host.clock), options.interrupted);
    options.say?.(`it was ready after ${((performance.now() - started) / 1000).toFixed(1)} s`);
    return {
      kind: "qemu",
      endpoint,
      network,
      log,
      model: null,
      configure: async (version) => {
        if (version === 6) {
          const look = () => address6(machine);
          return formatAddress6(endpoint.addresses[6] = await poll(env.host.clock, RA_WAIT, look));
        }
        endpoint.addresses[4] = await configure(machine);
        return await lease(machine);
      },
      close: async () => {
        endpoint.close();
        network.close();
        await parts.close();
      },
    };
  } catch (error) {
    await parts.close();
    throw error;
  }
}

/** Kernel and initramfs; fetched if this program may run apt-get. */
async function guestFiles(say?: (line: string) => void): Promise<GuestFiles> {
  const { state } = await Deno.permissions.query({ name: "run", command: "apt-get" });
  try {
    return await setupGuest({ fetch: state === "granted", ...(say === undefined ? {} : { say }) });
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    throw new HostError(ATTEMPT, ENOENT, { reason: error.message, hint: 'run "deno task setup-guest" first' });
  }
}

/** Starts QEMU with its card and its agent's port at sockets of ours. */
function start(
  parts: Parts,
  env: Environment,
  { kernel, initrd }: GuestFiles,
  { style, keep = 0 }: GuestSideOptions,
): { machine: QemuMachine; port: QemuStreamPort } {
  const { folder } = parts;
  const reactor = env.host.reactor!;
  const channel = parts.channel = new AgentChannel(new UnixListener(`${folder}/agent.sock`), reactor);
  const port = new QemuStreamPort(new UnixListener(`${folder}/net.sock`));
  const options = { kernel, initrd, mac: `${GUEST_MACS[style]}`, agent: channel.path, limitS: LIFE_S + keep };
  try {
    const guest = parts.guest = qemuGuest(port, reactor, options);
    return { machine: guest.machine!, port };
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new HostError(ATTEMPT, ENOENT, {
      reason: `${PROGRAM} is not there`,
      hint: "it is in Debian's package qemu-system-x86",
    });
  }
}

/** Settles when the agent is there. */
async function boot(machine: QemuMachine, channel: AgentChannel, clock: Clock): Promise<void> {
  try {
    await within(clock, BOOT_LIMIT_MS, "end of its boot", machine.console.ready);
    // In the background, for the shell is needed. The agent ends when we are gone, and then the machine does.
    await machine.run(`(agent ${AGENT_PORT}; poweroff -f) >/dev/console 2>&1 &`);
    await within(clock, AGENT_LIMIT_MS, "word of its agent", channel.ready);
  } catch (error) {
    const console = error instanceof TimedOut ? `\n--- console ---\n${machine.console.text}` : "";
    throw new GuestFailed(`${ATTEMPT}: ${(error as Error).message}${console}`);
  }
}

/** What `promise` gives, unless the user ends it before. */
async function until<T>(promise: Promise<T>, interrupted?: Promise<void>): Promise<T> {
  // Ended, the machine makes it fail.
  promise.catch(() => {});
  const over = interrupted?.then(() => Promise.reject(new Interrupted("Interrupted while the guest booted")));
  return await Promise.race([promise, ...(over === undefined ? [] : [over])]);
}

async function mustRun(machine: QemuMachine, command: string): Promise<string> {
  const { code, text } = await machine.run(command);
  if (code !== 0) throw new Error(`"${command}" in the guest ended with ${code}: ${text.trim()}`);
  return text;
}

/** Has the guest's own DHCP client do its work; the address that the interface has then. */
async function configure(machine: QemuMachine): Promise<string> {
  await mustRun(machine, DHCP);
  const text = await mustRun(machine, "ip -4 addr show dev eth0");
  const address = /inet ([\d.]+)\//.exec(text)?.[1];
  if (address === undefined) throw new Error(`The guest has no address after DHCP: ${text.trim()}`);
  return address;
}

/** The lease of the DHCP client, for people. */
async function lease(machine: QemuMachine): Promise<string> {
  const text = await mustRun(machine, "cat /run/dhcp");
  const given = (name: string) => new RegExp(`^${name}=(.*)$`, "m").exec(text)?.[1] ?? "none";
  return `${given("ip")}/${given("mask")} from ${given("serverid")}: router ${given("router")}, ` +
    `name server ${given("dns")}, MTU ${given("mtu")}, ${given("lease")} s; by its own udhcpc`;
}

/** The address that the guest's Linux has made of the router's advertisement, not tentative; null: none, yet. */
async function address6(machine: QemuMachine): Promise<string | null> {
  const text = await mustRun(machine, "ip -6 addr show dev eth0 scope global");
  const line = text.split("\n").find((one) => one.includes("inet6 ") && !one.includes("tentative"));
  return /inet6 ([\da-f:]+)\//.exec(line ?? "")?.[1] ?? null;
}

/** The hardware address in the guest's neighbour tables; null: none (yet). */
async function neighborIn(machine: QemuMachine, addr: string): Promise<string | null> {
  const text = await mustRun(machine, "ip neigh show dev eth0");
  const line = text.split("\n").find((one) => one.startsWith(`${addr} `));
  return /lladdr ([\da-f:]+)/.exec(line ?? "")?.[1] ?? null;
}
