/**
 * The number of descriptors that this process may have.
 *
 * Path: host/mod → descriptor_limit → libc, wire/bytes.
 *
 * @module
 */

import { get64le } from "../../kernel/wire/bytes.ts";
import { call, libc, withLibc } from "./libc.ts";

const RLIMIT_NOFILE = 7;
/** struct rlimit: the limit that holds, and the one that it may be raised to. */
const RLIMIT_LEN = 16;
const RLIM_MAX = 8;

/**
 * Raises the limit of open descriptors, often 1024, to what the process may have without rights, often 524288; returns
 * it. Throws {@link HostError}.
 */
export function raiseDescriptorLimit(): number {
  const attempt = "Cannot raise the limit of open descriptors";
  const limit = new Uint8Array(RLIMIT_LEN);
  return withLibc(() => {
    // Safe because both are structs rlimit, or null; 0 is this process.
    call(attempt, libc().prlimit(0, RLIMIT_NOFILE, null, limit));
    const most = get64le(limit, RLIM_MAX);
    if (get64le(limit, 0) >= most) return most;
    limit.copyWithin(0, RLIM_MAX);
    call(attempt, libc().prlimit(0, RLIMIT_NOFILE, limit, null));
    return most;
  });
}
