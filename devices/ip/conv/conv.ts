/**
 * Conv: one numbered conversation directory; its ends, its state, its queues. Slots are reused, never freed.
 *
 * Path: dev_ip, bypass, conv/advice → conv → bypass_claim, conv_table, ports, env/memory.
 *
 * @module
 */

import type { Block, BlockPool } from "../../../kernel/block.ts";
import { type OrWait, Rendez } from "../../../kernel/rendez.ts";
import { TapEvent, TapList } from "../../../kernel/fd_tap.ts";
import type { KernelError } from "../../../kernel/error.ts";
import { Queue, type QueueOptions } from "../../../kernel/queue.ts";
import { IP_UNSPECIFIED, type IpAddr } from "../../../kernel/wire/ip_addr.ts";
import type { Bypass } from "./bypass_claim.ts";
import type { ConvTable, Ends, TableEntry } from "./conv_table.ts";
import type { Ifc } from "../link/ifc.ts";
import type { MemoryAccount } from "../env/memory.ts";
import type { InputPacket } from "../packet/packet.ts";
import type { PortSpace } from "./ports.ts";
import { type Advice, type BypassRules, ConvState } from "./proto.ts";

/** Default TTL of packets that a conversation sends. */
export const TTL_DEFAULT = 255;
/** Bytes in the `err` queue, and ICMP errors: a short one takes as much memory as a long one. */
export const ERR_QUEUE_LIMIT = 16384;
const ERR_QUEUE_BLOCKS = 32;
/** Owner of a conversation that is not open. */
export const NETWORK_USER = "network";
/** Permission bits of a conversation's files until they are changed: its owner, and eve. */
export const CONV_PERM = 0o660;

/** Membership of a conversation in a multicast group. */
export interface Membership {
  /** Where it was joined, and the address by which that was said. */
  readonly ifc: Ifc;
  readonly ifcAddr: IpAddr;
  readonly group: IpAddr;
}

/** What a conversation needs of the space it is in: {@link ConvSpace} is one. */
export interface ConvHome {
  readonly blocks: BlockPool;
  /** The stack's account of messages that wait for readers. */
  readonly memory: MemoryAccount;
  readonly table: ConvTable<Conv>;
  readonly ports: PortSpace;
  /** One more chan of `conv`; one fewer. */
  use(conv: Conv, user: string): void;
  drop(conv: Conv): void;
  chown(conv: Conv, user: string): void;
  /** For a protocol that lingered on `conv`: it is done. */
  release(conv: Conv): void;
  /** A call for `listener`; null: there is no room for it. */
  call(listener: Conv, ends: Ends): Conv | null;
  /** Gives `conv` these ends, with a claim on packets for them; without; and takes both away. */
  claim(conv: Conv, ends: Ends): void;
  setEnds(conv: Conv, ends: Ends): void;
  unclaim(conv: Conv): void;
  /** Gives `conv` the ends it had after `bind`, or none. */
  backToBound(conv: Conv): void;
}

