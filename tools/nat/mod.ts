/**
 * The NAT: an ordinary program of a host, which claims ports of the live stack by bypass and gives guests a network of
 * their own, with DHCP, DNS, router advertisements and forwards. Frames of any card go in and come out: manual page
 * nat(4) has its rules, limits and commands.
 *
 * Path: user program → nat/mod → program, nat/config, observer, policy.
 *
 * ```ts
 * import { boot, SeededRandom } from "@akarino/akarino";
 * import { NatProgram } from "@akarino/akarino/nat";
 *
 * await using host = await boot();
 * const program = new NatProgram({
 *   proc: host.spawn("nat"),
 *   clock: host.clock,
 *   random: new SeededRandom(1),
 *   nat: { hostAddr: "10.0.0.1/24", policy: { deny: ["*:10.0.0.7:*"] } },
 *   forwards: ["tcp:8080:80"],
 *   toGuest: (frame) => frame.free(), // to a card; `fromGuest` takes what it sends
 * });
 * console.log(program.command("list").split("\n")[1]); // tcp:8080:80 10.0.2.15 …
 * program.close();
 * ```
 *
 * @module
 */

export type { Dependence, DependenceOption, NatOptions, Style } from "./config.ts";
export type { Caps, Lifetimes } from "./limits.ts";
export { MAP_PROTO_NAMES } from "./map.ts";
export type { NatObserver, NatPoint, NatSight } from "./observer.ts";
export type { PolicyOptions } from "./policy.ts";
export { NatProgram, type NatProgramOptions } from "./program.ts";
export type { DnsPatience } from "./services/dns_servers.ts";
export type { V6Options } from "./config6.ts";
