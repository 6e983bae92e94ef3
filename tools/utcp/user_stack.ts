/**
 * UserStack: a whole second stack inside a user program, over one bypassed port of the stack of its machine.
 *
 * Path: utcp/echo → user_stack → claim_port, kernel, proc, dev_ip.
 *
 * The program's kernel has the same addresses as the machine, and its only interface is the claim: all that it is ever
 * asked about is the claimed port, and all that it may say is what bypass lets through. The machine's TCP knows nothing
 * of it: the states, timers and windows of these connections are the program's.
 *
 * Limits: the machine's addresses are those at the start. Callers on the machine itself are not served: to this stack,
 * packets from its own address are spoofed ones (RFC 1122 3.2.1.3).
 *
 * @module
 */

import { IpDev } from "../../devices/ip/files/dev_ip.ts";
import { RootDev } from "../../devices/root/dev_root.ts";
import { BlockPool } from "../../kernel/block.ts";
import { KernelError } from "../../kernel/error.ts";
import { Kernel } from "../../kernel/kernel.ts";
import { Mount } from "../../kernel/namespace.ts";
import type { Proc } from "../../kernel/proc.ts";
import { Open } from "../../kernel/qid.ts";
import { type ClaimCounters, ClaimPort } from "./claim_port.ts";

/** Most bytes of an IP packet; a machine without links has no narrower one. */
const MTU_MAX = 65535;
const ETHERNET_HEADER_LEN = 14;

/** How a stack is made. */
export interface UserStackOptions {
  /** Bytes of IP packet that it sends and wants at most. Default: that of the machine's narrowest link. */
  readonly mtu?: number;
}

/** The stack, until it is stopped. */
export class UserStack {
  /** The program's own kernel. */
  readonly kernel: Kernel;
  /** A process on it: `tcp` under its `/net` is the program's TCP. */
  readonly proc: Proc;
  /** Settles when no more packets are moved; rejects if moving them failed. */
  readonly done: Promise<void>;
  readonly #port: ClaimPort;

  /** For {@link startUserStack}. */
  constructor(kernel: Kernel, proc: Proc, claim: ClaimPort) {
    this.kernel = kernel;
    this.proc = proc;
    this.#port = claim;
    // Without its wire no call can be served: the end of the machine's process ends these, too.
    this.done = claim.run().finally(() => kernel.shutdown());
  }

  /** What crossed the claim. */
  get counters(): ClaimCounters {
    return this.#port.counters;
  }

  /** Ends its processes, whose connections say so while they can, and gives the port back. */
  async stop(): Promise<void> {
    this.kernel.shutdown();
    this.kernel.clock.jobs.run();
    this.#port.close();
    await this.done;
  }
}

/** Claims tcp port `port` of the machine of `proc` and starts a stack on it. Throws KernelError as bypass does. */
export async function startUserStack(proc: Proc, port: number, options: UserStackOptions = {}): Promise<UserStack> {
  const { clock, random } = proc.kernel;
  const addresses = await localAddresses(proc);
  const mtu = options.mtu ?? await linkMtu(proc);
  const conv = await proc.bypass(`tcp!*!${port}`, { ctl: ["offload on"] });
  const pool = new BlockPool();
  const claim = new ClaimPort(proc, conv, { mtu, pool });
  try {
    const kernel = new Kernel({ clock, random, blocks: pool, name: `${proc.name}.${port}` });
    kernel.addDevice(new RootDev());
    kernel.addDevice(new IpDev(kernel, { packetPorts: new Map([[claim.name, claim]]) }));
    const own = kernel.spawn(proc.name);
    own.sys.nbind("#ip", "/net", Mount.Before);
    const ctl = await own.open("/net/ipifc/clone", Open.ReadWrite);
    await own.write(ctl, `bind tun ${claim.name}`);
    // Every caller is a neighbour: the machine finds the route.
    for (const address of addresses) await own.write(ctl, `add ${address} /0`);
    own.sys.close(ctl);
    return new UserStack(kernel, own, claim);
  } catch (error) {
    claim.close();
    throw error;
  }
}

/** The least MTU of the machine's interfaces, loopback left out: what callers may send us must cross any of them. */
async function linkMtu(proc: Proc): Promise<number> {
  let least = MTU_MAX;
  for (const { name } of proc.sys.list("/net/ipifc")) {
    if (!/^\d+$/.test(name)) continue;
    const status = await proc.readText(`/net/ipifc/${name}/status`);
    const [, device, maxtu] = /^device (\S+) maxtu (\d+) /.exec(status) ?? [];
    if (device === undefined || /\t127\./.test(status)) continue;
    // Of an Ethernet its own header is counted in (ipifc(3)).
    least = Math.min(least, Number(maxtu) - (device.includes("/ether") ? ETHERNET_HEADER_LEN : 0));
  }
  return least;
}

/** The machine's own addresses, without those that cannot be called from outside. */
async function localAddresses(proc: Proc): Promise<string[]> {
  const lines = (await proc.readText("/net/ipselftab")).split("\n").map((line) => line.split(" "));
  const addresses = lines.filter(([, , kind]) => kind === "4u").map(([address]) => address!);
  const reachable = addresses.filter((address) => !address.startsWith("127."));
  if (reachable.length === 0) {
    throw new KernelError("EADDRNOTAVAIL", "Cannot start a stack: the machine has no address");
  }
  return reachable;
}
