/**
 * Kernel and initramfs of the test guest, in the cache folder: made from Debian's packages once, and found again.
 *
 * Path: setup_guest, tests → guest_files → packages, modules, cpio.
 *
 * ```
 *   CACHE/guest/parts/     kernel, busybox, modules/, order, version: from packages, which takes a download of 27 MB
 *   CACHE/guest/initrd.img put together from the parts and our scripts each time
 * ```
 *
 * CACHE is `.cache` of the checkout, or AKARINO_CACHE. Nothing is written anywhere else.
 *
 * @module
 */

import { CHAR_DEVICE, cpio, type CpioEntry, FILE, FOLDER, PROGRAM } from "./cpio.ts";
import { modulesFor } from "./modules.ts";
import { Apt } from "./packages.ts";
import { SetupError } from "./run.ts";

/** Debian's package that stands for its newest kernel for virtual machines, and what it depends on. */
const KERNEL_PACKAGE = "linux-image-cloud-amd64";
const KERNEL_PATTERN = /^linux-image-\d\S*-cloud-amd64$/;
const BUSYBOX_PACKAGE = "busybox-static";
/** Modules that the guest loads if they are no part of its kernel; with all that they need. */
const MODULES: readonly string[] = ["virtio_pci", "virtio_mmio", "virtio_net", "af_packet"];

/** Where the guest's files are. */
export interface GuestFiles {
  readonly kernel: string;
  readonly initrd: string;
  /** Version of the kernel, such as `6.1.0-56-cloud-amd64`. */
  readonly version: string;
}

/** How they are made. */
export interface SetupOptions {
  /** Folder of everything that is cached. Default: AKARINO_CACHE, else `.cache` of the checkout. */
  cache?: string;
  /** Fetch the packages anew even if the parts are there. Default false. */
  refresh?: boolean;
  /** Told what is being done. */
  say?: (line: string) => void;
}

/** The cache folder. Needs the permission to read AKARINO_CACHE. */
export function cacheFolder(): string {
  return Deno.env.get("AKARINO_CACHE") || decodeURIComponent(new URL("../../.cache", import.meta.url).pathname);
}

/** Makes whatever is missing. Throws {@link SetupError} if a package cannot be had. */
export async function setupGuest(options: SetupOptions = {}): Promise<GuestFiles> {
  const { cache = cacheFolder(), refresh = false, say = () => {} } = options;
  if (Deno.build.os !== "linux" || Deno.build.arch !== "x86_64") {
    throw new SetupError(`Cannot make a guest for ${Deno.build.os} on ${Deno.build.arch}: only for Linux on x86_64`);
  }
  const folder = `${cache}/guest`;
  const parts = `${folder}/parts`;
  if (refresh || !await exists(`${parts}/version`)) await makeParts(folder, say);
  const initrd = `${folder}/initrd.img`;
  if (await replaceFile(initrd, await initramfs(parts))) say(`wrote ${initrd}`);
  return { kernel: `${parts}/kernel`, initrd, version: (await Deno.readTextFile(`${parts}/version`)).trim() };
}

/** Fetches and unpacks the packages, and keeps what is needed of them. */
async function makeParts(folder: string, say: (line: string) => void): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  // On the same file system as its end, so that it can be renamed into place whole.
  const work = await Deno.makeTempDir({ dir: folder, prefix: "making-" });
  try {
    const apt = new Apt(`${work}/apt`, say);
    const kernelPackage = await apt.attempt(async () => {
      const name = await apt.dependency(KERNEL_PACKAGE, KERNEL_PATTERN);
      say(`fetching ${name} and ${BUSYBOX_PACKAGE}`);
      await apt.unpack(name, `${work}/kernel`);
      await apt.unpack(BUSYBOX_PACKAGE, `${work}/busybox`);
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
  await Deno.writeTextFile(`${parts}/version`, `${version}\n`);
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
    { path: "bin/busybox", mode: PROGRAM, data: await Deno.readFile(`${parts}/busybox`) },
    { path: "lib/modules/order", mode: FILE, data: new TextEncoder().encode(order) },
  ];
  for (const file of order.split("\n").filter((name) => name !== "")) {
    entries.push({ path: `lib/modules/${file}`, mode: FILE, data: await Deno.readFile(`${parts}/modules/${file}`) });
  }
  return cpio(entries);
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

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, ignoreMissing) ?? false;
}

function ignoreMissing(error: unknown): undefined {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}
