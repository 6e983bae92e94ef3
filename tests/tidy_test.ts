/**
 * Checks of the code style: first that each rule finds its faults, then that the checkout keeps the rules.
 *
 * @module
 */

import { assertEquals, fail } from "@std/assert";
import fc from "fast-check";
import { circleProblems } from "./kit/check/circles.ts";
import { exportProblems } from "./kit/check/exports.ts";
import { cycleProblems, directionProblems, importsOf, type Problem } from "./kit/check/imports.ts";
import { kitProblems } from "./kit/check/kits.ts";
import { parameterProblems } from "./kit/check/params.ts";
import { pathProblems } from "./kit/check/path_lines.ts";
import { missing } from "./kit/check/skip.ts";
import { tidyProblems, untestedProblems } from "./kit/check/tidy.ts";
import { tokenize } from "./kit/check/tokens.ts";
import { wordProblems } from "./kit/check/words.ts";
import { documents, entryPoints, isPure, roomOf, type Source, sources } from "./kit/check/tree.ts";

const HEADER = "/**\n * A file.\n *\n * Path: here → there.\n */\n";

/** `line: text` of each problem of one file. */
function problemsOf(path: string, text: string): string[] {
  return tidyProblems({ path, text }).map((one) => `${one.line}: ${one.text}`);
}

/** As `problemsOf`, for code under a proper header; lines count from the code. */
function codeProblems(path: string, code: string): string[] {
  const offset = HEADER.split("\n").length - 1;
  return tidyProblems({ path, text: HEADER + code }).map((one) => `${one.line - offset}: ${one.text}`);
}

function directions(path: string, text: string): string[] {
  return directionProblems({ path, text }).map((one) => one.text);
}

/** Shows every problem with its file and line, and fails if there is one. */
function assertNone(problems: Problem[]): void {
  if (problems.length > 0) fail(["", ...problems.map(({ path, line, text }) => `${path}:${line}: ${text}`)].join("\n"));
}

// --- tokens ---

Deno.test("tokenize() keeps strings, templates, regular expressions and comments apart from code", () => {
  const text = 'a("b // c", `d ${e ? `f}` : { g: 1 }} h`); // i\nreturn /j"\\/[/]/g / k! / l /* m\n */ 0x1f n++ / o;';
  const tokens = tokenize(text).map(({ kind, text, line }) => `${line} ${kind} ${text}`);
  assertEquals(tokens, [
    ..."1 word a,1 punct (,1 string b // c".split(","),
    "1 punct ,",
    ..."1 template d ,1 punct {,1 word e,1 punct ?,1 template f},1 punct :,1 punct {,1 word g".split(","),
    ..."1 punct :,1 number 1,1 punct },1 punct },1 template  h,1 punct ),1 punct ;,1 comment // i".split(","),
    ...'2 word return,2 regex /j"\\/[/]/g,2 punct /,2 word k,2 punct !,2 punct /,2 word l'.split(","),
    ..."2 comment /* m\n */,3 number 0x1f,3 word n,3 punct ++,3 punct /,3 word o,3 punct ;".split(","),
  ]);
});

Deno.test("tokenize() loses nothing but blanks and quotes of any text, and never throws", () => {
  const pieces = fc.constantFrom("a", " ", "\n", '"', "'", "`", "${", "}", "{", "/", "*", "\\", "!", "1", "#", "é");
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 40 }), (parts) => {
      const text = parts.join("");
      const kept = tokenize(text).map((token) => token.text).join("");
      const letters = (of: string) => of.replace(/[^aé1*]/g, "");
      assertEquals(letters(kept), letters(text.startsWith("#!") ? text.replace(/^.*/, "") : text));
    }),
    { numRuns: 300 },
  );
});

// --- imports ---

