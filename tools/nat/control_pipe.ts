/**
 * ControlPipe: commands for a NAT (nat/control) by a pipe that is posted in `#srv`: one a block, one answer a block.
 *
 * Path: program → control_pipe → proc, sys.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import { CTL_BYTES_MAX } from "../../kernel/ctl.ts";
import { KernelError } from "../../kernel/error.ts";
import { type EventQueue, TapEvent } from "../../kernel/fd_tap.ts";
import type { Proc } from "../../kernel/proc.ts";
import { Open } from "../../kernel/qid.ts";
import { AGAIN } from "../../kernel/sys.ts";
import { Tap } from "../../kernel/syscall_table.ts";

/** Commands in one run of the job. */
const COMMANDS_PER_RUN = 16;

/** How it is made. */
interface ControlPipeOptions {
  readonly proc: Proc;
  /** Gets an event, whose data is null, when there are commands. */
  readonly events: EventQueue;
  /** Carries out a command; answers its text. */
  readonly run: (text: string) => string;
  /** Its name in `#srv`. */
  readonly name: string;
}

/** See above. */
export class ControlPipe {
  readonly #options: ControlPipeOptions;
  #fd = -1;
  #post = -1;

  /** Makes the pipe and posts its far end. */
  constructor(options: ControlPipeOptions) {
    this.#options = options;
    try {
      this.#open();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #open(): void {
    const { proc: { sys }, events: queue, name } = this.#options;
    const pipe = fdOf(sys.open("#pipe", Open.Path));
    let far = -1;
    try {
      const ctl = fdOf(sys.openat(pipe, "ctl", Open.Write));
      sys.write(ctl, new TextEncoder().encode("oneblock"));
      sys.close(ctl);
      this.#fd = fdOf(sys.openat(pipe, "data", Open.ReadWrite | Open.NonBlock));
      far = fdOf(sys.openat(pipe, "data1", Open.ReadWrite));
      const flags = Open.Write | Open.Create | Open.Excl | Open.RemoveOnClose;
      this.#post = fdOf(sys.open(`#srv/${name}`, flags, 0o660));
      sys.write(this.#post, new TextEncoder().encode(`${far}`));
    } finally {
      if (far >= 0) sys.close(far);
      sys.close(pipe);
    }
    const fd = this.#fd;
    sys.tapFds([{ fd, command: Tap.Add, filter: TapEvent.Readable, queue, id: fd, data: null, level: true }]);
  }

  /** Carries out the commands that have come; after {@link COMMANDS_PER_RUN} it asks for another event. */
  serve(): void {
    const { proc: { sys }, events, run } = this.#options;
    for (let i = 0; i < COMMANDS_PER_RUN && this.#fd >= 0; i++) {
      try {
        const block = sys.blockread(this.#fd);
        if (block === AGAIN || block === null) return;
        const bytes = (block as Block).bytes();
        const text = new TextDecoder().decode(bytes.subarray(0, CTL_BYTES_MAX));
        // Who does not read the answers gets none: the pipe is full.
        sys.blockwrite(this.#fd, new TextEncoder().encode(run(text)));
      } catch (error) {
        if (!(error instanceof KernelError)) throw error;
        return;
      }
    }
    events.send(this.#fd, TapEvent.Readable, null);
  }

  /** Takes it away. */
  close(): void {
    for (const fd of [this.#fd, this.#post]) if (fd >= 0) this.#options.proc.sys.close(fd);
    this.#fd = this.#post = -1;
  }
}

function fdOf(fd: number | typeof AGAIN): number {
  if (fd === AGAIN) throw new KernelError("EBUSY", "Cannot open it now");
  return fd as number;
}
