/**
 * PortSpace: which local ports of a protocol are in use, and picking a free one.
 *
 * Path: conv_space, conv, conv_address → ports → error, random.
 *
 * A picked port is one that no conversation has, in any state; a given port is refused by {@link
 * ConvTable.conflict} only if another conversation gets its packets. Picking starts at a random port (RFC 6056 3.3.1):
 * a host that cannot see our packets cannot guess it.
 *
 * @module
 */

import { KernelError } from "../../../kernel/error.ts";
import type { Random } from "../../../kernel/random.ts";

/** Ports that are picked (Akaros). */
export const PORT_AUTO_MIN = 5000;
export const PORT_MAX = 65535;
/** Ports that are picked if a restricted one is asked for (`!r`). */
export const PORT_RESTRICTED_MIN = 600;
export const PORT_RESTRICTED_MAX = 1023;

/** A conversation, as its ports are counted. */
interface PortHolder {
  readonly lport: number;
  /** Last port of a range; equal to `lport` otherwise. */
  readonly lportEnd: number;
  /** Whether its local port is counted as used: this file's own. */
  holdsPort: boolean;
}

/** The ranges of ports that are in use. */
interface PortRanges {
  /** Whether some range, whatever its address, has `port` in it. */
  isRanged(port: number): boolean;
}

/** The ports of one protocol of one stack. */
export class PortSpace {
  /** How many conversations have a port. Ranges are in the table only. */
  readonly #uses: Map<number, number> = new Map();

  constructor(readonly random: Random, readonly ranges: PortRanges) {}

  /** Ports in use, ranges not counted. */
  get length(): number {
    return this.#uses.size;
  }

  /** Counts the local port that `conv` has now; {@link release} before it changes. */
  hold(conv: PortHolder): void {
    if (conv.holdsPort || conv.lport === 0 || conv.lportEnd !== conv.lport) return;
    conv.holdsPort = true;
    this.#uses.set(conv.lport, (this.#uses.get(conv.lport) ?? 0) + 1);
  }

  /** Takes the local port of `conv` out of the count. */
  release(conv: PortHolder): void {
    if (!conv.holdsPort) return;
    conv.holdsPort = false;
    const left = this.#uses.get(conv.lport)! - 1;
    if (left === 0) this.#uses.delete(conv.lport);
    else this.#uses.set(conv.lport, left);
  }

  /** Whether some conversation has `port`. */
  isUsed(port: number): boolean {
    return this.#uses.has(port) || this.ranges.isRanged(port);
  }

  /** A free port. EFAIL: there is none. */
  pick(restricted = false): number {
    const min = restricted ? PORT_RESTRICTED_MIN : PORT_AUTO_MIN;
    const count = (restricted ? PORT_RESTRICTED_MAX : PORT_MAX) - min + 1;
    const start = this.random.below(count);
    for (let i = 0; i < count; i++) {
      const port = min + (start + i) % count;
      if (!this.isUsed(port)) return port;
    }
    throw new KernelError("EFAIL", `Cannot pick a port: all of ${min} to ${min + count - 1} are in use`);
  }
}
