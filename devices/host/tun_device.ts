/**
 * A TUN or TAP device of Linux: created or attached, configured, and returned as a descriptor.
 *
 * Path: tun, tun_taken → tun_device → libc, netdev, netns, sysctl, tun_localnet.
 *
 * All of it is done with ioctl on the thread's own descriptors: no `ip` command, and no permission beyond
 * `--allow-ffi`.
 *
 * @module
 */

import type { BlockPool } from "../../kernel/block.ts";
import { VNET_HEADER_LEN } from "../../kernel/inet/vnet_header.ts";
import { put16le, put32le } from "../../kernel/wire/bytes.ts";
import { call, cString, EACCES, EBUSY, EINVAL, ENODEV, ENOENT, ENXIO, EPERM, HostError, libc } from "./libc.ts";
import { checkMtu, checkName, interfaceRequest, NEEDS_ADMIN, NetDevice, parseInterfaceAddress } from "./netdev.ts";
import { holdNetns, Netns, openNetns } from "./netns.ts";
import { writeSysctl } from "./sysctl.ts";
import { routeLocalnet } from "./tun_localnet.ts";

/** Options of a TUN or TAP device. */
export interface TunOptions {
  /** Its name, at most 15 bytes; `%d` in it becomes a free number. Default: Linux chooses (`tun0`, `tap0`). */
  name?: string;
  /** Take the existing device of that name. Default: make a new one, and fail if the name is taken. */
  attach?: boolean;
  /**
   * Take an existing persistent device of that name that no program holds; otherwise make one. Default: as `attach`.
   */
  take?: boolean;
  /** Whether the device stays when we close it. Default: a new one is removed, an existing one keeps its setting. */
  persist?: boolean;
  /** Addresses of Linux' side, such as `10.99.0.1/24`; one IPv4 address at most. */
  address?: string | readonly string[];
  /** Bytes of IP packet in one unit. Default: what it has, 1500 when new. */
  mtu?: number;
  /** Bring it up. Default true. */
  up?: boolean;
  /** Network namespace: one that was made or opened, its name or path, or `"new"` for one that ends with the device. */
  netns?: Netns | string;
  /** Hand over unfinished checksums and large segments, both ways. Default false. */
  offload?: boolean;
  /**
   * Let Linux accept packets for its loopback (127/8) from us, if the setting may be changed: see {@link
   * TunHandle.localnet}. An attached device is left as it is. Default false.
   */
  localnet?: boolean;
  /** Packets that Linux queues for us; more are dropped. Default 2000. */
  queueLength?: number;
  /** Where received blocks come from. Default: a pool of its own. */
  pool?: BlockPool;
}

/** Options of a TAP device. */
export interface TapOptions extends TunOptions {
  /** Hardware address of Linux' side, 6 bytes. Default: Linux chooses. */
  mac?: Uint8Array;
  /** Hardware address of our side of the wire, 6 bytes. Default: a random local one. */
  portMac?: Uint8Array;
}

/** An open device. */
export interface TunHandle {
  /** Descriptor, non-blocking: one packet a read, one a write. */
  readonly fd: number;
  /** Linux' side of it. */
  readonly device: NetDevice;
  /** The namespace it is in; null: that of the program. */
  readonly netns: Netns | null;
  /** Offloads that we offered, as TUN_F flags. */
  readonly offloads: number;
  /** Why Linux takes no packets for its loopback from us; empty: it does. */
  readonly localnet: string;
}

const TUN_PATH = "/dev/net/tun";
const O_RDWR_NONBLOCK_CLOEXEC = 0x8_0802;

// linux/if_tun.h
const TUNSETIFF = 0x400454can;
const TUNSETPERSIST = 0x400454cbn;
const TUNSETOFFLOAD = 0x400454d0n;
const TUNSETVNETHDRSZ = 0x400454d8n;
const TUNSETVNETLE = 0x400454dcn;
const IFF_TUN = 0x1;
const IFF_TAP = 0x2;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const IFF_TUN_EXCL = 0x8000;
const TUN_F_CSUM = 0x01;
const TUN_F_TSO4 = 0x02;
const TUN_F_TSO6 = 0x04;
const TUN_F_TSO_ECN = 0x08;
/** UDP segmentation, both versions: Linux 6.2 and later. */
export const TUN_F_USO = 0x60;
const TUN_F_TCP = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;

/**
 * Longer than Linux' own 500: the loop may pause for some milliseconds (garbage collection), and a fast sender makes
 * 500 packets a millisecond.
 */
const QUEUE_LENGTH = 2000;

/**
 * Opens a device as the options say, for a caller that holds libc. Throws {@link HostError}, with nothing left behind.
 */
export function openTunDevice(kind: "tun" | "tap", options: TapOptions): TunHandle {
  checkName(options.name ?? "");
  if (options.mtu !== undefined) checkMtu(options.mtu);
  const addresses = typeof options.address === "string" ? [options.address] : options.address ?? [];
  if (addresses.filter((address) => parseInterfaceAddress(address).address.isV4).length > 1) {
    throw new HostError(`Cannot set addresses ${addresses.join(", ")}`, EINVAL, { reason: "one IPv4 address at most" });
  }
  const netns = findNetns(options.netns);
  if (netns === null) return open(kind, options, addresses, null);
  try {
    return netns.run(() => open(kind, options, addresses, netns));
  } catch (error) {
    if (options.netns === "new") netns.close();
    throw error;
  }
}

