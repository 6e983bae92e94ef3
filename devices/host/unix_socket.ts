/**
 * Unix sockets that never wait, streams and datagrams: the connection to a virtual machine's network or to another
 * program.
 *
 * Path: api_socket, open_guest, qemu_side → unix_socket → libc, pollable, bound_path.
 *
 * A reactor reports readable descriptors only. After a write that returned {@link LATER}, the writer asks for one
 * notification when there is room: a second epoll descriptor, itself readable when the socket is writable, is added to
 * the loop.
 *
 * Results are numbers, since packets are too frequent for exceptions: a count; 0: the other end is gone; -1: not now.
 *
 * @module
 */

import {
  call,
  cString,
  EAGAIN,
  EINTR,
  ENOBUFS,
  holdLibc,
  HostError,
  isShortage,
  lastErrno,
  libc,
  releaseLibc,
} from "./libc.ts";
import { type Pollable, REST } from "./pollable.ts";
import {
  abandon,
  type BoundPath,
  openBound,
  openSocket,
  SOCK_DGRAM,
  SOCK_STREAM,
  sockaddr,
  SOCKET_MODE,
} from "./bound_path.ts";

const NONBLOCK_CLOEXEC = 0o2004000;
const MSG_DONTWAIT_NOSIGNAL = 0x4040;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
/** Bytes of buffer asked for, each way; Linux may give less (net.core.wmem_max). */
const SOCKET_BUFFER = 1 << 20;
/** Clients that may wait to be accepted. */
const BACKLOG = 8;
const O_RDONLY_CLOEXEC = 0x8_0000;
/** How long a socket waits for room that cannot be watched for lack of a descriptor. */
const RETRY_MS = 20;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLLOUT = 4;
const EPOLL_CLOEXEC = 0x8_0000;
/** struct epoll_event, padded or not; its data are not needed. */
const WRITABLE = new Uint8Array(16);
WRITABLE[0] = EPOLLOUT;
/** File of a spare descriptor: one that always exists. */
const SPARE_PATH = cString("/dev/null");
/** An AF_UNSPEC address, which dissolves the connection of a datagram socket. */
const UNSPEC = new Uint8Array(2);

/** Results of reads and writes that are no counts. */
export const GONE = 0;
export const LATER = -1;

/** The part of a reactor that a socket uses: it polls it until it is closed. */
export interface Loop {
  add(pollable: Pollable): void;
}

/** Becomes readable when its socket becomes writable, while it is armed. */
class WriteWatch implements Pollable {
  fd: number;
  onClose: (() => void) | null = null;
  #socket: number;
  #told: () => void;
  #armed = false;

  constructor(socket: number, told: () => void) {
    this.#socket = socket;
    this.#told = told;
    this.fd = call("Cannot make an epoll descriptor", libc().epoll_create1(EPOLL_CLOEXEC));
  }