const NO_GROUPS: readonly Membership[] = [];

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
  /** Last port of an announced or bypassed range; equal to `lport` otherwise. */
  lportEnd = 0;
  ttl = TTL_DEFAULT;
  tos = 0;
  /** Local end that `bind` gave it, to be kept by `connect`; null: none. */
  bound: { readonly addr: IpAddr; readonly port: number } | null = null;
  /** `shutdown wr`: nothing more is sent. */
  writeShut = false;
  /** ICMP errors do not hang it up. */
  ignoreAdvice = false;
  /** Its local address may be one that is not ours: the answers to it must find their way back by themselves. */
  allowsForeign = false;
  /** Its reader and writer know blocks with a checksum owed or a segment to be cut. */
  offload = false;
  /** A bypass writer's TTL, TOS, id, DF and options are kept; false: Akaros' behaviour. */
  keepHeader = true;
  /** The only IP version that its bypass takes and sends; 0: both. */
  bypassVersion: 0 | 4 | 6 = 0;
  /** Multicast groups it joined. */
  groups: readonly Membership[] = NO_GROUPS;
  /** How many chans of ctl, data, err and listen are open; a call that was not taken yet counts as one. */
  inUse = 0;
  /** How many chans of snoop are open: copies go to `sq` only then. */
  snoopers = 0;
  /** Why connecting failed, until a system call has reported it. */
  failure: KernelError | null = null;
  /** Received data: what the data file reads. */
  rq: Queue;
  /** Data to be sent, for protocols that store it; null: writes go to the protocol directly. */
  wq: Queue | null = null;
  /** What the snoop file reads (ipifc), or null. */
  sq: Queue | null = null;
  /** Taps on the data file: they belong to the conversation, so they outlive an exchange of its queues. */
  readonly dataTaps: TapList = new TapList();
  /** What a bypassed conversation claims; null in every other state. */
  bypass: Bypass | null = null;
  /** For {@link ConvTable}: its entries there. */
  entries: readonly TableEntry<Conv>[] = [];
  /** For {@link PortSpace}: whether its local ports are counted as used. */
  holdsPort = false;
  /** The private part of the protocol, which alone knows its type: see `tcbOf` of TCP. */
  priv: unknown = null;
  /** Made when first needed: most conversations, of which a NAT has thousands, need none of these. */
  #eq: Queue | null = null;
  #errTaps: TapList | null = null;
  #listenTaps: TapList | null = null;
  #calls: Conv[] | null = null;
  #changed: Rendez | null = null;
  /** One for all the queues that it will have. */
  readonly #onDataEdge = (events: number) => this.dataTaps.fire(events & ~TapEvent.Writable);

  constructor(readonly space: ConvHome, readonly proto: Proto, readonly number: number) {
    this.rq = this.makeDataQueue({ limit: 0 });
  }

  /** Taps on the err file. */
  get errTaps(): TapList {
    return this.#errTaps ??= new TapList();
  }

  /** Taps on the listen file. */
  get listenTaps(): TapList {
    return this.#listenTaps ??= new TapList();
  }

  /** Calls that wait to be taken by `listen`. */
  get calls(): Conv[] {
    return this.#calls ??= [];
  }

  /** How many they are. */
  get callCount(): number {
    return this.#calls?.length ?? 0;
  }

  /** Where `listen` and `connect` sleep. */
  get changed(): Rendez {
    return this.#changed ??= new Rendez();
  }

  /** Wakes who sleeps there. */
  wake(): void {
    this.#changed?.wakeup();
  }

  /** What the err file reads: whole ICMP errors. */
  get eq(): Queue {
    if (this.#eq === null) {
      this.#eq = new Queue({
        limit: ERR_QUEUE_LIMIT,
        limitBlocks: ERR_QUEUE_BLOCKS,
        message: true,
        account: this.space.memory,
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
    queue.onEdge = this.#onDataEdge;
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

  /** The connection stands: callers that wait for it go on. */
  connected(): void {
    this.state = ConvState.Connected;
    this.wake();
    this.dataTaps.fire(TapEvent.Writable);
  }

  /** Calls may come now. */
  announced(): void {
    this.state = ConvState.Announced;
    this.wake();
    this.dataTaps.fire(TapEvent.Writable);
  }

  /** Connecting failed for `reason`: the conversation is idle again, and callers that wait get the reason. */
  failed(reason: KernelError): void {
    this.state = ConvState.Idle;
    this.space.backToBound(this);
    this.failure = reason;
    this.wake();
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
    this.ignoreAdvice =
      this.allowsForeign =
      this.offload =
      this.writeShut =
        false;
    this.keepHeader = true;
    this.bypassVersion = 0;
    this.groups = NO_GROUPS;
    this.failure = null;
    this.priv = null;
    this.#eq?.reopen();
  }

  /** `udp/3 of eve`, for error texts and logs. */
  toString(): string {
    return `${this.proto.name}/${this.number} of ${this.owner}`;
  }
}

/**
 * A protocol of one stack, as a table of functions. What protocols share (numbered conversations, ports, which of
 * them gets a packet) is in `stack.space(proto)`, a {@link ConvSpace}: a protocol asks it and keeps no list of its own.
 */
export interface Proto {
  /** Directory name: `udp`. */
  readonly name: string;
  /** Its number in qid paths: tcp 0, udp 1, ipifc 2, icmp 3, icmpv6 4, raw 5 (ours). */
  readonly index: number;
  /** IP protocol numbers that it receives; empty for ipifc. */
  readonly ipProtocols: readonly number[];
  /** Most conversations: at most 65,536, the width of the field in qid paths. */
  readonly convsMax: number;
  /** Whether ports are its addresses and `bypass` may claim them; it needs `bypass` then. */
  readonly bypassable: boolean;
  /** Whether `announce` takes a range of ports: a call, or the record before a datagram, says which one it came to. */
  readonly announcesRanges?: boolean;
  /** Where a packet's ends are, for the checks of a bypass writer's packets. */
  readonly bypass?: BypassRules;
  /** The port of a remote address means nothing (ICMP). */
  readonly anyRemotePort?: boolean;
  /** Only eve may open `clone`: its conversations change the machine. */
  readonly adminOnly?: boolean;

  /**
   * Gives a conversation its queues and private part. Called each time a slot is taken, the first time and every later.
   */
  create(conv: Conv): void;
  /**
   * `connect`: ends are set; starts what the protocol does. `conv.state` is Connecting before; the callee calls
   * `conv.connected()` now or later, or `conv.failed()` later. What it throws undoes everything.
   */
  connect?(conv: Conv): void;
  /** `announce`: the local end is set; as `connect`, with `conv.announced()`. */
  announce?(conv: Conv): void;
  /** `bypass` was granted and is in force. May throw: it is undone. */
  bypassed?(conv: Conv): void;
  /** The protocol's own ctl verbs; true if `words[0]` was one of them. */
  ctl?(conv: Conv, words: readonly string[]): boolean;
  /** What a sleeping writer of ctl waits for, if not "while Connecting"; see Dev.settle. */
  settle?(conv: Conv, nonBlock: boolean): Rendez | null;
  /** `shutdown`: the reading side, the writing side. Default: hangs up the queues. */
  shutdown?(conv: Conv, read: boolean, write: boolean): void;
  /** The last descriptor is gone. Demux entries and ports are dropped by the caller, unless `busy` says otherwise. */
  close(conv: Conv): void;
  /**
   * Whether the slot is still needed though no descriptor is open (TCP lingers); the protocol calls
   * `stack.space(proto).release(conv)` when that ends.
   */
  busy?(conv: Conv): boolean;
  /** Frees slots that could be freed when none is left. */
  collect?(): void;

  /** A packet for this protocol (consumed). */
  input?(packet: InputPacket): void;
  /**
   * One message from the user of a conversation, for protocols without a write queue; the block is consumed on a
   * number.
   */
  output?(conv: Conv, block: Block): OrWait<number>;
  /** An ICMP error about a packet of ours. Whether it really is: false where we know that we sent no such packet. */
  advise?(advice: Advice): boolean;

  /** The line of the `status` file, newline included. A bypassed conversation has a line of its own. */
  status(conv: Conv): string;
  /** Text of `local` and `remote`, if not `addr!port`. */
  local?(conv: Conv): string;
  remote?(conv: Conv): string;
  /** Text of the `stats` file: `Name: value` lines. */
  stats(): string;
}
