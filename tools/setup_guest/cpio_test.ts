/**
 * The archive as cpio(5) has it, field by field.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { CHAR_DEVICE, cpio, FILE, FOLDER } from "./cpio.ts";

/** Name, mode, device and data of each record. */
function records(archive: Uint8Array): (readonly [string, number, number, number, string])[] {
  const text = new TextDecoder("latin1").decode(archive);
  const found: (readonly [string, number, number, number, string])[] = [];
  for (let at = 0; at < text.length;) {
    assertEquals([text.slice(at, at + 6), at % 4], ["070701", 0]);
    const field = (i: number) => parseInt(text.slice(at + 6 + 8 * i, at + 14 + 8 * i), 16);
    const nameEnd = at + 110 + field(11);
    const dataAt = nameEnd + (-nameEnd & 3);
    const data = text.slice(dataAt, dataAt + field(6));
    found.push([text.slice(at + 110, nameEnd - 1), field(1), field(9), field(10), data]);
    at = dataAt + field(6) + (-field(6) & 3);
  }
  return found;
}

Deno.test("cpio() writes folders, files of any length, and devices", () => {
  const data = (text: string) => new TextEncoder().encode(text);
  const archive = cpio([
    { path: "dev", mode: FOLDER },
    { path: "dev/console", mode: CHAR_DEVICE, device: [5, 1] },
    { path: "a", mode: FILE, data: data("12345") },
    { path: "empty", mode: FILE },
    { path: "four", mode: FILE, data: data("1234") },
  ]);
  assertEquals(records(archive), [
    ["dev", 0o040755, 0, 0, ""],
    ["dev/console", 0o020600, 5, 1, ""],
    ["a", 0o100644, 0, 0, "12345"],
    ["empty", 0o100644, 0, 0, ""],
    ["four", 0o100644, 0, 0, "1234"],
    ["TRAILER!!!", 0, 0, 0, ""],
  ]);
});
