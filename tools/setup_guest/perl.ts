/**
 * Perl for the guest, out of Debian's packages: the interpreter, the few libraries it is linked with, and its modules.
 *
 * Path: guest_files → perl → perl_places, setup_guest/run.
 *
 * @module
 */

import { PERL_NEEDED, perlPlace } from "./perl_places.ts";
import { basename, filesBelow, SetupError } from "./run.ts";

/** Where everything is from: an interpreter that every Debian has, and its libraries. */
export const PERL_PACKAGES: readonly string[] = ["perl-base", "libc6", "libcrypt1"];

/** Copies what the guest needs of the unpacked packages into `root`. Throws {@link SetupError} if a part is missing. */
export async function gatherPerl(packages: string, root: string): Promise<void> {
  const copied = new Set<string>();
  for await (const path of filesBelow(packages)) {
    const to = perlPlace(path.slice(packages.length + 1));
    if (to === null) continue;
    await Deno.mkdir(`${root}/${to.slice(0, to.lastIndexOf("/"))}`, { recursive: true });
    await Deno.copyFile(path, `${root}/${to}`);
    copied.add(to);
  }
  const missing = PERL_NEEDED.filter((path) => !copied.has(path)).map(basename);
  if (missing.length > 0) throw new SetupError(`Found no ${missing.join(", ")} in ${PERL_PACKAGES.join(", ")}`);
}
