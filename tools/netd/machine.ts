/**
 * The facts of the machine that netd starts on: interfaces, routes, settings, and the firewall's rules.
 *
 * Path: daemon → netd/machine → start_checks, rtnetlink, sysctl, netd/options.
 *
 * Everything but the rules comes from system calls, in well under a millisecond. The rules need a program, which runs
 * in parallel with the rest of the start; without it, or the permission to run it, they are not judged.
 *
 * @module
 */

import { openNetns } from "../../devices/host/netns.ts";
import { hasFirewallChains, type HostInterface, hostInterfaces, hostRoute } from "../../devices/host/rtnetlink.ts";
import { readSysctl } from "../../devices/host/sysctl.ts";
import { type IpAddr, parseIpAddr } from "../../kernel/wire/ip_addr.ts";
import { netnsOf } from "../vmm/guests/netns_guest.ts";
import type { NetdOptions } from "./options.ts";
import type { UplinkChoice } from "./uplink_options.ts";
import {
  checkMachine,
  checkNetworks,
  checkRoutes,
  type FamilyFacts,
  type Finding,
  freeNetwork,
  type MachineFacts,
  type RouteFacts,
} from "./start_checks.ts";

/** Longest wait for the rules. */
const RULES_LIMIT_MS = 1000;
/** Addresses of the world (RFC 5737, RFC 3849) to look up the default route; nothing is sent there. */
const WORLD = { 4: parseIpAddr("203.0.113.1")!, 6: parseIpAddr("2001:db8::1")! };

/** Examines the machine while netd starts. */
export class Machine {
  readonly #options: NetdOptions;
  readonly #rules: Promise<string | null>;

  /** Starts the examination. */
  constructor(options: NetdOptions) {
    this.#options = options;
    this.#rules = readRules(options.uplink);
  }

  /** Checks, before the uplink is made, that its networks are free. Throws HostError. */
  checkNetworks(): Finding[] {
    const { uplink, nat } = this.#options;
    const cidr6 = uplink.v6 === null ? null : nat.v6?.subnet ?? null;
    return checkNetworks({ uplink, cidr: nat.subnet ?? "10.0.2.0/24", cidr6 }, inside(uplink, hostInterfaces));
  }

  /** Checks, with the uplink `name` in place, that packets pass both ways. Throws HostError. */
  async checkMachine(name: string): Promise<Finding[]> {
    const { uplink, nat } = this.#options;
    const servers = nat.nameServers ?? [];
    if (uplink.kind === "socket") {
      return checkRoutes({
        v4: routesOf(4, servers.filter((text) => !text.includes(":"))),
        v6: uplink.v6 === null ? null : routesOf(6, servers.filter((text) => text.includes(":"))),
      });
    }
    const rules = await this.#rules;
    const facts = inside(uplink, (): MachineFacts => {
      const interfaces = hostInterfaces();
      const device = interfaces.find((one) => one.name === name);
      const family = (version: 4 | 6, address: string, servers: readonly string[]) =>
        familyFacts(version, { address, servers, device: device ?? null });
      return {
        interfaces,
        uplink: name,
        rules,
        v4: family(4, uplink.address, servers.filter((text) => !text.includes(":"))),
        v6: uplink.v6 === null ? null : family(6, uplink.v6.address, servers.filter((text) => text.includes(":"))),
      };
    });
    return checkMachine(uplink, facts);
  }
}

/** The routes of sockets. */
function routesOf(version: 4 | 6, servers: readonly string[]): RouteFacts {
  const to = (addr: IpAddr) => hostRoute({ to: addr });
  return {
    toWorld: to(WORLD[version]),
    lostServers: servers.filter((server) => typeof to(parseIpAddr(server)!) === "number"),
  };
}

interface Asked {
  readonly address: string;
  readonly servers: readonly string[];
  readonly device: HostInterface | null;
}

function familyFacts(version: 4 | 6, { address, servers, device }: Asked): FamilyFacts {
  const from = parseIpAddr(address.split("/")[0]!)!;
  const to = (addr: IpAddr) => hostRoute({ to: addr });
  const toWorld = to(WORLD[version]);
  const path = version === 4 ? `net/ipv4/conf/${device?.name}/forwarding` : "net/ipv6/conf/all/forwarding";
  const forwards = readSysctl(path);
  const incoming = device === null ? null : { from, device: device.index };
  return {
    toHost: to(from),
    toWorld,
    fromHost: typeof toWorld === "number" || incoming === null ? null : hostRoute({ to: WORLD[version], incoming }),
    forwards: forwards === null ? null : forwards !== "0",
    lostServers: servers.filter((server) => typeof to(parseIpAddr(server)!) === "number"),
  };
}

/** A network for an uplink that no interface in the namespace has; null: the usual ones are all taken. */
export function findFreeNetwork(netns: string | null): string | null {
  return freeNetwork(netns === null ? hostInterfaces() : openNetns(netnsOf(netns)).run(hostInterfaces));
}

/** The namespace of Linux' side; null: that of netd. */
function netnsOfUplink(uplink: UplinkChoice): string | null {
  return uplink.kind === "socket" ? null : uplink.netns;
}

/** Runs `work`, which must not await, in the namespace of Linux' side of the uplink. */
function inside<T>(uplink: UplinkChoice, work: () => T): T {
  const netns = netnsOfUplink(uplink);
  return netns === null ? work() : openNetns(netnsOf(netns)).run(work);
}

/** The rules in the namespace of Linux' side of the uplink; null: not available. */
async function readRules(uplink: UplinkChoice): Promise<string | null> {
  const netns = netnsOfUplink(uplink);
  const { state } = Deno.permissions.querySync({ name: "run", command: "nsenter" });
  // Most machines have no rules, and a program takes longer to start than all else that is looked at.
  if (state !== "granted" || !inside(uplink, hasFirewallChains)) return null;
  const place = netns === null ? [] : [`--net=${openNetns(netnsOf(netns)).path}`];
  try {
    const { success, stdout } = await new Deno.Command("nsenter", {
      args: [...place, "nft", "-j", "list", "ruleset"],
      stdin: "null",
      stderr: "null",
      signal: AbortSignal.timeout(RULES_LIMIT_MS),
    }).output();
    return success ? new TextDecoder().decode(stdout) : null;
  } catch (error) {
    // Without the programs there is no judgement.
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotCapable) return null;
    throw error;
  }
}
