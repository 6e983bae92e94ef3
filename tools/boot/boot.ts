/**
 * Boot: a kernel with its devices, on a wire, with an address: what every tool, story and script starts from.
 *
 * Path: mod.ts, scenario → boot → world, kernel, interfaces, tun; boot → guest, streams, datagrams.
 *
 * @module
 */

import { ConsDev } from "../../devices/cons/dev_cons.ts";
import type { Cable, CableOptions } from "../../devices/ether/cable.ts";
import { EtherDev } from "../../devices/ether/dev_ether.ts";
import { EventfdDev } from "../../devices/eventfd/dev_eventfd.ts";
import type { Reactor, ReactorOptions } from "../../devices/host/reactor.ts";
import { openTap, openTun, type TapOptions } from "../../devices/host/tun.ts";
import { IpDev } from "../../devices/ip/files/dev_ip.ts";
import { PipeDev } from "../../devices/pipe/dev_pipe.ts";
import { RootDev } from "../../devices/root/dev_root.ts";
import { SrvDev } from "../../devices/srv/dev_srv.ts";
import type { DialOptions } from "../../kernel/dial.ts";
import { KernelError } from "../../kernel/error.ts";
import type { FramePort, PacketPort } from "../../kernel/host.ts";
import { Kernel } from "../../kernel/kernel.ts";
import { Mount } from "../../kernel/namespace.ts";
import type { Proc } from "../../kernel/proc.ts";
import type { ProcOptions } from "../../kernel/proc_state.ts";
import type { Clock } from "../../kernel/time.ts";
import { type AddressOptions, type HostAddresses, hostAddresses, withoutLength } from "./addresses.ts";
import { type DatagramConn, listenDatagrams } from "./datagrams.ts";
import { addGuest, type GuestOf, type GuestOptions } from "./guest.ts";
import { addLoopback, addRoutes, plugIn } from "./interfaces.ts";
import { type ConnectOptions, type ListenOptions, localOf, remoteOf } from "./net_addr.ts";
import { type PortObserver, tapPort } from "./observe_port.ts";
import { announceStream, dialStream, type StreamConn, type StreamListener } from "./streams.ts";
import { memoryWorld, realWorld, type WorldOf } from "./world.ts";

/** What a host is connected to. */
export type Wire = "memory" | "tap" | "tun" | "none";

/** How a host is made. */
export interface BootOptions extends AddressOptions {
  /** Default `memory`: a cable in this process, with virtual time. */
  wire?: Wire;
  /** Host name. */
  name?: string;
  /** In memory: everything random follows from it. Default 1. */
  seed?: number;
  /** Bytes of IP packet on the wire. Default 1500. */
  mtu?: number;
  /** In memory: rate, delay and faults of the cable. */
  cable?: CableOptions;
  /** A port of one's own in the place of the wire's, or what makes it in the host's world. */
  port?: FramePort | PacketPort | ((world: World) => FramePort | PacketPort);
  /** Sees every unit that crosses the wire, for captures. */
  observe?: PortObserver;
  /** On tap and tun: Linux' side of the device. Default address 10.99.0.1/24. */
  linux?: TapOptions;
  /** On tap and tun: how the loop behaves. */
  loop?: Omit<ReactorOptions, "clock">;
}

