/**
 * Three network namespaces in a row, for sockets of Linux that meet a router:
 *
 *     host 10.81.0.2 ─── 10.81.0.1 router 10.82.0.1 ─── 10.82.0.2 world        (IPv6: fd81::2 …)
 *
 * The router's link to the world has an MTU of 1400. It answers what goes to `unreachable` and `prohibited` with ICMP
 * errors, and nothing to what goes to `silent`; the host itself refuses what goes to the `own` ones.
 *
 * @module
 */

import { assert } from "@std/assert";
import { createNetns, type Netns } from "../../../devices/host/netns.ts";
import { writeSysctl } from "../../../devices/host/sysctl.ts";
import type { Need } from "../check/skip.ts";
import { netnsExec } from "./netns.ts";

/** What a test with these namespaces needs. */
export const ROUTED_NEEDS: readonly Need[] = ["root", "netns", "ffi", "tool:ip", "tool:nsenter"];
/** MTU of the link between router and world. */
export const FAR_MTU = 1400;

/** Addresses of one version of IP. */
export const ROUTED = [
  {
    version: 4,
    host: "10.81.0.2",
    router: "10.81.0.1",
    world: "10.82.0.2",
    absent: "10.81.0.77",
    unreachable: "10.83.1.1",
    prohibited: "10.83.2.1",
    silent: "10.83.3.1",
    own: { unreachable: "10.84.1.1", prohibit: "10.84.2.1", blackhole: "10.84.3.1" },
  },
  {
    version: 6,
    host: "fd81::2",
    router: "fd81::1",
    world: "fd82::2",
    absent: "fd81::77",
    unreachable: "fd83:1::1",
    prohibited: "fd83:2::1",
    silent: "fd83:3::1",
    own: { unreachable: "fd84:1::1", prohibit: "fd84:2::1", blackhole: "fd84:3::1" },
  },
] as const;

/** One of them. */
export type RoutedEnds = (typeof ROUTED)[number];

/** The namespaces. */
export class Routed implements Disposable {
  readonly host: Netns;
  readonly router: Netns;
  readonly world: Netns;

  private constructor(id: string) {
    this.host = createNetns(`host-${id}`);
    this.router = createNetns(`router-${id}`);
    this.world = createNetns(`world-${id}`);
  }

  /** Makes and joins them. */
  static async make(): Promise<Routed> {
    const routed = new Routed(crypto.randomUUID().slice(0, 8));
    try {
      await routed.#setUp();
      return routed;
    } catch (error) {
      routed[Symbol.dispose]();
      throw error;
    }
  }

  async #setUp(): Promise<void> {
    const { host, router, world } = this;
    await this.#link([host, ["10.81.0.2/24", "fd81::2/64"]], [router, ["10.81.0.1/24", "fd81::1/64"]], 1500);
    await this.#link([world, ["10.82.0.2/24", "fd82::2/64"]], [router, ["10.82.0.1/24", "fd82::1/64"]], FAR_MTU);
    router.run(() => {
      writeSysctl("net/ipv4/ip_forward", "1");
      writeSysctl("net/ipv6/conf/all/forwarding", "1");
      // ICMP errors of a test are sent, though of IPv4 at most five a second about routes (ip_rt_error_burst).
      writeSysctl("net/ipv4/icmp_ratemask", "0");
      writeSysctl("net/ipv6/icmp/ratelimit", "0");
    });
    for (const { version, router: gateway, unreachable, prohibited, silent, own } of ROUTED) {
      const route = (netns: Netns, ...words: string[]) => must(netns, "ip", `-${version}`, "route", "add", ...words);
      await route(host, "default", "via", gateway);
      await route(world, "default", "via", version === 4 ? "10.82.0.1" : "fd82::1");
      await route(router, "unreachable", unreachable);
      await route(router, "prohibit", prohibited);
      await route(router, "blackhole", silent);
      for (const [kind, address] of Object.entries(own)) await route(host, kind, address);
    }
  }

  async #link(near: [Netns, string[]], far: [Netns, string[]], mtu: number): Promise<void> {
    const names = [`a${mtu}`, `b${mtu}`];
    await must(
      near[0],
      "ip",
      "link",
      "add",
      names[0]!,
      "type",
      "veth",
      "peer",
      "name",
      names[1]!,
      "netns",
      far[0].name,
    );
    for (const [i, [netns, addresses]] of [near, far].entries()) {
      const name = names[i]!;
      for (const address of addresses) {
        await must(netns, "ip", "addr", "add", address, "dev", name, ...(address.includes(":") ? ["nodad"] : []));
      }
      await must(netns, "ip", "link", "set", name, "mtu", `${mtu}`, "up");
    }
  }

  [Symbol.dispose](): void {
    for (const netns of [this.host, this.router, this.world]) netns.close();
  }
}

/** Runs a command that must succeed inside `netns`. */
export async function must(netns: Netns, ...command: string[]): Promise<string> {
  const { success, text } = await netnsExec(netns, command);
  assert(success, `${command.join(" ")}: ${text}`);
  return text;
}
