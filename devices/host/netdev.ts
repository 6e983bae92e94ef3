/**
 * A network interface of Linux, set up with ioctl: address, MTU, hardware address, up and down; no `ip` command is
 * needed.
 *
 * Path: netns, tun, link_watch → netdev → libc, wire/bytes, ip_addr.
 *
 * Limit: one IPv4 address an interface (what these ioctls can do), and any number of IPv6 ones.
 *
 * @module
 */

import { get32le, put16le, put32le, toHex } from "../../kernel/wire/bytes.ts";
import { type IpAddr, parseIpAddr, parseIpMask, prefixLength } from "../../kernel/wire/ip_addr.ts";
import { call, EBADF, EINVAL, ENAMETOOLONG, EPERM, holdLibc, HostError, lastErrno, libc, releaseLibc } from "./libc.ts";

/** Longest interface name in bytes (IFNAMSIZ less its final NUL). */
const NAME_BYTES_MAX = 15;
/** Least MTU of an IPv4 interface (RFC 791), and the largest that TUN and TAP take, less an Ethernet header. */
const MTU_MIN = 68;
const MTU_MAX = 65521;
/** Most packets in the queue of an interface: some 100 MiB of Linux' memory. */
const QUEUE_LENGTH_MAX = 65536;

/** struct ifreq: a name of 16 bytes, then a union of 24. */
const IFREQ_LEN = 40;
const IFREQ_UNION = 16;

// linux/sockios.h
const SIOCGIFFLAGS = 0x8913n;
const SIOCSIFFLAGS = 0x8914n;
const SIOCSIFADDR = 0x8916n;
const SIOCSIFNETMASK = 0x891cn;
const SIOCGIFMTU = 0x8921n;
const SIOCSIFMTU = 0x8922n;
const SIOCSIFHWADDR = 0x8924n;
const SIOCGIFHWADDR = 0x8927n;
const SIOCGIFINDEX = 0x8933n;
const SIOCSIFTXQLEN = 0x8943n;

const IFF_UP = 0x1;
const AF_INET = 2;
const AF_INET6 = 10;
const ARPHRD_ETHER = 1;
const SOCK_DGRAM_CLOEXEC = 0x80002;

/** Hint for a missing privilege. */
export const NEEDS_ADMIN: Readonly<Record<number, string>> = { [EPERM]: "needs root or CAP_NET_ADMIN" };

/** An address with the length of its network, from `10.0.0.1/24` or `fd00::1/64`. */
export interface InterfaceAddress {
  /** The address itself, host part included. */
  readonly address: IpAddr;
  /** The network's mask; of an IPv4 address as an IPv4-mapped one. */
  readonly mask: IpAddr;
}

/**
 * Throws {@link HostError} unless `name` may name an interface; an empty one, and one `%d`, mean that Linux chooses.
 */
export function checkName(name: string): void {
  const attempt = `Cannot use interface name "${name}"`;
  if (new TextEncoder().encode(name).length > NAME_BYTES_MAX) {
    throw new HostError(attempt, ENAMETOOLONG, { reason: `too long, ${NAME_BYTES_MAX} bytes at most` });
  }
  // deno-lint-ignore no-control-regex
  if (/[\s/:\0-\x1f]/.test(name) || name === "." || name === "..") {
    throw new HostError(attempt, EINVAL, { reason: "no space, slash, colon or control character, and no . or .." });
  }
  if (name.replace("%d", "").includes("%")) {
    throw new HostError(attempt, EINVAL, { reason: "one %d at most, for the number that Linux chooses" });
  }
}

/** Throws {@link HostError} unless this MTU is in Linux' range. */
export function checkMtu(mtu: number): void {
  if (Number.isInteger(mtu) && mtu >= MTU_MIN && mtu <= MTU_MAX) return;
  throw new HostError(`Cannot use MTU ${mtu}`, EINVAL, {
    reason: `a whole number of ${MTU_MIN} to ${MTU_MAX} is needed`,
  });
}

/** Throws {@link HostError} unless `mac` can be the hardware address of one station. */
export function checkMac(mac: Uint8Array): void {
  if (mac.length === 6 && (mac[0]! & 1) === 0 && mac.some((byte) => byte !== 0)) return;
  throw new HostError(`Cannot use hardware address ${toHex(mac, 0, mac.length, ":")}`, EINVAL, {
    reason: "6 bytes are needed, neither all zero nor of a group",
  });
}

/**
 * The address and mask that `text` spells; without `/length` the network is the one address. Throws {@link HostError}.
 */
export function parseInterfaceAddress(text: string): InterfaceAddress {
  const slash = text.indexOf("/");
  const address = parseIpAddr(slash < 0 ? text : text.slice(0, slash));
  const length = slash < 0 ? (address?.isV4 ? "/32" : "/128") : text.slice(slash);
  const mask = address === null ? null : parseIpMask(length, address.isV4);
  if (address === null || mask === null) {
    throw new HostError(`Cannot use address "${text}"`, EINVAL, {
      reason: "not of the form 10.0.0.1/24 or fd00::1/64",
    });
  }
  return { address, mask };
}

/** A struct ifreq for the interface `name`. */
export function interfaceRequest(name: string): Uint8Array<ArrayBuffer> {
  checkName(name);
  const request = new Uint8Array(IFREQ_LEN);
  new TextEncoder().encodeInto(name, request);
  return request;
}

/** One interface. Remembers the network namespace in which it was made: it works from any. */
export class NetDevice {
  /** Its name when this was made. */
  readonly name: string;
  #fd: number;

