/**
 * The host on a TAP or TUN device in a network namespace of its own, and Linux as the remote: real sockets, no tools.
 *
 * Path: scenario → linux_environment → boot, linux_sockets, socket_endpoint, sysctl, netdev.
 *
 * @module
 */

import { NetDevice } from "../../devices/host/netdev.ts";
import type { Netns } from "../../devices/host/netns.ts";
import { writeSysctl } from "../../devices/host/sysctl.ts";
import type { TapPort, TunPort } from "../../devices/host/tun.ts";
import { ETHER_HEADER_LEN } from "../../kernel/wire/ethernet.ts";
import { boot } from "../boot/boot.ts";
import type { PortObserver } from "../boot/observe_port.ts";
import { type Environment, PREFIX6 } from "./environment.ts";
import { LinuxSockets } from "./linux_sockets.ts";
import { PacketLog } from "./packet_log.ts";
import { SocketEndpoint } from "./socket_endpoint.ts";

const LINUX = { 4: "10.99.0.1", 6: "fd99::1" };
const HOST = { 4: "10.99.0.2", 6: "fd99::2" };
const PREFIX4 = 24;

/** How the environment is made. */
interface LinuxEnvironmentOptions {
  readonly wire: "tap" | "tun";
  /** Whether the wire has IPv6 beside IPv4. */
  readonly ipv6: boolean;
  readonly observe?: PortObserver;
}

/** Boots the host on a new device. Throws HostError where that may not be. */
export async function linuxEnvironment({ wire, ipv6, observe }: LinuxEnvironmentOptions): Promise<Environment> {
  const log = new PacketLog(wire === "tap" ? ETHER_HEADER_LEN : 0);
  const linux = { netns: "new", address: `${LINUX[4]}/${PREFIX4}`, name: `aka${wire}0` };
  const address6 = ipv6 ? `${HOST[6]}/${PREFIX6}` : null;
  const host = await boot({ wire, address: `${HOST[4]}/${PREFIX4}`, address6, linux, observe: log.before(observe) });
  try {
    const { netns, name } = host.port as TapPort | TunPort;
    if (ipv6) addLinuxIpv6(netns!, name);
    const sockets = new LinuxSockets({ reactor: host.reactor!, clock: host.clock }, netns!);
    const remote = new SocketEndpoint("Linux", sockets, { ...LINUX });
    const close = async () => {
      remote.close();
      await host.world.close();
    };
    return { wire, sockets: null, host, addresses: HOST, remote, log, close };
  } catch (error) {
    await host.world.close();
    throw error;
  }
}

/** Gives Linux its IPv6 address on `device`. */
function addLinuxIpv6(netns: Netns, device: string): void {
  withoutDad(netns, device);
  netns.run(() => {
    const netdev = new NetDevice(device);
    try {
      netdev.addAddress(`${LINUX[6]}/${PREFIX6}`);
    } finally {
      netdev.close();
    }
  });
}

/** Has Linux use IPv6 addresses of `device` at once: its search for duplicates takes two seconds (RFC 4862 5.4). */
export function withoutDad(netns: Netns, device: string): void {
  netns.run(() => writeSysctl(`net/ipv6/conf/${device}/accept_dad`, "0"));
}
