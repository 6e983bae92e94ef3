/**
 * Which files of Debian's packages of Perl go into the guest, and where.
 *
 * Path: perl → perl_places → setup_guest/run.
 *
 * @module
 */

import { basename } from "./run.ts";

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

/** The files in the guest without which its Perl does not run. */
export const PERL_NEEDED: readonly string[] = [
  PERL,
  `${MODULES_FOLDER}Socket.pm`,
  ...Object.entries(LIBRARIES).map(([name, folder]) => `${folder}/${name}`),
];

/** Where a file of a package goes in the guest; null: nowhere. Older releases have /lib apart from /usr/lib. */
export function perlPlace(path: string): string | null {
  const name = basename(path);
  if (path === PERL) return path;
  if (path.startsWith(MODULES_FOLDER)) return path.startsWith(LEFT_OUT) ? null : path;
  if (!/^(usr\/)?lib\/x86_64-linux-gnu\/[^/]+$/.test(path)) return null;
  const library = Object.keys(LIBRARIES).find((one) => name === one || name.startsWith(`${one}.`));
  return library === undefined ? null : `${LIBRARIES[library]}/${library}`;
}
