/**
 * PolledFd: a descriptor that a reactor looks after until it is closed, once.
 *
 * Path: linux_socket, linux_tcp, link_watch, life → polled_fd → libc.
 *
 * @module
 */

import { libc, releaseLibc } from "./libc.ts";

/** What sockets, netlink sockets and pidfds have in common for a reactor. */
export class PolledFd {
  /** The descriptor; -1 when closed. */
  fd: number;
  /** For the reactor. */
  onClose: (() => void) | null = null;

  /** Takes over `fd`, and its hold of libc. */
  constructor(fd: number) {
    this.fd = fd;
  }

  close(): void {
    if (this.fd < 0) return;
    this.onClose?.();
    libc().close(this.fd);
    this.fd = -1;
    releaseLibc();
  }
}
