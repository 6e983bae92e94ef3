/**
 * setup_guest: makes the kernel and the initramfs of the virtual machine that the tests and the scenario boot under
 * QEMU.
 *
 * Path: command line → setup_guest → setup_guest/guest_files.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { cacheFolder, setupGuest } from "./setup_guest/guest_files.ts";
import { SetupError } from "./setup_guest/run.ts";

const USAGE = `usage: deno run --allow-run --allow-read --allow-write --allow-env tools/setup_guest.ts [options]

Makes the guest of the QEMU tests from Debian packages: the cloud kernel (linux-image-cloud-amd64) and an initramfs
with busybox (busybox-static), perl (perl-base, and the libraries it needs) and the virtio modules. Fetches 32 MB the
first time, and nothing after that. Needs apt-get and dpkg-deb, but no root; nothing is installed, and nothing outside
the cache folder is changed.

  --refresh     fetch the packages anew, for a newer kernel
  --quiet       only print the paths
  --help        print this

The cache folder is .cache in the checkout, or the environment's AKARINO_CACHE.
Exit status: 0 if kernel and initramfs are there, 1 if they cannot be made, 2 for a bad option.
`;

/** The options, or what is wrong with them. */
function parse(args: readonly string[]): { refresh: boolean; quiet: boolean; help: boolean } | string {
  let problem: string | null = null;
  const flags = parseArgs([...args], {
    boolean: ["refresh", "quiet", "help"],
    unknown: (arg: string) => {
      problem ??= arg.startsWith("-") ? `Unknown option "${arg}"` : `Unexpected argument "${arg}"`;
      return false;
    },
  });
  return problem ?? flags;
}

/** Runs the tool; its exit status. */
export async function main(args: readonly string[]): Promise<number> {
  const options = parse(args);
  if (typeof options === "string") {
    console.error(`setup_guest: ${options}\n\n${USAGE}`);
    return 2;
  }
  if (options.help) {
    console.log(USAGE);
    return 0;
  }
  const say = (line: string) => options.quiet ? undefined : console.error(`setup_guest: ${line}`);
  try {
    say(`cache folder ${cacheFolder()}`);
    const { kernel, initrd, version } = await setupGuest({ refresh: options.refresh, say });
    say(`the guest is there: Linux ${version}`);
    console.log(`${kernel}\n${initrd}`);
    return 0;
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(`setup_guest: ${error.message}`);
    return 1;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
