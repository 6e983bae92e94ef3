import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../tests/kit/check/fuzz.ts";
import {
  CTL_BYTES_MAX,
  ctlText,
  type CtlVerb,
  parseBigNumber,
  parseNumber,
  parseSwitch,
  runCtl,
  splitWords,
} from "./ctl.ts";
import { KernelError } from "./error.ts";

const encoder = new TextEncoder();

/** Records what was run. */
class Target {
  runs: string[][] = [];
}

const TABLE: readonly CtlVerb<Target>[] = [
  { name: "hangup", usage: "hangup", minArgs: 0, maxArgs: 0, run: (t) => t.runs.push(["hangup"]) },
  {
    name: "connect",
    usage: "connect addr!port [local]",
    minArgs: 1,
    maxArgs: 2,
    run: (t, args) => t.runs.push(["connect", ...args]),
  },
];

function run(text: string): string[][] {
  const target = new Target();
  runCtl(TABLE, target, encoder.encode(text));
  return target.runs;
}

function refusal(fn: () => unknown): string {
  const error = assertThrows(fn, KernelError);
  return `${error.code}: ${error.message}`;
}

Deno.test("runCtl() finds the verb and hands over its arguments", () => {
  assertEquals(run("hangup"), [["hangup"]]);
  assertEquals(run("connect 10.0.0.1!7"), [["connect", "10.0.0.1!7"]]);
  assertEquals(run("  connect\t10.0.0.1!7   5000 \n"), [["connect", "10.0.0.1!7", "5000"]]);
});

Deno.test("runCtl() takes a command that ends with a newline, NULs, or both", () => {
  for (const text of ["hangup\n", "hangup\0", "hangup\n\0\0", "hangup\r\n", "\nhangup\n\n"]) {
    assertEquals(run(text), [["hangup"]]);
  }
});

Deno.test("runCtl() refuses an empty command with EFAIL", () => {
  for (const text of ["", " ", "\n", "\0", " \t\n\0"]) {
    assertEquals(refusal(() => run(text)), "EFAIL: Cannot run an empty command");
  }
});

Deno.test("runCtl() refuses an unknown verb by its name, with EINVAL or what the device wants", () => {
  assertEquals(refusal(() => run("fly 3")), 'EINVAL: Cannot run "fly": no such command');
  assertEquals(refusal(() => run("''")), 'EINVAL: Cannot run "": no such command');
  assertEquals(refusal(() => run("Hangup")), 'EINVAL: Cannot run "Hangup": no such command');
  const other = () => runCtl(TABLE, new Target(), encoder.encode("fly"), { unknown: "EFAIL" });
  assertEquals(refusal(other), 'EFAIL: Cannot run "fly": no such command');
});

Deno.test("runCtl() refuses a wrong number of arguments with the usage", () => {
  assertEquals(
    refusal(() => run("connect")),
    'EINVAL: Cannot run "connect" with 0 arguments: usage: connect addr!port [local]',
  );
  assertEquals(refusal(() => run("hangup now")), 'EINVAL: Cannot run "hangup" with 1 argument: usage: hangup');
  assertEquals(refusal(() => run("connect 1 2 3")).slice(0, 6), "EINVAL");
});

Deno.test("runCtl() refuses a second line and runs none of the two", () => {
  const target = new Target();
  const text = refusal(() => runCtl(TABLE, target, encoder.encode("hangup\nhangup\n")));
  assertEquals(text, "EINVAL: Cannot run several lines: write one command at a time");
  assertEquals(target.runs, []);
});

Deno.test("runCtl() repeats only the start of a long word, without control characters", () => {
  const text = refusal(() => run("\x1b[2J" + "x".repeat(1000)));
  assert(text.length < 100, text);
  assert(text.startsWith('EINVAL: Cannot run "\\u001b[2Jxxx'), text);
});

Deno.test("ctlText() refuses what is too long, not UTF-8, or has a NUL inside", () => {
  assertEquals(refusal(() => ctlText(new Uint8Array(CTL_BYTES_MAX + 1))).slice(0, 5), "E2BIG");
  assertEquals(ctlText(new Uint8Array(CTL_BYTES_MAX)), "");
  assertEquals(refusal(() => ctlText(Uint8Array.of(0xff))), "EINVAL: Cannot take a text that is not UTF-8");
  assertEquals(refusal(() => ctlText(encoder.encode("a\0b"))), "EINVAL: Cannot take a text with a NUL inside");
  assertEquals(ctlText(encoder.encode("\ufeffa\0")), "\ufeffa");
});

