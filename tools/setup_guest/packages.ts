/**
 * Debian packages, fetched and unpacked into a folder of ours: nothing is installed, and apt's own state is not
 * touched.
 *
 * Path: guest_files → packages → run.
 *
 * @module
 */

import { run, SetupError } from "./run.ts";

/** apt with its writable folders inside `folder`. */
export class Apt {
  readonly #folder: string;
  readonly #say: (line: string) => void;
  /** Whether package lists of our own are used: the system's may be empty, as in a container, or old. */
  #ownLists = false;

  constructor(folder: string, say: (line: string) => void) {
    this.#folder = folder;
    this.#say = say;
  }

  /**
   * Does `work`, which asks apt; if it fails, once more with package lists that are fetched now. Throws
   * {@link SetupError}.
   */
  async attempt<T>(work: () => Promise<T>): Promise<T> {
    await Deno.mkdir(`${this.#folder}/cache/archives/partial`, { recursive: true });
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof SetupError) || this.#ownLists) throw error;
      this.#say("fetching package lists");
    }
    this.#ownLists = true;
    await Deno.mkdir(`${this.#folder}/lists/partial`, { recursive: true });
    await run("apt-get", [...this.#options(), "--quiet", "update"]);
    return await work();
  }

  /** The package that a package of no content stands for: the first it depends on whose name matches. */
  async dependency(name: string, pattern: RegExp): Promise<string> {
    const text = new TextDecoder().decode(await run("apt-cache", [...this.#options(), "depends", name]));
    const found = [...text.matchAll(/^ *Depends: (\S+)$/gm)].map((match) => match[1]!).find((one) => pattern.test(one));
    if (found === undefined) throw new SetupError(`Package ${name} depends on none that matches ${pattern}`);
    return found;
  }

  /** Fetches a package and unpacks it into `into`. */
  async unpack(name: string, into: string): Promise<void> {
    const downloads = `${this.#folder}/debs/${name}`;
    await Deno.mkdir(downloads, { recursive: true });
    await run("apt-get", [...this.#options(), "--quiet", "download", name], downloads);
    for await (const entry of Deno.readDir(downloads)) {
      if (!entry.name.endsWith(".deb")) continue;
      this.#say(`unpacking ${entry.name}`);
      await Deno.mkdir(into, { recursive: true });
      await run("dpkg-deb", ["--extract", `${downloads}/${entry.name}`, into]);
    }
  }

  #options(): string[] {
    // The sandbox user could not write into our folder; nothing else on the machine is locked by us.
    const options = [`Dir::Cache=${this.#folder}/cache`, "APT::Sandbox::User=root", "Debug::NoLocking=1"];
    if (this.#ownLists) options.push(`Dir::State::lists=${this.#folder}/lists`);
    return options.flatMap((option) => ["--option", option]);
  }
}
