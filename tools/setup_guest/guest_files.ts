/**
 * Kernel and initramfs of the test guest, in the cache folder: made from Debian's packages once, and found again.
 *
 * Path: setup_guest, scenario, tests → guest_files → packages, modules, perl, cpio.
 *
 * ```
 *   CACHE/guest/parts/     kernel, busybox, modules/, order, root/, version, recipe: from packages, a download of 32 MB
 *   CACHE/guest/initrd.img put together from the parts and our scripts each time
 *   CACHE/guest/lock       held while any of it is made: programs that want it at once make it once
 * ```
 *
 * CACHE is `.cache` of the checkout, or AKARINO_CACHE. Nothing is written anywhere else.
 *
 * @module
 */

import { CHAR_DEVICE, cpio, type CpioEntry, FILE, FOLDER, PROGRAM } from "./cpio.ts";
import { modulesFor } from "./modules.ts";
import { Apt } from "./packages.ts";
import { gatherPerl, PERL_PACKAGES } from "./perl.ts";
import { filesBelow, SetupError } from "./run.ts";

/** Debian's package that stands for its newest kernel for virtual machines, and what it depends on. */
const KERNEL_PACKAGE = "linux-image-cloud-amd64";
const KERNEL_PATTERN = /^linux-image-\d\S*-cloud-amd64$/;
const BUSYBOX_PACKAGE = "busybox-static";
/** Modules that the guest loads if they are no part of its kernel; with all that they need. */
const MODULES: readonly string[] = ["virtio_pci", "virtio_mmio", "virtio_net", "virtio_console", "af_packet"];
/** The ingredients of the parts: other parts, left by an older version of this program, are made again. */
const RECIPE = `${[KERNEL_PACKAGE, BUSYBOX_PACKAGE, ...PERL_PACKAGES, ...MODULES].join("\n")}\n`;

/** Where the guest's files are. */
export interface GuestFiles {
  readonly kernel: string;
  readonly initrd: string;
  /** Version of the kernel, such as `6.1.0-56-cloud-amd64`. */
  readonly version: string;
}

/** How they are made. */
interface SetupOptions {
  /** Folder of everything that is cached. Default: AKARINO_CACHE, else `.cache` of the checkout. */
  cache?: string;
  /** Fetch the packages again even if the parts are there. Default false. */
  refresh?: boolean;
  /** Whether packages may be fetched, which runs programs. Default true; else a missing part is an error. */
  fetch?: boolean;
  /** Called with a line about each action. */
  say?: (line: string) => void;
}

/** The cache folder. Needs the permission to read AKARINO_CACHE. */
export function cacheFolder(): string {
  return Deno.env.get("AKARINO_CACHE") || decodeURIComponent(new URL("../../.cache", import.meta.url).pathname);
}

/** Makes whatever is missing. Throws {@link SetupError} if a package cannot be had, or may not be fetched. */
export async function setupGuest(options: SetupOptions = {}): Promise<GuestFiles> {
  const { cache = cacheFolder(), refresh = false, fetch = true, say = () => {} } = options;
  if (Deno.build.os !== "linux" || Deno.build.arch !== "x86_64") {
    throw new SetupError(`Cannot make a guest for ${Deno.build.os} on ${Deno.build.arch}: only for Linux on x86_64`);
  }
  const folder = `${cache}/guest`;
  const isThere = async () => await readText(`${folder}/parts/recipe`) === RECIPE;
  if (!fetch && !await isThere()) throw new SetupError(`Found no kernel and initramfs in ${folder}`);
  await Deno.mkdir(folder, { recursive: true });
  // Closed, it is given up.
  using lock = await Deno.open(`${folder}/lock`, { create: true, write: true });
  await lock.lock(true);
  if (refresh || !await isThere()) await makeParts(folder, say);
  return await putTogether(folder, say);
}

/** The guest from its parts. */
async function putTogether(folder: string, say: (line: string) => void): Promise<GuestFiles> {
  const parts = `${folder}/parts`;
  const initrd = `${folder}/initrd.img`;
  if (await replaceFile(initrd, await initramfs(parts))) say(`wrote ${initrd}`);
  return { kernel: `${parts}/kernel`, initrd, version: (await Deno.readTextFile(`${parts}/version`)).trim() };
}