Deno.test("importsOf() finds every form of import and distinguishes types from values", () => {
  const text = `
import a from "1";
import type { B } from "2";
import { type C, type D } from "3";
import { type E, f } from "4";
import "5";
import * as g from "6";
export { h } from "7";
export * from "8";
export type { I } from "9";
const j = await import("10");
import type from "11";
export const from = "no"; // import x from "no"
const k = 'import x from "no"', l = import.meta.url;
export function m(): void {}
export default n;
import { type as type, } from "12";
import { type default as o } from "13";
export {};
"no";`;
  const kinds = importsOf(text).map(({ specifier, kind, line }) => `${line - 1} ${specifier} ${kind}`);
  assertEquals(kinds, [
    ..."1 1 value,2 2 type,3 3 type,4 4 value,5 5 value,6 6 value,7 7 value,8 8 value,9 9 type".split(","),
    ..."10 10 dynamic,11 11 value,16 12 value,17 13 type".split(","),
  ]);
});

Deno.test("roomOf() and isPure() know the rooms", () => {
  const rooms: Record<string, string> = {
    "kernel/wire/ipv4.ts": "wire",
    "kernel/inet/segment.ts": "inet",
    "tools/nat/outbound.ts": "nat",
    "tools/uplink/demux.ts": "uplink",
    "kernel/block.ts": "kernel",
    "devices/ip/tcp/input.ts": "devices/ip",
    "devices/root.ts": "devices/root",
    "devices/root_test.ts": "devices/root",
    "devices/host/tun.ts": "devices/host",
    "tools/vmm/vm.ts": "vmm",
    "tools/snoopy.ts": "free",
    "tests/kit/check/skip.ts": "free",
    "mod.ts": "free",
  };
  for (const [path, room] of Object.entries(rooms)) assertEquals(roomOf(path), room);
  const impure = "devices/host/tun.ts tools/vmm/guests/qemu.ts kernel/block_test.ts tools/snoopy.ts mod.ts".split(" ");
  assertEquals(impure.filter(isPure), []);
  assertEquals(isPure("tools/nat/nat.ts") && isPure("devices/ip/conv/conv.ts") && isPure("kernel/wire/arp.ts"), true);
});

Deno.test("directionProblems() lets every room import what DESIGN section 3 lets it", () => {
  assertEquals(directions("kernel/wire/udp.ts", 'import "./checksum.ts";'), []);
  assertEquals(directions("kernel/inet/segment.ts", 'import "../wire/udp.ts"; import "../block.ts";'), []);
  assertEquals(directions("kernel/tap.ts", 'import "./inet/segment.ts";'), []);
  assertEquals(directions("tools/uplink/demux.ts", 'import "../../kernel/inet/segment.ts";'), []);
  assertEquals(directions("tools/vmm/vm.ts", 'import "../nat/nat.ts"; import "../../kernel/proc.ts";'), []);
  assertEquals(directions("kernel/queue.ts", 'import "./wire/udp.ts"; import "./block.ts"; import "@std/bytes";'), []);
  const tcp = 'import "../conv/conv.ts"; import "../../../kernel/block.ts";';
  assertEquals(directions("devices/ip/tcp/input.ts", tcp), []);
  assertEquals(directions("tools/nat/nat.ts", 'import "../../kernel/wire/udp.ts"; import "./table.ts";'), []);
  assertEquals(directions("mod.ts", 'import "./devices/ip/files/dev_ip.ts"; import "./tools/nat/nat.ts";'), []);
  assertEquals(directions("devices/ip/neighbor/arp_test.ts", 'import "@std/assert"; import "fast-check";'), []);
  assertEquals(directions("devices/ip/neighbor/arp_test.ts", 'import "../../../tests/kit/peer.ts";'), []);
  assertEquals(directions("tools/std/bytes.ts", 'import "npm:deno-std@1.4.0/bytes/mod.js";'), []);
  assertEquals(directions("tests/kit/netd/netd.ts", 'import "@std/assert";'), []);
});

