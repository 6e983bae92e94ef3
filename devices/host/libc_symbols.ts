/**
 * Every call into C that Akarino makes, in one table.
 *
 * Path: libc → libc_symbols → Linux.
 *
 * @module
 */

/** The calls: names, parameters and results as C declares them. */
export const SYMBOLS = {
  open: {
    parameters: [/* const char *path */ "buffer", /* int flags */ "i32", /* mode_t mode */ "u32"],
    result: /* int */ "i32",
  },
  close: { parameters: [/* int fd */ "i32"], result: /* int */ "i32" },
  // ssize_t is read as 32 bits: no call here can move 2 GiB.
  read: {
    parameters: [/* int fd */ "i32", /* void *buf */ "buffer", /* size_t count */ "usize"],
    result: /* ssize_t */ "i32",
  },
  write: {
    parameters: [/* int fd */ "i32", /* const void *buf */ "buffer", /* size_t count */ "usize"],
    result: /* ssize_t */ "i32",
  },
  readv: {
    parameters: [/* int fd */ "i32", /* const struct iovec *iov */ "buffer", /* int iovcnt */ "i32"],
    result: /* ssize_t */ "i32",
  },
  writev: {
    parameters: [/* int fd */ "i32", /* const struct iovec *iov */ "buffer", /* int iovcnt */ "i32"],
    result: /* ssize_t */ "i32",
  },
  // ioctl is variadic; on both machines a variadic integer or pointer travels like a named one.
  ioctl: {
    parameters: [/* int fd */ "i32", /* unsigned long request */ "usize", /* void *argp */ "buffer"],
    result: /* int */ "i32",
  },
  ioctlValue: {
    name: "ioctl",
    parameters: [/* int fd */ "i32", /* unsigned long request */ "usize", /* unsigned long arg */ "usize"],
    result: /* int */ "i32",
  },
  socket: {
    parameters: [/* int domain */ "i32", /* int type */ "i32", /* int protocol */ "i32"],
    result: /* int */ "i32",
  },
  bind: {
    parameters: [/* int sockfd */ "i32", /* const struct sockaddr *addr */ "buffer", /* socklen_t addrlen */ "u32"],
    result: /* int */ "i32",
  },
  listen: { parameters: [/* int sockfd */ "i32", /* int backlog */ "i32"], result: /* int */ "i32" },
  connect: {
    parameters: [/* int sockfd */ "i32", /* const struct sockaddr *addr */ "buffer", /* socklen_t addrlen */ "u32"],
    result: /* int */ "i32",
  },
  shutdown: { parameters: [/* int sockfd */ "i32", /* int how */ "i32"], result: /* int */ "i32" },
  accept4: {
    parameters: [
      /* int sockfd */ "i32",
      /* struct sockaddr *addr */ "buffer",
      /* socklen_t *addrlen */ "buffer",
      /* int flags */ "i32",
    ],
    result: /* int */ "i32",
  },
  setsockopt: {
    parameters: [
      /* int sockfd */ "i32",
      /* int level */ "i32",
      /* int optname */ "i32",
      /* const void *optval */ "buffer",
      /* socklen_t optlen */ "u32",
    ],
    result: /* int */ "i32",
  },
  sendto: {
    parameters: [
      /* int sockfd */ "i32",
      /* const void *buf */ "buffer",
      /* size_t len */ "usize",
      /* int flags */ "i32",
      /* const struct sockaddr *dest_addr */ "buffer",
      /* socklen_t addrlen */ "u32",
    ],
    result: /* ssize_t */ "i32",
  },
  recvfrom: {
    parameters: [
      /* int sockfd */ "i32",
      /* void *buf */ "buffer",
      /* size_t len */ "usize",
      /* int flags */ "i32",
      /* struct sockaddr *src_addr */ "buffer",
      /* socklen_t *addrlen */ "buffer",
    ],
    result: /* ssize_t */ "i32",
  },
  getsockopt: {
    parameters: [
      /* int sockfd */ "i32",
      /* int level */ "i32",
      /* int optname */ "i32",
      /* void *optval */ "buffer",
      /* socklen_t *optlen */ "buffer",
    ],
    result: /* int */ "i32",
  },
  getsockname: {
    parameters: [/* int sockfd */ "i32", /* struct sockaddr *addr */ "buffer", /* socklen_t *addrlen */ "buffer"],
    result: /* int */ "i32",
  },
  // A msghdr holds pointers: its owner keeps everything that it points to.
  sendmsg: {
    parameters: [/* int sockfd */ "i32", /* const struct msghdr *msg */ "buffer", /* int flags */ "i32"],
    result: /* ssize_t */ "i32",
  },
  recvmsg: {
    parameters: [/* int sockfd */ "i32", /* struct msghdr *msg */ "buffer", /* int flags */ "i32"],
    result: /* ssize_t */ "i32",
  },
  sendmmsg: {
    parameters: [
      /* int sockfd */ "i32",
      /* struct mmsghdr *msgvec */ "buffer",
      /* unsigned int vlen */ "u32",
      /* int flags */ "i32",
    ],
    result: /* int */ "i32",
  },
  recvmmsg: {
    parameters: [
      /* int sockfd */ "i32",
      /* struct mmsghdr *msgvec */ "buffer",
      /* unsigned int vlen */ "u32",
      /* int flags */ "i32",
      /* struct timespec *timeout */ "pointer",
    ],
    result: /* int */ "i32",
  },
  getrlimit: {
    parameters: [/* int resource */ "i32", /* struct rlimit *rlim */ "buffer"],
    result: /* int */ "i32",
  },
  setrlimit: {
    parameters: [/* int resource */ "i32", /* const struct rlimit *rlim */ "buffer"],
    result: /* int */ "i32",
  },
  epoll_create1: { parameters: [/* int flags */ "i32"], result: /* int */ "i32" },
  epoll_ctl: {
    parameters: [/* int epfd */ "i32", /* int op */ "i32", /* int fd */ "i32", /* struct epoll_event * */ "buffer"],
    result: /* int */ "i32",
  },
  epoll_wait: {
    parameters: [
      /* int epfd */ "i32",
      /* struct epoll_event *events */ "buffer",
      /* int maxevents */ "i32",
      /* int timeout, ms */ "i32",
    ],
    result: /* int */ "i32",
  },
  ppoll: {
    parameters: [
      /* struct pollfd *fds */ "buffer",
      /* nfds_t nfds */ "usize",
      /* const struct timespec *timeout */ "buffer",
      /* const sigset_t *sigmask */ "pointer",
    ],
    result: /* int */ "i32",
    // Runs on another thread. Safe because the reactor keeps both buffers, untouched, until its promise settles.
    nonblocking: true,
  },
  // Variadic; its third argument is an int or nothing here, and travels as a named one does.
  fcntl: { parameters: [/* int fd */ "i32", /* int cmd */ "i32", /* long arg */ "i64"], result: /* int */ "i32" },
  statx: {
    parameters: [
      /* int dirfd */ "i32",
      /* const char *pathname */ "buffer",
      /* int flags */ "i32",
      /* unsigned int mask */ "u32",
      /* struct statx *statxbuf */ "buffer",
    ],
    result: /* int */ "i32",
  },
  eventfd: { parameters: [/* unsigned int initval */ "u32", /* int flags */ "i32"], result: /* int */ "i32" },
  setns: { parameters: [/* int fd */ "i32", /* int nstype */ "i32"], result: /* int */ "i32" },
  unshare: { parameters: [/* int flags */ "i32"], result: /* int */ "i32" },
  mount: {
    parameters: [
      /* const char *source */ "buffer",
      /* const char *target */ "buffer",
      /* const char *filesystemtype */ "buffer",
      /* unsigned long mountflags */ "usize",
      /* const void *data */ "pointer",
    ],
    result: /* int */ "i32",
  },
  umount2: { parameters: [/* const char *target */ "buffer", /* int flags */ "i32"], result: /* int */ "i32" },
  mkdir: { parameters: [/* const char *path */ "buffer", /* mode_t mode */ "u32"], result: /* int */ "i32" },
  unlink: { parameters: [/* const char *path */ "buffer"], result: /* int */ "i32" },
  chmod: { parameters: [/* const char *path */ "buffer", /* mode_t mode */ "u32"], result: /* int */ "i32" },
  fchmod: { parameters: [/* int fd */ "i32", /* mode_t mode */ "u32"], result: /* int */ "i32" },
  poll: {
    parameters: [/* struct pollfd *fds */ "buffer", /* nfds_t nfds */ "usize", /* int timeout, ms */ "i32"],
    result: /* int */ "i32",
  },
  // Variadic, for calls without a function of their own in older libraries; integers travel as named ones do.
  syscall: {
    parameters: [/* long number */ "i64", /* long */ "i64", /* long */ "i64", /* long */ "i64"],
    result: /* long; a descriptor fits */ "i32",
  },
  __errno_location: { parameters: [], result: /* int * */ "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;
