/**
 * The form of the documents: the sections of a manual page, widths, links, and references to other pages.
 *
 * A manual page is `docs/NAME.N.md`, N being the section of the manual. This file is the one place that says which
 * sections it has: {@link sectionsOf}.
 *
 * @module
 */

import { dirname, joinPath, linksOf, slugsOf } from "./doc_links.ts";
import type { Problem } from "./imports.ts";
import type { Source } from "./tree.ts";

/** The section that describes the face of a page's subject: command lines (1), calls (2), file trees (3) and (4). */
const INTERFACE: Readonly<Record<string, string>> = { 1: "Options", 2: "Calls", 3: "Files", 4: "Files" };

/** Widest line outside code blocks. */
export const DOC_WIDTH = 120;

/** Pages of other manuals that ours refer to. */
export const OTHER_PAGES: ReadonlySet<string> = new Set([
  ..."netdevice(7) network_namespaces(7) nft(8) nsenter(1) passt(1) pidfd_getfd(2) resolv.conf(5)".split(" "),
  "slirp4netns(1)",
]);

/** The `##` sections of a page of manual section `number`, in order: each is there once, and there is no other. */
export function sectionsOf(number: string): readonly string[] {
  const face = INTERFACE[number] ?? "Files";
  const before = ["Name", "Synopsis", "Description", face];
  return [...before, "Errors", "Limits", "Examples", "Differences", "Bugs", "Source", "See also"];
}

/** `NAME` and `N` of a manual page; null: the document is none. */
export function pageName(path: string): { name: string; number: string } | null {
  const found = /^docs\/(\w+)\.(\d)\.md$/.exec(path);
  return found === null ? null : { name: found[1]!, number: found[2]! };
}

/** The lines of a document with their numbers, without those of code blocks. */
function proseOf(text: string): { text: string; line: number }[] {
  let isCode = false;
  return text.split("\n").map((text, i) => ({ text, line: i + 1 })).filter(({ text }) => {
    const isFence = text.startsWith("```");
    if (isFence) isCode = !isCode;
    return !isCode && !isFence;
  });
}

/** Where a manual page is not of the common form. */
export function sectionProblems({ path, text }: Source): Problem[] {
  const page = pageName(path);
  if (page === null) return [];
  const problems: Problem[] = [];
  const lines = proseOf(text);
  const title = `# ${page.name}(${page.number})`;
  if (lines[0]?.text !== title) problems.push({ path, line: 1, text: `The title is not "${title}"` });
  const wanted = sectionsOf(page.number);
  const found = lines.filter((one) => one.text.startsWith("## "));
  const names = found.map((one) => one.text.slice(3));
  if (names.join() !== wanted.join()) {
    problems.push({ path, line: 1, text: `Its sections are ${names.join(", ")}; they should be ${wanted.join(", ")}` });
  }
  const raw = text.split("\n");
  found.forEach(({ line, text }, i) => {
    const inside = raw.slice(line, (found[i + 1]?.line ?? raw.length + 1) - 1);
    if (inside.every((one) => one.trim() === "")) problems.push({ path, line, text: `"${text}" is empty` });
  });
  return problems;
}

/** Lines that are too wide. Code blocks show what programs print, and images have addresses. */
export function widthProblems({ path, text }: Source): Problem[] {
  return proseOf(text).filter((one) => [...one.text].length > DOC_WIDTH).map(({ text, line }) => ({
    path,
    line,
    text: `Line has ${[...text].length} characters (limit ${DOC_WIDTH}): make a list of a wide table`,
  }));
}

/** Links that lead nowhere, and names of pages that do not exist. */
export function linkProblems(all: readonly Source[], isFile: (path: string) => boolean): Problem[] {
  const documents = new Map(all.map(({ path, text }) => [path, slugsOf(text)]));
  const pages = new Set([...documents.keys()].map(pageName).filter((page) => page !== null).map(refOf));
  return all.flatMap(({ path, text }) => {
    const problems: Problem[] = [];
    for (const { target, line } of linksOf(text)) {
      if (/^\w+:/.test(target)) continue;
      const [file = "", anchor] = target.split("#");
      const to = file === "" ? path : joinPath(dirname(path), file);
      const slugs = documents.get(to);
      if (slugs === undefined && !isFile(to)) problems.push({ path, line, text: `"${target}" is no file` });
      else if (anchor !== undefined && slugs?.has(anchor) !== true) {
        problems.push({ path, line, text: `"${target}" is no section` });
      }
    }
    for (const { text: prose, line } of proseOf(text)) {
      for (const [ref] of prose.matchAll(/\b[a-z][\w.]*\([1-8]\)/g)) {
        if (!pages.has(ref) && !OTHER_PAGES.has(ref)) problems.push({ path, line, text: `${ref} is no page` });
      }
    }
    return problems;
  });
}

function refOf({ name, number }: { name: string; number: string }): string {
  return `${name}(${number})`;
}

/** Names in the section Source of a manual page that are no file and no folder of the checkout. */
export function sourceListProblems({ path, text }: Source, files: readonly string[]): Problem[] {
  if (pageName(path) === null) return [];
  const lines = proseOf(text);
  const start = lines.findIndex((one) => one.text === "## Source");
  const end = lines.findIndex((one, i) => i > start && one.text.startsWith("## "));
  return lines.slice(start, end).flatMap(({ text, line }) => {
    const names = [...text.matchAll(/`([\w./*]+)`/g)].map(([, name]) => name!);
    const gone = names.filter((name) => !files.some((file) => isNamed(file, name)));
    return gone.map((name) => ({ path, line, text: `"${name}" is no file` }));
  });
}

/** Whether `name` is the end of a file's path, a folder that it is in, or, with `*`, a form of its name. */
function isNamed(file: string, name: string): boolean {
  if (name.endsWith("/")) return `/${file}`.includes(`/${name}`);
  const form = name.replaceAll(".", "\\.").replaceAll("*", "[^/]*");
  return new RegExp(`(^|/)${form}$`).test(file);
}
