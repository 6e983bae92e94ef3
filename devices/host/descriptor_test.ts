/** Descriptors of a parent and our own, told apart. */

import { assertEquals, assertThrows } from "@std/assert";
import { machineTest } from "../../tests/kit/check/skip.ts";
import { describeDescriptor } from "./descriptor.ts";
import { cString, HostError, libc, withLibc } from "./libc.ts";

const CLOEXEC = 0x8_0000;
const O_WRONLY = 1;
const AF_UNIX = 1;
const SOCK_STREAM = 1;

machineTest("A descriptor is known by its kind, its access, and whether it survives execve(2)", ["ffi"], () => {
  withLibc(() => {
    const { open, eventfd, socket, close } = libc();
    const rows = [
      [open(cString("/dev/null"), O_WRONLY, 0), { kind: "character device", isInherited: true, canWrite: true }],
      [open(cString("/dev/null"), CLOEXEC, 0), { kind: "character device", isInherited: false, canWrite: false }],
      [open(cString("/"), 0, 0), { kind: "directory", isInherited: true, canWrite: false }],
      [eventfd(0, CLOEXEC), { kind: "anonymous", isInherited: false, canWrite: true }],
      [socket(AF_UNIX, SOCK_STREAM, 0), { kind: "socket", isInherited: true, canWrite: true }],
    ] as const;
    for (const [fd, wanted] of rows) {
      assertEquals({ ...describeDescriptor(fd, "Cannot look") }, wanted);
      close(fd);
    }
    assertThrows(() => describeDescriptor(rows[0][0], "Cannot look at it"), HostError, "Cannot look at it: bad file");
  });
});
