/** A listener of a process that has no descriptor left. */

import { assertEquals } from "@std/assert";
import type { HostStream } from "../../../kernel/host_sockets.ts";
import { aloneTest } from "../../../tests/kit/check/skip.ts";
import { SocketLab } from "../../../tests/kit/host/sockets.ts";
import { holdLibc, releaseLibc } from "../libc.ts";

aloneTest("without a descriptor for a call accept() says so, and onReady follows when there is one", [
  ...["ffi"] as const,
], async () => {
  await using lab = new SocketLab();
  const listener = lab.listen("127.0.0.1");
  let told = 0;
  listener.onReady = () => told++;
  const client = lab.connect(listener.local);
  await lab.until("the call", () => told === 1);
  const NOFILE = 7;
  const { getrlimit, setrlimit } = holdLibc();
  const old = new Uint8Array(16);
  const none = new Uint8Array(16);
  getrlimit(NOFILE, old);
  // The ceiling stays as it is.
  none.set(old.subarray(8), 8);
  setrlimit(NOFILE, none);
  const answers = [listener.accept(), lab.sockets.connect({ to: listener.local, from: null, ttl: 0, tos: 0 })];
  setrlimit(NOFILE, old);
  releaseLibc();
  assertEquals(answers, ["shortage", "EMFILE"]);
  await lab.until("onReady", () => told === 2);
  const server = listener.accept() as HostStream;
  assertEquals(server.remote, client.local);
});
