/**
 * Forwards as listening sockets of the machine, which lead to ports of the host kernel.
 *
 * Path: socket_uplink, door_sockets → forward_sockets → tools/uplink/forwards, nat/forward.
 *
 * @module
 */

import { type ErrnoName, KernelError } from "../../kernel/error.ts";
import { formatForward, type ForwardSpec } from "../nat/forward.ts";
import { MapProto } from "../nat/map.ts";
import type { ForwardRefusal, OpenForward, UplinkForwards } from "../uplink/forwards.ts";

/** Ports below the sysctl's value are root's. */
const PRIVILEGED_SYSCTL = "net.ipv4.ip_unprivileged_port_start";

/** See above. */
export class ForwardSockets {
  readonly #forwards: UplinkForwards;
  readonly #open = new Map<string, OpenForward>();

  constructor(forwards: UplinkForwards) {
    this.#forwards = forwards;
  }

  /** Opens the machine's ports of a forward. Throws KernelError: address, port and reason. */
  open(spec: ForwardSpec, port: number): void {
    const { proto, bound, hostPort, count, guestAddr } = spec;
    const opened = this.#forwards.open({
      protocol: proto === MapProto.Tcp ? "tcp" : "udp",
      version: guestAddr === null || guestAddr.isV4 ? 4 : 6,
      address: bound,
      port: hostPort,
      count,
      nearPort: port,
    });
    if (!("close" in opened)) throw refusalOf(spec, opened);
    this.#open.set(formatForward(spec), opened);
  }

  /** Closes those that are open. */
  close(spec: ForwardSpec): void {
    const key = formatForward(spec);
    this.#open.get(key)?.close();
    this.#open.delete(key);
  }
}

function refusalOf({ bound }: ForwardSpec, { port, failure }: ForwardRefusal): KernelError {
  const at = bound === null ? `0.0.0.0 and [::], port ${port}` : `${bound}!${port}`;
  const hint = failure === "EACCES" ? `: see ${PRIVILEGED_SYSCTL}` : "";
  const code: ErrnoName = failure === "EADDRINUSE" || failure === "EADDRNOTAVAIL" || failure === "EACCES"
    ? failure
    : "EFAIL";
  return new KernelError(code, `Cannot forward ${at} of this machine: ${failure}${hint}`);
}
