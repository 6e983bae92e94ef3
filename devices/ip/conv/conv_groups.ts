/**
 * Multicast groups of a conversation: `addmulti`, `remmulti`, and leaving at the last close.
 *
 * Path: conv_space, conv_ctl, udp/udp → conv_groups → conv, error, ifc, ip_addr.
 *
 * @module
 */

import { KernelError } from "../../../kernel/error.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import type { Conv, Membership } from "./conv.ts";
import type { Ifc } from "../link/ifc.ts";

/** Most groups of one conversation (Linux' igmp_max_memberships). */
export const GROUPS_PER_CONV_MAX = 20;

/** Joins `group` on the interface with the address `ifcAddr`. */
export function joinGroup(ifcs: readonly Ifc[], conv: Conv, ifcAddr: IpAddr, group: IpAddr): void {
  if (!group.isMulticast) throw new KernelError("EFAIL", `Cannot join ${group}: not a multicast address`);
  const ifc = ifcs.find((one) => one.hasAddress(ifcAddr));
  if (ifc === undefined) throw new KernelError("EFAIL", `Cannot join ${group}: ${ifcAddr} is no address of ours`);
  if (isMember(conv, group, ifcAddr)) return;
  if (conv.groups.length >= GROUPS_PER_CONV_MAX) {
    throw new KernelError("ENOBUFS", `Cannot join ${group}: ${conv} is in ${GROUPS_PER_CONV_MAX} groups already`);
  }
  ifc.joinGroup(group);
  conv.groups = [...conv.groups, { ifc, ifcAddr, group }];
}

/** Leaves `group` on that interface. EFAIL: it was not joined there. */
export function leaveGroup(conv: Conv, ifcAddr: IpAddr, group: IpAddr): void {
  const left = conv.groups.find((one) => one.group.equals(group) && one.ifcAddr.equals(ifcAddr));
  if (left === undefined) {
    throw new KernelError("EFAIL", `Cannot leave ${group}: ${conv} did not join it on ${ifcAddr}`);
  }
  conv.groups = conv.groups.filter((one) => one !== left);
  leave(left);
}

/** Leaves all of them. */
export function leaveGroups(conv: Conv): void {
  if (conv.groups.length === 0) return;
  const { groups } = conv;
  conv.groups = [];
  for (const membership of groups) leave(membership);
}

/** An interface that was unbound meanwhile has forgotten its groups: then there is nothing to leave. */
function leave({ ifc, group }: Membership): void {
  try {
    ifc.leaveGroup(group);
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
  }
}

/** Whether `conv` joined `group`, on the interface with `ifcAddr` if that is given. */
export function isMember(conv: Conv, group: IpAddr, ifcAddr?: IpAddr): boolean {
  return conv.groups.some((one) => one.group.equals(group) && (ifcAddr === undefined || one.ifcAddr.equals(ifcAddr)));
}