function findNetns(wanted: Netns | string | undefined): Netns | null {
  if (wanted === undefined) return null;
  if (wanted instanceof Netns) return wanted;
  return wanted === "new" ? holdNetns() : openNetns(wanted);
}

function open(kind: "tun" | "tap", options: TapOptions, addresses: readonly string[], netns: Netns | null): TunHandle {
  const path = cString(TUN_PATH);
  const absent = "the tun module is not loaded, or this container has no such device";
  const fd = call(`Cannot open ${TUN_PATH}`, libc().open(path, O_RDWR_NONBLOCK_CLOEXEC, 0), {
    [ENOENT]: absent,
    [ENODEV]: absent,
    [ENXIO]: absent,
    [EACCES]: "needs root, or the right to open it",
    [EPERM]: "needs root, or the right to open it",
  });
  let device: NetDevice | null = null;
  try {
    device = new NetDevice(bindInterface(fd, kind, options));
    const offloads = options.offload === true ? setOffloads(fd) : 0;
    setUp(device, options, addresses);
    if (options.persist !== undefined) {
      const attempt = `Cannot make "${device.name}" ${options.persist ? "" : "not "}persistent`;
      call(attempt, libc().ioctlValue(fd, TUNSETPERSIST, options.persist ? 1n : 0n), NEEDS_ADMIN);
    }
    const localnet = options.localnet === true ? routeLocalnet(device.name, options.attach ?? false) : "not asked for";
    return { fd, device, netns, offloads, localnet };
  } catch (error) {
    device?.close();
    libc().close(fd);
    throw error;
  }
}

/** TUNSETIFF: makes the interface, or takes it; returns its name. */
function bindInterface(fd: number, kind: "tun" | "tap", options: TapOptions): string {
  const { name = "", attach = false, take = false, offload = false } = options;
  const what = name === "" ? `a ${kind.toUpperCase()} device` : `${kind.toUpperCase()} device "${name}"`;
  const attempt = `Cannot ${attach ? "attach to" : "create"} ${what}`;
  if (attach) mustExist(attempt, name);
  const request = interfaceRequest(name);
  const flags = (kind === "tun" ? IFF_TUN : IFF_TAP) | IFF_NO_PI | (offload ? IFF_VNET_HDR : 0);
  put16le(request, 16, flags | (attach || take ? 0 : IFF_TUN_EXCL));
  call(attempt, libc().ioctl(fd, TUNSETIFF, request), {
    [EPERM]: attach ? "it belongs to another user" : NEEDS_ADMIN[EPERM]!,
    [EBUSY]: attach || take ? "another program holds it" : "the name is taken",
    [EINVAL]: `there is an interface of that name that is no ${kind.toUpperCase()}, or one of several queues`,
  });
  return new TextDecoder().decode(request.subarray(0, request.indexOf(0)));
}

/** TUNSETIFF would make a missing device. */
function mustExist(attempt: string, name: string): void {
  const device = new NetDevice(name);
  try {
    device.index;
  } catch (error) {
    throw error instanceof HostError ? new HostError(attempt, error.errno) : error;
  } finally {
    device.close();
  }
}

/** Sets our header format and offers Linux our offloads; returns the TUN_F flags that it supports. */
function setOffloads(fd: number): number {
  const attempt = "Cannot set offloads";
  const value = new Uint8Array(4);
  put32le(value, 0, VNET_HEADER_LEN);
  call(attempt, libc().ioctl(fd, TUNSETVNETHDRSZ, value));
  put32le(value, 0, 1);
  call(attempt, libc().ioctl(fd, TUNSETVNETLE, value));
  const all = TUN_F_TCP | TUN_F_USO;
  if (libc().ioctlValue(fd, TUNSETOFFLOAD, BigInt(all)) >= 0) return all;
  call(attempt, libc().ioctlValue(fd, TUNSETOFFLOAD, BigInt(TUN_F_TCP)));
  return TUN_F_TCP;
}

/** Inside a user namespace Linux does not allow this ioctl: the value stays as it is. */
function setDefaultQueueLength(device: NetDevice): void {
  try {
    device.queueLength = QUEUE_LENGTH;
  } catch (error) {
    if (!(error instanceof HostError) || error.errno !== EPERM) throw error;
  }
}

/**
 * Addresses of IPv6 are usable at once: Linux need not ask whether a neighbour has one, as this link has none
 * (RFC 4862 5.4). Where the setting is closed they are usable after a second.
 */
function skipDuplicateDetection(device: string): void {
  try {
    writeSysctl(`net/ipv6/conf/${device}/accept_dad`, "0");
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
  }
}

/** Applies the options to Linux' side, and brings it up last. */
function setUp(device: NetDevice, options: TapOptions, addresses: readonly string[]): void {
  if (options.queueLength !== undefined) device.queueLength = options.queueLength;
  else if (options.attach !== true) setDefaultQueueLength(device);
  if (options.mac !== undefined) device.mac = options.mac;
  if (options.mtu !== undefined) device.mtu = options.mtu;
  if (addresses.some((address) => address.includes(":"))) skipDuplicateDetection(device.name);
  for (const address of addresses) device.addAddress(address);
  if (options.up ?? true) device.up = true;
}
