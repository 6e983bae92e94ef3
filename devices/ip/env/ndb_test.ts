/** The ndb text. */

import { assertEquals } from "@std/assert";
import { refusalCode } from "../../../tests/kit/host/dev.ts";
import { Ndb, NDB_BYTES_MAX } from "./ndb.ts";

const text = (ndb: Ndb) => new TextDecoder().decode(ndb.bytes);
const bytes = (s: string) => new TextEncoder().encode(s);

Deno.test("Ndb replaces its text by a write at 0 and continues it by one at its end", () => {
  const ndb = new Ndb();
  ndb.write(bytes("ip=10.0.0.1 "), 0, 5);
  ndb.write(bytes("dns=10.0.0.2\n"), 12, 6);
  assertEquals([text(ndb), ndb.version, ndb.mtimeMs], ["ip=10.0.0.1 dns=10.0.0.2\n", 2, 6]);
  ndb.write(bytes("x"), 0, 7);
  assertEquals(text(ndb), "x");
  ndb.truncate();
  assertEquals([text(ndb), ndb.version], ["", 4]);
});

Deno.test("Ndb refuses with EIO what would end beyond 1023 bytes, and holes", () => {
  const ndb = new Ndb();
  ndb.write(new Uint8Array(NDB_BYTES_MAX), 0, 0);
  assertEquals(refusalCode(() => ndb.write(bytes("x"), NDB_BYTES_MAX, 0)), "EIO");
  assertEquals(refusalCode(() => ndb.write(new Uint8Array(NDB_BYTES_MAX + 1), 0, 0)), "EIO");
  ndb.truncate();
  assertEquals(refusalCode(() => ndb.write(bytes("x"), 1, 0)), "EIO");
});

Deno.test("ndb.replace() puts its part at the end, takes it back wherever it is, and leaves others alone", () => {
  const ndb = new Ndb();
  ndb.write(bytes("ip=10.0.0.1\n"), 0, 1);
  assertEquals([ndb.replace("", "\tdns=a\n", 2), text(ndb)], [true, "ip=10.0.0.1\n\tdns=a\n"]);
  assertEquals([ndb.replace("\tdns=a\n", "\tdns=b\n", 3), text(ndb), ndb.mtimeMs], [true, "ip=10.0.0.1\n\tdns=b\n", 3]);
  assertEquals([ndb.replace("\tdns=b\n", "x".repeat(1020), 4), text(ndb)], [false, "ip=10.0.0.1\n\tdns=b\n"]);
  ndb.write(bytes("new\n"), 0, 5);
  assertEquals([ndb.replace("\tdns=b\n", "", 6), text(ndb)], [true, "new\n"]);
});
