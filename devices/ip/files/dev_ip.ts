/**
 * The device `#ip`: one whole IP stack per instance, as a file tree. Manual: ip(3).
 *
 * Path: boot, user_stack → dev_ip → conv_ctl, ip_tree, ipifc_proto, queue_file, text_files.
 *
 * `#ip.N` with N of 0 to {@link STACKS_MAX} - 1; a stack is made when it is first attached, and shares nothing with
 * others.
 *
 * @module
 */

import { type Block, BLOCK_MAX } from "../../../kernel/block.ts";
import { Chan } from "../../../kernel/chan.ts";
import { ctlText, splitWords } from "../../../kernel/ctl.ts";
import { ChanCtl, Dev, type DevEnv, readBytes } from "../../../kernel/dev.ts";
import { KernelError } from "../../../kernel/error.ts";
import { type FdTap, type TapCommand, TapEvent, type TapList } from "../../../kernel/fd_tap.ts";
import type { PacketPort } from "../../../kernel/host.ts";
import { type Dir, EVE, Open, QidType } from "../../../kernel/qid.ts";
import { breadQueue, bwriteQueue, readQueue, writeQueue } from "../../../kernel/queue_file.ts";
import type { OrWait, Rendez } from "../../../kernel/rendez.ts";
import { IPV6_HEADER_LEN } from "../../../kernel/wire/ipv6.ts";
import { runArpCtl } from "../neighbor/arp_ctl.ts";
import { sendBypass } from "../network/bypass.ts";
import type { Conv } from "../conv/conv.ts";
import { runConvCtl } from "./conv_ctl.ts";
import { IcmpProto } from "../icmp/icmp.ts";
import { Icmp6Proto } from "../icmp/icmp6.ts";
import { IpStack, type ProtoFactory } from "../ip_stack.ts";
import { convAt, Kind, kindOf, levelOf, listDir, lookupName, pathOf, protoAt, statPath } from "./ip_tree.ts";
import { IpifcProto } from "./ipifc_proto.ts";
import { ConvState } from "../conv/proto.ts";
import { RawProto } from "../icmp/raw.ts";
import { ROUTE_TAG_NONE } from "../route/route_table.ts";
import { fileText } from "./text_files.ts";
import { TcpProto } from "../tcp/tcp.ts";
import { UdpProto } from "../udp/udp.ts";
import { UDP_RECORD_MAX } from "../udp/udp_headers.ts";

/** Stacks of one kernel (Akaros). */
export const STACKS_MAX = 32;
/** Longest message: an IP packet, or a datagram and the record before it; protocols look closer. */
const MESSAGE_MAX = BLOCK_MAX + IPV6_HEADER_LEN + UDP_RECORD_MAX;
/** What taps on data, and on err and listen, may ask for. */
const DATA_EVENTS = TapEvent.Readable | TapEvent.Writable | TapEvent.Hangup | TapEvent.RdHup | TapEvent.Priority |
  TapEvent.Error;
const READ_EVENTS = TapEvent.Readable | TapEvent.Hangup;

/** Options of the stacks of a device. */
interface IpOptions {
  /** Ports of the host that `bind tun NAME` on an interface may name; more may be added later. */
  readonly packetPorts?: Map<string, PacketPort>;
  /** Protocols besides those that are always there. */
  readonly protos?: readonly ProtoFactory[];
}

/** A chan of ctl, data, err, listen or snoop that is open. */
interface OpenConv {
  readonly conv: Conv;
  readonly user: string;
}

/** A chan of iproute that is open: routes that it adds carry its tag. */
interface OpenRoutes {
  tag: string;
}

/** The IP stacks of one kernel. */
export class IpDev extends Dev {
  override readonly name = "ip";
  readonly #env: DevEnv;
  /** Ports of the host that `bind tun NAME` may name. */
  readonly packetPorts: Map<string, PacketPort>;
  readonly #protos: readonly ProtoFactory[];
  readonly #stacks: (IpStack | undefined)[] = [];

