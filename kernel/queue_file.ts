/**
 * The four ways to move data through a file that has a queue behind it, with Akaros' errors; shared by all devices.
 *
 * Path: dev_pipe, dev_ip → queue_file → queue.
 *
 * @module
 */

import type { Block, BlockPool } from "./block.ts";
import { KernelError } from "./error.ts";
import type { Queue } from "./queue.ts";
import type { OrWait } from "./rendez.ts";

/** Reads of a closed queue that return 0 before they fail with EPIPE (Akaros qio). */
export const EOF_READS_MAX = 3;

/** Bytes of one message, or of a stream; 0 at the end. */
export function readQueue(queue: Queue, buf: Uint8Array): OrWait<number> {
  const count = queue.read(buf);
  if (count === "empty") return queue.readable;
  return count === "closed" ? endOfFile(queue) : count;
}

/** Exactly one block; null at the end. A message longer than `max` stays queued: EMSGSIZE carries its length. */
export function breadQueue(queue: Queue, max: number): OrWait<Block | null> {
  if (queue.message) {
    const length = queue.headLength();
    if (length > max) {
      throw new KernelError("EMSGSIZE", `Cannot read a block of ${length} bytes: the limit is ${max}`, { length });
    }
  }
  const block = queue.bread(max);
  if (block === "empty") return queue.readable;
  if (block === "closed") {
    endOfFile(queue);
    return null;
  }
  return block;
}

/** Takes bytes: all of them when there was room (the queue may overshoot by one write), none otherwise. */
export function writeQueue(queue: Queue, bytes: Uint8Array, pool: BlockPool): OrWait<number> {
  const count = queue.write(bytes, pool);
  if (count === "full") return queue.writable;
  if (count === "closed") throw brokenPipe(queue);
  return count;
}

/** Takes one block, whole or not at all; returns its length. */
export function bwriteQueue(queue: Queue, block: Block): OrWait<number> {
  const length = block.length;
  const result = queue.bwrite(block);
  if (result === "full") return queue.writable;
  if (result === "closed") throw brokenPipe(queue);
  return length;
}

/** 0 for the first reads after the end; EPIPE if the queue was hung up with a reason, or the reader keeps reading. */
function endOfFile(queue: Queue): number {
  if (queue.reason !== "" || ++queue.eofReads > EOF_READS_MAX) throw brokenPipe(queue);
  return 0;
}

function brokenPipe(queue: Queue): KernelError {
  return new KernelError("EPIPE", queue.reason !== "" ? queue.reason : "Hangup");
}
