/**
 * LinuxSockets: the sockets of this machine, for a process without any right.
 *
 * Path: socket_uplink → linux_sockets → stream, listener, datagrams, edge_watch, local_addresses.
 *
 * @module
 */

import { errnoName } from "../../../kernel/error.ts";
import type {
  BindRequest,
  ConnectRequest,
  HostDatagrams,
  HostListener,
  HostSockets,
  HostStream,
  SocketFailure,
} from "../../../kernel/host_sockets.ts";
import type { Clock } from "../../../kernel/time.ts";
import { get64le } from "../../../kernel/wire/bytes.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { datagramOptions, dualOptions, LinuxDatagrams } from "./datagrams.ts";
import type { EdgeSocket } from "./edge_socket.ts";
import { EdgeWatch } from "./edge_watch.ts";
import { call, EINPROGRESS, lastErrno, libc, withLibc } from "../libc.ts";
import { LinuxListener } from "./listener.ts";
import { LocalAddresses } from "./local_addresses.ts";
import type { Netns } from "../netns.ts";
import type { Reactor } from "../reactor.ts";
import { abandonWith, bindTo, bindToDevice, openInside, type Option, setInt, setInts } from "./calls.ts";
import { FAMILY4, sockaddrOf, type SocketFamily, socketFamily } from "./family.ts";
import { LinuxStream, STREAM_OPTIONS } from "./stream.ts";

const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_RCVBUF = 8;
const IPPROTO_UDP = 17;
const UDP_GRO = 104;
/** An option of IPv4's level in sockets of both versions: the port is chosen when the destination is known. */
const BIND_ADDRESS_NO_PORT: Option = [0, 24, 1];
const IPV6_V6ONLY = 26;
/** Bytes that may wait to be read; Linux may give less (net.core.rmem_max). */
const RECEIVE_BUFFER = 1 << 20;
/** Calls that may wait; Linux cuts it to net.core.somaxconn. */
const BACKLOG = 4096;
const RLIMIT_NOFILE = 7;
/** struct rlimit: the limit that holds, and at 8 the one that it may be raised to. */
const RLIMIT_LEN = 16;
const RLIM_MAX = 8;
/** The bits of TOS that are DSCP: TCP's ECN is its own. */
const DSCP_MASK = 0xfc;

/** What sockets are made of. */
export interface LinuxSocketsOptions {
  /** The loop that tells them of edges. */
  readonly reactor: Pick<Reactor, "add">;
  /** The loop's clock. */
  readonly clock: Clock;
  /** The network namespace that they are opened in; left out: where the program is. */
  readonly netns?: Netns;
  /** Whether UDP sockets join datagrams of one size (UDP_GRO). Default true: the link carries them joined. */
  readonly gro?: boolean;
}

/** The sockets of Linux. */
export class LinuxSockets implements HostSockets {
  /** As in {@link LinuxSocketsOptions}, for sockets that are opened from now on. */
  gro: boolean;
  readonly #netns: Netns | null;
  readonly #watch: EdgeWatch;
  readonly #addresses: LocalAddresses;

  /** Joins the loop, until {@link close}. Throws {@link HostError}. */
  constructor({ reactor, clock, netns, gro = true }: LinuxSocketsOptions) {
    this.gro = gro;
    this.#netns = netns ?? null;
    this.#watch = new EdgeWatch(reactor, clock);
    this.#addresses = new LocalAddresses(clock, this.#netns);
  }

  /** How many sockets are open. */
  get size(): number {
    return this.#watch.size;
  }

  /** Closes all sockets. */
  close(): void {
    this.#watch.close();
  }

  /** As {@link close}. */
  [Symbol.dispose](): void {
    this.close();
  }

