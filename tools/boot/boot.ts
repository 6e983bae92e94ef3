/**
 * Boot: a kernel with its devices, on a wire, with an address: what every tool, story and script starts from.
 *
 * Path: mod.ts, scenario → boot → kernel, reactor (drives real wires), memory_driver; boot → guest, streams.
 *
 * @module
 */

import { ConsDev } from "../../devices/cons/dev_cons.ts";
import { Cable, type CableOptions } from "../../devices/ether/cable.ts";
import { EtherDev } from "../../devices/ether/dev_ether.ts";
import { EventfdDev } from "../../devices/eventfd/dev_eventfd.ts";
import { HostRandom, RealClock } from "../../devices/host/clock.ts";
import { MemoryDriver } from "../../devices/host/memory_driver.ts";
import { Reactor, type ReactorOptions } from "../../devices/host/reactor.ts";
import { openTap, openTun, type TapOptions, type TapPort, type TunPort } from "../../devices/host/tun.ts";
import { IpDev } from "../../devices/ip/files/dev_ip.ts";
import { PipeDev } from "../../devices/pipe/dev_pipe.ts";
import { RootDev } from "../../devices/root/dev_root.ts";
import { SrvDev } from "../../devices/srv/dev_srv.ts";
import { BlockPool } from "../../kernel/block.ts";
import type { DialOptions } from "../../kernel/dial.ts";
import { KernelError } from "../../kernel/error.ts";
import type { FramePort, PacketPort } from "../../kernel/host.ts";
import { Kernel } from "../../kernel/kernel.ts";
import { Mount } from "../../kernel/namespace.ts";
import type { Proc } from "../../kernel/proc.ts";
import type { ProcOptions } from "../../kernel/proc_state.ts";
import { Open } from "../../kernel/qid.ts";
import { type Random, SeededRandom } from "../../kernel/random.ts";
import { type Clock, VirtualClock } from "../../kernel/time.ts";
import { addGuest, type GuestOf, type GuestOptions } from "./guest.ts";
import { type PortObserver, tapPort } from "./observe_port.ts";
import { announceStream, dialStream, type StreamConn, type StreamListener } from "./streams.ts";

/** What a host is connected to. */
export type Wire = "memory" | "tap" | "tun" | "none";

/** How a host is made. */
export interface BootOptions {
  /** Default `memory`: a cable in this process, with virtual time. */
  wire?: Wire;
  /** Host name. */
  name?: string;
  /** In memory: everything random follows from it. Default 1. */
  seed?: number;
  /**
   * The host's address, such as `10.0.0.1/24`; null: none. Default 10.0.0.1/24 in memory, 10.99.0.2/24 on tap and
   * tun.
   */
  address?: string | null;
  /** Where packets go that no other route takes. */
  gateway?: string;
  /** 127/8 is not this host's own loopback but that of the machine behind the gateway (ip(3), `localnet`). */
  localnet?: boolean;
  /** Bytes of IP packet on the wire. Default 1500. */
  mtu?: number;
  /** In memory: rate, delay and faults of the cable. */
  cable?: CableOptions;
  /** A port of one's own, with wire `none`. */
  port?: FramePort | PacketPort;
  /** Sees every unit that crosses the wire, for captures. */
  observe?: PortObserver;
  /** On tap and tun: Linux' side of the device. Default address 10.99.0.1/24. */
  linux?: TapOptions;
  /** On tap and tun: how the loop behaves. */
  loop?: Omit<ReactorOptions, "clock">;
}

/** What several hosts of one simulation, or one host and its real wire, share. */
interface World {
  readonly clock: Clock;
  readonly random: Random;
  readonly blocks: BlockPool;
  readonly driver: MemoryDriver | Reactor;
  readonly cable: Cable | null;
  readonly hosts: Host[];
}

/** A running kernel and what it is connected to. */
export class Host {
  /** The kernel itself. */
  readonly kernel: Kernel;
  /**
   * Its device `#ether`; `attachPort` gives it one more interface.
   *
   * @internal
   */
  readonly ether: EtherDev;
  /**
   * Its device `#ip`; `packetPorts` are what `bind tun NAME` may name.
   *
   * @internal
   */
  readonly ip: IpDev;
  /**
   * Its device `#cons`: where output goes, and what was typed.
   *
   * @internal
   */
  readonly cons: ConsDev;
  /** Its end of the wire; null without one. */
  port: FramePort | PacketPort | null = null;
  /** Its address without the mask; empty without one. */
  readonly address: string;
  readonly #world: World;
  readonly #cidr: string;
  #streams: Proc | null = null;

