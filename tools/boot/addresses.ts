/**
 * The addresses that a host boots with, of both versions of IP, checked before anything is made.
 *
 * Path: boot, interfaces → addresses → ip_addr, error.
 *
 * @module
 */

import { KernelError } from "../../kernel/error.ts";
import { parseIpAddr, parseIpMask } from "../../kernel/wire/ip_addr.ts";

/** The addresses and gateways of a host; what is left out, or null, it does not have. */
export interface AddressOptions {
  /**
   * The host's address, such as `10.0.0.1/24`; null: none. Default 10.0.0.1/24 in memory, 10.99.0.2/24 on tap and
   * tun.
   */
  address?: string | null;
  /** Its IPv6 address, such as `2001:db8::1/64`: the host has `::1` and a link-local address, too. Default: none. */
  address6?: string | null;
  /** Where IPv4 packets go that no other route takes. */
  gateway?: string;
  /** Where IPv6 packets go that no other route takes; a link-local address will do. */
  gateway6?: string;
  /** 127/8 is not this host's own loopback but that of the machine behind the gateway (ipifc(3), `localnet`). */
  localnet?: boolean;
}

/** The addresses of a host, checked; null: it has none. */
export interface HostAddresses {
  readonly address: string | null;
  readonly address6: string | null;
  readonly gateway: string | null;
  readonly gateway6: string | null;
  readonly localnet: boolean;
}

/** Checks the addresses of a host; EINVAL names the one that cannot be. */
export function hostAddresses(options: AddressOptions): HostAddresses {
  const { address = null, address6 = null, gateway = null, gateway6 = null, localnet = false } = options;
  if (address !== null) requireCidr("address", address, 4);
  if (address6 !== null) requireCidr("address6", address6, 6);
  if (gateway !== null) requireAddress("gateway", gateway, 4);
  if (gateway6 !== null) requireAddress("gateway6", gateway6, 6);
  return { address, address6, gateway, gateway6, localnet };
}

/** The address in `addr/length`; empty for none. */
export function withoutLength(cidr: string | null): string {
  return cidr?.split("/")[0] ?? "";
}

function requireCidr(option: string, text: string, version: 4 | 6): void {
  const [addr = "", length] = text.split("/");
  requireAddress(option, addr, version, text);
  if (length === undefined) throw new KernelError("EINVAL", `Cannot use the ${option} "${text}": it has no /length`);
  if (text.split("/").length > 2 || parseIpMask(`/${length}`, version === 4) === null) {
    throw new KernelError(
      "EINVAL",
      `Cannot use the ${option} "${text}": /${length} is no prefix length of IPv${version}`,
    );
  }
}

function requireAddress(option: string, addr: string, version: 4 | 6, text: string = addr): void {
  const parsed = parseIpAddr(addr);
  if (parsed === null) throw new KernelError("EINVAL", `Cannot use the ${option} "${text}": not an IP address`);
  if (parsed.isV4 === (version === 4)) return;
  throw new KernelError("EINVAL", `Cannot use the ${option} "${text}": not an address of IPv${version}`);
}
