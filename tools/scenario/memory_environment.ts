/**
 * The host and a second kernel on a cable in memory, in virtual time: the same seed gives the same packets.
 *
 * Path: scenario → memory_environment → boot, kernel_endpoint, packet_log, environment.
 *
 * @module
 */

import type { Conversation } from "../../kernel/dial.ts";
import { hangUp } from "../../kernel/dial.ts";
import type { Proc } from "../../kernel/proc.ts";
import type { CableOptions } from "../../devices/ether/cable.ts";
import { ETHER_HEADER_LEN } from "../../kernel/wire/ethernet.ts";
import { boot, type Host } from "../boot/boot.ts";
import type { PortObserver } from "../boot/observe_port.ts";
import { KernelEndpoint, kernelPing } from "./kernel_endpoint.ts";
import { PacketLog } from "./packet_log.ts";
import { ANSWER_MS, type EchoAnswer, type Environment, type Remote, type RemoteUdp, within } from "./environment.ts";

/** A gigabit link of some 20 km: a capture shows what waited for what. */
const RATE_BPS = 1e9;
const DELAY_MS = 0.1;

/** What differs from a perfect wire, and who looks at it. */
export interface MemoryOptions {
  readonly seed: number;
  readonly observe?: PortObserver;
  readonly cable?: CableOptions;
}

/** Boots both kernels. */
export async function memoryEnvironment(options: MemoryOptions): Promise<Environment> {
  const { seed, observe } = options;
  const cable = { rateBps: RATE_BPS, delayMs: DELAY_MS, ...options.cable };
  const log = new PacketLog(ETHER_HEADER_LEN);
  const see: PortObserver = (direction, block, wallMs) => {
    log.see(direction, block);
    observe?.(direction, block, wallMs);
  };
  const host = await boot({ wire: "memory", seed, address: "10.0.0.1/24", cable, observe: see });
  const other = await host.neighbor({ address: "10.0.0.2/24" });
  const endpoint = new KernelEndpoint("the remote", other.spawn("services"), host.clock, other.address);
  const remote = new KernelRemote(host, other);
  return { wire: "memory", host, remote, endpoint, log, close: () => host.world.close() };
}

/** A program of the second kernel. */
class KernelRemote implements Remote {
  readonly name = "a second kernel";
  readonly address: string;
  #proc: Proc;
  #host: Host;

  constructor(host: Host, other: Host) {
    this.#host = host;
    this.#proc = other.spawn("remote");
    this.address = other.address;
  }

  async resolved(): Promise<string | null> {
    const table = await this.#proc.readText("/net/arp");
    const words = table.split("\n").map((line) => line.trim().split(/\s+/));
    const entry = words.find((line) => line[1] === "OK" && line[2] === this.#host.address);
    return entry?.[3] ?? null;
  }

  ping(id: number, seq: number, payload: Uint8Array): Promise<EchoAnswer> {
    return kernelPing({ proc: this.#proc, clock: this.#host.clock }, this.#host.address, { id, seq, payload });
  }

  openUdp(): Promise<RemoteUdp> {
    return Promise.resolve(new KernelUdp(this.#proc, this.#host));
  }
}

/** One conversation per port that is tried. */
class KernelUdp implements RemoteUdp {
  #convs = new Map<number, Conversation>();

  constructor(readonly proc: Proc, readonly host: Host) {}

  async exchange(payload: Uint8Array, port: number): Promise<Uint8Array> {
    let conv = this.#convs.get(port);
    if (conv === undefined) {
      conv = await this.proc.dial(`udp!${this.host.address}!${port}`);
      this.#convs.set(port, conv);
    }
    await this.proc.blockwrite(conv.data, payload);
    const what = `answer of ${payload.length} bytes`;
    const answer = await within(this.host.clock, ANSWER_MS, what, this.proc.blockread(conv.data));
    return answer!.bytes().slice();
  }

  close(): void {
    for (const conv of this.#convs.values()) hangUp(this.proc, conv);
  }
}
