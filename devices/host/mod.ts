/**
 * TUN and TAP devices of Linux, without a kernel of ours: packets and frames as blocks, a loop that waits for all
 * descriptors at once, network namespaces and interfaces. It needs `--allow-ffi`; to make a device, root or
 * CAP_NET_ADMIN.
 *
 * Path: user program → host/mod → tun, reactor, netns, netdev, libc.
 *
 * ```ts no-run
 * import { openTun, Reactor, RealClock } from "@akarino/akarino/tun";
 *
 * using tun = openTun({ address: "10.99.0.1/24" });
 * tun.receive = (packet) => {
 *   console.log(`${packet.length} bytes`);
 *   packet.free();
 * };
 * const reactor = new Reactor({ clock: new RealClock() });
 * reactor.add(tun);
 * reactor.start();
 * await reactor.done;
 * ```
 *
 * @module
 */

export { RealClock } from "./clock.ts";
export { HostError, type HostErrorName } from "./libc.ts";
export { type InterfaceAddress, NetDevice } from "./netdev.ts";
export { createNetns, Netns, openNetns } from "./netns.ts";
export type { Pollable } from "./pollable.ts";
export { Reactor, type ReactorCounters, type ReactorOptions } from "./reactor.ts";
export {
  LinuxPort,
  openTap,
  openTun,
  type PortCounters,
  type TapOptions,
  TapPort,
  type TunOptions,
  TunPort,
} from "./tun.ts";
