import { assertEquals } from "@std/assert";
import { machineTest } from "../../../tests/kit/check/skip.ts";
import { SocketLab } from "../../../tests/kit/host/sockets.ts";
import { Gather } from "./gather.ts";

const MSG_DONTWAIT_NOSIGNAL = 0x4040;

machineTest("Gather sends parts of any buffer, in order, 64 of them in one call", ["ffi"], async () => {
  await using lab = new SocketLab();
  const { client, server } = await lab.pair("127.0.0.1");
  const gather = new Gather();
  const { fd } = client as typeof client & { fd: number };
  // Views of one buffer, of buffers of their own, of shared memory; an empty one; more than one call takes.
  const whole = Uint8Array.from({ length: 60 }, (_, i) => i);
  const shared = new Uint8Array(new SharedArrayBuffer(32), 16).fill(7);
  const parts = [
    ...[whole.subarray(30), whole.subarray(0, 5), new Uint8Array(0), shared],
    ...Array.from({ length: 70 }, (_, i) => new Uint8Array([i])),
  ];
  let expected: number[] = [];
  for (let round = 0; round < 20; round++) {
    const sent = gather.send(fd, parts, parts.length, MSG_DONTWAIT_NOSIGNAL);
    assertEquals(sent, parts.slice(0, 64).reduce((sum, part) => sum + part.length, 0));
    assertEquals(gather.send(fd, parts, 2, MSG_DONTWAIT_NOSIGNAL), 35, "the count is what counts");
    for (const part of [...parts.slice(0, 64), ...parts.slice(0, 2)]) expected = expected.concat([...part]);
    // A buffer that is moved is another one.
    parts[4] = new Uint8Array((parts[4]!.buffer as ArrayBuffer).transfer());
  }
  client.shutdownWrite();
  assertEquals((await lab.readAll(server)).bytes, new Uint8Array(expected));
});
