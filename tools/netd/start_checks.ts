/**
 * Checks netd's options against the facts of the machine at start: errors for what cannot work, warnings for what is
 * probably not meant.
 *
 * Path: daemon, netd/machine → start_checks → firewall, uplink_options, rtnetlink, ip_addr.
 *
 * Pure: no file is read and no system call made.
 *
 * @module
 */

import type { HostInterface, HostRoute } from "../../devices/host/rtnetlink.ts";
import { IpAddr, parseIpAddr, parseIpMask } from "../../kernel/wire/ip_addr.ts";
import { Firewall, type GuestPacket } from "./firewall.ts";
import type { DeviceUplink, UplinkChoice, UplinkEnds } from "./uplink_options.ts";

/** netd cannot work on this machine as it is. */
export class StartError extends Error {
  /** The class, for programs that look at the name. */
  override readonly name = "StartError";
}

/** A finding: a line for the user, with a remedy. */
export interface Finding {
  /** It cannot work for certain. */
  readonly isError: boolean;
  readonly text: string;
}

/** The machine's routes of one version of IP. */
export interface RouteFacts {
  /** Its default route; a number: there is none. */
  readonly toWorld: HostRoute | number;
  /** Name servers that it has no route to. */
  readonly lostServers: readonly string[];
}

/** The state of one version of IP on the machine, with the uplink in place. */
export interface FamilyFacts extends RouteFacts {
  /** Linux' route to the host kernel's address; a number: there is none. */
  readonly toHost: HostRoute | number;
  /** Whether it accepts packets of the host kernel for the Internet; null: it has no default route. */
  readonly fromHost: HostRoute | number | null;
  /** Whether it forwards packets; null: that cannot be read. */
  readonly forwards: boolean | null;
}

/** The facts of the machine, with the uplink in place. */
export interface MachineFacts {
  readonly interfaces: readonly HostInterface[];
  /** The uplink's name. */
  readonly uplink: string;
  readonly v4: FamilyFacts;
  readonly v6: FamilyFacts | null;
  /** What `nft -j list ruleset` prints; null: not permitted, or not installed. */
  readonly rules: string | null;
}

/** Number of the uplink's usual network, 10.99.0.0/24, and those to suggest where it is taken. */
const USUAL_NUMBER = 99;
const SUGGESTIONS = [98, 97, 96, 95, 94, 93, 92, 91];

/** Checks, before the uplink is made, that its networks and the guest's are free on this machine. */
export function checkNetworks(
  { uplink, cidr, cidr6 }: { uplink: UplinkChoice; cidr: string; cidr6: string | null },
  interfaces: readonly HostInterface[],
): Finding[] {
  const device = uplink.kind === "socket" ? null : uplink.device;
  const others = interfaces.filter(({ name }) => name !== device);
  const findings: Finding[] = [];
  if (uplink.kind !== "socket" && !uplink.attach) {
    findings.push(...checkNetwork("uplink-address", uplink.address, others));
    if (uplink.v6 !== null) findings.push(...checkNetwork("uplink-address6", uplink.v6.address, others));
  }
  for (const [name, guests] of [["cidr", cidr], ["cidr6", cidr6]] as const) {
    if (guests === null) continue;
    const hidden = others.flatMap(networksOf).find(({ text }) => overlap(text, guests));
    if (hidden !== undefined) {
      findings.push(warning(
        `guests do not reach ${hidden.text} of "${hidden.device}", as ${guests} is their own ` +
          `network: give another by --${name}`,
      ));
    }
  }
  return findings;
}

function checkNetwork(name: string, address: string, others: readonly HostInterface[]): Finding[] {
  // A smaller network of another interface that does not hold our address keeps working.
  const taken = others.flatMap(networksOf).find(({ text }) => overlap(text, address) && isIn(address, text));
  if (taken === undefined) return [];
  if (lengthOf(taken.text) < lengthOf(address)) {
    return [warning(
      `this machine now reaches ${address} by the uplink, not by "${taken.device}", which has ` +
        `${taken.text}: give another by --${name}`,
    )];
  }
  const free = freeOf(SUGGESTIONS.map((n) => name.endsWith("6") ? `fd${n}::2/64` : `10.${n}.0.2/24`), others);
  return [error(
    `Cannot use ${address} for the uplink: "${taken.device}" of this machine has ${taken.text} ` +
      `(another netd, or a network of its own), so no answer would come back. Use --${name} ${
        free ?? "ADDRESS/LENGTH"
      }`,
  )];
}

