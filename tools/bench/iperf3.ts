/**
 * An iperf3 server as a user program: enough of its protocol for one test after another, TCP, either direction.
 *
 * Path: tcp_benches → iperf3 → dial, proc, error, wire/bytes.
 *
 * ```
 *   client                         server
 *     cookie (37 bytes) ───────────►        control connection
 *            ◄─────────────────────── PARAM_EXCHANGE
 *     length, JSON ────────────────►        parallel, len, reverse
 *            ◄─────────────────────── CREATE_STREAMS
 *     cookie, on each stream ──────►
 *            ◄─────────────────────── TEST_START, TEST_RUNNING
 *     TEST_END ────────────────────►        closes the streams
 *            ◄─────────────────────── EXCHANGE_RESULTS
 *     length, JSON ────────────────►
 *            ◄─────────────────────── length, JSON; DISPLAY_RESULTS
 *     IPERF_DONE ──────────────────►
 * ```
 *
 * @module
 */

import { type Conversation, hangUp, listen } from "../../kernel/dial.ts";
import { KernelError } from "../../kernel/error.ts";
import type { Proc } from "../../kernel/proc.ts";
import { get32, put32 } from "../../kernel/wire/bytes.ts";

const COOKIE_LEN = 37;
/** A length that no honest client sends. */
const JSON_MAX = 65536;
/** Streams of one test (iperf3's own limit). */
const STREAMS_MAX = 128;
/** Bytes of one read. */
const READ_LEN = 1 << 18;

const State = {
  TestStart: 1,
  TestRunning: 2,
  TestEnd: 4,
  ParamExchange: 9,
  CreateStreams: 10,
  ExchangeResults: 13,
  DisplayResults: 14,
} as const;

/** The parameters of a test, from the client. */
interface Params {
  readonly parallel?: number;
  readonly len?: number;
  readonly reverse?: boolean;
}

/** Serves one test after another at `port` until the process ends. */
export async function serveIperf3(proc: Proc, port: number): Promise<void> {
  const server = await proc.announce(`tcp!*!${port}`);
  try {
    while (true) await serveTest(proc, server);
  } catch (error) {
    // The end of the process ends the server.
    if (!(error instanceof KernelError && (error.code === "EINTR" || error.code === "EBADF"))) throw error;
  }
}

async function serveTest(proc: Proc, server: Conversation): Promise<void> {
  const control = await listen(proc, server);
  const streams: Conversation[] = [];
  try {
    await readExactly(proc, control, COOKIE_LEN);
    await tell(proc, control, State.ParamExchange);
    const params = await readJson(proc, control) as Params;
    await tell(proc, control, State.CreateStreams);
    const count = Math.min(params.parallel ?? 1, STREAMS_MAX);
    for (let i = 0; i < count; i++) {
      const stream = await listen(proc, server);
      streams.push(stream);
      await readExactly(proc, stream, COOKIE_LEN);
    }
    await tell(proc, control, State.TestStart);
    await tell(proc, control, State.TestRunning);
    const bytes = await moveBytes(proc, control, streams, params);
    // A client that reads waits for a whole buffer, or for the end.
    for (const stream of streams.splice(0)) hangUp(proc, stream);
    await tell(proc, control, State.ExchangeResults);
    await readJson(proc, control);
    await writeJson(proc, control, resultsOf(bytes));
    await tell(proc, control, State.DisplayResults);
    await readExactly(proc, control, 1);
  } finally {
    for (const conv of [control, ...streams]) hangUp(proc, conv);
  }
}

/** Sends or takes bytes on all streams until the client says that the test is over; how many on each. */
async function moveBytes(
  proc: Proc,
  control: Conversation,
  streams: readonly Conversation[],
  params: Params,
): Promise<number[]> {
  const bytes = streams.map(() => 0);
  let isOver = false;
  const buf = new Uint8Array(params.reverse === true ? params.len ?? READ_LEN : READ_LEN);
  const move = async (stream: Conversation, i: number) => {
    const step = params.reverse === true ? () => proc.write(stream.data, buf) : () => proc.read(stream.data, buf);
    try {
      while (!isOver) {
        const count = await step();
        if (count === 0) return;
        bytes[i]! += count;
      }
    } catch (error) {
      // A client that has enough closes its streams while we still send.
      if (!(error instanceof KernelError)) throw error;
    }
  };
  const all = Promise.all(streams.map(move));
  const [state] = await readExactly(proc, control, 1);
  if (state !== State.TestEnd) throw new KernelError("EPROTO", `The client of iperf3 gave up: ${state}`);
  isOver = true;
  // A stream that still sleeps is woken when it is closed.
  all.catch(() => {});
  return bytes;
}

function resultsOf(bytes: readonly number[]): unknown {
  const streams = bytes.map((count, i) => ({
    // iperf3 counts its streams 1, 3, 4, …
    id: i === 0 ? 1 : i + 2,
    bytes: count,
    retransmits: -1,
    jitter: 0,
    errors: 0,
    omitted_errors: 0,
    packets: 0,
    omitted_packets: 0,
    start_time: 0,
    end_time: 0,
  }));
  return { cpu_util_total: 0, cpu_util_user: 0, cpu_util_system: 0, sender_has_retransmits: 0, streams };
}

async function tell(proc: Proc, control: Conversation, state: number): Promise<void> {
  await writeAll(proc, control, new Uint8Array([state]));
}

async function readJson(proc: Proc, control: Conversation): Promise<unknown> {
  const length = get32(await readExactly(proc, control, 4), 0);
  if (length > JSON_MAX) throw new KernelError("EPROTO", `The client of iperf3 sends ${length} bytes of JSON`);
  return JSON.parse(new TextDecoder().decode(await readExactly(proc, control, length)));
}

async function writeJson(proc: Proc, control: Conversation, value: unknown): Promise<void> {
  const text = new TextEncoder().encode(JSON.stringify(value));
  const message = new Uint8Array(4 + text.length);
  put32(message, 0, text.length);
  message.set(text, 4);
  await writeAll(proc, control, message);
}

async function writeAll(proc: Proc, conv: Conversation, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await proc.write(conv.data, bytes.subarray(at));
}

async function readExactly(proc: Proc, conv: Conversation, count: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(count);
  for (let at = 0; at < count;) {
    const got = await proc.read(conv.data, bytes.subarray(at));
    if (got === 0) throw new KernelError("EPROTO", "The client of iperf3 closed its connection");
    at += got;
  }
  return bytes;
}
