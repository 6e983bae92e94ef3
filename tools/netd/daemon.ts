/**
 * The daemon: a host kernel on an uplink, a guest, and the NAT between them.
 *
 * Path: netd → daemon → uplink, boot, netns_guest or qemu_guest, NatProgram, ApiSocket.
 *
 * ```
 *   guest ─TAP in its namespace, or QEMU's socket─ NatProgram ─system calls─ kernel ─TAP or TUN─ Linux ─▶ world
 * ```
 *
 * @module
 */

import { HostRandom } from "../../devices/host/clock.ts";
import { HostError } from "../../devices/host/libc.ts";
import { setUpNetns } from "../../devices/host/netns_setup.ts";
import { openTap, type TapPort, type TunPort } from "../../devices/host/tun.ts";
import { UnixListener } from "../../devices/host/unix_socket.ts";
import { MacAddr } from "../../kernel/wire/mac_addr.ts";
import { boot, type Host } from "../boot.ts";
import type { NatOptions } from "../vmm/nat/config.ts";
import { NatProgram } from "../vmm/nat_program.ts";
import type { Guest, Loop } from "../vmm/guests/guest.ts";
import { netnsGuest } from "../vmm/guests/netns_guest.ts";
import { qemuGuest } from "../vmm/guests/qemu_guest.ts";
import { QemuStreamPort } from "../vmm/guests/qemu_stream.ts";
import { ApiSocket } from "./api_socket.ts";
import { ExitPipe, watchPath } from "./life.ts";
import type { NetdOptions } from "./options.ts";
import { openUplink, withoutLoopback } from "./uplink.ts";

/** First address of guests without one of their own (nat/config). */
const GUEST_NUMBER = 15;

/** A running netd. */
export class Daemon implements AsyncDisposable {
  /** Settles when the guest is gone or the parent wants it to end; says which. */
  readonly ended: Promise<string>;
  readonly host: Host;
  readonly guest: Guest;
  readonly program: NatProgram;
  readonly #options: NetdOptions;
  readonly #uplink: TapPort | TunPort;
  readonly #api: ApiSocket | null = null;
  readonly #stops: (() => void)[] = [];

  private constructor(options: NetdOptions, host: Host, uplink: TapPort | TunPort) {
    const { promise, resolve } = Promise.withResolvers<string>();
    this.ended = promise;
    this.host = host;
    this.#options = options;
    this.#uplink = uplink;
    const loop = host.reactor!;
    const [guest, nat] = openGuest(options, loop, resolve, this.#stops);
    this.guest = guest;
    try {
      this.program = new NatProgram({
        proc: host.spawn("nat"),
        clock: host.clock,
        random: new HostRandom(),
        toGuest: (frame) => void guest.port.transmit(frame),
        nat,
        forwards: options.forwards,
        offload: options.offload && guest.port.offloads.checksum,
      });
      guest.port.receive = (frame) => this.program.fromGuest(frame);
      if (options.apiSocket !== null) {
        this.#api = new ApiSocket(options.apiSocket, loop, (text) => this.program.command(text));
      }
      if (options.exitFd !== null) {
        loop.add(new ExitPipe(options.exitFd, () => resolve("the pipe of --exit-fd was closed")));
      }
    } catch (error) {
      for (const stop of this.#stops) stop();
      guest.close().catch(() => {});
      throw error;
    }
  }

  /** Starts it. Throws HostError or KernelError, with nothing left behind. */
  static async start(options: NetdOptions): Promise<Daemon> {
    const { offload, nat } = options;
    const wantsLoopback = nat.farLoopback === true;
    const uplink = openUplink(options.uplink, { offload, localnet: wantsLoopback });
    let host: Host | null = null;
    try {
      const { address, gateway, kind } = options.uplink;
      const localnet = wantsLoopback && uplink.localnet === "";
      host = await boot({ wire: kind, port: uplink, address, gateway, localnet, name: "netd" });
      host.reactor!.add(uplink);
      return new Daemon(localnet ? options : { ...options, nat: withoutLoopback(nat, gateway) }, host, uplink);
    } catch (error) {
      if (host === null) uplink.close();
      else await host.close();
      throw error;
    }
  }

  /** What it is connected to and what is open, a line each. */
  describe(): string[] {
    const { uplink, apiSocket, disableHostLoopback } = this.#options;
    const { subnet, prefix, router, dns, guest, mtu, nameServers } = this.program.nat.config;
    const peer = uplink.peer === null ? "" : `, Linux is ${uplink.peer}`;
    return [
      `uplink ${uplink.kind} ${this.#uplink.name}: we are ${uplink.address}${peer}, gateway ${uplink.gateway}`,
      `guest ${this.guest.name}: network ${subnet}/${prefix}, MTU ${mtu}, router ${router}, name server ${dns} ` +
      `(asks ${nameServers.join(", ")}), first guest ${guest}`,
      ...this.program.nat.exposure(),
      ...(disableHostLoopback || this.#uplink.localnet === ""
        ? []
        : [`guest does not reach 127.0.0.1 of this machine: ${this.#uplink.localnet}`]),
      ...(apiSocket === null ? [] : [`commands at ${apiSocket}`]),
    ];
  }

  /** Ends it: every device and socket it made is gone. */
  async close(): Promise<void> {
    for (const stop of this.#stops) stop();
    this.#api?.close();
    this.program.close();
    await this.guest.close();
    await this.host.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** The guest, and how the NAT is to be told of it. */
function openGuest(
  options: NetdOptions,
  loop: Loop,
  ended: (why: string) => void,
  stops: (() => void)[],
): [Guest, NatOptions] {
  const { guest: choice, nat, oneOff, offload } = options;
  const mtu = nat.mtu ?? 1500;
  if (choice.kind === "qemu") {
    const port = new QemuStreamPort(new UnixListener(choice.path), { mtu });
    port.onLink = (up) => {
      if (!up && oneOff) ended("the machine has left");
    };
    return [qemuGuest(port, loop), nat];
  }
  const { netns, device, configure } = choice;
  const address = configure ? addressesOf(nat) : {};
  const guest = netnsGuest({ openTap, setUpNetns }, loop, { netns, device, mtu, offload, ...address });
  stops.push(watchPath(guest.path, () => ended("the guest's namespace is gone")));
  try {
    const mac = guest.port.device.mac;
    return [guest, { ...nat, guestMac: MacAddr.at(mac, 0) }];
  } catch (error) {
    guest.close().catch(() => {});
    throw error;
  }
}

/** Address and router that the guest is given at once: those of the NAT's qemu style. */
function addressesOf(nat: NatOptions): { address: string; gateway: string } {
  const [net = "10.0.2.0", length = "24"] = (nat.subnet ?? "10.0.2.0/24").split("/");
  const word = net.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
  const at = (number: number) => {
    const value = word + number;
    return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join(".");
  };
  return { address: `${at(Number(length) > 27 ? 4 : GUEST_NUMBER)}/${length}`, gateway: at(2) };
}

/** For {@link describe} callers: errors that are the machine's, not ours. */
export function isHostError(error: unknown): error is Error {
  return error instanceof HostError || error instanceof Deno.errors.NotCapable;
}
