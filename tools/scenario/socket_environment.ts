/**
 * The host with sockets of this machine as its uplink, and programs of this machine as the remote: in a network
 * namespace of their own, or, without the right to make one, at the machine's loopback.
 *
 * Path: scenario → socket_environment → boot, socket_uplink, linux_sockets, socket_endpoint, netns, sysctl.
 *
 * @module
 */

import { HostError } from "../../devices/host/libc.ts";
import { holdNetns, type Netns } from "../../devices/host/netns.ts";
import { readSysctl, writeSysctl } from "../../devices/host/sysctl.ts";
import { boot } from "../boot/boot.ts";
import type { PortObserver } from "../boot/observe_port.ts";
import { SocketUplinkPort } from "../netd/socket_uplink.ts";
import { SOCKET_ENDS, SOCKET_ENDS6 } from "../netd/uplink_options.ts";
import type { Environment } from "./environment.ts";
import { LinuxSockets, LOOPBACK } from "./linux_sockets.ts";
import { PacketLog } from "./packet_log.ts";
import { SocketEndpoint } from "./socket_endpoint.ts";

const HOST = { 4: SOCKET_ENDS.address.split("/")[0]!, 6: SOCKET_ENDS6.address.split("/")[0]! };
/** Stands for the machine: what goes there reaches its loopback. */
const MACHINE = { 4: SOCKET_ENDS.gateway, 6: SOCKET_ENDS6.gateway };
const PING_GROUPS = "net/ipv4/ping_group_range";
const LOW_PORTS = "net/ipv4/ip_unprivileged_port_start";
/** The lowest port of the remote's services. */
const LOWEST_PORT = 7;

/** How the environment is made. */
interface SocketEnvironmentOptions {
  /** Whether the link has IPv6 beside IPv4. */
  readonly ipv6: boolean;
  readonly observe?: PortObserver;
}

/** Boots the host. Throws HostError, KernelError. */
export async function socketEnvironment({ ipv6, observe }: SocketEnvironmentOptions): Promise<Environment> {
  const log = new PacketLog(0);
  const netns = ownNamespace();
  const choice = { kind: "socket", ...SOCKET_ENDS, v6: SOCKET_ENDS6, outbound: null, outbound6: null } as const;
  const uplink = new SocketUplinkPort(choice, { hostLoopback: true, netns });
  const host = await boot({
    wire: "tun",
    port: (world) => uplink.makePort(world),
    address: SOCKET_ENDS.address,
    address6: ipv6 ? SOCKET_ENDS6.address : null,
    observe: log.before(observe),
  });
  const close = async () => {
    uplink.end();
    await host.world.close();
    netns?.close();
  };
  try {
    uplink.start(host);
    const where = netns === null ? "programs of this machine" : "programs in a namespace";
    const remote = new SocketEndpoint(
      where,
      new LinuxSockets({ reactor: host.reactor!, clock: host.clock }, netns, LOOPBACK),
      { ...MACHINE },
    );
    const sockets = {
      doors: uplink,
      doorAddresses: LOOPBACK,
      noPings: (version: 4 | 6) => uplink.noPings(version),
      noLowPorts: netns === null ? noLowPorts() : null,
    };
    const closeAll = async () => {
      remote.close();
      await close();
    };
    return { wire: "socket", sockets, host, addresses: HOST, remote, log, close: closeAll };
  } catch (error) {
    await close();
    throw error;
  }
}

/** A namespace in which the guest may ping; null: this program may not make one. */
function ownNamespace(): Netns | null {
  let netns: Netns;
  try {
    netns = holdNetns();
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return null;
  }
  netns.run(() => writeSysctl(PING_GROUPS, "0 2147483647"));
  return netns;
}

function noLowPorts(): string | null {
  const first = Number(readSysctl(LOW_PORTS) ?? 1024);
  return first <= LOWEST_PORT ? null : `ports below ${first} of this machine are root's`;
}