Deno.test("directionProblems() catches an import against the direction, types and dynamic imports included", () => {
  const no = (path: string, code: string, what: string) =>
    assertEquals(directions(path, code), [`Room ${roomOf(path)} may not import ${what}`]);
  no("kernel/wire/udp.ts", 'import "../block.ts";', "kernel/block.ts (kernel)");
  no("kernel/wire/udp.ts", 'import "@std/bytes";', '"@std/bytes"');
  no("kernel/wire/udp.ts", 'import "../inet/segment.ts";', "kernel/inet/segment.ts (inet)");
  no("kernel/inet/segment.ts", 'import "../queue.ts";', "kernel/queue.ts (kernel)");
  no("tools/nat/nat.ts", 'import "../vmm/vm.ts";', "tools/vmm/vm.ts (vmm)");
  no("tools/nat/nat.ts", 'import "../../devices/ip/neighbor/arp.ts";', "devices/ip/neighbor/arp.ts (devices/ip)");
  no("tools/uplink/demux.ts", 'import "../nat/nat.ts";', "tools/nat/nat.ts (nat)");
  no("kernel/syscall.ts", 'import type { X } from "../devices/pipe.ts";', "devices/pipe.ts (devices/pipe)");
  no("devices/ether/ether.ts", 'import "../ip/neighbor/arp.ts";', "devices/ip/neighbor/arp.ts (devices/ip)");
  no("devices/ether/ether.ts", 'await import("../host/tun.ts");', "devices/host/tun.ts (devices/host)");
  no("devices/host/tun.ts", 'import "../ether/ether.ts";', "devices/ether/ether.ts (devices/ether)");
  no("devices/pipe.ts", 'import "./root.ts";', "devices/root.ts (devices/root)");
  no(
    "tools/nat/nat.ts",
    'export * from "../../devices/ip/neighbor/arp.ts";',
    "devices/ip/neighbor/arp.ts (devices/ip)",
  );
  no("kernel/block.ts", 'import "../tests/kit/peer.ts";', "tests/kit/peer.ts (free)");
  const upward = directions("devices/ip/route/route.ts", 'import type { A } from "../network/forward.ts";');
  assertEquals(upward, ["Room devices/ip/route may not import devices/ip/network/forward.ts (devices/ip)"]);
  no("kernel/block.ts", 'import "@std/assert";', '"@std/assert"');
  no("kernel/block_test.ts", 'import "../devices/pipe.ts";', "devices/pipe.ts (devices/pipe)");
  no("kernel/block_test.ts", 'import "npm:left-pad";', '"npm:left-pad"');
  no("tools/bench.ts", 'import "node:fs";', '"node:fs"');
  no("tools/bench.ts", 'import fc from "fast-check";', '"fast-check"');
  no("tools/bench.ts", 'import "@std/assert";', '"@std/assert"');
});

Deno.test("cycleProblems() names the cycle of value imports, and lets types go round", () => {
  const a = { path: "kernel/a.ts", text: 'import "./b.ts";' };
  const b = { path: "kernel/b.ts", text: '\nimport { c } from "./c.ts";' };
  const back = { path: "kernel/c.ts", text: '\n\nexport * from "./a.ts";' };
  assertEquals(cycleProblems([a, b, back]), [
    { path: "kernel/c.ts", line: 3, text: "Import cycle: kernel/a.ts → kernel/b.ts → kernel/c.ts → kernel/a.ts" },
  ]);
  assertEquals(cycleProblems([a, b, { path: "kernel/c.ts", text: 'import type { A } from "./a.ts";' }]), []);
  assertEquals(cycleProblems([{ path: "x.ts", text: 'import "./x.ts";' }]).length, 1);
});

// --- one file ---

Deno.test("tidyProblems() finds nothing in a file as it should be", () => {
  const code =
    '// Deno and Date in prose, "setTimeout" in a string\nexport const a = "Deno.exit", b = x.process(1).Date;\n' +
    "interface C {\n  process(segment: Segment): void;\n  console: number;\n}\nclass D {\n  process(): void {}\n}\n";
  assertEquals(codeProblems("kernel/x.ts", code), []);
});