Deno.test("splitWords() knows quotes, doubled quotes, quotes inside words, and empty words", () => {
  assertEquals(splitWords("a 'b c' d"), ["a", "b c", "d"]);
  assertEquals(splitWords("'it''s'"), ["it's"]);
  assertEquals(splitWords("a'b c'd"), ["ab cd"]);
  assertEquals(splitWords("'' x ''"), ["", "x", ""]);
  assertEquals(splitWords("''''"), ["'"]);
  assertEquals(splitWords("'two\nlines'"), ["two\nlines"]);
});

Deno.test("splitWords() refuses a quote that is not closed", () => {
  for (const text of ["'", "a 'b", "'it''s", "a'"]) {
    assertEquals(refusal(() => splitWords(text)).slice(0, 19), "EINVAL: Cannot read");
  }
});

Deno.test("parseNumber() reads C notation inside its bounds", () => {
  assertEquals(parseNumber("0"), 0);
  assertEquals(parseNumber("1500"), 1500);
  assertEquals(parseNumber("0x800"), 2048);
  assertEquals(parseNumber("0XfF"), 255);
  assertEquals(parseNumber("010"), 8);
  assertEquals(parseNumber("+7"), 7);
  assertEquals(parseNumber("-0"), 0);
  assertEquals(parseNumber("-1", { min: -1 }), -1);
  assertEquals(parseNumber("4294967295"), 0xffff_ffff);
  assertEquals(parseNumber("9007199254740991", { max: Number.MAX_SAFE_INTEGER }), Number.MAX_SAFE_INTEGER);
});

Deno.test("parseNumber() refuses non-numbers and numbers out of bounds, and names the word", () => {
  for (const word of ["", "x", "1x", "08", "0x", "1.5", "1e3", "--1", " 1", "0b1", "١"]) {
    assertEquals(refusal(() => parseNumber(word)), `EINVAL: Cannot read ${JSON.stringify(word)}: not a number`);
  }
  assertEquals(refusal(() => parseNumber("65536", { max: 65535 })), 'EINVAL: Cannot use "65536": not in 0 … 65535');
  assertEquals(refusal(() => parseNumber("-1")), 'EINVAL: Cannot use "-1": not in 0 … 4294967295');
  // One more than the greatest safe integer must not be rounded into the bounds.
  const beyond = () => parseNumber("9007199254740992", { max: Number.MAX_SAFE_INTEGER });
  assertEquals(refusal(beyond).slice(0, 18), "EINVAL: Cannot use");
});

Deno.test("parseBigNumber() keeps all 64 bits", () => {
  const max = 2n ** 64n - 2n;
  assertEquals(parseBigNumber("18446744073709551614", { max }), max);
  assertEquals(parseBigNumber("0xfffffffffffffffe", { max }), max);
  assertEquals(refusal(() => parseBigNumber("0xffffffffffffffff", { max })).slice(0, 6), "EINVAL");
});

Deno.test("parseSwitch() knows on, off, 1 and 0 only", () => {
  assertEquals(["on", "1", "off", "0"].map(parseSwitch), [true, true, false, false]);
  assertEquals(refusal(() => parseSwitch("yes")), 'EINVAL: Cannot use "yes": not on, off, 1 or 0');
});

const anyWord = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom("'", " ", "\n", "a", "\t", "é", "💡") }));

/** `word` as {@link splitWords} reads it back: in quotes if it needs them. */
function quoteWord(word: string): string {
  const plain = word !== "" && !word.includes("'") && ![...word].some((char) => " \t\r\v\f\n".includes(char));
  return plain ? word : `'${word.replaceAll("'", "''")}'`;
}

Deno.test("property: splitWords() reads back what quoteWord() wrote", () => {
  fc.assert(
    fc.property(fc.array(anyWord, { maxLength: 8 }), (words) => {
      assertEquals(splitWords(words.map(quoteWord).join(" ") + "\n"), words);
    }),
    fuzz(500),
  );
});

Deno.test("property: numbers are read back in all three notations", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n }), (value) => {
      for (const text of [value.toString(), `0x${value.toString(16)}`, `0${value.toString(8)}`]) {
        assertEquals(parseBigNumber(text, { max: 2n ** 64n }), value);
      }
    }),
    fuzz(200),
  );
});

Deno.test("property: random bytes into runCtl() throw nothing but KernelError", () => {
  const anyText = fc.string({ unit: fc.constantFrom("hangup", "connect", "'", " ", "\n", "\0", "1", "0x", "-") });
  const anyBytes = fc.oneof(fc.uint8Array({ maxLength: 64 }), anyText.map((text) => encoder.encode(text)));
  fc.assert(
    fc.property(anyBytes, (bytes) => {
      const target = new Target();
      try {
        runCtl(TABLE, target, bytes);
        assertEquals(target.runs.length, 1);
      } catch (error) {
        if (!(error instanceof KernelError)) throw error;
        assertEquals(target.runs.length, 0);
      }
    }),
    fuzz(1000),
  );
});
