/** The parser of options and the help text come from one table: what they take, refuse and say. */

import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { Given, UsageError } from "./given.ts";
import { helpText, rowsOf, type ToolTable, versionText } from "./option_table.ts";

const TOOL: ToolTable = {
  name: "demo",
  command: "deno task demo",
  synopsis: "[options]",
  about: "Does nothing.",
  groups: [
    [
      { name: "quiet", short: "q", help: "print nothing" },
      { name: "no-offload", help: "compute all" },
      { name: "ipv6", short: "6", aliases: ["enable-ipv6"], help: "also IPv6" },
    ],
    [
      { name: "port", short: "p", value: "N", usual: "7", help: "port to serve" },
      { name: "name", value: "NAME", help: "its name ".repeat(30).trim(), under: true },
      { name: "rule", value: "RULE", repeatable: true, help: "repeatable" },
    ],
  ],
};
const given = (...args: string[]) => new Given(TOOL, args);

Deno.test("a flag with a value is true or false by that value, by every name that it has", () => {
  for (const word of ["true", "yes", "on", "1", "YES"]) {
    assertEquals(given(`--quiet=${word}`).flag("quiet"), true, word);
  }
  for (const word of ["false", "no", "off", "0", "No"]) {
    for (const flag of ["--quiet", "-q"]) assertEquals(given(`${flag}=${word}`).flag("quiet"), false, word);
    for (const flag of ["--ipv6", "-6", "--enable-ipv6"]) {
      assertEquals(given(`${flag}=${word}`).flag("ipv6"), false, `${flag}=${word}`);
      assertEquals(given(`${flag}=${word}`).has("ipv6"), false, `${flag}=${word}`);
    }
  }
  for (const word of ["", "maybe", "2", "nope", "tru"]) {
    const error = assertThrows(() => given(`--quiet=${word}`), UsageError);
    assertEquals(error.message, `Bad value "${word}" for --quiet: true or false`);
  }
  assertThrows(() => given("--help=what"), UsageError, 'Bad value "what" for --help');
  assertEquals([given("--quiet").flag("quiet"), given().flag("quiet")], [true, false]);
  assertEquals(given("--quiet", "--quiet=no").flag("quiet"), false, "the last one counts");
  assertEquals(["quiet", "ipv6"].map((name) => given("-q6").flag(name)), [true, true]);
  assertEquals(given("--no-offload").flag("no-offload"), true);
  assertEquals(given("--no-offload=false").flag("no-offload"), false, "its name begins like a negation");
  assertThrows(() => given("--flag:quiet"), UsageError, 'Unknown option "--flag:quiet"');
  assertThrows(() => given("--quiet", "no"), UsageError, 'Unexpected argument "no"');
});

Deno.test("values have their defaults; what is missing, unknown or unexpected is named", () => {
  const some = given("-p", "80", "--rule", "a", "--rule", "b=no", "--name=x=y");
  assertEquals([some.text("port"), some.list("rule"), some.text("name")], ["80", ["a", "b=no"], "x=y"]);
  assertEquals([given().text("port"), given().text("name"), given().list("rule")], ["7", null, []]);
  assertEquals([given().has("port"), some.has("port"), some.has("rule"), given().has("rule")], [
    false,
    true,
    true,
    false,
  ]);
  assertThrows(() => given("--name").text("name"), UsageError, "No value after --name");
  assertThrows(() => given("--rule=").list("rule"), UsageError, "No value after --rule");
  assertThrows(() => given("--port", "x").number("port", 1, 9), UsageError, 'Bad value "x" for --port: a whole number');
  assertThrows(() => given("--port", "0x1").fraction("port", 9), UsageError, "a number of 0 to 9");
  assertThrows(() => given("--name", "c").choice("name", ["a", "b"]), UsageError, "one of a, b");
  assertThrows(() => given("--nmae", "c"), UsageError, 'Unknown option "--nmae"');
  for (const args of [["stray"], ["--", "stray"]]) {
    assertThrows(() => given(...args), UsageError, 'Unexpected argument "stray"');
  }
  assertEquals(new Given({ ...TOOL, takesWords: true }, ["a", "--quiet", "b"]).words, ["a", "b"]);
});

Deno.test("the help text has every option that the parser takes, with its default, in lines of 120", () => {
  const text = helpText(TOOL);
  for (const { name } of rowsOf(TOOL)) assertStringIncludes(text, `--${name}`);
  assertStringIncludes(text, "-p, --port N");
  assertStringIncludes(text, "port to serve (default 7)");
  for (const line of text.split("\n")) assert(line.length <= 120, line);
  assertEquals(given("--help").information, text.trimEnd());
  assertEquals(given("-h").information, text.trimEnd());
  assertEquals(given("--version").information, versionText(TOOL));
  assertMatch(versionText(TOOL), /^demo \(akarino\) \d+\.\d+\.\d+$/);
  assertEquals(given("--quiet").information, null);
});
