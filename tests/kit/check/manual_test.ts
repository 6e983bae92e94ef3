/** The form of the documents: that each rule can fail, and that the checkout keeps them. */

import { assertEquals, fail } from "@std/assert";
import type { Problem } from "./imports.ts";
import { linkProblems, OTHER_PAGES, sectionProblems, sectionsOf, sourceListProblems, widthProblems } from "./manual.ts";
import { documents, ROOT, typescriptFiles } from "./tree.ts";
import { wordProblems } from "./words.ts";

/** A page of manual section 3 with these `##` sections. */
function page(sections: readonly string[], body = "Text."): string {
  return `# a(3)\n\n${sections.map((name) => `## ${name}\n\n${body}\n`).join("\n")}`;
}

function texts(problems: readonly Problem[]): string[] {
  return problems.map(({ line, text }) => `${line}: ${text}`);
}

function assertNone(problems: readonly Problem[]): void {
  if (problems.length > 0) fail(["", ...problems.map(({ path, line, text }) => `${path}:${line}: ${text}`)].join("\n"));
}

Deno.test("sectionsOf() differs by the manual's section in the one that describes the interface", () => {
  assertEquals(["1", "2", "3", "4"].map((number) => sectionsOf(number)[3]), ["Options", "Calls", "Files", "Files"]);
  assertEquals(sectionsOf("1").length, 11);
});

Deno.test("sectionProblems() finds a section that is missing, twice there, out of order, unknown or empty", () => {
  const all = sectionsOf("3");
  const of = (sections: readonly string[], body?: string) =>
    sectionProblems({ path: "docs/a.3.md", text: page(sections, body) }).length;
  assertEquals(of(all), 0);
  assertEquals(of(all, "```\n## in code\n```"), 0);
  assertEquals(of(all.slice(1)), 1);
  assertEquals(of([...all, "See also"]), 1);
  assertEquals(of([...all].reverse()), 1);
  assertEquals(of([...all, "Authors"]), 1);
  assertEquals(of(all, ""), all.length);
  assertEquals(sectionProblems({ path: "docs/a.md", text: page([]) }), []);
  assertEquals(texts(sectionProblems({ path: "docs/b.3.md", text: page(all) })), ['1: The title is not "# b(3)"']);
});

Deno.test("widthProblems() counts characters of lines outside code blocks", () => {
  const text = `${"é".repeat(120)}\n${"x".repeat(121)}\n\`\`\`\n${"y".repeat(200)}\n\`\`\`\n`;
  assertEquals(texts(widthProblems({ path: "docs/a.md", text })), [
    "2: Line has 121 characters (limit 120): make a list of a wide table",
  ]);
});

Deno.test("linkProblems() follows files, sections and references to pages", () => {
  const a = {
    path: "docs/a.3.md",
    text:
      "# a(3)\n\n## See also\n\n[b](b.md#the-files), [c](../kernel/c.ts), [up](#see-also), [w](https://x.example/)\n" +
      "[d](d.md) [e](b.md#gone) a(3) dial(2) passt(1) f(x)\n",
  };
  const b = { path: "docs/b.md", text: "# B\n\n## The `files`\n" };
  assertEquals(texts(linkProblems([a, b], (path) => path === "kernel/c.ts")), [
    '6: "d.md" is no file',
    '6: "b.md#gone" is no section',
    "6: dial(2) is no page",
  ]);
});

Deno.test("sourceListProblems() finds files and folders that are gone", () => {
  const names = "`kernel/a.ts`, `b.ts`, `kernel/`, `c*.ts`; `gone.ts`, `devices/`, `d*.ts`.";
  const text = `# a(3)\n\n## Source\n\n${names}\n\n## See also\n`;
  const files = ["kernel/a.ts", "kernel/x/b.ts", "kernel/cable.ts", "kernel/abandon.ts"];
  assertEquals(texts(sourceListProblems({ path: "docs/a.3.md", text }, files)), [
    '5: "gone.ts" is no file',
    '5: "devices/" is no file',
    '5: "d*.ts" is no file',
  ]);
});

const all = documents();

function isFile(path: string): boolean {
  try {
    return Deno.statSync(`${ROOT}/${path}`).isFile;
  } catch {
    return false;
  }
}

Deno.test("the checkout: every manual page has the same sections in the same order", () => {
  assertNone(all.flatMap(sectionProblems));
});
Deno.test("the checkout: no line of a document is too wide", () => assertNone(all.flatMap(widthProblems)));
Deno.test("the checkout: every link of a document leads somewhere, and every page that is named exists", () => {
  assertNone(linkProblems(all, isFile));
  const text = all.map((one) => one.text).join("\n");
  assertEquals([...OTHER_PAGES].filter((ref) => !text.includes(ref)), []);
});
Deno.test("the checkout: the section Source of a manual page lists files that exist", () => {
  const files = typescriptFiles();
  assertNone(all.flatMap((page) => sourceListProblems(page, files)));
});
Deno.test("the checkout: no document has a word of the dialect", () => assertNone(all.flatMap(wordProblems)));
