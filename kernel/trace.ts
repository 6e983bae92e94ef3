/**
 * A process's trace of system calls, one line a call: time, process, number, name, arguments, result or errno.
 *
 * Path: proc_state → trace → user program.
 *
 * `12.345678 4 echo 127 blockread(3, 65536) = block[46]` · the time is milliseconds of the kernel's clock.
 *
 * @module
 */

import { Block } from "./block.ts";
import { KernelError } from "./error.ts";
import { Rendez } from "./rendez.ts";
import { syscallName } from "./syscall_table.ts";

/** Takes one line, without newline. */
export type TraceSink = (line: string) => void;

/** Most characters of a text argument that are shown. */
const TEXT_SHOWN = 48;

/** Formats one finished call. */
export function traceLine(
  who: { now: number; pid: number; name: string },
  call: number,
  args: readonly unknown[],
  outcome: unknown,
): string {
  const shown = args.map(formatValue).join(", ");
  const result = outcome instanceof KernelError ? `-1 ${outcome.code} ${outcome.message}` : formatValue(outcome);
  return `${who.now.toFixed(6)} ${who.pid} ${who.name} ${call} ${syscallName(call)}(${shown}) = ${result}`;
}

function formatValue(value: unknown): string {
  if (value instanceof Block) return `block[${value.length}]`;
  if (value instanceof Uint8Array) return `bytes[${value.length}]`;
  if (value instanceof Rendez) return "-1 EAGAIN";
  if (Array.isArray(value)) return `[${value.map(formatValue).join(", ")}]`;
  if (typeof value === "string") {
    return JSON.stringify(value.length > TEXT_SHOWN ? `${value.slice(0, TEXT_SHOWN)}…` : value);
  }
  if (value === undefined) return "0";
  return typeof value === "object" && value !== null ? "{…}" : String(value);
}
