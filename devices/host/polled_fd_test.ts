import { assertEquals } from "@std/assert";
import { call, holdLibc, libc } from "./libc.ts";
import { PolledFd } from "./polled_fd.ts";

Deno.test("a descriptor is closed once, and its reactor told while it is still open", () => {
  holdLibc();
  const one = new PolledFd(call("Cannot make an epoll descriptor", libc().epoll_create1(0)));
  const { fd } = one;
  const told: number[] = [];
  one.onClose = () => told.push(one.fd);
  one.close();
  one.close();
  assertEquals({ told, fd: one.fd }, { told: [fd], fd: -1 });
});
