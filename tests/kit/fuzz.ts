/**
 * How many cases a property test runs (few in `deno task test`, many in `deno task nightly`), and how to replay one.
 *
 *     fc.assert(fc.property(fc.uint8Array(), (bytes) => …), fuzz(200));
 *
 * AKARINO_FUZZ multiplies the number of cases. AKARINO_SEED repeats a run: fast-check prints the seed when one fails.
 *
 * @module
 */

let total = 0;
// The runner adds these lines up.
addEventListener("unload", () => console.log(`property cases: ${total}`));

/** fast-check parameters for a property that usually runs `usual` cases. */
export function fuzz(usual: number): { numRuns: number; seed?: number } {
  const numRuns = Math.ceil(usual * (setting("AKARINO_FUZZ") ?? 1));
  const seed = setting("AKARINO_SEED");
  total += numRuns;
  return seed === null ? { numRuns } : { numRuns, seed };
}

/** A number in the environment, or null; also null where the environment may not be read. */
function setting(name: string): number | null {
  if (Deno.permissions.querySync({ name: "env", variable: name }).state !== "granted") return null;
  const value = Deno.env.get(name);
  return value === undefined || !Number.isFinite(Number(value)) ? null : Number(value);
}
