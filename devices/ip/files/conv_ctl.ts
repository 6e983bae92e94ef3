/**
 * The ctl verbs that every conversation has, and the rules for its ends.
 *
 * Path: dev_ip → conv_ctl → kernel/ctl, proto, conv, conv_bypass.
 *
 * A verb either does all of what it says or leaves the conversation as it was: a refused `connect` or `announce` leaves
 * it Idle with the ends it had. A local end that another conversation has is refused with EFAIL and a text that names
 * it.
 *
 * @module
 */

import { ctlText, type CtlVerb, parseNumber, parseSwitch, runCtl, shown, splitWords } from "../../../kernel/ctl.ts";
import { KernelError } from "../../../kernel/error.ts";
import { EVE } from "../../../kernel/qid.ts";
import { IP_UNSPECIFIED, type IpAddr, IPV4_LOOPBACK, IPV6_LOOPBACK } from "../../../kernel/wire/ip_addr.ts";
import { type Conv, TTL_DEFAULT } from "../conv/conv.ts";
import { BYPASS_QUEUE_LIMIT, startBypass } from "../conv/conv_bypass.ts";
import { type LocalArg, parseAddr, parseLocal, parseRemote } from "../conv/conv_address.ts";
import { joinGroup, leaveGroup } from "../conv/conv_groups.ts";
import type { Ends } from "../conv/conv_table.ts";
import type { NetContext } from "../network/context.ts";
import { ConvState } from "../conv/proto.ts";
import { sourceFor } from "../route/egress.ts";

/** A conversation, and the stack whose addresses it may have. */
interface Ours {
  readonly stack: NetContext;
  readonly conv: Conv;
}

/** An open ctl file. */
interface CtlTarget extends Ours {
  /** The user that opened it. */
  readonly user: string;
}

const STATE_WORDS = ["idle", "announcing", "announced", "connecting", "connected", "bypassed"] as const;

/** Runs one command; returns how many bytes it had. */
export function runConvCtl(target: CtlTarget, bytes: Uint8Array): number {
  const { conv } = target;
  const words = splitWords(ctlText(bytes));
  const name = words[0];
  conv.failure = null;
  // A protocol's own verbs win: what ipifc connects and binds is something else.
  if (name !== undefined && conv.proto.ctl?.(conv, words) === true) return bytes.length;
  runCtl(VERBS, target, bytes);
  return bytes.length;
}

function connect({ stack, conv }: Ours, [remoteText, localText]: readonly string[]): void {
  if (conv.proto.connect === undefined) {
    throw new KernelError("EFAIL", `Cannot connect: ${conv.proto.name} has no peers`);
  }
  requireIdle(conv, "connect");
  const remote = parseRemote(remoteText!, { anyPort: conv.proto.anyRemotePort === true });
  const raddr = somebody(remote.addr);
  const local = localText === undefined ? null : parseLocal(localText);
  const bound = local === null ? conv.bound : null;
  const asked = local?.addr ?? bound?.addr ?? IP_UNSPECIFIED;
  requireOurs({ stack, conv }, asked);
  const laddr = asked.isUnspecified ? sourceFor(stack, raddr) : asked;
  const isReachable = raddr.isMulticast || raddr.isLimitedBroadcast || stack.routes.lookup(raddr) !== null;
  if (laddr === null || !isReachable) throw new KernelError("EHOSTUNREACH", `Cannot connect to ${raddr}: no route`);
  if (laddr.isV4 !== raddr.isV4) {
    throw new KernelError("EINVAL", `Cannot connect ${laddr} to ${raddr}: two IP versions`);
  }
  const lport = local?.port || bound?.port || conv.space.ports.pick(remote.restricted || local?.restricted);
  const ends = { raddr, rport: remote.port, laddr, lport };
  requireFree(conv, ends);
  attempt(conv, ends, () => {
    conv.state = ConvState.Connecting;
    conv.proto.connect?.(conv);
  });
}

function announce(target: CtlTarget, [text]: readonly string[]): void {
  const { conv } = target;
  if (conv.proto.announce === undefined) {
    throw new KernelError("EFAIL", `Cannot announce: ${conv.proto.name} has no calls`);
  }
  requireIdle(conv, "announce");
  const ends = claimable(target, parseLocal(text!, { ranges: conv.proto.announcesRanges === true }));
  attempt(conv, ends, () => {
    conv.state = ConvState.Announcing;
    conv.proto.announce?.(conv);
  });
}

