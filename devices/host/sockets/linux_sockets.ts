/**
 * LinuxSockets: the sockets of this machine for the socket uplink, as an ordinary user may have them.
 *
 * Path: socket_uplink → linux_sockets → stream, listener, datagrams, edges, libc, Linux.
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
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { holdLibc, HostError, lastErrno, libc, releaseLibc, withLibc } from "../libc.ts";
import type { Reactor } from "../reactor.ts";
import { LinuxDatagrams } from "./datagrams.ts";
import { Edges } from "./edges.ts";
import { bindSocket, LinuxListener } from "./listener.ts";
import { AF_INET, AF_INET6 } from "./names.ts";
import { LinuxStream } from "./stream.ts";

const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const NONBLOCK_CLOEXEC = 0o2004000;
const IPPROTO_ICMP = 1;
const IPPROTO_ICMPV6 = 58;
const RLIMIT_NOFILE = 7;
/** How long an answer of {@link LinuxSockets.isLocal} is believed. */
const LOCAL_MS = 10_000;
/** Answers that are remembered; with more, all are asked for again. */
const LOCALS_MAX = 1024;

/** See above. */
export class LinuxSockets implements HostSockets {
  readonly #edges: Edges;
  readonly #clock: Clock;
  readonly #locals = new Map<string, { readonly isLocal: boolean; readonly untilMs: number }>();

  /** Lets `reactor` tell of the sockets. Throws HostError: EMFILE. */
  constructor({ reactor, clock }: { readonly reactor: Reactor; readonly clock: Clock }) {
    this.#clock = clock;
    this.#edges = new Edges(clock);
    reactor.add(this.#edges);
  }

  /** Sockets that are open. */
  get size(): number {
    return this.#edges.size;
  }

  connect(request: ConnectRequest): HostStream | SocketFailure {
    const version = request.to.address.isV4 ? 4 : 6;
    return this.#with(version, SOCK_STREAM, 0, (fd) => LinuxStream.connect(this.#edges, fd, version, request));
  }

  listen(request: BindRequest): HostListener | SocketFailure {
    return this.#with(request.version, SOCK_STREAM, 0, (fd) => LinuxListener.listen(this.#edges, fd, request));
  }

  datagrams(request: BindRequest): HostDatagrams | SocketFailure {
    return this.#with(request.version, SOCK_DGRAM, 0, (fd) => LinuxDatagrams.open(this.#edges, fd, "udp", request));
  }

  echo(version: 4 | 6, from: IpAddr | null): HostDatagrams | SocketFailure {
    const protocol = version === 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
    const request = { version, address: from, port: 0 };
    return this.#with(version, SOCK_DGRAM, protocol, (fd) => LinuxDatagrams.open(this.#edges, fd, "echo", request));
  }

  /** Opens a socket, which holds libc, and makes something of it. */
  #with<T>(version: 4 | 6, type: number, protocol: number, make: (fd: number) => T): T | SocketFailure {
    holdLibc();
    const fd = libc().socket(version === 4 ? AF_INET : AF_INET6, type | NONBLOCK_CLOEXEC, protocol);
    if (fd >= 0) return make(fd);
    const errno = lastErrno();
    releaseLibc();
    return errnoName(errno);
  }

  isLocal(address: IpAddr): boolean {
    const key = `${address}`;
    const known = this.#locals.get(key);
    const now = this.#clock.now();
    if (known !== undefined && now < known.untilMs) return known.isLocal;
    if (this.#locals.size >= LOCALS_MAX) this.#locals.clear();
    const isLocal = this.#canBind(address);
    this.#locals.set(key, { isLocal, untilMs: now + LOCAL_MS });
    return isLocal;
  }

  /**
   * Linux binds to its own addresses only (ip(7)), and of UDP to groups and broadcasts, which are asked about
   * elsewhere.
   */
  #canBind(address: IpAddr): boolean {
    const version = address.isV4 ? 4 : 6;
    const fd = libc().socket(version === 4 ? AF_INET : AF_INET6, SOCK_DGRAM | NONBLOCK_CLOEXEC, 0);
    // Without a descriptor it is not known: what is ours is closed to guests, so that is the safe answer.
    if (fd < 0) return true;
    const errno = bindSocket(fd, { version, address, port: 0 });
    libc().close(fd);
    return errno === 0;
  }

  /** Closes what tells of the sockets; they are closed by their owners. */
  close(): void {
    this.#edges.close();
  }
}

/** Raises this process' limit of descriptors as far as it may be raised; returns it. Throws HostError. */
export function raiseDescriptorLimit(): number {
  return withLibc(() => {
    const limits = new BigUint64Array(2);
    const bytes = new Uint8Array(limits.buffer);
    // Safe because the buffer is a struct rlimit: soft, hard.
    if (libc().getrlimit(RLIMIT_NOFILE, bytes) < 0) {
      throw new HostError("Cannot read the limit of descriptors", lastErrno());
    }
    const soft = limits[0]!;
    limits[0] = limits[1]!;
    return Number(libc().setrlimit(RLIMIT_NOFILE, bytes) < 0 ? soft : limits[1]!);
  });
}
