/**
 * Sets up a network namespace beside its interface: loopback up, and a default route; without the `ip` command.
 *
 * Path: kept, open_guest, tap_opener → netns_setup → libc, netdev, netns, ip_addr.
 *
 * @module
 */

import { parseIpAddr } from "../../kernel/wire/ip_addr.ts";
import { addressOf, call, cString, EEXIST, EINVAL, HostError, libc, withLibc } from "./libc.ts";
import { NEEDS_ADMIN, NetDevice } from "./netdev.ts";
import { openNetns } from "./netns.ts";

const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 0x80002;
const SIOCADDRT = 0x890bn;
const RTF_UP = 0x1;
const RTF_GATEWAY = 0x2;
/** struct rtentry (linux/route.h), on 64-bit machines. */
const RTENTRY_LEN = 120;
const RT_DST = 8;
const RT_GATEWAY = 24;
const RT_GENMASK = 40;
const RT_FLAGS = 56;
const RT_DEV = 88;

/** Options of the set-up. */
interface NetnsSetup {
  /** The interface that the default route uses. */
  device: string;
  /** IPv4 address of the router; without one no route is made. */
  gateway?: string;
}

/**
 * Brings up the loopback of the namespace at `path` and sets its default route. Throws {@link HostError}: EEXIST if
 * there is such a route, ENETUNREACH if the router is on no network of an interface, EPERM.
 */
export function setUpNetns(path: string, setup: NetnsSetup): void {
  openNetns(path).run(() =>
    withLibc(() => {
      const loopback = new NetDevice("lo");
      try {
        if (!loopback.up) loopback.up = true;
      } finally {
        loopback.close();
      }
      if (setup.gateway !== undefined) addDefaultRoute(setup.device, setup.gateway);
    })
  );
}

/** Sets the default route of this thread's namespace. Throws {@link HostError}: EEXIST, ENETUNREACH, EPERM. */
export function addDefaultRoute(device: string, gateway: string): void {
  const attempt = `Cannot set the default route by ${gateway} on "${device}"`;
  const address = parseIpAddr(gateway);
  if (address === null || !address.isV4) throw new HostError(attempt, EINVAL, { reason: "not an IPv4 address" });
  const entry = new Uint8Array(RTENTRY_LEN);
  const view = new DataView(entry.buffer);
  for (const at of [RT_DST, RT_GATEWAY, RT_GENMASK]) view.setUint16(at, AF_INET, true);
  address.putV4(entry, RT_GATEWAY + 4);
  view.setUint16(RT_FLAGS, RTF_UP | RTF_GATEWAY, true);
  const name = cString(device);
  view.setBigUint64(RT_DEV, addressOf(name), true);
  const socket = call("Cannot open a socket for routes", libc().socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0));
  try {
    // Safe because `entry` is a struct rtentry, and the name it points to lives until after the call.
    call(attempt, libc().ioctl(socket, SIOCADDRT, entry), { ...NEEDS_ADMIN, [EEXIST]: "there is one already" });
  } finally {
    libc().close(socket);
    void name;
  }
}