function bind(target: CtlTarget, [text]: readonly string[]): void {
  const { conv } = target;
  requireIdle(conv, "bind");
  const local = parseLocal(text!);
  const ends = localEnds(target, local);
  conv.space.setEnds(conv, ends);
  conv.bound = { addr: ends.laddr, port: ends.lport };
}

function bypass(target: CtlTarget, [text]: readonly string[]): void {
  const { conv } = target;
  if (!conv.proto.bypassable) throw new KernelError("EFAIL", `Cannot bypass ${conv.proto.name}: it has no ports`);
  requireIdle(conv, "bypass");
  const ends = claimable(target, parseLocal(text!, { ranges: true }));
  attempt(conv, ends, () => startBypass(conv));
}

function shutdown({ conv }: CtlTarget, [side]: readonly string[]): void {
  if (side !== "rd" && side !== "wr" && side !== "rdwr") {
    throw new KernelError("EINVAL", `Cannot shut down ${shown(side!)}: want rd, wr or rdwr`);
  }
  const read = side !== "wr";
  const write = side !== "rd";
  if (conv.proto.shutdown !== undefined && conv.bypass === null) return conv.proto.shutdown(conv, read, write);
  // Without a reason: a reader sees the end of the file, not EPIPE as in Akaros.
  if (read) conv.rq.hangup();
  if (write) {
    conv.writeShut = true;
    conv.wq?.hangup("Shut down");
  }
}

function setRqLimit({ conv }: CtlTarget, [text]: readonly string[]): void {
  conv.rq.setLimit(parseNumber(text!, { min: 1, max: BYPASS_QUEUE_LIMIT }));
}

function setBypassHeader({ conv }: CtlTarget, [word]: readonly string[]): void {
  if (word !== "keep" && word !== "kernel") {
    throw new KernelError("EINVAL", `Cannot set the header policy to ${shown(word!)}: want keep or kernel`);
  }
  conv.keepHeader = word === "keep";
}

function setBypassVersion({ conv }: CtlTarget, [word]: readonly string[]): void {
  if (word !== "any" && word !== "4" && word !== "6") {
    throw new KernelError("EINVAL", `Cannot bypass IP version ${shown(word!)}: want any, 4 or 6`);
  }
  conv.bypassVersion = word === "any" ? 0 : word === "4" ? 4 : 6;
}

function setForeign({ conv, user }: CtlTarget, [word]: readonly string[]): void {
  if (user !== EVE) throw new KernelError("EPERM", `Cannot set foreign-local of ${conv}: only ${EVE} may`);
  requireIdle(conv, "set foreign-local of");
  conv.allowsForeign = parseSwitch(word!);
}

function addMulti({ stack, conv }: CtlTarget, [ifcText, groupText]: readonly string[]): void {
  joinGroup(stack.ifcs, conv, parseAddr(ifcText!), groupText === undefined ? conv.raddr : parseAddr(groupText));
}

function remMulti({ conv }: CtlTarget, [ifcText, groupText]: readonly string[]): void {
  leaveGroup(conv, parseAddr(ifcText!), groupText === undefined ? conv.raddr : parseAddr(groupText));
}

/** Gives `conv` `ends` and runs `start`; if it throws, the conversation is as before. */
function attempt(conv: Conv, ends: Ends, start: () => void): void {
  const { bound } = conv;
  conv.space.claim(conv, ends);
  try {
    start();
  } catch (error) {
    conv.state = ConvState.Idle;
    conv.bound = bound;
    conv.space.backToBound(conv);
    throw error;
  }
}

/** The ends of an announced or bypassed conversation: ours, free, and `*` for a port only by eve. */
function claimable(target: CtlTarget, local: LocalArg): Ends {
  if (local.star && target.user !== EVE) {
    throw new KernelError("EPERM", `Cannot claim port "*": only ${EVE} may (use 0 for any free port)`);
  }
  return localEnds(target, local);
}

