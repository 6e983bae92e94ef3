/**
 * Reading a directory: one record of fixed size per read, as Akaros' kdirent; unions are read one member after another.
 *
 * Path: file_calls → dirent → chan.
 *
 * ```
 *   0 inode u64 · 8 offset i64 · 16 record length u16 · 18 name, NUL-terminated, 256 bytes      (little-endian)
 * ```
 *
 * @module
 */

import type { Chan } from "./chan.ts";
import { KernelError } from "./error.ts";
import type { Dir } from "./qid.ts";

/** Bytes of one record. */
export const DIRENT_LEN = 274;
const NAME_AT = 18;
const NAME_MAX = 255;

/** Entries of an open directory, members of a union in order; a member that fails is skipped. */
export function listDir(chan: Chan): Dir[] {
  const members = chan.union ?? [chan];
  const entries: Dir[] = [];
  for (const member of members) {
    try {
      entries.push(...member.dev.list(member));
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
    }
  }
  return entries;
}

/** Puts the next record into `buf`; 0 at the end. The chan's offset counts records. */
export function direntRead(chan: Chan, buf: Uint8Array): number {
  if (buf.length < DIRENT_LEN) {
    throw new KernelError("EINVAL", `Cannot read a directory by ${buf.length} bytes: a record has ${DIRENT_LEN}`);
  }
  const entry = listDir(chan)[chan.offset];
  if (entry === undefined) return 0;
  const view = new DataView(buf.buffer, buf.byteOffset, DIRENT_LEN);
  buf.fill(0, 0, DIRENT_LEN);
  view.setBigUint64(0, BigInt(entry.qid.path), true);
  view.setBigInt64(8, BigInt(++chan.offset), true);
  view.setUint16(16, DIRENT_LEN, true);
  for (let i = 0; i < Math.min(entry.name.length, NAME_MAX); i++) buf[NAME_AT + i] = entry.name.charCodeAt(i);
  return DIRENT_LEN;
}
