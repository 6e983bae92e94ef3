/**
 * Akarino: a miniature Akaros-like kernel: system calls over file descriptors, an IP stack as a file tree, a bypass
 * that gives a program a port of a live stack, and block system calls that keep packet boundaries.
 *
 * Path: script → mod → boot.
 *
 * `boot` starts a host: a kernel on a cable in memory, or on a TAP or TUN device of Linux. `connect`, `listen` and
 * `listenDatagram` are shaped like Deno's:
 *
 * ```ts
 * import { boot } from "@akarino/akarino";
 *
 * await using host = await boot({ address6: "2001:db8::1/64" }); // 10.0.0.1, too
 * await using other = await host.neighbor({ address6: "2001:db8::2/64" });
 * using listener = await other.listen({ port: 80 });
 * const [near, far] = await Promise.all([
 *   host.connect({ hostname: "2001:db8::2", port: 80, signal: AbortSignal.timeout(10_000) }),
 *   listener.accept(),
 * ]);
 * console.log(far.remoteAddr.hostname); // 2001:db8::1
 * near.close();
 * ```
 *
 * A program of the host claims a port, and gets whole packets:
 *
 * ```ts
 * import { boot, swapEnds } from "@akarino/akarino";
 *
 * await using host = await boot({ wire: "memory", seed: 1 }); // or "tap", "tun"
 * const proc = host.spawn("echo");
 * const conv = await proc.bypass("udp!*!7"); // claims udp port 7 of the live stack
 * (async () => {
 *   for await (const packet of proc.blocks(conv.data)) {
 *     await proc.blockwrite(conv.data, swapEnds(packet)); // whole IP packets, one a block
 *   }
 * })();
 * await using other = await host.neighbor();
 * using socket = await other.listenDatagram();
 * await socket.send(new TextEncoder().encode("hello"), { hostname: host.address, port: 7 });
 * console.log(new TextDecoder().decode((await socket.receive())[0])); // hello
 * ```
 *
 * The other entry points: `@akarino/akarino/kernel` for a device of one's own and for system calls by number,
 * `/wire` for packet formats, `/tun` for TUN and TAP devices without a kernel, `/nat` and `/vmm` for guests of one's
 * own, `/netd` for the daemon.
 *
 * @module
 */

export { boot, type BootOptions, type Guest, Host, type Wire, type World } from "./tools/boot/boot.ts";
export type { AddressOptions } from "./tools/boot/addresses.ts";
export { type DatagramAddr, DatagramConn } from "./tools/boot/datagrams.ts";
export { type GuestHost, GuestOf, type GuestOptions } from "./tools/boot/guest.ts";
export type { ConnectOptions, ListenOptions, NetAddr } from "./tools/boot/net_addr.ts";
export type { Direction, PortObserver } from "./tools/boot/observe_port.ts";
export { type StreamAddr, StreamConn, StreamListener } from "./tools/boot/streams.ts";
export { swapEnds } from "./tools/boot/swap_ends.ts";
export { type WorldMember, WorldOf } from "./tools/boot/world.ts";

export type { Conversation, DialOptions } from "./kernel/dial.ts";
export { Errno, type ErrnoName, KernelError, SystemError } from "./kernel/error.ts";
export { HostError, type HostErrorName } from "./devices/host/libc.ts";
export { Clock, Timer as ClockTimer, VirtualClock } from "./kernel/time.ts";
export { RealClock } from "./devices/host/clock.ts";
export { Random, SeededRandom } from "./kernel/random.ts";
export type { WaitOptions } from "./kernel/wait.ts";

export { Cable, type CableDirection, type CableOptions } from "./devices/ether/cable.ts";
export type { CableCounters, CableFaults } from "./devices/ether/cable_faults.ts";
export { type CableCore, CablePort, type CablePortOptions } from "./devices/ether/cable_port.ts";