  /** For {@link boot}. */
  constructor(world: World, name: string, address: string | null) {
    this.#world = world;
    this.#cidr = address ?? "";
    this.address = this.#cidr.split("/")[0]!;
    const { clock, blocks } = world;
    const random = world.random instanceof SeededRandom ? world.random.fork() : world.random;
    const kernel = this.kernel = new Kernel({ clock, blocks, random, name });
    kernel.addDevice(new RootDev());
    kernel.addDevice(new PipeDev(kernel));
    kernel.addDevice(new SrvDev({ chanOfFd: (fd) => currentProc(kernel).fds.get(fd).chan }));
    kernel.addDevice(new EventfdDev());
    this.cons = kernel.addDevice(
      new ConsDev(kernel, {
        sysname: name,
        devices: () => kernel.devices.keys(),
        proc: () => kernel.current === null ? null : { ...processIds(kernel.current), user: kernel.current.user },
      }),
    );
    this.ether = kernel.addDevice(new EtherDev(kernel));
    this.ip = kernel.addDevice(new IpDev(kernel));
  }

  /** The clock that the host runs by; in memory it is virtual and shared with its neighbours. */
  get clock(): Clock {
    return this.#world.clock;
  }

  /** The cable in memory; null on a real wire. */
  get cable(): Cable | null {
    return this.#world.cable;
  }

  /** The loop that drives a real wire; null in memory. */
  get reactor(): Reactor | null {
    return this.#world.driver instanceof Reactor ? this.#world.driver : null;
  }

  /** A new process. */
  spawn(name: string, options: ProcOptions = {}): Proc {
    return this.kernel.spawn(name, options);
  }