Deno.test("tidyProblems() catches clocks, timers and the runtime in pure rooms only", () => {
  const caught = (code: string) => codeProblems("devices/ip/x.ts", code).map((one) => /"(\w+)"/.exec(one)?.[1]);
  assertEquals(caught("Deno.exit();\nconst a = new Date(), b = globalThis.Deno;"), ["Deno", "Date", "Deno"]);
  assertEquals(caught("setTimeout(f, 1); setInterval(f, 1); queueMicrotask(f);"), ["setTimeout", "setInterval"]);
  assertEquals(caught("performance.now(); process.exit(); console.log(`${Date.now()}`);"), [
    "performance",
    "process",
    "console",
    "Date",
  ]);
  assertEquals(codeProblems("kernel/x.ts", "f();\nDeno.exit();"), [
    '2: Pure code may not name "Deno": use an interface of kernel/host.ts',
  ]);
  for (const path of ["devices/host/x.ts", "tools/x.ts", "kernel/x_test.ts", "tools/vmm/guests/x.ts"]) {
    assertEquals(codeProblems(path, "Deno.exit();"), []);
  }
});

Deno.test("tidyProblems() catches Math.random in pure rooms and in tests", () => {
  const text = "1: Math.random cannot be replayed: use a seeded Random";
  assertEquals(codeProblems("kernel/x.ts", "const a = Math.random();"), [text]);
  assertEquals(codeProblems("kernel/x_test.ts", "const a = Math.random();"), [text]);
  assertEquals(codeProblems("tools/x.ts", "const a = Math.random();"), []);
});

Deno.test("tidyProblems() measures functions, methods and arrows of every shape", () => {
  const body = (lines: number) => "\n  f();".repeat(lines - 2) + "\n";
  const long = (head: string, tail = "}", lines = 61) => codeProblems("tools/x.ts", `${head}${body(lines)}${tail}`);
  const named = (name: string) => [`1: Function ${name} has 61 lines (limit 60)`];
  assertEquals(long("function a(b: string) {"), named("a"));
  assertEquals(long("function a<T>(b: T): Promise<{ c: T } | null> {"), named("a"));
  assertEquals(long("function a(b: unknown): asserts b is { c: 1 } {"), named("a"));
  assertEquals(long("class A { get b(): () => void {", "} }"), named("b"));
  assertEquals(long("const a = async (b: number): Promise<void> => {"), named("=>"));
  assertEquals(long("test(() => {", "});"), named("=>"));
  assertEquals(long("function a() {", "}", 60), []);
  assertEquals(long("if (a) {"), []);
  assertEquals(long("const a = { b: c ? d(e) : f, g: {", "} };"), []);
  assertEquals(long("interface A { b(): void; c: {", "} }"), []);
});

Deno.test("tidyProblems() catches long files, tests too, and long lines, except addresses", () => {
  const text = HEADER + "f();\n".repeat(346);
  assertEquals(problemsOf("tools/x.ts", text), ["351: File has 351 lines (limit 350)"]);
  assertEquals(problemsOf("tools/x_test.ts", text), ["351: File has 351 lines (limit 350)"]);
  assertEquals(codeProblems("tools/x.ts", `//${"x".repeat(119)}\n`), ["1: Line has 121 characters (limit 120)"]);
  assertEquals(codeProblems("tools/x.ts", `// https://a/${"x".repeat(119)}\n`), []);
});

Deno.test("tidyProblems() catches leftovers that name no issue, in comments", () => {
  const word = "TO" + "DO";
  assertEquals(codeProblems("tools/x.ts", `f();\n/* a\n * ${word}: b */`), [
    `3: ${word} names no issue: write "${word}(#N)" or do it`,
  ]);
  assertEquals(codeProblems("tools/x.ts", `// ${word}(#12): a\n// ${word} of issue 3\nconst a = "${word}";`), []);
});

