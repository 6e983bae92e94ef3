/** Bytes of a connection through the uplink: both ends, whole reads and writes, and that nothing stays. */

import { assertEquals } from "@std/assert";
import { KernelError } from "../../../kernel/error.ts";
import { SeededRandom } from "../../../kernel/random.ts";
import type { StreamConn } from "../../../tools/boot/streams.ts";
import type { FakeConn } from "./fake_streams.ts";
import type { TcpLink, TcpWorld } from "./tcp_world.ts";

export function bytes(count: number, seed = 1): Uint8Array<ArrayBuffer> {
  const data = new Uint8Array(count);
  new SeededRandom(seed).fill(data);
  return data;
}

/** A connection of the guest, and the server's end of it. */
export async function pair(at: TcpWorld, { remote }: TcpLink): Promise<{ guest: StreamConn; server: FakeConn }> {
  let server: FakeConn | null = null;
  at.fake.serve(`${remote}!80`, (conn) => void (server = conn));
  const guest = await at.host.connect({ hostname: remote, port: 80 });
  await at.pass(5);
  return { guest, server: server! };
}

/** Everything that comes until the end, or the error that ends it. */
export async function readAll(conn: StreamConn): Promise<{ got: number[]; failure: string }> {
  const got: number[] = [];
  const buf = new Uint8Array(65_536);
  try {
    for (;;) {
      const count = await conn.read(buf);
      if (count === null) return { got, failure: "" };
      for (let i = 0; i < count; i++) got.push(buf[i]!);
    }
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    return { got, failure: error.code };
  }
}

export async function writeAll(conn: StreamConn, data: Uint8Array): Promise<void> {
  for (let done = 0; done < data.length;) done += await conn.write(data.subarray(done));
}

export async function closed(at: TcpWorld): Promise<void> {
  await at.pass(8_000);
  assertEquals({ open: at.fake.open.size, relay: at.uplink.sizes.tcp }, { open: 0, relay: 0 });
}