/** The usual network of an uplink, or another one that `interfaces` do not have; null: none is left. */
export function freeNetwork(interfaces: readonly HostInterface[]): string | null {
  return freeOf([USUAL_NUMBER, ...SUGGESTIONS].map((n) => `10.${n}.0.2/24`), interfaces);
}

function freeOf(networks: readonly string[], interfaces: readonly HostInterface[]): string | null {
  const taken = interfaces.flatMap(networksOf);
  return networks.find((text) => !taken.some((one) => overlap(one.text, text))) ?? null;
}

/** Checks, with the uplink in place, that packets of the guest can pass both ways. */
export function checkMachine(uplink: DeviceUplink, facts: MachineFacts): Finding[] {
  const findings = checkDevice(uplink, facts);
  findings.push(...checkFamily(4, uplink, facts, facts.v4));
  if (uplink.v6 !== null && facts.v6 !== null) findings.push(...checkFamily(6, uplink.v6, facts, facts.v6));
  return findings;
}

/** Checks that sockets of this machine reach the world. */
export function checkRoutes({ v4, v6 }: { v4: RouteFacts; v6: RouteFacts | null }): Finding[] {
  return ([[4, v4], [6, v6]] as const).flatMap(([version, routes]) => {
    if (routes === null) return [];
    const lost = lostServers(routes);
    if (typeof routes.toWorld !== "number") return lost;
    return [
      warning(`this machine has no default route of IPv${version}, so guests reach only its own networks`),
      ...lost,
    ];
  });
}

function lostServers({ lostServers }: RouteFacts): Finding[] {
  return lostServers.map((server) => warning(`this machine has no route to the name server ${server}`));
}

/** An attached device that is not ready. */
function checkDevice(uplink: DeviceUplink, facts: MachineFacts): Finding[] {
  const device = facts.interfaces.find(({ name }) => name === facts.uplink);
  if (device === undefined || !uplink.attach || device.up) return [];
  return [warning(`"${device.name}" is down, so no packet passes: ip link set ${device.name} up`)];
}

type Ends = Pick<UplinkEnds, "address" | "gateway">;

function checkFamily(version: 4 | 6, ends: Ends, facts: MachineFacts, family: FamilyFacts): Finding[] {
  const lost = lostServers(family);
  const way = checkWay(ends, facts, family);
  if (way.length > 0) return [...way, ...lost];
  const gateway = parseIpAddr(ends.gateway)!;
  const isOurs = facts.interfaces.some(({ addresses }) => addresses.some(({ addr }) => addr.equals(gateway)));
  // The gateway is another machine, behind a bridge: this machine's rules do not apply.
  if (!isOurs) return lost;
  return [...checkForwarding(version, ends, facts, family), ...checkRules(version, ends, facts, family), ...lost];
}

/** Whether Linux' packets for the host kernel take the uplink. */
function checkWay({ address }: Ends, { interfaces, uplink }: MachineFacts, { toHost }: FamilyFacts): Finding[] {
  const device = interfaces.find(({ name }) => name === uplink);
  const addr = parseIpAddr(address.split("/")[0]!)!;
  // A device that is down has no routes, and was reported above.
  if (device === undefined || !device.up) return [];
  const route = typeof toHost === "number" ? null : toHost;
  if (route?.kind === "local") {
    const owner = interfaces.find((one) => one.addresses.some((other) => other.addr.equals(addr)));
    return [error(`Cannot use ${addr} for the host kernel: this machine has it itself, on "${owner?.name}"`)];
  }
  if (route !== null && (route.device === device.index || (device.master !== 0 && route.device === device.master))) {
    return [];
  }
  // A part of a bridge: the machine itself need have no address in its network.
  if (device.master !== 0) return [];
  const own = device.addresses.find((one) => one.addr.isV4 === addr.isV4 && !one.addr.isLinkLocal);
  const by = route === null ? `has no route to ${addr}` : `reaches ${addr} by "${nameOf(interfaces, route.device)}"`;
  if (own === undefined) {
    const first = `${network(address, 1)}`;
    return [warning(
      `this machine ${by}, as "${uplink}" has no address, so no answer comes back: ` +
        `ip addr add ${first} dev ${uplink}`,
    )];
  }
  return [error(
    `Cannot use ${address} for the host kernel: this machine ${by}, not by "${uplink}", which has ` +
      `${own.addr}/${own.prefix}. Give one of that network, if no other device has it, by ` +
      `--uplink-address${addr.isV4 ? "" : "6"}`,
  )];
}

