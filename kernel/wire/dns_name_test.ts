import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { assertSafe, hex } from "../../tests/kit/ip/wire.ts";
import { encodeDnsName, encodeDnsNames, parseDnsName, sameDnsName } from "./dns_name.ts";

/** A name, one that points into it, and one that is only a pointer. */
const NAMES = hex(`
  03 77 77 77 07 65 78 61 6d 70 6c 65 03 63 6f 6d 00  # www.example.com
  03 66 74 70 c0 04                                   # ftp and a pointer to example.com
  c0 11                                               # a pointer to the second
`);

Deno.test("parseDnsName() follows pointers and reports where the bytes behind the name start", () => {
  assertEquals(parseDnsName(NAMES, 0, NAMES.length, 0), { name: "www.example.com", next: 17 });
  assertEquals(parseDnsName(NAMES, 17, NAMES.length, 0), { name: "ftp.example.com", next: 23 });
  assertEquals(parseDnsName(NAMES, 23, NAMES.length, 0), { name: "ftp.example.com", next: 25 });
  assertEquals(parseDnsName(hex("00"), 0, 1, 0), { name: ".", next: 1 });
});

Deno.test("parseDnsName() counts pointers from the start of the message", () => {
  const shifted = new Uint8Array([9, 9, 9, ...NAMES]);
  assertEquals(parseDnsName(shifted, 3 + 23, shifted.length, 3), { name: "ftp.example.com", next: 28 });
});

Deno.test("parseDnsName() refuses pointers that go in a circle, forwards, or out", () => {
  const broken = [["to itself", "c0 00"], ["forwards", "c0 02 00"], ["half", "c0"], ["through a label", "01 61 c0 00"]];
  for (const [what, text] of broken) {
    const bytes = hex(text!);
    assertEquals(parseDnsName(bytes, 0, bytes.length, 0), null, what);
  }
  assertEquals(parseDnsName(hex("c0 02 c0 00"), 2, 4, 0), null, "two in a circle");
});

Deno.test("parseDnsName() refuses more than 127 pointers, however short the way", () => {
  const chain = (pointers: number) => {
    const bytes = new Uint8Array(1 + 2 * pointers);
    for (let i = 1; i < pointers; i++) bytes.set([0xc0 | (2 * i - 1) >> 8, 2 * i - 1], 1 + 2 * i);
    bytes.set([0xc0, 0], 1);
    return parseDnsName(bytes, bytes.length - 2, bytes.length, 0);
  };
  assertEquals(chain(120)?.name, ".");
  assertEquals(chain(128), null);
});

Deno.test("parseDnsName() refuses long names, reserved label types and names that do not end", () => {
  const long = new Uint8Array(300).fill(1);
  assertEquals(parseDnsName(long, 0, 300, 0), null, "300 bytes");
  assertEquals(parseDnsName(new Uint8Array([0x40, ...long]), 0, 100, 0), null, "label type 01");
  assertEquals(parseDnsName(hex("03 77 77 77"), 0, 4, 0), null, "no end");
  assertEquals(parseDnsName(hex("03 77 77"), 0, 3, 0), null, "half a label");
  assertEquals(parseDnsName(hex(""), 0, 0, 0), null, "nothing");
});

Deno.test("a label's dots, backslashes and odd bytes are escaped in text (RFC 1035 5.1)", () => {
  const bytes = hex("05 61 2e 5c 20 ff 00");
  assertEquals(parseDnsName(bytes, 0, bytes.length, 0)?.name, "a\\.\\\\\\032\\255");
  assertEquals(encodeDnsName("a\\.\\\\\\032\\255"), bytes);
});

Deno.test("encodeDnsName() takes a dot at the end and refuses an invalid name", () => {
  assertEquals(encodeDnsName("example.com."), encodeDnsName("example.com"));
  assertEquals(encodeDnsName("."), new Uint8Array(1));
  const label = "a".repeat(63);
  assertEquals(encodeDnsName(`${label}.${label}.${label}.${"a".repeat(61)}`)?.length, 255);
  const wrong = ["", "..", ".a", "a..b", `${label}a`, `${label}.${label}.${label}.${"a".repeat(62)}`, "é", "a\\"];
  wrong.push("a\\25", "\\256", "x".repeat(2000));
  for (const name of wrong) assertEquals(encodeDnsName(name), null, name);
});

Deno.test("sameDnsName() does not see the case of letters (RFC 4343)", () => {
  assert(sameDnsName("Example.COM", "eXample.com"));
  assert(!sameDnsName("example.com", "example.org"));
});

Deno.test("names are read back as they were encoded, whatever bytes their labels hold", () => {
  const labels = fc.array(fc.uint8Array({ minLength: 1, maxLength: 63 }), { maxLength: 6 });
  fc.assert(
    fc.property(labels, (parts) => {
      const bytes = new Uint8Array([...parts.flatMap((label) => [label.length, ...label]), 0]);
      const parsed = parseDnsName(bytes, 0, bytes.length, 0);
      assertEquals(parsed === null, bytes.length > 255);
      if (parsed !== null) assertEquals(encodeDnsName(parsed.name), bytes);
    }),
    fuzz(200),
  );
});

Deno.test("encodeDnsName() of any text is null or a name that is read back to the same bytes", () => {
  const texts = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom("a", ".", "\\", "0", "25", "-") }));
  fc.assert(
    fc.property(texts, (text) => {
      const bytes = encodeDnsName(text);
      if (bytes === null) return;
      const parsed = parseDnsName(bytes, 0, bytes.length, 0)!;
      assertEquals(parsed.next, bytes.length);
      assertEquals(encodeDnsName(parsed.name), bytes);
    }),
    fuzz(300),
  );
});

Deno.test("parseDnsName() survives any bytes", () => {
  for (const skip of [0, 17, 23]) {
    assertSafe((buf, at, end) => {
      const name = parseDnsName(buf, Math.min(at + skip, end), end, at);
      assert(name === null || name.next <= end);
      return name;
    }, [NAMES]);
  }
});

Deno.test("encodeDnsNames() compresses tails that stood before, whatever their case, and reads back the same", () => {
  const names = ["a.example.org", "example.org", "b.EXAMPLE.org", "example.net", "org", "."];
  const bytes = encodeDnsNames(names)!;
  const read: string[] = [];
  for (let at = 0; at < bytes.length;) {
    const one = parseDnsName(bytes, at, bytes.length, 0)!;
    read.push(one.name);
    at = one.next;
  }
  assertEquals(read, ["a.example.org", "example.org", "b.example.org", "example.net", "org", "."]);
  assertEquals(bytes.length, 15 + 2 + 4 + 13 + 2 + 1);
  assertEquals([encodeDnsNames([]), encodeDnsNames(["ok", "a..b"])], [new Uint8Array(0), null]);
});

Deno.test("encodeDnsNames() makes no pointer that leads further than 14 bits can", () => {
  const names = Array.from({ length: 400 }, (_, i) => `${`${i}`.padStart(60, "x")}.tail`);
  const bytes = encodeDnsNames([...names, names[399]!])!;
  let at = 0;
  for (const name of [...names, names[399]!]) {
    const one = parseDnsName(bytes, at, bytes.length, 0)!;
    assertEquals(one.name, name);
    at = one.next;
  }
});
