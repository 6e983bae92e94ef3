/**
 * What a device as uplink needs of the machine, set by `--uplink-nat` and taken away at the end: forwarding, an
 * nftables table of netd's own that translates guests' packets, and in it each forward as a port of the machine.
 *
 * Path: uplink → uplink_rules → nat/forward, sysctl, rtnetlink, Linux.
 *
 * @module
 */

import { EPERM, HostError } from "../../devices/host/libc.ts";
import { hostInterfaces } from "../../devices/host/rtnetlink.ts";
import { readSysctl, writeSysctl } from "../../devices/host/sysctl.ts";
import { KernelError } from "../../kernel/error.ts";
import { type IpAddr, parseIpAddr, parseIpMask } from "../../kernel/wire/ip_addr.ts";
import { formatForward, type ForwardDoors, type ForwardSpec } from "../nat/forward.ts";
import { MapProto } from "../nat/map.ts";
import type { UplinkEnds } from "./uplink_options.ts";

const FORWARDING = "net/ipv4/ip_forward";
/** Settings of IPv6, of "all" interfaces or of one. Linux that forwards takes router advertisements only with "2". */
const setting6 = (device: string, name: string) => `net/ipv6/conf/${device}/${name}`;
const ACCEPT_RA_ALWAYS = "2";

/** One version of IP in rules: its keyword, and the machine's loopback. */
const FAMILIES = {
  4: { name: "ip", loopback: "127.0.0.0/8" },
  6: { name: "ip6", loopback: "::1" },
} as const;

/** The uplink that rules are for. */
interface RuleUplink {
  readonly device: string;
  readonly v4: UplinkEnds;
  readonly v6: UplinkEnds | null;
}

/**
 * The table, as commands name it; netd's of another uplink has another. A name may not be quoted, nor have all letters.
 */
function tableOf(device: string): string {
  return `inet netd-${device.replace(/[^\w.-]/g, "_")}`;
}

/** The commands of nft(8) that make the table afresh: masquerade, and empty chains for forwards. */
function tableCommands({ device, v4, v6 }: RuleUplink): string[] {
  const table = tableOf(device);
  const masquerade = ([[4, v4], [6, v6]] as const).flatMap(([version, ends]) => {
    if (ends === null) return [];
    const { name, loopback } = FAMILIES[version];
    return [
      `add rule ${table} post ${name} saddr ${networkOf(ends.address)} oifname != "${device}" masquerade`,
      // What the machine sends to itself comes from its loopback, which no neighbor can answer.
      `add rule ${table} post ${name} saddr ${loopback} oifname "${device}" masquerade`,
    ];
  });
  return [
    `add table ${table}`,
    `delete table ${table}`,
    `add table ${table}`,
    `add chain ${table} post { type nat hook postrouting priority srcnat; }`,
    `add chain ${table} pre { type nat hook prerouting priority dstnat; }`,
    `add chain ${table} out { type nat hook output priority -100; }`,
    ...masquerade,
  ];
}

/**
 * The commands that lead the machine's ports of `spec` to those of the host kernel from `port` on. The machine's own
 * loopback is left to its sockets: Linux lets no such packet out to a device without route_localnet, and none of IPv6.
 */
function forwardCommands({ device, v4, v6 }: RuleUplink, spec: ForwardSpec, port: number): string[] {
  const { proto, bound, hostPort, count, guestAddr } = spec;
  const isOf4 = guestAddr === null || guestAddr.isV4;
  const ends = isOf4 ? v4 : v6;
  if (ends === null) return [];
  const { name, loopback } = FAMILIES[isOf4 ? 4 : 6];
  const ports = count === 1 ? `${hostPort}` : `${hostPort}-${hostPort + count - 1}`;
  const where = bound === null ? "fib daddr type local" : `${name} daddr ${bound}`;
  const host = addressOf(ends);
  const end = isOf4 ? `${host}` : `[${host}]`;
  // A range keeps its numbers, which are the same on both sides.
  const to = count === 1 ? `${end}:${port}` : end;
  const what = `${proto === MapProto.Tcp ? "tcp" : "udp"} dport ${ports}`;
  const rule = `${what} dnat ${name} to ${to}`;
  const version = `meta nfproto ${isOf4 ? "ipv4" : "ipv6"}`;
  const beyond = bound === null ? `${name} daddr != ${loopback} ` : "";
  const table = tableOf(device);
  const mark = `comment "${formatForward(spec)}"`;
  return [
    `add rule ${table} pre iifname != "${device}" ${version} ${where} ${rule} ${mark}`,
    `add rule ${table} out ${version} ${beyond}${where} ${rule} ${mark}`,
  ];
}

