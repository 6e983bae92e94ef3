/**
 * NatProgram: the NAT as a user program: frames of guests on one side, bypassed conversations on the other.
 *
 * Path: daemon, vm → program → nat, job, map, control, control_pipe.
 *
 * It knows the kernel by system calls only. Nothing here sleeps: a conversation that has packets raises an event, and a
 * job reads {@link BURST} packets of each ready conversation in turn, so that none waits for a busy one to end. After
 * {@link PACKETS_PER_RUN} it lets others have their turn.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import { KernelError } from "../../kernel/error.ts";
import { EventQueue, TapEvent } from "../../kernel/fd_tap.ts";
import { wholeBytes } from "../../kernel/inet/segment.ts";
import { Job } from "../../kernel/job.ts";
import type { Proc } from "../../kernel/proc.ts";
import { Open } from "../../kernel/qid.ts";
import type { Random } from "../../kernel/random.ts";
import { AGAIN } from "../../kernel/sys.ts";
import type { Clock, Timer } from "../../kernel/time.ts";
import {
  Decision,
  Nat,
  type NatOptions,
  Reason,
  refusedByHost,
  translateError,
  translateInbound,
  translateOutbound,
} from "./nat.ts";
import { type HostRefusal, refusalOf } from "./host_refusal.ts";
import type { NatMap } from "./map.ts";
import { runNatCommand } from "./control.ts";
import { ControlPipe } from "./control_pipe.ts";
import { NatNames } from "./names.ts";
import { describeDecision, type NatObserver } from "./observer.ts";
import { NatSockets } from "./sockets.ts";

/** Packets that one conversation may bring before the next has its turn. */
export const BURST = 16;
/** Packets in one run of the job. */
const PACKETS_PER_RUN = 256;

/** How the program is started. */
export interface NatProgramOptions {
  /** Process of the host that it runs as. */
  readonly proc: Proc;
  /** The clock that its host runs by. */
  readonly clock: Clock;
  /** For ports and identifiers. */
  readonly random: Random;
  /** Takes frames for guests, and owns them from then on. */
  readonly toGuest: (frame: Block) => void;
  /** How the NAT is made. */
  readonly nat: NatOptions;
  /** Forwards from the start. */
  readonly forwards?: readonly string[];
  /** Directory of the host's network. Default `/net`. */
  readonly netDir?: string;
  /** Whether guest and host may exchange checksums owed and segments uncut. */
  readonly offload?: boolean;
  /** Name of the control channel in `#srv`; null: none. Default `nat`. */
  readonly name?: string | null;
  /** Sees every frame and packet, with what was decided about it. */
  readonly observe?: NatObserver;
  /** Takes a line about limits that were met: one a minute at most. */
  readonly say?: (line: string) => void;
}

/** A running NAT. */
export class NatProgram {
  /**
   * The translation.
   *
   * @internal
   */
  readonly nat: Nat;
  /**
   * Its conversations.
   *
   * @internal
   */
  readonly sockets: NatSockets;
  /**
   * Its name server.
   *
   * @internal
   */
  readonly names: NatNames;
  readonly #proc: Proc;
  readonly #clock: Clock;
  readonly #toGuest: (frame: Block) => void;
  readonly #observe: NatObserver | null;
  readonly #say: (line: string) => void;
  readonly #events = new EventQueue();
  readonly #job: Job;
  readonly #timer: Timer;
  /**
   * A guest's frame is being translated. The system calls that a new map takes run what waits, this program's own job
   * among it: that has to wait until the NAT has done with the frame.
   */
  #isTranslating = false;
  #ready: NatMap[] = [];
  #control: ControlPipe | null = null;

