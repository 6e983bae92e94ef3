import { assertEquals, assertInstanceOf } from "@std/assert";
import { Errno, type ErrnoName, errnoName, ERROR_TEXT_MAX, KernelError, SystemError } from "./error.ts";

Deno.test("KernelError carries number, name and text", () => {
  const error = new KernelError("EBUSY", "Cannot bind: the port is in use");
  assertInstanceOf(error, Error);
  assertEquals([error.errno, error.code, error.message], [16, "EBUSY", "Cannot bind: the port is in use"]);
  assertEquals([error.name, error.length], ["KernelError", undefined]);
});

Deno.test("KernelError cuts its text at Akaros' limit", () => {
  assertEquals(new KernelError("EFAIL", "x".repeat(1000)).message, "x".repeat(ERROR_TEXT_MAX));
});

Deno.test("KernelError has the true length of a block that was too long", () => {
  assertEquals(new KernelError("EMSGSIZE", "Too long", { length: 1500 }).length, 1500);
});

Deno.test("every error number has one name, and Akaros' own begin at 132", () => {
  const names = Object.keys(Errno) as ErrnoName[];
  for (const name of names) assertEquals(errnoName(Errno[name]), name);
  assertEquals([Errno.EAGAIN, Errno.EINVAL, Errno.EMSGSIZE, Errno.EINPROGRESS, Errno.EFAIL], [11, 22, 90, 115, 132]);
  assertEquals(errnoName(999), "E999");
});

Deno.test("a KernelError is a SystemError, and its code is the name that it was made with", () => {
  for (const code of Object.keys(Errno) as ErrnoName[]) {
    const error: SystemError = new KernelError(code, "Cannot do it");
    assertInstanceOf(error, SystemError);
    assertEquals({ code: error.code, errno: error.errno }, { code, errno: Errno[code] });
  }
});
