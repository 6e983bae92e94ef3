/**
 * Which files of Debian's packages go where.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { perlPlace } from "./perl_places.ts";

Deno.test("perlPlace() takes perl, its modules, and libraries of older and newer releases; nothing else", () => {
  const places: Record<string, string | null> = {
    "usr/bin/perl": "usr/bin/perl",
    "usr/bin/perl5.36.0": null,
    "usr/lib/x86_64-linux-gnu/perl-base/auto/Socket/Socket.so":
      "usr/lib/x86_64-linux-gnu/perl-base/auto/Socket/Socket.so",
    "usr/lib/x86_64-linux-gnu/perl-base/unicore/Name.pl": null,
    "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": "lib64/ld-linux-x86-64.so.2",
    "usr/lib/x86_64-linux-gnu/libc.so.6": "lib/x86_64-linux-gnu/libc.so.6",
    "lib/x86_64-linux-gnu/libcrypt.so.1.1.0": "lib/x86_64-linux-gnu/libcrypt.so.1",
    "lib/x86_64-linux-gnu/libcidn.so.1": null,
    "usr/lib/x86_64-linux-gnu/gconv/libm.so.6": null,
    "usr/share/doc/libc6/copyright": null,
  };
  for (const [path, to] of Object.entries(places)) assertEquals(perlPlace(path), to, path);
});