  /** Connects to `tcp!host!port`, as web streams. Throws KernelError: ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, EINVAL. */
  dial(address: string, options: DialOptions = {}): Promise<StreamConn> {
    return dialStream(this.#streamsProc(), address, options);
  }

  /** Announces `tcp!*!port`, and gives its calls as web streams. Throws KernelError: EFAIL if the port is held. */
  announce(address: string, options: DialOptions = {}): Promise<StreamListener> {
    return announceStream(this.#streamsProc(), address, options);
  }

  /** The process that has the descriptors of streams. */
  #streamsProc(): Proc {
    return this.#streams ??= this.spawn("streams");
  }

  /** Another host on the same cable and clock. In memory only. */
  async neighbor(options: Omit<BootOptions, "wire" | "seed" | "cable"> = {}): Promise<Host> {
    const number = this.#world.hosts.length + 1;
    const address = options.address === undefined ? `10.0.0.${number}/24` : options.address;
    return await join(this.#world, { name: `host${number}`, ...options, address });
  }

  /**
   * A guest of this host: a second kernel behind a virtio card and a NAT. Throws KernelError for options that cannot
   * be, ETIMEDOUT if it gets no address.
   */
  guest(options: GuestOptions = {}): Promise<Guest> {
    return this.#streamsProc().compound(() => addGuest<Host>(this, this.#cidr, options));
  }

  /** Ends all of it: every host of the world, its wire, its loop. */
  async close(): Promise<void> {
    for (const host of this.#world.hosts) {
      host.kernel.shutdown();
      host.port?.close();
    }
    await this.#world.driver.stop();
  }

  /** As {@link close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** A guest of a host, and a host itself. */
export type Guest = GuestOf<Host>;

/** Starts a host. Throws HostError where a TAP or TUN cannot be had, KernelError for a bad address. */
export async function boot(options: BootOptions = {}): Promise<Host> {
  const wire = options.wire ?? "memory";
  const world = wire === "memory" || wire === "none" ? memoryWorld(options) : realWorld(options);
  const inMemory = world.cable !== null;
  const address = options.address === undefined ? (inMemory ? "10.0.0.1/24" : "10.99.0.2/24") : options.address;
  try {
    return await join(world, { name: "host1", ...options, address });
  } catch (error) {
    for (const host of world.hosts) host.port?.close();
    await world.driver.stop();
    throw error;
  }
}

function memoryWorld(options: BootOptions): World {
  const clock = new VirtualClock();
  const random = new SeededRandom(options.seed ?? 1);
  const driver = new MemoryDriver(clock);
  driver.start();
  const cable = new Cable(clock, random.fork(), { ...options.cable });
  return { clock, random, blocks: new BlockPool(), driver, cable, hosts: [] };
}

function realWorld(options: BootOptions): World {
  const clock = new RealClock();
  const driver = new Reactor({ clock, ...options.loop });
  driver.start();
  return { clock, random: new HostRandom(), blocks: new BlockPool(), driver, cable: null, hosts: [] };
}

/** A host on the wire of a world. */
async function join(world: World, options: BootOptions & { name: string; address: string | null }): Promise<Host> {
  const host = new Host(world, options.name, options.address);
  world.hosts.push(host);
  const wire = options.wire ?? "memory";
  host.port = options.port ?? (wire === "none" ? null : openPort(world, wire, options));
  const setup = host.spawn("boot");
  setup.sys.nbind("#ip", "/net", Mount.Before);
  setup.sys.nbind("#cons", "/dev", Mount.Before);
  setup.sys.nbind("#srv", "/srv", Mount.Before | Mount.Create);
  const { localnet = false } = options;
  await addInterface(setup, "loopback loop0", localnet ? null : "127.0.0.1/8");
  if (host.port !== null) {
    const { observe } = options;
    const port = observe === undefined ? host.port : tapPort(host.port, world.clock, observe);
    await plugIn(host, port, setup, options);
  }
  if (options.gateway !== undefined) {
    for (const net of localnet ? ["0.0.0.0 /0", "127.0.0.0 /8"] : ["0.0.0.0 /0"]) {
      await setup.writeText("/net/iproute", `add ${net} ${options.gateway}`);
    }
  }
  setup.exit();
  return host;
}

function openPort(world: World, wire: Wire, options: BootOptions & { name: string }): FramePort | PacketPort {
  const mtu = options.mtu ?? 1500;
  if (world.cable !== null) {
    // Locally administered addresses, counted up: a capture is easy to read.
    const mac = new Uint8Array([2, 0, 0, 0, 0, world.hosts.length]);
    return world.cable.attach({ name: options.name, mac, mtu });
  }
  const linux = { address: "10.99.0.1/24", mtu, pool: world.blocks, ...options.linux };
  const port: TapPort | TunPort = wire === "tap" ? openTap(linux) : openTun(linux);
  (world.driver as Reactor).add(port);
  return port;
}

/** Binds the port's device to an interface of its own. */
async function plugIn(
  host: Host,
  port: FramePort | PacketPort,
  setup: Proc,
  { address = null, localnet = false }: BootOptions,
): Promise<void> {
  const verbs = localnet ? ["localnet"] : [];
  if (port.kind === "frame") {
    host.ether.attachPort(port);
    setup.sys.nbind("#ether.0", "/net", Mount.After);
    await addInterface(setup, "ether /net/ether0", address, verbs);
  } else {
    host.ip.packetPorts.set(port.name, port);
    await addInterface(setup, `tun ${port.name}`, address, verbs);
  }
}

/** Clones an interface, binds it, gives it an address with its mask, and writes `verbs` to its ctl. */
async function addInterface(
  setup: Proc,
  medium: string,
  address: string | null,
  verbs: readonly string[] = [],
): Promise<void> {
  const ctl = await setup.open("/net/ipifc/clone", Open.ReadWrite);
  await setup.write(ctl, `bind ${medium}`);
  if (address !== null) {
    const [addr, length] = address.split("/");
    if (length === undefined) throw new KernelError("EINVAL", `Cannot use the address "${address}": it has no /length`);
    await setup.write(ctl, `add ${addr} /${length}`);
  }
  for (const verb of verbs) await setup.write(ctl, verb);
  setup.sys.close(ctl);
}

function currentProc(kernel: Kernel): Proc {
  if (kernel.current === null) throw new KernelError("EBADF", "No process has a system call running");
  return kernel.current;
}

function processIds(proc: Proc): { pid: number; ppid: number; pgrpid: number } {
  return { pid: proc.pid, ppid: 0, pgrpid: 1 };
}
