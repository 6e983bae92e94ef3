/**
 * #eventfd: a counter that can be waited for. Every attach makes a new one; the spec `sem` makes a semaphore.
 *
 * Path: dev → dev_eventfd → fd_tap.
 *
 * ```
 * #eventfd      0555
 *   ctl         0660   read: number of the counter and its mode, `3 count` or `3 sem`
 *   efd         0660   write N: adds N. read: the count in decimal, and clears it; of a semaphore 1, and takes one
 * ```
 *
 * A read of zero waits, and so does a write that would pass {@link COUNT_MAX}. Numbers are written in C notation.
 *
 * @module
 */

import { Chan } from "../../kernel/chan.ts";
import { ctlText, parseBigNumber, shown, splitWords } from "../../kernel/ctl.ts";
import { ChanCtl, Dev, makeDir } from "../../kernel/dev.ts";
import { KernelError } from "../../kernel/error.ts";
import { type FdTap, type TapCommand, TapEvent, TapList } from "../../kernel/fd_tap.ts";
import { type Dir, DirMode, QidType } from "../../kernel/qid.ts";
import { type OrWait, Rendez } from "../../kernel/rendez.ts";

/** Greatest count: 2^64 - 2, as in Linux and Akaros. */
export const COUNT_MAX: bigint = 2n ** 64n - 2n;

const Qid = { Root: 0, Ctl: 1, Efd: 2 } as const;
const TAPS = TapEvent.Readable | TapEvent.Writable;
const encoder = new TextEncoder();

/** One counter. */
interface Counter {
  readonly number: number;
  readonly semaphore: boolean;
  readonly user: string;
  count: bigint;
  /** A write found too little room since the last read: the next read fires Writable even if there was some. */
  refused: boolean;
  readonly readable: Rendez;
  readonly writable: Rendez;
  readonly taps: TapList;
}

/** The device `#eventfd`. */
export class EventfdDev extends Dev {
  override readonly name = "eventfd";
  #next = 0;

  override attach(spec: string, user: string): Chan {
    if (spec !== "" && spec !== "sem") {
      throw new KernelError("EINVAL", `Cannot attach "#eventfd.${spec}": the only spec is sem`);
    }
    const number = this.#next++;
    const aux: Counter = {
      number,
      semaphore: spec === "sem",
      user,
      count: 0n,
      refused: false,
      readable: new Rendez(),
      writable: new Rendez(),
      taps: new TapList(),
    };
    const path = spec === "" ? "#eventfd" : `#eventfd.${spec}`;
    return new Chan(this, { path: Qid.Root, vers: 0, type: QidType.Dir }, { instance: number, path, aux });
  }

  override lookup(dir: Chan, name: string): Dir | null {
    if (name === "..") return makeDir(Qid.Root, "#eventfd", { dir: true });
    return this.list(dir).find((entry) => entry.name === name) ?? null;
  }

  override list(dir: Chan): Dir[] {
    const counter = dir.aux as Counter;
    const ready = levelOf(counter);
    const readiness = ((ready & TapEvent.Readable) !== 0 ? DirMode.Readable : 0) |
      ((ready & TapEvent.Writable) !== 0 ? DirMode.Writable : 0);
    return [
      makeDir(Qid.Ctl, "ctl", { mode: 0o660, uid: counter.user }),
      makeDir(Qid.Efd, "efd", { mode: 0o660 | readiness, uid: counter.user }),
    ];
  }

  override stat(chan: Chan): Dir {
    const files = this.list(chan);
    return files[chan.qid.path - 1] ?? makeDir(Qid.Root, "#eventfd", { dir: true });
  }

  override read(chan: Chan, buf: Uint8Array, offset: number): OrWait<number> {
    const counter = chan.aux as Counter;
    if (chan.qid.path === Qid.Ctl) {
      return this.readText(chan, buf, offset, () => `${counter.number} ${counter.semaphore ? "sem" : "count"}`);
    }
    if (counter.count === 0n) return counter.readable;
    const taken = counter.semaphore ? 1n : counter.count;
    const text = encoder.encode(`${taken}`);
    if (text.length > buf.length) {
      throw new KernelError("EINVAL", `Cannot read a count of ${text.length} digits into ${buf.length} bytes`);
    }
    buf.set(text);
    takeFrom(counter, taken);
    return text.length;
  }

  override write(chan: Chan, bytes: Uint8Array, _offset: number): OrWait<number> {
    const counter = chan.aux as Counter;
    if (chan.qid.path === Qid.Ctl) throw new KernelError("EFAIL", `Cannot write "${chan.path}": it has no commands`);
    const words = splitWords(ctlText(bytes));
    if (words.length !== 1) throw new KernelError("EINVAL", `Cannot add ${shown(words.join(" "))}: write one number`);
    const added = parseBigNumber(words[0]!, { max: COUNT_MAX });
    if (added > COUNT_MAX - counter.count) {
      counter.refused = true;
      return counter.writable;
    }
    const wasZero = counter.count === 0n;
    counter.count += added;
    if (wasZero && added > 0n) {
      counter.readable.wakeup();
      counter.taps.fire(TapEvent.Readable);
    }
    return bytes.length;
  }

  override tapfd(chan: Chan, tap: FdTap, command: TapCommand): number {
    if (chan.qid.path !== Qid.Efd) return super.tapfd(chan, tap, command);
    const counter = chan.aux as Counter;
    counter.taps.apply(tap, command, TAPS);
    return levelOf(counter);
  }

  override chanCtl(chan: Chan, op: number, arg: number): number {
    return op === ChanCtl.SetFlags ? 0 : super.chanCtl(chan, op, arg);
  }
}

/** Readiness now, as bits of TapEvent; writable: room for 1. */
function levelOf(counter: Counter): number {
  return (counter.count > 0n ? TapEvent.Readable : 0) | (counter.count < COUNT_MAX ? TapEvent.Writable : 0);
}

function takeFrom(counter: Counter, taken: bigint): void {
  const tells = counter.refused || counter.count === COUNT_MAX;
  counter.count -= taken;
  counter.refused = false;
  if (!tells) return;
  counter.writable.wakeup();
  counter.taps.fire(TapEvent.Writable);
}
