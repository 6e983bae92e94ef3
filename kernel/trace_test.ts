/** What a line of a trace shows of each kind of value. */

import { assertEquals } from "@std/assert";
import { Block } from "./block.ts";
import { KernelError } from "./error.ts";
import { Rendez } from "./rendez.ts";
import { traceLine } from "./trace.ts";

const WHO = { now: 12.345678, pid: 4, name: "echo" };

Deno.test("traceLine() shows time, process, call by number and name, arguments and result", () => {
  const block = Block.from(new Uint8Array(46));
  assertEquals(traceLine(WHO, 127, [3, 65536], block), "12.345678 4 echo 127 blockread(3, 65536) = block[46]");
});

Deno.test("traceLine() shows lengths of bytes, the beginning of a long text, and what a call waits for", () => {
  const rows: { value: unknown; shown: string }[] = [
    { value: new Uint8Array(5), shown: "bytes[5]" },
    { value: [Block.from(new Uint8Array(2)), new Uint8Array(3)], shown: "[block[2], bytes[3]]" },
    { value: new Rendez(), shown: "-1 EAGAIN" },
    { value: new KernelError("EBADF", "Bad file descriptor 9"), shown: "-1 EBADF Bad file descriptor 9" },
    { value: 'a "b"\n', shown: '"a \\"b\\"\\n"' },
    { value: "x".repeat(48), shown: `"${"x".repeat(48)}"` },
    { value: "x".repeat(49), shown: `"${"x".repeat(48)}…"` },
    { value: { many: "fields" }, shown: "{…}" },
    { value: undefined, shown: "0" },
    { value: null, shown: "null" },
  ];
  for (const { value, shown } of rows) {
    assertEquals(traceLine(WHO, 103, [9], value), `12.345678 4 echo 103 close(9) = ${shown}`);
  }
});