  connect(request: ConnectRequest): HostStream | SocketFailure {
    const { to, from } = request;
    const family = socketFamily(to.address.isV4 ? 4 : 6);
    const fd = openInside(this.#netns, { family, type: SOCK_STREAM, protocol: 0 });
    if (fd < 0) return errnoName(-fd);
    setInts(fd, STREAM_OPTIONS);
    setInts(fd, headerOptions(family, request));
    if (family.version === 6) setInt(fd, [family.level, family.options.receiveErrors, 1]);
    if (from !== null) {
      setInt(fd, BIND_ADDRESS_NO_PORT);
      const errno = bindTo(fd, family, { address: from, port: 0 });
      if (errno !== 0) return abandonWith(fd, errno);
    }
    const name = sockaddrOf(family.version, to);
    // Safe because the length is that of the struct.
    if (libc().connect(fd, name, name.length) < 0) {
      const errno = lastErrno();
      if (errno !== EINPROGRESS) return abandonWith(fd, errno);
    }
    return this.#watched(new LinuxStream(fd, family, this.#watch, { remote: to, state: "connecting" }));
  }

  listen(request: BindRequest): HostListener | SocketFailure {
    return withFallback(request, (asked) => this.#listen(asked));
  }

  #listen(request: BindRequest): HostListener | SocketFailure {
    const family = socketFamily(request.version);
    const fd = openInside(this.#netns, { family, type: SOCK_STREAM, protocol: 0 });
    if (fd < 0) return errnoName(-fd);
    setInts(fd, STREAM_OPTIONS);
    // A restart need not wait for the end of old connections; who listens there now keeps the port.
    setInt(fd, [SOL_SOCKET, SO_REUSEADDR, 1]);
    const errno = bind(fd, family, request);
    if (errno !== 0) return abandonWith(fd, errno);
    if (libc().listen(fd, BACKLOG) < 0) return abandonWith(fd, lastErrno());
    return this.#watched(new LinuxListener(fd, family, this.#watch));
  }

  datagrams(request: BindRequest): HostDatagrams | SocketFailure {
    return withFallback(request, (asked) => this.#datagrams(asked));
  }

  #datagrams(request: BindRequest): HostDatagrams | SocketFailure {
    const family = socketFamily(request.version);
    const isDual = isForBoth(request);
    const fd = openInside(this.#netns, { family, type: SOCK_DGRAM, protocol: IPPROTO_UDP });
    if (fd < 0) return errnoName(-fd);
    setInts(fd, isDual ? dualOptions() : datagramOptions(family));
    setInt(fd, [SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER]);
    if (this.gro) setInt(fd, [IPPROTO_UDP, UDP_GRO, 1]);
    const errno = bind(fd, family, request);
    if (errno !== 0) return abandonWith(fd, errno);
    return this.#watched(new LinuxDatagrams(fd, family, this.#watch, isDual));
  }

  echo(version: 4 | 6, from: IpAddr | null): HostDatagrams | SocketFailure {
    const family = socketFamily(version);
    const fd = openInside(this.#netns, { family, type: SOCK_DGRAM, protocol: family.icmp });
    if (fd < 0) return errnoName(-fd);
    setInts(fd, datagramOptions(family));
    setInt(fd, [SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER]);
    // With port 0 Linux chooses an identifier that no other ping has.
    const errno = bindTo(fd, family, { address: from ?? family.unspecified, port: 0 });
    if (errno !== 0) return abandonWith(fd, errno);
    return this.#watched(new LinuxDatagrams(fd, family, this.#watch, false));
  }

  isLocal(address: IpAddr): boolean {
    return this.#addresses.has(address);
  }

  #watched<S extends EdgeSocket>(socket: S): S | SocketFailure {
    const errno = this.#watch.add(socket);
    if (errno === 0) return socket;
    socket.close();
    return errnoName(errno);
  }
}

/** Raises this process' limit of descriptors as far as it may be raised; returns it. Throws {@link HostError}. */
export function raiseDescriptorLimit(): number {
  return withLibc(() => {
    const limits = new Uint8Array(RLIMIT_LEN);
    // Safe because the buffer is a struct rlimit: what holds, and what it may be raised to.
    call("Cannot read the limit of descriptors", libc().getrlimit(RLIMIT_NOFILE, limits));
    const old = get64le(limits, 0);
    limits.copyWithin(0, RLIM_MAX);
    return libc().setrlimit(RLIMIT_NOFILE, limits) < 0 ? old : get64le(limits, 0);
  });
}

/** TTL and TOS of a connection's packets, as its request wants them. */
function headerOptions({ level, options }: SocketFamily, { ttl, tos }: ConnectRequest): Option[] {
  const wanted: Option[] = [];
  if (ttl > 0) wanted.push([level, options.ttl, ttl]);
  if ((tos & DSCP_MASK) !== 0) wanted.push([level, options.tos, tos & DSCP_MASK]);
  return wanted;
}

/** Whether a socket of IPv6 is for IPv4, too. */
function isForBoth({ version, address, dualStack = false }: BindRequest): boolean {
  return version === 6 && address === null && dualStack;
}

/** Binds a socket as it is asked for; the error's number, or 0. */
function bind(fd: number, family: SocketFamily, request: BindRequest): number {
  const { version, address, port, device } = request;
  if (version === 6) setInt(fd, [family.level, IPV6_V6ONLY, isForBoth(request) ? 0 : 1]);
  const errno = device === undefined ? 0 : bindToDevice(fd, device);
  return errno !== 0 ? errno : bindTo(fd, family, { address: address ?? family.unspecified, port });
}

/** Opens a socket for both versions; on a machine without IPv6 one for IPv4. */
function withFallback<S extends object>(
  request: BindRequest,
  open: (request: BindRequest) => S | SocketFailure,
): S | SocketFailure {
  const made = open(request);
  const lacksIpv6 = made === "EAFNOSUPPORT" || made === "EADDRNOTAVAIL";
  return lacksIpv6 && isForBoth(request) ? open({ ...request, version: FAMILY4.version }) : made;
}
