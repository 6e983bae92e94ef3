/**
 * Parses a resolv.conf (resolv.conf(5)), and selects what the relay can use. Pure: resolv_files reads the files.
 *
 * Path: resolv_files, options, daemon → resolv_conf.
 *
 * Read as glibc reads it: a keyword at the start of a line, blanks, values; the last `search` or `domain` counts. A
 * line that starts with `#` or `;` is a comment, and so is the text after either that follows a blank. Beyond glibc,
 * blanks before a keyword are accepted.
 *
 * @module
 */

import { encodeDnsName } from "../../kernel/wire/dns_name.ts";
import { parseIpAddr } from "../../kernel/wire/ip_addr.ts";
import { DNS_PATIENCE, type DnsPatience } from "../nat/services/dns_servers.ts";

/** Bounds of glibc (RES_MAXRETRANS, RES_MAXRETRY). */
const TIMEOUT_MAX_S = 30;
const ATTEMPTS_MAX = 5;
/** Most domains: more do not fit a DHCP message of 576 bytes. */
const SEARCH_MAX = 32;

/** The contents of a file. */
export interface ResolvConf {
  /** Addresses, in the file's order. */
  readonly nameServers: readonly string[];
  readonly search: readonly string[];
  readonly patience: DnsPatience;
  /** Skipped entries, a line each. */
  readonly notes: readonly string[];
}

/** The configuration of a machine without a file. */
export const NO_RESOLV_CONF: ResolvConf = { nameServers: [], search: [], patience: DNS_PATIENCE, notes: [] };

/** Which of the machine's name servers can be used. */
export interface NameRules {
  readonly hasIpv6: boolean;
  /** Whether the machine's loopback is open: 127/8, never ::1. */
  readonly hasLoopback: boolean;
  /** The server to use if there is none. */
  readonly peer: string;
}

/** Reads the text of the file `path`. */
export function parseResolvConf(text: string, path = "/etc/resolv.conf"): ResolvConf {
  const nameServers: string[] = [];
  const notes: string[] = [];
  let search: string[] = [];
  let patience = DNS_PATIENCE;
  const skip = (what: string, why: string) => notes.push(`${path}: ${what} is passed over: ${why}`);
  for (const line of text.split("\n")) {
    const [keyword = "", ...values] = line.replace(/(^|\s)[#;].*/, "").trim().split(/\s+/);
    const [first = ""] = values;
    if (keyword === "nameserver" && first !== "") {
      const why = addressFault(first);
      if (why !== "") skip(`name server ${first}`, why);
      else if (!nameServers.includes(`${parseIpAddr(first)}`)) nameServers.push(`${parseIpAddr(first)}`);
    } else if (keyword === "search" || keyword === "domain") {
      const names = keyword === "domain" ? values.slice(0, 1) : values;
      search = names.map((name) => name.replace(/\.$/, "")).filter((name) => {
        if (name === "") return false;
        const isName = /^[\x21-\x7e]+$/.test(name) && encodeDnsName(name) !== null;
        if (!isName) skip(`domain "${name}"`, "it is no domain name");
        return isName;
      }).slice(0, SEARCH_MAX);
    } else if (keyword === "options") {
      for (const option of values) patience = withOption(patience, option);
    }
  }
  return { nameServers, search, patience, notes };
}

function addressFault(text: string): string {
  if (text.includes("%")) return "an address of one link, which the uplink is not on";
  const addr = parseIpAddr(text);
  if (addr === null) return "it is no IP address";
  if (addr.isLinkLocal && !addr.isV4) return "an address of one link, which the uplink is not on";
  return addr.isMulticast || addr.isUnspecified ? "it is no address of a station" : "";
}

function withOption(patience: DnsPatience, option: string): DnsPatience {
  const [, name, digits] = /^(timeout|attempts):(\d+)$/.exec(option) ?? [];
  if (digits === undefined) return patience;
  const value = Math.max(1, Number(digits));
  return name === "timeout"
    ? { ...patience, timeoutMs: 1000 * Math.min(value, TIMEOUT_MAX_S) }
    : { ...patience, attempts: Math.min(value, ATTEMPTS_MAX) };
}

/**
 * Combines several files: the first with a server that is not the machine's own counts, or else the servers of all.
 * (systemd-resolved's file names 127.0.0.53, which only this machine reaches; its other one the servers that it uses.)
 */
export function mergeResolvConfs(confs: readonly ResolvConf[]): ResolvConf {
  const outside = confs.find(({ nameServers }) => nameServers.some((addr) => !isLoopback(addr)));
  if (outside !== undefined) return outside;
  const [first = NO_RESOLV_CONF] = confs.filter(({ nameServers }) => nameServers.length > 0);
  const search = confs.find(({ search }) => search.length > 0)?.search ?? [];
  return { ...first, search, notes: confs.flatMap(({ notes }) => notes) };
}

/** The usable servers; those on the machine's loopback only if there is no other. */
export function usableServers(conf: ResolvConf, rules: NameRules): { nameServers: string[]; notes: string[] } {
  const notes = [...conf.notes];
  const reached = conf.nameServers.filter((addr) => {
    const isOf6 = addr.includes(":");
    const why = isOf6 && !rules.hasIpv6
      ? "it wants --ipv6"
      : isOf6 && isLoopback(addr)
      ? "only this machine reaches its ::1"
      : isLoopback(addr) && !rules.hasLoopback
      ? "the machine's loopback is closed"
      : "";
    if (why !== "") notes.push(`name server ${addr} is passed over: ${why}`);
    return why === "";
  });
  const outside = reached.filter((addr) => !isLoopback(addr));
  const nameServers = outside.length > 0 ? outside : reached;
  return { nameServers: nameServers.length > 0 ? nameServers : [rules.peer], notes };
}

function isLoopback(text: string): boolean {
  return parseIpAddr(text)?.isLoopback === true;
}
