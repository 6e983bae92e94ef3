/**
 * ConvSpace: the conversations of one protocol of one stack: taking a slot, calls, the last close; their ports and
 * table.
 *
 * Path: echo_convs, raw, ip_stack → conv_space → proto, conv_bypass, conv, conv_groups.
 *
 * A slot is free when no descriptor of it is open and its protocol does not linger on it. Free slots are used again,
 * lowest first, and never freed; a conversation that lingers keeps its ports and entries until `release`.
 *
 * @module
 */

import type { BlockPool } from "../../../kernel/block.ts";
import { KernelError } from "../../../kernel/error.ts";
import { TapEvent } from "../../../kernel/fd_tap.ts";
import { EVE } from "../../../kernel/qid.ts";
import { IP_UNSPECIFIED } from "../../../kernel/wire/ip_addr.ts";
import { undoBypass } from "./conv_bypass.ts";
import { Conv, CONV_PERM, type ConvHome, NETWORK_USER, type Proto } from "./conv.ts";
import { leaveGroups } from "./conv_groups.ts";
import { ConvTable, type Ends } from "./conv_table.ts";
import type { IpEnv } from "../env/env.ts";
import type { MemoryAccount } from "../env/memory.ts";
import { PortSpace } from "./ports.ts";
import { ConvState } from "./proto.ts";

/** Calls that wait at one listener (Akaros): each is a conversation with a queue. */
export const BACKLOG_MAX = 500;

/** What the conversations of a stack need of it. */
export interface SpaceContext extends IpEnv {
  /** Most conversations of one user in one protocol, as a share of all; eve has no such limit. */
  readonly userShare: number;
  /** Messages that wait for readers. */
  readonly memory: MemoryAccount;
}

/** The conversations of one protocol. */
export class ConvSpace implements ConvHome {
  readonly table: ConvTable<Conv> = new ConvTable();
  readonly ports: PortSpace;
  /** Calls turned away because a backlog, a quota or the space was full. */
  callsDropped = 0;
  readonly #convs: Conv[] = [];
  /** No slot below this one is free. */
  #firstFree = 0;
  /** Slots that each user has. */
  readonly #owned: Map<string, number> = new Map();

  constructor(readonly stack: SpaceContext, readonly proto: Proto) {
    this.ports = new PortSpace(stack.env.random, this.table);
  }

  get blocks(): BlockPool {
    return this.stack.env.blocks;
  }

  get memory(): MemoryAccount {
    return this.stack.memory;
  }

  /** Every slot that was ever taken, by its number. */
  get convs(): readonly Conv[] {
    return this.#convs;
  }

  /** A conversation of `user`'s own, with one use. ENODEV: all are taken. EFAIL: the user has too many. */
  take(user: string): Conv {
    this.#checkShare(user);
    const conv = this.#findFree() ?? this.#grow() ?? this.#collect();
    if (conv === null) {
      throw new KernelError(
        "ENODEV",
        `Cannot make a conversation: all ${this.proto.convsMax} of ${this.proto.name} are taken`,
      );
    }
    this.#begin(conv, user);
    return conv;
  }

