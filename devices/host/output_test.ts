import { assertEquals, assertStringIncludes } from "@std/assert";
import { machineTest } from "../../tests/kit/check/skip.ts";
import { call, cString, holdLibc, libc, releaseLibc } from "./libc.ts";
import { LINES_MAX, Output } from "./output.ts";

const O_RDONLY_NONBLOCK = 0x8_0800;
const O_WRONLY = 0x8_0001;

/** A pipe with a name; its two ends. */
async function withPipe(work: (reader: number, writer: number) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "akarino-output-" });
  const path = cString(`${folder}/pipe`);
  await new Deno.Command("mkfifo", { args: [`${folder}/pipe`] }).output();
  const reader = call("Cannot open the pipe", libc().open(path, O_RDONLY_NONBLOCK, 0));
  const writer = call("Cannot open the pipe", libc().open(path, O_WRONLY, 0));
  try {
    await work(reader, writer);
  } finally {
    libc().close(writer);
    await Deno.remove(folder, { recursive: true });
  }
}

function readAll(fd: number): string {
  const room = new Uint8Array(1 << 20);
  let length = 0;
  for (let got = 1; got > 0; length += Math.max(0, got)) got = libc().read(fd, room.subarray(length), 1n << 16n);
  return new TextDecoder().decode(room.subarray(0, length));
}

machineTest(
  "Output never waits for a pipe that is full, and writes the last lines when it is read",
  ["ffi"],
  async () => {
    holdLibc();
    try {
      await withPipe(async (reader, writer) => {
        const output = new Output(writer, "standard output");
        output.say("first");
        const filler = "x".repeat(4000);
        for (let i = 0; i < 30; i++) output.say(filler);
        for (let i = 0; i < LINES_MAX; i++) output.say(`line ${i}`);
        assertStringIncludes(readAll(reader), `first\n${filler}\n`);
        await new Promise((resolve) => setTimeout(resolve, 250));
        const text = readAll(reader);
        assertEquals(text.split("\n").slice(0, 2), ["line 0", "line 1"]);
        assertEquals(text.split("\n").slice(-2), [`line ${LINES_MAX - 1}`, ""]);
        output.close();
        libc().close(reader);
      });
    } finally {
      releaseLibc();
    }
  },
);

machineTest("Output says once that its reader has gone, or that the disk is full", ["ffi"], async () => {
  holdLibc();
  try {
    await withPipe(async (reader, writer) => {
      const full = call("Cannot open it", libc().open(cString("/dev/full"), O_WRONLY, 0));
      libc().close(reader);
      const said: string[] = [];
      for (const fd of [writer, full]) {
        const output = new Output(fd, "standard output");
        output.onError = (error) => said.push(error.message);
        output.say("one");
        output.say("two");
        output.close();
      }
      libc().close(full);
      assertEquals(said, [
        "Cannot write to standard output: broken pipe (EPIPE)",
        "Cannot write to standard output: no space left on device (ENOSPC)",
      ]);
      await Promise.resolve();
    });
  } finally {
    releaseLibc();
  }
});
