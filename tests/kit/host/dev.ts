/**
 * What tests of a single device need: an environment, walks, and one-line reads and writes without a process.
 *
 * @module
 */

import { BlockPool } from "../../../kernel/block.ts";
import type { Chan } from "../../../kernel/chan.ts";
import type { DevEnv } from "../../../kernel/dev.ts";
import { KernelError } from "../../../kernel/error.ts";
import { type EventSink, FdTap } from "../../../kernel/fd_tap.ts";
import { EVE, Open } from "../../../kernel/qid.ts";
import { SeededRandom } from "../../../kernel/random.ts";
import { Rendez } from "../../../kernel/rendez.ts";
import { VirtualClock } from "../../../kernel/time.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** An environment with virtual time, in which no other device can be opened. */
export function testEnv(): DevEnv & { clock: VirtualClock } {
  return {
    clock: new VirtualClock(),
    random: new SeededRandom(1),
    blocks: new BlockPool(),
    open: (path) => {
      throw new KernelError("ENOENT", `Cannot open "${path}": this environment has no names`);
    },
  };
}

/** The file `path` (names with slashes) below `root`, not open; an error if it is not there. */
export function walkTo(root: Chan, path: string): Chan {
  const names = path.split("/").filter((name) => name !== "");
  const { chan } = root.dev.walk(root, names);
  if (chan === null) throw new KernelError("ENOENT", `Cannot find "${path}"`);
  return chan;
}

/** Opens the file `path` below `root`; an error if that would wait. */
export function openAt(root: Chan, path: string, flags: number = Open.ReadWrite, user: string = EVE): Chan {
  return now(root.dev.open(walkTo(root, path), flags, user));
}

/** The answer of an operation that does not wait. */
export function now<T>(answer: T | Rendez): T {
  if (answer instanceof Rendez) throw new Error("The operation would wait");
  return answer;
}

/** One read as text, at the chan's offset. */
export function readText(chan: Chan, max = 65536): string {
  const buf = new Uint8Array(max);
  const count = now(chan.dev.read(chan, buf, chan.offset));
  chan.offset += count;
  return decoder.decode(buf.subarray(0, count));
}

/** One write of a text, or of bytes; answers the count. */
export function writeText(chan: Chan, data: string | Uint8Array): number {
  const bytes = typeof data === "string" ? encoder.encode(data) : data;
  return now(chan.dev.write(chan, bytes, chan.offset));
}

/** The names in a directory. */
export function namesIn(dir: Chan): string[] {
  return dir.dev.list(dir).map(({ name }) => name);
}

/** The text of a refusal: `EBUSY: Cannot …`. An error if `fn` does not throw a KernelError. */
export function refusal(fn: () => unknown): string {
  try {
    fn();
  } catch (error) {
    if (error instanceof KernelError) return `${error.code}: ${error.message}`;
    throw error;
  }
  throw new Error("Nothing was refused");
}

/** The code of a refusal alone. */
export function refusalCode(fn: () => unknown): string {
  return refusal(fn).replace(/:.*/s, "");
}

/** A tap, with the events that it got so far. */
export interface Watch {
  tap: FdTap;
  /** The events since last looked at, in order; taking them empties the list. */
  take(): number[];
  /** The level that the device reported when the tap was added. */
  level: number;
}

/** Adds a tap for `filter` to `chan`. */
export function watch(chan: Chan, filter: number): Watch {
  let events: number[] = [];
  const sink: EventSink = { send: (_id, bits) => events.push(bits) };
  const tap = new FdTap({ fd: 0, filter, id: 0, queue: sink });
  const take = () => {
    const taken = events;
    events = [];
    return taken;
  };
  return { tap, take, level: chan.dev.tapfd(chan, tap, "add") };
}

/** Whether a sleeper at `rendez` is woken by `fn`. */
export async function wakes(rendez: Rendez, fn: () => void): Promise<boolean> {
  let woken = false;
  const sleeper = rendez.sleep();
  const done = sleeper.done.then(() => woken = true, () => {});
  fn();
  await Promise.resolve();
  await Promise.resolve();
  const result: boolean = woken;
  if (!result) sleeper.abort();
  await done;
  return result;
}