  constructor(env: DevEnv, options: IpOptions = {}) {
    super();
    this.#env = env;
    const packetPorts = this.packetPorts = options.packetPorts ?? new Map<string, PacketPort>();
    this.#protos = [
      (stack) => new TcpProto(stack),
      (stack) => new UdpProto(stack),
      (stack) => new IpifcProto(stack, { packetPorts }),
      (stack) => new IcmpProto(stack),
      (stack) => new Icmp6Proto(stack),
      (stack) => new RawProto(stack),
      ...(options.protos ?? []),
    ];
  }

  /** The stack `#ip.number`, made if it is not there. */
  stack(number: number): IpStack {
    let stack = this.#stacks[number];
    if (stack !== undefined) return stack;
    stack = this.#stacks[number] = new IpStack(number, this.#env);
    for (const factory of this.#protos) stack.addProto(factory);
    return stack;
  }

  override attach(spec: string, _user: string): Chan {
    if (spec !== "" && !/^\d{1,9}$/.test(spec)) {
      throw new KernelError("EINVAL", `Cannot attach "#ip.${spec.slice(0, 20)}": want a stack number`);
    }
    const number = Number(spec);
    if (number >= STACKS_MAX) {
      throw new KernelError("EFAIL", `Cannot attach "#ip.${spec}": stacks are 0 to ${STACKS_MAX - 1}`);
    }
    this.stack(number);
    const qid = { path: pathOf(Kind.Root), vers: 0, type: QidType.Dir };
    return new Chan(this, qid, { instance: number, path: spec === "" ? "#ip" : `#ip.${number}` });
  }

  override lookup(dir: Chan, name: string): Dir | null {
    return lookupName(this.stack(dir.instance), dir.qid.path, name);
  }

  override list(dir: Chan): Dir[] {
    return listDir(this.stack(dir.instance), dir.qid.path);
  }

  override stat(chan: Chan): Dir {
    return statPath(this.stack(chan.instance), chan.qid.path);
  }

  override open(chan: Chan, flags: number, user: string): OrWait<Chan> {
    const stack = this.stack(chan.instance);
    switch (kindOf(chan.qid.path)) {
      case Kind.Clone:
        return this.#openClone(chan, flags, user);
      case Kind.Listen:
        return this.#openListen(chan, flags, user);
      case Kind.Ctl:
      case Kind.Data:
      case Kind.Err:
        return this.#openConv(chan, flags, user);
      case Kind.Snoop:
        super.open(chan, flags, user);
        chan.aux = { conv: this.#convOf(chan), user } satisfies OpenConv;
        this.#convOf(chan).snoopers++;
        return chan;
      case Kind.Log:
        super.open(chan, flags, user);
        stack.log.open();
        return chan;
      case Kind.IpRoute:
        chan.aux = { tag: ROUTE_TAG_NONE } satisfies OpenRoutes;
        return super.open(chan, flags, user);
      case Kind.Ndb:
        super.open(chan, flags, user);
        if ((flags & Open.Trunc) !== 0) stack.ndb.truncate();
        return chan;
    }
    return super.open(chan, flags, user);
  }

  #openClone(chan: Chan, flags: number, user: string): Chan {
    this.checkPermission(this.stat(chan), flags, user);
    const proto = protoAt(this.stack(chan.instance), chan.qid.path)!;
    const conv = this.stack(chan.instance).space(proto).take(user);
    return this.#becomeCtl(this.markOpen(chan, flags), conv, user);
  }

  /** The conversation's own file: the first opener of a free slot becomes its owner. */
  #openConv(chan: Chan, flags: number, user: string): Chan {
    const conv = this.#convOf(chan);
    if (conv.inUse > 0) {
      this.checkPermission(this.stat(chan), flags, user);
    } else if (conv.proto.adminOnly === true && user !== EVE) {
      throw new KernelError("EACCES", `Cannot open "${chan.path}": only ${EVE} may`);
    }
    conv.space.use(conv, user);
    chan.aux = { conv, user } satisfies OpenConv;
    return this.markOpen(chan, flags);
  }

  /** The next call; with O_PATH nothing is taken, so that `listen` can be tapped. */
  #openListen(chan: Chan, flags: number, user: string): OrWait<Chan> {
    if ((flags & Open.Path) !== 0) return this.#openConv(chan, flags, user);
    const conv = this.#convOf(chan);
    this.checkPermission(this.stat(chan), flags, user);
    if (conv.state !== ConvState.Announced) {
      throw new KernelError("EFAIL", `Cannot listen on ${conv}: it has not announced`);
    }
    const call = conv.calls.shift();
    if (call === undefined) return conv.changed;
    return this.#becomeCtl(this.markOpen(chan, flags), call, user);
  }

  /** `clone` of a protocol, or `listen` of another conversation, becomes the ctl file of `conv`. */
  #becomeCtl(chan: Chan, conv: Conv, user: string): Chan {
    const file = chan.path.lastIndexOf("/");
    const end = kindOf(chan.qid.path) === Kind.Clone ? file : chan.path.lastIndexOf("/", file - 1);
    chan.path = `${chan.path.slice(0, end)}/${conv.number}/ctl`;
    chan.qid = { path: pathOf(Kind.Ctl, conv.proto.index, conv.number), vers: 0, type: QidType.File };
    chan.aux = { conv, user } satisfies OpenConv;
    return chan;
  }

  override close(chan: Chan): void {
    if (!chan.opened) return;
    switch (kindOf(chan.qid.path)) {
      case Kind.Ctl:
      case Kind.Data:
      case Kind.Err:
      case Kind.Listen: {
        const { conv } = chan.aux as OpenConv;
        return conv.space.drop(conv);
      }
      case Kind.Snoop:
        (chan.aux as OpenConv).conv.snoopers--;
        return;
      case Kind.Log:
        this.stack(chan.instance).log.close();
    }
  }

  override read(chan: Chan, buf: Uint8Array, offset: number): OrWait<number> {
    const kind = kindOf(chan.qid.path);
    if (kind === Kind.Data) return readQueue((chan.aux as OpenConv).conv.rq, buf);
    if (kind === Kind.Err) return readQueue((chan.aux as OpenConv).conv.eq, buf);
    if (kind === Kind.Snoop) return readQueue((chan.aux as OpenConv).conv.sq!, buf);
    const stack = this.stack(chan.instance);
    if (kind === Kind.Log) return stack.log.read(buf);
    if (kind === Kind.Ndb) return readBytes(stack.ndb.bytes, buf, offset);
    return this.readText(chan, buf, offset, () => fileText(stack, chan.qid.path));
  }

  override bread(chan: Chan, max: number): OrWait<Block | null> {
    const kind = kindOf(chan.qid.path);
    if (kind === Kind.Data) return breadQueue((chan.aux as OpenConv).conv.rq, max);
    if (kind === Kind.Err) return breadQueue((chan.aux as OpenConv).conv.eq, max);
    if (kind === Kind.Snoop) return breadQueue((chan.aux as OpenConv).conv.sq!, max);
    return super.bread(chan, max);
  }

  override write(chan: Chan, bytes: Uint8Array, offset: number): OrWait<number> {
    const kind = kindOf(chan.qid.path);
    const stack = this.stack(chan.instance);
    switch (kind) {
      case Kind.Data:
        return this.#writeData(stack, (chan.aux as OpenConv).conv, bytes);
      case Kind.Ctl: {
        const { conv, user } = chan.aux as OpenConv;
        return runConvCtl({ stack, conv, user }, bytes);
      }
      case Kind.Arp:
        runArpCtl(stack, splitWords(ctlText(bytes)));
        return bytes.length;
      case Kind.IpRoute: {
        const routes = chan.aux as OpenRoutes;
        routes.tag = stack.routes.ctl(splitWords(ctlText(bytes)), routes.tag);
        return bytes.length;
      }
      case Kind.Log:
        stack.log.ctl(splitWords(ctlText(bytes)));
        return bytes.length;
      case Kind.Ndb:
        return stack.ndb.write(bytes, offset, this.#env.clock.wall());
    }
    return super.write(chan, bytes, offset);
  }

  #writeData(stack: IpStack, conv: Conv, bytes: Uint8Array): OrWait<number> {
    if (conv.wq !== null && conv.bypass === null) return writeQueue(conv.wq, bytes, this.#env.blocks);
    if (bytes.length > MESSAGE_MAX) throw tooLong(bytes.length);
    const block = this.#env.blocks.from(bytes);
    let result: OrWait<number> | null = null;
    try {
      result = sendData(stack, conv, block);
      return result;
    } finally {
      // Not taken: the copy is ours to free.
      if (typeof result !== "number") block.free();
    }
  }

  override bwrite(chan: Chan, block: Block): OrWait<number> {
    if (kindOf(chan.qid.path) !== Kind.Data) return super.bwrite(chan, block);
    const { conv } = chan.aux as OpenConv;
    if (conv.wq !== null && conv.bypass === null) return bwriteQueue(conv.wq, block);
    if (block.extents !== null) block.own();
    if (block.wp - block.rp > MESSAGE_MAX) throw tooLong(block.length);
    return sendData(this.stack(chan.instance), conv, block);
  }

  override settle(chan: Chan, nonBlock: boolean): Rendez | null {
    if (kindOf(chan.qid.path) !== Kind.Ctl) return null;
    const { conv } = chan.aux as OpenConv;
    if (conv.failure !== null) {
      const { failure } = conv;
      conv.failure = null;
      throw failure;
    }
    if (conv.proto.settle !== undefined) return conv.proto.settle(conv, nonBlock);
    if (conv.state !== ConvState.Connecting && conv.state !== ConvState.Announcing) return null;
    if (nonBlock) throw new KernelError("EINPROGRESS", `Connecting ${conv}: its data file will be writable`);
    return conv.changed;
  }

  override tapfd(chan: Chan, tap: FdTap, command: TapCommand): number {
    const kind = kindOf(chan.qid.path);
    if (kind !== Kind.Data && kind !== Kind.Err && kind !== Kind.Listen) return super.tapfd(chan, tap, command);
    const conv = this.#convOf(chan);
    tapsOf(conv, kind).apply(tap, command, kind === Kind.Data ? DATA_EVENTS : READ_EVENTS);
    return levelOf(conv, kind);
  }

  override chanCtl(chan: Chan, op: number, arg: number): number {
    if (op !== ChanCtl.SetFlags) return super.chanCtl(chan, op, arg);
    return 0;
  }

  /** Owner and permission bits of a conversation, by its owner or eve. */
  override wstat(chan: Chan, change: Partial<Dir>, user: string): void {
    const kind = kindOf(chan.qid.path);
    const conv = kind === Kind.Ctl || kind === Kind.Data ? this.#convOf(chan) : null;
    if (conv === null) return super.wstat(chan, change, user);
    if (user !== conv.owner && user !== EVE) {
      throw new KernelError("EPERM", `Cannot change the record of "${chan.path}": it is ${conv.owner}'s`);
    }
    if (change.uid !== undefined && change.uid !== "") conv.space.chown(conv, change.uid);
    if (change.mode !== undefined) conv.perm = change.mode & 0o777;
  }

  #convOf(chan: Chan): Conv {
    const conv = convAt(this.stack(chan.instance), chan.qid.path);
    if (conv === null) throw new KernelError("ENOENT", `Cannot open "${chan.path}": no such conversation`);
    return conv;
  }
}

/** Sends one message; on a number the block is gone, otherwise it is still the caller's. */
function sendData(stack: IpStack, conv: Conv, block: Block): OrWait<number> {
  if (conv.writeShut) throw new KernelError("EPIPE", `Cannot write ${conv}: shut down`);
  if (conv.bypass !== null) return sendBypass(stack, conv, block);
  if (conv.proto.output === undefined) throw new KernelError("EPERM", `Cannot write ${conv}: nothing is sent this way`);
  return conv.proto.output(conv, block);
}

function tapsOf(conv: Conv, kind: number): TapList {
  if (kind === Kind.Data) return conv.dataTaps;
  return kind === Kind.Err ? conv.errTaps : conv.listenTaps;
}

function tooLong(length: number): KernelError {
  return new KernelError("EMSGSIZE", `Cannot write a message of ${length} bytes: the limit is ${MESSAGE_MAX}`, {
    length: MESSAGE_MAX,
  });
}
