/** The tour of one packet: that the check can fail, and that the page holds. */

import { assertEquals, assertGreater, fail } from "@std/assert";
import { declares, stepsOf, tourProblems } from "./tour.ts";
import { ROOT, sources } from "./tree.ts";

const FILES = [
  { path: "a.ts", text: 'import { b } from "./b.ts";\nexport function a(): void {\n  b(1);\n}\n' },
  { path: "b.ts", text: 'export { c } from "./c.ts";\nexport class B {\n  #b(): void {}\n}\n' },
  { path: "c.ts", text: "export function c(): void {}\n" },
  { path: "d.ts", text: "export function d(): void {}\n" },
];

function problemsOf(text: string): string[] {
  return tourProblems({ path: "docs/tour.md", text: `## One\n\n${text}` }, FILES).map(({ text }) => text);
}

Deno.test("declares() knows functions, methods and members, and not calls", () => {
  const source = `
function one() {}
class A {
  two(a: { b: number }): void {}
  #three = (): void => {};
  readonly four: Map = new Map();
  five: ((block: Block) => void) | null = null;
  private six<T>(): void {}
}
interface B { seven(a: number): void; eight?(): void }
nine(1);
this.ten(() => {}); a ? eleven(1) : 2; new Twelve(); return thirteen(1);
`;
  const names = "one two #three four five seven eight nine ten eleven Twelve thirteen".split(" ");
  assertEquals(names.filter((name) => declares(source, name)), "one two #three four five seven eight".split(" "));
});

Deno.test("stepsOf() tells steps, detours and asides", () => {
  const text =
    "## A\n\n1. [`a`](../a.ts) and [`b`](../b.ts)\n   - [`c`](../c.ts) [text](../d.ts)\n\n## B\n\n[`d`](../d.ts)\n";
  const { chains, links } = stepsOf({ path: "docs/tour.md", text });
  assertEquals(chains.map((chain) => chain.map(({ name, isDetour }) => ({ name, isDetour }))), [
    [{ name: "a", isDetour: false }, { name: "c", isDetour: true }],
  ]);
  assertEquals(links.map(({ name, file }) => `${name} ${file}`), ["a a.ts", "b b.ts", "c c.ts", "d d.ts"]);
});

Deno.test("tourProblems() finds a missing file, a missing function, and steps that no import joins", () => {
  assertEquals(problemsOf("1. [`a`](../a.ts)\n2. [`#b`](../b.ts)\n3. [`c`](../c.ts)\n"), []);
  assertEquals(problemsOf("1. [`a`](../a.ts)\n2. [`c`](../c.ts)\n"), [], "by the file that exports its names");
  assertEquals(problemsOf("1. [`c`](../c.ts)\n2. [`#b`](../b.ts)\n   - [`d`](../d.ts)\n3. [`a`](../a.ts)\n"), [
    "no import joins b.ts and d.ts",
  ]);
  assertEquals(problemsOf("1. [`b`](../a.ts)\n2. [`e`](../e.ts)\n"), [
    'a.ts has no function "b"',
    "e.ts is no file",
    "no import joins a.ts and e.ts",
  ]);
});

Deno.test("the checkout: every step of docs/tour.md is a function, and an import joins it to the next", () => {
  const tour = { path: "docs/tour.md", text: Deno.readTextFileSync(`${ROOT}/docs/tour.md`) };
  const { chains } = stepsOf(tour);
  assertEquals(chains.length, 2, "both directions");
  for (const chain of chains) assertGreater(chain.length, 20);
  const problems = tourProblems(tour, sources());
  if (problems.length > 0) fail(["", ...problems.map(({ line, text }) => `docs/tour.md:${line}: ${text}`)].join("\n"));
});