  arm(): void {
    if (this.#armed) return;
    this.#armed = true;
    // Safe because the event is only read; it is as long as the longer of its two layouts.
    call("Cannot watch a socket", libc().epoll_ctl(this.fd, EPOLL_CTL_ADD, this.#socket, WRITABLE));
  }

  drain(): number {
    this.#disarm();
    this.#told();
    return 1;
  }

  #disarm(): void {
    if (!this.#armed) return;
    this.#armed = false;
    libc().epoll_ctl(this.fd, EPOLL_CTL_DEL, this.#socket, WRITABLE);
  }

  close(): void {
    this.onClose?.();
    libc().close(this.fd);
    this.fd = -1;
  }
}

/** The common part of all sockets: a descriptor in a loop. */
abstract class UnixSocket implements Pollable {
  /** The descriptor, for the reactor; -1 when closed. */
  fd: number;
  /** For the reactor. */
  onClose: (() => void) | null = null;
  /** Called once after {@link awaitWritable} when there is room again. */
  onWritable: (() => void) | null = null;
  #watch: WriteWatch | null = null;
  #retry: ReturnType<typeof setTimeout> | null = null;
  #bound: BoundPath | null;

  /** Owns `fd`, and one hold of libc; `bound` is the path that it is bound to. */
  constructor(fd: number, bound: BoundPath | null) {
    this.fd = fd;
    this.#bound = bound;
  }

  /** For the reactor: handles at most `max` units. */
  abstract drain(max: number): number;

  /** Lets `loop` call {@link onWritable} once when there is room. */
  awaitWritable(loop: Loop): void {
    if (this.fd < 0) return;
    try {
      if (this.#watch === null) {
        this.#watch = new WriteWatch(this.fd, () => this.onWritable?.());
        loop.add(this.#watch);
      }
      this.#watch.arm();
    } catch (error) {
      if (!(error instanceof HostError) || !isShortage(error.errno)) throw error;
      this.#retryLater();
    }
  }

  /** Without a descriptor to watch it, it is retried by a timer. */
  #retryLater(): void {
    if (this.#retry !== null) return;
    this.#retry = setTimeout(() => {
      this.#retry = null;
      this.onWritable?.();
    }, RETRY_MS);
  }

  /** Closes it, and removes the file that it was bound to. */
  close(): void {
    if (this.fd < 0) return;
    const onClose = this.onClose;
    this.onClose = null;
    onClose?.();
    this.#watch?.close();
    this.#watch = null;
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#retry = null;
    // Before the socket goes: while it is there, no other file can have its inode.
    this.#bound?.remove();
    libc().close(this.fd);
    this.fd = -1;
    releaseLibc();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** A connection. Its owner sets `onReadable`, which is called when there is something to read. */
export class UnixStream extends UnixSocket {
  /** Reads at most `max` units and returns how many, negative to be removed from the loop. */
  onReadable: ((max: number) => number) | null = null;

  /** Connects to `path`, at once or not at all. Throws {@link HostError}: ENOENT, ECONNREFUSED. */
  static connect(path: string): UnixStream {
    const address = sockaddr(path);
    const fd = openSocket(SOCK_STREAM);
    try {
      call(`Cannot connect to ${path}`, libc().connect(fd, address, address.length));
      return new UnixStream(fd, null);
    } catch (error) {
      abandon(fd);
      throw error;
    }
  }

  override drain(max: number): number {
    return this.onReadable?.(max) ?? -1;
  }

  /** Reads into `into`, which has room. A count; {@link GONE} at the end or after a failure; {@link LATER}. */
  read(into: Uint8Array): number {
    if (this.fd < 0) return GONE;
    // Safe because the length is that of the view, and C does not keep it.
    const count = libc().read(this.fd, into as Uint8Array<ArrayBuffer>, BigInt(into.length));
    return count >= 0 ? count : passes(lastErrno()) ? LATER : GONE;
  }

  /** Writes a part of `bytes`, which must not be empty. A count; {@link GONE}; {@link LATER}. */
  write(bytes: Uint8Array): number {
    if (this.fd < 0) return GONE;
    const data = bytes as Uint8Array<ArrayBuffer>;
    // Safe as above. send(2) rather than write(2): no SIGPIPE.
    const count = libc().sendto(this.fd, data, BigInt(bytes.length), MSG_DONTWAIT_NOSIGNAL, null, 0);
    return count >= 0 ? count : passes(lastErrno()) ? LATER : GONE;
  }
}

/** A path that programs connect to. */
export class UnixListener extends UnixSocket {
  readonly path: string;
  #take: (stream: UnixStream) => void = (stream) => stream.close();
  /** A spare descriptor, closed when no other is left, so that one more connection can be accepted. */
  #spare = -1;

  /**
   * Listens at `path`, whose file has `mode`; a socket file without a listener is replaced. Throws {@link HostError}:
   * EADDRINUSE, ENOENT, EACCES, ENAMETOOLONG.
   */
  constructor(path: string, mode: number = SOCKET_MODE) {
    const { fd, bound } = openBound(SOCK_STREAM, path, mode);
    super(fd, bound);
    this.path = path;
    try {
      call(`Cannot listen at ${path}`, libc().listen(this.fd, BACKLOG));
      this.#keepSpare();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Calls `take` with each new connection, which the callee owns; without it they are closed. */
  onConnection(take: (stream: UnixStream) => void): void {
    this.#take = take;
  }

  override drain(max: number): number {
    let count = 0;
    while (count < max && this.fd >= 0) {
      const fd = this.#accept();
      if (fd < 0) return fd === REST && count === 0 ? REST : count;
      holdLibc();
      count++;
      this.#take(new UnixStream(fd, null));
    }
    return count;
  }

  /** A connection; {@link REST}: one waits, and there is no descriptor for it; {@link LATER}. */
  #accept(): number {
    this.#keepSpare();
    const fd = libc().accept4(this.fd, null, null, NONBLOCK_CLOEXEC);
    if (fd >= 0) return fd;
    if (!isShortage(lastErrno())) return LATER;
    if (this.#spare < 0) return REST;
    libc().close(this.#spare);
    this.#spare = -1;
    const last = libc().accept4(this.fd, null, null, NONBLOCK_CLOEXEC);
    return last >= 0 ? last : isShortage(lastErrno()) ? REST : LATER;
  }

  #keepSpare(): void {
    if (this.#spare < 0) this.#spare = libc().open(SPARE_PATH, O_RDONLY_CLOEXEC, 0);
  }

  override close(): void {
    if (this.#spare >= 0) libc().close(this.#spare);
    this.#spare = -1;
    super.close();
  }
}

/** A datagram socket bound to one path that sends to another. */
export class UnixDatagram extends UnixSocket {
  /** Receives at most `max` datagrams and returns how many, negative to be removed from the loop. */
  onReadable: ((max: number) => number) | null = null;
  readonly path: string;
  readonly #peer: Uint8Array<ArrayBuffer>;
  #connected = false;

  /** Binds `path`, as {@link UnixListener} does, for datagrams to and from `peer`, which need not exist yet. */
  constructor(path: string, peer: string, mode: number = SOCKET_MODE) {
    const address = sockaddr(peer);
    const { fd, bound } = openBound(SOCK_DGRAM, path, mode);
    super(fd, bound);
    this.path = path;
    this.#peer = address;
    const size = new Uint8Array(new Int32Array([SOCKET_BUFFER]).buffer);
    for (const option of [SO_SNDBUF, SO_RCVBUF]) libc().setsockopt(this.fd, SOL_SOCKET, option, size, size.length);
  }

  override drain(max: number): number {
    return this.onReadable?.(max) ?? -1;
  }

  /** Receives one datagram; of a longer one than `into` the rest is lost. Its length, which may be 0; {@link LATER}. */
  receive(into: Uint8Array): number {
    if (this.fd < 0) return LATER;
    // Safe because the length is that of the view, and C does not keep it.
    const count = libc().read(this.fd, into as Uint8Array<ArrayBuffer>, BigInt(into.length));
    return count >= 0 ? count : LATER;
  }

  /** Sends one datagram to the peer. 1; {@link GONE} if there is no peer now; {@link LATER} if its queue is full. */
  send(bytes: Uint8Array): number {
    if (this.fd < 0) return GONE;
    const [peer, length] = this.#connected ? [null, 0] as const : [this.#peer, this.#peer.length] as const;
    const data = bytes as Uint8Array<ArrayBuffer>;
    // Safe because both lengths are those of the views, and C keeps neither.
    const count = libc().sendto(this.fd, data, BigInt(bytes.length), MSG_DONTWAIT_NOSIGNAL, peer, length);
    return count >= 0 ? 1 : passes(lastErrno()) ? LATER : GONE;
  }

  /**
   * As {@link UnixStream.awaitWritable}. Linux reports room in the peer's queue only to a connected socket. So the
   * socket is connected while it waits, and no longer: a peer that returns is another socket behind the same path.
   */
  override awaitWritable(loop: Loop): void {
    if (this.fd < 0) return;
    this.#connected = libc().connect(this.fd, this.#peer, this.#peer.length) >= 0;
    super.awaitWritable(loop);
  }

  /** Ends the wait of {@link awaitWritable}; `onWritable` calls it first. */
  resume(): void {
    if (!this.#connected || this.fd < 0) return;
    this.#connected = false;
    libc().connect(this.fd, UNSPEC, UNSPEC.length);
  }
}

/** Whether an error is temporary. */
function passes(errno: number): boolean {
  return errno === EAGAIN || errno === EINTR || errno === ENOBUFS;
}
