/**
 * What was given on netd's command line, by name and kind; nothing has a default here.
 *
 * Path: options → given.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { type IpAddr, parseIpAddr, parseIpMask } from "../../kernel/wire/ip_addr.ts";
import { type MacAddr, parseMacAddr } from "../../kernel/wire/mac_addr.ts";

/** A command line that cannot be understood: exit 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

const STRINGS = [
  ...["qemu", "netns", "device", "uplink", "uplink-device", "uplink-address", "uplink-peer", "uplink-gateway"],
  ...["uplink-netns", "uplink-mtu", "cidr", "mtu", "dns", "search", "forward", "allow", "deny", "api-socket"],
  ...["uplink-address6", "uplink-peer6", "uplink-gateway6", "cidr6", "busy-poll"],
  ...["ready-fd", "exit-fd", "userns-path", "macaddress", "socket-mode"],
];
const LISTS = ["dns", "search", "forward", "allow", "deny"];
const FLAGS = [
  ...["configure", "uplink-attach", "restrict", "disable-host-loopback", "one-off", "no-offload", "quiet", "help"],
  ...["disable-dns", "ipv6"],
];
/** Short names, as slirp4netns has them. */
const ALIASES = {
  c: "configure",
  e: "exit-fd",
  r: "ready-fd",
  m: "mtu",
  a: "api-socket",
  h: "help",
  6: "ipv6",
  "enable-ipv6": "ipv6",
};

/** Reads what was given; nothing has a default here. */
export class Given {
  readonly #values: Record<string, unknown>;

  constructor(args: readonly string[]) {
    this.#values = parseArgs([...args], {
      boolean: FLAGS,
      string: STRINGS,
      collect: LISTS,
      alias: ALIASES,
      unknown: (arg: string) => {
        throw new UsageError(arg.startsWith("-") ? `Unknown option "${arg}"` : `Unexpected argument "${arg}"`);
      },
    }) as Record<string, unknown>;
  }

  flag(name: string): boolean {
    return this.#values[name] === true;
  }

  text(name: string): string | null {
    const value = this.#values[name];
    if (typeof value !== "string") return null;
    if (value === "") throw new UsageError(`No value after --${name}`);
    return value;
  }

  list(name: string): string[] {
    const values = (this.#values[name] ?? []) as string[];
    if (values.includes("")) throw new UsageError(`No value after --${name}`);
    return values;
  }

  number(name: string, min: number, max: number): number | null {
    const text = this.text(name);
    if (text === null) return null;
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    throw bad(name, text, `a whole number of ${min} to ${max}`);
  }

  /** Permissions of a file, in octal. */
  mode(name: string): number | null {
    const text = this.text(name);
    if (text === null) return null;
    if (/^0?[0-7]{3}$/.test(text)) return parseInt(text, 8);
    throw bad(name, text, "permissions in octal, such as 0660");
  }

  /** An IPv4 address. */
  addr(name: string): IpAddr | null {
    const text = this.text(name);
    return text === null ? null : checkAddr(name, text);
  }

  /** An IPv6 address, without a zone. */
  addr6(name: string): IpAddr | null {
    const text = this.text(name);
    const addr = text === null ? null : parseIpAddr(text);
    if (text !== null && (addr === null || addr.isV4)) throw bad(name, text, "an IPv6 address");
    return addr;
  }

  /** An IPv6 address with a prefix length, as text. */
  network6(name: string): string | null {
    const text = this.text(name);
    if (text === null) return null;
    const [addr = "", length = ""] = text.split("/");
    const parsed = parseIpAddr(addr);
    if (parsed === null || parsed.isV4 || parseIpMask(`/${length}`, false) === null) {
      throw bad(name, text, "an IPv6 address, a slash, a prefix length");
    }
    return text;
  }

  /** A hardware address of one station. */
  mac(name: string): MacAddr | null {
    const text = this.text(name);
    if (text === null) return null;
    const mac = parseMacAddr(text);
    if (mac === null || mac.isGroup || mac.isZero) throw bad(name, text, "a hardware address of one station");
    return mac;
  }

  /** An address with a prefix length, as text. */
  network(name: string): string | null {
    const text = this.text(name);
    if (text === null) return null;
    const [addr = "", length = ""] = text.split("/");
    if (parseIpMask(`/${length}`, true) === null) throw bad(name, text, "an address, a slash, a prefix length");
    checkAddr(name, addr);
    return text;
  }
}

/** The error for a value that cannot be used. */
export function bad(name: string, value: string, wanted: string): UsageError {
  return new UsageError(`Bad value "${value}" for --${name}: ${wanted}`);
}

/** The IPv4 address that `text` spells. Throws {@link UsageError}. */
export function checkAddr(name: string, text: string): IpAddr {
  const addr = parseIpAddr(text);
  if (addr === null || !addr.isV4) throw bad(name, text, "an IPv4 address");
  return addr;
}
