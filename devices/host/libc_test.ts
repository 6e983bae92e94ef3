import { assert, assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import { Errno, errnoName, SystemError } from "../../kernel/error.ts";
import { machineTest } from "../../tests/kit/check/skip.ts";
import { addressOf, call, cString, EINVAL, ENOENT, holdLibc, HostError, lastErrno, releaseLibc } from "./libc.ts";

machineTest("call() throws what was attempted, Linux' words, the error's name, and a hint", ["ffi"], () => {
  const { open } = holdLibc();
  const path = cString("/no/such/file");
  const attempt = "Cannot open /no/such/file";
  const error = assertThrows(() => call(attempt, open(path, 0, 0), { [ENOENT]: "make it" }), HostError);
  assertEquals(error.message, "Cannot open /no/such/file: no such file or directory (ENOENT): make it");
  assertEquals([error.errno, error.code, error.name], [ENOENT, "ENOENT", "HostError"]);
  assertEquals(call("Cannot happen", 7), 7);
  releaseLibc();
});

machineTest("lastErrno() is the error of the last call, a million times", ["ffi"], () => {
  const { close } = holdLibc();
  let garbage: unknown[] = [];
  for (let i = 0; i < 1_000_000; i++) {
    if (close(-1) < 0 && lastErrno() !== 9) throw new Error(`errno ${lastErrno()} after ${i} calls`);
    // Work for the garbage collector, whose own calls into the C library change errno.
    garbage.push({});
    if (garbage.length === 10_000) garbage = [];
  }
  releaseLibc();
});

machineTest("addressOf() is where C finds the bytes, also of a short array", ["ffi"], () => {
  const { open, close, readv, writev } = holdLibc();
  const parts = [new Uint8Array([1, 2, 3]), new Uint8Array(3000).fill(4), new Uint8Array(0)];
  const iov = new BigUint64Array(parts.flatMap((part) => [addressOf(part), BigInt(part.length)]));
  const fd = call("Cannot open", open(cString("/dev/null"), 1, 0));
  assertEquals(writev(fd, new Uint8Array(iov.buffer), 3), 3003);
  close(fd);
  const zero = call("Cannot open", open(cString("/dev/zero"), 0, 0));
  assertEquals(readv(zero, new Uint8Array(iov.buffer), 3), 3003);
  close(zero);
  releaseLibc();
  assert(parts.every((part) => part.every((byte) => byte === 0)));
});

Deno.test("cString() refuses a text with a NUL, which C would cut there", () => {
  assertEquals(cString("ab"), new Uint8Array([97, 98, 0]));
  assertEquals(assertThrows(() => cString("a\0b"), HostError).errno, EINVAL);
});

Deno.test("HostError names numbers it has no words for", () => {
  assertEquals(new HostError("Cannot do it", 131).message, "Cannot do it: unknown error (E131)");
});

Deno.test("HostError and the kernel have one name for each of Linux' numbers", () => {
  const numbers = Object.values(Errno).filter((errno) => errno < 132);
  const names = numbers.map((errno) => [errno, new HostError("Cannot try", errno).code]);
  assertEquals(names, numbers.map((errno) => [errno, errnoName(errno)]));
});

Deno.test("HostError has the base that KernelError has", () => {
  assertInstanceOf(new HostError("Cannot open it", ENOENT), SystemError);
});
