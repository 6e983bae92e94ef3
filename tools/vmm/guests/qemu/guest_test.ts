import { assertEquals, assertThrows } from "@std/assert";
import type { DatagramSocket } from "../guest.ts";
import { QemuDgramPort } from "./dgram.ts";
import { qemuGuest } from "./guest.ts";

/** A port on a socket that does nothing. */
function idlePort(): { port: QemuDgramPort; closes: () => number } {
  let closes = 0;
  const socket: DatagramSocket = {
    fd: 9,
    path: "/run/ours",
    onClose: null,
    onReadable: null,
    onWritable: null,
    receive: () => -1,
    send: () => 0,
    resume: () => {},
    awaitWritable: () => {},
    drain: () => 0,
    close: () => void closes++,
  };
  return { port: new QemuDgramPort(socket, "/run/theirs"), closes: () => closes };
}

Deno.test("qemuGuest() without a machine waits for one that comes by itself", async () => {
  const { port, closes } = idlePort();
  const added: number[] = [];
  const guest = qemuGuest(port, { add: ({ fd }) => added.push(fd) });
  assertEquals([guest.name, guest.machine, added], ["qemu:/run/ours", null, [9]]);
  await guest.close();
  await guest.close();
  assertEquals(closes(), 1);
});

Deno.test("qemuGuest() closes the port if QEMU cannot be started", () => {
  const { port, closes } = idlePort();
  // Tests of this kind may run no program, just as on a machine that has none of the name.
  const start = () => qemuGuest(port, { add: () => {} }, { kernel: "/k", initrd: "/i", program: "/nonexistent/qemu" });
  assertThrows(start);
  assertEquals(closes(), 1);
});
