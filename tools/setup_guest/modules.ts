/**
 * Kernel modules out of the files of a Debian package: some, and all that they need.
 *
 * Path: guest_files → modules → module_order, setup_guest/run.
 *
 * A module without a file is taken to be built into the kernel.
 *
 * @module
 */

import { dependencies, inOrder, plainName } from "./module_order.ts";
import { basename, filesBelow, run, SetupError } from "./run.ts";

/** A module, ready for insmod. */
interface KernelModule {
  /** File name, such as `virtio_net.ko`. */
  readonly file: string;
  readonly bytes: Uint8Array;
}

/** How a compressed module is made plain; newer releases of Debian compress them. */
const UNPACKERS: Readonly<Record<string, string>> = { xz: "xz", zst: "zstd", gz: "gzip" };

/** The modules `wanted` and all they need, each after what it needs. Throws {@link SetupError} if one is missing. */
export async function modulesFor(folder: string, wanted: readonly string[]): Promise<KernelModule[]> {
  const paths = new Map<string, string>();
  for await (const path of filesBelow(folder)) {
    const name = /^(.*)\.ko(?:\.\w+)?$/.exec(basename(path))?.[1];
    if (name !== undefined) paths.set(plainName(name), path);
  }
  const known = new Map<string, Uint8Array>();
  const needs = async (name: string): Promise<string[]> => {
    const path = paths.get(name);
    if (path === undefined) return [];
    const bytes = known.get(name) ?? await readModule(path);
    known.set(name, bytes);
    return dependencies(bytes);
  };
  const order = await inOrder(wanted, needs);
  const modules = order.flatMap((name) => {
    const bytes = known.get(name);
    return bytes === undefined ? [] : [{ file: `${name}.ko`, bytes }];
  });
  if (modules.length === 0) throw new SetupError(`Found no kernel modules below ${folder}`);
  return modules;
}

async function readModule(path: string): Promise<Uint8Array> {
  const ending = path.slice(path.lastIndexOf(".") + 1);
  const unpacker = UNPACKERS[ending];
  return unpacker === undefined ? await Deno.readFile(path) : await run(unpacker, ["-d", "-c", path]);
}