/** Fetches and unpacks the packages, and keeps the needed files. */
async function makeParts(folder: string, say: (line: string) => void): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  // On the same file system as its end, so that it can be renamed into place whole.
  const work = await Deno.makeTempDir({ dir: folder, prefix: "making-" });
  try {
    const apt = new Apt(`${work}/apt`, say);
    const kernelPackage = await apt.attempt(async () => {
      const name = await apt.dependency(KERNEL_PACKAGE, KERNEL_PATTERN);
      say(`fetching ${[name, BUSYBOX_PACKAGE, ...PERL_PACKAGES].join(", ")}`);
      await apt.unpack(name, `${work}/kernel`);
      await apt.unpack(BUSYBOX_PACKAGE, `${work}/busybox`);
      for (const one of PERL_PACKAGES) await apt.unpack(one, `${work}/perl`);
      return name;
    });
    const version = kernelPackage.replace("linux-image-", "");
    await gather(work, version, `${work}/parts`);
    await Deno.remove(`${folder}/parts`, { recursive: true }).catch(ignoreMissing);
    await Deno.rename(`${work}/parts`, `${folder}/parts`);
    say(`kernel ${version}`);
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}

/** Copies what the guest needs out of the unpacked packages. */
async function gather(work: string, version: string, parts: string): Promise<void> {
  await Deno.mkdir(`${parts}/modules`, { recursive: true });
  await Deno.copyFile(`${work}/kernel/boot/vmlinuz-${version}`, `${parts}/kernel`);
  await Deno.copyFile(await busyboxIn(`${work}/busybox`), `${parts}/busybox`);
  const inUsr = await exists(`${work}/kernel/usr/lib/modules`);
  const modules = await modulesFor(`${work}/kernel/${inUsr ? "usr/" : ""}lib/modules/${version}`, MODULES);
  for (const { file, bytes } of modules) await Deno.writeFile(`${parts}/modules/${file}`, bytes);
  await Deno.writeTextFile(`${parts}/order`, modules.map(({ file }) => `${file}\n`).join(""));
  await gatherPerl(`${work}/perl`, `${parts}/root`);
  await Deno.writeTextFile(`${parts}/version`, `${version}\n`);
  await Deno.writeTextFile(`${parts}/recipe`, RECIPE);
}

async function busyboxIn(folder: string): Promise<string> {
  for (const path of [`${folder}/bin/busybox`, `${folder}/usr/bin/busybox`]) if (await exists(path)) return path;
  throw new SetupError(`Found no busybox in package ${BUSYBOX_PACKAGE}`);
}

/** The guest's whole file system. */
async function initramfs(parts: string): Promise<Uint8Array<ArrayBuffer>> {
  const order = await Deno.readTextFile(`${parts}/order`);
  const script = (name: string) => Deno.readFile(new URL(name, import.meta.url));
  const entries: CpioEntry[] = [
    ...["bin", "dev", "etc", "lib", "lib/modules"].map((path) => ({ path, mode: FOLDER })),
    { path: "dev/console", mode: CHAR_DEVICE, device: [5, 1] },
    { path: "init", mode: PROGRAM, data: await script("./init.sh") },
    { path: "etc/udhcpc.sh", mode: PROGRAM, data: await script("./udhcpc.sh") },
    { path: "bin/agent", mode: PROGRAM, data: await script("./agent.pl") },
    { path: "bin/busybox", mode: PROGRAM, data: await Deno.readFile(`${parts}/busybox`) },
    { path: "lib/modules/order", mode: FILE, data: new TextEncoder().encode(order) },
  ];
  for (const file of order.split("\n").filter((name) => name !== "")) {
    entries.push({ path: `lib/modules/${file}`, mode: FILE, data: await Deno.readFile(`${parts}/modules/${file}`) });
  }
  entries.push(...await tree(`${parts}/root`));
  return cpio(entries);
}

/** Everything in a folder, programs all: each folder before what is in it. */
async function tree(root: string): Promise<CpioEntry[]> {
  const entries: CpioEntry[] = [];
  const folders = new Set<string>();
  for (const file of (await Array.fromAsync(filesBelow(root))).sort()) {
    const path = file.slice(root.length + 1);
    for (let at = path.indexOf("/"); at > 0; at = path.indexOf("/", at + 1)) folders.add(path.slice(0, at));
    entries.push({ path, mode: PROGRAM, data: await Deno.readFile(file) });
  }
  return [...[...folders].sort().map((path) => ({ path, mode: FOLDER })), ...entries];
}

/** Writes a file whole or not at all, unless it is so already; whether it was written. */
async function replaceFile(path: string, bytes: Uint8Array<ArrayBuffer>): Promise<boolean> {
  const old = await Deno.readFile(path).catch(ignoreMissing);
  if (old?.length === bytes.length && old.every((byte, i) => byte === bytes[i])) return false;
  const fresh = await Deno.makeTempFile({ dir: path.slice(0, path.lastIndexOf("/")), prefix: "initrd-" });
  await Deno.writeFile(fresh, bytes);
  await Deno.rename(fresh, path);
  return true;
}

/** The text of a file; null: there is none. */
async function readText(path: string): Promise<string | null> {
  return await Deno.readTextFile(path).catch(ignoreMissing) ?? null;
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, ignoreMissing) ?? false;
}

function ignoreMissing(error: unknown): undefined {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}
