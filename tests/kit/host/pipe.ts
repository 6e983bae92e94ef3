/** A pipe as a test sees it: both ends, whole blocks, and its readiness. */

import { Block } from "../../../kernel/block.ts";
import type { Chan } from "../../../kernel/chan.ts";
import { TapEvent } from "../../../kernel/fd_tap.ts";
import { EVE, Open } from "../../../kernel/qid.ts";
import { Rendez } from "../../../kernel/rendez.ts";
import { openAt, testEnv } from "./dev.ts";
import { PipeDev } from "../../../devices/pipe/dev_pipe.ts";

export const { Readable, Writable, Hangup, RdHup, Deleted } = TapEvent;

export interface TestPipe {
  root: Chan;
  ctl: Chan;
  data: Chan;
  data1: Chan;
}

/** A pipe with both ends open. */
export function newPipe(dev = new PipeDev(testEnv()), user: string = EVE): TestPipe {
  const root = dev.attach("", user);
  const open = (name: string) => openAt(root, name, Open.ReadWrite, user);
  return { root, ctl: open("ctl"), data: open("data"), data1: open("data1") };
}

export function bwrite(chan: Chan, size: number): number | Rendez {
  return chan.dev.bwrite(chan, Block.from(new Uint8Array(size)));
}

/** Length of the next block; null at the end, "wait" if there is none. */
export function bread(chan: Chan, max = 1 << 20): number | null | "wait" {
  const block = chan.dev.bread(chan, max);
  if (block instanceof Rendez) return "wait";
  return block === null ? null : block.length;
}