Deno.test("tidyProblems() asks for a header, and for its place on the way in kernel and devices", () => {
  const none = ["1: No header: begin with a /** comment that says what the file is"];
  assertEquals(problemsOf("tools/x.ts", "f();\n"), none);
  assertEquals(problemsOf("tools/x.ts", "// A file.\nf();\n"), none);
  const noPath = ['1: Header without a "Path: caller → this → callee" line'];
  assertEquals(problemsOf("devices/ip/x.ts", "/** A file. */\nf();\n"), noPath);
  assertEquals(problemsOf("tools/x.ts", "#!/usr/bin/env deno\n/** A file. */\nf();\n"), []);
  assertEquals(problemsOf("kernel/x_test.ts", "f();\n"), []);
});

Deno.test("tidyProblems() catches a sanitizer that is switched off", () => {
  assertEquals(codeProblems("tests/x_test.ts", "Deno.test({ sanitizeOps: false });"), [
    '1: "sanitizeOps" stays on: close what the test opened',
  ]);
});

Deno.test("untestedProblems() catches a file with functions that no test knows", () => {
  const file = (path: string, text = "export function a(): void {}"): Source => ({ path, text });
  const lone = [{
    path: "kernel/a.ts",
    line: 1,
    text: "No kernel/a_test.ts, nor a test that imports it, nor one beside a file whose part it is",
  }];
  assertEquals(untestedProblems([file("kernel/a.ts")]), lone);
  assertEquals(untestedProblems([file("kernel/a.ts"), file("kernel/a_test.ts")]), []);
  const importsA = 'import "./a.ts"; export function b(): void {}';
  assertEquals(untestedProblems([file("kernel/a.ts"), file("tests/b_test.ts", 'import "../kernel/a.ts";')]), []);
  assertEquals(untestedProblems([file("kernel/a.ts"), file("kernel/b.ts", importsA), file("kernel/b_test.ts")]), []);
  // A test that imports its user says nothing of a part.
  const far = file("tests/c_test.ts", 'import "../kernel/b.ts";');
  assertEquals(untestedProblems([file("kernel/a.ts"), file("kernel/b.ts", importsA), far]), lone);
  assertEquals(untestedProblems([file("kernel/a.ts", "export interface A { b(): void }"), file("tools/c.ts")]), []);
});

Deno.test("missing() reports why a machine test cannot run", () => {
  // Tests of style run without permission to run programs, which is reported first.
  assertEquals(missing(["tool:ping", "ffi"]), "needs --allow-run, --allow-ffi");
  assertEquals(missing([]), null);
});

// --- the checkout ---

const tree = sources();
const paths = pathProblems(tree);
const exports = exportProblems(tree, entryPoints());

Deno.test("the checkout: imports keep the direction of the rooms", () => assertNone(tree.flatMap(directionProblems)));
Deno.test("the checkout: no cycle of value imports", () => assertNone(cycleProblems(tree)));
Deno.test("the checkout: purity, sizes, headers, leftovers, sanitizers", () => assertNone(tree.flatMap(tidyProblems)));
Deno.test("the checkout: every file with functions has a test", () => assertNone(untestedProblems(tree)));
Deno.test("the checkout: no import circle, types included", () => assertNone(circleProblems(tree)));
Deno.test("the checkout: names in Path lines are files", () => assertNone(paths.names));
Deno.test("the checkout: an import joins neighbours in Path lines", () => assertNone(paths.edges));
Deno.test("the checkout: every export has a use", () => assertNone(exports.unused));
Deno.test("the checkout: functions have another use than tests", () => assertNone(exports.testOnly));
Deno.test("the checkout: no function takes more than four positional parameters", () => {
  assertNone(tree.flatMap(parameterProblems));
});
Deno.test("the checkout: kits are not named as tests", () => assertNone(kitProblems(tree)));
Deno.test("the checkout: plain words in comments, messages and documents", () => {
  assertNone([...tree, ...documents()].flatMap(wordProblems));
});
