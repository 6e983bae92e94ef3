/**
 * Addresses and options of connections and datagrams, as Deno's network calls have them.
 *
 * Path: boot, streams, datagrams → net_addr → wait, error.
 *
 * @module
 */

import { KernelError } from "../../kernel/error.ts";
import type { WaitOptions } from "../../kernel/wait.ts";

const PORT_MAX = 65535;
/** Where a call goes that names no host, as Deno has it. */
const HERE = "127.0.0.1";

/** One end of a connection or of a datagram, as `Deno.NetAddr` has it. */
export interface NetAddr<T extends "tcp" | "udp"> {
  /** The protocol. */
  readonly transport: T;
  /** The address, as numbers; `::` is every address of both versions of IP. */
  readonly hostname: string;
  /** The port. */
  readonly port: number;
}

/** Where to connect to, and how long that may take. */
export interface ConnectOptions extends WaitOptions {
  /** An address of either version of IP, or a name that the host's connection server knows. Default 127.0.0.1. */
  hostname?: string;
  /** The port, 1 to 65535. */
  port: number;
}

/** Where to listen. */
export interface ListenOptions {
  /** One of the host's addresses. Default: all, of both versions of IP. */
  hostname?: string;
  /** The port; 0, the default: any that is free. */
  port?: number;
}

/** The dial string of a remote end. EINVAL names what cannot be. */
export function remoteOf({ hostname = HERE, port }: ConnectOptions): string {
  return `${hostOf(hostname)}!${portOf(port, 1)}`;
}

/** The dial string of a local end. EINVAL names what cannot be. */
export function localOf({ hostname = "*", port = 0 }: ListenOptions): string {
  return `${hostOf(hostname)}!${portOf(port, 0)}`;
}

/** Reads the `local` or `remote` file of a conversation: `addr!port` and a newline. */
export function netAddrOf<T extends "tcp" | "udp">(transport: T, text: string): NetAddr<T> {
  const [hostname, port] = text.trim().split("!");
  return { transport, hostname: hostname!, port: Number(port) };
}

/** Without the brackets that URLs put around an IPv6 address. */
function hostOf(hostname: string): string {
  const host = /^\[(.*:.*)\]$/.exec(hostname)?.[1] ?? hostname;
  if (host === "localhost") return HERE; // RFC 6761 6.3: whatever a name server says.
  if (/^[\w.:*-]+$/.test(host)) return host;
  throw new KernelError("EINVAL", `Cannot use the hostname "${hostname}": not a name or an IP address`);
}

function portOf(port: number, min: number): number {
  if (Number.isInteger(port) && port >= min && port <= PORT_MAX) return port;
  throw new KernelError("EINVAL", `Cannot use the port ${port}: want ${min} to ${PORT_MAX}`);
}
