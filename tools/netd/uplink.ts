/**
 * The uplink: sockets of the machine, or the device by which the host kernel is a neighbour of Linux; and the guest's
 * access to the machine behind it.
 *
 * Path: daemon → uplink → uplink_options, socket_uplink, device_doors, door_sockets, uplink_rules, libc, tun,
 * config.
 *
 * @module
 */

import { EACCES, EPERM, HostError } from "../../devices/host/libc.ts";
import { openTap, openTun, type TapOptions, type TapPort, type TunPort } from "../../devices/host/tun.ts";
import { openNetns } from "../../devices/host/netns.ts";
import { parseIpAddr } from "../../kernel/wire/ip_addr.ts";
import type { BootOptions, Host } from "../boot/boot.ts";
import type { NatOptions } from "../nat/config.ts";
import type { ForwardDoors } from "../nat/forward.ts";
import { netnsOf } from "../vmm/guests/netns_guest.ts";
import { DeviceDoors } from "./device_doors.ts";
import { DoorSockets } from "./door_sockets.ts";
import { SocketUplinkPort } from "./socket_uplink.ts";
import type { DeviceUplink, SocketUplink, UplinkChoice } from "./uplink_options.ts";
import { type RunNft, UplinkRules } from "./uplink_rules.ts";

/** Facts for opening it, besides the user's options. */
interface UplinkNeeds {
  readonly offload: boolean;
  /** Whether the machine's loopback must be reachable by it. */
  readonly localnet: boolean;
  /** Takes a line for each forward that the machine lets it open in part only, at any time. */
  readonly warn: (line: string) => void;
}

/** An uplink, opened before the host kernel boots. */
export interface Uplink {
  /** How the host boots with it. */
  readonly boot: Pick<BootOptions, "wire" | "port">;
  readonly name: string;
  /** Why the machine's 127.0.0.1 is not reached by it; empty: it is. */
  readonly localnet: string;
  /** Its device; null: it has none. */
  readonly device: TapPort | TunPort | null;
  /** What opens forwards on the machine. */
  readonly doors: ForwardDoors;
  /** Starts it, once the host kernel has booted. Throws HostError, KernelError. */
  start(host: Host): void;
  /** What guests will miss, a line each. */
  warnings(): string[];
  /** Ends it, and takes away what it set on the machine, before the host kernel closes. */
  end(): void;
}

/** Opens it. Throws HostError, with nothing left behind. */
export function openUplink(choice: UplinkChoice, needs: UplinkNeeds): Uplink {
  return choice.kind === "socket" ? openSockets(choice, needs) : openDeviceUplink(choice, needs);
}

function openSockets(choice: SocketUplink, { localnet }: UplinkNeeds): Uplink {
  const sockets = new SocketUplinkPort(choice, { hostLoopback: localnet });
  return {
    boot: { wire: "tun", port: (world) => sockets.makePort(world) },
    name: "sockets",
    localnet: "",
    device: null,
    doors: sockets,
    start: (host) => sockets.start(host),
    warnings: () => sockets.warnings(),
    end: () => sockets.end(),
  };
}

function openDeviceUplink(choice: DeviceUplink, needs: UplinkNeeds): Uplink {
  const device = openDevice(choice, needs);
  try {
    const rules = choice.nat ? setRules(choice, device.name) : null;
    const { name, localnet, netns } = device;
    let running: Host | null = null;
    const doors: DeviceDoors = new DeviceDoors({
      uplink: choice,
      rules,
      makeSockets: () => new DoorSockets({ host: running!, uplink: choice, netns, link: doors.link }),
      warn: needs.warn,
    });
    return {
      boot: { wire: choice.kind, port: device },
      name,
      localnet,
      device,
      doors,
      start: (host) => {
        running = host;
        host.reactor!.add(device);
      },
      warnings: () => [],
      end: () => doors.end(),
    };
  } catch (error) {
    device.close();
    throw error;
  }
}

/** Sets what `--uplink-nat` sets. Throws HostError. */
function setRules(choice: DeviceUplink, device: string): UplinkRules {
  const { netns, v6 } = choice;
  const place = netns === null ? null : openNetns(netnsOf(netns));
  const nft: RunNft = (commands) => {
    const { success, stderr } = new Deno.Command("nsenter", {
      args: [...place === null ? [] : [`--net=${place.path}`], "nft", commands.join("; ")],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).outputSync();
    return success ? "" : new TextDecoder().decode(stderr).split("\n")[0]!.trim();
  };
  return new UplinkRules({ device, v4: choice, v6 }, nft, (work) => place === null ? work() : place.run(work));
}

/** Opens the device. Throws HostError. */
function openDevice(choice: DeviceUplink, { offload, localnet }: UplinkNeeds): TapPort | TunPort {
  const { kind, device, attach, peer, netns, mtu, v6 } = choice;
  const options: TapOptions = { offload, localnet };
  if (device !== null) options.name = device;
  if (netns !== null) options.netns = netnsOf(netns);
  if (attach) {
    // As its owner set it up: nothing here needs root.
    options.attach = true;
    options.up = false;
  } else {
    options.mtu = mtu;
    options.address = v6 === null ? peer! : [peer!, v6.peer!];
  }
  try {
    return kind === "tap" ? openTap(options) : openTun(options);
  } catch (error) {
    const isRefused = error instanceof HostError && !attach && (error.errno === EPERM || error.errno === EACCES);
    if (!isRefused) throw error;
    const device = `a ${kind.toUpperCase()} device${choice.device === null ? "" : ` "${choice.device}"`}`;
    throw new HostError(`Cannot make the uplink, ${device}`, error.errno, {
      hint: "needs root or CAP_NET_ADMIN on this machine, or a device that root has made for you: " +
        "--uplink-attach --uplink-device NAME, see netd(1)",
    });
  }
}

/** Options of the NAT where the machine's loopback cannot be reached: no route to it, and no name server on it. */
export function withoutLoopback(nat: NatOptions, gateway: string): NatOptions {
  const outside = (nat.nameServers ?? []).filter((addr) => parseIpAddr(addr)?.isLoopback !== true);
  return {
    ...nat,
    farLoopback: false,
    nameServers: outside.length > 0 ? outside : [gateway],
    policy: { ...nat.policy, loopback: false },
  };
}
