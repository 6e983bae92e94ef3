/**
 * Our TCP against Linux' own over a TAP device, each test in a network namespace of its own: transfers with hashes,
 * many connections, how they begin and end, options on and off, a wire with faults, a SYN flood, HTTP, and what tshark
 * says.
 *
 * AKARINO_FUZZ makes the transfers 1 GiB and the connections in a row 10,000.
 *
 * @module
 */

import { assert, assertEquals, assertGreater, assertLess, assertMatch, assertRejects } from "@std/assert";
import { SYN_QUEUE_MAX } from "../../../devices/ip/tcp/syn_queue.ts";
import { Checksum, Segment } from "../../../kernel/block.ts";
import { KernelError } from "../../../kernel/error.ts";
import { dialStream } from "../../../tools/boot/streams.ts";
import { pattern } from "../../kit/ip/ip_fixture.ts";
import { HOST, labNeeds, LINUX } from "../../kit/host/linux.ts";
import { machineTest } from "../../kit/check/skip.ts";
import { openTcpLab, PIPE_BUF, sleep, type TcpLab } from "../../kit/tcp/linux.ts";
import { serveHttp } from "../../kit/tcp/http.ts";
import { firstWord, randomFile, withDir } from "../../kit/host/files.ts";
import type { RowReport } from "../../kit/tcp/row.ts";
import { ROOT } from "../../kit/check/tree.ts";
import { IS_LONG, lateEcho, PORT, TRANSFER_LIMIT_MS, transferIn, transferOut } from "../../kit/tcp/transfers.ts";

/** MiB of a transfer, and how long it may take, in milliseconds. */
const TRANSFER_MIB = IS_LONG ? 1024 : 64;

/** Connections in a row, and how long they may take. */
const ROW = IS_LONG ? 10_000 : 1000;
const ROW_LIMIT_MS = IS_LONG ? 300_000 : 30_000;
/** Connections at once. */
const CROWD = 200;

/** A refusal that takes longer than this was no reset. */
const AT_ONCE_MS = 1000;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

machineTest(`${TRANSFER_MIB} MiB each way have the right hash`, labNeeds("socat", "sha256sum"), async () => {
  await using lab = await openTcpLab();
  await withDir(async (dir) => {
    const file = await randomFile(dir, TRANSFER_MIB);
    await transferIn(lab, file);
    await transferOut(lab, file);
    const { RetransTimeouts, OutRsts, InErrs } = await lab.stats();
    assertEquals([RetransTimeouts, OutRsts, InErrs], [0, 0, 0]);
  });
});

/** Units that crossed the port, one way. */
interface Units {
  count: number;
  bytes: number;
  longest: number;
  /** Segments to be cut. */
  whole: number;
  /** Checksums owed. */
  owed: number;
  /** Of more than one MSS and yet without metadata, or with a checksum that was computed. */
  finished: number;
}

const noUnits = (): Units => ({ count: 0, bytes: 0, longest: 0, whole: 0, owed: 0, finished: 0 });

machineTest("with offloads 64 KiB segments cross whole, their checksums owed", labNeeds("socat"), async () => {
  const units = { in: noUnits(), out: noUnits() };
  await using lab = await openTcpLab({
    offload: true,
    observe: (direction, block) => {
      const { length } = block;
      const tally = units[direction];
      const isWhole = block.segment === Segment.Tcp4;
      tally.count++;
      tally.bytes += length;
      tally.longest = Math.max(tally.longest, length);
      if (isWhole) tally.whole++;
      if (block.checksum === Checksum.Owed) tally.owed++;
      if (length > 1514 && (!isWhole || block.checksum !== Checksum.Owed)) tally.finished++;
    },
  });
  await withDir(async (dir) => {
    const file = await randomFile(dir, TRANSFER_MIB);
    await transferIn(lab, file);
    await transferOut(lab, file);
  });
  for (const [name, tally] of Object.entries(units)) {
    const text = `${name}: ${JSON.stringify(tally)}`;
    assertGreater(tally.longest, 60_000, text);
    assertEquals(tally.finished, 0, text);
    // Acknowledgments of the other transfer are among them.
    assertGreater(tally.whole, TRANSFER_MIB * 8, text);
    assertGreater(tally.owed, tally.whole, text);
  }
  const { received, transmitted, receiveDrops, transmitDrops } = lab.tap.counters;
  assertEquals([receiveDrops, transmitDrops], [0, 0]);
  assertLess(received + transmitted, TRANSFER_MIB * 300, "uncut segments are few");
});

