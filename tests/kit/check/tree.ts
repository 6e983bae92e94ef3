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
export const ROOT: string = decodeURIComponent(new URL("../../..", import.meta.url).pathname).replace(/\/$/, "");

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

/** The documents of the checkout with their text: `.md` at its top and in docs/. */
export function documents(): Source[] {
  const names = (folder: string) => [...Deno.readDirSync(`${ROOT}/${folder}`)].map(({ name }) => name);
  const paths = [...names("."), ...names("docs").map((name) => `docs/${name}`)].filter((path) => path.endsWith(".md"));
  return paths.sort().map((path) => ({ path, text: Deno.readTextFileSync(`${ROOT}/${path}`) }));
}

/** The files that deno.json offers to importers. */
export function entryPoints(): Set<string> {
  const { exports } = JSON.parse(Deno.readTextFileSync(`${ROOT}/deno.json`)) as { exports: string | object };
  const files: string[] = typeof exports === "string" ? [exports] : Object.values(exports);
  return new Set(files.map((file) => file.replace(/^\.\//, "")));
}

/** Whether `path` is a file of tests. */
export function isTest(path: string): boolean {
  return path.endsWith("_test.ts");
}

/** The rooms that are one folder, inner ones first. */
const ROOMS: readonly (readonly [string, string])[] = [
  ["kernel/wire/", "wire"],
  ["kernel/inet/", "inet"],
  ["kernel/", "kernel"],
  ["tools/nat/", "nat"],
  ["tools/uplink/", "uplink"],
  ["tools/vmm/", "vmm"],
];

/** The room of a file: one of {@link ROOMS}, `devices/NAME`, or `free` for what may see everything. */
export function roomOf(path: string): string {
  const room = ROOMS.find(([folder]) => path.startsWith(folder));
  if (room !== undefined) return room[1];
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