/** Runs nft(8) where Linux' side of the uplink is; returns its complaint, or "". */
export type RunNft = (commands: readonly string[]) => string;

/** The rules of one uplink while netd runs. */
export class UplinkRules implements ForwardDoors {
  readonly #uplink: RuleUplink;
  readonly #nft: RunNft;
  readonly #inside: <T>(work: () => T) => T;
  readonly #forwards = new Map<string, readonly string[]>();
  /** Settings of the machine as they were found, the last that was changed first. */
  readonly #had: [path: string, value: string][] = [];

  /** Sets everything. Throws HostError, with nothing left behind. `inside` runs work where Linux' side is. */
  constructor(uplink: RuleUplink, nft: RunNft, inside: <T>(work: () => T) => T) {
    this.#uplink = uplink;
    this.#nft = nft;
    this.#inside = inside;
    const refusal = nft(tableCommands(uplink));
    if (refusal !== "") throw new HostError("Cannot make the rules of --uplink-nat", EPERM, { reason: refusal });
    try {
      this.#forward();
    } catch (error) {
      this.end();
      throw error;
    }
  }

  #forward(): void {
    this.#inside(() => {
      if (readSysctl(FORWARDING) !== "1") this.#change(FORWARDING, "1");
      if (this.#uplink.v6 !== null && readSysctl(setting6("all", "forwarding")) === "0") this.#forward6();
    });
  }

  /**
   * Forwarding of IPv6 is set for all interfaces at once: what each had is kept. One that takes router advertisements
   * goes on with that: the machine would lose its own default route.
   */
  #forward6(): void {
    for (const { name } of hostInterfaces()) {
      if (readSysctl(setting6(name, "accept_ra")) === "1") this.#change(setting6(name, "accept_ra"), ACCEPT_RA_ALWAYS);
      this.#keep(setting6(name, "forwarding"));
    }
    this.#keep(setting6("default", "forwarding"));
    this.#change(setting6("all", "forwarding"), "1");
  }

  #change(path: string, value: string): void {
    this.#keep(path);
    writeSysctl(path, value);
  }

  #keep(path: string): void {
    const value = readSysctl(path);
    if (value !== null) this.#had.unshift([path, value]);
  }

  open(spec: ForwardSpec, port: number): void {
    const commands = forwardCommands(this.#uplink, spec, port);
    const refusal = this.#nft(commands);
    if (refusal !== "") throw new KernelError("EFAIL", `Cannot forward ${formatForward(spec)}: ${refusal}`);
    this.#forwards.set(formatForward(spec), commands);
  }

  close(spec: ForwardSpec): void {
    this.#forwards.delete(formatForward(spec));
    const table = tableOf(this.#uplink.device);
    // Rules have no names: the chains are made again from those that are left.
    this.#nft([`flush chain ${table} pre`, `flush chain ${table} out`, ...[...this.#forwards.values()].flat()]);
  }

  /** Takes everything away, and leaves the machine's settings as they were found. */
  end(): void {
    this.#nft([`delete table ${tableOf(this.#uplink.device)}`]);
    this.#inside(() => {
      for (const [path, value] of this.#had.splice(0)) this.#restore(path, value);
    });
  }

  #restore(path: string, value: string): void {
    // That of an interface that is gone meanwhile is gone, too.
    if (readSysctl(path) !== null) writeSysctl(path, value);
  }
}

function addressOf({ address }: UplinkEnds): IpAddr {
  return parseIpAddr(address.split("/")[0]!)!;
}

function networkOf(address: string): string {
  const [text = "", length = ""] = address.split("/");
  const addr = parseIpAddr(text)!;
  return `${addr.and(parseIpMask(`/${length}`, addr.isV4)!)}/${length}`;
}
