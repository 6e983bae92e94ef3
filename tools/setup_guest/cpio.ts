/**
 * An initramfs: files and devices → a cpio archive of the "newc" form (Linux,
 * Documentation/driver-api/early-userspace).
 *
 * Path: guest_files → cpio.
 *
 * @module
 */

/** One file, folder or device. */
export interface CpioEntry {
  /** Without a slash before it. */
  readonly path: string;
  /** Kind and rights, as `st_mode`. */
  readonly mode: number;
  /** Default none. */
  readonly data?: Uint8Array;
  /** Major and minor number of a device. */
  readonly device?: readonly [number, number];
}

export const FOLDER = 0o040755;
export const PROGRAM = 0o100755;
export const FILE = 0o100644;
export const CHAR_DEVICE = 0o020600;

/** The archive. All times are 0, so that the same files are the same archive. */
export function cpio(entries: readonly CpioEntry[]): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  [...entries, { path: "TRAILER!!!", mode: 0 }].forEach((entry, i) => parts.push(...record(entry, i + 1)));
  const archive = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    archive.set(part, at);
    at += part.length;
  }
  return archive;
}

/** Header and name, then data; both padded to four bytes. */
function record({ path, mode, data = new Uint8Array(), device = [0, 0] }: CpioEntry, inode: number): Uint8Array[] {
  const name = `${path}\0`;
  const links = mode === FOLDER ? 2 : 1;
  const fields = [inode, mode, 0, 0, links, 0, data.length, 0, 0, device[0], device[1], name.length, 0];
  const header = "070701" + fields.map((field) => field.toString(16).padStart(8, "0")).join("") + name;
  return [
    new TextEncoder().encode(header + padding(header.length)),
    data,
    new TextEncoder().encode(padding(data.length)),
  ];
}

function padding(length: number): string {
  return "\0".repeat(-length & 3);
}
