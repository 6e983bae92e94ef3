/**
 * The daemon: a host kernel on an uplink, a guest, and the NAT between them.
 *
 * Path: netd → daemon → kept, open_guest, uplink, boot.
 *
 * ```
 *   guest ─TAP in its namespace, or QEMU's socket─ FairQueue, NatProgram ─calls─ kernel ─sockets, TAP or TUN─ Linux
 * ```
 *
 * @module
 */

import { HostRandom } from "../../devices/host/clock.ts";
import { ENODEV, HostError } from "../../devices/host/libc.ts";
import { TapPort } from "../../devices/host/tun.ts";
import { parseIpAddr } from "../../kernel/wire/ip_addr.ts";
import { boot, type Host } from "../boot/boot.ts";
import { exposureOf } from "../nat/exposure.ts";
import { NatProgram } from "../nat/program.ts";
import { FairQueue } from "../vmm/guests/fair_queue.ts";
import type { Guest, Loop } from "../vmm/guests/guest.ts";
import { ApiSocket } from "./api_socket.ts";
import { keepLink, type KeptLink } from "./kept.ts";
import { ExitPipe, watch } from "./life.ts";
import { type OpenedGuest, openGuest } from "./open_guest.ts";
import type { NetdOptions } from "./options.ts";
import type { UplinkChoice } from "./uplink_options.ts";
import { type ResolvConf, usableServers } from "./resolv_conf.ts";
import { followResolvConf, type ResolvFiles } from "./resolv_files.ts";
import { Machine } from "./machine.ts";
import { type Finding, StartError } from "./start_checks.ts";
import { openUplink, type Uplink, withoutLoopback } from "./uplink.ts";

/**
 * The program netd uses nothing but the loop, so its polls may wait: no spinning by default, which would take a core
 * from the packets' senders, and after this long without traffic a sleep that costs nothing.
 */
export const NAP_MS = 2000;
/**
 * Frames of the guest in one poll: taking one costs about a microsecond, and most of a flood is dropped after that.
 * With many more nothing but taking and dropping would be left of a turn.
 */
const GUEST_DRAIN_MAX = 128;

/** A running netd. */
export class Daemon implements AsyncDisposable {
  /** Settles with the reason when the guest is gone or the parent ends it; rejects if the uplink is gone. */
  readonly ended: Promise<string>;
  readonly host: Host;
  readonly guest: Guest;
  readonly program: NatProgram;
  readonly #options: NetdOptions;
  readonly #uplink: Uplink;
  readonly #fair: FairQueue;
  readonly #api: ApiSocket | null = null;
  readonly #stops: (() => void)[] = [];
  /** Takes a line about the running daemon: limits that were met, interfaces that came back. */
  say: (line: string) => void = () => {};

  private constructor(options: NetdOptions, host: Host, uplink: Uplink, opened: OpenedGuest) {
    const { guest, nat, kept, watch: watchGuest } = opened;
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    this.ended = promise;
    // A caller that ignores `ended` must not get an unhandled rejection.
    promise.catch(() => {});
    this.host = host;
    this.#options = options;
    this.#uplink = uplink;
    this.guest = guest;
    const loop = host.reactor!;
    this.#fair = new FairQueue(host.clock, (frame) => this.program.fromGuest(frame));
    this.#stops.push(watchGuest(resolve));
    const { device } = uplink;
    const lost = () =>
      reject(new HostError(`Cannot go on without uplink "${uplink.name}"`, ENODEV, { reason: "deleted" }));
    if (device !== null) {
      const { look, stop } = watch(() => !device.gone, lost);
      device.onGone = look;
      this.#stops.push(stop);
    }
    try {
      this.#keep(keptUplink(options, uplink), loop);
      this.#keep(kept, loop);
      this.program = new NatProgram({
        proc: host.spawn("nat"),
        clock: host.clock,
        random: new HostRandom(),
        toGuest: (frame) => {
          this.#fair.heard(frame);
          guest.port.transmit(frame);
        },
        nat,
        forwards: options.forwards,
        say: (line) => this.say(line),
        offload: options.offload && guest.port.offloads.checksum,
      });
      opened.onLeft(() => this.program.nat.guestsLeft());
      guest.port.receive = (frame) => this.#fair.put(frame);
      // More of a flood is taken than is passed on, so that the fair queue and not Linux chooses what is dropped.
      if (guest.port instanceof TapPort) {
        guest.port.drainMax = GUEST_DRAIN_MAX;
        guest.port.isEnough = () => this.#fair.isHeavy;
      }
      if (options.apiSocket !== null) {
        const command = (text: string) => this.program.command(text);
        const guestAddr = `${this.program.nat.config.guest}`;
        const forwards = () => this.program.nat.forwards.list;
        const mode = options.socketMode;
        this.#api = new ApiSocket(options.apiSocket, loop, { command, forwards, guestAddr, mode });
      }
      if (options.exitFd !== null) {
        loop.add(new ExitPipe(options.exitFd, () => resolve("the pipe of --exit-fd was closed")));
      }
    } catch (error) {
      for (const stop of this.#stops) stop();
      throw error;
    }
  }

  #keep(kept: KeptLink | null, loop: Loop): void {
    if (kept !== null) this.#stops.push(keepLink(kept, loop, (line) => this.say(line)));
  }

