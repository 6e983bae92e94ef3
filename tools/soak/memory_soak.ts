/**
 * The soak where network namespaces are not permitted: the same NAT in this process, between model kernels, in virtual
 * time.
 *
 * Path: soak → memory_soak → boot, real_soak, dial, programs.
 *
 * @module
 */

import { hangUp } from "../../kernel/dial.ts";
import { boot, type Guest, type Host } from "../boot/boot.ts";
import { udpEcho } from "../scenario/programs.ts";
import type { SoakFigures, SoakSide } from "./real_soak.ts";

const PORT = 7;
const BYTE = new Uint8Array([42]);

/** Makes the host, its guest and a remote that echoes. */
export async function memorySoak(): Promise<SoakSide> {
  const host = await boot();
  const remote = await host.neighbor();
  // It ends with the host.
  udpEcho(remote.spawn("udp-echo"), PORT).catch(() => {});
  serveAll(remote).catch(() => {});
  return new MemorySoak(host, remote, await host.guest());
}

class MemorySoak implements SoakSide {
  readonly name = "a NAT in memory, this process's memory, the host's descriptors, virtual time's latency";
  readonly #host: Host;
  readonly #remote: Host;
  readonly #guest: Guest;

  constructor(host: Host, remote: Host, guest: Guest) {
    this.#host = host;
    this.#remote = remote;
    this.#guest = guest;
  }

  async connection(): Promise<void> {
    using conn = await this.#guest.host.dial(`tcp!${this.#remote.address}!${PORT}`);
    const writer = conn.writable.getWriter();
    await writer.write(BYTE);
    await writer.close();
    const got = await new Response(conn.readable).bytes();
    if (got.length !== 1 || got[0] !== BYTE[0]) throw new Error("Cannot read the byte");
  }

  async flow(): Promise<void> {
    const proc = this.#guest.host.spawn("flow");
    const conv = await proc.dial(`udp!${this.#remote.address}!${PORT}`);
    try {
      await proc.write(conv.data, BYTE);
      await proc.read(conv.data, new Uint8Array(1));
    } finally {
      hangUp(proc, conv);
      proc.exit();
    }
  }

  figures(): Promise<SoakFigures> {
    const maps = [...this.#guest.command("stats").matchAll(/^maps-\w+ (\d+)$/gm)];
    let descriptors = 0;
    for (const proc of this.#host.kernel.procs.values()) descriptors += proc.fds.numbers().length;
    return Promise.resolve({
      memoryMib: Deno.memoryUsage().rss / 2 ** 20,
      descriptors,
      maps: maps.reduce((sum, match) => sum + Number(match[1]), 0),
    });
  }

  async close(): Promise<void> {
    this.#guest.close();
    await this.#host.world.close();
  }
}

/** Answers every connection with what it sends. */
async function serveAll(host: Host): Promise<void> {
  using listener = await host.announce(`tcp!*!${PORT}`);
  for await (const conn of listener) {
    conn.readable.pipeTo(conn.writable).catch(() => {}).finally(() => conn.close());
  }
}
