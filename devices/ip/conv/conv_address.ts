/**
 * The addresses that ctl commands of a conversation take: `addr!port`, in the forms of dial strings.
 *
 * Path: conv_ctl → conv_address.
 *
 *     local   addr!port[!r] | *!port[!r] | port | *        remote   addr!port[!r]
 *     port    0 … 65535, or * for any free one; bypass also takes a range lo-hi
 *
 * A trailing `!r` asks for a port that is picked to be a restricted one (600 to 1023).
 *
 * @module
 */

import { shown } from "../../../kernel/ctl.ts";
import { KernelError } from "../../../kernel/error.ts";
import { IP_UNSPECIFIED, type IpAddr, parseIpAddr } from "../../../kernel/wire/ip_addr.ts";
import { PORT_MAX } from "./ports.ts";

/** A local end, as it was asked for. */
export interface LocalArg {
  /** Unspecified: any of ours. */
  readonly addr: IpAddr;
  /** 0: pick one. */
  readonly port: number;
  /** Last of a range; `port` otherwise. */
  readonly portEnd: number;
  /** The port was written `*`: to claim with it is eve's. */
  readonly star: boolean;
  readonly restricted: boolean;
}

/** A remote end, as it was asked for. */
interface RemoteArg {
  readonly addr: IpAddr;
  readonly port: number;
  readonly restricted: boolean;
}

/** Reads a local end. EINVAL: it is none. */
export function parseLocal(text: string, options: { ranges?: boolean } = {}): LocalArg {
  const parts = splitBangs(text);
  const portText = parts.length === 1 ? parts[0]! : parts[1]!;
  const named = parts.length === 1 || parts[0] === "*" ? IP_UNSPECIFIED : parseAddr(parts[0]!);
  // `0.0.0.0` and `::` both mean any address: one object for both keeps the demux table simple.
  const addr = named.isUnspecified ? IP_UNSPECIFIED : named;
  const restricted = isRestricted(parts, text);
  if (portText === "*") return { addr, port: 0, portEnd: 0, star: true, restricted };
  const range = options.ranges === true ? /^(\d{1,5})-(\d{1,5})$/.exec(portText) : null;
  if (range === null) {
    const port = parsePort(portText);
    return { addr, port, portEnd: port, star: false, restricted };
  }
  const port = parsePort(range[1]!);
  const portEnd = parsePort(range[2]!);
  if (port === 0 || portEnd < port) {
    throw new KernelError("EINVAL", `Cannot use the range ${shown(portText)}: want lo-hi, 1 to ${PORT_MAX}`);
  }
  return { addr, port, portEnd, star: false, restricted };
}

/** Reads a remote end; with `anyPort` its port is not looked at. EFAIL: no `!` in it. EINVAL: it is none otherwise. */
export function parseRemote(text: string, options: { anyPort?: boolean } = {}): RemoteArg {
  const parts = splitBangs(text);
  if (parts.length < 2) throw new KernelError("EFAIL", `Cannot connect to ${shown(text)}: want addr!port`);
  const restricted = isRestricted(parts, text);
  const addr = parseAddr(parts[0]!);
  if (options.anyPort === true) return { addr, port: 0, restricted };
  const port = parsePort(parts[1]!);
  if (port === 0) throw new KernelError("EINVAL", `Cannot connect to ${shown(text)}: port 0 is reserved`);
  return { addr, port, restricted };
}

function splitBangs(text: string): string[] {
  const parts = text.split("!");
  if (parts.length > 3) throw new KernelError("EINVAL", `Cannot use the address ${shown(text)}: want addr!port`);
  return parts;
}

function isRestricted(parts: readonly string[], text: string): boolean {
  if (parts.length < 3) return false;
  if (parts[2] === "r") return true;
  throw new KernelError("EINVAL", `Cannot use the address ${shown(text)}: only "r" may follow the port`);
}

/** An address. EINVAL: it is none. */
export function parseAddr(text: string): IpAddr {
  const addr = parseIpAddr(text);
  if (addr === null) throw new KernelError("EINVAL", `Cannot use ${shown(text)}: not an IP address`);
  return addr;
}

function parsePort(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Infinity;
  if (port > PORT_MAX) {
    throw new KernelError("EINVAL", `Cannot use the port ${shown(text)}: want 0 to ${PORT_MAX}, or *`);
  }
  return port;
}
