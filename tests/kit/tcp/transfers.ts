/** Transfers between our TCP and Linux' own, with the hash of what comes; AKARINO_FUZZ makes them 1 GiB. */

import { assertEquals } from "@std/assert";
import type { Conversation } from "../../../kernel/dial.ts";
import { HOST } from "../host/linux.ts";
import { CHUNK, type TcpLab } from "./linux.ts";
import { firstWord, Hash } from "../host/files.ts";

/** Whether transfers are long. */
export const IS_LONG = Deno.env.get("AKARINO_FUZZ") !== undefined;

/** How long a transfer may take, in milliseconds. */
export const TRANSFER_LIMIT_MS = IS_LONG ? 300_000 : 30_000;

/** Port of every server. */
export const PORT = 5001;

/** Linux sends a file; the host hashes what comes. */
export async function transferIn(lab: TcpLab, file: { path: string; hash: string }): Promise<void> {
  const server = await lab.announce(PORT);
  const limits = { limitMs: TRANSFER_LIMIT_MS };
  const sender = lab.run(["socat", "-u", "-b", `${CHUNK}`, `OPEN:${file.path}`, `TCP:${HOST}:${PORT}`], limits);
  const call = await lab.accept(server);
  await using hash = new Hash();
  const buf = new Uint8Array(CHUNK);
  for (let got = 0; (got = await lab.proc.read(call.data, buf)) > 0;) await hash.add(buf.subarray(0, got));
  lab.close(call);
  lab.close(server);
  assertEquals([await hash.end(), (await sender).code], [file.hash, 0], `${hash.bytes} bytes came`);
}

/** The host sends a file; Linux hashes what comes. */
export async function transferOut(lab: TcpLab, file: { path: string; hash: string }): Promise<void> {
  const line = `socat -u -b ${CHUNK} TCP-LISTEN:${PORT},reuseaddr - | sha256sum`;
  const taker = lab.run(["sh", "-c", line], { limitMs: TRANSFER_LIMIT_MS });
  const call = await lab.dial(PORT);
  using source = await Deno.open(file.path);
  const buf = new Uint8Array(CHUNK);
  for (let got: number | null; (got = source.readSync(buf)) !== null;) await lab.write(call, buf.subarray(0, got));
  await lab.closeWrite(call);
  assertEquals((await lab.readAll(call)).length, 0);
  lab.close(call);
  assertEquals(firstWord((await taker).text), file.hash);
}

// --- how connections begin and end ---

/** Answers only when the other side has said that this was all: with everything it said. */
export async function lateEcho(lab: TcpLab, call: Conversation): Promise<void> {
  const bytes = await lab.readAll(call);
  await lab.write(call, bytes);
}
