/**
 * IpifcProto: the protocol directory `ipifc`, whose conversations are interfaces.
 *
 * Path: dev_ip → ipifc_proto → ipifc_ctl, ipifc, conv, ether_medium.
 *
 * An interface bound to a medium that keeps (all but pkt) counts as one more user of its conversation, so it lives on
 * when none of its files is open, until `unbind`.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import { KernelError } from "../../../kernel/error.ts";
import type { PacketPort } from "../../../kernel/host.ts";
import { Queue } from "../../../kernel/queue.ts";
import type { OrWait } from "../../../kernel/rendez.ts";
import { type Conv, type Proto, TTL_DEFAULT } from "../conv/conv.ts";
import { etherMedium } from "../ifc/ether_medium.ts";
import { ifcLocal, ifcStatus } from "../ifc/ifc_status.ts";
import type { IpStack } from "../ip_stack.ts";
import { Ipifc } from "../ifc/ipifc.ts";
import { IPIFC_VERBS, type IpifcTarget } from "./ipifc_ctl.ts";
import { loopbackMedium } from "../ifc/loopback_medium.ts";
import type { Medium } from "../ifc/medium.ts";
import { PKT_QUEUE_LIMIT, pktMedium, tunMedium } from "../ifc/packet_medium.ts";

/** Interfaces of one stack (Akaros). */
const IPIFCS_MAX = 32;
/** Bytes of copies that wait for a snooper (Akaros). */
export const SNOOP_QUEUE_LIMIT = 131070;

/** Interfaces as conversations. */
export class IpifcProto implements Proto {
  readonly name = "ipifc";
  readonly index = 2;
  readonly ipProtocols: readonly number[] = [];
  readonly convsMax = IPIFCS_MAX;
  readonly bypassable = false;
  /** Addresses and forwarding are the whole stack's. */
  readonly adminOnly = true;
  /** Ports of the host that `bind tun NAME` may name. */
  readonly packetPorts: Map<string, PacketPort>;
  readonly #media: readonly Medium[];

  constructor(readonly stack: IpStack, options: { packetPorts?: Map<string, PacketPort> } = {}) {
    this.packetPorts = options.packetPorts ?? new Map();
    this.#media = [etherMedium, loopbackMedium, pktMedium, tunMedium(this.packetPorts)];
  }

  create(conv: Conv): void {
    const ifc = new Ipifc(this.stack, conv);
    conv.priv = ifc;
    conv.rq = conv.makeDataQueue({ limit: PKT_QUEUE_LIMIT, message: true, coalesce: true });
    conv.sq ??= new Queue({ limit: SNOOP_QUEUE_LIMIT, message: true, coalesce: true });
    this.stack.ifcs[conv.number] = ifc;
  }

  ctl(conv: Conv, words: readonly string[]): boolean {
    const [name, ...args] = words;
    const verb = IPIFC_VERBS.find((one) => one.name === name);
    if (verb === undefined) return false;
    if (args.length < verb.minArgs || args.length > verb.maxArgs) {
      throw new KernelError("EINVAL", `Cannot run ${verb.name} with ${args.length} arguments: usage: ${verb.usage}`);
    }
    verb.run(this.#target(conv), args);
    return true;
  }

  close(conv: Conv): void {
    const ifc = ifcOf(conv);
    if (ifc.link !== null) ifc.unbind();
  }

  /** A packet that the user of a pkt interface sends as the wire. */
  output(conv: Conv, block: Block): OrWait<number> {
    const { link } = ifcOf(conv);
    if (link?.inject === undefined) {
      throw new KernelError("EFAIL", `Cannot write to ${conv}: only an interface bound to pkt takes packets`);
    }
    const { length } = block;
    link.inject(block);
    return length;
  }

  status(conv: Conv): string {
    return ifcStatus(ifcOf(conv));
  }

  local(conv: Conv): string {
    return ifcLocal(ifcOf(conv));
  }

  /** The IP counters of the whole stack. */
  stats(): string {
    return this.stack.stats.format({ forwarding: this.stack.forwarding, ttl: TTL_DEFAULT });
  }

  #target(conv: Conv): IpifcTarget {
    const space = this.stack.space(this);
    return {
      ifc: ifcOf(conv),
      media: this.#media,
      keep: () => void conv.inUse++,
      unkeep: () => space.drop(conv),
    };
  }
}

function ifcOf(conv: Conv): Ipifc {
  return conv.priv as Ipifc;
}
