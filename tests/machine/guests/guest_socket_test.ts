/**
 * The ports for QEMU on real unix sockets, with a test in QEMU's place that may misbehave as QEMU does not.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { RealClock } from "../../../devices/host/clock.ts";
import { pause } from "../../../devices/host/pause.ts";
import { Reactor } from "../../../devices/host/reactor.ts";
import { LATER, UnixDatagram, UnixStream } from "../../../devices/host/unix_socket.ts";
import { Block } from "../../../kernel/block.ts";
import { get32, put32 } from "../../../kernel/wire/bytes.ts";
import type { QemuPort } from "../../../tools/vmm/guests/qemu/port.ts";
import { openQemuPort } from "../../kit/host/qemu.ts";
import { machineTest } from "../../kit/check/skip.ts";

/** A port in a running loop, for as long as `work` lasts. */
async function withPort(
  kind: "stream" | "dgram",
  work: (port: QemuPort, path: (which: "ours" | "theirs") => string, received: number[]) => Promise<void>,
): Promise<void> {
  const { port, folder } = await openQemuPort(kind);
  const reactor = new Reactor({ clock: new RealClock() });
  const received: number[] = [];
  port.receive = (block) => received.push(block.length);
  reactor.start();
  port.start(reactor);
  try {
    await work(port, (which) => `${folder}/net, ${which}.sock`, received);
  } finally {
    port.close();
    await reactor.stop();
    await Deno.remove(folder, { recursive: true });
  }
}

async function until(holds: () => boolean): Promise<void> {
  for (const end = Date.now() + 5000; !holds();) {
    assert(Date.now() < end, "it never came to be");
    await pause();
  }
}

/** A frame of `length` bytes behind its length, or behind another one. */
function framed(length: number, said = length): Uint8Array {
  const bytes = new Uint8Array(4 + length).fill(length);
  put32(bytes, 0, said);
  return bytes;
}

machineTest("a stream: fragments, a malformed length, and the next guest", ["ffi"], async () => {
  await withPort("stream", async (port, path, received) => {
    for (let round = 1; round <= 3; round++) {
      using client = UnixStream.connect(path("ours"));
      await until(() => port.link);
      for (const byte of framed(60)) {
        client.write(new Uint8Array([byte]));
        await pause();
      }
      client.write(framed(61));
      client.write(framed(0, 0x7fff_ffff));
      await until(() => !port.link);
      assertEquals([received.splice(0), port.counters.malformed, port.counters.departures], [[60, 61], round, round]);
      assertEquals(client.read(new Uint8Array(1)), 0, "its connection is closed");
    }
  });
});

machineTest("a stream: a guest that does not read gets, when it does, all that was taken", ["ffi"], async () => {
  await withPort("stream", async (port, path) => {
    using client = UnixStream.connect(path("ours"));
    await until(() => port.link);
    let taken = 0;
    // Each turn lets the loop write; what it writes and what waits is bounded.
    for (; port.transmit(Block.from(new Uint8Array(1514).fill(taken))); taken++) if (taken % 16 === 0) await pause();
    assert(taken > 170 && port.counters.stalls === 1);
    assertEquals(port.counters.overflows, 1);
    const into = new Uint8Array(10_000);
    const bytes: number[] = [];
    await until(() => {
      for (let count; (count = client.read(into)) !== LATER;) bytes.push(...into.subarray(0, count));
      return bytes.length === taken * 1518;
    });
    const all = new Uint8Array(bytes);
    for (let i = 0; i < taken; i++) assertEquals([get32(all, i * 1518), all[i * 1518 + 4]], [1514, i & 0xff]);
    assertEquals(port.transmit(Block.from(new Uint8Array(60))), true);
  });
});

machineTest("datagrams: more than Linux keeps for a reader arrive in order; a guest that restarts is found", [
  "ffi",
], async () => {
  await withPort("dgram", async (port, path, received) => {
    const into = new Uint8Array(2000);
    for (let round = 1; round <= 3; round++) {
      using client = new UnixDatagram(path("theirs"), path("ours"));
      assertEquals(client.send(new Uint8Array(60)), 1);
      await until(() => received.length === round && port.link);
      for (let i = 0; i < 900; i++) assertEquals(port.transmit(Block.from(new Uint8Array(100 + i % 150))), true);
      await pause();
      const lengths: number[] = [];
      await until(() => {
        for (let length; (length = client.receive(into)) !== LATER;) lengths.push(length);
        return lengths.length === 900;
      });
      assertEquals(lengths, Array.from({ length: 900 }, (_, i) => 100 + i % 150));
    }
    assertEquals(port.transmit(Block.from(new Uint8Array(60))), true, "taken, and then there is no peer");
    await until(() => !port.link);
  });
});
