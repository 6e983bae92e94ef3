/**
 * Dad: whether an address is in use on the link already (duplicate address detection, RFC 4862 5.4).
 *
 * Path: neighbor/nd, ra6, medium → dad → nd_send, addr6, iplifc, time.
 *
 * A tentative address is asked for once; without an answer within {@link DAD_WAIT_MS} it is ours. With one, it
 * is removed again, counted, and logged.
 *
 * Limits: as many as interfaces have addresses; one timer for all.
 *
 * @module
 */

import type { Timer } from "../../../kernel/time.ts";
import { IP_UNSPECIFIED, type IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { solicitedNode } from "../../../kernel/inet/addr6.ts";
import type { Ifc } from "../link/ifc.ts";
import type { Iplifc, IplifcFields } from "../link/iplifc.ts";
import type { IpEnv } from "../env/env.ts";
import { sendNeighborSolicit } from "./nd_send.ts";
import { LogFlag } from "../env/netlog.ts";

/** Milliseconds in which the owner of an address has to answer (RFC 4861 10: RETRANS_TIMER). */
export const DAD_WAIT_MS = 1000;

/** One address that is being tried. */
interface Trial {
  readonly ifc: Ifc;
  readonly lifc: Iplifc;
  readonly deadlineMs: number;
  readonly done: (() => void) | null;
}

/** Addresses of one stack that are being tried. */
export class Dad {
  /** Oldest first: all wait equally long. */
  readonly #trials: Trial[] = [];
  readonly #timer: Timer;

  constructor(readonly stack: IpEnv) {
    this.#timer = stack.env.clock.timer(() => this.#expire());
  }

  /** Addresses that are being tried. */
  get size(): number {
    return this.#trials.length;
  }

  /**
   * Adds an address to `ifc` as soon as it is known to be unique, and calls `done`; at once where there are no
   * neighbours to ask. Throws as `addAddress` does.
   */
  start(ifc: Ifc, fields: IplifcFields, done: (() => void) | null = null): Iplifc {
    const ndLink = ifc.link?.ndLink;
    const known = ifc.lifcs.find((lifc) => lifc.local.equals(fields.local));
    if (ndLink === undefined || fields.local.isV4 || known !== undefined) {
      const lifc = ifc.addAddress(fields);
      if (!lifc.tentative) done?.();
      return lifc;
    }
    const lifc = ifc.addAddress(fields, true);
    const { local: target } = lifc;
    this.#trials.push({ ifc, lifc, done, deadlineMs: this.stack.env.clock.now() + DAD_WAIT_MS });
    if (!this.#timer.armed) this.#timer.arm(DAD_WAIT_MS);
    sendNeighborSolicit(this.stack, ndLink, { target, src: IP_UNSPECIFIED, dst: solicitedNode(target), mac: null });
    return lifc;
  }

  /** Whether `addr` is being tried on `ifc`. */
  isTrying(ifc: Ifc, addr: IpAddr): boolean {
    return this.#trials.length > 0 && this.#find(ifc, addr) !== undefined;
  }

  /** Another host has or tries `addr`, which is being tried on `ifc`. */
  taken(ifc: Ifc, addr: IpAddr): void {
    const trial = this.#find(ifc, addr);
    if (trial === undefined) return;
    this.#trials.splice(this.#trials.indexOf(trial), 1);
    ifc.dropAddress(trial.lifc);
    const { stats, log } = this.stack;
    stats.ndDuplicate++;
    if (log.wants(LogFlag.Arp, addr)) log.line(LogFlag.Arp, `nd: ${addr} is somebody else's: not added`, addr);
  }

  #find(ifc: Ifc, addr: IpAddr): Trial | undefined {
    return this.#trials.find((trial) => trial.ifc === ifc && trial.lifc.local.equals(addr) && trial.lifc.tentative);
  }

  #expire(): void {
    const now = this.stack.env.clock.now();
    while (this.#trials.length > 0 && this.#trials[0]!.deadlineMs <= now) {
      const { ifc, lifc, done } = this.#trials.shift()!;
      // It may have been removed meanwhile.
      if (!ifc.lifcs.includes(lifc)) continue;
      ifc.confirmAddress(lifc);
      done?.();
    }
    if (this.#trials.length > 0) this.#timer.arm(this.#trials[0]!.deadlineMs - now);
  }
}
