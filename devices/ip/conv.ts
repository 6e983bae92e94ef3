/**
 * Conv: one numbered conversation directory; its ends, its state, its queues. Slots are reused, never freed.
 *
 * Path: dev_ip (files) → conv → queues ← protocol, bypass.
 *
 * @module
 */

import { TapEvent, TapList } from "../../kernel/fd_tap.ts";
import type { KernelError } from "../../kernel/error.ts";
import { Queue, type QueueOptions } from "../../kernel/queue.ts";
import { Rendez } from "../../kernel/rendez.ts";
import { IP_UNSPECIFIED, type IpAddr } from "../../kernel/wire/ip_addr.ts";
import type { Bypass } from "./bypass.ts";
import type { ConvSpace } from "./conv_space.ts";
import type { TableEntry } from "./conv_table.ts";
import type { IpStack } from "./ip_stack.ts";
import type { Ipifc } from "./ipifc.ts";
import { ConvState, type Proto } from "./proto.ts";

/** Default TTL of packets that a conversation sends. */
export const TTL_DEFAULT = 255;
/** Bytes in the `err` queue, and ICMP errors: a short one takes as much memory as a long one. */
export const ERR_QUEUE_LIMIT = 16384;
export const ERR_QUEUE_BLOCKS = 32;
/** Owner of a conversation that nobody has open. */
export const NETWORK_USER = "network";
/** Permission bits of a conversation's files until someone changes them: its owner, and eve. */
export const CONV_PERM = 0o660;

/** Membership of a conversation in a multicast group. */
export interface Membership {
  /** Where it was joined, and the address by which that was said. */
  readonly ifc: Ipifc;
  readonly ifcAddr: IpAddr;
  readonly group: IpAddr;
}

/** One conversation. */
export class Conv {
  state: ConvState = ConvState.Idle;
  owner: string = NETWORK_USER;
  /** Permission bits of ctl, data, err and listen. */
  perm = CONV_PERM;
  laddr: IpAddr = IP_UNSPECIFIED;
  raddr: IpAddr = IP_UNSPECIFIED;
  lport = 0;
  rport = 0;
  /** Last port of a bypassed range; equal to `lport` otherwise. */
  lportEnd = 0;
  ttl = TTL_DEFAULT;
  tos = 0;
  /** Local end that `bind` gave it, to be kept by `connect`; null: none. */
  bound: { readonly addr: IpAddr; readonly port: number } | null = null;
  /** `shutdown wr`: nothing more is sent. */
  writeShut = false;
  /** ICMP errors do not hang it up. */
  ignoreAdvice = false;
  /** Its reader and writer know blocks with a checksum owed or a segment to be cut. */
  offload = false;
  /** A bypass writer's TTL, TOS, id, DF and options are kept; false: Akaros' behaviour. */
  keepHeader = true;
  /** The only IP version that its bypass takes and sends; 0: both. */
  bypassVersion: 0 | 4 | 6 = 0;
  /** Multicast groups it joined. */
  groups: Membership[] = [];
  /** How many chans of ctl, data, err and listen are open; a call that nobody took yet counts as one. */
  inUse = 0;
  /** How many chans of snoop are open: copies go to `sq` only then. */
  snoopers = 0;
  /** Why connecting failed, until someone was told. */
  failure: KernelError | null = null;
  /** Received data: what the data file reads. */
  rq: Queue;
  /** Data to be sent, for protocols that store it; null: writes go to the protocol directly. */
  wq: Queue | null = null;
  /** What the snoop file reads (ipifc), or null. */
  sq: Queue | null = null;
  /** Taps on the data file: they belong to the conversation, so they outlive an exchange of its queues. */
  readonly dataTaps: TapList = new TapList();
  readonly errTaps: TapList = new TapList();
  readonly listenTaps: TapList = new TapList();
  /** Calls that wait to be taken by `listen`. */
  readonly calls: Conv[] = [];
  /** Where `listen` and `connect` sleep. */
  readonly changed: Rendez = new Rendez();
  /** What a bypassed conversation claims; null in every other state. */
  bypass: Bypass | null = null;
  /** For {@link ConvTable}: its entries there. */
  readonly entries: TableEntry[] = [];
  /** For {@link PortSpace}: whether its local ports are counted as used. */
  holdsPort = false;
  /** The protocol's own. */
  priv: unknown = null;
  #eq: Queue | null = null;

