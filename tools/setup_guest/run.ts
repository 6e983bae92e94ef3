/**
 * Programs that setup_guest runs, the error of one that fails, and the files that they leave.
 *
 * Path: guest_files, packages, modules, perl, perl_places → run.
 *
 * @module
 */

/** The guest cannot be set up, for a reason that its user can do something about. */
export class SetupError extends Error {
  override readonly name = "SetupError";
}

/** Runs a program and returns its output. Throws {@link SetupError} with its complaint. */
export async function run(program: string, args: readonly string[], cwd?: string): Promise<Uint8Array<ArrayBuffer>> {
  const options = { args: [...args], env: { LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive" }, stdin: "null" as const };
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command(program, cwd === undefined ? options : { ...options, cwd }).output();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new SetupError(`Cannot run ${program}: it is not installed (this needs Debian's own tools)`);
  }
  if (output.success) return output.stdout;
  const complaint = new TextDecoder().decode(output.stderr).trim();
  throw new SetupError(`${program} ${args.filter((arg) => !arg.startsWith("-")).join(" ")} failed: ${complaint}`);
}

/** The last part of a path. */
export function basename(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** Paths of all files in a folder and those in it; no links. */
export async function* filesBelow(folder: string): AsyncGenerator<string> {
  for await (const entry of Deno.readDir(folder)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) yield* filesBelow(path);
    else if (entry.isFile) yield path;
  }
}
