/**
 * FarStack: the TCP that stands for every other host: a second IP stack of the same kernel, whose one interface accepts
 * every address, with a program that serves all ports.
 *
 * Path: tcp_relay → far_stack → far_conv, proc, sys (files of #ip).
 *
 * It gets nothing but TCP segments of the link, so it never answers for a host by itself: no echo, no "port
 * unreachable".
 *
 * @module
 */

import { KernelError } from "../../kernel/error.ts";
import { EventQueue, TapEvent } from "../../kernel/fd_tap.ts";
import { Job } from "../../kernel/job.ts";
import type { Proc } from "../../kernel/proc.ts";
import { Open } from "../../kernel/qid.ts";
import { AGAIN } from "../../kernel/sys.ts";
import { Tap } from "../../kernel/syscall_table.ts";
import { descriptor, FarConv } from "./far_conv.ts";
import type { LinkEnds } from "./context.ts";

/**
 * Most bytes that wait for a guest: it takes them at once, or not at all, and what waits was taken from the world. With
 * more in flight the processor's cache is left, and the pool of blocks.
 */
const SEND_QUEUE_MAX = 1 << 20;
/** The link loses nothing, so there is nothing to gather, and no acknowledgment to save. Calls inherit these. */
const CALL_VERBS = ["nodelay on", "quickack on", `wqlimit ${SEND_QUEUE_MAX}`];
/** Calls taken in one turn. */
const CALLS_PER_TURN = 64;

const encoder = new TextEncoder();

/** What becomes of a conversation's events. */
export interface FarEvents {
  /** A call came, and was taken. */
  call(conv: FarConv): void;
  /** The conversation with this data descriptor can be read or written, or was hung up: bits of {@link TapEvent}. */
  event(data: number, events: number): void;
}

/** How the stack is made. */
export interface FarOptions {
  /** A process of the host kernel. */
  readonly proc: Proc;
  /** Number of the stack, which no other program uses. */
  readonly stack: number;
  /** Name of the packet port that its interface is bound to. */
  readonly port: string;
  readonly v4: LinkEnds;
  readonly v6: LinkEnds;
}

/** Wakes a job for each event. */
class Events extends EventQueue {
  wake: () => void = () => {};

  override send(id: number, events: number, data: unknown): void {
    super.send(id, events, data);
    this.wake();
  }
}

/** See above. */
export class FarStack {
  readonly #proc: Proc;
  readonly #net: string;
  readonly #events = new Events();
  readonly #owner: FarEvents;
  readonly #listener: FarConv;

  /** Makes the stack. Throws KernelError. */
  constructor({ proc, stack, port, v4, v6 }: FarOptions, owner: FarEvents) {
    this.#proc = proc;
    this.#owner = owner;
    const job = new Job(proc.kernel.clock.jobs, () => this.#run());
    this.#events.wake = () => job.wake();
    const net = this.#net = `#ip.${stack}`;
    // The peer's address and the neighbour's network, and then every other address; 127/8 is the machine's own.
    const verbs = [`bind tun ${port}`, `add ${v4.peer} /29`, `add ${v6.peer} /64`, "add 0.0.0.0 /0", "add :: /0"];
    this.#write(`${net}/ipifc/clone`, ...verbs, "localnet");
    this.#write(`${net}/iproute`, `add 0.0.0.0 /0 ${v4.near}`, `add :: /0 ${v6.near}`, `add 127.0.0.0 /8 ${v4.near}`);
    this.#listener = FarConv.make(proc, net);
    for (const verb of CALL_VERBS) this.#listener.command(verb);
    this.#listener.command("announce *!1-65535");
    this.watch(this.#listener);
  }

  #write(path: string, ...commands: readonly string[]): void {
    const fd = descriptor(this.#proc.sys.open(path, Open.ReadWrite));
    for (const command of commands) this.#proc.sys.write(fd, encoder.encode(command));
    this.#proc.sys.close(fd);
  }

  /** Reports a conversation's events to the owner, and one that has already happened. */
  watch(conv: FarConv): void {
    const filter = TapEvent.Readable | TapEvent.Writable | TapEvent.Hangup;
    const { data: fd } = conv;
    this.#proc.sys.tapFds([{ fd, command: Tap.Add, filter, queue: this.#events, id: fd, data: null, level: true }]);
  }

  /** A conversation of its own, for a call to the near stack. */
  make(): FarConv {
    const conv = FarConv.make(this.#proc, this.#net);
    for (const verb of CALL_VERBS) conv.command(verb);
    return conv;
  }

  #run(): void {
    for (let event = this.#events.poll(); event !== null; event = this.#events.poll()) {
      if (event.id === this.#listener.data) this.#accept();
      else this.#owner.event(event.id, event.events);
    }
  }

  #accept(): void {
    const path = `${this.#listener.dir}/listen`;
    for (let i = 0; i < CALLS_PER_TURN; i++) {
      const ctl = this.#proc.sys.open(path, Open.ReadWrite | Open.NonBlock);
      if (ctl === AGAIN) return;
      this.#taken(ctl as number);
    }
    this.#events.send(this.#listener.data, TapEvent.Readable, null);
  }

  #taken(ctl: number): void {
    let conv: FarConv;
    try {
      conv = new FarConv(this.#proc, ctl);
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      this.#proc.sys.close(ctl);
      return;
    }
    this.#owner.call(conv);
  }

  /** Ends the program; its conversations are its owner's to close. */
  close(): void {
    this.#events.wake = () => {};
    this.#listener.close();
    this.#proc.exit();
  }
}