  /** Starts it. Throws KernelError for options and forwards that make no sense; see {@link Nat.startForwards}. */
  constructor(options: NatProgramOptions) {
    const { proc, clock, random } = options;
    this.#proc = proc;
    this.#clock = clock;
    this.#toGuest = options.toGuest;
    this.#observe = options.observe ?? null;
    this.#say = options.say ?? (() => {});
    const { netDir = "/net", offload = false } = options;
    const { doors = null } = options.nat;
    this.sockets = new NatSockets({ proc, events: this.#events, random, netDir, offload, doors });
    this.nat = new Nat(options.nat, this.sockets, random);
    this.#job = new Job(clock.jobs, () => this.#isTranslating ? undefined : this.#run());
    this.#events.onEvent = () => this.#job.wake();
    this.#timer = clock.timer(() => this.#expire());
    const { nat } = this;
    const [isBusy, deliver] = [() => this.#isTranslating, () => this.#deliver()];
    this.names = new NatNames({ proc, clock, random, nat, netDir, isBusy, deliver });
    try {
      this.nat.startForwards(options.forwards ?? []);
      if (options.name !== null) {
        const run = (text: string) => this.command(text);
        this.#control = new ControlPipe({ proc, events: this.#events, run, name: options.name ?? "nat" });
      }
      this.#arm();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Takes a frame of a guest, and owns it from then on. */
  fromGuest(frame: Block): void {
    this.#isTranslating = true;
    const { kind, map, block } = this.#observe === null
      ? translateOutbound(this.nat, frame, this.#now())
      : this.#watchOutbound(frame, this.#observe);
    this.#isTranslating = false;
    if (this.#events.length > 0 || this.#ready.length > 0) this.#job.wake();
    this.names.resume();
    if (kind === Decision.Send) this.#send(map!, block!);
    this.#deliver();
    this.#armIfSooner();
  }

  /**
   * The time in whole milliseconds: a small integer, which stands in an object's own field. A fraction would take 16
   * bytes more in each map and remote.
   */
  #now(): number {
    return Math.floor(this.#clock.now());
  }

  /** {@link translateOutbound} with somebody looking. */
  #watchOutbound(frame: Block, observe: NatObserver): Decision {
    const { nat } = this;
    const bytes = wholeBytes(frame).slice();
    const { mapsMade } = nat.counters;
    const decision = translateOutbound(nat, frame, this.#now());
    const note = describeDecision(decision, nat.counters.mapsMade > mapsMade);
    observe({ point: "guest", direction: "out", bytes, note });
    return decision;
  }

  #inbound(packet: Block, map: NatMap): Decision {
    return translateInbound(this.nat, packet, map, this.#now());
  }

  /** The same with somebody looking. */
  #watchInbound(packet: Block, map: NatMap, observe: NatObserver): Decision {
    const bytes = wholeBytes(packet).slice();
    const decision = this.#inbound(packet, map);
    observe({ point: "bypass", direction: "in", bytes, note: describeDecision(decision, false) });
    return decision;
  }

  /** Runs one command as the control channel does. */
  command(text: string): string {
    // What waits goes first: a packet must not find a port that changes hands without an owner: the host would
    // reset a connection that a new forward is to carry.
    this.#clock.jobs.run();
    return runNatCommand(this.nat, text, this.#now());
  }

  /** Ends it: every port is free again. */
  close(): void {
    this.#timer.disarm();
    this.names.close();
    this.nat.shutdown();
    this.#control?.close();
    this.#control = null;
    this.#ready = [];
    this.#events.onEvent = null;
  }

  /** Hands out what waits for guests. */
  #deliver(): void {
    while (this.nat.frames.length > 0) {
      for (const frame of this.nat.takeFrames()) {
        this.#observe?.({ point: "guest", direction: "in", bytes: wholeBytes(frame), note: "" });
        this.#toGuest(frame);
      }
    }
  }

  /** Gives a packet to the host. */
  #send(map: NatMap, block: Block): void {
    this.#observe?.({ point: "bypass", direction: "out", bytes: wholeBytes(block), note: "" });
    try {
      if (this.#proc.sys.blockwrite((map.carrier ?? map).fd, block) === AGAIN) {
        this.#refused(block, map, { reason: Reason.Busy });
      }
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      this.#refused(block, map, refusalOf(error));
    }
  }

  #refused(block: Block, map: NatMap, refusal: HostRefusal): void {
    refusedByHost(this.nat, block, map, refusal);
  }

  // --- what comes from the host

  #run(): void {
    this.#takeEvents();
    let left = PACKETS_PER_RUN;
    while (left > 0 && this.#ready.length > 0) {
      const map = this.#ready.shift()!;
      const count = this.#receive(map);
      if (count === BURST) this.#ready.push(map);
      else map.isReady = false;
      left -= Math.max(1, count);
      // Those that came in the meantime wait behind those that wait already.
      this.#takeEvents();
    }
    if (this.#ready.length > 0) this.#job.wake();
    this.#armIfSooner();
  }

  #takeEvents(): void {
    for (let event = this.#events.poll(); event !== null; event = this.#events.poll()) {
      const map = event.data as NatMap | null;
      if (map === null) {
        this.#control?.serve();
        continue;
      }
      if (map.fd !== event.id) continue;
      if ((event.events & TapEvent.Error) !== 0) this.#receiveErrors(map);
      if ((event.events & (TapEvent.Readable | TapEvent.Hangup)) === 0 || map.isReady || map.fd < 0) continue;
      map.isReady = true;
      this.#ready.push(map);
    }
  }

  /** Reads a burst of one conversation; answers how many packets: less than {@link BURST} says that none is left. */
  #receive(map: NatMap): number {
    if (map.fd < 0) return 0;
    const blocks = this.#readv(map);
    if (blocks === null) return 0;
    for (const packet of blocks) {
      const { kind, block } = this.#observe === null
        ? this.#inbound(packet, map)
        : this.#watchInbound(packet, map, this.#observe);
      if (kind === Decision.Send) this.#send(map, block!);
      this.#deliver();
      if (map.fd < 0) return 0;
    }
    return blocks.length;
  }

  #readv(map: NatMap): Block[] | null {
    try {
      const blocks = this.#proc.sys.blockreadv(map.fd, BURST);
      if (blocks === AGAIN) return null;
      if (blocks !== null) return blocks as Block[];
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      this.nat.counters.refuse(Reason.HostRefused);
    }
    // The conversation is over: its next packet makes a new map.
    if (!map.isStatic) this.nat.close(map);
    return null;
  }

  /** ICMP errors about what a map sent. */
  #receiveErrors(map: NatMap): void {
    const { sys } = this.#proc;
    let fd = -1;
    try {
      const opened = sys.open(`${this.sockets.dirOf(map)}/err`, Open.Read | Open.NonBlock);
      if (opened === AGAIN) return;
      fd = opened as number;
      for (let block = sys.blockread(fd); block !== AGAIN && block !== null; block = sys.blockread(fd)) {
        translateError(this.nat, block as Block, map, this.#now());
        this.#deliver();
      }
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      this.nat.counters.refuse(Reason.HostRefused);
    } finally {
      if (fd >= 0) sys.close(fd);
    }
  }

  // --- time

  #expire(): void {
    const now = this.#now();
    this.nat.expire(now);
    const line = this.nat.limits.take(now);
    if (line !== "") this.#say(line);
    this.#deliver();
    this.#arm();
  }

  #armIfSooner(): void {
    const next = this.nat.nextDeadline;
    if (next < Infinity && (!this.#timer.armed || next < this.#timer.deadlineMs)) this.#arm();
  }

  #arm(): void {
    const next = this.nat.nextExpiry();
    if (next < Infinity) this.#timer.arm(Math.max(0, next - this.#clock.now()));
    else this.#timer.disarm();
  }
}
