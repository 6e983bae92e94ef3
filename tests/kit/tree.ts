/**
 * The checkout as the checks see it: its TypeScript files, and the room each belongs to (DESIGN section 3).
 *
 * @module
 */

/** One source file. */
export interface Source {
  /** Path from the top of the checkout, with `/`. */
  path: string;
  /** Its whole text. */
  text: string;
}

/** Top of the checkout: an absolute path, without a slash at its end. */
export const ROOT: string = decodeURIComponent(new URL("../..", import.meta.url).pathname).replace(/\/$/, "");

/** Folders in which no source of ours lives. */
const FOREIGN: ReadonlySet<string> = new Set(["node_modules", "coverage"]);

/** Every `.ts` file of the checkout, sorted; hidden folders are left out. Takes time in proportion to the tree. */
export function typescriptFiles(folder = ""): string[] {
  const found: string[] = [];
  for (const entry of Deno.readDirSync(`${ROOT}/${folder}`)) {
    if (entry.name.startsWith(".") || FOREIGN.has(entry.name)) continue;
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory) found.push(...typescriptFiles(path));
    else if (entry.isFile && path.endsWith(".ts")) found.push(path);
  }
  return found.sort();
}

/** The files of the checkout with their text. */
export function sources(): Source[] {
  return typescriptFiles().map((path) => ({ path, text: Deno.readTextFileSync(`${ROOT}/${path}`) }));
}

/** Whether `path` is a file of tests. */
export function isTest(path: string): boolean {
  return path.endsWith("_test.ts");
}

/** The room of a file: `wire`, `kernel`, `devices/NAME`, `vmm`, or `free` for what may see everything. */
export function roomOf(path: string): string {
  if (path.startsWith("kernel/wire/")) return "wire";
  if (path.startsWith("kernel/")) return "kernel";
  if (path.startsWith("tools/vmm/")) return "vmm";
  const device = /^devices\/([^/]+?)(?:_test)?(?:\.ts$|\/)/.exec(path);
  return device ? `devices/${device[1]}` : "free";
}

/**
 * Whether a file must run in a browser: no operating system, no clock of its own, no randomness without a seed. Of the
 * rooms below the tools only `devices/host` and `tools/vmm/guests` (which start real guests) may know where they run.
 */
export function isPure(path: string): boolean {
  if (isTest(path) || path.startsWith("devices/host/") || path.startsWith("tools/vmm/guests/")) return false;
  return roomOf(path) !== "free";
}
