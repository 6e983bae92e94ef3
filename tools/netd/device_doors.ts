/**
 * Forwards beside a device as uplink: ports of the host kernel at its own address, listening sockets of the machine,
 * and with `--uplink-nat` rules.
 *
 * Path: netd/uplink → device_doors → nat/forward, uplink_options.
 *
 * ```
 *   --forward tcp:8080:80            the host kernel's port 8080, and sockets at every address of the machine
 *   --forward tcp:10.99.0.2:8080:80  the host kernel's port alone: the machine does not have the address
 *   --forward tcp:127.0.0.1:8080:80  a socket at that address alone, by an inner address of the host kernel
 * ```
 *
 * A port that the machine's other programs have does not take the host kernel's away: a warning says so. With rules
 * the host kernel's port is reached by them from every address but the machine's loopback, before any socket. The
 * sockets have the loopback and callers of the other version of IP, and keep the port from other programs.
 *
 * @module
 */

import { KernelError } from "../../kernel/error.ts";
import { parseIpAddr } from "../../kernel/wire/ip_addr.ts";
import { type DoorPlace, formatForward, type ForwardDoors, type ForwardSpec } from "../nat/forward.ts";
import { type DeviceUplink, SOCKET_ENDS, SOCKET_ENDS6, type UplinkEnds } from "./uplink_options.ts";

/** What opens and closes forwards, and ends. */
interface EndingDoors extends Pick<ForwardDoors, "open" | "close"> {
  end(): void;
}

/** What they are made of. */
interface DeviceDoorsOptions {
  readonly uplink: Pick<DeviceUplink, "address" | "v6">;
  /** The rules of `--uplink-nat`; null: there are none. */
  readonly rules: EndingDoors | null;
  /** Makes what opens the machine's sockets, for the first forward that has some. Throws KernelError. */
  readonly makeSockets: () => EndingDoors;
  /** Takes a line for a forward that is not reached at the machine's ports. */
  readonly warn: (line: string) => void;
}

/** The link between the host kernel and the machine's sockets. */
const LINK = { 4: linkOf(SOCKET_ENDS), 6: linkOf(SOCKET_ENDS6) };

function linkOf({ address, gateway }: UplinkEnds) {
  return { near: parseIpAddr(address.split("/")[0]!)!, peer: parseIpAddr(gateway)! };
}

/** See above. */
export class DeviceDoors implements ForwardDoors {
  readonly link = LINK;
  readonly #options: DeviceDoorsOptions;
  #sockets: EndingDoors | null = null;
  /** Forwards without sockets, as the machine refused them: how they are reached. */
  readonly #left = new Map<string, string>();

  constructor(options: DeviceDoorsOptions) {
    this.#options = options;
  }

  place(spec: ForwardSpec): DoorPlace {
    const { bound } = spec;
    if (this.#rulesFor(spec) !== null) return { bound: null, anyPort: true };
    if (bound === null || this.#isOwn(spec)) return { bound, anyPort: false };
    // The address must be there before a port of it is claimed.
    this.#made();
    return { bound: this.link[versionOf(spec)].near, anyPort: true };
  }

  open(spec: ForwardSpec, port: number): void {
    const rules = this.#rulesFor(spec);
    rules?.open(spec, port);
    if (this.#isOwn(spec)) return;
    try {
      this.#made().open(spec, port);
    } catch (error) {
      if (!(error instanceof KernelError) || (spec.bound !== null && rules === null)) throw error;
      const left = this.#leftOf(spec, port);
      this.#left.set(formatForward(spec), left);
      this.#options.warn(`${error.message}; ${formatForward(spec)} is reached ${left} alone`);
    }
  }

  close(spec: ForwardSpec): void {
    this.#left.delete(formatForward(spec));
    this.#rulesFor(spec)?.close(spec);
    this.#sockets?.close(spec);
  }

  reachedAt(spec: ForwardSpec): string | null {
    return this.#left.get(formatForward(spec)) ?? null;
  }

  /** Closes every socket, and takes the rules away. */
  end(): void {
    this.#sockets?.end();
    this.#sockets = null;
    this.#options.rules?.end();
  }

  /** The rules that lead to a forward; null: there are none, or it is at the machine's loopback. */
  #rulesFor({ bound }: ForwardSpec): EndingDoors | null {
    return bound?.isLoopback === true ? null : this.#options.rules;
  }

  #made(): EndingDoors {
    return this.#sockets ??= this.#options.makeSockets();
  }

  /** Whether its address is the host kernel's, which the machine reaches by the device. */
  #isOwn({ bound }: ForwardSpec): boolean {
    const { address, v6 } = this.#options.uplink;
    return bound !== null && [address, v6?.address].some((text) => text !== undefined && isAt(text, `${bound}`));
  }

  /** Where a forward is reached without sockets. */
  #leftOf(spec: ForwardSpec, port: number): string {
    const { uplink: { address, v6 }, rules } = this.#options;
    if (rules !== null) return "by the rules of --uplink-nat";
    const own = versionOf(spec) === 4 ? address : v6?.address ?? address;
    return `at ${own.split("/")[0]}!${port}`;
  }
}

function versionOf({ guestAddr }: ForwardSpec): 4 | 6 {
  return guestAddr === null || guestAddr.isV4 ? 4 : 6;
}

/** Whether `address/length` has that address. */
function isAt(cidr: string, address: string): boolean {
  return `${parseIpAddr(cidr.split("/")[0]!)}` === address;
}