  /**
   * Starts it; `warn` takes a line for each warning. `napMs` is how long its polls wait after traffic, and with them
   * the rest of the program (see ReactorOptions). Throws HostError, KernelError or StartError, with nothing left
   * behind.
   */
  static async start(
    options: NetdOptions,
    { warn = () => {}, napMs = 0 }: { readonly warn?: (line: string) => void; readonly napMs?: number } = {},
  ): Promise<Daemon> {
    const { offload, nat } = options;
    const machine = new Machine(options);
    report(machine.checkNetworks(), warn);
    const wantsLoopback = !options.disableHostLoopback;
    let running: Daemon | null = null;
    const warnAlways = (line: string) => running === null ? warn(line) : running.say(line);
    const uplink = openUplink(options.uplink, { offload, localnet: wantsLoopback, warn: warnAlways });
    let host: Host | null = null;
    let opened: OpenedGuest | null = null;
    try {
      const { address, gateway, v6 } = options.uplink;
      const localnet = wantsLoopback && uplink.localnet === "";
      const loop = { spinMs: options.busyPollMs, napMs };
      const ipv6 = v6 === null ? {} : { address6: v6.address, gateway6: v6.gateway };
      host = await boot({ ...uplink.boot, address, gateway, ...ipv6, localnet, name: "netd", loop });
      uplink.start(host);
      for (const line of uplink.warnings()) warn(line);
      const { doors } = uplink;
      const chosen = { ...options, nat: { ...localnet ? nat : withoutLoopback(nat, gateway), doors } };
      const checking = machine.checkMachine(uplink.name);
      checking.catch(() => {});
      opened = await openGuest(chosen, host.reactor!);
      report(await checking, warn);
      return running = new Daemon(chosen, host, uplink, opened);
    } catch (error) {
      await opened?.guest.close();
      uplink.end();
      if (host === null) uplink.device?.close();
      else await host.close();
      throw error;
    }
  }

  /** Its connections and open services, a line each. */
  describe(): string[] {
    const { uplink, apiSocket, disableHostLoopback } = this.#options;
    const { subnet, prefix, router, dns, guest, firstLease, mtu, nameServers } = this.program.nat.config;
    const { v6 } = this.program.nat.config;
    return [
      describeUplink(uplink, this.#uplink),
      `guest ${this.guest.name}: network ${subnet}/${prefix}, MTU ${mtu}, router ${router}, name server ${dns} ` +
      `(asks ${nameServers.join(", ")}), guest ${guest}, leases from ${firstLease}`,
      ...(v6 === null ? [] : [
        `IPv6: ${describeEnds6(uplink)}guests' network ${v6.subnet}/64, router ${v6.router}, ` +
        `name server ${v6.dns}`,
      ]),
      ...this.#options.names.notes,
      ...exposureOf(this.program.nat),
      ...(disableHostLoopback || this.#uplink.localnet === ""
        ? []
        : [`guest does not reach 127.0.0.1 of this machine: ${this.#uplink.localnet}`]),
      ...(apiSocket === null ? [] : [`commands at ${apiSocket}`]),
    ];
  }

  /** The text of a resolv.conf for programs of the guest. */
  resolvConf(): string {
    const { dns, v6, nameServers, search } = this.program.nat.config;
    const servers = dns === null ? nameServers : [dns, v6?.dns ?? null].filter((server) => server !== null);
    const lines = servers.map((server) => `nameserver ${server}`);
    return [...lines, ...search.length > 0 ? [`search ${search.join(" ")}`] : []].join("\n");
  }

  /** Updates the relay's servers whenever the machine's resolv.conf changes, and reports that to `say`. */
  followNames(files: ResolvFiles, say: (line: string) => void): void {
    const { names } = this.#options;
    if (names.isFixed) return;
    const { nat } = this.program;
    const rules = { ...names.rules, hasLoopback: !this.#options.disableHostLoopback && this.#uplink.localnet === "" };
    const heard = (conf: ResolvConf) => {
      const { nameServers, notes } = usableServers(conf, rules);
      const search = names.isSearchFixed ? {} : { search: conf.search };
      nat.setNames({ nameServers: nameServers.map((text) => parseIpAddr(text)!), patience: conf.patience, ...search });
      for (const note of notes) say(note);
      say(`resolv.conf has changed: the name server asks ${nameServers.join(", ")}`);
    };
    this.#stops.push(followResolvConf(files, heard));
  }

  /** Ends it: every device and socket it made is gone. */
  async close(): Promise<void> {
    for (const stop of this.#stops) stop();
    this.#api?.close();
    this.#fair.close();
    this.program.close();
    await this.guest.close();
    this.#uplink.end();
    await this.host.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Passes on the warnings; throws the first error. */
function report(findings: readonly Finding[], warn: (line: string) => void): void {
  const wrong = findings.find(({ isError }) => isError);
  if (wrong !== undefined) throw new StartError(wrong.text);
  for (const { text } of findings) warn(text);
}

/** Settings of the uplink's device; null: it has none, or was set up by others. */
function keptUplink({ uplink }: NetdOptions, { device: port }: Uplink): KeptLink | null {
  if (port === null || uplink.kind === "socket" || uplink.attach) return null;
  const { device, netns } = port;
  const addresses = [uplink.peer, uplink.v6?.peer ?? null].filter((address) => address !== null);
  return { what: "uplink", device, netns, addresses };
}

function describeUplink(choice: UplinkChoice, { name }: Uplink): string {
  if (choice.kind === "socket") return `uplink: sockets of this process`;
  const peer = choice.peer === null ? "" : `, Linux is ${choice.peer}`;
  return `uplink ${choice.kind} ${name}: the host is ${choice.address}${peer}, gateway ${choice.gateway}`;
}

function describeEnds6({ kind, v6 }: UplinkChoice): string {
  return kind === "socket" || v6 === null ? "" : `the host is ${v6.address}, gateway ${v6.gateway}; `;
}

/** For {@link describe} callers: errors of the machine, not ours. */
export function isHostError(error: unknown): error is Error {
  return error instanceof HostError || error instanceof StartError || error instanceof Deno.errors.NotCapable;
}
