/**
 * IpStack: everything that one `#ip.N` has; stacks share nothing.
 *
 * Path: dev_ip → ip_stack → route, self_table, arp, nd, dad, mld, ra6, path_mtu, reassembly, icmp_errors, conv_space.
 *
 * The composition root: each part gets the stack under a narrow interface of its own (IpEnv, RouteContext, NetContext,
 * ProtoContext …), so that no part names this class.
 *
 * @module
 */

import { assert } from "../../kernel/assert.ts";
import type { DevEnv } from "../../kernel/dev.ts";
import { ArpTable } from "./neighbor/arp.ts";
import { ConvSpace, type SpaceContext } from "./conv/conv_space.ts";
import { Dad } from "./neighbor/dad.ts";
import { IcmpCounts } from "./env/icmp_counts.ts";
import { IcmpErrors } from "./network/icmp_errors.ts";
import { IpIds } from "./network/ip_id.ts";
import type { Ipifc } from "./ifc/ipifc.ts";
import type { IfcContext } from "./ifc/medium.ts";
import type { ProtoContext } from "./network/context.ts";
import { Ndb } from "./env/ndb.ts";
import { MemoryAccount } from "./env/memory.ts";
import { Mld } from "./neighbor/mld.ts";
import { NdTable } from "./neighbor/nd.ts";
import { NetLog } from "./env/netlog.ts";
import { PathMtus } from "./route/path_mtu.ts";
import type { Proto } from "./conv/conv.ts";
import { RouterAdverts } from "./neighbor/ra6.ts";
import { Reassembly } from "./network/reassembly.ts";
import { RouteTable } from "./route/route_table.ts";
import { SelfTable } from "./route/self_table.ts";
import { IpStats } from "./env/stats.ts";

/** Memory of all messages that wait in one stack, as many buffers as they take; and how many queues are sure of one. */
export const MESSAGE_MEMORY_MAX = 64 << 20;
const MESSAGE_QUEUES = 8192;

/** Makes a protocol for a stack. */
export type ProtoFactory = (stack: IpStack) => Proto;

/** One whole IP stack. */
export class IpStack implements ProtoContext, IfcContext, SpaceContext {
  readonly stats: IpStats = new IpStats();
  readonly icmp6: IcmpCounts = new IcmpCounts();
  readonly log: NetLog = new NetLog();
  readonly ndb: Ndb = new Ndb();
  /** Interfaces; kept by ipifc. */
  readonly ifcs: Ipifc[] = [];
  readonly routes: RouteTable;
  readonly arp: ArpTable;
  readonly nd: NdTable;
  readonly dad: Dad;
  readonly mld: Mld;
  readonly adverts: RouterAdverts;
  readonly pathMtus: PathMtus;
  readonly self: SelfTable;
  readonly icmpErrors: IcmpErrors;
  readonly reassembly: Reassembly;
  /** What waits for readers of udp, icmp and `err` files. */
  readonly memory: MemoryAccount;
  /** Identifications of IPv4 packets that may be cut on their way. */
  readonly ipIds: IpIds;
  /** Whether packets for others are passed on (`iprouting`). */
  forwarding = false;
  /** Most conversations of one user in one protocol, as a share of all; eve has no such limit. */
  userShare = 0.75;
  readonly #protos: Proto[] = [];
  /** By `Proto.index`. */
  readonly #spaces: (ConvSpace | undefined)[] = [];
  /** By IP protocol number; grows to the highest that is in use. */
  readonly #receivers: (Proto | null)[] = [];
  constructor(readonly number: number, readonly env: DevEnv) {
    this.ipIds = new IpIds(env.random);
    this.memory = new MemoryAccount(MESSAGE_MEMORY_MAX, MESSAGE_QUEUES);
    this.routes = new RouteTable();
    this.arp = new ArpTable(this);
    this.nd = new NdTable(this);
    this.dad = new Dad(this);
    this.mld = new Mld(this);
    this.adverts = new RouterAdverts(this);
    this.pathMtus = new PathMtus(env.clock);
    this.self = new SelfTable();
    this.icmpErrors = new IcmpErrors(this);
    this.reassembly = new Reassembly(this);
  }

  /** Its protocols, by their index. */
  get protos(): readonly Proto[] {
    return this.#protos;
  }

  /** Adds the protocol that `factory` makes. */
  addProto(factory: ProtoFactory): Proto {
    const proto = factory(this);
    assert(this.#spaces[proto.index] === undefined, `protocol index ${proto.index} is free`);
    this.#spaces[proto.index] = new ConvSpace(this, proto);
    this.#protos.push(proto);
    this.#protos.sort((a, b) => a.index - b.index);
    for (const number of proto.ipProtocols) this.setReceiver(number, proto);
    return proto;
  }

  /** The protocol of directory `name`, or null. */
  protoNamed(name: string): Proto | null {
    return this.#protos.find((proto) => proto.name === name) ?? null;
  }

  /** Conversations, ports and demultiplexing of `proto`. */
  space(proto: Proto): ConvSpace {
    return this.#spaces[proto.index]!;
  }

  /** The protocol that receives packets of IP protocol `number`, or null. */
  protocolFor(number: number): Proto | null {
    return this.#receivers[number] ?? null;
  }

  /** Gives packets of IP protocol `number` to `proto`, or to none. */
  setReceiver(number: number, proto: Proto | null): void {
    assert(number >= 0 && number <= 255, "an IP protocol number has 8 bits");
    while (this.#receivers.length <= number) this.#receivers.push(null);
    this.#receivers[number] = proto;
  }
}
