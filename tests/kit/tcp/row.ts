/**
 * A program: connections in a row between a host and Linux, and what the host holds before and after them, as JSON.
 *
 *     deno run --allow-all --v8-flags=--expose-gc tests/kit/tcp/row.ts from|to COUNT
 *
 * It is a program of its own, since only the flag lets it call the collector.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { HOST } from "../host/linux.ts";
import { type Holdings, openTcpLab, type TcpLab } from "./linux.ts";
import { serveHttp } from "./http.ts";

const PORT = 5001;
/** Until the compiler has seen everything. */
const WARM_UP = 1000;
const LIMIT_MS = 600_000;

/** Resources that a host holds, and bytes of heap in use. */
export interface RowHoldings extends Holdings {
  readonly heap: number;
}

/** Output of the program. */
export interface RowReport {
  readonly before: RowHoldings;
  readonly after: RowHoldings;
  /** Slots of conversations that were ever used. */
  readonly slots: number;
}

/** Makes `count` connections, one after another. */
type Row = (count: number) => Promise<void>;

function fromLinux(lab: TcpLab): Row {
  return async (count) => {
    const asked = ["-o", "/dev/null", "-w", "%{http_code}\n", `http://${HOST}/[1-${count}]`];
    const text = await lab.mustRun(["curl", "-sS", ...asked], { limitMs: LIMIT_MS });
    assertEquals(text, "200\n".repeat(count));
  };
}

function toLinux(lab: TcpLab): Row {
  const buf = new Uint8Array(1);
  return async (count) => {
    for (let i = 0; i < count; i++) {
      const call = await lab.dial(PORT);
      assertEquals(await lab.proc.read(call.data, buf), 0);
      lab.close(call);
    }
  };
}

function holdingsWithHeap(lab: TcpLab): RowHoldings {
  const { gc } = globalThis as unknown as { gc(): void };
  gc();
  gc();
  return { ...lab.holdings(), heap: Deno.memoryUsage().heapUsed };
}

async function measureRow(lab: TcpLab, row: Row, count: number): Promise<RowReport> {
  const idle = lab.holdings();
  await row(WARM_UP);
  // The cost of the neighbour's address stays.
  await lab.settle({ ...idle, timers: idle.timers + 1 });
  const before = holdingsWithHeap(lab);
  await row(count);
  await lab.settle(before);
  const slots = lab.stack.space(lab.stack.protoNamed("tcp")!).convs.length;
  return { before, after: holdingsWithHeap(lab), slots };
}

if (import.meta.main) {
  const [way, count] = Deno.args;
  await using lab = await openTcpLab();
  let report: RowReport;
  if (way === "from") {
    await serveHttp(lab);
    report = await measureRow(lab, fromLinux(lab), Number(count));
  } else {
    const greeter = ["socat", "-U", `TCP-LISTEN:${PORT},reuseaddr,fork,backlog=100`, "OPEN:/dev/null"];
    report = await lab.withServer(greeter, () => measureRow(lab, toLinux(lab), Number(count)));
  }
  console.log(JSON.stringify(report));
}
