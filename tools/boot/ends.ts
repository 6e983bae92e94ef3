/**
 * What connections, listeners and datagrams have in common: an iterator over what arrives, and a conversation that is
 * closed if nothing comes of it.
 *
 * Path: streams, datagrams → ends → dial, proc.
 *
 * @module
 */

import { type Conversation, hangUp } from "../../kernel/dial.ts";
import type { Proc } from "../../kernel/proc.ts";

/** An end at which something arrives. */
interface LocalEnd<T> {
  /** The next arrival; rejects once the end is closed. */
  next(): Promise<T>;
  isOpen(): boolean;
}

/** Every arrival until the end is closed, which is no error. */
export async function* each<T>({ next, isOpen }: LocalEnd<T>): AsyncGenerator<T, void, void> {
  while (isOpen()) {
    try {
      yield await next();
    } catch (error) {
      if (isOpen()) throw error;
    }
  }
}

/** What `make` returns, which owns the conversation from then on; if it throws, the conversation is closed. */
export async function orHangUp<T>(proc: Proc, conv: Conversation, make: () => Promise<T>): Promise<T> {
  try {
    return await make();
  } catch (error) {
    hangUp(proc, conv);
    throw error;
  }
}