function checkForwarding(version: 4 | 6, ends: Ends, facts: MachineFacts, family: FamilyFacts): Finding[] {
  const { forwards, fromHost } = family;
  if (forwards === false) {
    const setting = version === 4 ? "net.ipv4.ip_forward" : "net.ipv6.conf.all.forwarding";
    return [warning(
      `this machine does not forward IPv${version}, so guests reach nothing beyond it: ` +
        `sysctl -w ${setting}=1`,
    )];
  }
  if (typeof fromHost !== "number") return [];
  return [warning(
    `this machine forwards no packet of ${ends.address.split("/")[0]} from "${facts.uplink}" ` +
      `(a route, or net.ipv4.conf.*.rp_filter)`,
  )];
}

function checkRules(version: 4 | 6, ends: Ends, facts: MachineFacts, family: FamilyFacts): Finding[] {
  const { interfaces, uplink, rules } = facts;
  if (rules === null) return [];
  const wall = new Firewall(rules);
  const from = parseIpAddr(ends.address.split("/")[0]!)!;
  const packet = { from, inDevice: uplink };
  const own: GuestPacket = { ...packet, outDevice: null };
  const findings: Finding[] = [];
  const input = wall.droppedBy("input", own);
  if (input !== null) {
    findings.push(warning(
      `the chain ${input} drops what guests send to this machine itself: ` +
        mend(input, `iifname ${uplink} accept`),
    ));
  }
  const { toWorld } = family;
  if (typeof toWorld === "number" || toWorld.kind !== "unicast") return findings;
  const world: GuestPacket = { ...packet, outDevice: nameOf(interfaces, toWorld.device) };
  const forward = wall.droppedBy("forward", world);
  if (forward !== null) {
    findings.push(warning(
      `the chain ${forward} drops what guests send beyond this machine: ` +
        `${mend(forward, `iifname ${uplink} accept`)}; ${mend(forward, `oifname ${uplink} accept`)}`,
    ));
  }
  if (!wall.translates(world)) {
    const table = version === 4 ? "ip" : "ip6";
    findings.push(warning(
      `no rule of this machine translates ${from}, so answers come back only if the network ` +
        `beyond knows a way to it: nft add table ${table} netd; nft add chain ${table} netd post ` +
        `'{ type nat hook postrouting priority srcnat; }'; nft add rule ${table} netd post ${table} saddr ` +
        `${network(ends.address, 0)} oifname != ${uplink} masquerade`,
    ));
  }
  return findings;
}

/** The command that puts a rule before those of `chain`. */
function mend(chain: string, rule: string): string {
  return `nft insert rule ${chain} ${rule}`;
}

function nameOf(interfaces: readonly HostInterface[], index: number): string {
  return interfaces.find((one) => one.index === index)?.name ?? `${index}`;
}

/** The networks of an interface that could conflict with others: no loopback and no link-local ones. */
function networksOf({ name, addresses }: HostInterface): { device: string; text: string }[] {
  return addresses.filter(({ addr }) => !addr.isLoopback && !addr.isLinkLocal)
    .map(({ addr, prefix }) => ({ device: name, text: `${addr}/${prefix}` }));
}

function overlap(one: string, other: string): boolean {
  const [a, b] = [one, other].map((text) => parseIpAddr(text.split("/")[0]!)!) as [IpAddr, IpAddr];
  if (a.isV4 !== b.isV4) return false;
  return a.sameNet(b, parseIpMask(`/${Math.min(lengthOf(one), lengthOf(other))}`, a.isV4)!);
}

/** Whether the address of `address/length` is in the network `text`. */
function isIn(address: string, text: string): boolean {
  return overlap(`${address.split("/")[0]}/128`, text);
}

function lengthOf(text: string): number {
  return Number(text.split("/")[1]);
}

/** The network of `address/length`, or the address `host` in it, with the length. */
function network(address: string, host: number): string {
  const [text = "", length = ""] = address.split("/");
  const addr = parseIpAddr(text)!;
  const net = addr.and(parseIpMask(`/${length}`, addr.isV4)!);
  return `${new IpAddr(net.w0, net.w1, net.w2, net.w3 + host)}/${length}`;
}

function error(text: string): Finding {
  return { isError: true, text };
}

function warning(text: string): Finding {
  return { isError: false, text };
}