  /** One more chan of `conv` by `user`; a free slot becomes a conversation of `user`'s own. EBUSY: it lingers. */
  use(conv: Conv, user: string): void {
    if (conv.inUse > 0) {
      conv.inUse++;
      return;
    }
    if (this.#isBusy(conv)) throw new KernelError("EBUSY", `Cannot open ${conv}: it is being closed`);
    this.#checkShare(user);
    this.#begin(conv, user);
  }

  /** One chan of `conv` fewer; with the last everything ends. */
  drop(conv: Conv): void {
    if (--conv.inUse === 0) this.#close(conv);
  }

  /** Makes `conv` `user`'s. */
  chown(conv: Conv, user: string): void {
    if (conv.inUse === 0 || conv.owner === user) return;
    this.#count(conv.owner, -1);
    this.#count(user, 1);
    conv.owner = user;
  }

  /** Whether no descriptor of `conv` is open and its protocol does not need it. */
  isFree(conv: Conv): boolean {
    return conv.inUse === 0 && !this.#isBusy(conv);
  }

  /** For a protocol that lingered on `conv`: it is done. */
  release(conv: Conv): void {
    if (conv.inUse > 0) return;
    this.unclaim(conv);
    this.#firstFree = Math.min(this.#firstFree, conv.number);
  }

  /**
   * A call from `ends` for `listener`: a conversation of its owner's, with these ends and an exact entry, that waits to
   * be taken by `listen`. Null: there is no room for it.
   */
  call(listener: Conv, ends: Ends): Conv | null {
    const isRefused = listener.callCount >= BACKLOG_MAX || ends.raddr.isUnspecified;
    const conv = isRefused ? null : this.#tryTake(listener.owner);
    if (conv === null) {
      this.callsDropped++;
      return null;
    }
    conv.perm = listener.perm;
    conv.ttl = listener.ttl;
    conv.tos = listener.tos;
    this.claim(conv, ends);
    listener.calls.push(conv);
    listener.wake();
    listener.listenTaps.fire(TapEvent.Readable);
    listener.dataTaps.fire(TapEvent.Readable);
    return conv;
  }

  /** Gives `conv` these ends: ports are counted and packets for them are its. The caller has looked for conflicts. */
  claim(conv: Conv, ends: Ends): void {
    this.setEnds(conv, ends);
    this.table.add(conv, ends);
  }

  /** Gives `conv` these ends without a claim on packets (`bind`). */
  setEnds(conv: Conv, ends: Ends): void {
    this.unclaim(conv);
    conv.raddr = ends.raddr;
    conv.rport = ends.rport;
    conv.laddr = ends.laddr;
    conv.lport = ends.lport;
    conv.lportEnd = ends.lportEnd ?? ends.lport;
    this.ports.hold(conv);
  }

  /** Gives `conv` the ends it had after `bind`, or none: its claim came to nothing. */
  backToBound(conv: Conv): void {
    const { bound } = conv;
    this.setEnds(conv, {
      raddr: IP_UNSPECIFIED,
      rport: 0,
      laddr: bound?.addr ?? IP_UNSPECIFIED,
      lport: bound?.port ?? 0,
    });
  }

  /** Takes entries and ports away from `conv`; its ends stay readable. */
  unclaim(conv: Conv): void {
    this.table.removeAll(conv);
    this.ports.release(conv);
  }

  #begin(conv: Conv, user: string): void {
    this.unclaim(conv);
    conv.reset(user);
    conv.inUse = 1;
    this.#count(user, 1);
    this.proto.create(conv);
  }

  #close(conv: Conv): void {
    if (conv.callCount > 0) { for (const call of conv.calls.splice(0)) this.drop(call); }
    this.#count(conv.owner, -1);
    leaveGroups(conv);
    undoBypass(conv);
    this.proto.close(conv);
    conv.owner = NETWORK_USER;
    conv.perm = CONV_PERM;
    conv.state = ConvState.Idle;
    conv.rq.close();
    conv.dropErrors();
    conv.wake();
    if (!this.#isBusy(conv)) this.release(conv);
  }

  #count(user: string, change: number): void {
    const slots = (this.#owned.get(user) ?? 0) + change;
    if (slots <= 0) this.#owned.delete(user);
    else this.#owned.set(user, slots);
  }

  #isBusy(conv: Conv): boolean {
    return this.proto.busy?.(conv) ?? false;
  }

  #findFree(): Conv | null {
    for (let i = this.#firstFree; i < this.#convs.length; i++) {
      if (this.isFree(this.#convs[i]!)) {
        this.#firstFree = i + 1;
        return this.#convs[i]!;
      }
    }
    this.#firstFree = this.#convs.length;
    return null;
  }

  #grow(): Conv | null {
    if (this.#convs.length >= this.proto.convsMax) return null;
    const conv = new Conv(this, this.proto, this.#convs.length);
    this.#convs.push(conv);
    this.#firstFree = this.#convs.length;
    return conv;
  }

  #collect(): Conv | null {
    this.proto.collect?.();
    this.#firstFree = 0;
    return this.#findFree();
  }

  #tryTake(user: string): Conv | null {
    try {
      return this.take(user);
    } catch (error) {
      if (error instanceof KernelError) return null;
      throw error;
    }
  }

  #checkShare(user: string): void {
    if (user === EVE) return;
    const most = Math.ceil(this.proto.convsMax * this.stack.userShare);
    if ((this.#owned.get(user) ?? 0) < most) return;
    throw new KernelError("EFAIL", `Cannot make a conversation: ${user} has ${most} of ${this.proto.name} already`);
  }
}
