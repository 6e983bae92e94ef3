/**
 * Import circles, type imports included: files that each reach the other, so that no one of them can be read first.
 *
 * @module
 */

import { importsOf, type Problem, resolveImport } from "./imports.ts";
import { isTest, type Source } from "./tree.ts";

/** Which files each file imports, types and `import()`s included; of files of `all` only. */
export function importGraph(all: readonly Source[]): Map<string, Set<string>> {
  const graph = new Map<string, Set<string>>(all.map(({ path }) => [path, new Set()]));
  for (const { path, text } of all) {
    for (const { specifier } of importsOf(text)) {
      const target = resolveImport(path, specifier);
      if (specifier.startsWith(".") && graph.has(target)) graph.get(path)!.add(target);
    }
  }
  return graph;
}

/** The circles of a graph (its strongly connected components of more than one file), largest first. */
export function circlesOf(graph: ReadonlyMap<string, ReadonlySet<string>>): string[][] {
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const onStack = new Set<string>();
  const circles: string[][] = [];
  const visit = (path: string) => {
    index.set(path, index.size);
    low.set(path, index.get(path)!);
    stack.push(path);
    onStack.add(path);
    for (const target of graph.get(path) ?? []) {
      if (!index.has(target)) visit(target);
      if (onStack.has(target)) low.set(path, Math.min(low.get(path)!, low.get(target)!));
    }
    if (low.get(path) !== index.get(path)) return;
    const circle = stack.splice(stack.indexOf(path));
    for (const one of circle) onStack.delete(one);
    if (circle.length > 1) circles.push(circle.sort());
  };
  for (const path of graph.keys()) if (!index.has(path)) visit(path);
  return circles.sort((a, b) => b.length - a.length);
}

/** A problem for each product file that is part of a circle. */
export function circleProblems(all: readonly Source[]): Problem[] {
  const product = all.filter(({ path }) => !isTest(path) && !path.startsWith("tests/"));
  return circlesOf(importGraph(product)).flatMap((circle) =>
    circle.map((path) => ({ path, line: 1, text: `Import circle of ${circle.length} files: ${circle.join(", ")}` }))
  );
}