  constructor(readonly stack: IpStack, readonly proto: Proto, readonly number: number) {
    this.rq = this.makeDataQueue({ limit: 0 });
  }

  /** What the err file reads: whole ICMP errors. Made when first needed. */
  get eq(): Queue {
    if (this.#eq === null) {
      this.#eq = new Queue({
        limit: ERR_QUEUE_LIMIT,
        limitBlocks: ERR_QUEUE_BLOCKS,
        message: true,
        account: this.stack.memory,
      });
      this.#eq.onEdge = (events) => this.errTaps.fire(events & ~TapEvent.Writable);
    }
    return this.#eq;
  }

  /** Throws away what waits on the err file: the last close. */
  dropErrors(): void {
    this.#eq?.flush();
  }

  /** A queue to be read through the data file: its edges reach the file's taps. */
  makeDataQueue(options: QueueOptions): Queue {
    const queue = new Queue(options);
    queue.onEdge = (events) => this.dataTaps.fire(events & ~TapEvent.Writable);
    return queue;
  }

  /** A queue to be written through the data file. */
  makeWriteQueue(options: QueueOptions): Queue {
    const queue = new Queue(options);
    queue.onEdge = (events) => this.dataTaps.fire(events & ~TapEvent.Readable);
    return queue;
  }

  /** Readiness of the data file now: bits of TapEvent. */
  get dataLevel(): number {
    let level = this.rq.level & ~TapEvent.Writable;
    if (this.state === ConvState.Connected || this.state === ConvState.Bypass || this.state === ConvState.Announced) {
      level |= this.wq === null ? TapEvent.Writable : this.wq.level & (TapEvent.Writable | TapEvent.Hangup);
    }
    return level;
  }

  /** The conversations of its protocol, their ports and table. */
  get space(): ConvSpace {
    return this.stack.space(this.proto);
  }

  /** The connection stands: whoever waits for it goes on. */
  connected(): void {
    this.state = ConvState.Connected;
    this.changed.wakeup();
    this.dataTaps.fire(TapEvent.Writable);
  }

  /** Calls may come now. */
  announced(): void {
    this.state = ConvState.Announced;
    this.changed.wakeup();
    this.dataTaps.fire(TapEvent.Writable);
  }

  /** Connecting came to nothing, for `reason`: the conversation is idle again and whoever waits is told. */
  failed(reason: KernelError): void {
    this.state = ConvState.Idle;
    this.space.backToBound(this);
    this.failure = reason;
    this.changed.wakeup();
    this.dataTaps.fire(TapEvent.Writable);
  }

  /** Makes it like new for `owner`. The protocol's part follows by `proto.create`. */
  reset(owner: string): void {
    this.state = ConvState.Idle;
    this.owner = owner;
    this.perm = CONV_PERM;
    this.laddr = this.raddr = IP_UNSPECIFIED;
    this.lport = this.rport = this.lportEnd = 0;
    this.ttl = TTL_DEFAULT;
    this.tos = 0;
    this.bound = null;
    this.ignoreAdvice = this.offload = this.writeShut = false;
    this.keepHeader = true;
    this.bypassVersion = 0;
    this.groups = [];
    this.failure = null;
    this.priv = null;
    this.#eq?.reopen();
  }

  /** `udp/3 of eve`, for error texts and logs. */
  toString(): string {
    return `${this.proto.name}/${this.number} of ${this.owner}`;
  }
}
