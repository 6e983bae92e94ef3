/**
 * What the `status` and `local` files of an interface say.
 *
 * Path: ipifc_proto → ifc_status → ipifc.
 *
 * @module
 */

import { formatMask } from "../../../kernel/wire/ip_addr.ts";
import type { Ipifc } from "./ipifc.ts";

/** Router advertisement parameters as Akaros has them before one is set: nothing here sets them. */
const ROUTER_DEFAULTS: readonly (readonly [string, number])[] = [
  ["mflag", 0],
  ["oflag", 0],
  ["maxraint", 600_000],
  ["minraint", 200_000],
  ["linkmtu", 0],
  ["reachtime", 0],
  ["rxmitra", 0],
  ["ttl", 255],
  ["routerlt", 1_800_000],
];

/** The `status` file (Akaros' labels): one line for the interface, one for each address or an empty one. */
export function ifcStatus(ifc: Ipifc): string {
  const values: readonly (readonly [string, string | number])[] = [
    ["device", ifc.link?.device ?? ""],
    ["maxtu", ifc.maxtu],
    ["sendra", 0],
    ["recvra", ifc.receivesAdverts ? 1 : 0],
    ...ROUTER_DEFAULTS,
    ["pktin", ifc.packetsIn],
    ["pktout", ifc.packetsOut],
    ["errin", ifc.errorsIn],
    ["errout", ifc.errorsOut],
    ["tracedrop", ifc.traceDrops],
  ];
  const lines = ifc.lifcs.map((lifc) => lifc.format(formatMask(lifc.mask, lifc.local.isV4)));
  return `${values.map(([name, value]) => `${name} ${value}`).join(" ")}\n${lines.join("") || "\n"}`;
}

/** The `local` file: one line for each address: it, and every address that is ours by it. */
export function ifcLocal(ifc: Ipifc): string {
  return ifc.lifcs.map((lifc) => `${lifc.local} -> ${lifc.claims().map(([addr]) => addr).join(" ")}\n`).join("");
}