machineTest(
  "half-close: the end that closed its half still gets its answer",
  labNeeds("socat", "sha256sum"),
  async () => {
    await using lab = await openTcpLab();
    await lab.serve(7, (call) => lateEcho(lab, call));
    const stdin = pattern(1 << 20, 1);
    const before = lab.holdings();
    const { bytes } = await lab.run(["socat", "-b", "65536", "-t", "10", "-", `TCP:${HOST}:7`], { stdin });
    assertEquals(bytes, stdin);
    const hasher = ["socat", "-t", "10", `TCP-LISTEN:${PORT},reuseaddr`, "EXEC:sha256sum"];
    await lab.withServer(hasher, async () => {
      const call = await lab.dial(PORT);
      await lab.write(call, stdin);
      await lab.closeWrite(call);
      const answer = decoder.decode(await lab.readAll(call));
      const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", stdin as Uint8Array<ArrayBuffer>)).toHex();
      assertEquals(firstWord(answer), hash);
      // A FIN of Linux' that came twice is acknowledged twice, and the second acknowledgment finds no connection: Linux
      // resets (RFC 1337).
      assertMatch((await lab.status(call)).get("state")!, /^(Time_wait|Closed)$/);
      lab.close(call);
    });
    // The one that closed first waits.
    await lab.settle({ ...before, conversations: before.conversations + 1, timers: before.timers + 2 });
  },
);

machineTest("a closed port is refused at once, both ways", labNeeds("curl"), async () => {
  await using lab = await openTcpLab();
  const before = performance.now();
  const { code, text } = await lab.run(["curl", "-sS", "-m", "5", `http://${HOST}:9/`]);
  assertEquals(code, 7, text);
  assertLess(performance.now() - before, AT_ONCE_MS);
  assertEquals((await lab.stats()).OutRsts, 1);
  const began = performance.now();
  const error = await assertRejects(() => lab.proc.dial(`tcp!${LINUX}!9`), KernelError, "refused");
  assertEquals(error.code, "ECONNREFUSED");
  assertLess(performance.now() - began, AT_ONCE_MS);
  await lab.settle({ conversations: 0, synQueue: 0, timers: lab.holdings().timers });
});

machineTest("a close with unread bytes resets, both ways", labNeeds("socat"), async () => {
  await using lab = await openTcpLab();
  const server = await lab.announce(PORT);
  const client = lab.run(["socat", "-d", `TCP:${HOST}:${PORT}`, "SYSTEM:head -c 100000 /dev/zero; sleep 1"]);
  const call = await lab.accept(server);
  await lab.read(call, 1000);
  lab.close(call);
  assertMatch((await client).text, /reset by peer|Broken pipe/);
  // Never reads; when it is killed our bytes are still there.
  const deaf = ["socat", "-U", `TCP-LISTEN:${PORT + 1},reuseaddr`, "PIPE"];
  await lab.withServer(deaf, async (child) => {
    const ours = await lab.dial(PORT + 1);
    await lab.write(ours, pattern(1000, 1));
    child.kill("SIGKILL");
    const error = await assertRejects(() => lab.readAll(ours), KernelError);
    assertMatch(error.message, /reset/i);
    lab.close(ours);
  });
});

// --- many ---

/** Has the host learn Linux' address, which takes a timer. */
async function knowNeighbour(lab: TcpLab): Promise<void> {
  await assertRejects(() => lab.proc.dial(`tcp!${LINUX}!9`), KernelError);
}

machineTest(`${CROWD} connections at once from Linux`, labNeeds("curl"), async () => {
  await using lab = await openTcpLab();
  await serveHttp(lab, CROWD);
  await knowNeighbour(lab);
  const before = lab.holdings();
  const all = ["-Z", "--parallel-immediate", "--parallel-max", `${CROWD}`, "-o", "/dev/null"];
  const text = await lab.mustRun(
    [
      "curl",
      "-sS",
      "-m",
      "15",
      ...all,
      "-w",
      "%{http_code} %{size_download}\n",
      `http://${HOST}/[1001-${1000 + CROWD}]`,
    ],
  );
  assertEquals(text.trim().split("\n").filter((line) => line === "200 20").length, CROWD, text.slice(0, 500));
  await lab.settle(before);
  assertEquals((await lab.stats()).PassiveOpens, CROWD);
});

machineTest(`${CROWD} connections at once to Linux`, labNeeds("socat"), async () => {
  await using lab = await openTcpLab();
  await lab.withServer(
    ["socat", "-b", PIPE_BUF, `TCP-LISTEN:${PORT},reuseaddr,fork,backlog=${CROWD}`, "PIPE"],
    async () => {
      const calls = await Promise.all(Array.from({ length: CROWD }, () => lab.dial(PORT)));
      assertEquals((await lab.stats()).CurrEstab, CROWD);
      await Promise.all(calls.map(async (call, i) => {
        const bytes = pattern(3000 + i, i);
        await lab.write(call, bytes);
        assertEquals(await lab.read(call, bytes.length), bytes);
      }));
      for (const call of calls) lab.close(call);
    },
  );
});

