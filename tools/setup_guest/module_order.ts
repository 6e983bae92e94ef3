/**
 * Which kernel modules others need, and the order in which they go in.
 *
 * Path: modules → module_order.
 *
 * A module names what it needs (`depends=` in its .modinfo section): no depmod is run.
 *
 * @module
 */

/** `wanted` and all they need, each once and after what it needs; cycles are cut. */
export async function inOrder(
  wanted: readonly string[],
  needs: (name: string) => Promise<readonly string[]>,
): Promise<string[]> {
  const order: string[] = [];
  const seen = new Set<string>();
  const visit = async (name: string): Promise<void> => {
    if (seen.has(name)) return;
    seen.add(name);
    for (const needed of await needs(name)) await visit(needed);
    order.push(name);
  };
  for (const name of wanted) await visit(name);
  return order;
}

/** The names behind `depends=` in a module's file. */
export function dependencies(module: Uint8Array): string[] {
  const text = new TextDecoder("latin1").decode(module);
  const [, names = ""] = /(?:^|\0)depends=([^\0]*)\0/.exec(text) ?? [];
  return names.split(",").filter((name) => name !== "").map(plainName);
}

/** The one spelling here of a module's name: there are two. */
export function plainName(name: string): string {
  return name.replaceAll("-", "_");
}
