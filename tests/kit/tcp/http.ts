/** An HTTP server on the host of a lab, over web streams. */

import { assert } from "@std/assert";
import { KernelError } from "../../../kernel/error.ts";
import { announceStream, type StreamConn } from "../../../tools/boot/streams.ts";
import type { TcpLab } from "./linux.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Answers one HTTP request, when `ready` settles, and lets the client close first. */
async function httpAnswer(conn: StreamConn, ready: Promise<void>): Promise<void> {
  const reader = conn.readable.getReader();
  let head = "";
  while (!head.includes("\r\n\r\n")) {
    const { value, done } = await reader.read();
    if (done) return conn.close();
    head += decoder.decode(value);
  }
  await ready;
  const body = `you asked for ${head.split(" ")[1]}\n`;
  const writer = conn.writable.getWriter();
  await writer.write(
    encoder.encode(`HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`),
  );
  while (!(await reader.read()).done);
  conn.close();
}

/** An HTTP server on the host over web streams that answers when `crowd` clients are there; ends with the lab. */
export async function serveHttp(lab: TcpLab, crowd = 1): Promise<void> {
  const listener = await announceStream(lab.proc, "tcp!*!80");
  const ready = Promise.withResolvers<void>();
  let count = 0;
  const serve = async () => {
    for await (const conn of listener) {
      if (++count === crowd) ready.resolve();
      httpAnswer(conn, ready.promise).catch((error) => lab.serverErrors.push(String(error)));
    }
  };
  // The end of the host ends it.
  serve().catch((error) => assert(error instanceof KernelError));
}
