import { VNET_HEADER_LEN } from "../../kernel/inet/vnet_header.ts";
import { assertEquals } from "@std/assert";
import { BLOCK_HEADROOM, BlockPool } from "../../kernel/block.ts";
import { machineTest } from "../../tests/kit/check/skip.ts";
import { LargeReader } from "./large_reader.ts";
import { call, cString, holdLibc, libc, releaseLibc } from "./libc.ts";

/** A descriptor that a read of gets `bytes` from, as from a TUN. */
async function readerOf(bytes: Uint8Array): Promise<number> {
  const path = await Deno.makeTempFile();
  await Deno.writeFile(path, bytes);
  const file = cString(path);
  const fd = call("Cannot open", libc().open(file, 0, 0));
  await Deno.remove(path);
  return fd;
}

machineTest("LargeReader puts every length in one piece, small ones into small blocks", ["ffi"], async () => {
  const pool = new BlockPool();
  const reader = new LargeReader(holdLibc(), pool);
  for (const length of [0, 1, 60, 1500, 1919, 1920, 1921, 1922, 4000, 65535, 65550]) {
    const packet = new Uint8Array(length).map((_, i) => i * 31 + length);
    const fd = await readerOf(new Uint8Array([...new Uint8Array(VNET_HEADER_LEN).fill(9), ...packet]));
    const count = reader.read(fd);
    libc().close(fd);
    assertEquals(count, VNET_HEADER_LEN + length);
    const block = reader.take(count);
    assertEquals(block.bytes(), packet);
    assertEquals(block.rp, BLOCK_HEADROOM);
    assertEquals(block.buf.length, length <= 1920 ? 2048 : 66560, `${length}`);
    assertEquals(reader.head.subarray(0, VNET_HEADER_LEN), new Uint8Array(VNET_HEADER_LEN).fill(9));
    if (length % 2 === 0) block.free();
  }
  reader.close();
  releaseLibc();
});

machineTest(
  "LargeReader gives no bytes of what is shorter than a header or longer than a packet",
  ["ffi"],
  async () => {
    const reader = new LargeReader(holdLibc(), new BlockPool());
    for (const length of [1, 9, 70_000]) {
      const fd = await readerOf(new Uint8Array(length).fill(1));
      assertEquals(reader.take(reader.read(fd)).length, 0);
      libc().close(fd);
    }
    assertEquals(reader.read(-1), -1);
    reader.close();
    releaseLibc();
  },
);