  /**
   * A handle for the interface `name` of this thread's namespace, or of that of the socket `control`, which it owns
   * from now on. A missing interface shows at the first request.
   */
  constructor(name: string, control: number = -1) {
    checkName(name);
    this.name = name;
    holdLibc();
    this.#fd = control >= 0 ? control : libc().socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0);
    if (this.#fd >= 0) return;
    const error = new HostError("Cannot open a socket for interface settings", lastErrno());
    releaseLibc();
    throw error;
  }

  /** The socket for requests; -1 when closed. */
  get fd(): number {
    return this.#fd;
  }

  /** Its number. Throws {@link HostError} ENODEV if there is no such interface. */
  get index(): number {
    return get32le(this.#ask("find interface", SIOCGIFINDEX), IFREQ_UNION);
  }

  /** Most bytes of IP packet in one unit. */
  get mtu(): number {
    return get32le(this.#ask("read the MTU of", SIOCGIFMTU), IFREQ_UNION);
  }

  set mtu(mtu: number) {
    checkMtu(mtu);
    const request = interfaceRequest(this.name);
    put32le(request, IFREQ_UNION, mtu);
    this.#tell(`set MTU ${mtu} of`, SIOCSIFMTU, request);
  }

  /** Linux' hardware address on it, 6 bytes. */
  get mac(): Uint8Array {
    return this.#ask("read the hardware address of", SIOCGIFHWADDR).slice(IFREQ_UNION + 2, IFREQ_UNION + 8);
  }

  set mac(mac: Uint8Array) {
    checkMac(mac);
    const request = interfaceRequest(this.name);
    put16le(request, IFREQ_UNION, ARPHRD_ETHER);
    request.set(mac, IFREQ_UNION + 2);
    this.#tell("set the hardware address of", SIOCSIFHWADDR, request);
  }

  /** Sets how many packets wait in it before Linux drops more. */
  set queueLength(length: number) {
    if (!Number.isInteger(length) || length < 1 || length > QUEUE_LENGTH_MAX) {
      throw new HostError(`Cannot use queue length ${length}`, EINVAL, {
        reason: `a whole number of 1 to ${QUEUE_LENGTH_MAX} is needed`,
      });
    }
    const request = interfaceRequest(this.name);
    put32le(request, IFREQ_UNION, length);
    this.#tell("set the queue length of", SIOCSIFTXQLEN, request);
  }

  /** Whether it is up; false also when it is gone. */
  get up(): boolean {
    if (this.#fd < 0) return false;
    const request = interfaceRequest(this.name);
    return libc().ioctl(this.#fd, SIOCGIFFLAGS, request) >= 0 && (request[IFREQ_UNION]! & IFF_UP) !== 0;
  }

  set up(up: boolean) {
    const request = this.#ask("read the flags of", SIOCGIFFLAGS);
    request[IFREQ_UNION] = up ? request[IFREQ_UNION]! | IFF_UP : request[IFREQ_UNION]! & ~IFF_UP;
    this.#tell(up ? "bring up" : "take down", SIOCSIFFLAGS, request);
  }

  /** Adds an address; an IPv4 one replaces the previous one. */
  addAddress(text: string): void {
    const { address, mask } = parseInterfaceAddress(text);
    if (address.isV4) {
      this.#tell(`set address ${text} of`, SIOCSIFADDR, this.#addressRequest(address));
      this.#tell(`set the network of address ${text} of`, SIOCSIFNETMASK, this.#addressRequest(mask));
    } else {
      this.#addV6(text, address, prefixLength(mask)!);
    }
  }

  /** Closes the handle; the interface stays. */
  close(): void {
    if (this.#fd < 0) return;
    libc().close(this.#fd);
    this.#fd = -1;
    releaseLibc();
  }

  /** A request with a struct sockaddr_in in its union. */
  #addressRequest(address: IpAddr): Uint8Array<ArrayBuffer> {
    const request = interfaceRequest(this.name);
    put16le(request, IFREQ_UNION, AF_INET);
    address.putV4(request, IFREQ_UNION + 4);
    return request;
  }

  /** struct in6_ifreq: address, prefix length, interface number; and it needs a socket of its own family. */
  #addV6(text: string, address: IpAddr, length: number): void {
    const request = new Uint8Array(24);
    address.put(request, 0);
    put32le(request, 16, length);
    put32le(request, 20, this.index);
    const attempt = `Cannot set address ${text} of interface "${this.name}"`;
    const fd = call(attempt, libc().socket(AF_INET6, SOCK_DGRAM_CLOEXEC, 0), {});
    try {
      call(attempt, libc().ioctl(fd, SIOCSIFADDR, request), NEEDS_ADMIN);
    } finally {
      libc().close(fd);
    }
  }

  #ask(verb: string, request: bigint): Uint8Array<ArrayBuffer> {
    const answer = interfaceRequest(this.name);
    this.#tell(verb, request, answer);
    return answer;
  }

  // Safe because every request here takes a struct ifreq, which `argument` holds.
  #tell(verb: string, request: bigint, argument: Uint8Array<ArrayBuffer>): void {
    const attempt = `Cannot ${verb.startsWith("find") ? verb : `${verb} interface`} "${this.name}"`;
    if (this.#fd < 0) throw new HostError(attempt, EBADF, { reason: "the handle is closed" });
    call(attempt, libc().ioctl(this.#fd, request, argument), NEEDS_ADMIN);
  }
}
