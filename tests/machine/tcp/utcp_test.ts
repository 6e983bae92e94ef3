/**
 * utcp against Linux: a real client on the other end of a TAP cannot tell a TCP in a user program from any other.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { startUtcpEcho } from "../../../tools/utcp/echo.ts";
import { HOST, labNeeds } from "../../kit/host/linux.ts";
import { machineTest } from "../../kit/check/skip.ts";
import { openTcpLab, PIPE_BUF } from "../../kit/tcp/linux.ts";
import { firstWord, randomFile, withDir } from "../../kit/host/files.ts";

const PORT = 7007;

for (const offload of [true, false]) {
  machineTest(
    `utcp echoes 1 MiB to socat with the hash right, ${offload ? "with" : "without"} offloads`,
    labNeeds("socat", "sha256sum"),
    async () => {
      await using lab = await openTcpLab({ offload });
      const echo = await startUtcpEcho(lab.proc, PORT);
      await withDir(async (dir) => {
        const { path, hash } = await randomFile(dir, 1);
        const line = `socat -b ${PIPE_BUF} -t 20 - TCP:${HOST}:${PORT} < "$1" | sha256sum`;
        assertEquals(firstWord(await lab.mustRun(["sh", "-c", line, "sh", path])), hash);
      });
      assertEquals([echo.connections, echo.failed, echo.bytes], [1, 0, 1 << 20]);
      const { OutSegs, OutRsts, PassiveOpens, InBypassed } = await lab.stats();
      assertEquals([OutSegs, OutRsts, PassiveOpens], [0, 0, 0]);
      assertEquals(InBypassed, echo.stack.counters.packetsIn);
      assertEquals(echo.stack.counters.refused, {});
      // A segment of 64 KiB crosses program, kernel and device whole.
      if (offload) assert(echo.stack.counters.packetsOut < 700, `${echo.stack.counters.packetsOut}`);
      await echo.stop();
    },
  );
}

machineTest(
  "twenty Linux clients at once, and a port that is refused once utcp is gone",
  labNeeds("socat"),
  async () => {
    await using lab = await openTcpLab();
    const echo = await startUtcpEcho(lab.proc, PORT);
    const one = `seq 1 20000 > "$1.$2"; socat -t 20 - TCP:${HOST}:${PORT} < "$1.$2" | cmp - "$1.$2"`;
    await withDir(async (dir) => {
      const all = `for i in $(seq 20); do sh -c '${one}' sh "$1/f" $i & done; wait`;
      assertEquals(await lab.mustRun(["sh", "-c", all, "sh", dir]), "");
    });
    assertEquals([echo.connections, echo.failed], [20, 0]);
    await echo.stop();
    const { text } = await lab.run(["socat", "-", `TCP:${HOST}:${PORT}`]);
    assertMatch(text, /Connection refused/);
  },
);

machineTest("the tool itself: prints its address, echoes, sums up at SIGTERM, exits 0", labNeeds("socat"), async () => {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--allow-ffi", "tools/utcp.ts", "--netns", "new", "--port", "7"],
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let said = "";
  while (!said.includes("\n")) said += (await reader.read()).value ?? assert(false, "it ended");
  const [, netns] = /^utcp: echoes at tcp port 7 of 10\.99\.0\.2, by \w+ in (\S+)$/m.exec(said)!;
  const client = await new Deno.Command("nsenter", {
    args: [`--net=${netns}`, "sh", "-c", "echo hello | socat -t 5 - TCP:10.99.0.2:7"],
  }).output();
  assertEquals(new TextDecoder().decode(client.stdout), "hello\n");
  child.kill("SIGTERM");
  for (let part = await reader.read(); !part.done; part = await reader.read()) said += part.value;
  assertMatch(said, /utcp: 1 connections, 0 failed, 6 bytes; \d+ packets in, \d+ out\n$/);
  const { code, success } = await child.status;
  assertEquals([code, success, await new Response(child.stderr).text()], [0, true, ""]);
});
