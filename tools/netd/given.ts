/**
 * netd's command line: its kinds of values beside those of every tool.
 *
 * Path: netd/options, netd → netd/given → netd/option_table, options/given, ip_addr, mac_addr.
 *
 * @module
 */

import { type IpAddr, parseIpAddr, parseIpMask } from "../../kernel/wire/ip_addr.ts";
import { type MacAddr, parseMacAddr } from "../../kernel/wire/mac_addr.ts";
import { bad, Given } from "../options/given.ts";
import type { ToolTable } from "../options/option_table.ts";
import { NETD } from "./option_table.ts";

/** The options of netd, with its kinds of values. */
export class NetdGiven extends Given {
  /** Reads `args`; `table` is that of netd, or of one of its commands. Throws UsageError. */
  constructor(args: readonly string[], table: ToolTable = NETD) {
    super(table, args);
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

/** The IPv4 address that `text` spells. Throws {@link UsageError}. */
export function checkAddr(name: string, text: string): IpAddr {
  const addr = parseIpAddr(text);
  if (addr === null || !addr.isV4) throw bad(name, text, "an IPv4 address");
  return addr;
}
