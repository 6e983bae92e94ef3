/**
 * Perl for the guest, out of Debian's packages: the interpreter, the few libraries it is linked with, and its modules.
 *
 * Path: guest_files → perl.
 *
 * @module
 */

import { basename, filesBelow, SetupError } from "./run.ts";

/** Where everything is from: an interpreter that every Debian has, and its libraries. */
export const PERL_PACKAGES: readonly string[] = ["perl-base", "libc6", "libcrypt1"];

/** Libraries that the interpreter is linked with, and their folders in the guest; a name may go on with a version. */
const LIBRARIES: Readonly<Record<string, string>> = {
  "ld-linux-x86-64.so.2": "lib64",
  "libc.so.6": "lib/x86_64-linux-gnu",
  "libm.so.6": "lib/x86_64-linux-gnu",
  "libcrypt.so.1": "lib/x86_64-linux-gnu",
};

/** Perl's own modules; all but the tables of Unicode, which are larger than the rest and for text. */
const MODULES_FOLDER = "usr/lib/x86_64-linux-gnu/perl-base/";
const LEFT_OUT = `${MODULES_FOLDER}unicore/`;
const PERL = "usr/bin/perl";

/** Copies what the guest needs of the unpacked packages into `root`. Throws {@link SetupError} if a part is missing. */
export async function gatherPerl(packages: string, root: string): Promise<void> {
  const copied = new Set<string>();
  for await (const path of filesBelow(packages)) {
    const to = placeOf(path.slice(packages.length + 1));
    if (to === null) continue;
    await Deno.mkdir(`${root}/${to.slice(0, to.lastIndexOf("/"))}`, { recursive: true });
    await Deno.copyFile(path, `${root}/${to}`);
    copied.add(to);
  }
  const needed = [
    PERL,
    `${MODULES_FOLDER}Socket.pm`,
    ...Object.entries(LIBRARIES).map(([name, at]) => `${at}/${name}`),
  ];
  const missing = needed.filter((path) => !copied.has(path)).map(basename);
  if (missing.length > 0) throw new SetupError(`Found no ${missing.join(", ")} in ${PERL_PACKAGES.join(", ")}`);
}

/** Where a file of a package goes in the guest; null: nowhere. Older releases have /lib apart from /usr/lib. */
export function placeOf(path: string): string | null {
  const name = basename(path);
  if (path === PERL) return path;
  if (path.startsWith(MODULES_FOLDER)) return path.startsWith(LEFT_OUT) ? null : path;
  if (!/^(usr\/)?lib\/x86_64-linux-gnu\/[^/]+$/.test(path)) return null;
  const library = Object.keys(LIBRARIES).find((one) => name === one || name.startsWith(`${one}.`));
  return library === undefined ? null : `${LIBRARIES[library]}/${library}`;
}
