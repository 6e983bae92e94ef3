/**
 * setup_guest: makes the kernel and the initramfs of the virtual machine that the tests and the scenario boot under
 * QEMU.
 *
 * Path: command line → setup_guest → setup_guest/guest_files.
 *
 * @module
 */

import { Given, runTool } from "./options/given.ts";
import type { ToolTable } from "./options/option_table.ts";
import { cacheFolder, setupGuest } from "./setup_guest/guest_files.ts";
import { SetupError } from "./setup_guest/run.ts";

const SETUP_GUEST: ToolTable = {
  name: "setup_guest",
  command: "deno task setup-guest",
  synopsis: "[options]",
  about:
    `Makes the guest of the QEMU tests from Debian packages: the cloud kernel (linux-image-cloud-amd64) and an initramfs
with busybox (busybox-static), perl (perl-base, and the libraries it needs) and the virtio modules. Fetches 32 MB the
first time, and nothing after that. Needs apt-get and dpkg-deb, but no root. It installs nothing and changes only the
cache folder.`,
  groups: [[
    { name: "refresh", help: "fetch the packages again, for a newer kernel" },
    { name: "quiet", help: "print only the paths" },
  ]],
  after: `The cache folder is .cache in the checkout, or the environment's AKARINO_CACHE.
Exit status: 0 if kernel and initramfs exist, 1 if they cannot be made, 2 for a bad option.`,
};

/** Makes it; the exit status. */
async function run(given: Given): Promise<number> {
  const say = (line: string) => given.flag("quiet") ? undefined : console.error(`setup_guest: ${line}`);
  try {
    say(`cache folder ${cacheFolder()}`);
    const { kernel, initrd, version } = await setupGuest({ refresh: given.flag("refresh"), say });
    say(`the guest is there: Linux ${version}`);
    console.log(`${kernel}\n${initrd}`);
    return 0;
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(`setup_guest: ${error.message}`);
    return 1;
  }
}

/** Runs the tool; its exit status. */
async function main(args: readonly string[]): Promise<number> {
  return await runTool(SETUP_GUEST, () => new Given(SETUP_GUEST, args), run);
}

if (import.meta.main) Deno.exit(await main(Deno.args));