/** Bytes of heap that a connection may leave: noise, divided by many. */
const LEFT_PER_CONNECTION_MAX = 256;

for (const way of ["from", "to"] as const) {
  const needs = labNeeds(way === "from" ? "curl" : "socat");
  machineTest(`${ROW} connections in a row ${way} Linux leave nothing`, needs, async () => {
    // A program of its own: only there can the collector be called.
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-check", "--allow-all", "--v8-flags=--expose-gc", "tests/kit/tcp/row.ts", way, `${ROW}`],
      cwd: ROOT,
      signal: AbortSignal.timeout(ROW_LIMIT_MS),
    });
    const { success, stdout, stderr } = await child.output();
    assert(success, decoder.decode(stderr));
    const { before, after, slots } = JSON.parse(decoder.decode(stdout)) as RowReport;
    assertEquals({ ...after, heap: 0 }, { ...before, heap: 0 });
    assertLess((after.heap - before.heap) / ROW, LEFT_PER_CONNECTION_MAX);
    assertLess(slots, 10, "slots are used again");
  });
}

// --- under attack ---

const FLOOD_SYNS = IS_LONG ? 200_000 : 20_000;

machineTest("a SYN flood: a connection goes on, and new ones are made", labNeeds("hping3", "socat"), async () => {
  await using lab = await openTcpLab({ gateway: LINUX });
  const server = await lab.announce(80);
  const mirror = ["socat", "PIPE", `TCP:${HOST}:80`];
  await lab.withServer(mirror, async () => {
    const old = await lab.accept(server);
    let isFlooded = true;
    let rounds = 0;
    const pingPong = async () => {
      for (; isFlooded; rounds++) {
        const bytes = pattern(100, rounds);
        await lab.write(old, bytes);
        assertEquals(await lab.read(old, bytes.length), bytes);
        await sleep(1);
      }
    };
    const talk = pingPong();
    const options = ["-q", "-n", "-S", "-p", "80", "--rand-source", "-i", "u20", "-c", `${FLOOD_SYNS}`, HOST];
    const flood = lab.run(["hping3", ...options], { limitMs: TRANSFER_LIMIT_MS });
    while ((await lab.stats()).SynCookiesSent === 0) await sleep(1);
    const news = Array.from({ length: 5 }, async (_, i) => {
      const stdin = pattern(5000, i);
      const { bytes } = await lab.run(["socat", "-t", "5", "-", `TCP:${HOST}:80`], { stdin });
      assertEquals(bytes, stdin);
    });
    for (const _ of news) {
      const call = await lab.accept(server);
      await lateEcho(lab, call);
      lab.close(call);
    }
    await Promise.all(news);
    await flood;
    isFlooded = false;
    await talk;
    assertGreater(rounds, 50);
    lab.close(old);
  });
  const { SynCookiesSent, SynCookiesOk, Limbo, PassiveOpens } = await lab.stats();
  assertGreater(SynCookiesSent!, FLOOD_SYNS / 4, JSON.stringify(await lab.stats()));
  assertLess(Limbo!, SYN_QUEUE_MAX + 1);
  assertEquals(PassiveOpens, 6);
  assertGreater(SynCookiesOk!, 0, "the new ones came in by cookies");
  lab.close(server);
});

// --- HTTP, and what others see ---

machineTest("HTTP over web streams: curl asks us, and we ask Linux", labNeeds("curl", "socat"), async () => {
  await using lab = await openTcpLab();
  await serveHttp(lab);
  assertEquals(await lab.mustRun(["curl", "-sS", `http://${HOST}/a/page`]), "you asked for /a/page\n");
  const page = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello from Linux\n";
  await withDir(async (dir) => {
    await Deno.writeTextFile(`${dir}/page`, page);
    const web = ["socat", "TCP-LISTEN:8080,reuseaddr,fork", `SYSTEM:read request; cat ${dir}/page`];
    await lab.withServer(web, async () => {
      // The first call finds out when it listens.
      lab.close(await lab.dial(8080));
      using conn = await dialStream(lab.proc, `tcp!${LINUX}!8080`);
      await conn.writable.getWriter().write(encoder.encode("GET / HTTP/1.0\r\n\r\n"));
      assertEquals(await new Response(conn.readable).text(), page);
    });
  });
});