/** A local end without a remote one: its address is ours, and the port is free. */
function localEnds({ stack, conv }: Ours, local: LocalArg): Ends {
  requireOurs({ stack, conv }, local.addr);
  const picked = local.port === 0;
  const lport = picked ? conv.space.ports.pick(local.restricted) : local.port;
  const ends = { raddr: IP_UNSPECIFIED, rport: 0, laddr: local.addr, lport, lportEnd: picked ? lport : local.portEnd };
  requireFree(conv, ends);
  return ends;
}

function requireIdle(conv: Conv, verb: string): void {
  if (conv.state === ConvState.Idle) return;
  throw new KernelError("EBUSY", `Cannot ${verb} ${conv}: it is ${STATE_WORDS[conv.state]}`);
}

function requireOurs({ stack, conv }: Ours, addr: IpAddr): void {
  if (addr.isUnspecified || conv.allowsForeign || stack.self.isLocal(addr)) return;
  throw new KernelError("EFAIL", `Cannot use ${addr}: no address of ours`);
}

function requireFree(conv: Conv, ends: Ends): void {
  const holder = conv.space.table.conflict(ends);
  if (holder === null) return;
  const lportEnd = ends.lportEnd ?? ends.lport;
  const ports = lportEnd === ends.lport ? `${ends.lport}` : `${ends.lport}-${lportEnd}`;
  throw new KernelError("EFAIL", `Cannot use port ${ports}: ${holder} ${holdsAs(holder)} it`);
}

/** How `holder` has its port: one without an open descriptor may linger on it (TIME-WAIT). */
function holdsAs({ state }: Conv): string {
  return state === ConvState.Idle ? "has not let go of" : `has ${STATE_WORDS[state]}`;
}

/** Connecting to the unspecified address means connecting to ourselves. */
function somebody(addr: IpAddr): IpAddr {
  if (!addr.isUnspecified) return addr;
  return addr.isV4 ? IPV4_LOOPBACK : IPV6_LOOPBACK;
}

const VERBS: readonly CtlVerb<CtlTarget>[] = [
  { name: "connect", usage: "connect addr!port[!r] [[addr!]port]", minArgs: 1, maxArgs: 2, run: connect },
  { name: "announce", usage: "announce [addr!]port|lo-hi", minArgs: 1, maxArgs: 1, run: announce },
  { name: "bind", usage: "bind [addr!]port", minArgs: 1, maxArgs: 1, run: bind },
  { name: "bypass", usage: "bypass [addr!]port|lo-hi|*", minArgs: 1, maxArgs: 1, run: bypass },
  { name: "bypass-header", usage: "bypass-header keep|kernel", minArgs: 1, maxArgs: 1, run: setBypassHeader },
  { name: "bypass-version", usage: "bypass-version any|4|6", minArgs: 1, maxArgs: 1, run: setBypassVersion },
  { name: "foreign-local", usage: "foreign-local on|off", minArgs: 1, maxArgs: 1, run: setForeign },
  { name: "shutdown", usage: "shutdown rd|wr|rdwr", minArgs: 1, maxArgs: 1, run: shutdown },
  {
    name: "ttl",
    usage: "ttl [1…255]",
    minArgs: 0,
    maxArgs: 1,
    run: ({ conv }, [n]) => void (conv.ttl = n === undefined ? TTL_DEFAULT : parseNumber(n, { min: 1, max: 255 })),
  },
  {
    name: "tos",
    usage: "tos [0…255]",
    minArgs: 0,
    maxArgs: 1,
    run: ({ conv }, [n]) => void (conv.tos = n === undefined ? 0 : parseNumber(n, { max: 255 })),
  },
  {
    name: "ignoreadvice",
    usage: "ignoreadvice [on|off]",
    minArgs: 0,
    maxArgs: 1,
    run: ({ conv }, [word]) => void (conv.ignoreAdvice = word === undefined || parseSwitch(word)),
  },
  {
    name: "offload",
    usage: "offload on|off",
    minArgs: 1,
    maxArgs: 1,
    run: ({ conv }, [word]) => void (conv.offload = parseSwitch(word!)),
  },
  { name: "rqlimit", usage: "rqlimit bytes", minArgs: 1, maxArgs: 1, run: setRqLimit },
  { name: "addmulti", usage: "addmulti ifcaddr [group]", minArgs: 1, maxArgs: 2, run: addMulti },
  { name: "remmulti", usage: "remmulti ifcaddr [group]", minArgs: 1, maxArgs: 2, run: remMulti },
];
