/**
 * The host and a second kernel on a cable in memory, in virtual time: the same seed gives the same packets.
 *
 * Path: scenario → memory_environment → boot, kernel_endpoint, packet_log, environment.
 *
 * @module
 */

import type { CableOptions } from "../../devices/ether/cable.ts";
import { ETHER_HEADER_LEN } from "../../kernel/wire/ethernet.ts";
import { boot } from "../boot/boot.ts";
import type { PortObserver } from "../boot/observe_port.ts";
import { type Environment, PREFIX6 } from "./environment.ts";
import type { PerVersion } from "./ip_family.ts";
import { KernelEndpoint } from "./kernel_endpoint.ts";
import { PacketLog } from "./packet_log.ts";

/** A gigabit link of some 20 km: a capture shows what waited for what. */
const RATE_BPS = 1e9;
const DELAY_MS = 0.1;

const PREFIX4 = 24;
const HOST = { 4: "10.0.0.1", 6: "2001:db8::1" };
const REMOTE = { 4: "10.0.0.2", 6: "2001:db8::2" };

/** What differs from a perfect wire, and what observes it. */
interface MemoryOptions {
  readonly seed: number;
  /** Whether the wire has IPv6 beside IPv4. Default true. */
  readonly ipv6?: boolean;
  readonly observe?: PortObserver;
  readonly cable?: CableOptions;
}

/** Boots both kernels. */
export async function memoryEnvironment(options: MemoryOptions): Promise<Environment> {
  const { seed, ipv6 = true, observe } = options;
  const cable = { rateBps: RATE_BPS, delayMs: DELAY_MS, ...options.cable };
  const log = new PacketLog(ETHER_HEADER_LEN);
  const host = await boot({ wire: "memory", seed, ...addressesOf(HOST, ipv6), cable, observe: log.before(observe) });
  const other = await host.neighbor(addressesOf(REMOTE, ipv6));
  const remote = new KernelEndpoint("a second kernel", other.spawn("services"), host.clock, { ...REMOTE });
  return { wire: "memory", sockets: null, host, addresses: HOST, remote, log, close: () => host.world.close() };
}

function addressesOf(own: PerVersion<string>, ipv6: boolean): { address: string; address6: string | null } {
  return { address: `${own[4]}/${PREFIX4}`, address6: ipv6 ? `${own[6]}/${PREFIX6}` : null };
}
