/**
 * Every queue and table of a host against its limit (DESIGN section 9): what no input may ever break.
 *
 * Path: fuzz and leak stories → limits → the host's stacks and NICs, from inside: the files do not show it all.
 *
 * @module
 */

import { type Conv, ERR_QUEUE_LIMIT } from "../../../devices/ip/conv/conv.ts";
import { GROUPS_PER_CONV_MAX } from "../../../devices/ip/conv/conv_groups.ts";
import { BACKLOG_MAX } from "../../../devices/ip/conv/conv_space.ts";
import { IPLIFCS_MAX } from "../../../devices/ip/ifc/ifc_addresses.ts";
import { type IpStack, MESSAGE_MEMORY_MAX } from "../../../devices/ip/ip_stack.ts";
import { LOG_BYTES_MAX } from "../../../devices/ip/env/netlog.ts";
import { NEIGHBORS_MAX } from "../../../devices/ip/neighbor/neighbor_store.ts";
import { NEIGHBOR_HOLD_MAX } from "../../../devices/ip/neighbor/neighbor_table.ts";
import { PATH_MTUS_MAX } from "../../../devices/ip/route/path_mtu.ts";
import { NDB_BYTES_MAX } from "../../../devices/ip/env/ndb.ts";
import { REASSEMBLY_BYTES_MAX, REASSEMBLY_DATAGRAMS_MAX } from "../../../devices/ip/network/reassembly.ts";
import { ROUTES_MAX } from "../../../devices/ip/route/route_table.ts";
import { SELF_ADDRS_MAX } from "../../../devices/ip/route/self_table.ts";
import { TCP_MEMORY_MAX } from "../../../devices/ip/tcp/memory.ts";
import { ORPHANS_MAX } from "../../../devices/ip/tcp/orphans.ts";
import type { TcpProto } from "../../../devices/ip/tcp/tcp.ts";
import type { EtherController } from "../../../devices/ether/ether.ts";
import { EtherConv, GROUPS_MAX } from "../../../devices/ether/ether_conv.ts";
import { BLOCK_MAX } from "../../../kernel/block.ts";
import { type Queue, QUEUE_BLOCKS_MAX } from "../../../kernel/queue.ts";
import type { Host } from "../../../tools/boot/boot.ts";

/** Timers that a host may have armed, whatever happens: ARP and reassembly of a stack, its cable. */
const TIMERS_MAX = 8;
/** A queue takes a message while it is below its limit: so it may be this much above, headers included. */
const OVERSHOOT = BLOCK_MAX + 256;

/** The limits exceeded on `host`, as text; empty: none. */
export function overLimits(host: Host): string[] {
  const over: string[] = [];
  const check = (what: string, value: number, limit: number) => {
    if (!(value <= limit)) over.push(`${what}: ${value}, limit ${limit}`);
  };
  check("timers", host.clock.timerCount, TIMERS_MAX);
  checkStack(host.ip.stack(0), check);
  if (host.port?.kind === "frame") checkNic(host.ether.nic(0), check);
  return over;
}

type Check = (what: string, value: number, limit: number) => void;

function checkStack(stack: IpStack, check: Check): void {
  check("arp entries", stack.arp.size, NEIGHBORS_MAX);
  for (const entry of stack.arp.entries()) check(`held for ${entry.ip}`, entry.held.length, NEIGHBOR_HOLD_MAX);
  check("nd entries", stack.nd.size, NEIGHBORS_MAX);
  for (const entry of stack.nd.entries()) check(`held for ${entry.ip}`, entry.held.length, NEIGHBOR_HOLD_MAX);
  check("path MTUs", stack.pathMtus.size, PATH_MTUS_MAX);
  check("routes", stack.routes.size, ROUTES_MAX);
  check("memory of messages", stack.memory.bytes, MESSAGE_MEMORY_MAX + OVERSHOOT);
  const { env } = stack.protoNamed("tcp") as TcpProto;
  check("memory of tcp", env.memory.bytes, TCP_MEMORY_MAX + OVERSHOOT);
  check("orphans", env.orphans.size, ORPHANS_MAX);
  check("own addresses", stack.self.size, SELF_ADDRS_MAX);
  check("log bytes", stack.log.length, LOG_BYTES_MAX);
  check("ndb bytes", stack.ndb.bytes.length, NDB_BYTES_MAX);
  check("reassembled datagrams", stack.reassembly.size, REASSEMBLY_DATAGRAMS_MAX);
  check("reassembly bytes", stack.reassembly.bytes, REASSEMBLY_BYTES_MAX);
  for (const ifc of stack.ifcs) {
    check(`addresses of ifc ${ifc.number}`, ifc.lifcs.length, IPLIFCS_MAX);
  }
  for (const proto of stack.protos) {
    const { convs, table, ports } = stack.space(proto);
    check(`${proto.name} conversations`, convs.length, proto.convsMax);
    check(`${proto.name} table entries`, table.length, proto.convsMax);
    check(`${proto.name} ports`, ports.length, proto.convsMax);
    for (const conv of convs) checkConv(conv, check);
  }
}

function checkConv(conv: Conv, check: Check): void {
  checkQueue(`${conv} rq`, conv.rq, conv.rq.limit, check);
  checkQueue(`${conv} err`, conv.eq, ERR_QUEUE_LIMIT, check);
  if (conv.sq !== null) checkQueue(`${conv} snoop`, conv.sq, conv.sq.limit, check);
  check(`${conv} calls`, conv.calls.length, BACKLOG_MAX);
  check(`${conv} groups`, conv.groups.length, GROUPS_PER_CONV_MAX);
}

function checkQueue(what: string, queue: Queue, limit: number, check: Check): void {
  if (limit > 0) check(`${what} bytes`, queue.length, limit + OVERSHOOT);
  check(`${what} blocks`, queue.blocks, QUEUE_BLOCKS_MAX);
}

function checkNic(nic: EtherController, check: Check): void {
  for (const conv of nic.convs) {
    if (conv === null) continue;
    checkQueue(`ether/${conv.number}`, conv.queue, EtherConv.inputLimit(nic.port.mbps), check);
    check(`ether/${conv.number} groups`, conv.groups.size, GROUPS_MAX);
  }
}
