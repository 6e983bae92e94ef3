/**
 * Links of documents, and what they lead to: files of the checkout and sections of documents.
 *
 * @module
 */

/** One link. */
export interface DocLink {
  /** What stands in the square brackets. */
  readonly label: string;
  /** What stands in the round ones. */
  readonly target: string;
  /** Its line, from 1. */
  readonly line: number;
}

/** The links of a document, in their order; code blocks have none. */
export function linksOf(text: string): DocLink[] {
  const blank = text.replaceAll(/^```[^]*?^```/gm, (block) => block.replaceAll(/[^\n]/g, ""));
  return [...blank.matchAll(/\[([^\]]+)\]\(([^)\s]+)\)/g)].map(({ 1: label, 2: target, index }) => ({
    label: label!,
    target: target!,
    line: blank.slice(0, index).split("\n").length,
  }));
}

/** The anchors of a document's headings, as GitHub makes them. */
export function slugsOf(text: string): Set<string> {
  const headings = [...text.matchAll(/^#{1,6} (.*)$/gm)].map(([, heading]) => heading!);
  return new Set(headings.map((heading) => heading.toLowerCase().replaceAll(/[^\w\- ]/g, "").replaceAll(" ", "-")));
}

/** The folder of a path; empty: the top. */
export function dirname(path: string): string {
  return path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "";
}

/** A relative path, seen from a folder. */
export function joinPath(folder: string, path: string): string {
  return new URL(path, `file:///${folder === "" ? "" : `${folder}/`}`).pathname.slice(1);
}
