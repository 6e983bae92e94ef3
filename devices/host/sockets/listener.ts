/**
 * LinuxListener: a listening TCP socket of Linux.
 *
 * Path: linux_sockets → listener → edge_socket, stream.
 *
 * @module
 */

import { errnoName } from "../../../kernel/error.ts";
import type { HostListener, HostStream } from "../../../kernel/host_sockets.ts";
import { EdgeSocket, READ } from "./edge_socket.ts";
import { EPOLLERR, EPOLLHUP, EPOLLIN } from "./edge_watch.ts";
import { EAGAIN, EBADF, EINVAL, isShortage, lastErrno, libc } from "../libc.ts";
import { NONBLOCK_CLOEXEC } from "./calls.ts";
import { SOCKADDR_LEN, sockaddrAt } from "./family.ts";
import { LinuxStream } from "./stream.ts";

/** Calls that were over before they were accepted, and that one accept() skips. */
const SKIPPED_MAX = 64;

const name = new Uint8Array(SOCKADDR_LEN);
const length = new Uint32Array(1);
const lengthBytes = new Uint8Array(length.buffer);

/** A listener. While a call waits for lack of a descriptor onReady comes again: no edge says that one is free. */
export class LinuxListener extends EdgeSocket implements HostListener {
  protected override may = READ;

  override edge(events: number): void {
    if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) === 0) return;
    this.may |= READ;
    this.tell(READ);
  }

  accept(): HostStream | "shortage" | null {
    for (let i = 0; i < SKIPPED_MAX && this.fd >= 0 && (this.may & READ) !== 0; i++) {
      length[0] = SOCKADDR_LEN;
      // Safe because the buffer is as long as the length says.
      const fd = libc().accept4(this.fd, name, lengthBytes, NONBLOCK_CLOEXEC);
      const stream = fd < 0 ? lastErrno() : this.#adopt(fd);
      if (typeof stream !== "number") return stream;
      if (isShortage(stream)) {
        this.retryLater(READ);
        return "shortage";
      }
      if (stream === EAGAIN) this.may = 0;
      else if (stream === EBADF || stream === EINVAL) this.#break(stream);
      // Else an error of the call's own, such as ECONNABORTED (accept(2)): on to the next.
    }
    if (this.may === 0) this.lacks(READ);
    else this.retryLater(READ);
    return null;
  }

  /** A connection of the accepted `fd`; the error's number if it cannot be watched. */
  #adopt(fd: number): LinuxStream | number {
    const remote = sockaddrAt(name, 0)!;
    const stream = new LinuxStream(fd, this.family, this.watch, { remote, state: "connected" });
    const errno = this.watch.add(stream);
    if (errno === 0) return stream;
    stream.reset();
    return errno;
  }

  #break(errno: number): void {
    this.failure ??= errnoName(errno);
    this.may = 0;
  }

  override takeReport(): null {
    return null;
  }
}
