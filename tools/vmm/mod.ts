/**
 * Networks of virtual machines: a virtio network card over a guest's memory, a guest that is a second kernel, and the
 * NAT behind either. Manual page vmm(1) has the parts and their limits.
 *
 * Path: user program → vmm/mod → vm, virtio/net, guest_memory, mmio.
 *
 * ```ts
 * import { boot, SeededRandom } from "@akarino/akarino";
 * import { ModelCard, startGuestNetwork } from "@akarino/akarino/vmm";
 *
 * await using host = await boot();
 * const mac = new Uint8Array([2, 0, 0, 0, 0, 11]);
 * const card = new ModelCard({ jobs: host.clock.jobs, mac }); // a guest's memory, its card, and a driver
 * await using guest = await host.neighbor({ port: card.driver, address: "10.0.2.15/24", gateway: "10.0.2.2" });
 * const network = startGuestNetwork({
 *   proc: host.spawn("nat"),
 *   clock: host.clock,
 *   random: new SeededRandom(1),
 *   card: card.port,
 *   nat: { hostAddr: "10.0.0.1/24" },
 * });
 * using listener = await host.listen({ port: 80 });
 * using conn = await guest.connect({ hostname: "10.0.0.1", port: 80 });
 * console.log((await listener.accept()).remoteAddr.hostname, conn.localAddr.hostname); // 10.0.0.1 10.0.2.15
 * network.close();
 * ```
 *
 * @module
 */

export { DriverCounters, ModelDriver } from "./guests/model/driver.ts";
export { GuestMemory, type MemoryRegion } from "./virtio/guest_memory.ts";
export { DeviceError, Feature, Features, Interrupt, Reg, Status } from "./virtio/ids.ts";
export { MmioCounters, type VirtioDevice } from "./virtio/device.ts";
export { VirtioMmio } from "./virtio/mmio.ts";
export { VirtioNet, type VirtioNetOptions } from "./virtio/net.ts";
export { NetCounters } from "./virtio/net_counters.ts";
export { Iov } from "./virtio/iov.ts";
export { RxFilter } from "./virtio/net_ctrl.ts";
export type { RxRefusal } from "./virtio/net_rx.ts";
export { DescChain, type Popped, type QueueFeatures, VirtQueue } from "./virtio/queue.ts";
export {
  CardPort,
  type GuestNetwork,
  type GuestNetworkOptions,
  ModelCard,
  type ModelCardOptions,
  startGuestNetwork,
} from "./vm.ts";