/** What several hosts of one simulation, or one host and its real wire, share. */
export type World = WorldOf<Host>;

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
  /** Its IPv4 address without the prefix length; empty without one. */
  readonly address: string;
  /** Its IPv6 address without the prefix length; empty without one. */
  readonly address6: string;
  /** What it shares with its neighbours; closing it closes them all. */
  readonly world: World;
  readonly #addresses: HostAddresses;
  readonly #guests: Set<Guest> = new Set();
  #streams: Proc | null = null;
  #closed: Promise<void> | null = null;

  /** For {@link boot}. */
  constructor(world: World, name: string, addresses: HostAddresses) {
    this.world = world;
    this.#addresses = addresses;
    this.address = withoutLength(addresses.address);
    this.address6 = withoutLength(addresses.address6);
    const { clock, blocks } = world;
    const kernel = this.kernel = new Kernel({ clock, blocks, random: world.fork(), name });
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
    return this.world.clock;
  }

  /** The cable in memory; null on a real wire. */
  get cable(): Cable | null {
    return this.world.cable;
  }

  /** The loop that drives a real wire; null in memory. */
  get reactor(): Reactor | null {
    return this.world.reactor;
  }

  /** A new process. */
  spawn(name: string, options: ProcOptions = {}): Proc {
    return this.kernel.spawn(name, options);
  }

  /**
   * Connects to a TCP port, as `Deno.connect` does: a connection with streams, `read` and `write`. Throws KernelError:
   * ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, EINVAL; the signal's reason when it is aborted.
   */
  connect(options: ConnectOptions): Promise<StreamConn> {
    return this.#compound(() => this.dial(`tcp!${remoteOf(options)}`, options));
  }

  /** Listens at a TCP port, as `Deno.listen` does. Throws KernelError: EFAIL if the port is held, EINVAL. */
  listen(options: ListenOptions = {}): Promise<StreamListener> {
    return this.#compound(() => this.announce(`tcp!${localOf(options)}`));
  }

  /** Opens a UDP port, as `Deno.listenDatagram` does. Throws KernelError: EFAIL if the port is held, EINVAL. */
  listenDatagram(options: ListenOptions = {}): Promise<DatagramConn> {
    return listenDatagrams(this.#streamsProc(), options);
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

  /** Makes one call of what `work` does: it rejects where `work` throws. */
  #compound<T>(work: () => Promise<T>): Promise<T> {
    return this.#streamsProc().compound(async () => await work());
  }

  /** Another host on the same cable and clock. In memory only. */
  async neighbor(options: Omit<BootOptions, "wire" | "seed" | "cable"> = {}): Promise<Host> {
    const number = this.world.made + 1;
    const address = options.address === undefined ? `10.0.0.${number}/24` : options.address;
    return await join(this.world, { name: `host${number}`, ...options, address });
  }

  /**
   * A guest of this host: a second kernel behind a virtio card and a NAT. It has IPv6 if this host has. Throws
   * KernelError for options that cannot be, ETIMEDOUT if it gets no address; the signal's reason when it is aborted.
   */
  guest(options: GuestOptions = {}): Promise<Guest> {
    return this.#streamsProc().compound(async (wait) => {
      const guest = await addGuest<Host>(this, this.#addresses, { ...options, ...wait });
      this.#guests.add(guest);
      return guest;
    }, options);
  }

  /**
   * Ends this host: its processes, its end of the wire, and its guests. Its neighbours go on; the last host of a world
   * ends the world's loop. `host.world.close()` ends all of them.
   */
  close(): Promise<void> {
    return this.#closed ??= this.#close();
  }

  async #close(): Promise<void> {
    this.kernel.shutdown();
    for (const guest of this.#guests) {
      guest.close();
      await guest.host.close();
    }
    this.port?.close();
    await this.world.leave(this);
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
  const { wire = "memory", seed = 1 } = options;
  const inMemory = wire === "memory" || wire === "none";
  const usual = inMemory ? "10.0.0.1/24" : "10.99.0.2/24";
  const address = options.address === undefined ? usual : options.address;
  const world: World = inMemory ? memoryWorld<Host>(seed, options.cable) : realWorld<Host>(options.loop);
  try {
    return await join(world, { name: "host1", ...options, address });
  } catch (error) {
    await world.close();
    throw error;
  }
}

/** A host on the wire of a world. */
async function join(world: World, options: BootOptions & { name: string }): Promise<Host> {
  const addresses = hostAddresses(options);
  const host = new Host(world, options.name, addresses);
  world.enter(host);
  try {
    await setUp(host, addresses, options);
  } catch (error) {
    await host.close();
    throw error;
  }
  return host;
}

/** Gives the host its wire, its names for files, its interfaces and its routes. */
async function setUp(host: Host, addresses: HostAddresses, options: BootOptions & { name: string }): Promise<void> {
  const { wire = "memory", observe } = options;
  const { port: own = wire === "none" ? null : openPort(host.world, wire, options) } = options;
  host.port = typeof own === "function" ? own(host.world) : own;
  const setup = host.spawn("boot");
  setup.sys.nbind("#ip", "/net", Mount.Before);
  setup.sys.nbind("#cons", "/dev", Mount.Before);
  setup.sys.nbind("#srv", "/srv", Mount.Before | Mount.Create);
  await addLoopback(setup, addresses);
  if (host.port !== null) {
    const port = observe === undefined ? host.port : tapPort(host.port, host.clock, observe);
    await plugIn(host, port, setup, addresses);
  }
  await addRoutes(setup, addresses);
  setup.exit();
}

function openPort(world: World, wire: Wire, options: BootOptions & { name: string }): FramePort | PacketPort {
  const mtu = options.mtu ?? 1500;
  if (world.cable !== null) {
    // Locally administered addresses, counted up: a capture is easy to read.
    const mac = new Uint8Array([2, 0, 0, 0, 0, world.made]);
    return world.cable.attach({ name: options.name, mac, mtu });
  }
  const linux = { address: "10.99.0.1/24", mtu, pool: world.blocks, ...options.linux };
  const port = wire === "tap" ? openTap(linux) : openTun(linux);
  world.reactor!.add(port);
  return port;
}

function currentProc(kernel: Kernel): Proc {
  if (kernel.current === null) throw new KernelError("EBADF", "No process has a system call running");
  return kernel.current;
}

function processIds(proc: Proc): { pid: number; ppid: number; pgrpid: number } {
  return { pid: proc.pid, ppid: 0, pgrpid: 1 };
}
